"""The glue: every input has its effects carried out, time passes, the engine is told and asked, and it ends well."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Callable, Collection, Iterator
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from auth.revocation import RevokedUsers
from stun.address import Address
from tests.support.room_options import hub_settings
from tests.support.signal_media import ScriptedMedia
from turnserver.clock import system_clock
from turnserver.config import Config, load_mapping
from turnserver.core.events import AllocationOpened
from turnserver.core.types import AllocationView, ClientTransport, Counters, FiveTuple, Now, RelayId
from turnserver.errors import StartupError
from turnserver.observers.base import Observers
from turnserver.observers.log import LogObserver
from turnserver.signaling.edge import service as module
from turnserver.signaling.edge.service import Service
from turnserver.signaling.edge.tokens import TokenKeys
from turnserver.signaling.edge.websocket import PROTOCOL
from turnserver.signaling.protocol.errors import Denial, SignalCode
from turnserver.signaling.protocol.fields import Ice, IceServer
from turnserver.signaling.rooms.facts import Close, Wake
from turnserver.signaling.rooms.hub import SLICE
from turnserver.signaling.rooms.media_port import MediaPort, SfuAnswered, SfuSpeaker
from turnserver.signaling.rooms.settings import Doorway, Grant

Client = TestClient[web.Request, web.Application]


class Engine:
    """Stands in for the relay engine."""

    def __init__(self) -> None:
        self.revoked: list[str] = []
        self.asked: list[set[str]] = []
        self.live: list[AllocationView] = []

    def revoke(self, user_id: str) -> int:
        self.revoked.append(user_id)
        return 1

    def allocations(self, user_ids: Collection[str] | None = None) -> list[AllocationView]:
        self.asked.append(set(user_ids or ()))
        return self.live


def admit(token: str, wall: float) -> Grant:
    if token != "good":
        raise Denial(SignalCode.BAD_TOKEN, "not this one")
    return Grant(room="x", role="host")


def mint(user_id: str, wall: float, doorway: Doorway) -> Ice:
    urls = (f"turn:{doorway.host}:3478?transport=udp",)
    return Ice(servers=(IceServer(urls=urls, username=user_id, credential="c"),), exp=int(wall) + 600)


@pytest.fixture
def engine() -> Engine:
    return Engine()


@pytest.fixture
async def make(engine: Engine) -> AsyncIterator[Callable[..., Service]]:
    made: list[Service] = []

    def build(*, media: MediaPort | None = None, **settings: Any) -> Service:
        told = Observers([LogObserver()])
        options, bounds = hub_settings(**{"open": True, **settings})
        found = Service(options, admit, mint, RevokedUsers(), separator=":", tell=told.tell, bounds=bounds, media=media)
        found.start(engine)
        made.append(found)
        return found

    yield build
    for each in made:
        each.stop()


class Direct:
    """A client without a socket: what it says goes straight in, and what waits for it is taken."""

    def __init__(self, service: Service, cid: int, host: str = "calls.example.org") -> None:
        self.service = service
        self.cid = cid
        self.n = 0
        service.opened(cid, f"192.0.2.{cid}", Doorway(host))
        self.welcome = self.frames()[0]

    def frames(self) -> list[dict[str, Any]]:
        return [json.loads(frame) for frame in iter(lambda: self.service.take(self.cid), None)]

    def say(self, **frame: Any) -> list[dict[str, Any]]:
        self.service.text(self.cid, json.dumps(frame))
        return self.frames()

    def enter(self, room: str, **hello: Any) -> dict[str, Any]:
        self.say(t="hello", id="h", v=1, **hello)
        return next(frame for frame in self.say(t="join", id="j", room=room, name="Ann") if frame.get("re") == "j")


async def eventually(condition: Callable[[], Any]) -> None:
    async with asyncio.timeout(90):
        while not condition():
            await asyncio.sleep(0)


def user_of(joined: dict[str, Any]) -> str:
    return str(joined["ice"]["servers"][0]["username"])


async def test_who_joins_gets_ice_servers_for_where_it_came_in(make: Callable[..., Service]) -> None:
    """The host by which a client reached the server is the one that its TURN URLs name."""
    service = make()
    joined = Direct(service, 1, "calls.example.org").enter("x")
    assert joined["t"] == "joined"
    assert joined["ice"]["servers"][0]["urls"] == ["turn:calls.example.org:3478?transport=udp"]
    assert (service.hub.room_count, service.hub.peer_count) == (1, 1)


async def test_who_goes_loses_the_relays(make: Callable[..., Service], engine: Engine) -> None:
    """After the grace the engine ends them, and the credential opens no others."""
    service = make(leave_grace=0.01)
    client = Direct(service, 1)
    joined = client.enter("x")
    client.say(t="leave", id="l")
    assert (service.hub.room_count, service.hub.peer_count) == (0, 0)
    await eventually(lambda: engine.revoked)
    assert engine.revoked == [user_of(joined)]
    now = system_clock()
    assert service._revoked.until(user_of(joined), now.wall) is not None


async def test_a_kick_is_at_once(make: Callable[..., Service], engine: Engine) -> None:
    """No grace, and the socket is told to go."""
    service = make()
    joined = Direct(service, 1).enter("x")
    assert service.hub.kick("x", joined["you"]["id"], "enough", system_clock())
    service.work()
    assert engine.revoked == [user_of(joined)]


async def test_the_socket_of_a_participant_is_kept(make: Callable[..., Service]) -> None:
    """When connections make room for others: while its client has a seat, and not before or after."""
    kept: list[tuple[int, bool]] = []
    service = make()
    service.edge.keep = lambda *what: kept.append(what)  # type: ignore[method-assign]
    client = Direct(service, 1)
    client.say(t="hello", id="h", v=1)
    client.say(t="join", id="j", room="x", name="Ann")
    client.say(t="leave", id="l")
    assert kept == [(1, False), (1, True), (1, False)]
    assert not service.hub.seated(2)


async def test_time_passes(make: Callable[..., Service]) -> None:
    """Who says nothing is sent away when its time is up, without anybody touching the hub."""
    closed: list[tuple[int, int, str]] = []
    service = make(hello=0.01)
    service.edge.close = lambda *what: closed.append(what)  # type: ignore[method-assign]
    Direct(service, 1)
    await eventually(lambda: closed)
    assert closed[0][0] == 1


def allocation(user_id: str, port: int, carried: int) -> AllocationView:
    client = FiveTuple(ClientTransport.TCP, Address.parse("192.0.2.1", port), Address.parse("192.0.2.9", 3478), 0, port)
    relayed = (Address.parse("192.0.2.9", port),)
    counters = Counters(carried // 1000, carried, carried // 1000, carried)
    return AllocationView(client, f"1:{user_id}", user_id, relayed, (), counters, 1e12, relays=(RelayId(port),))


async def test_paths_are_told_to_those_who_take_them(
    make: Callable[..., Service], engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The relay's own table says which pair is relayed, and over what; nobody has to believe a client."""
    monkeypatch.setattr(module, "POLL_INTERVAL", 0.0)
    monkeypatch.setattr(module, "POLL_SHARE", 1.0)
    service = make()
    ann, bob = Direct(service, 1), Direct(service, 2)
    users = [user_of(each.enter("x")) for each in (ann, bob)]
    bob_id = users[1].rpartition(".")[2]
    opened = allocation(users[0], 50_001, 0)
    service.on_event(
        AllocationOpened(opened.client, opened.username, users[0], opened.relays, opened.relayed, 600), None
    )
    line = "candidate:1 1 udp 1 192.0.2.9 50001 typ relay raddr 0.0.0.0 rport 0"
    cand = {"candidate": line, "sdpMid": "0", "sdpMLineIndex": 0}
    ann.say(t="cand", n=1, to=bob_id, pc="12345678", list=[cand])
    found: list[dict[str, Any]] = []
    carried = 0

    def relayed() -> bool:
        nonlocal carried
        carried += 10_000
        engine.live = [allocation(users[0], 50_001, carried)]
        found.extend(entry for frame in ann.frames() if frame["t"] == "paths" for entry in frame["list"])
        return any(entry["path"] == "relay" for entry in found)

    await eventually(relayed)
    entry = next(entry for entry in found if entry["path"] == "relay")
    assert (entry["id"], entry["proto"], entry["by"]) == (bob_id, "tcp", "you")
    assert engine.asked[-1] == {users[0]}


async def test_a_crowd_leaves_others_their_turn(make: Callable[..., Service], monkeypatch: pytest.MonkeyPatch) -> None:
    """Kind: work in one piece. New credentials for all, the end of all sessions: in each turn of the loop a slice.

    A look at the allocations is an input of its own, with a slice of its own. A machine that takes two seconds to let
    everybody in would have one in the turns that are counted here.
    """
    monkeypatch.setattr(module, "POLL_INTERVAL", 3600.0)
    service = make(sockets_per_address=1000, resume=0.0)
    clients = [Direct(service, cid) for cid in range(1, 301)]
    for number, client in enumerate(clients):
        client.enter(f"r{number // 4}")
    for client in clients:
        client.frames()
    per_turn: list[int] = []
    service.renew_credentials()
    async with asyncio.timeout(90):
        while sum(per_turn) < len(clients):
            per_turn.append(sum(frame["t"] == "ice" for client in clients for frame in client.frames()))
            await asyncio.sleep(0)
    assert max(per_turn) <= SLICE
    for cid in range(1, 301):
        service.hub.closed(cid, service._clock())
    before = [service.hub.peer_count]
    service.work()
    async with asyncio.timeout(90):
        while service.hub.peer_count:
            await asyncio.sleep(0)
            before.append(service.hub.peer_count)
    assert max(earlier - later for earlier, later in pairwise(before)) <= SLICE


async def test_allocations_of_a_crowd_are_looked_at_in_slices(
    make: Callable[..., Service], engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Kind: work in one piece. Both ends of a pair are always seen together; everybody is, one slice in each turn."""
    service = make()
    Direct(service, 1).enter("x")
    rooms = [{f"{number:010x}.{peer}" for peer in ("ann", "bob", "cem")} for number in range(200)]
    monkeypatch.setattr(service.relays, "watched", lambda: set().union(*rooms))
    service._look()
    per_turn = [len(engine.asked)]
    async with asyncio.timeout(90):
        while sum(map(len, engine.asked)) < 600:
            await asyncio.sleep(0)
            per_turn.append(len(engine.asked))
    assert max(later - earlier for earlier, later in pairwise(per_turn)) == 1
    assert all(len(asked) <= module.LOOK_SLICE + 2 for asked in engine.asked)
    assert sum(room <= asked for asked in engine.asked for room in rooms) == 200


async def test_nobody_is_asked_when_there_are_no_rooms(
    make: Callable[..., Service], engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Looking ends with the last room."""
    monkeypatch.setattr(module, "POLL_INTERVAL", 0.0)
    service = make()
    client = Direct(service, 1)
    client.enter("x")
    await eventually(lambda: engine.asked)
    client.say(t="bye")
    await eventually(lambda: service._poll is None)


LISTENING = [(ClientTransport.UDP, Address.parse("198.51.100.1", 3478))]


def configured(**signaling: Any) -> Config:
    options = {"auth": {"shared_secrets": ["a secret of this test"]}, "signaling": signaling}
    return load_mapping(options).config


async def test_it_is_what_the_configuration_says(engine: Engine) -> None:
    """Tokens, ICE servers and limits; and other ones from a reload on, for those who come later."""
    first = configured(room_size=2, resume=33, heartbeat=11)
    service = Service.from_config(first, LISTENING, RevokedUsers(), tell=lambda fact: None)
    service.start(engine)
    token = TokenKeys.from_config(first.signaling, first.auth.shared_secrets).mint(
        "x", "host", 600, system_clock().wall, token_id="a"
    )
    client = Direct(service, 1)
    assert (client.welcome["hb"], client.welcome["resume"]) == (11_000, 33_000)
    joined = client.enter("x", token=token)
    assert (joined["t"], joined["room"]["max"]) == ("joined", 2)
    assert joined["ice"]["servers"][0]["urls"][0] == "turn:calls.example.org:3478?transport=udp"
    assert Direct(service, 2).say(t="hello", id="h", v=1)[0]["t"] == "error"
    urls = ["turn:new.example:3478"]
    service.use(configured(open=True, room_size=3, heartbeat=12, origins=["https://app.example"], urls=urls))
    later = Direct(service, 3)
    assert later.welcome["hb"] == service.edge.heartbeat * 1000 == 12_000
    joined = later.enter("y")
    assert (joined["room"]["max"], joined["ice"]["servers"][0]["urls"]) == (3, urls)
    assert service.edge.origins == {"https://app.example"}
    service.stop()


async def test_keys_that_cannot_be_used_change_nothing(engine: Engine, tmp_path: Path) -> None:
    service = Service.from_config(configured(open=True), LISTENING, RevokedUsers(), tell=lambda fact: None)
    service.start(engine)
    path = tmp_path / "key.pem"
    path.write_text("nothing")
    with pytest.raises(StartupError, match=r"key\.pem"):
        service.use(configured(public_keys=[str(path)]))
    assert Direct(service, 1).enter("x")["t"] == "joined"
    service.stop()


async def test_a_fault_of_ours_costs_one_socket(
    make: Callable[..., Service], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It is in the log, the socket is closed with 4500, and everybody else goes on."""
    closed: list[tuple[int, int, str]] = []
    service = make()
    service.edge.close = lambda *what: closed.append(what)  # type: ignore[method-assign]
    unlucky, other = Direct(service, 1), Direct(service, 2)

    def fail(*_: Any) -> None:
        raise KeyError("oops")

    with monkeypatch.context() as patched, caplog.at_level(logging.ERROR, "meshturn.faults"):
        patched.setattr(service.hub, "text", fail)
        unlucky.say(t="ping")
    assert closed == [(1, 4500, "internal")]
    assert "fault in signaling" in caplog.text
    assert service._faults.counts == {"signaling": 1}
    assert other.enter("x")["t"] == "joined"


async def test_a_fault_in_the_timer_is_not_the_end(
    make: Callable[..., Service], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The next tick comes all the same."""
    service = make(hello=0.01)
    Direct(service, 1)

    def fail(*_: Any) -> None:
        raise KeyError("oops")

    with monkeypatch.context() as patched, caplog.at_level(logging.ERROR, "meshturn.faults"):
        patched.setattr(service.hub, "expire", fail)
        service._tick()
    assert "fault in signaling" in caplog.text
    assert service._timer is not None


async def test_what_an_sfu_reports_reaches_clients_and_what_it_reports_wrongly_costs_itself(
    make: Callable[..., Service], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    media = ScriptedMedia()
    service = make(media=media, room_size=2)
    clients = [Direct(service, cid) for cid in (1, 2, 3)]
    peers = []
    for client in clients:
        assert "sfu" in client.welcome["feat"]
        client.say(t="hello", id="h", v=1)
        answers = client.say(t="join", id="j", room="x", name="Ann", mode="auto")
        peers.append(next(frame for frame in answers if frame["t"] == "joined")["you"]["id"])
    assert media.take()[0] == ("open", "x", 1)
    clients[0].frames()
    with caplog.at_level(logging.ERROR, "meshturn.faults"):
        service.on_media(SfuSpeaker(["x"], peers[0]))  # type: ignore[arg-type]  # no room has such a name
    assert "fault in signaling" in caplog.text
    service.on_media(SfuAnswered("x", peers[0], "p", "v=0"))
    assert [(frame["from"], frame["pc"]) for frame in clients[0].frames()] == [("sfu", "p")]
    assert service._timer is not None, "the time for the change is running"


async def test_a_fault_in_the_look_at_the_relays_is_not_the_last(
    make: Callable[..., Service], engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next look comes all the same."""
    service = make()
    Direct(service, 1).enter("x")

    def fail(*_: Any) -> None:
        raise KeyError("oops")

    with monkeypatch.context() as patched:
        patched.setattr(engine, "allocations", fail)
        service._look()
    assert service._faults.counts == {"signaling": 1}
    assert service._poll is not None
    service._look()
    assert len(engine.asked) == 1


@pytest.mark.parametrize("what", ["wake", "close"])
async def test_a_command_that_raises_costs_itself(
    what: str, make: Callable[..., Service], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The others are carried out, the facts are told, and the timer is armed."""
    service = make()
    carried: list[tuple[str, int]] = []

    def carry(name: str, cid: int) -> None:
        carried.append((name, cid))
        if name == what and cid == 1:
            raise KeyError("oops")

    monkeypatch.setattr(service.edge, "wake", lambda cid: carry("wake", cid))
    monkeypatch.setattr(service.edge, "close", lambda cid, code, reason: carry("close", cid))
    monkeypatch.setattr(service.hub, "commands", lambda: [Wake(1), Close(1, 4000, "x"), Wake(2), Close(2, 4000, "x")])
    service.work()
    assert carried == [("wake", 1), ("close", 1), ("wake", 2), ("close", 2)]
    assert service._faults.counts == {"signaling": 1}


async def test_whoever_is_told_and_raises_costs_one_fact(
    make: Callable[..., Service], monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[object] = []

    def tell(fact: object) -> None:
        told.append(fact)
        raise KeyError("oops")

    service = make()
    monkeypatch.setattr(service, "_tell", tell)
    assert Direct(service, 1).enter("x")["t"] == "joined"
    assert len(told) > 1
    assert service._faults.counts == {"signaling": len(told)}
    assert service._timer is not None


async def test_tokens_stay_out_of_the_log(make: Callable[..., Service], caplog: pytest.LogCaptureFixture) -> None:
    """Neither those that are good nor those that are not; nor what a session is resumed with."""
    with caplog.at_level(logging.DEBUG, "meshturn.signaling"):
        service = make(open=False)
        first, second = Direct(service, 1), Direct(service, 2)
        first.say(t="hello", id="h", v=1, token="a-bad-one")
        assert second.enter("x", token="good")["t"] == "joined"
    lines = "\n".join(f"{record.message} {getattr(record, 'fields', {})}" for record in caplog.records)
    assert "participant joined" in lines
    assert "a-bad-one" not in lines
    assert "good" not in lines


@asynccontextmanager
async def serving(service: Service) -> AsyncIterator[Client]:
    app = web.Application()
    service.mount(app)
    async with TestClient(TestServer(app)) as client:
        yield client


def connect(client: Client) -> Any:
    return client.ws_connect("/v1/ws", protocols=(PROTOCOL,))


async def test_draining(make: Callable[..., Service]) -> None:
    """Everybody is told when to come back, then closed; nobody new is let in meanwhile."""
    service = make()
    async with serving(service) as client, connect(client) as socket:
        assert (await socket.receive_json(timeout=90))["t"] == "welcome"
        await socket.send_json({"t": "hello", "id": "h", "v": 1})
        assert (await socket.receive_json(timeout=90))["t"] == "hello_ok"
        closing = asyncio.create_task(service.close())
        goodbye = await socket.receive_json(timeout=90)
        assert (goodbye["t"], goodbye["code"], goodbye["reconnect"]) == ("goodbye", "draining", "resume")
        assert 0 <= goodbye["after"] <= 1000
        end = await socket.receive(timeout=90)
        assert (end.type, end.data) == (aiohttp.WSMsgType.CLOSE, 4503)
        await closing
        assert service.edge.sockets == 0
        with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
            await connect(client)
        assert caught.value.status == 503
    await service.close()


async def test_draining_does_not_wait_for_the_deaf(
    make: Callable[..., Service], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client that does not answer the Close is cut off in time."""
    monkeypatch.setattr(module, "DRAIN_TIME", 0.05)
    service = make()
    async with serving(service) as client, connect(client) as socket:
        await socket.receive_json(timeout=90)
        connection = socket._response.connection
        assert connection is not None
        assert connection.transport is not None
        connection.transport.pause_reading()
        await service.close()
        await eventually(lambda: service.edge.sockets == 0)
        # It has not read the server's Close either, and would wait for it.
        connection.transport.abort()


async def test_what_is_mounted(make: Callable[..., Service]) -> None:
    """The socket, the page and its files."""
    service = make()
    async with serving(service) as client:
        assert (await client.get("/v1/ws")).status == 426
        assert (await client.get("/call/x")).status == 200
        assert (await client.get("/")).status == 200


@pytest.fixture(autouse=True)
def _quiet(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    logger = logging.getLogger("meshturn")
    before = logger.propagate
    logger.propagate = True
    yield
    logger.propagate = before


def test_the_clock() -> None:
    """Both clocks; the monotonic one is the loop's."""
    now = system_clock()
    assert isinstance(now, Now)
    assert now.wall > 1.7e9
