"""An engine that shows each participant to itself: what it publishes on one connection comes back on the other.

It forwards packets as they are, but for payload type, SSRC and ids of extensions, repeats what a receiver asks of the
sender, and says that there is bandwidth for everything (REMB). That is enough to drive browsers through descriptions,
connections and sockets; what a room does is not its business.
"""

import asyncio
import os
import struct
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

from stun.address import Address
from tests.support.media_peer import identity
from turnserver.media.connection import Connected, Failed, PeerConnection, Rtcp, Rtp, Wire
from turnserver.media.demux import Demux
from turnserver.media.edge import MediaEdge
from turnserver.media.ice import make_credentials
from turnserver.media.negotiation import (
    EXTENSION_IDS,
    FORMATS,
    RID,
    OfferedMedia,
    PublishedMedia,
    answer_publisher,
    offer_to_subscriber,
)
from turnserver.media.rtcp import Pli
from turnserver.media.rtp import find_extension, renumber_extensions
from turnserver.media.sdp import LocalTransport, RtpStream, read_description

__all__ = ["LoopEngine", "LoopServer", "Mirror", "loop_server"]

_Result = TypeVar("_Result")

_ELSEWHERE = Address(b"\xc0\x00\x02\xff", 9)

_REPORT = struct.pack("!BBHI", 0x80, 201, 1, 1)
"""An empty receiver report, with which compound packets begin (RFC 3550 §6.1)."""


class Mirror:
    """One participant's two connections. ``seen`` are the SSRCs that came; ``why`` says why a connection has failed."""

    def __init__(self, publish: PeerConnection, subscribe: PeerConnection) -> None:
        self.publish = publish
        self.subscribe = subscribe
        self.media: tuple[PublishedMedia, ...] = ()
        self.seen: dict[int, PublishedMedia] = {}
        self.profiles: list[str] = []
        self.failures: list[Failed] = []
        self.rids: set[str] = set()
        self.told = 0.0
        self.keyframe_wanted = 0.0


class LoopEngine:
    """See the module; it is a `turnserver.media.edge.MediaSockets`."""

    def __init__(self) -> None:
        self.wire = Wire()
        self.demux = Demux()
        self.candidates: tuple[Address, ...] = ()
        self.challenges = False
        """Whether a path is proven by an answer to a Binding request alone, and by no handshake."""
        self.mirrors: dict[PeerConnection, Mirror] = {}

    def join(self, offer: str, **choices: object) -> tuple[Mirror, str, str]:
        """A participant: the answer to its offer, and the offer of what it will see."""
        made = [
            PeerConnection(
                identity(), make_credentials(os.urandom), entropy=os.urandom, now=time.monotonic(), wire=self.wire
            )
            for _ in range(2)
        ]
        mirror = Mirror(*made)
        for each in made:
            self.demux.add(each)
            self.mirrors[each] = mirror
            if self.challenges:
                each._audience.add(_ELSEWHERE)
        theirs = read_description(offer)
        answer, mirror.media = answer_publisher(theirs, self._transport(mirror.publish, "passive"), **choices)  # type: ignore[arg-type]
        mirror.publish.remote(theirs.credentials, theirs.fingerprints, theirs.our_role)
        offered = [
            OfferedMedia(each.mid, each.format.encoding, self._stream(each), "me", f"me-{each.kind}", "me")
            for each in mirror.media
        ]
        return mirror, answer, offer_to_subscriber(offered, self._transport(mirror.subscribe, "actpass"))

    def answered(self, mirror: Mirror, answer: str) -> None:
        """The participant's answer to what it will see."""
        theirs = read_description(answer)
        mirror.subscribe.remote(theirs.credentials, theirs.fingerprints, theirs.our_role)

    def again(self, mirror: Mirror, offer: str) -> str:
        """The answer to an ICE restart on the publish connection."""
        theirs = read_description(offer)
        mirror.publish.restart(make_credentials(os.urandom), theirs.credentials)
        self.demux.add(mirror.publish)
        return answer_publisher(theirs, self._transport(mirror.publish, "passive"))[0]

    @staticmethod
    def _stream(media: PublishedMedia) -> RtpStream:
        number = 1000 + 10 * int(media.mid)
        return RtpStream(number, None if media.kind == "audio" else number + 1)

    def _transport(self, connection: PeerConnection, setup: str) -> LocalTransport:
        return LocalTransport(connection.local, identity().fingerprint, self.candidates, setup, 1, 1)  # type: ignore[arg-type]

    # For the edge

    def receive(self, datagram: memoryview, size: int, source: Address, now: float) -> None:
        """Take one datagram; see `turnserver.media.edge.MediaSockets`."""
        connection = self.demux.find(datagram, size, source)
        if connection is not None:
            connection.receive(datagram, size, source, now)
            self._events(connection, now)

    def expire(self, now: float) -> None:
        """Every connection is asked; there are few."""
        for each in self.mirrors:
            each.expire(now)
            self._events(each, now)

    @property
    def deadline(self) -> float | None:
        """The earliest of all."""
        return min([each.deadline for each in self.mirrors if each.deadline is not None], default=None)

    def _events(self, connection: PeerConnection, now: float) -> None:
        mirror = self.mirrors[connection]
        events, connection.events = connection.events, []
        for event in events:
            if isinstance(event, Rtp):
                self._forward(mirror, event)
            elif isinstance(event, Rtcp):
                if connection is mirror.subscribe and any(isinstance(each, Pli) for each in event.packets):
                    mirror.keyframe_wanted = 0.0
            elif isinstance(event, Connected):
                mirror.profiles.append(event.profile)
            elif isinstance(event, Failed):
                mirror.failures.append(event)
        if connection is mirror.publish and now > mirror.told + 0.5:
            mirror.told = now
            ssrcs = b"".join(ssrc.to_bytes(4, "big") for ssrc in mirror.seen)
            remb = b"REMB" + bytes((len(mirror.seen), 4 << 2 | 2, 0x62, 0x5A)) + ssrcs  # 156,250 · 2⁴ bit/s
            head = struct.pack("!BBHII", 0x8F, 206, 2 + len(remb) // 4, 1, 0)
            mirror.publish.send_rtcp(_REPORT + head + remb)
        if now > mirror.keyframe_wanted and mirror.subscribe.state == "connected" and mirror.seen:
            mirror.keyframe_wanted = now + 3600
            for ssrc, media in mirror.seen.items():
                if media.kind == "video":
                    mirror.publish.send_rtcp(_REPORT + struct.pack("!BBHII", 0x81, 206, 2, 1, ssrc))

    def _forward(self, mirror: Mirror, event: Rtp) -> None:
        """The first layer of each section, without RTX."""
        payload_type = event.header.payload_type
        for each in mirror.media:
            place = find_extension(event.packet, event.header, each.extensions.get(RID, 0))
            if place is not None and each.rids:
                mirror.rids.add(bytes(event.packet[place[0] : sum(place)]).decode())
        media = mirror.seen.get(event.header.ssrc)
        if media is None:
            found = [each for each in mirror.media if each.format.payload_type == payload_type]
            if not found or found[0] in mirror.seen.values():
                return
            media = mirror.seen[event.header.ssrc] = found[0]
            mirror.keyframe_wanted = 0.0
        packet = bytearray(event.packet[: event.size])
        numbers = bytearray(256)
        for uri, number in media.extensions.items():
            numbers[number] = EXTENSION_IDS.get(uri, 0)
        renumber_extensions(packet, event.header, bytes(numbers))
        packet[1] = packet[1] & 0x80 | FORMATS[media.format.encoding].payload_type
        packet[8:12] = self._stream(media).ssrc.to_bytes(4, "big")
        mirror.subscribe.send_rtp(packet, event.size, audio=media.kind == "audio")


class LoopServer:
    """An edge with such an engine, in a thread of its own: for browsers, which are driven from this one."""

    def __init__(self, loop: asyncio.AbstractEventLoop, engine: LoopEngine, edge: MediaEdge) -> None:
        self.engine = engine
        self.edge = edge
        self._loop = loop

    def do(self, step: Callable[[], _Result]) -> _Result:
        """Do something in the thread of the engine, and send what comes of it."""

        async def there() -> _Result:
            done = step()
            self.edge.flush()
            return done

        return asyncio.run_coroutine_threadsafe(there(), self._loop).result(60)


@contextmanager
def loop_server(addresses: Sequence[Address], faults: list[str]) -> Iterator[LoopServer]:
    """A server on these addresses, bound in the network namespace of the caller; ``faults`` takes what goes wrong."""
    engine = LoopEngine()
    edge = MediaEdge(engine, fault=lambda part, error: faults.append(f"{part}: {error!r}"))
    edge.bind(addresses)
    engine.candidates = edge.addresses
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    server = LoopServer(loop, engine, edge)

    async def serve() -> None:
        edge.serve()

    async def close() -> None:
        edge.close()

    asyncio.run_coroutine_threadsafe(serve(), loop).result(60)
    try:
        yield server
    finally:
        asyncio.run_coroutine_threadsafe(close(), loop).result(60)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(60)
        loop.close()
