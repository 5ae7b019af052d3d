"""Stream listeners (RFC 8656 §3.1): TURN over TCP and TLS, and one port shared with HTTP.

A connection is an `Opening` until its first bytes have shown its protocol. Then it is a `StreamConnection`, or it goes
to the HTTP server. One coarse timer per listener serves all connections: deadlines are precise to a second.
"""

import asyncio
import contextlib
import errno
import logging
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from stun.address import Address
from turnserver.core.types import ClientTransport, FiveTuple, IpNetwork
from turnserver.errors import StartupError
from turnserver.faults import RAISED
from turnserver.lines import Allowance, Lines
from turnserver.net import from_sockaddr
from turnserver.passed import NO_SOCKETS, PassedSockets
from turnserver.proxies import Networks, requires_header, trusted_by
from turnserver.reasons import Reason
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
from turnserver.transports.crossed import Crossings, Door
from turnserver.transports.limits import ConnectionLimiter, ConnectionSlot
from turnserver.transports.opening import ALPN_HTTP, ALPN_TURN, Opening
from turnserver.transports.startup import startup_error
from turnserver.transports.turned_away import TurnedAway

__all__ = ["StreamTransport"]

SWEEP_INTERVAL: Final = 1.0
"""Seconds between checks of the deadlines; the precision of every timeout here."""

ACCEPT_BURST: Final = 64
"""Connections accepted per turn of the loop."""

_COMPLAINTS: Final = Allowance(burst=1, rate=1 / 60, total_burst=1, total_rate=1 / 60)
"""Lines of one kind about connections turned away: one a minute, and how many more there were."""

_PER_ADDRESS: Final = "limits.connections_per_address"
"""The option, for the log."""

_TOO_MANY: Final = {
    Reason.CONNECTIONS_PER_ADDRESS: "too many connections from one address",
    Reason.CONNECTIONS_FULL: "too many connections",
}
"""The lines about limits of connections."""

_OUT_OF_RESOURCES: Final = frozenset((errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM))

_logger = logging.getLogger("meshturn.streams")


class StreamTransport:
    """One stream listener on exactly one local address; see `turnserver.transports.base.ConnectedTransport`.

    ``name`` is its name in the configuration. ``kind`` is the transport of its clients, TLS or TCP; with ``also`` they
    may use the other as well, told by the first byte. TLS needs ``tls``. With ``http`` the port is shared: HTTP
    connections go to the HTTP server. ``proxies`` are networks whose connections may begin with a PROXY header, and
    must with ``header_required``. ``limiter`` counts the connections of several listeners together: those of a proxy
    that does not say for whom count in total only. ``doors`` gives all listeners, for the log. ``clock`` gives
    monotonic seconds. ``passed`` may have a socket for it. DSCP and ECN are not carried: packets of a stream have no
    relation to frames (RFC 8656 §15).
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
        also: tuple[ClientTransport, ...] = (),
        http: HttpGateway | None = None,
        proxies: Sequence[IpNetwork] = (),
        header_required: bool = False,
        doors: Callable[[], Sequence[Door]] = tuple,
        clock: Callable[[], float] = time.monotonic,
        passed: PassedSockets = NO_SOCKETS,
    ) -> None:
        self.name = name or kind.label
        self.kind = kind
        self.kinds = (kind, *also)
        self.listener = listener
        self.address = address
        self.proxies = Networks(proxies)
        self.header_required = header_required
        self.tls = tls
        self.http = http
        self.protocols: tuple[str, ...] = (ALPN_TURN, ALPN_HTTP) if http is not None else (ALPN_TURN,)
        self.now = clock
        self.crossings = Crossings(_logger, doors, clock)
        self.refusals = TurnedAway(_logger, clock)
        self.packets_in = self.bytes_in = self.packets_out = self.bytes_out = 0
        self.sink: FrameSink
        self._limits = limits
        self._limiter = limiter
        self._passed = passed
        self._arrived: Callable[[socket.socket], None] = self._welcome
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
            also=(ClientTransport.TCP,) if section.tls == "auto" else (),
            limits=context.limits,
            limiter=context.limiter,
            name=section.transport,
            tls=context.certificates if section.tls else None,
            http=http,
            proxies=trusted_by(section, context.proxies),
            header_required=requires_header(section, context.proxies),
            doors=context.doors,
            clock=context.clock,
            passed=context.passed,
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
    def refused(self) -> Mapping[Reason, int]:
        """Connections that ended before they spoke STUN or HTTP, since the start, by the reason."""
        return self.refusals.counts + self.crossings.counts

    @property
    def openings(self) -> int:
        """Connections whose protocol is not known yet."""
        return len(self._openings)

    # The listener

    def bind(self) -> None:
        """Bind the address, inside the running loop; sets ``address`` (with the real port if 0 was asked for).

        Connections wait in the system's queue until `serve`. Raises `turnserver.errors.StartupError` with one sentence
        and a hint when the address, or a certificate, cannot be used.
        """
        if self.tls is not None:
            try:
                self.tls.start()
            except StartupError:
                if ClientTransport.TCP not in self.kinds:
                    raise
                self.tls.watch()
        passed = self._passed.stream(self.address, self._welcome)
        if passed is not None:
            self._socket, self._arrived = passed
            return
        try:
            self._socket = bind_tcp(self.address)
        except OSError as error:
            raise startup_error("TCP", self.address, error) from error
        self.address = from_sockaddr(self._socket.getsockname())

    def serve(self, sink: FrameSink) -> None:
        """Begin to accept, inside the running loop. Raises RuntimeError unless the address has been bound."""
        if self._socket is None:
            raise RuntimeError("the listener is not bound")
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
        self._passed.leave(self.address)
        for opening in list(self._openings):
            opening.stream.close()
        for connection in list(self._connections.values()):
            connection.known = False
            connection.flush()
            if connection.stream is not None:
                connection.stream.close()

    def sweep(self) -> None:
        """Close connections past their deadline, and resume accepting if paused; the timer calls it every second."""
        now = self.now()
        for opening in [opening for opening in self._openings if opening.deadline <= now]:
            opening.too_slow()
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
        except RAISED as error:
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
            self._arrived(sock)

    def _pause(self, error: OSError) -> None:
        """Without descriptors or memory the backlog has to wait; accepting again at once would only spin."""
        if self._socket is not None:
            self._loop.remove_reader(self._socket.fileno())
        self._paused = True
        self.complain("cannot accept connections", {"reason": error.strerror or str(error)})

    def _welcome(self, sock: socket.socket) -> None:
        try:
            stream = ByteStream(sock, loop=self._loop)
        except OSError:
            sock.close()  # the client has closed already
            return
        stream.on_fault = self._stream_failed
        try:
            self._admit(stream)
        except RAISED as error:
            self._stream_failed(error)
            stream.close()

    def _admit(self, stream: ByteStream) -> None:
        proxied = stream.peer in self.proxies
        if not proxied and self._limiter.clients.refuses(stream.peer.ip):
            self._dropped += 1
            self.refusals.say(Reason.CLIENT_DENIED, "", stream.peer, f"{self.name} {self.address}")
            stream.close()
            return
        if not proxied and not self._limiter.has_room(stream.peer.ip):
            self._turn_away(stream, Reason.CONNECTIONS_PER_ADDRESS, _PER_ADDRESS)
            return
        evicted, full = self._limiter.evicted, self._limiter.full
        slot = self._limiter.admit()
        if slot is None:
            self._turn_away(stream, Reason.CONNECTIONS_FULL, full)
            return
        if self._limiter.evicted > evicted:
            self.complain("idle connection closed to make room", {"for": str(stream.peer), "limit": full})
        stream.on_closed.append(slot.release)  # called first, and kept when the stream gets a new owner
        stream.on_use = slot.use
        if not proxied:
            slot.claim(stream.peer.ip)
        slot.offer(stream.close, stream.peer.ip)
        self._open(stream, slot, proxied)

    def _turn_away(self, stream: ByteStream, cause: Reason, limit: str | None) -> None:
        self._dropped += 1
        self.refusals.counts[cause] += 1
        self.complain(_TOO_MANY[cause], {"client": str(stream.peer), "cause": str(cause), "limit": limit})
        stream.close()

    def _open(self, stream: ByteStream, slot: ConnectionSlot, proxied: bool) -> None:
        patience = self._limits.handshake_timeout if proxied or self.tls else self._limits.first_message_timeout
        opening = Opening(self, stream, slot, self.now() + patience, proxied=proxied)
        self._openings.add(opening)
        stream.on_closed.append(lambda: self._openings.discard(opening))

    # The clients, for the engine

    def use(self, limits: ListenerLimits) -> None:
        """Use other limits from now on, for connections that come later."""
        self._limits = limits

    def paused(self, on: bool) -> None:
        """The server runs again after a pause; see `turnserver.paths.Pausable`."""
        for connection in self._connections.values():
            connection.paused(on)

    def path(self, client: FiveTuple) -> StreamConnection | None:
        """The path of a client; None when its connection has ended."""
        return self._connections.get(client)

    def release(self, client: FiveTuple) -> None:
        """Does nothing: a path exists as long as its connection."""

    def send(self, client: FiveTuple, frame: bytes) -> bool:
        """Send one whole frame; False if it had to be dropped."""
        connection = self._connections.get(client)
        return connection is not None and connection.send(frame)

    def keep(self, client: FiveTuple, on: bool) -> None:
        """Set whether the client has an allocation and may therefore be idle; unknown clients are ignored."""
        connection = self._connections.get(client)
        if connection is not None:
            connection.keep(on)
            if connection.stream is not None:
                connection.stream.in_use(on)

    def close_client(self, client: FiveTuple) -> None:
        """Close a client's connection; queued bytes are sent first if the socket takes them at once."""
        connection = self._connections.get(client)
        if connection is not None:
            connection.flush()
            if connection.stream is not None:
                connection.stream.close()

    def detach(self, client: FiveTuple) -> ByteStream | None:
        """Hand a client's connection to a new owner (RFC 6062 §5.4); None when it has ended."""
        connection = self._connections.get(client)
        if connection is None or connection.stream is None or connection.silent:
            return None
        stream = connection.stream
        with contextlib.suppress(OSError):  # what the client has sent for its peer is delivered all the same
            stream.push(connection.take_queue())
        stream.in_use(True)
        stream.want_read(False)
        stream.want_write(False)
        stream.on_readable = stream.on_writable = None
        del stream.on_closed[1:]
        del self._connections[client]
        try:
            connection.part()
            stream.unread(connection.unread())
        except BaseException:
            stream.close()  # nobody else knows it any more
            raise
        return stream

    # The connections, for themselves

    def opened(self, opening: Opening, first: bytes) -> None:
        """A connection speaks STUN: it is a client from now on."""
        self.forget(opening)
        self._serial += 1
        stream = opening.stream
        kind = ClientTransport.TCP if stream.tls is None else ClientTransport.TLS
        client = FiveTuple(kind, opening.client, self.address, self.listener, self._serial)
        connection = self._connections[client] = StreamConnection(self, stream, client, self._limits, self.now)
        connection.idle_deadline = opening.deadline
        stream.on_closed.append(lambda: self._gone(connection))
        stream.on_readable = connection.read
        stream.on_writable = connection.flush
        connection.feed(first)

    def forget(self, opening: Opening) -> None:
        """A connection is not an opening any more."""
        self._openings.discard(opening)
        opening.stream.on_readable = None
        del opening.stream.on_closed[1:]

    def first_message_deadline(self) -> float:
        """The deadline for the first whole frame of a client that may send now."""
        return self.now() + self._limits.first_message_timeout

    def flush_soon(self, connection: StreamConnection) -> None:
        """Flush a connection at the end of this turn of the loop, once for everything it sends in this turn."""
        if not self._unflushed:
            self._loop.call_soon(self._flush_all)
        self._unflushed.append(connection)

    def close_soon(self, connection: StreamConnection) -> None:
        """Close a connection at the end of this turn of the loop."""
        if connection.stream is not None:
            self._loop.call_soon(connection.stream.close)

    def hop_failed(self, error: BaseException, connection: StreamConnection) -> None:
        """A hop has raised; only the frames that it was to send are lost."""
        self.sink.fault("hop.send", error, connection.client)

    def count_dropped(self) -> None:
        """Count a dropped frame or connection."""
        self._dropped += 1

    def turned_away(self, client: Address) -> None:
        """Count a connection refused by the client ACL or the limit per client, and log it at a limited rate."""
        self._dropped += 1
        if self._limiter.clients.refuses(client.ip):
            self.refusals.say(Reason.CLIENT_DENIED, "", client, f"{self.name} {self.address}")
            return
        cause = Reason.CONNECTIONS_PER_ADDRESS
        self.refusals.counts[cause] += 1
        self.complain(_TOO_MANY[cause], {"client": str(client), "cause": str(cause), "limit": _PER_ADDRESS})

    def complain(self, message: str, fields: dict[str, str | None]) -> None:
        """Log a warning at a limited rate per kind, because strangers can cause it at will."""
        self._lines.write(logging.WARNING, message, {"listener": f"{self.name} {self.address}", **fields})

    def _flush_all(self) -> None:
        unflushed, self._unflushed = self._unflushed, []
        for connection in unflushed:
            try:
                connection.flush()
            except RAISED as error:
                self.sink.fault("transport.flush", error, connection.client)
                if connection.stream is not None:
                    connection.stream.close()

    def _stream_failed(self, error: BaseException) -> None:
        """A callback of a connection has raised; its stream closes itself."""
        self.sink.fault("transport.connection", error)

    def _gone(self, connection: StreamConnection) -> None:
        """A connection has ended, for any reason; the sink is told in the next turn, when the caller has finished."""
        self._connections.pop(connection.client, None)
        connection.part()
        if connection.known:
            self._loop.call_soon(self.sink.client_gone, connection.client)
