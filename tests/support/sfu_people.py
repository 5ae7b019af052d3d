"""Participants of a `MediaPort` that are aiortc: each publishes sound and a picture, and counts what it decodes."""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable
from fractions import Fraction

from aiortc import RTCBundlePolicy, RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import AudioStreamTrack, MediaStreamTrack
from av import VideoFrame

from turnserver.signaling.rooms.media_port import MediaEvent, MediaPort, SfuAnswered, SfuOffered

__all__ = ["SfuPerson", "deliver", "until"]

LIMIT = 120
"""Seconds for what is certain to happen."""


async def until(condition: Callable[[], bool]) -> None:
    """Wait for something that is certain to happen."""
    async with asyncio.timeout(LIMIT):
        while not condition():
            await asyncio.sleep(0.02)


class _Picture(MediaStreamTrack):
    """A small green picture, ten times a second: three people fit one busy core."""

    kind = "video"

    def __init__(self) -> None:
        super().__init__()
        self._number = 0

    async def recv(self) -> VideoFrame:
        """The next frame."""
        await asyncio.sleep(0.1)
        self._number += 1
        frame = VideoFrame(width=160, height=96)
        for plane in frame.planes:
            plane.update(bytes(plane.buffer_size))
        frame.pts, frame.time_base = self._number * 9000, Fraction(1, 90_000)
        return frame


class SfuPerson:
    """One participant of room ``room``; ``frames`` counts decoded frames by kind and stream id."""

    def __init__(self, port: MediaPort, room: str, peer: str) -> None:
        self.port, self.room, self.peer, self.name = port, room, peer, peer
        self.frames: Counter[tuple[str, str]] = Counter()
        self.events: asyncio.Queue[MediaEvent] = asyncio.Queue()
        self.publish = RTCPeerConnection()
        self.subscribe: RTCPeerConnection | None = None
        self.names: list[str] = []
        self._tasks: set[asyncio.Task[None]] = set()

    def tracks(self) -> tuple[MediaStreamTrack, MediaStreamTrack]:
        """What it publishes."""
        return AudioStreamTrack(), _Picture()

    async def join(self) -> None:
        """Join, and offer."""
        self.port.join(self.room, self.peer, self.name)
        for track in self.tracks():
            self.publish.addTrack(track)
        await self.publish.setLocalDescription(await self.publish.createOffer())
        self.port.offer(self.room, self.peer, "p1", self.publish.localDescription.sdp, {})
        self._do(self._follow())

    async def close(self) -> None:
        """End everything."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.publish.close()
        if self.subscribe is not None:
            await self.subscribe.close()

    async def _follow(self) -> None:
        while True:
            event = await self.events.get()
            if isinstance(event, SfuAnswered):
                await self.publish.setRemoteDescription(RTCSessionDescription(event.sdp, "answer"))
            elif isinstance(event, SfuOffered):
                await self._answer(event)

    async def _answer(self, event: SfuOffered) -> None:
        if self.subscribe is None or event.pc not in self.names:
            self.names.append(event.pc)
            # By default, aiortc leaves the second section of a kind in a first offer on a transport that it closes.
            self.subscribe = RTCPeerConnection(RTCConfiguration(bundlePolicy=RTCBundlePolicy.MAX_BUNDLE))
            self.subscribe.on("track", lambda track: self._do(self._watch(track)))
        await self.subscribe.setRemoteDescription(RTCSessionDescription(event.sdp, "offer"))
        await self.subscribe.setLocalDescription(await self.subscribe.createAnswer())
        self.port.answer(self.room, self.peer, event.pc, self.subscribe.localDescription.sdp)

    async def _watch(self, track: MediaStreamTrack) -> None:
        while True:
            await track.recv()
            self.frames[track.kind, track.id.partition(".")[0]] += 1

    def _do(self, work: "asyncio.Future[None] | object") -> None:
        task: asyncio.Task[None] = asyncio.ensure_future(work)  # type: ignore[arg-type]
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def deliver(event: MediaEvent, people: Iterable[SfuPerson]) -> None:
    """Give an event to the participant whom it concerns."""
    for person in people:
        if getattr(event, "peer", None) == person.peer:
            person.events.put_nowait(event)
