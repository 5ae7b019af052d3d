"""The media engine: rooms, participants and their connections behind one interface, and the SFU within this process.

What an engine is asked comes from the rooms of signaling, what it reports goes back there as facts, and the datagrams
are those of one UDP socket. `EmbeddedEngine` is the SFU of this package. Calls about rooms, participants and
connections that are gone are late, and change nothing.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final, Literal, Protocol

from stun.address import Address
from turnserver.deadlines import Deadlines
from turnserver.media.connection import Closed, Connected, Failed, PeerConnection, Rtcp, Rtp, Wire
from turnserver.media.demux import Demux
from turnserver.media.dtls import DtlsIdentity
from turnserver.media.facts import (
    AnswerReady,
    ConnectionSide,
    MediaFact,
    OfferReady,
    RecordingBegan,
    RecordingEnded,
    RoomLost,
    SideConnected,
    SideFailed,
    TrackSource,
)
from turnserver.media.ice import IceCredentials, make_credentials
from turnserver.media.negotiation import answer_publisher, offer_to_subscriber, read_subscriber
from turnserver.media.publisher import Publisher
from turnserver.media.recording import RecorderPort, RecordingRefused, RoomRecording
from turnserver.media.room import MediaPeer, MediaRoom
from turnserver.media.router import ReceiverConstraints, Wish
from turnserver.media.sdp import LocalTransport, SdpError, SessionDescription, read_description
from turnserver.media.stats import MediaRoomView
from turnserver.media.subscriber import Subscriber

__all__ = ["EmbeddedEngine", "MediaEngine"]

MOST_ROOMS: Final = 1000
"""Rooms of one engine: a core carries some dozens of busy ones."""

MOST_PEERS: Final = 200
"""Participants of a room; signaling has a limit of its own."""


class MediaEngine(Protocol):
    """What every engine can do. ``now`` is monotonic seconds; texts are untrusted.

    What becomes of a call is told as a fact, from inside of the call or later: an engine raises nothing.
    """

    def open(self, room: str, epoch: int, *, now: float) -> None:
        """A room begins. A later call with another ``epoch`` begins it afresh."""

    def close(self, room: str, *, now: float) -> None:
        """A room ends with all of its connections."""

    def join(self, room: str, peer: str, name: str, *, now: float) -> None:
        """A participant may have connections."""

    def leave(self, room: str, peer: str, *, now: float) -> None:
        """A participant is gone: its connections end at once."""

    def offer(self, room: str, peer: str, pc: str, sdp: str, sources: Mapping[str, TrackSource], *, now: float) -> None:
        """An offer of the publish connection ``pc``; ``sources`` says what its media sections carry, by mid."""

    def answer(self, room: str, peer: str, pc: str, sdp: str, *, now: float) -> None:
        """The answer to `OfferReady`."""

    def reset(self, room: str, peer: str, *, now: float) -> None:
        """The participant has lost its subscribe connection: offer another one."""

    def choose(
        self, room: str, peer: str, last: int | None, others: int, wishes: Iterable[Wish], *, now: float
    ) -> None:
        """What a participant wants to receive; see `turnserver.media.router.ReceiverConstraints`."""

    def mute(self, room: str, peer: str, source: TrackSource, on: bool, *, now: float) -> None:
        """Do not forward what the participant sends of that source, or do so again."""

    def record(self, room: str, on: bool, *, now: float) -> None:
        """Record all that the participants publish, or do so no more."""

    def rooms(self, now: float) -> list[MediaRoomView]:
        """Statistics of all rooms."""


class _Link:
    """A connection of a participant, with what its descriptions need."""

    __slots__ = ("connection", "pc", "peer", "remote", "room", "session", "side", "version")

    def __init__(
        self, place: tuple[MediaRoom, MediaPeer, ConnectionSide], pc: str, connection: PeerConnection, session: int
    ) -> None:
        self.room, self.peer, side = place
        self.side: ConnectionSide = side
        self.pc = pc
        self.connection = connection
        self.session = session
        self.version = 0
        self.remote: IceCredentials | None = None
        """Those of the other side's last description."""


class EmbeddedEngine:
    """The SFU, sans-IO: datagrams go in at `receive` and come out in `wire`; time goes in at `expire`.

    ``addresses`` are where the socket is reached, the preferred first. ``entropy`` gives random bytes. ``tell`` is
    called with every fact. Without a ``recorder``, nothing can be recorded.
    """

    def __init__(
        self,
        identity: DtlsIdentity,
        addresses: Sequence[Address],
        entropy: Callable[[int], bytes],
        tell: Callable[[MediaFact], None],
        recorder: RecorderPort | None = None,
    ) -> None:
        self.wire = Wire()
        self.addresses = tuple(addresses)
        """Candidates in the next descriptions."""
        self._identity = identity
        self._entropy = entropy
        self._tell = tell
        self._recorder = recorder
        self._rooms: dict[str, MediaRoom] = {}
        self._links: dict[tuple[str, str, ConnectionSide], _Link] = {}
        self._by_connection: dict[PeerConnection, _Link] = {}
        self._demux = Demux()
        self._deadlines: Deadlines[PeerConnection | str] = Deadlines()
        self._names = 0

    # Rooms and participants

    def open(self, room: str, epoch: int, *, now: float) -> None:
        """See `MediaEngine`."""
        known = self._rooms.get(room)
        if known is not None and known.epoch == epoch:
            return
        if known is not None:
            self.close(room, now=now)
        if len(self._rooms) >= MOST_ROOMS:
            self._tell(RoomLost(room, epoch, f"there are {MOST_ROOMS} rooms"))
            return
        self._rooms[room] = MediaRoom(room, epoch, now, self._tell)
        self._deadlines.set(room, self._rooms[room].due)

    def close(self, room: str, *, now: float) -> None:
        """See `MediaEngine`."""
        known = self._rooms.pop(room, None)
        if known is not None:
            self._deadlines.remove(room)
            known.end_recording("room_closed")
            for peer in list(known.peers.values()):
                self._drop(known, peer.peer)

    def join(self, room: str, peer: str, name: str, *, now: float) -> None:
        """See `MediaEngine`."""
        known = self._rooms.get(room)
        if known is not None and peer not in known.peers and len(known.peers) < MOST_PEERS:
            known.peers[peer] = MediaPeer(peer, name)
            self._offer_all(known, now)

    def leave(self, room: str, peer: str, *, now: float) -> None:
        """See `MediaEngine`."""
        found = self._find(room, peer)
        if found is not None:
            self._drop(found[0], peer)
            found[0].leave(found[1], now)
            self._offer_all(found[0], now)

    # Descriptions

    def offer(self, room: str, peer: str, pc: str, sdp: str, sources: Mapping[str, TrackSource], *, now: float) -> None:
        """See `MediaEngine`."""
        found = self._find(room, peer)
        if found is None:
            return
        try:
            description = read_description(sdp)
        except SdpError as error:
            self._tell(SideFailed(room, peer, "publish", f"its offer cannot be used: {error}"))
            return
        self.wire.now = now
        link = self._links.get((room, peer, "publish"))
        if link is None or link.pc != pc:
            self._end(link)
            link = self._connect(*found, "publish", pc, now)
            if link is None:
                return
            found[1].publisher, found[1].uplink = Publisher(peer, now), link.connection
        self._describe(link, description)
        setup: Literal["active", "passive"] = "active" if description.our_role == "client" else "passive"
        answer, published = answer_publisher(description, self._transport(link, setup))
        publisher = found[1].publisher
        if publisher is not None:
            begun, ended = publisher.describe(published, sources, now)
            found[0].publish(found[1], begun, ended)
        self._tell(AnswerReady(room, peer, pc, answer))
        self._offer_all(found[0], now)

    def answer(self, room: str, peer: str, pc: str, sdp: str, *, now: float) -> None:
        """See `MediaEngine`."""
        link = self._links.get((room, peer, "subscribe"))
        if link is None or link.pc != pc or link.peer.subscriber is None:
            return
        try:
            description = read_description(sdp)
        except SdpError as error:
            self._fail(link, f"its answer cannot be used: {error}", now)
            return
        self.wire.now = now
        self._describe(link, description)
        link.peer.subscriber.answered(read_subscriber(description))
        link.room.soon()
        self._offer_all(link.room, now)

    def reset(self, room: str, peer: str, *, now: float) -> None:
        """See `MediaEngine`."""
        found = self._find(room, peer)
        if found is not None:
            self._end(self._links.get((room, peer, "subscribe")))
            self._offer_all(found[0], now)

    # What is wanted

    def choose(
        self, room: str, peer: str, last: int | None, others: int, wishes: Iterable[Wish], *, now: float
    ) -> None:
        """See `MediaEngine`."""
        found = self._find(room, peer)
        if found is not None:
            found[0].choose(found[1], ReceiverConstraints(last, others, wishes))

    def mute(self, room: str, peer: str, source: TrackSource, on: bool, *, now: float) -> None:
        """See `MediaEngine`."""
        found = self._find(room, peer)
        if found is not None:
            found[0].mute(found[1], source, on, now)

    def record(self, room: str, on: bool, *, now: float) -> None:
        """See `MediaEngine`."""
        known = self._rooms.get(room)
        if known is None or on == (known.recording is not None):
            return
        if not on:
            known.end_recording("stopped")
            self._tell(RecordingEnded(room, ""))
            return
        recording = RoomRecording(self._entropy, now, lambda why: self._recording_failed(known, recording, why))
        try:
            if self._recorder is None:
                raise RecordingRefused("this server does not record")
            recording.sink = self._recorder.open(room, recording)
        except RecordingRefused as refusal:
            self._tell(RecordingEnded(room, str(refusal)))
            return
        known.record(recording)
        self._tell(RecordingBegan(room))

    def rooms(self, now: float) -> list[MediaRoomView]:
        """See `MediaEngine`."""
        return [room.view(now) for room in self._rooms.values()]

    # Datagrams and time

    def receive(self, datagram: bytearray | memoryview, size: int, source: Address, now: float) -> None:
        """Take a datagram, in memory that is changed."""
        connection = self._demux.find(datagram, size, source)
        link = None if connection is None else self._by_connection.get(connection)
        if link is not None:
            link.connection.receive(datagram, size, source, now)
            self._events(link, now)

    @property
    def deadline(self) -> float | None:
        """When `expire` has to be called, in monotonic seconds; None: never."""
        self._rest()
        return self._deadlines.next()

    def expire(self, now: float) -> None:
        """Do what is due."""
        self._rest()
        failed: Exception | None = None
        for key in list(self._deadlines.due(now)):
            try:
                self._expire_one(key, now)
            except Exception as error:  # of one room or connection, and nothing of the others
                failed = failed or error
        if failed is not None:
            raise failed

    def _expire_one(self, key: str | PeerConnection, now: float) -> None:
        self.wire.now = now
        if isinstance(key, str):
            room = self._rooms.get(key)
            if room is not None:
                try:
                    room.tick(now)
                finally:
                    self._deadlines.set(key, room.due)
            return
        link = self._by_connection.get(key)
        if link is not None:
            key.expire(now)
            self._events(link, now)
            self.wire.restless.add(key)

    def _rest(self) -> None:
        """Set the deadlines of connections that have another one now."""
        for connection in self.wire.restless:
            deadline = connection.deadline
            if deadline is None or connection not in self._by_connection:
                self._deadlines.remove(connection)
            else:
                self._deadlines.set(connection, deadline)
        self.wire.restless.clear()

    def _events(self, link: _Link, now: float) -> None:
        events = link.connection.events
        if not events:
            return
        link.connection.events = []
        for event in events:
            match event:
                case Rtp(packet, size, header):
                    if link.side == "publish":
                        link.room.packet(link.peer, packet, size, header, now)
                case Rtcp(packets):
                    if link.side == "publish":
                        link.room.reports(link.peer, packets, now)
                    else:
                        link.room.requests(link.peer, packets, now)
                case Connected():
                    if link.peer.subscriber is not None and link.side == "subscribe":
                        link.peer.subscriber.connect(now)
                        link.room.soon(link.peer.subscriber.begins)
                    self._tell(SideConnected(link.room.name, link.peer.peer, link.side))
                case Failed(_, text):
                    self._fail(link, text, now)
                case Closed():
                    self._fail(link, "it was closed by the participant", now)

    # Inside

    def _recording_failed(self, room: MediaRoom, recording: RoomRecording, why: str) -> None:
        if room.recording is recording:
            room.end_recording("failed")
            if self._rooms.get(room.name) is room:
                self._tell(RecordingEnded(room.name, why))

    def _find(self, room: str, peer: str) -> tuple[MediaRoom, MediaPeer] | None:
        known = self._rooms.get(room)
        participant = None if known is None else known.peers.get(peer)
        return None if known is None or participant is None else (known, participant)

    def _connect(self, room: MediaRoom, peer: MediaPeer, side: ConnectionSide, pc: str, now: float) -> _Link | None:
        connection = PeerConnection(
            self._identity, make_credentials(self._entropy), entropy=self._entropy, now=now, wire=self.wire
        )
        if not self._demux.add(connection):
            self._tell(SideFailed(room.name, peer.peer, side, "the server has too many connections"))
            return None
        session = int.from_bytes(self._entropy(7), "big")
        link = _Link((room, peer, side), pc, connection, session)
        self._links[room.name, peer.peer, side] = link
        self._by_connection[connection] = link
        self.wire.restless.add(connection)
        return link

    def _describe(self, link: _Link, description: SessionDescription) -> None:
        """Take a description of the other side; an offer with other ICE credentials is a restart (RFC 8445 §9)."""
        if link.remote not in {None, description.credentials} and link.side == "publish":
            link.connection.restart(make_credentials(self._entropy), description.credentials)
            self._demux.add(link.connection)
        link.remote = description.credentials
        link.connection.remote(description.credentials, description.fingerprints, description.our_role)

    def _transport(self, link: _Link, setup: Literal["actpass", "active", "passive"]) -> LocalTransport:
        link.version += 1
        return LocalTransport(
            link.connection.local, self._identity.fingerprint, self.addresses, setup, link.session, link.version
        )

    def _offer_all(self, room: MediaRoom, now: float) -> None:
        """Offer whatever has changed to whom it concerns."""
        for peer in room.peers.values():
            if room.lacks(peer):
                self._names += 1
                made = self._connect(room, peer, "subscribe", f"s{self._names}", now)
                if made is None:
                    continue
                room.subscribe(peer, Subscriber(peer.peer, made.connection, self._entropy))
            link = self._links.get((room.name, peer.peer, "subscribe"))
            if link is not None and peer.subscriber is not None and peer.subscriber.needs_offer:
                sdp = offer_to_subscriber(peer.subscriber.offer(), self._transport(link, "actpass"))
                self._tell(OfferReady(room.name, peer.peer, link.pc, sdp))

    def _fail(self, link: _Link, why: str, now: float) -> None:
        """A connection is lost; a subscribe connection is offered again."""
        self._end(link)
        self._tell(SideFailed(link.room.name, link.peer.peer, link.side, why))
        self._offer_all(link.room, now)

    def _end(self, link: _Link | None) -> None:
        if link is None or self._by_connection.pop(link.connection, None) is None:
            return
        self._links.pop((link.room.name, link.peer.peer, link.side), None)
        self._demux.remove(link.connection)
        self._deadlines.remove(link.connection)
        link.connection.close()
        if link.side == "publish":
            link.room.unpublish(link.peer)
        else:
            link.room.unsubscribe(link.peer)

    def _drop(self, room: MediaRoom, peer: str) -> None:
        for side in ("publish", "subscribe"):
            self._end(self._links.get((room.name, peer, side)))
