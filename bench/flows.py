"""Flows: a TURN client with one channel, and a peer that sends every packet back.

A flow is a closed loop. Its packets are tokens: the client sends each once, the server relays it to the peer, the peer
returns it, the server relays it back, and the client checks it and sends it again. The load is thus never ahead of the
server by more than the packets in flight, and every turn of a token is two relayed packets.

There is one class for each transport of the client leg (:data:`bench.legs.LEGS`): how to connect, how to do a control
transaction, the format of a ChannelData frame, and the function that empties a readable socket.
"""

import errno
import socket
import struct
import time
from abc import ABC, abstractmethod
from array import array
from collections.abc import Callable, Iterator
from typing import Any, Generic, Protocol, TypeVar

from bench.mmsg import Datagrams
from bench.turn import CHANNEL, Control
from stun.address import Address
from stun.client.authentication import Login

__all__ = [
    "CHANNEL_HEADER",
    "CLIENT_HOST",
    "PACKETS_PER_PEER",
    "PEER_HOST",
    "ClientSocket",
    "Counters",
    "DatagramLeg",
    "Flow",
    "Leg",
    "Peer",
    "UdpLeg",
    "bound_datagrams",
    "count_stray",
    "explain",
]

# Clients and peers live on loopback addresses of their own, so they never take a relay port from the server.
CLIENT_HOST = "127.0.0.2"
PEER_HOST = "127.0.0.3"

# No more packets in flight than this meet in one peer socket: with 1,200 bytes each they fit its default buffer.
PACKETS_PER_PEER = 64

_RECEIVE = 4096
_WORTH_BATCHING = 4  # packets in flight from which one call for several is cheaper than a call for each
_TOKENS = 256  # a token's number is one byte
CHANNEL_HEADER = struct.Struct("!HH")
_MARK = struct.Struct("!BBH")  # token, magic, flow
_MAGIC = 0xA5


class Counters:
    """The counters of the main loop: one object per process, updated once per wake-up of a socket."""

    __slots__ = ("at_client", "at_peer", "corrupt", "late", "latencies", "resend", "sent_by_client", "sent_by_peer")

    def __init__(self) -> None:
        self.sent_by_client = 0
        self.at_peer = 0
        self.sent_by_peer = 0
        self.at_client = 0
        self.corrupt = 0
        self.late = 0
        self.resend = True  # False while draining: receive, count, send nothing
        self.latencies = array("q")  # nanoseconds


class ClientSocket(Protocol):
    """What the loop needs from a client's socket, with any transport."""

    def send(self, data: bytes | bytearray, /) -> int:
        """Send one frame."""

    def fileno(self) -> int:
        """The descriptor to wait for."""

    def setblocking(self, flag: bool, /) -> None:
        """Blocking for the set-up, not so for the loop."""

    def close(self) -> None:
        """Close the socket."""


class DatagramSocket(ClientSocket, Protocol):
    """The same where a request may be lost."""

    def settimeout(self, seconds: float, /) -> None:
        """How long to wait for an answer."""


_S = TypeVar("_S", bound=ClientSocket)
_D = TypeVar("_D", bound=DatagramSocket)


class Leg(Protocol[_S]):
    """The client's side of a flow over one transport."""

    reliable: bool
    """Whether requests are sent once, and ChannelData is padded."""

    def connect(self, server: tuple[str, int], source: tuple[str, int]) -> _S:
        """A connected, blocking socket."""

    def transact(self, connection: _S, control: Control) -> None:
        """Complete the pending request of *control*."""

    def frame(self, channel: int, payload: bytes) -> bytes:
        """One ChannelData message as it goes on this transport."""

    def reader(self, flow: "Flow[_S]", counters: Counters) -> Callable[[], None]:
        """The function that is called whenever the (now non-blocking) socket is readable."""


class Flow(Generic[_S]):
    """One client, its allocation and channel, its peer, and the circulating tokens."""

    def __init__(self, leg: Leg[_S], number: int, in_flight: int, payload: int) -> None:
        self.leg = leg
        self.number = number
        self.payload = payload
        self.client: _S
        self.frames: dict[int, bytes | bytearray] = {}
        self.turns: dict[int, int] = {}
        self.probe = 0  # the token whose turns are timed
        self.probe_sent = 0
        self._seen: dict[int, int] = {}
        self._next_token = 0
        for _ in range(in_flight):
            self._add_token()

    def open(self, server: tuple[str, int], who: Login, peer: Address) -> None:
        """Allocate, bind the channel to the peer, and make the socket ready for the loop."""
        self.client = self.leg.connect(server, (CLIENT_HOST, 0))
        control = Control(who, reliable=self.leg.reliable)
        control.allocate()
        self.leg.transact(self.client, control)
        control.bind(CHANNEL, peer)
        self.leg.transact(self.client, control)
        self.client.setblocking(False)

    def close(self) -> None:
        """Close the socket if it was opened."""
        client: _S | None = getattr(self, "client", None)
        if client is not None:
            client.close()

    def start(self) -> Iterator[None]:
        """Send the tokens for the first time, one at each step."""
        self.probe_sent = time.monotonic_ns()
        for frame in list(self.frames.values()):
            self.client.send(frame)
            yield

    def replace_lost(self) -> list[bytes | bytearray]:
        """Give up tokens that have not moved since the last call; return the frames to send in their place.

        A replaced token that arrives later has no frame any more: the loop counts it as late and ends it.
        """
        turns, seen = self.turns, self._seen
        lost = [token for token, count in turns.items() if seen.get(token) == count]
        replacements = []
        for token in lost:
            del turns[token], self.frames[token]
            fresh = self._add_token()
            replacements.append(self.frames[fresh])
            if token == self.probe:
                self.probe, self.probe_sent = fresh, time.monotonic_ns()
        self._seen = dict(turns)
        return replacements

    def came_back(self, token: int, counters: Counters) -> None:
        """One more turn of a token that is as it was sent; those of one token are timed."""
        self.turns[token] += 1
        if token == self.probe:
            now = time.monotonic_ns()
            counters.latencies.append(now - self.probe_sent)
            self.probe_sent = now

    def _add_token(self) -> int:
        """Make a token under a number that is not in use; its payload names it and its flow."""
        token = self._next_token
        while token in self.frames:
            token = (token + 1) % _TOKENS
        self._next_token = (token + 1) % _TOKENS
        mark = _MARK.pack(token, _MAGIC, self.number)
        filling = bytes((self.number * 7 + token * 13 + place) % 256 for place in range(self.payload - len(mark)))
        self.frames[token] = self.leg.frame(CHANNEL, mark + filling)
        self.turns[token] = 0
        return token


def bound_datagrams(server: tuple[str, int], source: tuple[str, int]) -> socket.socket:
    """A blocking UDP socket bound to *source* that only hears the server."""
    connection = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        connection.bind(source)
        connection.connect(server)
    except OSError:
        connection.close()
        raise
    return connection


class DatagramLeg(ABC, Generic[_D]):
    """What all clients have in common that send a message in a datagram of its own."""

    reliable = False

    @abstractmethod
    def received(self, connection: _D) -> bytes:
        """The next message; nothing for a datagram that has none. Raises `TimeoutError` when none comes."""

    def transact(self, connection: _D, control: Control) -> None:
        """Send, wait, and send again when nothing comes; raise :class:`BenchError` when nothing comes at all."""
        while True:
            for frame in control.frames():
                connection.send(frame)
            connection.settimeout(max(control.deadline - time.monotonic(), 0.001))
            try:
                if control.feed(self.received(connection)):
                    return
            except TimeoutError:
                continue

    def frame(self, channel: int, payload: bytes) -> bytes:
        """RFC 8656 §12.4: over datagrams the padding is not needed and not sent."""
        return CHANNEL_HEADER.pack(channel, len(payload)) + payload


class UdpLeg(DatagramLeg[socket.socket]):
    """The client speaks UDP to the server: one datagram is one message, and ChannelData has no padding."""

    def connect(self, server: tuple[str, int], source: tuple[str, int]) -> socket.socket:
        """A socket bound to *source* that only hears the server."""
        return bound_datagrams(server, source)

    def received(self, connection: socket.socket) -> bytes:
        """What the next datagram holds."""
        return connection.recv(_RECEIVE)

    def reader(self, flow: Flow[socket.socket], counters: Counters) -> Callable[[], None]:
        """Empty the client's socket; each token that came back intact is sent again."""
        if len(flow.frames) >= _WORTH_BATCHING:
            return _make_batch_reader(flow, counters)
        receive, send = flow.client.recv_into, flow.client.send
        frames, came_back = flow.frames, flow.came_back
        budget = range(len(frames))
        size = len(frames[flow.probe])
        buffer = bytearray(size)  # exactly one frame: what is longer shows in the length, by MSG_TRUNC
        token_at = CHANNEL_HEADER.size

        def read() -> None:
            received = sent = 0
            try:
                for _ in budget:
                    length = receive(buffer, 0, socket.MSG_TRUNC)
                    received += 1
                    token = buffer[token_at]
                    if buffer != frames.get(token) or length != size:
                        count_stray(bytes(buffer), length, flow, counters)
                        continue
                    came_back(token, counters)
                    if counters.resend:
                        send(buffer)
                        sent += 1
            except BlockingIOError:
                pass
            finally:
                counters.at_client += received
                counters.sent_by_client += sent

        return read


class Peer:
    """A socket behind the relay that sends every datagram back to where it came from: the peer of several flows.

    Flows share it as the clients of one conference server would, so that the generator stays cheaper than the server.
    """

    def __init__(self, payload: int, counters: Counters) -> None:
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind((PEER_HOST, 0))
        self.socket.setblocking(False)
        self.address = Address.parse(*self.socket.getsockname())
        self._datagrams = Datagrams(self.socket, PACKETS_PER_PEER, payload)
        self._counters = counters

    def read(self) -> None:
        """Receive all waiting datagrams and send them back; to be called when the socket is readable."""
        counters, datagrams = self._counters, self._datagrams
        count = datagrams.receive()
        counters.at_peer += count
        if datagrams.all_whole(count):
            counters.sent_by_peer += datagrams.send(count)
        else:
            counters.corrupt += 1

    def close(self) -> None:
        """Close the socket."""
        self.socket.close()


def _make_batch_reader(flow: Flow[socket.socket], counters: Counters) -> Callable[[], None]:
    """The UDP reader for flows with several packets in flight: receives all in one call, and sends them in another."""
    frames, came_back = flow.frames, flow.came_back
    size = len(frames[flow.probe])
    datagrams = Datagrams(flow.client, len(frames), size)
    data = datagrams.data
    token_at = CHANNEL_HEADER.size

    def read() -> None:
        count = datagrams.receive()
        counters.at_client += count
        whole = datagrams.all_whole(count)
        for start in range(0, count * size, size):
            token = data[start + token_at]
            if data[start : start + size] != frames.get(token):
                count_stray(bytes(data[start : start + size]), size, flow, counters)
                whole = False
                continue
            came_back(token, counters)
        if whole and counters.resend:
            counters.sent_by_client += datagrams.send(count)

    return read


def count_stray(frame: bytes, length: int, flow: Flow[Any], counters: Counters) -> None:
    """Count a frame that is not a token of the flow: late if it was one before, otherwise damaged."""
    token = frame[CHANNEL_HEADER.size]
    mark = _MARK.pack(token, _MAGIC, flow.number)
    if length == len(frame) and token not in flow.frames and frame[CHANNEL_HEADER.size :].startswith(mark):
        counters.late += 1
    else:
        counters.corrupt += 1


def explain(error: OSError) -> str:
    """Explain what a socket error means for the benchmark."""
    if error.errno == errno.ECONNREFUSED:
        return "connection refused: the server or one of its relay sockets has closed"
    return str(error)
