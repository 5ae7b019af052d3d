"""The room as the Python client keeps it, with a session that the test plays; media are tested elsewhere."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from typing import Any, cast

import pytest

from turnserver.client.errors import SignalError
from turnserver.client.events import MeshEvent
from turnserver.client.mesh import MeshClient
from turnserver.client.pair import PairState
from turnserver.client.reading import Unreadable, read
from turnserver.client.session import SignalClient
from turnserver.client.state import ClientState, FrameHandler, PairTiming, StateChange, StateHandler
from turnserver.signaling.protocol.base import UNNUMBERED, ClientMessage, ServerMessage
from turnserver.signaling.protocol.client_messages import Diag, Join, Leave, Mod, Msg, Restart
from turnserver.signaling.protocol.fields import Media, ServerRecording, Spotlight

ICE = {"servers": [{"urls": ["turn:127.0.0.1:9"], "username": "u", "credential": "c"}], "exp": 1, "policy": "relay"}
ME, BOB, CAL, DAN, EVE, STRANGER = (f"{name:2<10}" for name in ("me", "bob", "cal", "dan", "eve", "stranger"))
LETTERS = str.maketrans("0123456789", "abcdefghij")
NEVER = PairTiming(offer_wait=3600, connect=3600, look=3600)


def peer(identity: str, **changes: object) -> dict[str, object]:
    return {
        "id": identity,
        "name": identity.rstrip("2").upper(),
        "meta": {},
        "media": {},
        "role": "member",
        "since": 1,
        "polite": True,
        "start": False,
    } | changes


def joined(*peers: dict[str, object], at: int = 0, me: str = ME, **changes: object) -> dict[str, object]:
    room = {"id": "tea", "max": 4, "mode": "mesh", "epoch": 0, "locked": False}
    return {
        "t": "joined",
        "room": room,
        "you": {"id": me, "role": "member", "name": "", "caps": [], "media": {}},
        "peers": list(peers),
        "ice": ICE,
        "at": at,
    } | changes


class Session:
    """A session without a server."""

    def __init__(self) -> None:
        self.id = ME
        self.features: tuple[str, ...] = ()
        self.state = ClientState.OPEN
        self.sent: list[ClientMessage] = []
        self.answers: list[dict[str, object] | SignalError] = []
        self._frame_handlers: list[FrameHandler] = []
        self._state_handlers: list[StateHandler] = []

    def subscribe(self, on_frame: FrameHandler, on_state: StateHandler) -> Callable[[], None]:
        self._frame_handlers.append(on_frame)
        self._state_handlers.append(on_state)
        return self._frame_handlers.clear

    async def request(self, message: ClientMessage, **_: object) -> ServerMessage:
        self.sent.append(message)
        answer = self.answers.pop(0) if self.answers else {"t": "ok"}
        if isinstance(answer, SignalError):
            raise answer
        said = read(json.dumps(answer))
        assert isinstance(said, ServerMessage)
        self.tell(said)
        return said

    def send(self, message: ClientMessage) -> None:
        self.sent.append(message)

    def hear(self, **fields: object) -> bool:
        """What the server has sent; False if it is no message, and goes no further."""
        said = read(json.dumps(fields))
        if isinstance(said, Unreadable):
            return False
        self.tell(said)
        return True

    def tell(self, said: ServerMessage) -> None:
        for handler in self._frame_handlers:
            handler(said)

    def become(self, state: ClientState, *, fresh: bool = False, unseated: bool = False) -> None:
        self.state = state
        for handler in self._state_handlers:
            handler(StateChange(state, fresh=fresh, unseated=unseated))


class Room:
    """A mesh in that session, and all it tells."""

    def __init__(self) -> None:
        self.session = Session()
        self.pauses: list[float] = []
        self.events: list[MeshEvent] = []
        self.mesh = MeshClient(cast(SignalClient, self.session), timing=NEVER, pause=self.pause)
        self.mesh.subscribe(self.events.append)
        self.looks: asyncio.Queue[None] = asyncio.Queue()

    async def pause(self, seconds: float) -> None:
        self.pauses.append(seconds)
        if seconds == 10:
            await self.looks.get()

    async def join(self, *peers: dict[str, object], **changes: Any) -> None:
        self.session.answers.append(joined(*peers, **changes))
        await self.mesh.join("tea", name="Ann")

    @property
    def ids(self) -> list[str]:
        return sorted(self.mesh.pairs)

    @property
    def kinds(self) -> list[str]:
        return [event.kind for event in self.events]


@pytest.fixture
async def room() -> AsyncIterator[Room]:
    room = Room()
    yield room
    await room.mesh.close()


async def test_join(room: Room) -> None:
    """Everybody who is there gets a pair, with the roles that the server gives."""
    await room.join(peer(BOB), peer(CAL, gap=99))
    assert room.ids == [BOB, CAL]
    assert room.mesh.pairs[CAL].gap
    assert room.session.sent == [Join(room="tea", name="Ann", media=Media(a=1, v=1, s=0))]
    assert room.mesh.room is not None
    assert room.mesh.room.id == "tea"
    assert room.kinds == ["joined"]


async def test_not_let_in(room: Room) -> None:
    """The server's refusal is raised."""
    room.session.answers.append(SignalError("room_full", "Four are in."))
    with pytest.raises(SignalError, match="room_full"):
        await room.mesh.join("tea")
    assert room.mesh.room is None


async def test_comings_and_goings(room: Room) -> None:
    """Signaling §1, room: join, update, gap, back, leave."""
    await room.join(at=5)
    room.session.hear(t="peer_join", seq=6, peer=peer(BOB))
    room.session.hear(t="peer_update", seq=7, id=BOB, name="Robert", meta={}, media={})
    room.session.hear(t="peer_gap", seq=8, id=BOB, until=1)
    bob = room.mesh.pairs[BOB]
    assert (bob.name, bob.gap, bob.state) == ("Robert", True, PairState.CONNECTING)
    room.session.hear(t="peer_back", seq=9, id=BOB)
    assert not bob.gap
    room.session.hear(t="peer_leave", seq=10, id=BOB, reason="left")
    assert room.ids == []
    await room.mesh.wait_for(lambda: bob.state is PairState.CLOSED)
    assert room.kinds == ["joined", "peer", "peer", "peer", "peer", "left"]
    assert [event.peer for event in room.events[2:]] == [BOB] * 4


async def test_news_right_behind_the_snapshot(room: Room) -> None:
    """Somebody who joins at the same moment: heard before whoever waits for the answer has its turn."""
    room.session.answers.append(joined(at=4))
    joining = asyncio.create_task(room.mesh.join("tea"))
    room.mesh.subscribe(
        lambda event: event.kind == "joined" and room.session.hear(t="peer_join", seq=5, peer=peer(BOB))  # type: ignore[func-returns-value]
    )
    await joining
    assert room.ids == [BOB]


async def test_what_the_snapshot_has_is_not_heard_again(room: Room) -> None:
    """Presence up to ``at`` is in the snapshot; descriptions never are."""
    await room.join(peer(BOB), at=5)
    room.session.hear(t="peer_leave", seq=4, id=BOB, reason="left")
    room.session.hear(t="peer_join", seq=5, peer=peer(CAL))
    assert room.ids == [BOB]
    delivered: list[ServerMessage] = []
    room.mesh.pairs[BOB].deliver = delivered.append  # type: ignore[method-assign]
    for t in ("desc", "cand", "reset"):
        more = {"desc": {"desc": {"type": "offer", "sdp": ""}}, "cand": {"list": []}}.get(t, {})
        for sender in (BOB, STRANGER):
            assert room.session.hear(**{"t": t, "seq": 3, "from": sender, "pc": "x"}, **more)
    assert [frame.t for frame in delivered] == ["desc", "cand", "reset"]


async def test_joining_twice(room: Room) -> None:
    """A ``peer_join`` of somebody known changes nothing; of somebody who came back, everything."""
    await room.join(peer(BOB))
    bob = room.mesh.pairs[BOB]
    room.session.hear(t="peer_join", seq=1, peer=peer(BOB, name="Bobby"))
    assert room.mesh.pairs[BOB] is bob
    assert bob.name == "Bobby"
    room.session.hear(t="peer_join", seq=2, peer=peer(BOB, since=2))
    assert room.mesh.pairs[BOB] is not bob


async def test_sync(room: Room) -> None:
    """Signaling §1, resume: a snapshot instead of silence; who stays keeps the connection, signaling or not."""
    await room.join(peer(BOB), peer(CAL))
    bob, cal = room.mesh.pairs[BOB], room.mesh.pairs[CAL]
    room.session.become(ClientState.RECONNECTING)
    assert (bob.state, cal.state) == (PairState.CONNECTING, PairState.CONNECTING)
    room.session.become(ClientState.OPEN)
    room.session.hear(**(joined(peer(BOB), peer(DAN), at=30) | {"t": "sync"}))
    assert room.ids == [BOB, DAN]
    assert room.mesh.pairs[BOB] is bob
    room.session.hear(t="peer_leave", seq=30, id=BOB, reason="left")
    assert room.ids == [BOB, DAN]
    assert room.kinds == ["joined", "signaling", "signaling", "joined"]


async def test_sync_with_losses(room: Room) -> None:
    """Where a description may be lost, who is not connected yet is begun anew with."""
    await room.join(peer(BOB))
    room.session.hear(**(joined(peer(BOB), at=30) | {"t": "sync", "lost": True}))
    async with asyncio.timeout(90):
        while not any(said.t == "restart" for said in room.session.sent):
            await asyncio.sleep(0)
    assert Restart(n=UNNUMBERED, to=BOB, why="lost") in room.session.sent


async def test_a_new_session(room: Room) -> None:
    """The id is another one, so everything is begun anew; a refusal is tried again after its ``retry``."""
    await room.join(peer(BOB))
    bob = room.mesh.pairs[BOB]
    room.session.answers += [SignalError("rate_limited", retry=1.5), joined(peer(BOB), me=f"{'me':3<10}")]
    room.session.become(ClientState.OPEN, fresh=True)
    async with asyncio.timeout(90):
        while room.mesh.pairs.get(BOB) is bob:
            await asyncio.sleep(0)
    assert room.ids == [BOB]
    assert room.pauses.count(1.5) == 1
    assert [said.t for said in room.session.sent] == ["join", "join", "join"]


async def test_a_seat_that_somebody_else_has(room: Room) -> None:
    """The session goes on without the room: the client comes back as a newcomer, and all connections are new."""
    await room.join(peer(BOB))
    bob = room.mesh.pairs[BOB]
    room.session.answers += [SignalError("room_full", retry=12.5), joined(peer(BOB))]
    room.session.become(ClientState.OPEN, unseated=True)
    async with asyncio.timeout(90):
        while room.mesh.pairs.get(BOB) is bob:
            await asyncio.sleep(0)
    assert room.pauses.count(12.5) == 1
    assert [said.t for said in room.session.sent] == ["join", "join", "join"]


async def test_outside_rooms_there_is_no_seat_to_lose(room: Room) -> None:
    room.session.become(ClientState.OPEN, unseated=True)
    assert room.session.sent == []


async def test_the_end(room: Room) -> None:
    """Kicked, or replaced: all connections end, and it is said."""
    await room.join(peer(BOB), peer(CAL))
    pairs = list(room.mesh.pairs.values())
    room.session.become(ClientState.CLOSED)
    async with asyncio.timeout(90):
        while any(pair.state is not PairState.CLOSED for pair in pairs):
            await asyncio.sleep(0)
    assert room.mesh.room is None
    assert room.kinds[-1] == "ended"


async def test_leave(room: Room) -> None:
    """The server is told, and all connections end."""
    await room.join(peer(BOB))
    bob = room.mesh.pairs[BOB]
    await room.mesh.leave()
    assert bob.state is PairState.CLOSED
    assert room.session.sent[-1] == Leave()
    room.session.hear(t="peer_join", seq=9, peer=peer(CAL))
    assert room.ids == []


async def test_fresh_credentials(room: Room) -> None:
    """Signaling §1, ICE: the latest ones are used for every connection that is built from then on."""
    await room.join(peer(BOB))
    fresh = {"servers": [{"urls": ["turn:127.0.0.1:9?transport=tcp"], "username": "new", "credential": "d"}], "exp": 1}
    room.session.hear(t="ice", seq=1, ice=fresh, why="refresh")
    choice = room.mesh._choice()
    assert (choice.username, choice.transport, choice.relay_only) == ("new", "tcp", False)


async def test_what_the_server_sees(room: Room) -> None:
    """``paths`` is about those in the room only."""
    await room.join(peer(BOB))
    entry = {"id": BOB, "path": "relay", "proto": "udp", "by": "both", "tx": 5, "rx": 6}
    assert not room.session.hear(t="paths", list=[entry, "nonsense"])
    assert room.session.hear(t="paths", list=[entry, {"id": STRANGER, "path": "relay"}])
    path = room.mesh.server_paths[BOB]
    assert (path.path, path.proto, path.by, path.sent, path.received) == ("relay", "udp", "both", 5, 6)
    assert list(room.mesh.server_paths) == [BOB]


async def test_messages_and_moderation(room: Room) -> None:
    """What people and hosts say."""
    await room.join(peer(BOB))
    room.mesh.message({"hi": 1}, BOB)
    await room.mesh.moderate("kick", BOB, reason="loud")
    assert room.session.sent[1:] == [
        Msg(n=UNNUMBERED, to=BOB, data={"hi": 1}),
        Mod(n=UNNUMBERED, op="kick", to=BOB, reason="loud"),
    ]
    room.session.hear(**{"t": "msg", "from": BOB, "data": "ho"})
    room.session.hear(**{"t": "mute", "from": BOB, "what": "audio"})
    room.session.hear(t="knock", id=EVE, name="Eve")
    recording = {"since": 5, "by": EVE}
    spotlight = {"id": BOB, "what": "camera", "by": EVE}
    room.session.hear(t="room_update", seq=3, locked=True, max=3, spotlight=spotlight, recording=recording)
    room.session.hear(t="error", code="waiting", msg="")
    assert room.kinds[1:] == ["message", "mute", "knock", "room", "waiting"]
    assert room.mesh.room is not None
    assert (room.mesh.room.locked, room.mesh.room.max, room.mesh.room.id) == (True, 3, "tea")
    assert room.mesh.room.spotlight == Spotlight(id=BOB, what="camera", by=EVE)
    assert room.mesh.room.recording == ServerRecording(since=5, by=EVE)
    room.session.hear(t="room_update", seq=4, locked=True, max=3)
    assert (room.mesh.room.spotlight, room.mesh.room.recording) == (None, None)
    assert room.mesh.broadcast("nobody is connected") == 0


async def test_a_server_that_is_about_to_stop(room: Room) -> None:
    """The room goes on; programs learn until when."""
    await room.join(peer(BOB))
    assert room.mesh.closes_at is None
    room.session.hear(t="draining", seq=3, until=1_700_000_600_500)
    assert room.kinds[-1] == "draining"
    assert room.mesh.closes_at == 1_700_000_600.5
    assert list(room.mesh.pairs) == [BOB]


async def test_diagnose(room: Room) -> None:
    """``diag`` says what we see, and gives back what the server makes of it."""
    await room.join(peer(BOB))
    room.session.answers.append({"t": "diag", "to": BOB, "verdict": "turn_401", "text": "Refused."})
    verdict = await room.mesh.diagnose(BOB)
    assert (verdict.code, verdict.text) == ("turn_401", "Refused.")
    asked = room.session.sent[-1]
    assert isinstance(asked, Diag)
    assert (asked.to, asked.states) == (BOB, ("connecting",))
    with pytest.raises(SignalError, match="no_such_peer"):
        await room.mesh.diagnose("nobody")


async def test_nonsense_from_the_server(room: Room) -> None:
    """Nothing that a server sends ends the client or grows without bound."""
    await room.join(peer(ME), at=0)
    assert room.ids == []
    for fields in (
        joined({"id": 5}),
        joined(peer("")),
        {"t": "peer_join"},
        {"t": "peer_join", "peer": 7},
        {"t": "peer_leave", "id": ["x"]},
        {"t": "ice", "ice": "none"},
        {"t": "sync"},
        {"t": "paths", "list": {"id": "x"}},
        {"t": "_end"},
        {"t": "mode", "mode": "sfu"},
    ):
        assert not room.session.hear(**fields)
    for number in range(100):
        room.session.hear(t="peer_join", seq=number + 1, peer=peer(f"p{number:a>9}".translate(LETTERS)))
    assert len(room.ids) == 16


async def test_reports_to_the_server(room: Room) -> None:
    """Every ten seconds about those who are connected, and about nobody else."""
    await room.join(peer(BOB))
    room.looks.put_nowait(None)
    async with asyncio.timeout(90):
        while room.pauses.count(10) < 2:
            await asyncio.sleep(0)
    assert [said.t for said in room.session.sent] == ["join"]
