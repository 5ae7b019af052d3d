"""Stream listeners (RFC 8656 §3.1): TURN over TCP and TLS, and one port shared with HTTP.

A connection is an `Opening` until its first bytes have shown what it is, then a `StreamConnection`, or the HTTP
server's. There is one coarse timer per listener, and none per connection: deadlines are kept to the second.
"""

import asyncio
import errno
import ipaddress
import logging
import socket
import time
from collections.abc import Callable, Sequence
from typing import Final

from stun.address import Address
from turnserver.core.types import ClientTransport, FiveTuple, IpNetwork
from turnserver.lines import Allowance, Lines
from turnserver.net import from_sockaddr
from turnserver.streams import ByteStream, bind_tcp
from turnserver.transports.base import (
    FrameSink,
    HttpGateway,
    ListenerContext,
    ListenerLimits,
    ListenerSection,
    TransportCounters,
)
from turnserver.transports.certificates import CertificateSource
from turnserver.transports.connection import StreamConnection
from turnserver.transports.limits import ConnectionLimiter, ConnectionSlot
from turnserver.transports.opening import ALPN_HTTP, ALPN_TURN, Opening
from turnserver.transports.startup import startup_error

__all__ = ["StreamTransport"]

SWEEP_INTERVAL: Final = 1.0
"""Seconds between looks at the deadlines; the precision of every timeout here."""

ACCEPT_BURST: Final = 64
"""Connections accepted per turn of the loop."""

_COMPLAINTS: Final = Allowance(burst=1, rate=1 / 60, total_burst=1, total_rate=1 / 60)
"""Lines of one kind about connections turned away: one a minute, and how many more there were."""

_OUT_OF_RESOURCES: Final = frozenset((errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM))

_logger = logging.getLogger("meshturn.streams")


class StreamTransport:
    """One stream listener on exactly one local address; see `turnserver.transports.base.ConnectedTransport`.

    ``name`` is its word in the configuration. With ``tls`` everything is under TLS, and ``kind`` has to be TLS. With
    ``http`` the port is shared: connections that speak HTTP are given away. ``proxies`` are networks that send a PROXY
    header. ``limiter`` counts the connections of several listeners together. ``clock`` gives monotonic seconds. DSCP
    and ECN are not carried: packets of a stream have no relation to frames (RFC 8656 §15).
    """

    local = False

    def __init__(
        self,
        listener: int,
        address: Address,
        *,
        kind: ClientTransport,
        limits: ListenerLimits,
        limiter: ConnectionLimiter,
        name: str = "",
        tls: CertificateSource | None = None,
        http: HttpGateway | None = None,
        proxies: Sequence[IpNetwork] = (),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name = name or kind.label
        self.kind = kind
        self.listener = listener
        self.address = address
        self.proxies = tuple(proxies)
        self.tls = tls
        self.http = http
        self.protocols: tuple[str, ...] = (ALPN_TURN, ALPN_HTTP) if http is not None else (ALPN_TURN,)
        self.now = clock
        self.packets_in = self.bytes_in = self.packets_out = self.bytes_out = 0
        self.sink: FrameSink
        self._limits = limits
        self._limiter = limiter
        self._dropped = 0
        self._serial = 0
        self._openings: set[Opening] = set()
        self._connections: dict[FiveTuple, StreamConnection] = {}
        self._unflushed: list[StreamConnection] = []
        self._lines = Lines(_logger, _COMPLAINTS, clock)
        self._socket: socket.socket | None = None
        self._paused = False
        self._timer: asyncio.TimerHandle | None = None
        self._loop: asyncio.AbstractEventLoop

    @classmethod
    def from_config(
        cls,
        section: ListenerSection,
        address: Address,
        index: int,
        context: ListenerContext,
        *,
        http: HttpGateway | None = None,
    ) -> "StreamTransport":
        """The listener of a section of the configuration at one of its addresses."""
        return cls(
            index,
            address,
            kind=ClientTransport.TLS if section.tls else ClientTransport.TCP,
            limits=context.limits,
            limiter=context.limiter,
            name=section.transport,
            tls=context.certificates if section.tls else None,
            http=http,
            proxies=section.proxies,
            clock=context.clock,
        )

    @property
    def counters(self) -> TransportCounters:
        """What the listener has carried since it was started; connections refused count as dropped."""
        return TransportCounters(self.packets_in, self.bytes_in, self.packets_out, self.bytes_out, self._dropped)

    @property
    def connections(self) -> int:
        """Connections that speak TURN now."""
        return len(self._connections)

    @property
    def openings(self) -> int:
        """Connections that have not shown what they are yet."""
        return len(self._openings)

    # The listener

    def bind(self) -> None:
        """Take the address, inside the running loop; sets ``address`` (the port, if 0 was asked for).

        Connections wait in the system's queue until `serve`. Raises `turnserver.errors.StartupError` with one sentence
        and a hint when the address, or a certificate, cannot be used.
        """
        if self.tls is not None:
            self.tls.start()
        try:
            self._socket = bind_tcp(self.address)
        except OSError as error:
            raise startup_error("TCP", self.address, error) from error
        self.address = from_sockaddr(self._socket.getsockname())

    def serve(self, sink: FrameSink) -> None:
        """Begin to accept, inside the running loop. Raises RuntimeError unless the address has been bound."""
        if self._socket is None:
            raise RuntimeError("a listener is bound first")
        self.sink = sink
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._socket.fileno(), self._accept)
        self._timer = self._loop.call_later(SWEEP_INTERVAL, self._tick)

    def close(self) -> None:
        """Stop listening and drop every connection; `FrameSink.client_gone` is not called."""
        if self._socket is None:
            return
        if self._timer is not None:
            self._timer.cancel()
            self._loop.remove_reader(self._socket.fileno())
        self._socket.close()
        self._socket = None
        for opening in list(self._openings):
            opening.stream.close()
        for connection in list(self._connections.values()):
            connection.known = False
            connection.flush()
            if connection.stream is not None:
                connection.stream.close()

    def sweep(self) -> None:
        """Close what is past its deadline, and accept again if that was paused; the timer calls it every second."""
        now = self.now()
        for opening in [opening for opening in self._openings if opening.deadline <= now]:
            self._dropped += 1
            opening.stream.close()
        for connection in list(self._connections.values()):
            if (connection.idle_deadline <= now or connection.stall_deadline <= now) and connection.stream is not None:
                connection.stream.close()
        if self._paused and self._socket is not None:
            self._paused = False
            self._loop.add_reader(self._socket.fileno(), self._accept)

    def _tick(self) -> None:
        self._timer = self._loop.call_later(SWEEP_INTERVAL, self._tick)
        try:
            self.sweep()
        except Exception as error:
            self.sink.fault("transport.sweep", error)

    def _accept(self) -> None:
        for _ in range(ACCEPT_BURST):
            if self._socket is None:
                return
            try:
                sock, _ = self._socket.accept()
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno not in _OUT_OF_RESOURCES:
                    continue  # that connection failed before it was accepted
                self._pause(error)
                return
            self._welcome(sock)

    def _pause(self, error: OSError) -> None:
        """Without descriptors or memory the backlog has to wait; trying on would only spin."""
        if self._socket is not None:
            self._loop.remove_reader(self._socket.fileno())
        self._paused = True
        self.complain("cannot accept connections", {"reason": error.strerror or str(error)})

    def _welcome(self, sock: socket.socket) -> None:
        try:
            stream = ByteStream(sock, loop=self._loop)
        except OSError:
            sock.close()  # it has gone already
            return
        stream.on_fault = self._stream_failed
        try:
            self._admit(stream)
        except Exception as error:
            self._stream_failed(error)
            stream.close()

    def _admit(self, stream: ByteStream) -> None:
        slot = self._limiter.admit()
        if slot is None:
            self.turned_away("too many connections", stream.peer)
            stream.close()
            return
        stream.on_closed.append(slot.release)  # the first, and the one that stays whoever has the stream
        proxied = self._is_proxy(stream.peer)
        if not proxied and not slot.claim(stream.peer.ip):
            self.turned_away("too many connections from one address", stream.peer)
            stream.close()
            return
        self._open(stream, slot, proxied)

    def _open(self, stream: ByteStream, slot: ConnectionSlot, proxied: bool) -> None:
        patience = self._limits.handshake_timeout if proxied or self.tls else self._limits.first_message_timeout
        opening = Opening(self, stream, slot, self.now() + patience, proxied=proxied)
        self._openings.add(opening)
        stream.on_closed.append(lambda: self._openings.discard(opening))

    def _is_proxy(self, peer: Address) -> bool:
        if not self.proxies:
            return False
        ip = ipaddress.ip_address(peer.ip)
        return any(ip in network for network in self.proxies)

    # The clients, for the engine

    def use(self, limits: ListenerLimits) -> None:
        """Use other limits from now on, for connections that come later."""
        self._limits = limits

    def path(self, client: FiveTuple) -> StreamConnection | None:
        """The path of a client; None when its connection has gone."""
        return self._connections.get(client)

    def release(self, client: FiveTuple) -> None:
        """A path lives as long as its connection."""

    def send(self, client: FiveTuple, frame: bytes) -> bool:
        """Send one whole frame; False if it had to be dropped."""
        connection = self._connections.get(client)
        return connection is not None and connection.send(frame)

    def keep(self, client: FiveTuple, on: bool) -> None:
        """Whether the client has an allocation, and so a right to be idle; unknown clients are ignored."""
        connection = self._connections.get(client)
        if connection is not None:
            connection.keep(on)

    def close_client(self, client: FiveTuple) -> None:
        """Close a client's connection, after what waits for it if the socket takes that at once."""
        connection = self._connections.get(client)
        if connection is not None:
            connection.flush()
            if connection.stream is not None:
                connection.stream.close()

    def detach(self, client: FiveTuple) -> ByteStream | None:
        """Give a client's connection away, for RFC 6062 §5.4; None when it has gone."""
        connection = self._connections.get(client)
        if connection is None or connection.stream is None:
            return None
        stream = connection.stream
        try:
            stream.push(connection.take_queue())
        except OSError:
            stream.close()
            return None
        stream.want_read(False)
        stream.want_write(False)
        stream.on_readable = stream.on_writable = None
        del stream.on_closed[1:]
        del self._connections[client]
        connection.part()
        stream.unread(connection.unread())
        return stream

    # The connections, for themselves

    def opened(self, opening: Opening, first: bytes) -> None:
        """A connection has shown that it speaks STUN: it is a client from now on."""
        self.forget(opening)
        self._serial += 1
        client = FiveTuple(self.kind, opening.client, self.address, self.listener, self._serial)
        stream = opening.stream
        connection = self._connections[client] = StreamConnection(self, stream, client, self._limits, self.now)
        connection.idle_deadline = opening.deadline
        stream.on_closed.append(lambda: self._gone(connection))
        stream.on_readable = connection.read
        stream.on_writable = connection.flush
        connection.feed(first)

    def forget(self, opening: Opening) -> None:
        """A connection is no longer new."""
        self._openings.discard(opening)
        opening.stream.on_readable = None
        del opening.stream.on_closed[1:]

    def first_message_deadline(self) -> float:
        """When a client that may speak now must have said something whole."""
        return self.now() + self._limits.first_message_timeout

    def flush_soon(self, connection: StreamConnection) -> None:
        """Have a connection flushed when this turn of the loop is over, once for everything it sends in it."""
        if not self._unflushed:
            self._loop.call_soon(self._flush_all)
        self._unflushed.append(connection)

    def close_soon(self, connection: StreamConnection) -> None:
        """Close a connection when this turn of the loop is over."""
        if connection.stream is not None:
            self._loop.call_soon(connection.stream.close)

    def hop_failed(self, error: Exception, connection: StreamConnection) -> None:
        """A hop has raised; what it was to send is lost, and no more."""
        self.sink.fault("hop.send", error, connection.client)

    def count_dropped(self) -> None:
        """Count a frame, or a connection, that went nowhere."""
        self._dropped += 1

    def turned_away(self, reason: str, client: Address) -> None:
        """Count and, now and then, log a connection that there is no room for."""
        self._dropped += 1
        self.complain(reason, {"client": str(client)})

    def complain(self, message: str, fields: dict[str, str]) -> None:
        """Log a warning, unless the same was said a moment ago: whoever causes it can cause it a thousand times."""
        self._lines.write(logging.WARNING, message, {"listener": str(self.address), **fields})

    def _flush_all(self) -> None:
        unflushed, self._unflushed = self._unflushed, []
        for connection in unflushed:
            try:
                connection.flush()
            except Exception as error:
                self.sink.fault("transport.flush", error, connection.client)
                if connection.stream is not None:
                    connection.stream.close()

    def _stream_failed(self, error: Exception) -> None:
        """A callback of a connection has raised; its stream closes itself."""
        self.sink.fault("transport.connection", error)

    def _gone(self, connection: StreamConnection) -> None:
        """The end of a connection, however it came; the sink learns of it when whoever caused it has finished."""
        self._connections.pop(connection.client, None)
        connection.part()
        if connection.known:
            self._loop.call_soon(self.sink.client_gone, connection.client)
