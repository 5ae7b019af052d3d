"""A room in the SFU: its participants, who hears and sees whom, and who speaks.

A room does its regular work in one `tick`: feedback to publishers, trial packets, measurements, and the allocation of
every receiver. The work is a few microseconds for each participant, so it can be done at a fixed interval, and nothing
needs a deadline of its own.
"""

from collections.abc import Callable, Sequence
from typing import Final

from turnserver.media.facts import LayersWanted, MediaFact, SpeakerChanged, TrackSource
from turnserver.media.publisher import Publisher
from turnserver.media.recording import RoomRecording
from turnserver.media.router import ReceiverConstraints
from turnserver.media.rtcp import Packet, write
from turnserver.media.rtp import Header
from turnserver.media.speakers import Speakers
from turnserver.media.stats import MediaPeerView, MediaRoomView
from turnserver.media.subscriber import Ladders, MediaSink, Subscriber
from turnserver.media.track import PublishedTrack

__all__ = ["TICK", "MediaPeer", "MediaRoom"]

TICK: Final = 0.025
"""Seconds between two ticks: how late a lost packet is asked for again, at most, and how even trials are."""

ALLOCATION_PAUSE: Final = 0.1
"""Seconds between two of a receiver, or of all, when something has changed."""

ALLOCATION_INTERVAL: Final = 0.25
"""Seconds between two allocations of one receiver: a REMB that has fallen is followed within this."""

MOST_SPEAKERS: Final = 64
"""Speakers that are remembered for last-N."""


class MediaPeer:
    """A participant; ``publisher`` and ``subscriber`` are None without the connection in question."""

    def __init__(self, peer: str, name: str) -> None:
        self.peer = peer
        self.name = name
        self.publisher: Publisher | None = None
        self.uplink: MediaSink | None = None
        """The connection that the publisher is told through."""
        self.subscriber: Subscriber | None = None
        self.constraints = ReceiverConstraints()
        """What it wants to be sent."""
        self.muted: set[TrackSource] = set()
        """What is not forwarded, whether it is published now or later."""

    @property
    def tracks(self) -> Sequence[PublishedTrack]:
        """What it publishes."""
        return () if self.publisher is None else tuple(self.publisher.tracks.values())


class MediaRoom:
    """See the module. ``tell`` is called with every fact."""

    def __init__(self, name: str, epoch: int, now: float, tell: Callable[[MediaFact], None]) -> None:
        self.name = name
        self.epoch = epoch
        self.peers: dict[str, MediaPeer] = {}
        self.packets_in = self.packets_out = 0
        self.due = now + TICK
        """When `tick` has to be called."""
        self.recording: RoomRecording | None = None
        """Who takes it all, if the room is recorded."""
        self._tell = tell
        self._speakers = Speakers()
        self._told: str | None = None
        """The speaker that all have been told."""
        self._chosen: dict[str, MediaPeer] = {}
        """Participants who want to receive something else since the last tick."""
        self._allocated = float("-inf")
        self._recent: list[str] = []
        self._allocate_at = now

    # Who is there

    def publish(self, peer: MediaPeer, begun: Sequence[PublishedTrack], ended: Sequence[PublishedTrack]) -> None:
        """A participant has begun or ended tracks: all others are offered them, or no more."""
        for track in begun:
            track.mute(track.source in peer.muted)
        for other in self.peers.values():
            if other is not peer and other.subscriber is not None:
                for track in ended:
                    other.subscriber.remove(track)
                for track in begun:
                    other.subscriber.add(track)
        if self.recording is not None:
            for track in ended:
                self.recording.remove(track)
            for track in begun:
                self.recording.add(track, peer.name)
        self.soon()

    def record(self, recording: RoomRecording) -> None:
        """Record what everybody publishes, now and later."""
        self.recording = recording
        for peer in self.peers.values():
            for track in peer.tracks:
                recording.add(track, peer.name)
        self.soon()

    def end_recording(self, why: str) -> None:
        """Record no more; see `turnserver.media.recording.RecordingSink.close`."""
        if self.recording is not None:
            self.recording.close(why)
            self.recording = None
            self.soon()

    def subscribe(self, peer: MediaPeer, subscriber: Subscriber) -> None:
        """A participant has a subscribe connection: it is to be offered what all others publish."""
        peer.subscriber = subscriber
        subscriber.constraints = peer.constraints
        for other in self.peers.values():
            if other is not peer:
                for track in other.tracks:
                    subscriber.add(track)

    def unpublish(self, peer: MediaPeer) -> None:
        """A participant's publish connection is gone."""
        if peer.publisher is not None:
            ended = peer.tracks
            peer.publisher = peer.uplink = None
            self.publish(peer, (), ended)

    def unsubscribe(self, peer: MediaPeer) -> None:
        """A participant's subscribe connection is gone."""
        if peer.subscriber is not None:
            peer.subscriber.close()
            peer.subscriber = None

    def leave(self, peer: MediaPeer, now: float) -> None:
        """A participant is gone with all of its connections."""
        self.unpublish(peer)
        self.unsubscribe(peer)
        del self.peers[peer.peer]
        if peer.peer in self._recent:
            self._recent.remove(peer.peer)
        self._chosen.pop(peer.peer, None)
        self._speakers.gone(peer.peer, now)
        self._who_speaks(now)

    def choose(self, peer: MediaPeer, constraints: ReceiverConstraints) -> None:
        """A participant wants to receive something else: it does from one of the next ticks on."""
        peer.constraints = constraints
        if peer.subscriber is not None:
            peer.subscriber.constraints = constraints
            self._chosen[peer.peer] = peer

    def lacks(self, peer: MediaPeer) -> bool:
        """Whether a participant needs a subscribe connection, and has none."""
        return peer.subscriber is None and any(other.tracks for other in self.peers.values() if other is not peer)

    def mute(self, peer: MediaPeer, source: TrackSource, on: bool, now: float) -> None:
        """Forward nothing of a source, or go on."""
        (peer.muted.add if on else peer.muted.discard)(source)
        if on and source == "audio":
            self._speakers.gone(peer.peer, now)
            self._who_speaks(now)
        for track in peer.tracks:
            if track.source == source:
                track.mute(on)
                for other in self.peers.values():
                    if on and other.subscriber is not None:
                        other.subscriber.stop(track)

    def soon(self, when: float | None = None) -> None:
        """Allocate anew in one of the next ticks, or in that at ``when``.

        Whatever happens, it is done ten times a second at most: it takes a millisecond for each receiver of a large
        room.
        """
        earliest = self._allocated + ALLOCATION_PAUSE
        self._allocate_at = min(self._allocate_at, earliest if when is None else max(when, earliest))

    # Packets

    def packet(self, peer: MediaPeer, packet: bytearray | memoryview, size: int, header: Header, now: float) -> None:
        """An RTP packet of a participant, which is changed: it goes to whoever gets it."""
        publisher = peer.publisher
        if publisher is None:
            return
        self.packets_in += 1
        if self.recording is not None:
            self.recording.now = now
        self.packets_out += publisher.receive(packet, size, header, now)
        level = publisher.take_level()
        if level is not None and "audio" not in peer.muted:
            self._speakers.heard(peer.peer, level, now)

    def reports(self, peer: MediaPeer, packets: Sequence[Packet], now: float) -> None:
        """RTCP of a participant's publish connection."""
        if peer.publisher is None:
            return
        for stream, report in peer.publisher.reports(packets, now):
            for forwarder in stream.forwarders:
                forwarder.owner.relate(forwarder, report, now)

    def requests(self, peer: MediaPeer, packets: Sequence[Packet], now: float) -> None:
        """RTCP of a participant's subscribe connection."""
        subscriber = peer.subscriber
        if subscriber is not None:
            for again in subscriber.take_reports(packets, now):
                subscriber.send(again, audio=False)
                self.packets_out += 1

    # Time

    def tick(self, now: float) -> None:
        """Do the regular work, and set `due`."""
        self.due = now + TICK
        for peer in self.peers.values():
            if peer.publisher is not None and peer.uplink is not None:
                feedback = peer.publisher.feedback(now)
                if feedback:
                    peer.uplink.send_rtcp(write(feedback))
            if peer.subscriber is not None:
                for packet in peer.subscriber.padding(now):
                    peer.subscriber.send(packet, audio=False)
        self._who_speaks(now)
        if now >= self._allocate_at:
            self._allocate_at = now + ALLOCATION_INTERVAL
            self._allocated = now
            self.allocate(now)
        elif self._chosen:
            self._choose_anew(now)

    def _choose_anew(self, now: float) -> None:
        """Allocate those who have chosen, and nobody else; a publisher is asked at once for a layer that is new."""
        for peer in list(self._chosen.values()):
            subscriber = peer.subscriber
            if subscriber is not None and now - subscriber.allocated < ALLOCATION_PAUSE:
                continue
            del self._chosen[peer.peer]
            if subscriber is None:
                continue
            subscriber.allocate(self._recent, now)
            for other in self.peers.values():
                for track in other.tracks:
                    if any(rid not in track.asked for rid in track.targets.values()):
                        self._ask(other, track, now)

    def allocate(self, now: float) -> None:
        """Measure what arrives, choose for every receiver, and tell the publishers which layers are wanted."""
        self._chosen.clear()
        for peer in self.peers.values():
            for track in peer.tracks:
                for stream in track.streams.values():
                    stream.sample(now)
        ladders: Ladders = {}
        for peer in self.peers.values():
            if peer.subscriber is not None:
                peer.subscriber.allocate(self._recent, now, ladders)
        if self.recording is not None:
            self.recording.allocate(now)
        for peer in self.peers.values():
            for track in peer.tracks:
                self._ask(peer, track, now)

    def _ask(self, peer: MediaPeer, track: PublishedTrack, now: float) -> None:
        source = track.source
        if source == "audio" or source == "screen_audio":  # noqa: PLR1714  mypy follows this only
            return
        rungs = track.qualities(now)  # the same for all
        invited: set[str] = set()
        for other in self.peers.values():
            if other.subscriber is not None:
                invited |= other.subscriber.invited(track, rungs)
        if self.recording is not None:
            invited.update(track.layers)  # the best one is wanted
        rids = track.ask(invited, now)
        if rids is not None:
            self._tell(LayersWanted(self.name, peer.peer, source, rids))

    def _who_speaks(self, now: float) -> None:
        self._speakers.due(now)
        speaker = self._speakers.speaker
        if speaker == self._told:
            return
        self._told = speaker
        if speaker is not None:
            self._recent = [speaker, *(peer for peer in self._recent if peer != speaker)][:MOST_SPEAKERS]
        self._tell(SpeakerChanged(self.name, speaker))
        self.soon()

    def view(self, now: float) -> MediaRoomView:
        """What statistics say of it."""
        peers = []
        for peer in self.peers.values():
            subscriber = peer.subscriber
            peers.append(
                MediaPeerView(
                    peer.peer,
                    peer.publisher is not None,
                    subscriber is not None and subscriber.connected,
                    0.0 if subscriber is None else subscriber.estimator.bitrate(now),
                    0.0 if subscriber is None else subscriber.sent.bitrate,
                    tuple(track.view() for track in peer.tracks),
                    () if subscriber is None else subscriber.views(),
                )
            )
        return MediaRoomView(
            self.name, self.epoch, self._speakers.speaker, self.packets_in, self.packets_out, tuple(peers)
        )
