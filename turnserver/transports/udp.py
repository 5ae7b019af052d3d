"""UDP listeners (RFC 8656 §3.1): one socket per local address, drained in place.

Nothing is stored about a source until the engine asks for its path, which it does only for clients that have a channel.
A datagram that is neither STUN nor ChannelData (RFC 7983, RFC 8656 §12) is dropped on its first byte, so that it costs
the server less than its sender.

A run of ChannelData of one size from one client over one channel goes to the peer with one system call where the kernel
can segment it (`turnserver.net.Destination.send_run`), and likewise for frames to a client.
"""

import asyncio
import logging
import struct
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final

from stun.address import Address
from stun.demux import CHANNEL_BITS, KIND_BITS, LAST_STUN_BYTE, TLS_HANDSHAKE
from turnserver.core.types import ClientTransport, FiveTuple
from turnserver.faults import RAISED
from turnserver.losses import LOOK_INTERVAL, Losses, LossLines, Sources
from turnserver.net import (
    Destination,
    Sockaddr,
    TosPolicy,
    UdpSocket,
    bind_udp,
    from_sockaddr,
    receive_buffer_of,
    to_sockaddr,
)
from turnserver.passed import NO_SOCKETS, PassedSockets
from turnserver.paths import ChannelHop
from turnserver.reasons import Reason
from turnserver.receiver import HEADROOM, Datagram, Receiver, Source, from_source, open_receiver, to_source
from turnserver.transports.base import FrameSink, ListenerContext, ListenerLimits, ListenerSection, TransportCounters
from turnserver.transports.crossed import Came, Crossings, Door
from turnserver.transports.startup import startup_error

__all__ = ["UdpPath", "UdpTransport", "bound_socket"]

RECEIVE_BUFFER: Final = 4 * 1024 * 1024
"""Bytes asked for, shared by every client of the listener: 300 ms of 100 Mbit/s. The system may grant less."""

SEND_BUFFER: Final = 1024 * 1024
"""Bytes asked for. It fills only when the link is slower than the traffic; a larger buffer would only add delay."""

LISTENER_BURST: Final = 64
"""Datagrams read per turn of the loop (about half a millisecond), so that relays and timers get their turn."""

SAMPLED_BURST: Final = 64
"""Of so many full bursts, the sources of one are remembered, to name the source of a flood."""

FAULT_PAUSE: Final = 1.0
"""Seconds for which a socket that could not be read is not read again."""

_logger = logging.getLogger("meshturn.udp")

_HEADER_SIZE: Final = 4
_KIND_BITS: Final = KIND_BITS << 8
_CHANNEL_BITS: Final = CHANNEL_BITS << 8
_SEND_INDICATION: Final = 0x0016
_LAST_STUN: Final = LAST_STUN_BYTE << 8 | 0xFF
_DTLS_HANDSHAKE: Final = TLS_HANDSHAKE << 8 | 0xFE
"""RFC 9147 §5.3: the record of a ClientHello has one of the versions 0xFEFF and 0xFEFD."""
_PAYLOAD_AT: Final = HEADROOM + _HEADER_SIZE
_read_header: Final = struct.Struct("!HH").unpack_from


def bound_socket(
    address: Address, losses: LossLines, *, copies_tos: bool, passed: PassedSockets
) -> tuple[UdpSocket, Address]:
    """A socket for the datagrams of many clients, and its address (with the real port if 0 was asked for).

    It is the one of ``passed`` with this address, if there is one.

    Raises `turnserver.errors.StartupError` with one sentence and a hint when the address cannot be used.
    """
    try:
        sock = bind_udp(
            address,
            receive_tos=copies_tos,
            receive_buffer=RECEIVE_BUFFER,
            send_buffer=SEND_BUFFER,
            bound=passed.datagrams(address),
        )
    except OSError as error:
        raise startup_error("UDP", address, error) from error
    made, bound = UdpSocket(sock), from_sockaddr(sock.getsockname())
    losses.small_buffer(bound, made, RECEIVE_BUFFER)
    return made, bound


class UdpPath(Destination):
    """The path to one client of one listener; see `turnserver.paths.ClientPath`."""

    __slots__ = ("channels", "client")

    padded = False

    def __init__(self, client: FiveTuple, socket: UdpSocket, sockaddr: Sockaddr) -> None:
        super().__init__(socket, sockaddr)
        self.channels: dict[int, ChannelHop] = {}
        self.client = client


class UdpTransport:
    """One UDP listener on exactly one local address.

    ``tos`` says whether DSCP and ECN of relayed packets are carried or cleared (RFC 8656 §14); ``doors`` gives all
    listeners, for the log; ``clock`` is the monotonic clock, in seconds, that the expiry of a hop is measured on.
    ``passed`` may have a socket for it.
    """

    name = "udp"
    kind = ClientTransport.UDP
    local = False

    def __init__(
        self,
        listener: int,
        address: Address,
        *,
        tos: TosPolicy = "clear",
        doors: Callable[[], Sequence[Door]] = tuple,
        clock: Callable[[], float] = time.monotonic,
        passed: PassedSockets = NO_SOCKETS,
    ) -> None:
        self.listener = listener
        self.address = address
        self._copies_tos = tos == "copy"
        self._passed = passed
        self._clock = clock
        self._paths: dict[Source, UdpPath] = {}
        self._socket: UdpSocket | None = None
        self._open = False
        self._packets_in = 0
        self._bytes_in = 0
        self._dropped = 0
        self._full_bursts = self._lost_seen = 0
        self._postponed = False
        self._receiver: Receiver | None = None
        self._sources = Sources()
        self._losses = LossLines(_logger, clock)
        self._crossings = Crossings(_logger, doors, clock)
        self._looking: asyncio.TimerHandle | None = None
        self._sink: FrameSink
        self._loop: asyncio.AbstractEventLoop

    @classmethod
    def from_config(
        cls, section: ListenerSection, address: Address, index: int, context: ListenerContext
    ) -> "UdpTransport":
        """The listener of a section of the configuration at one of its addresses."""
        return cls(index, address, tos=context.tos, doors=context.doors, clock=context.clock, passed=context.passed)

    @property
    def counters(self) -> TransportCounters:
        """What the listener has carried since it was started."""
        out = self._socket
        if out is None:
            return TransportCounters()
        return TransportCounters(
            self._packets_in,
            self._bytes_in,
            out.packets_out,
            out.bytes_out,
            self._dropped + out.dropped + out.lost,
        )

    @property
    def losses(self) -> Losses:
        """What this host has lost of it since the listener was started."""
        return Losses() if self._socket is None else Losses(self._socket.lost, self._socket.failed)

    @property
    def refused(self) -> Mapping[Reason, int]:
        """Datagrams of another protocol, which belongs to another listener, since the start, by the reason."""
        return self._crossings.counts.copy()

    @property
    def receive_buffer(self) -> int:
        """Bytes granted by the system for datagrams that wait; 0 without a socket."""
        return 0 if self._socket is None or self._socket.fd < 0 else receive_buffer_of(self._socket.sock)

    @property
    def connections(self) -> int:
        """None, ever."""
        return 0

    def bind(self) -> None:
        """Bind the address; sets ``address`` (with the real port if 0 was asked for).

        Raises `turnserver.errors.StartupError` with one sentence and a hint when the address cannot be used.
        """
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
        receiver = self._receiver = open_receiver(socket.sock.family, LISTENER_BURST)
        self._loop.add_reader(socket.fd, self._drain, socket, receiver)
        self._looking = self._loop.call_later(LOOK_INTERVAL, self._look, socket)

    def use(self, limits: ListenerLimits) -> None:
        """Does nothing: the limits are for connections."""

    def path(self, client: FiveTuple) -> UdpPath | None:
        """The path of a client, created if necessary; None before the start and after the end."""
        if self._socket is None or not self._open:
            return None
        source = to_source(client.address)
        path = self._paths.get(source)
        if path is None:
            path = self._paths[source] = UdpPath(client, self._socket, to_sockaddr(client.address))
        return path

    def release(self, client: FiveTuple) -> None:
        """Forget a path that has no route any more."""
        self._paths.pop(to_source(client.address), None)

    def send(self, client: FiveTuple, frame: bytes) -> bool:
        """Send one whole frame; False if it had to be dropped. No path is made for it."""
        return self._socket is not None and self._socket.to(to_sockaddr(client.address)).send(frame)

    def close_client(self, client: FiveTuple) -> None:
        """Does nothing: there is no connection to close."""

    def close(self) -> None:
        """Stop listening and drop every path; the counters stay."""
        socket = self._socket
        if socket is None or socket.fd < 0:
            return
        if self._open:
            self._open = False
            self._paths.clear()
            self._loop.remove_reader(socket.fd)
            if self._looking is not None:
                self._looking.cancel()
        socket.close()

    def paused(self, on: bool) -> None:
        """Read only requests, and drop media, until the socket is empty (``on``); or read everything again.

        The reading is replaced and not the drain loop, so that the loop costs nothing more when there was no pause.
        """
        if self._receiver is None:
            return
        if on:
            self._receiver.burst = self._requests  # type: ignore[method-assign,assignment]
        else:
            vars(self._receiver).pop("burst", None)

    def _requests(self, socket: UdpSocket, limit: int) -> list[Datagram]:
        """What waits in the socket, without ChannelData and Send indications."""
        receiver = self._receiver
        burst = [] if receiver is None else list(type(receiver).burst(receiver, socket, limit))
        kept = [each for each in burst if not _is_media(each[0])]
        self._packets_in += len(burst) - len(kept)
        self._dropped += len(burst) - len(kept)
        if len(burst) < limit:
            self.paused(False)
        return kept

    def _drain(self, socket: UdpSocket, receiver: Receiver, rest: Iterator[Datagram] | None = None) -> None:
        """One turn of the loop: ChannelData with a live hop goes directly to its peer, the rest to the sink.

        An exception over one datagram costs only that one: ``rest`` is the remainder of the burst then.
        """
        paths = self._paths
        now = self._clock()
        run: list[memoryview] = []
        run_hop: ChannelHop | None = None
        count = octets = run_size = run_tos = 0
        fault: BaseException | None = None
        try:
            rest = iter(receiver.burst(socket, LISTENER_BURST)) if rest is None else rest
            for frame, (size,), (source, tos) in rest:
                count += 1
                octets += size
                if size < _HEADER_SIZE:
                    self._dropped += 1
                    continue
                number, length = _read_header(frame, HEADROOM)
                if number & _KIND_BITS == _CHANNEL_BITS:
                    if length > size - _HEADER_SIZE:
                        self._dropped += 1
                        continue
                    path = paths.get(source)
                    hop = None if path is None else path.channels.get(number)
                    if hop is not None and hop.expires > now:
                        payload = frame[_PAYLOAD_AT : _PAYLOAD_AT + length]
                        if hop is run_hop and length == run_size and tos == run_tos:
                            run.append(payload)
                            continue
                        if run_hop is not None:
                            self._flush(run_hop, run, run_tos)
                        run = [payload]
                        run_hop = hop
                        run_size = length
                        run_tos = tos
                        continue
                elif number > _LAST_STUN:
                    self._reject(number, source)
                    continue
                if run_hop is not None:  # datagrams before this one must be sent before the sink acts on it
                    self._flush(run_hop, run, run_tos)
                    run_hop = None
                self._pass_up(source, bytes(frame[HEADROOM : HEADROOM + size]))
        except RAISED as error:
            fault = error
        if run_hop is not None:
            self._flush(run_hop, run, run_tos)
        self._packets_in += count
        self._bytes_in += octets
        if fault is not None or count == LISTENER_BURST:
            self._after_burst(fault, socket, receiver, rest)

    def _after_burst(
        self, fault: BaseException | None, socket: UdpSocket, receiver: Receiver, rest: Iterator[Datagram] | None
    ) -> None:
        """After a fault, go on. After a full burst, now and then have the sources of the next one remembered."""
        if fault is not None:
            self._failed(fault, socket, receiver, rest)
            return
        if self._full_bursts % SAMPLED_BURST == 0 and self._open:
            self._loop.add_reader(socket.fd, self._sample, socket, receiver)
        self._full_bursts += 1

    def _sample(self, socket: UdpSocket, receiver: Receiver) -> None:
        """One turn of the loop in which the sources are remembered: one of them may be most of a flood."""
        self._loop.add_reader(socket.fd, self._drain, socket, receiver)
        try:
            burst = list(receiver.burst(socket, LISTENER_BURST))
        except RAISED as error:
            self._failed(error, socket, receiver, None)
            return
        self._sources.add(source for _, _, (source, _) in burst)
        self._drain(socket, receiver, iter(burst))

    def _look(self, socket: UdpSocket) -> None:
        """Say what has been lost since the last look; if there is no sample yet, one look later."""
        self._looking = self._loop.call_later(LOOK_INTERVAL, self._look, socket)
        try:
            lost = socket.lost
            self._postponed = lost != self._lost_seen and self._sources.empty and not self._postponed
            if self._postponed:
                self._full_bursts = 0  # the next full one is followed by a sample
                return
            self._lost_seen = lost
            self._losses.look(self.address, socket, RECEIVE_BUFFER, self._sources)
        except RAISED as error:
            self._sink.fault("transport.look", error)

    def _failed(
        self, error: BaseException, socket: UdpSocket, receiver: Receiver, rest: Iterator[Datagram] | None
    ) -> None:
        """Go on with the rest of a burst. A socket that cannot be read stays readable, so it is paused for a while."""
        self._sink.fault("transport.read", error)
        if rest is not None:
            self._drain(socket, receiver, rest)
            return

        def go_on() -> None:
            if self._open:
                self._loop.add_reader(socket.fd, self._drain, socket, receiver)

        self._loop.remove_reader(socket.fd)
        self._loop.call_later(FAULT_PAUSE, go_on)

    def _pass_up(self, source: Source, data: bytes) -> None:
        if not self._open:
            return  # the sink closed the listener during a burst
        path = self._paths.get(source)
        if path is not None:
            client = path.client
        else:
            client = FiveTuple(self.kind, from_source(source), self.address, self.listener)
        try:
            self._sink.client_frame(client, data)
        except RAISED as error:
            self._sink.fault("transport.read", error, client)

    def _reject(self, number: int, source: Source) -> None:
        """Drop what is neither STUN nor ChannelData (RFC 7983)."""
        self._dropped += 1
        if number == _DTLS_HANDSHAKE:
            self._crossings.say(Came.DTLS, self.name, self.address, from_source(source))

    def _flush(self, hop: ChannelHop, run: list[memoryview], tos: int) -> None:
        try:
            if len(run) > 1 and hop.send_run(run, tos):
                return
            for payload in run:
                hop.send(payload, tos)
        except RAISED as error:
            self._sink.fault("hop.send", error)


def _is_media(frame: memoryview) -> bool:
    """Whether a datagram is ChannelData or a Send indication."""
    number, _ = _read_header(frame, HEADROOM)
    return bool(number & _KIND_BITS == _CHANNEL_BITS or number == _SEND_INDICATION)
