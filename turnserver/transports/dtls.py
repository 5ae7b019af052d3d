"""DTLS listeners (RFC 7350): TURN over DTLS over UDP, each record of application data being one frame.

One socket serves all clients of a local address. Nothing is kept about a client until it has returned a cookie
(`turnserver.transports.dtls_hello`); then its handshake takes a slot among the connections. A client that begins again
from the same 5-tuple keeps its session until the new handshake is complete (RFC 6347 §4.2.8). A session is a
connection: the allocation ends with it, and a new one is another 5-tuple to the core.

New handshakes, which cost a signature each, are made in slices of a few milliseconds, so that a flood of them does not
delay the packets of others. One coarse timer serves all deadlines; retransmissions have timers of their own.
"""

import asyncio
import logging
import secrets
import struct
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

from stun.address import Address
from stun.demux import CHANNEL_BITS, KIND_BITS, FrameKind, classify
from turnserver.core.types import ClientTransport, FiveTuple
from turnserver.dtls import MAX_MESSAGE, DtlsClosed, DtlsFailed, DtlsSession, is_client_hello, records
from turnserver.faults import RAISED
from turnserver.lines import Allowance, Lines
from turnserver.losses import LOOK_INTERVAL, Losses, LossLines
from turnserver.net import (
    TosPolicy,
    UdpSocket,
    receive_buffer_of,
    to_sockaddr,
)
from turnserver.passed import NO_SOCKETS, PassedSockets
from turnserver.paths import ChannelHop, ClientPath
from turnserver.reasons import Reason
from turnserver.receiver import HEADROOM, Datagram, Receiver, Source, from_source, open_receiver
from turnserver.streams import ByteStream
from turnserver.transports.base import FrameSink, ListenerContext, ListenerLimits, ListenerSection, TransportCounters
from turnserver.transports.certificates import CertificateSource
from turnserver.transports.crossed import Came, Crossings, Door
from turnserver.transports.dtls_clients import DtlsCounters, DtlsHandshake, DtlsPath
from turnserver.transports.dtls_context import DtlsContexts
from turnserver.transports.dtls_hello import (
    Cookies,
    DtlsHello,
    no_application_protocol,
    read_hello,
    verify_request,
)
from turnserver.transports.limits import ConnectionLimiter, ConnectionSlot
from turnserver.transports.opening import ALPN_TURN
from turnserver.transports.turned_away import TurnedAway
from turnserver.transports.udp import FAULT_PAUSE, LISTENER_BURST, RECEIVE_BUFFER, bound_socket

__all__ = ["HANDSHAKE_MTU", "DtlsTransport"]

HANDSHAKE_MTU: Final = 1232
"""Bytes of the largest datagram of a handshake: what every IPv6 path carries (RFC 8200 §5), and nearly every IPv4 one.
Retransmissions become smaller."""

SWEEP_INTERVAL: Final = 1.0
"""Seconds between checks of the deadlines."""

MOST_HELLOS: Final = 256
"""ClientHellos with a valid cookie that wait for their turn; more are dropped, and their clients try again."""

_TURN: Final = 0.005
"""Seconds of one turn of the loop for new handshakes."""

_COMPLAINTS: Final = Allowance(burst=1, rate=1 / 60, total_burst=1, total_rate=1 / 60)
_PER_ADDRESS: Final = "limits.connections_per_address"
_APPLICATION_DATA: Final = 23
_HEADER: Final = struct.Struct("!HH")
_SEND_INDICATION: Final = b"\x00\x16"

_logger = logging.getLogger("meshturn.dtls")


class DtlsTransport:
    """One DTLS listener on exactly one local address; see `turnserver.transports.base.ConnectedTransport`.

    ``tls`` are the certificates, ``limiter`` counts the sessions of this listener among the connections of all.
    ``tos`` says whether DSCP and ECN of relayed packets are carried or cleared. ``doors`` gives all listeners, for the
    log; ``clock`` gives monotonic seconds; ``entropy`` random bytes, for cookies. ``passed`` may have a socket for it.
    """

    name = "dtls"
    kind = ClientTransport.DTLS
    local = False

    def __init__(
        self,
        listener: int,
        address: Address,
        *,
        tls: CertificateSource,
        limits: ListenerLimits,
        limiter: ConnectionLimiter,
        tos: TosPolicy = "clear",
        doors: Callable[[], Sequence[Door]] = tuple,
        clock: Callable[[], float] = time.monotonic,
        entropy: Callable[[int], bytes] = secrets.token_bytes,
        passed: PassedSockets = NO_SOCKETS,
    ) -> None:
        self.listener = listener
        self.address = address
        self._tls = tls
        self._limits = limits
        self._limiter = limiter
        self._copies_tos = tos == "copy"
        self._passed = passed
        self._now = clock
        self._cookies = Cookies(entropy)
        self._contexts = DtlsContexts(tls.ciphers)
        self._handshakes: dict[Source, DtlsHandshake] = {}
        self._sessions: dict[Source, DtlsPath] = {}
        self._paths: dict[FiveTuple, DtlsPath] = {}
        self._hellos: deque[tuple[Source, bytes, DtlsHello]] = deque()
        self._serial = 0
        self._counters = DtlsCounters()
        self._media_is_old = False
        self._run: list[bytes] = []
        self._run_hop: ChannelHop | None = None
        self._run_tos = 0
        self._lines = Lines(_logger, _COMPLAINTS, clock)
        self._crossings = Crossings(_logger, doors, clock)
        self._refusals = TurnedAway(_logger, clock)
        self._losses = LossLines(_logger, clock)
        self._socket: UdpSocket | None = None
        self._open = False
        self._timers: list[asyncio.TimerHandle] = []
        self._sink: FrameSink
        self._loop: asyncio.AbstractEventLoop

    @classmethod
    def from_config(
        cls, section: ListenerSection, address: Address, index: int, context: ListenerContext
    ) -> "DtlsTransport":
        """The listener of a section of the configuration at one of its addresses."""
        return cls(
            index,
            address,
            tls=context.certificates or CertificateSource(()),
            limits=context.limits,
            limiter=context.limiter,
            tos=context.tos,
            doors=context.doors,
            clock=context.clock,
            passed=context.passed,
        )

    @property
    def counters(self) -> TransportCounters:
        """What the listener has carried since it was started, in frames; handshakes refused count as dropped."""
        own, out = self._counters, self._socket
        dropped = own.dropped + (0 if out is None else out.dropped + out.lost)
        return TransportCounters(own.packets_in, own.bytes_in, own.packets_out, own.bytes_out, dropped)

    @property
    def losses(self) -> Losses:
        """What this host has lost of it since the listener was started."""
        return Losses() if self._socket is None else Losses(self._socket.lost, self._socket.failed)

    @property
    def receive_buffer(self) -> int:
        """Bytes granted by the system for datagrams that wait; 0 without a socket."""
        return 0 if self._socket is None or self._socket.fd < 0 else receive_buffer_of(self._socket.sock)

    @property
    def connections(self) -> int:
        """Sessions now."""
        return len(self._paths)

    @property
    def refused(self) -> Mapping[Reason, int]:
        """Handshakes that were refused or have failed, and what is not DTLS, since the start, by the reason."""
        return self._refusals.counts + self._crossings.counts

    @property
    def handshakes(self) -> int:
        """Handshakes under way."""
        return len(self._handshakes)

    # The listener

    def bind(self) -> None:
        """Bind the address, inside the running loop; sets ``address`` (with the real port if 0 was asked for).

        Raises `turnserver.errors.StartupError` with one sentence and a hint when the address, or a certificate, cannot
        be used.
        """
        self._tls.start()
        self._socket, self.address = bound_socket(
            self.address, self._losses, copies_tos=self._copies_tos, passed=self._passed
        )

    def serve(self, sink: FrameSink) -> None:
        """Begin to serve clients, inside the running loop. Raises RuntimeError unless the address has been bound."""
        socket = self._socket
        if socket is None:
            raise RuntimeError("the listener is not bound")
        self._sink = sink
        self._open = True
        self._loop = asyncio.get_running_loop()
        self._read(socket, open_receiver(socket.sock.family, LISTENER_BURST))
        self._every(SWEEP_INTERVAL, self.sweep)
        self._every(LOOK_INTERVAL, lambda: self._losses.look(self.address, socket, RECEIVE_BUFFER))

    def close(self) -> None:
        """Stop listening and end every session; `FrameSink.client_gone` is not called."""
        socket = self._socket
        if socket is None or socket.fd < 0:
            return
        if self._open:
            self._open = False
            self._loop.remove_reader(socket.fd)
            for timer in self._timers:
                timer.cancel()
            self._hellos.clear()
            for handshake in list(self._handshakes.values()):
                self._drop(handshake)
            for path in list(self._paths.values()):
                path.known = False
                self._end(path)
        socket.close()

    def sweep(self) -> None:
        """End handshakes and sessions that are past their deadline; a timer calls it every second."""
        now = self._now()
        for handshake in [each for each in self._handshakes.values() if each.deadline <= now]:
            self._refuse(handshake.source, Reason.TOO_SLOW)
            self._drop(handshake)
        for path in [each for each in self._paths.values() if each.idle_deadline <= now]:
            self._end(path)

    def _every(self, interval: float, call: Callable[[], object]) -> None:
        """Call it again and again; a fault in it costs one call."""
        number = len(self._timers)

        def again() -> None:
            self._timers[number] = self._loop.call_later(interval, again)
            try:
                call()
            except RAISED as error:
                self._sink.fault("transport.sweep", error)

        self._timers.append(self._loop.call_later(interval, again))

    # The clients, for the engine

    def use(self, limits: ListenerLimits) -> None:
        """Use other limits from now on, for handshakes that come later."""
        self._limits = limits

    def paused(self, on: bool) -> None:
        """The server runs again after a pause; see `turnserver.paths.Pausable`."""
        self._media_is_old = on

    def path(self, client: FiveTuple) -> ClientPath | None:
        """The path of a client; None when its session has ended."""
        return self._paths.get(client)

    def release(self, client: FiveTuple) -> None:
        """Does nothing: a path exists as long as its session."""

    def send(self, client: FiveTuple, frame: bytes) -> bool:
        """Send one whole frame; False if it had to be dropped."""
        path = self._paths.get(client)
        return path is not None and path.send(frame)

    def keep(self, client: FiveTuple, on: bool) -> None:
        """Set whether the client has an allocation and may therefore be idle; unknown clients are ignored."""
        path = self._paths.get(client)
        if path is not None:
            path.keep(on, self._now() + self._limits.idle_timeout)

    def detach(self, client: FiveTuple) -> ByteStream | None:
        """There is no stream to hand over: no TCP relays over DTLS (RFC 7350 §4.6)."""
        return None

    def close_client(self, client: FiveTuple) -> None:
        """End a client's session."""
        path = self._paths.get(client)
        if path is not None:
            self._end(path)

    # Datagrams in

    def _read(self, socket: UdpSocket, receiver: Receiver) -> None:
        if self._open:
            self._loop.add_reader(socket.fd, self._drain, socket, receiver)

    def _drain(self, socket: UdpSocket, receiver: Receiver) -> None:
        """One turn of the loop. A socket that cannot be read stays readable, so it is paused for a while."""
        try:
            burst = list(receiver.burst(socket, LISTENER_BURST))
        except RAISED as error:
            self._sink.fault("transport.read", error)
            self._loop.remove_reader(socket.fd)
            self._loop.call_later(FAULT_PAUSE, self._read, socket, receiver)
            return
        self._take(socket, burst)
        if len(burst) < LISTENER_BURST:
            self._media_is_old = False

    def _take(self, socket: UdpSocket, burst: Iterable[Datagram]) -> None:
        now = self._now()
        for frame, (size,), (source, tos) in burst:
            if not self._open:
                return  # the sink closed the listener during the burst
            data = frame[HEADROOM : HEADROOM + size]
            try:
                if size and classify(data[0]) is FrameKind.DTLS:
                    for record in records(data):
                        self._record(socket, source, record, tos, now)
                else:
                    self._reject(source, data)
            except RAISED as error:
                self._sink.fault("transport.read", error)
        self._flush()

    def _record(self, socket: UdpSocket, source: Source, record: bytes, tos: int, now: float) -> None:
        """By its state: a ClientHello, a step of a handshake, or of a session. Others are dropped."""
        if is_client_hello(record):
            self._hello(socket, source, record, now)
            return
        handshake = self._handshakes.get(source)
        path = self._sessions.get(source)
        if handshake is not None:
            self._step(handshake, record)
        if path is not None:
            # A client that begins again has new keys: what is meant for one session is a forgery to the other.
            self._session_record(path, record, tos, now)
        elif handshake is None:
            self._counters.dropped += 1

    def _session_record(self, path: DtlsPath, record: bytes, tos: int, now: float) -> None:
        try:
            message = path.session.feed(record)
        except (DtlsClosed, DtlsFailed):
            self._end(path)
            return
        if message is not None:
            self._deliver(path, message, tos, now)
        elif record[0] != _APPLICATION_DATA:
            for datagram in path.session.flight():  # the last flight again, or a refusal to renegotiate
                path.destination.send(datagram)

    def _deliver(self, path: DtlsPath, message: bytes, tos: int, now: float) -> None:
        """ChannelData with a live hop goes directly to its peer, the rest to the sink."""
        counters = self._counters
        counters.packets_in += 1
        counters.bytes_in += len(message)
        if len(message) < _HEADER.size or (self._media_is_old and _is_media(message)):
            counters.dropped += 1
            return
        if not path.kept:
            path.idle_deadline = now + self._limits.idle_timeout
        if message[0] & KIND_BITS == CHANNEL_BITS:
            number, length = _HEADER.unpack_from(message)
            if length > len(message) - _HEADER.size:
                counters.dropped += 1
                return
            hop = path.channels.get(number)
            if hop is not None and hop.expires > now:
                self._queue(hop, message[_HEADER.size : _HEADER.size + length], tos)
                return
        elif classify(message[0]) is not FrameKind.STUN:
            counters.dropped += 1
            return
        self._flush()  # what came before this frame is sent before the sink acts on it
        path.known = True
        try:
            self._sink.client_frame(path.client, message)
        except RAISED as error:
            self._sink.fault("transport.read", error, path.client)

    def _queue(self, hop: ChannelHop, payload: bytes, tos: int) -> None:
        """Add to the run of datagrams of one size that go to one hop."""
        if hop is not self._run_hop or tos != self._run_tos or len(payload) != len(self._run[0]):
            self._flush()
            self._run_hop, self._run_tos = hop, tos
        self._run.append(payload)

    def _flush(self) -> None:
        hop, run, self._run_hop, self._run = self._run_hop, self._run, None, []
        if hop is None:
            return
        try:
            if len(run) > 1 and hop.send_run(run, self._run_tos):
                return
            for payload in run:
                hop.send(payload, self._run_tos)
        except RAISED as error:
            self._sink.fault("hop.send", error)

    def _reject(self, source: Source, data: memoryview) -> None:
        """Drop what is not DTLS (RFC 7983); plain STUN has a line for the operator."""
        self._counters.dropped += 1
        if len(data) >= _HEADER.size and classify(data[0]) is FrameKind.STUN:
            self._crossings.say(Came.PLAIN_UDP, self.name, self.address, from_source(source))

    # Handshakes

    def _hello(self, socket: UdpSocket, source: Source, record: bytes, now: float) -> None:
        """A ClientHello: ask for a cookie, or let it wait for its turn if it has one."""
        hello = read_hello(record)
        if hello is None or len(record) > MAX_MESSAGE:
            self._counters.dropped += 1
        elif not self._cookies.accepts(source, hello, now):
            answer = verify_request(hello, self._cookies.make(source, hello, now))
            socket.to(to_sockaddr(from_source(source))).send(answer)
        elif self._is_known(source, hello) or len(self._hellos) >= MOST_HELLOS:
            self._counters.dropped += 1
        else:
            if not self._hellos:
                self._loop.call_soon(self._welcome_some)
            self._hellos.append((source, record, hello))

    def _is_known(self, source: Source, hello: DtlsHello) -> bool:
        """Whether it is one that has been taken already, retransmitted or late."""
        found = (self._handshakes.get(source), self._sessions.get(source))
        return any(each is not None and each.random == hello.random for each in found)

    def _welcome_some(self) -> None:
        """One turn of the loop for new handshakes; the rest waits for the next turn."""
        late = time.monotonic() + _TURN
        while self._hellos and self._open:
            source, record, hello = self._hellos.popleft()
            try:
                self._welcome(source, record, hello)
            except RAISED as error:
                self._sink.fault("transport.connection", error)
            if self._hellos and time.monotonic() > late:
                self._loop.call_soon(self._welcome_some)
                return

    def _welcome(self, source: Source, record: bytes, hello: DtlsHello) -> None:
        socket = self._socket
        if socket is None or self._is_known(source, hello):
            return
        client = from_source(source)
        destination = socket.to(to_sockaddr(client))
        protocols = hello.offer.protocols
        if not self._tls.ready:
            self._refuse(source, Reason.NO_CERTIFICATE)
            return
        if protocols is not None and ALPN_TURN.encode() not in protocols:
            self._refuse(source, Reason.TLS_NO_PROTOCOL)
            destination.send(no_application_protocol(hello))
            return
        before = self._handshakes.get(source)
        if before is not None:
            self._drop(before)
        slot = self._admit(client)
        if slot is None:
            return
        try:
            context = self._contexts.of(self._tls.shown(hello.offer.server_name, self.address.host))
            session = DtlsSession.accept(context, record, HANDSHAKE_MTU)
        except BaseException as error:
            slot.release()
            if not isinstance(error, DtlsFailed):
                raise
            self._refuse(source, *_reason(error))
            return
        deadline = self._now() + self._limits.handshake_timeout
        handshake = DtlsHandshake(source, destination, session, slot, random=hello.random, deadline=deadline)
        self._handshakes[source] = handshake
        slot.offer(lambda: self._drop(handshake), client.ip)
        self._go_on(handshake, session.begin)

    def _admit(self, client: Address) -> ConnectionSlot | None:
        """A slot for a handshake; None, and said, if the client has too many or may have none, or all are taken."""
        if self._limiter.clients.refuses(client.ip):
            self._counters.dropped += 1
            self._refusals.say(Reason.CLIENT_DENIED, "", client, f"{self.name} {self.address}")
            return None
        if not self._limiter.has_room(client.ip):
            self._turn_away(
                client, Reason.CONNECTIONS_PER_ADDRESS, "too many connections from one address", _PER_ADDRESS
            )
            return None
        evicted, full = self._limiter.evicted, self._limiter.full
        slot = self._limiter.admit(socket=False)
        if slot is None:
            self._turn_away(client, Reason.CONNECTIONS_FULL, "too many connections", full)
            return None
        if self._limiter.evicted > evicted:
            self._complain("idle connection closed to make room", {"for": str(client), "limit": full})
        slot.claim(client.ip)
        return slot

    def _step(self, handshake: DtlsHandshake, record: bytes) -> None:
        """One record of a handshake, which may be its last."""
        self._go_on(handshake, lambda: handshake.session.feed(record))

    def _go_on(self, handshake: DtlsHandshake, step: Callable[[], object]) -> None:
        try:
            step()
        except (DtlsClosed, DtlsFailed) as error:
            handshake.flush()  # an alert
            self._refuse(handshake.source, *_reason(error))
            self._drop(handshake)
            return
        handshake.flush()
        if handshake.session.established:
            self._establish(handshake)
        else:
            self._time(handshake)

    def _establish(self, handshake: DtlsHandshake) -> None:
        """The handshake is complete: the client is one from now on, and its former session is over."""
        handshake.stop()
        del self._handshakes[handshake.source]
        before = self._sessions.get(handshake.source)
        if before is not None:
            self._forget(before)
        self._serial += 1
        address = from_source(handshake.source)
        client = FiveTuple(self.kind, address, self.address, self.listener, self._serial)
        path = DtlsPath(client, handshake, self._counters, self._now() + self._limits.first_message_timeout)
        self._sessions[path.source] = self._paths[client] = path
        path.slot.offer(lambda: self._end(path), address.ip)

    def _time(self, handshake: DtlsHandshake) -> None:
        """Set the timer of the next retransmission."""
        handshake.stop()
        seconds = handshake.session.timeout()
        if seconds is not None:
            handshake.timer = self._loop.call_later(seconds, self._retransmit, handshake)

    def _retransmit(self, handshake: DtlsHandshake) -> None:
        try:
            handshake.session.retransmit()
            handshake.flush()
            self._time(handshake)
        except DtlsFailed as error:
            self._refuse(handshake.source, *_reason(error))
            self._drop(handshake)
        except RAISED as error:
            self._sink.fault("transport.connection", error)
            self._drop(handshake)

    # The ends

    def _drop(self, handshake: DtlsHandshake) -> None:
        """A handshake is over before it is complete."""
        handshake.stop()
        if self._handshakes.get(handshake.source) is handshake:
            del self._handshakes[handshake.source]
        handshake.slot.release()

    def _end(self, path: DtlsPath) -> None:
        """End a session, and say so to the client (RFC 5246 §7.2.1)."""
        if path.client in self._paths:
            for datagram in path.session.close():
                path.destination.send(datagram)
            self._forget(path)

    def _forget(self, path: DtlsPath) -> None:
        """A session is over; the sink is told in the next turn, when the caller has finished."""
        del self._paths[path.client]
        if self._sessions.get(path.source) is path:
            del self._sessions[path.source]
        path.channels.clear()
        path.slot.release()
        if path.known:
            self._loop.call_soon(self._sink.client_gone, path.client)

    def _refuse(self, source: Source, cause: Reason, why: str = "") -> None:
        self._counters.dropped += 1
        self._refusals.say(cause, why, from_source(source), f"{self.name} {self.address}")

    def _turn_away(self, client: Address, cause: Reason, line: str, limit: str | None) -> None:
        self._counters.dropped += 1
        self._refusals.counts[cause] += 1
        self._complain(line, {"client": str(client), "cause": str(cause), "limit": limit})

    def _complain(self, message: str, fields: dict[str, str | None]) -> None:
        """Log a warning at a limited rate per kind, because strangers can cause it at will."""
        self._lines.write(logging.WARNING, message, {"listener": f"{self.name} {self.address}", **fields})


def _reason(error: DtlsClosed | DtlsFailed) -> tuple[Reason, str]:
    if isinstance(error, DtlsClosed):
        return Reason.CONNECTION_BROKEN, "ended"
    return (Reason.TLS_ALERT if error.alert else Reason.TLS_FAILED), str(error)


def _is_media(frame: bytes) -> bool:
    """Whether a frame is ChannelData or a Send indication."""
    return frame[0] & KIND_BITS == CHANNEL_BITS or frame[:2] == _SEND_INDICATION
