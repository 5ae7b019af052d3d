"""Participants of an `EmbeddedEngine`, in memory: with descriptions, ICE, DTLS and SRTP like a browser, and a clock."""

from collections.abc import Iterator, Mapping

from stun.address import Address
from tests.support.media_peer import MediaClient, entropy, identity
from tests.support.media_world import Encoder, voice
from turnserver.dtls import DtlsClosed
from turnserver.media.connection import Wire
from turnserver.media.dtls import SrtpHandshake
from turnserver.media.engine import EmbeddedEngine
from turnserver.media.facts import AnswerReady, MediaFact, OfferReady, TrackSource
from turnserver.media.ice import IceCredentials
from turnserver.media.negotiation import ABS_SEND_TIME, AUDIO_LEVEL, FORMATS
from turnserver.media.rtcp import Packet, Pli, read_compound
from turnserver.media.sdp import (
    LocalTransport,
    MediaDescription,
    PayloadFormat,
    RtpStream,
    SessionDescription,
    read_description,
    write_description,
)

__all__ = ["ENGINE", "PICTURE", "EngineWorld", "Person"]

ENGINE = Address.parse("198.51.100.1", 3480)
"""Where the engine is told that it is."""

_VP8 = FORMATS["vp8"]._replace(feedback=("goog-remb", "ccm fir", "nack", "nack pli"))
_SOUND = MediaDescription(
    "audio", "0", "sendonly", (FORMATS["opus"],), ((13, AUDIO_LEVEL),), streams=(RtpStream(500),), cname="c"
)
PICTURE = MediaDescription(
    "video",
    "1",
    "sendonly",
    (_VP8, PayloadFormat(97, "rtx", 90_000, 1, "apt=96")),
    ((12, ABS_SEND_TIME),),
    streams=(RtpStream(600, 601),),
    cname="c",
)


class _Way:
    """The engine's end of one connection, as a client knows it from descriptions."""

    def __init__(self, engine: EmbeddedEngine, remote: SessionDescription) -> None:
        self.engine = engine
        self.local = remote.credentials
        self.fingerprints = remote.fingerprints

    @property
    def wire(self) -> Wire:
        return self.engine.wire

    def receive(self, datagram: bytearray, size: int, source: Address, now: float) -> None:
        self.engine.receive(datagram, size, source, now)


class _End(MediaClient):
    """One connection of a person; what the engine sends to others is left for them."""

    def __init__(self, engine: EmbeddedEngine, remote: SessionDescription, source: Address, ufrag: str) -> None:
        super().__init__(_Way(engine, remote), source)  # type: ignore[arg-type]
        self.credentials = IceCredentials(ufrag, "t" * 24)

    def begin(self) -> None:
        """Begin a handshake as the client of DTLS."""
        self.handshake = SrtpHandshake(self.identity, "client", [identity().fingerprint])


class Person:
    """A participant: ``publish`` and ``subscribe`` are its connections once they have begun."""

    def __init__(self, world: "EngineWorld", room: str, peer: str, number: int) -> None:
        self.world, self.room, self.peer = world, room, peer
        self.number = number
        self.publish: _End | None = None
        self.subscribe: _End | None = None
        self.offers = 0
        self.encoder = Encoder(600)
        self.encoder.extensions = {12: bytes(3)}
        self.voices = 0

    def join(self, sources: Mapping[str, TrackSource] | None = None) -> None:
        """Join, and offer sound and a picture."""
        world = self.world
        world.engine.join(self.room, self.peer, self.peer, now=world.now)
        world.engine.offer(
            self.room, self.peer, "p1", self.description([_SOUND, PICTURE]), sources or {}, now=world.now
        )
        world.settle()

    def description(self, media: list[MediaDescription], ufrag: str = "") -> str:
        """A description of this person's."""
        credentials = IceCredentials(ufrag or f"them{self.number}", "t" * 24)
        transport = LocalTransport(credentials, identity("client").fingerprint, (), "actpass", 1, 1)
        return write_description(media, transport).replace("a=ice-lite\r\n", "")

    def answer(self, fact: OfferReady) -> None:
        """Answer an offer: everything is taken."""
        self.offers += 1
        offer = read_description(fact.sdp)
        sections = [
            MediaDescription(
                each.kind,
                each.mid,
                "recvonly" if each.direction == "sendonly" else "inactive",
                each.formats,
                each.extensions,
            )
            for each in offer.media
        ]
        text = self.description(sections).replace("a=setup:actpass", "a=setup:active")
        self.world.engine.answer(self.room, self.peer, fact.pc, text, now=self.world.now)
        if self.subscribe is None or self.subscribe.server.local != offer.credentials:
            self.subscribe = self.connect(offer, 2)

    def answered(self, fact: AnswerReady) -> None:
        """The engine has answered."""
        answer = read_description(fact.sdp)
        if self.publish is None or self.publish.server.local != answer.credentials:
            self.publish = self.connect(answer, 1)

    def connect(self, remote: SessionDescription, side: int) -> _End:
        """Go through ICE and DTLS."""
        source = Address(bytes((192, 0, 2, self.number)), 4000 + side)
        end = _End(self.world.engine, remote, source, f"them{self.number}")
        end.begin()
        self.world.ends[source] = end
        end.put(end.check(nominate=True), self.world.now)
        for _ in range(6):
            self.world.exchange()
            end.flush(self.world.now)
        self.world.exchange()
        return end

    def speak(self, level: int = 40) -> None:
        """Send a packet of sound."""
        assert self.publish is not None
        self.voices += 1
        self.publish.put(self.publish.protected(voice(self.voices, level=level, level_id=13)), self.world.now)

    def show(self, *, key: bool = False) -> None:
        """Send a picture."""
        assert self.publish is not None
        for packet in self.encoder.frame(key=key or self.asked()):
            self.publish.put(self.publish.protected(packet), self.world.now)

    def asked(self) -> bool:
        """Whether the engine has asked for a keyframe."""
        assert self.publish is not None
        found = any(isinstance(each, Pli) for each in self.told(self.publish))
        self.publish.rtcp.clear()
        return found

    @staticmethod
    def told(end: MediaClient) -> Iterator[Packet]:
        """What came as RTCP."""
        for each in end.rtcp:
            yield from read_compound(each)

    def got(self, payload_type: int) -> set[int]:
        """The SSRCs of what has come with a payload type since the last time."""
        if self.subscribe is None:
            return set()
        taken, self.subscribe.rtp = self.subscribe.rtp, []
        self.kept = taken
        return {int.from_bytes(each[8:12], "big") for each in taken if each[1] & 0x7F == payload_type}


class EngineWorld:
    """An engine with one room ``r`` that is open, and a clock."""

    def __init__(self) -> None:
        self.now = 50.0
        self.facts: list[MediaFact] = []
        self.engine = EmbeddedEngine(identity(), [ENGINE], entropy(), self.facts.append)
        self.ends: dict[Address, MediaClient] = {}
        self.people: dict[str, Person] = {}
        self.strays = 0
        self.engine.open("r", 1, now=self.now)

    def join(self, *names: str, room: str = "r") -> list[Person]:
        """People join one after the other."""
        joined = []
        for name in names:
            person = self.people[name] = Person(self, room, name, len(self.people) + 1)
            person.join()
            joined.append(person)
        return joined

    def settle(self) -> None:
        """Deliver descriptions until nothing more is said."""
        seen = 0
        while seen < len(self.facts):
            fact = self.facts[seen]
            seen += 1
            if isinstance(fact, OfferReady | AnswerReady) and fact.peer in self.people:
                self.facts.remove(fact)
                seen -= 1
                person = self.people[fact.peer]
                if isinstance(fact, OfferReady):
                    person.answer(fact)
                else:
                    person.answered(fact)

    def exchange(self) -> None:
        """Deliver what the engine has sent."""
        while taken := self.engine.wire.take():
            for data, destination in taken:
                end = self.ends.get(destination)
                if end is None:
                    self.strays += 1
                    continue
                try:
                    end.take(bytes(data), self.now)
                except DtlsClosed:
                    del self.ends[destination]

    def wait(self, seconds: float, *, silent: tuple[str, ...] = ()) -> None:
        """Time passes; whoever publishes sends sound and pictures."""
        end = self.now + seconds
        number = 0
        while self.now < end:
            self.now += 0.02
            number += 1
            for person in self.people.values():
                if person.publish is not None and person.peer not in silent:
                    person.speak()
                    if number % 3 == 0:
                        person.show()
            deadline = self.engine.deadline
            if deadline is not None and deadline <= self.now:
                self.engine.expire(self.now)
            self.exchange()
            self.settle()
