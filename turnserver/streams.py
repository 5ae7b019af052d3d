"""Byte streams: connected TCP sockets, plain or under TLS, read and written without blocking on the running loop.

TLS is OpenSSL between two memory buffers (`ssl.SSLObject`), not a wrapped socket: one system call reads all records
that have arrived, and one sends all records that are ready. A wrapped socket (`ssl.SSLSocket`) reads each record with
two system calls, and needs a third and an exception to learn that there are no more. With memory buffers, bytes that
were read before TLS began (a ClientHello that was inspected) can be put back.

When sending fails, what has arrived before is still delivered: the other end may have sent its last words and closed
without reading ours, which resets the connection. The stream ends for its reader only after that.
"""

import asyncio
import contextlib
import errno
import itertools
import socket
import ssl
from collections.abc import Callable, Sequence
from typing import Final

from stun.address import Address
from turnserver.net import Sockaddr, from_sockaddr, to_sockaddr
from turnserver.polling import READ, WRITE, poller_of

__all__ = ["ByteStream", "bind_tcp"]

_RAISED: Final = (Exception, asyncio.CancelledError)
"""What a callback may raise. ``CancelledError`` is no Exception, and comes from the callback: it waits for nothing."""

_CHUNK: Final = 64 * 1024
"""Bytes that are encrypted before the socket has taken what was encrypted earlier: four of the largest records."""

_RECORD: Final = 16 * 1024
"""The most that one TLS record carries, in bytes (RFC 8446 §5.1)."""

_MAX_OUTBOX: Final = 512 * 1024
"""Bytes accepted but not sent, beyond which a stream fails: only a TLS client that provokes alerts can get there."""

_UNSENT_IN_KERNEL: Final = 128 * 1024
"""Unsent bytes that the kernel takes. Bytes that wait there cannot be dropped when they have become stale."""

_KEEPALIVE: Final = (("TCP_KEEPIDLE", 60), ("TCP_KEEPINTVL", 15), ("TCP_KEEPCNT", 4))
"""A host that has vanished is detected after two minutes, even if nothing is sent to it."""

_BACKLOG: Final = 1024
_NOTHING: Final = b""


def bind_tcp(address: Address, *, reuse_port: bool = False, backlog: int | None = _BACKLOG) -> socket.socket:
    """A non-blocking TCP socket bound to exactly ``address``, listening unless ``backlog`` is None; raises `OSError`.

    An address still held by closed connections may be bound at once (``SO_REUSEADDR``). With ``reuse_port`` other
    sockets may bind it as well. An IPv6 socket never takes IPv4 traffic (docs/conformance.md, rule 23).
    """
    family = socket.AF_INET if len(address.ip) == 4 else socket.AF_INET6
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if reuse_port:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind(to_sockaddr(address))
        if backlog is not None:
            sock.listen(backlog)
    except OSError:
        sock.close()
        raise
    return sock


class ByteStream:
    """A connected stream socket, owned by this object: Nagle off, keep-alive on, never blocking.

    The owner sets ``on_readable`` and ``on_writable`` and enables them with `want_read` and `want_write`; both are
    level-triggered, also for bytes buffered here. Everything in ``on_closed`` is called once, by `close`. An exception
    from a callback is passed to ``on_fault`` (without it, to the loop's exception handler), and closes the stream.
    ``on_use`` is the listener's: an owner tells it whether the connection is in use, or may make room for another.
    """

    __slots__ = (
        "__weakref__",
        "_broken",
        "_ended",
        "_incoming",
        "_loop",
        "_nudged",
        "_outbox",
        "_outgoing",
        "_poller",
        "_registered",
        "_rest",
        "_shut",
        "_sock",
        "_unread",
        "_wants_read",
        "_wants_write",
        "closed",
        "fileno",
        "local",
        "on_closed",
        "on_fault",
        "on_readable",
        "on_use",
        "on_writable",
        "peer",
        "tls",
    )

    def __init__(self, sock: socket.socket, *, loop: asyncio.AbstractEventLoop | None = None) -> None:
        sock.setblocking(False)
        _set_options(sock)
        self._sock = sock
        self._loop = loop or asyncio.get_running_loop()
        self._poller = poller_of(self._loop)
        self.fileno = sock.fileno()
        self.local = from_sockaddr(sock.getsockname())
        self.peer = _peer_of(sock)
        self.tls: ssl.SSLObject | None = None
        """The TLS session, to read version, cipher and ALPN; None on a plain stream."""
        self.closed = False
        self.on_readable: Callable[[], None] | None = None
        self.on_writable: Callable[[], None] | None = None
        self.on_closed: list[Callable[[], None]] = []
        self.on_fault: Callable[[BaseException], None] | None = None
        self.on_use: Callable[[bool], None] | None = None
        self._incoming = self._outgoing = _NO_BUFFER
        self._unread = self._outbox = _NOTHING
        self._ended = self._shut = self._nudged = self._broken = False
        self._rest = 0
        self._wants_read = self._wants_write = False
        self._registered = 0

    def in_use(self, on: bool) -> None:
        """Tell the listener that accepted the stream, if one did, whether the connection must be kept."""
        if self.on_use is not None:
            self.on_use(on)

    @property
    def flushed(self) -> bool:
        """Whether the kernel has everything that `send` and `push` took."""
        return not self._outbox

    def recv(self, size: int) -> bytes | None:
        """Up to ``size`` bytes; ``b""`` at the end of the stream, None when there is nothing now.

        Raises `OSError` (`ssl.SSLError` is one) when the stream has failed; a TLS stream that ends without a
        close_notify ends like any other. One call makes at most one system call. After a failure of sending, the stream
        ends when everything that had arrived by then has been read.
        """
        if self._unread:
            return self._take(self._unread, size)
        if self.tls is not None:
            return self._recv_tls(self.tls, size)
        if self._broken:
            return self._recv_rest(size)
        try:
            return self._sock.recv(size)
        except BlockingIOError:
            return None

    def send(self, data: bytes | memoryview) -> int:
        """Take bytes from the front of ``data``; returns how many, 0 when the stream is full.

        Raises `OSError` when sending has failed, now or earlier; see `recv` for what remains to be done then.
        """
        if self._broken:
            raise _cannot_send()
        try:
            if self._outbox and not self._flush():
                return 0
            if self.tls is not None:
                return self._send_tls(self.tls, data)
            return self._sock.send(data)
        except BlockingIOError:
            return 0
        except OSError:
            self._break()
            raise

    def send_each(self, frames: Sequence[bytes], start: int = 0) -> int:
        """Take whole frames from ``start`` on; returns how many, 0 when the stream is full. Raises `OSError`.

        Under TLS each frame begins a new record, and all leave with one system call: some clients (coturn's is one)
        treat the bytes of one read as one frame.
        """
        if self.tls is None:
            raise ValueError("only TLS has records")
        if self._broken:
            raise _cannot_send()
        write = self.tls.write
        taken = size = 0
        try:
            if self._outbox and not self._flush():
                return 0
            for frame in itertools.islice(frames, start, None):
                write(frame)
                taken += 1
                size += len(frame)
                if size > _CHUNK:
                    break
            self._send_records()
        except OSError:
            self._break()
            raise
        return taken

    def push(self, data: bytes) -> None:
        """Take all of ``data``, to be sent before anything else; for an owner's last message. Raises `OSError`."""
        at = 0
        while at < len(data) and (taken := self.send(data[at : at + _CHUNK])):
            at += taken
        if at == len(data):
            return
        rest = data[at:]
        if self.tls is not None:
            self.tls.write(rest)
            rest = self._outgoing.read()
        self._keep(rest)

    def unread(self, data: bytes) -> None:
        """Put bytes back, to be returned by `recv` first."""
        self._unread = data + self._unread
        self._nudge()

    def want_read(self, on: bool) -> None:
        """Enable or disable calls of ``on_readable`` while there is something to read."""
        self._wants_read = on
        self._register()
        if on and self._has_unread():
            self._nudge()

    def want_write(self, on: bool) -> None:
        """Enable or disable calls of ``on_writable`` while there is room to write."""
        self._wants_write = on
        self._register()

    def start_tls(self, context: ssl.SSLContext, server_side: bool = True, server_hostname: str | None = None) -> None:
        """Speak TLS from here on, beginning with the bytes put back; call `handshake` next."""
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self.tls = context.wrap_bio(self._incoming, self._outgoing, server_side, server_hostname)
        self._incoming.write(self._unread)
        self._unread = _NOTHING

    def handshake(self) -> bool:
        """Continue the handshake; True when it is done, False to be called again when the stream is readable.

        Raises `OSError` when it has failed; the TLS alert has been sent by then.
        """
        tls = self.tls
        if tls is None:
            return True
        if not self._incoming.pending and not self._fill(_RECORD) and tls.server_side:
            return False
        try:
            tls.do_handshake()
        except ssl.SSLWantReadError:
            self._send_outgoing()
            if self._ended:
                raise ConnectionResetError(errno.ECONNRESET, "the stream ended within the TLS handshake") from None
            return False
        except ssl.SSLError:
            with contextlib.suppress(OSError):
                self._send_outgoing()
            raise
        self._try_to_send_outgoing()
        if self._has_unread():
            self._nudge()
        return True

    def shutdown_write(self) -> None:
        """End the sending direction once everything has been sent; the other direction can still be read.

        Under TLS that is a close_notify (RFC 8446 §6.1) and then the FIN.
        """
        if self._shut or self.closed:
            return
        self._shut = True
        with contextlib.suppress(OSError):
            if self.tls is not None:
                self._say_goodbye(self.tls)
            if not self._outbox:
                self._sock.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """Close at once; unsent bytes are lost."""
        if self.closed:
            return
        self.closed = True
        self._wants_read = self._wants_write = False
        try:
            self._poller.set(self, 0)
            if self.tls is not None and not self._outbox and not self._shut and not self._broken:
                with contextlib.suppress(OSError):
                    self._say_goodbye(self.tls)
        except _RAISED as error:
            self._report(error)
        self._sock.close()
        self._outbox = self._unread = _NOTHING
        self.on_readable = self.on_writable = None
        told, self.on_closed = self.on_closed, []
        for callback in told:
            try:
                callback()
            except _RAISED as error:  # the other callbacks must be called as well
                self._report(error)

    def ready(self, events: int) -> None:
        """Handle events of the poller; not for owners."""
        try:
            if events & ~WRITE and self._wants_read and self.on_readable is not None:
                self.on_readable()
            if events & ~READ and not self.closed:
                self._writable()
        except _RAISED as error:
            self._report(error)
            self.close()

    # Inside

    def _report(self, error: BaseException) -> None:
        if self.on_fault is not None:
            self.on_fault(error)
        else:
            context = {"message": "Exception in a stream's callback", "exception": error}
            self._loop.call_exception_handler(context)

    def _writable(self) -> None:
        if self._outbox:
            try:
                if not self._flush():
                    return
            except OSError:
                self._fail()
                return
        if self._wants_write and self.on_writable is not None:
            self.on_writable()

    def _fail(self) -> None:
        """Sending has failed outside a call of the owner: its next call raises, or its reading ends."""
        self._break()
        if self._wants_write and self.on_writable is not None:
            self.on_writable()
        elif not self._wants_read:
            self.close()

    def _break(self) -> None:
        """Nothing can be sent any more. The receive buffer's size bounds what can have arrived and is still read."""
        if self._broken:
            return
        self._broken = True
        self._outbox = _NOTHING
        with contextlib.suppress(OSError):
            self._rest = self._sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)
        self._register()
        self._nudge()

    def _recv_rest(self, size: int) -> bytes:
        """Bytes that had arrived when sending failed; then ``b""``. An error comes after them, and is no news."""
        data = _NOTHING
        if self._rest > 0:
            with contextlib.suppress(OSError):
                data = self._sock.recv(min(size, self._rest))
        self._rest = self._rest - len(data) if data else 0
        if data:
            self._nudge()
        return data

    def _register(self) -> None:
        if self.closed:
            return
        wanted = (READ if self._wants_read else 0) | (WRITE if self._wants_write or self._outbox else 0)
        if wanted != self._registered:
            self._poller.set(self, wanted)
            self._registered = wanted

    def _has_unread(self) -> bool:
        if self._unread or self._broken:
            return True
        return self.tls is not None and (self._incoming.pending > 0 or self.tls.pending() > 0 or self._ended)

    def _nudge(self) -> None:
        """Call ``on_readable`` soon: the kernel does not announce bytes buffered here."""
        if not self._nudged and self._wants_read and not self.closed:
            self._nudged = True
            self._loop.call_soon(self._nudge_now)

    def _nudge_now(self) -> None:
        self._nudged = False
        if self._has_unread():
            self.ready(READ)

    def _take(self, data: bytes, size: int) -> bytes:
        """Return ``size`` bytes of ``data``, keep the rest."""
        if len(data) > size:
            self._unread = data[size:]
            self._nudge()
            return data[:size]
        self._unread = _NOTHING
        if self.tls is not None and self._ended:
            self._nudge()
        return data

    def _fill(self, size: int) -> bool:
        """Read ciphertext or the end of the stream; False if there is neither now."""
        if self._ended:
            return True
        try:
            data = self._recv_rest(size) if self._broken else self._sock.recv(size)
        except BlockingIOError:
            return False
        if data:
            self._incoming.write(data)
        else:
            self._incoming.write_eof()
            self._ended = True
        return True

    def _recv_tls(self, tls: ssl.SSLObject, size: int) -> bytes | None:
        """The plaintext of all records that have arrived."""
        incoming = self._incoming
        if not incoming.pending and not self._fill(size if size > _RECORD else _RECORD):
            return None
        data = _NOTHING
        try:
            data = tls.read(_RECORD)
            if not data:  # a close_notify
                self._ended = True
            elif incoming.pending:
                data = self._read_on(tls, data)
        except ssl.SSLWantReadError:
            pass
        except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
            self._ended = True
            self._outgoing.read()  # an alert about the missing close_notify would end the other direction, too
        except ssl.SSLError:
            with contextlib.suppress(OSError):
                self._send_outgoing()
            raise
        self._try_to_send_outgoing()
        if self._broken:
            self._nudge()
        if not data:
            return _NOTHING if self._ended else None
        return data if len(data) <= size and not self._ended else self._take(data, size)

    def _read_on(self, tls: ssl.SSLObject, first: bytes) -> bytes:
        """The rest of the records. An error in a later record must not lose the earlier ones."""
        parts = [first]
        try:
            while self._incoming.pending:
                data = tls.read(_RECORD)
                if not data:
                    self._ended = True
                    break
                parts.append(data)
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLError:
            self._ended = True
        return _NOTHING.join(parts)

    def _send_tls(self, tls: ssl.SSLObject, data: bytes | memoryview) -> int:
        if len(data) > _CHUNK:
            data = memoryview(data)[:_CHUNK]
        if not data:
            return 0
        tls.write(data)
        self._send_records()
        return len(data)

    def _send_records(self) -> None:
        """Send OpenSSL's output, after all earlier bytes; keep what the socket does not take."""
        records = self._outgoing.read()
        try:
            sent = self._sock.send(records)
        except BlockingIOError:
            sent = 0
        if sent < len(records):
            self._keep(records[sent:])

    def _say_goodbye(self, tls: ssl.SSLObject) -> None:
        """Send a close_notify. OpenSSL would discard unread bytes, so they are read first."""
        parts = []
        try:
            while self._incoming.pending or tls.pending():
                parts.append(tls.read(_RECORD))
        except ssl.SSLError:
            pass
        self._unread += _NOTHING.join(parts)
        with contextlib.suppress(ssl.SSLError):
            tls.unwrap()
        self._send_outgoing()

    def _send_outgoing(self) -> None:
        """Send what OpenSSL emits by itself: handshake messages, tickets, alerts."""
        if not self._outgoing.pending:
            return
        if self._outbox and not self._flush():
            self._keep(self._outgoing.read())
        else:
            self._send_records()

    def _try_to_send_outgoing(self) -> None:
        """The same where received bytes, which must not be lost, are to be returned."""
        try:
            self._send_outgoing()
        except OSError:
            self._break()

    def _keep(self, data: bytes) -> None:
        self._outbox += data
        if len(self._outbox) > _MAX_OUTBOX:
            raise ConnectionAbortedError(errno.ECONNABORTED, "the other end does not read")
        self._register()

    def _flush(self) -> bool:
        """Send bytes taken earlier; True when all have been sent."""
        try:
            sent = self._sock.send(self._outbox)
        except BlockingIOError:
            return False
        self._outbox = self._outbox[sent:]
        if self._outbox:
            return False
        self._register()
        if self._shut:
            self._sock.shutdown(socket.SHUT_WR)
        return True


_NO_BUFFER: Final = ssl.MemoryBIO()


def _peer_of(sock: socket.socket) -> Address:
    peer: Sockaddr = sock.getpeername()
    return from_sockaddr(peer)


def _set_options(sock: socket.socket) -> None:
    """Rule 22: Nagle off. All other options keep the platform's defaults."""
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (*_KEEPALIVE, ("TCP_NOTSENT_LOWAT", _UNSENT_IN_KERNEL)):
        option = getattr(socket, name, None)
        if option is not None:
            sock.setsockopt(socket.IPPROTO_TCP, option, value)


def _cannot_send() -> OSError:
    return ConnectionResetError(errno.ECONNRESET, "sending on this stream has failed before")
