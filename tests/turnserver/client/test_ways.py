"""The change between mesh and SFU as the Python client follows it, with a session that the test plays."""

import asyncio
from collections.abc import AsyncIterator, Callable
from fractions import Fraction
from typing import Any, cast

import pytest
from av import AudioFrame, VideoFrame

from tests.turnserver.client.test_mesh import BOB, CAL, ME, NEVER, Session, joined, peer
from turnserver.client.errors import SignalError
from turnserver.client.events import MeshEvent
from turnserver.client.media import Echo, Listen, MediaPlan, TestMedia
from turnserver.client.mesh import MeshClient
from turnserver.client.pair import Pair, PairState
from turnserver.client.session import SignalClient
from turnserver.client.state import ClientState
from turnserver.signaling.protocol.client_messages import Choose, Desc, Join, ModeReady, Reset, Update
from turnserver.signaling.protocol.fields import Media, ShownTile

OFFER = "v=0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 200\r\n"


class Room:
    """A room that goes one way or the other."""

    def __init__(self) -> None:
        self.session = Session()
        self.session.features = ("sfu",)
        self.events: list[MeshEvent] = []
        self.mesh = MeshClient(cast(SignalClient, self.session), plan=self.plan, timing=NEVER)
        self.mesh.subscribe(self.events.append)
        self.plans: list[MediaPlan] = []
        self.made: Callable[[], MediaPlan] = Listen

    def plan(self) -> MediaPlan:
        self.plans.append(self.made())
        return self.plans[-1]

    async def join(self, *peers: dict[str, object], **room: Any) -> None:
        answer = joined(*peers)
        answer["room"] = cast(dict[str, object], answer["room"]) | room
        answer["you"] = {"id": ME, "role": "member", "name": "", "caps": ["publish"], "media": {}}
        self.session.answers.append(answer)
        await self.mesh.join("tea", name="Ann")

    def update(self, mode: str, epoch: int, **more: object) -> None:
        assert self.session.hear(t="room_update", locked=False, max=30, mode=mode, epoch=epoch, **more)

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(90):
            await self.mesh.wait_for(condition)

    @property
    def ready(self) -> list[int]:
        return [each.epoch for each in self.session.sent if isinstance(each, ModeReady)]

    def stand(self) -> None:
        """The connections with the SFU stand."""
        assert self.mesh.sfu is not None
        self.mesh.sfu.state = PairState.CONNECTED
        self.mesh.sfu.refresh = lambda: None  # type: ignore[method-assign]

    def send(self, who: str) -> None:
        """A frame of each kind through the SFU."""
        sound = AudioFrame(format="s16", layout="mono", samples=960)
        sound.pts, sound.time_base, sound.sample_rate = 0, Fraction(1, 48_000), 48_000
        sound.planes[0].update(bytes(sound.planes[0].buffer_size))
        picture = VideoFrame(16, 16)
        picture.pts, picture.time_base = 0, Fraction(1, 90_000)
        self.mesh._ways.take(who, "audio", "x", sound)
        self.mesh._ways.take(who, "camera", "x", picture)


@pytest.fixture
async def room() -> AsyncIterator[Room]:
    made = Room()
    yield made
    await made.mesh.close()


def sends(identity: str) -> dict[str, object]:
    return peer(identity, media={"a": 1, "v": 1})


def ways(pair: Pair) -> tuple[str, bool]:
    """What is shown of a pair, and whether it has a connection of its own."""
    return pair.way, pair._connection is not None


async def test_what_a_client_says_it_can(room: Room) -> None:
    """`auto`, to servers that know it, and only if it may be so."""
    await room.join()
    room.session.features = ()
    await room.mesh.leave()
    await room.join()
    room.session.features = ("sfu",)
    await room.mesh.leave()
    room.mesh._mode = "mesh"
    await room.join()
    assert [each.mode for each in room.session.sent if isinstance(each, Join)] == ["auto", "mesh", "mesh"]


async def test_to_the_sfu_and_back(room: Room) -> None:
    """Both ways while it changes; what decodes is shown at once, and the old ends when the server says so."""
    await room.join(sends(BOB))
    bob = room.mesh.pairs[BOB]
    assert ways(bob) == ("mesh", True)
    room.update("sfu", 2, changing=True)
    room.session.hear(t="peer_join", seq=3, peer=sends(CAL))
    cal = room.mesh.pairs[CAL]
    assert (ways(bob), ways(cal)) == (("mesh", True), ("sfu", False))
    room.send(BOB)
    assert bob.received.audio == 0, "not shown yet"
    room.stand()
    await asyncio.sleep(0)
    assert room.ready == []
    room.send(CAL)
    await room.until(lambda: room.ready == [2])
    assert (ways(bob), ways(cal)) == (("sfu", True), ("sfu", False))
    room.send(BOB)
    assert (bob.received.audio, bob.received.video) == (1, 1)
    room.update("sfu", 2)
    assert ways(bob) == ("sfu", False)
    assert bob.state is PairState.CONNECTED
    with pytest.raises(SignalError, match="not_connected"):
        bob.send("")
    room.update("mesh", 3, changing=True)
    assert (ways(bob), ways(cal)) == (("sfu", True), ("sfu", True))
    room.session.hear(t="peer_leave", seq=9, id=CAL, reason="left")
    assert bob._connection is not None
    bob._connection.state = PairState.CONNECTED
    bob._decoded.update({("mesh", "audio"): 1, ("mesh", "camera"): 1})
    await room.until(lambda: room.ready == [2, 3])
    assert ways(bob) == ("mesh", True)
    sfu = room.mesh.sfu
    room.update("mesh", 3)
    assert room.mesh.sfu is None
    assert room.mesh.pairs == {BOB: bob}
    assert sfu is not None
    await room.until(lambda: sfu.state is PairState.CLOSED)


async def test_a_change_that_is_taken_back(room: Room) -> None:
    """The mesh stays; a change that comes back at once does not lose the connections that are ending."""
    await room.join(sends(BOB))
    bob = room.mesh.pairs[BOB]
    connection = bob._connection
    room.update("sfu", 2, changing=True)
    room.update("mesh", 3)
    assert bob._connection is connection
    assert room.mesh.sfu is None
    room.update("sfu", 4, changing=True)
    room.update("sfu", 4)
    room.update("mesh", 5, why="sfu_gone")
    assert ways(bob) == ("mesh", True)
    assert bob._connection is not connection
    assert room.ready == []
    assert room.mesh.room is not None
    assert room.mesh.room.why == "sfu_gone"


async def test_who_is_late_says_so_later(room: Room) -> None:
    """`unready` names us: the new mode is shown all the same, and `mode_ready` follows."""
    await room.join(sends(BOB))
    room.update("sfu", 2, changing=True)
    room.update("sfu", 2, unready=[ME])
    assert ways(room.mesh.pairs[BOB]) == ("sfu", False)
    assert room.ready == []
    room.stand()
    room.send(BOB)
    await room.until(lambda: room.ready == [2])


async def test_somebody_who_sends_nothing(room: Room) -> None:
    """Though it says so. After some looks at connections that stand, nothing more is waited for."""
    room.mesh._ways._pause = asyncio.sleep
    await room.join(sends(BOB))
    looks: list[float] = []

    async def pause(seconds: float) -> None:
        looks.append(seconds)
        await asyncio.sleep(0)

    room.mesh._ways._pause = pause
    room.update("sfu", 2, changing=True)
    room.stand()
    await room.until(lambda: room.ready == [2])
    assert 20 < len(looks) < 40


async def test_the_server_takes_nothing_more(room: Room) -> None:
    """The session is over while the mode changes."""
    await room.join(sends(BOB))

    def refuse(message: object) -> None:
        raise SignalError("closed")

    room.session.send = refuse  # type: ignore[method-assign]
    room.update("sfu", 2, changing=True)
    room.stand()
    room.send(BOB)
    await room.until(lambda: room.mesh.pairs[BOB].way == "sfu")
    assert room.ready == []


async def test_what_is_sent_to_the_sfu(room: Room) -> None:
    """One plan for all; without leave to send, none."""
    room.made = lambda: TestMedia(16, 16, 1)
    await room.join(sends(BOB), mode="sfu")
    assert len(room.plans) == 2
    await room.until(lambda: any(isinstance(each, Desc) and each.to == "sfu" for each in room.session.sent))
    [offer] = [each for each in room.session.sent if isinstance(each, Desc)]
    assert offer.desc.type == "offer"
    assert set((offer.sources or {}).values()) == {"audio", "camera"}


async def test_who_sends_nothing_says_so(room: Room) -> None:
    """The server waits for the connections of those who say that they send."""
    await room.join(sends(BOB))
    assert not [each for each in room.session.sent if isinstance(each, Update)]
    room.update("sfu", 2, changing=True)
    assert [each.media for each in room.session.sent if isinstance(each, Update)] == [Media()]
    assert room.mesh.sfu is not None
    assert room.mesh.sfu.state is PairState.CONNECTING
    room.session.hear(t="peer_update", seq=7, id=BOB, name="Bob", meta={}, media={})
    assert room.mesh.sfu.state is PairState.CONNECTED
    await room.until(lambda: room.ready == [2])


async def test_an_echo_is_of_one(room: Room) -> None:
    """Of who speaks, or of the first; frames of nobody are dropped."""
    room.made = Echo
    await room.join(sends(BOB), sends(CAL), mode="sfu")
    echo = room.mesh._ways._plan
    assert isinstance(echo, Echo)
    heard: list[str] = []
    echo.incoming = lambda frame: heard.append(type(frame).__name__)  # type: ignore[method-assign]
    for who in (CAL, BOB, "nobody2222"):
        room.send(who)
    assert len(heard) == 2
    room.session.hear(t="speaker", seq=4, peer=CAL)
    room.send(CAL)
    assert len(heard) == 4
    room.send(BOB)
    assert len(heard) == 4
    assert (room.events[-1].kind, room.events[-1].peer) == ("speaker", CAL)
    assert room.mesh.room is not None
    assert room.mesh.room.speaker == CAL
    room.session.hear(t="speaker", seq=5)
    assert room.mesh.room.speaker is None
    assert room.events[-1].peer == ""


async def test_frames_of_the_sfu(room: Room) -> None:
    """Go to its connections; without any they are late, and candidates are not needed at all."""
    await room.join(sends(BOB))
    frames: list[dict[str, Any]] = [
        {"t": "desc", "from": "sfu", "pc": "x", "desc": {"type": "offer", "sdp": OFFER}},
        {"t": "reset", "from": "sfu", "pc": "1"},
        {"t": "cand", "from": "sfu", "pc": "x", "list": []},
        {"t": "layers", "list": [{"what": "camera", "rids": []}]},
    ]
    for frame in frames:
        assert room.session.hear(**frame)
    room.update("sfu", 2)
    sfu = room.mesh.sfu
    assert sfu is not None
    for frame in frames[::-1]:
        assert room.session.hear(**frame)
    assert sfu._wanted == {}, "a reset has followed"
    room.session.hear(**frames[3])
    assert sfu._wanted == {"camera": False}
    await room.until(lambda: len(sfu.errors) == 1)


async def test_choosing(room: Room) -> None:
    """Kept for the next connections with an SFU, and said again when signaling was lost."""
    tiles = [ShownTile(id=BOB, h=360, pin=True)]
    room.mesh.choose(last=2, others=90, tiles=tiles)
    await room.join(sends(BOB), mode="sfu")
    said = Choose(last=2, others=90, tiles=tuple(tiles))
    assert said not in room.session.sent
    room.session.hear(**{"t": "desc", "from": "sfu", "pc": "x", "desc": {"type": "offer", "sdp": OFFER}})
    assert room.session.sent.count(said) == 1
    room.session.become(ClientState.RECONNECTING)
    room.mesh.choose(last=2, others=90, tiles=tiles)
    assert room.session.sent.count(said) == 1
    room.session.become(ClientState.OPEN)
    assert room.session.sent.count(said) == 2
    room.mesh.choose()
    assert room.session.sent[-1] == Choose()


async def test_losses_and_another_session(room: Room) -> None:
    """Where descriptions may be lost they are asked for again; another session has nothing to do with the old SFU."""
    await room.join(sends(BOB), mode="sfu")
    sfu = room.mesh.sfu
    assert sfu is not None
    room.session.hear(**{"t": "desc", "from": "sfu", "pc": "x", "desc": {"type": "offer", "sdp": OFFER}})
    lost = joined(sends(BOB), at=30) | {"t": "sync", "lost": True}
    lost["room"] = cast(dict[str, object], lost["room"]) | {"mode": "sfu"}
    room.session.hear(**lost)
    assert [each.why for each in room.session.sent if isinstance(each, Reset)] == ["lost"]
    assert room.mesh.sfu is sfu
    another = joined(sends(BOB), me=CAL)
    another["room"] = lost["room"]
    room.session.hear(**another)
    assert room.mesh.sfu is not sfu
    await room.until(lambda: sfu.state is PairState.CLOSED)
    await room.mesh.leave()
    assert room.mesh.sfu is None


async def test_a_restart_of_one_is_of_all(room: Room) -> None:
    """Pairs in such a room share their connections."""
    await room.join(sends(BOB), sends(CAL), mode="sfu")
    bob, cal = room.mesh.pairs[BOB], room.mesh.pairs[CAL]
    bob.restart()
    assert (bob.rebuilds, cal.rebuilds) == (1, 1)
    assert bob.candidate_types() == ([], [])
    assert bob.failures() == []
    report = await bob.report()
    assert (report.way, report.chosen, report.path, report.bytes_sent) == ("sfu", None, "unknown", 0)
    room.session.hear(t="peer_leave", seq=9, id=BOB, reason="left")
    await room.until(lambda: bob.state is PairState.CLOSED)
