"""A media engine made of aiortc, for tests of clients: it decodes what comes and encodes it anew for all others.

It is slow, and has no simulcast: what clients are to do with it is the same as with one that forwards packets.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from aiortc import RTCBundlePolicy, RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.contrib.media import MediaRelay

from turnserver.signaling.protocol.fields import MediaSource
from turnserver.signaling.rooms.media_port import (
    MediaEvent,
    MediaPort,
    SfuAnswered,
    SfuConnected,
    SfuGone,
    SfuOffered,
    Tile,
)

__all__ = ["AiortcSfu"]

ALONE = RTCConfiguration(iceServers=[], bundlePolicy=RTCBundlePolicy.MAX_BUNDLE)
SCREENS = ("screen", "screen_audio")


class _Participant:
    """The two connections of one participant, and what comes from it by source."""

    def __init__(self) -> None:
        self.publish: RTCPeerConnection | None = None
        self.subscribe = RTCPeerConnection(ALONE)
        self.name = ""
        self.tracks: dict[str, Any] = {}
        self.sent: set[tuple[str, str]] = set()
        self.offering = False


class AiortcSfu(MediaPort):
    """One room at a time, in the running loop; ``tell`` gets the events. With ``deaf``, offers are not answered."""

    def __init__(self, tell: Callable[[MediaEvent], None]) -> None:
        self._tell = tell
        self._relay = MediaRelay()
        self._people: dict[str, _Participant] = {}
        self._openings = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self.room = ""
        self.epoch = 0
        self.deaf = False
        self.chosen: dict[str, tuple[int | None, int, list[Tile]]] = {}

    # What rooms ask

    def open(self, room: str, epoch: int) -> None:
        self.close(room)
        self.room, self.epoch = room, epoch

    def close(self, room: str) -> None:
        for peer in list(self._people):
            self.leave(room, peer)

    def join(self, room: str, peer: str, name: str) -> None:
        self._people[peer] = _Participant()
        self._wire(peer, self._people[peer].subscribe, "subscribe")
        self._offer_all()

    def leave(self, room: str, peer: str) -> None:
        gone = self._people.pop(peer, None)
        if gone is not None:
            for pc in (gone.publish, gone.subscribe):
                if pc is not None:
                    self._do(pc.close())

    def offer(self, room: str, peer: str, pc: str, sdp: str, sources: Mapping[str, MediaSource]) -> None:
        if not self.deaf:
            self._do(self._answer(peer, pc, sdp, dict(sources)))

    def answer(self, room: str, peer: str, pc: str, sdp: str) -> None:
        self._do(self._accept(peer, pc, sdp))

    def candidates(self, room: str, peer: str, pc: str, lines: Sequence[str]) -> None:
        raise AssertionError("the clients' descriptions are enough")

    def reset(self, room: str, peer: str) -> None:
        old = self._people[peer].subscribe
        self._people[peer].subscribe = RTCPeerConnection(ALONE)
        self._people[peer].name = ""
        self._people[peer].sent.clear()
        self._people[peer].offering = False
        self._wire(peer, self._people[peer].subscribe, "subscribe")
        self._do(old.close())
        self._offer_all()

    def choose(self, room: str, peer: str, last: int | None, others: int, tiles: Sequence[Tile]) -> None:
        self.chosen[peer] = (last, others, list(tiles))

    def mute(self, room: str, peer: str, source: MediaSource, on: bool) -> None:
        track = self._people[peer].tracks.get(source)
        if track is not None:
            track.enabled = not on

    def record(self, room: str, on: bool) -> None:
        raise AssertionError("nobody asks for it")

    # For tests

    async def lose(self) -> None:
        """All connections end without a word."""
        for peer in list(self._people):
            self.leave(self.room, peer)
        await asyncio.gather(*self._tasks)
        self._tell(SfuGone(self.room, self.epoch, "told to"))

    async def stop(self) -> None:
        """End everything."""
        self.close(self.room)
        await asyncio.gather(*self._tasks)

    # Inside

    def _do(self, work: Any) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _wire(self, peer: str, pc: RTCPeerConnection, side: Any) -> None:
        room = self.room

        @pc.on("connectionstatechange")
        def changed() -> None:
            if pc.connectionState == "connected":
                self._tell(SfuConnected(room, peer, side))
                self._settled(peer, pc)

    async def _answer(self, peer: str, name: str, sdp: str, sources: dict[str, MediaSource]) -> None:
        person = self._people.get(peer)
        if person is None:
            return
        fresh = person.publish is None or person.publish.sfu_name != name  # type: ignore[attr-defined]
        if fresh:
            if person.publish is not None:
                self._do(person.publish.close())
                for each in self._people.values():
                    each.sent = {pair for pair in each.sent if pair[0] != peer}
            person.publish = RTCPeerConnection(ALONE)
            person.publish.sfu_name = name  # type: ignore[attr-defined]
            self._wire(peer, person.publish, "publish")
        pc = person.publish
        assert pc is not None
        await pc.setRemoteDescription(RTCSessionDescription(sdp, "offer"))
        for transceiver in pc.getTransceivers():
            source = sources[transceiver.mid]
            if transceiver._offerDirection == "recvonly":  # as seen from here
                person.tracks[source] = transceiver.receiver.track
            else:
                person.tracks.pop(source, None)
        await pc.setLocalDescription(await pc.createAnswer())
        self._tell(SfuAnswered(self.room, peer, name, pc.localDescription.sdp))
        self._offer_all()

    def _offer_all(self) -> None:
        for peer in self._people:
            self._do(self._offer(peer))

    async def _offer(self, peer: str) -> None:
        person = self._people.get(peer)
        if person is None or person.offering:
            return
        pc, added = person.subscribe, False
        for other, sender in self._people.items():
            for source, track in sender.tracks.items():
                if other == peer or (other, source) in person.sent or track.readyState != "live":
                    continue
                person.sent.add((other, source))
                made = pc.addTransceiver(self._relay.subscribe(track, buffered=False), direction="sendonly").sender
                made._stream_id = f"{other}.screen" if source in SCREENS else other
                added = True
        if not added:
            return
        person.offering = True
        if not person.name:
            self._openings += 1
            person.name = f"sub{self._openings}"
        await pc.setLocalDescription(await pc.createOffer())
        if self._people.get(peer) is person and person.subscribe is pc:
            self._tell(SfuOffered(self.room, peer, person.name, pc.localDescription.sdp))

    async def _accept(self, peer: str, name: str, sdp: str) -> None:
        person = self._people.get(peer)
        if person is None or person.name != name:
            return
        await person.subscribe.setRemoteDescription(RTCSessionDescription(sdp, "answer"))
        self._settled(peer, person.subscribe)

    def _settled(self, peer: str, pc: RTCPeerConnection) -> None:
        """Offer again what has come meanwhile. While it connects, aiortc does not begin to send what is added."""
        person = self._people.get(peer)
        if person is not None and pc is person.subscribe and pc.connectionState == "connected":
            person.offering = pc.signalingState != "stable"
            self._do(self._offer(peer))
