"""UDP listeners (RFC 8656 §3.1): one socket per local address, drained in place.

Nothing is remembered about a source until the engine asks for its path, which it does only for clients that have a
channel. A datagram costs a stranger more than it costs the server: what is neither STUN nor ChannelData (RFC 7983,
RFC 8656 §12) is dropped on its first byte.

A run of ChannelData of one size from one client over one channel goes to the peer with one system call where the kernel
can cut it up again (`turnserver.net.UdpSocket.send_run`), and likewise for frames to a client.
"""

import asyncio
import time
from collections.abc import Callable
from typing import Final

from stun.address import Address
from turnserver.core.types import ClientTransport, FiveTuple
from turnserver.net import TOS_BYTE, Sockaddr, TosPolicy, UdpSocket, bind_udp, from_sockaddr, to_sockaddr
from turnserver.transports.base import ChannelHop, FrameSink, TransportCounters
from turnserver.transports.startup import startup_error

__all__ = ["UdpPath", "UdpTransport"]

RECEIVE_BUFFER: Final = 4 * 1024 * 1024
"""Bytes asked for, shared by every client of the listener: 300 ms of 100 Mbit/s. The system may grant less."""

SEND_BUFFER: Final = 1024 * 1024
"""Bytes asked for. It fills only when the link is slower than the traffic; then more would be delay, not delivery."""

LISTENER_BURST: Final = 64
"""Datagrams read per turn of the loop (about half a millisecond), so that relays and timers have theirs."""

_HEADER_SIZE: Final = 4


class UdpPath:
    """The way to one client of one listener; see `turnserver.transports.base.Path`."""

    __slots__ = ("_sockaddr", "_socket", "channels", "client")

    padded = False

    def __init__(self, client: FiveTuple, socket: UdpSocket, sockaddr: Sockaddr) -> None:
        self.channels: dict[int, ChannelHop] = {}
        self.client = client
        self._socket = socket
        self._sockaddr = sockaddr

    def send(self, frame: bytes, tos: int = 0) -> bool:
        """Send one whole frame to the client; False if it had to be dropped."""
        return self._socket.send(frame, self._sockaddr, tos)

    def send_run(self, frames: list[bytes], tos: int = 0) -> bool:
        """Send frames of one size in one go; False if *none* was sent, and the caller may try them one by one."""
        return self._socket.send_run(frames, self._sockaddr, tos)


class UdpTransport:
    """One UDP listener on exactly one local address.

    ``tos`` says whether DSCP and ECN of relayed packets are carried or cleared (RFC 8656 §14); ``clock`` is the
    monotonic clock, in seconds, that the expiry of a hop is measured on.
    """

    kind = ClientTransport.UDP

    def __init__(
        self,
        listener: int,
        address: Address,
        *,
        tos: TosPolicy = "clear",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.listener = listener
        self.address = address
        self._copies_tos = tos == "copy"
        self._clock = clock
        self._paths: dict[Sockaddr, UdpPath] = {}
        self._socket: UdpSocket | None = None
        self._open = False
        self._packets_in = 0
        self._bytes_in = 0
        self._dropped = 0
        self._sink: FrameSink
        self._loop: asyncio.AbstractEventLoop

    @property
    def counters(self) -> TransportCounters:
        """What the listener has carried since it was started."""
        out = self._socket
        if out is None:
            return TransportCounters()
        return TransportCounters(
            self._packets_in, self._bytes_in, out.packets_out, out.bytes_out, self._dropped + out.dropped
        )

    def start(self, sink: FrameSink) -> None:
        """Begin to listen, inside the running loop; sets ``address`` (the port, if 0 was asked for).

        Raises `turnserver.errors.StartupError` with one sentence and a hint when the address cannot be used.
        """
        try:
            sock = bind_udp(
                self.address, receive_tos=self._copies_tos, receive_buffer=RECEIVE_BUFFER, send_buffer=SEND_BUFFER
            )
        except OSError as error:
            raise startup_error("UDP", self.address, error) from error
        self._sink = sink
        self._socket = UdpSocket(sock, receive_tos=self._copies_tos)
        self._open = True
        self.address = from_sockaddr(sock.getsockname())
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(sock.fileno(), self._drain, self._socket)

    def path(self, client: FiveTuple) -> UdpPath | None:
        """The path of a client, made if need be; None before the start and after the end."""
        if self._socket is None or not self._open:
            return None
        sockaddr = to_sockaddr(client.client)
        path = self._paths.get(sockaddr)
        if path is None:
            path = self._paths[sockaddr] = UdpPath(client, self._socket, sockaddr)
        return path

    def release(self, client: FiveTuple) -> None:
        """Forget a path that carries no route any more."""
        self._paths.pop(to_sockaddr(client.client), None)

    def send(self, client: FiveTuple, frame: bytes) -> bool:
        """Send one whole frame; False if it had to be dropped. No path is made for it."""
        return self._socket is not None and self._socket.send(frame, to_sockaddr(client.client), 0)

    def close_client(self, client: FiveTuple) -> None:
        """There is no connection to close."""

    def close(self) -> None:
        """Stop listening and drop every path; the counters stay."""
        if self._socket is None or not self._open:
            return
        self._open = False
        self._paths.clear()
        self._loop.remove_reader(self._socket.sock.fileno())
        self._socket.close()

    def _drain(self, socket: UdpSocket) -> None:
        """One turn of the loop: ChannelData with a live hop goes straight to its peer, the rest to the sink."""
        copies_tos = self._copies_tos
        paths = self._paths
        burst = socket.receive(LISTENER_BURST)
        now = self._clock()
        run: list[bytes] = []
        run_hop: ChannelHop | None = None
        octets = run_size = run_tos = tos = 0
        for packet in burst:
            data = packet[0]
            size = len(data) - _HEADER_SIZE
            octets += size
            if size < 0:
                self._dropped += 1
                continue
            first = data[0]
            if first & 0xC0 == 0x40:
                length = data[2] << 8 | data[3]
                if length > size:
                    self._dropped += 1
                    continue
                path = paths.get(packet[-1])
                hop = None if path is None else path.channels.get(first << 8 | data[1])
                if hop is not None and hop.expires > now:
                    if copies_tos:
                        tos = packet[1][0][2][TOS_BYTE] if packet[1] else 0
                    payload = data[_HEADER_SIZE : _HEADER_SIZE + length]
                    if hop is run_hop and length == run_size and tos == run_tos:
                        run.append(payload)
                        continue
                    if run_hop is not None:
                        _flush(run_hop, run, run_tos)
                    run = [payload]
                    run_hop = hop
                    run_size = length
                    run_tos = tos
                    continue
            elif first > 3:
                self._dropped += 1
                continue
            if run_hop is not None:  # what came before must not overtake the sink's doings
                _flush(run_hop, run, run_tos)
                run_hop = None
            self._pass_up(packet[-1], data)
        if run_hop is not None:
            _flush(run_hop, run, run_tos)
        self._packets_in += len(burst)
        self._bytes_in += octets + _HEADER_SIZE * len(burst)

    def _pass_up(self, source: Sockaddr, data: bytes) -> None:
        if not self._open:
            return  # the sink closed the listener in the middle of a burst
        path = self._paths.get(source)
        if path is not None:
            client = path.client
        else:
            client = FiveTuple(self.kind, from_sockaddr(source), self.address, self.listener)
        self._sink.client_frame(client, data)


def _flush(hop: ChannelHop, run: list[bytes], tos: int) -> None:
    if len(run) == 1:
        hop.send(run[0], tos)
    else:
        hop.send_run(run, tos)
