"""A listener without a socket: the embedding program passes frames in and out.

For tests, and for programs that carry frames in another way. To the core its clients are like those of UDP: a frame is
a datagram, and the client's address is not proven. ::

    async with Server({"listeners": [{"transport": "memory", "address": "192.0.2.1"}]}) as server:
        (listener,) = server.transports
        listener.attach(client, received.append)
        listener.feed(client, request)
"""

import asyncio
import struct
from collections.abc import Callable, Sequence
from typing import Final

from stun.address import Address
from stun.demux import CHANNEL_BITS, KIND_BITS
from turnserver.core.types import ClientTransport, FiveTuple
from turnserver.faults import RAISED
from turnserver.paths import ChannelHop
from turnserver.transports.base import FrameSink, ListenerContext, ListenerLimits, ListenerSection, TransportCounters

__all__ = ["MemoryPath", "MemoryTransport"]

_HEADER: Final = struct.Struct("!HH")


class MemoryPath:
    """The path to one client; see `turnserver.paths.ClientPath`."""

    padded = False

    def __init__(self, transport: "MemoryTransport", client: FiveTuple) -> None:
        self.channels: dict[int, ChannelHop] = {}
        self.client = client
        self._transport = transport

    def send(self, data: bytes | memoryview, tos: int = 0) -> bool:
        """Pass one frame to the client; False if it had to be dropped."""
        return self._transport.deliver(self.client.address, bytes(data))

    def send_run(self, datagrams: Sequence[bytes | memoryview], tos: int = 0) -> bool:
        """Pass frames to the client; dropped ones are counted."""
        for datagram in datagrams:
            self.send(datagram, tos)
        return True


class MemoryTransport:
    """One listener; see `turnserver.transports.base.Transport`.

    ``clock`` gives the monotonic seconds that the expiry of a hop is measured on.
    """

    name = "memory"
    kind = ClientTransport.UDP
    local = True

    def __init__(self, listener: int, address: Address, *, clock: Callable[[], float]) -> None:
        self.listener = listener
        self.address = address
        self._clock = clock
        self._clients: dict[Address, Callable[[bytes], object]] = {}
        self._paths: dict[Address, MemoryPath] = {}
        self._sink: FrameSink | None = None
        self._loop: asyncio.AbstractEventLoop
        self._in = self._bytes_in = self._out = self._bytes_out = self._dropped = 0

    @classmethod
    def from_config(
        cls, section: ListenerSection, address: Address, index: int, context: ListenerContext
    ) -> "MemoryTransport":
        """The listener of a section of the configuration at one of its addresses."""
        return cls(index, address, clock=context.clock)

    # For the program

    def attach(self, client: Address, receive: Callable[[bytes], object]) -> Callable[[], None]:
        """Pass each frame sent to ``client`` to ``receive``, in a later turn of the event loop.

        Returns a function that ends this. Frames to a client that is not attached are dropped and counted.
        """
        self._clients[client] = receive

        def detach() -> None:
            if self._clients.get(client) is receive:
                del self._clients[client]

        return detach

    def feed(self, client: Address, frame: bytes) -> None:
        """One frame from ``client``. It is dropped and counted while the server does not serve."""
        sink = self._sink
        if sink is None:
            self._dropped += 1
            return
        self._in += 1
        self._bytes_in += len(frame)
        path = self._paths.get(client)
        hop = None if path is None else self._hop(path, frame)
        if hop is None:
            sink.client_frame(self._five_tuple(client), frame)
            return
        length = _HEADER.unpack_from(frame)[1]
        try:
            hop.send(frame[_HEADER.size : _HEADER.size + length])
        except RAISED as error:
            sink.fault("hop.send", error, self._five_tuple(client))

    def _hop(self, path: MemoryPath, frame: bytes) -> ChannelHop | None:
        """The hop for ChannelData (RFC 8656 §12.6); None for frames that the core has to see."""
        if len(frame) < _HEADER.size or frame[0] & KIND_BITS != CHANNEL_BITS:
            return None
        number, length = _HEADER.unpack_from(frame)
        hop = path.channels.get(number)
        live = hop is not None and hop.expires > self._clock() and length <= len(frame) - _HEADER.size
        return hop if live else None

    def _five_tuple(self, client: Address) -> FiveTuple:
        return FiveTuple(self.kind, client, self.address, self.listener)

    # For the engine

    @property
    def counters(self) -> TransportCounters:
        """What the listener has carried since it was started."""
        return TransportCounters(self._in, self._bytes_in, self._out, self._bytes_out, self._dropped)

    @property
    def connections(self) -> int:
        """None, ever."""
        return 0

    def bind(self) -> None:
        """Does nothing: there is no address that could be in use."""

    def serve(self, sink: FrameSink) -> None:
        """Accept frames from now on."""
        self._sink = sink
        self._loop = asyncio.get_running_loop()

    def use(self, limits: ListenerLimits) -> None:
        """Does nothing: the limits are for connections."""

    def path(self, client: FiveTuple) -> MemoryPath | None:
        """The path of a client, created if necessary; None while the server does not serve."""
        if self._sink is None:
            return None
        return self._paths.setdefault(client.address, MemoryPath(self, client))

    def release(self, client: FiveTuple) -> None:
        """Forget a path that has no route any more."""
        self._paths.pop(client.address, None)

    def send(self, client: FiveTuple, frame: bytes) -> bool:
        """Send one whole frame; False if it had to be dropped."""
        return self.deliver(client.address, frame)

    def deliver(self, client: Address, frame: bytes) -> bool:
        """Pass one frame to the receiver attached as ``client``; without one, count it as dropped and return False."""
        receive = self._clients.get(client)
        if receive is None or self._sink is None:
            self._dropped += 1
            return False
        self._out += 1
        self._bytes_out += len(frame)
        self._loop.call_soon(receive, frame)
        return True

    def close_client(self, client: FiveTuple) -> None:
        """Does nothing: there is no connection to close."""

    def close(self) -> None:
        """Stop passing frames in both directions; the counters stay."""
        self._sink = None
        self._paths.clear()
