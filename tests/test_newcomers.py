"""What a newcomer adds is one file, an entry in a registry, its options and its documentation: shown by example.

Each example stands here as its file would, and is then used through the front door, without a change to anything else.
"""

import asyncio
import os
from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack
from typing import Annotated, Any, Literal, Protocol

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from pydantic import Field

from auth.keys import long_term_keys
from auth.revocation import RevokedUsers
from auth.source import CredentialSource
from auth.types import PENDING, Answer, Credential, LateAnswer, Unavailable
from stun.address import Address
from stun.constants import MessageClass, Method
from stun.message import Message, MessageBuilder
from tests.support.peer import UdpPeer
from tests.support.relaying import relay_something
from tests.support.room_options import hub_settings
from tests.support.signal_hub import World, mint
from tests.support.signal_schema import is_valid
from tests.support.turn_client import TurnClient, TurnRefused
from turnserver.client.session import SignalClient
from turnserver.config import Config, LimitsConfig, json_schema, load_mapping, reference
from turnserver.config.values import LIVE, integer
from turnserver.core.events import AllocationEnded, AllocationOpened
from turnserver.core.types import AllocationView, ClientTransport, Counters, RelayId, Route
from turnserver.credentials.registry import SOURCES, SourceKind
from turnserver.errors import ConfigError
from turnserver.observers.registry import OBSERVERS
from turnserver.relay.base import Datapath
from turnserver.relay.registry import DATAPATHS, DatapathKind, create_datapath
from turnserver.relay.wrapping import WrappingDatapath
from turnserver.server import Reload, Server
from turnserver.signaling.edge.service import Service
from turnserver.signaling.protocol.base import CLIENT, SERVER, UNNUMBERED, FromPeer, Rate, Relayed, message
from turnserver.signaling.protocol.client_messages import Join
from turnserver.signaling.protocol.fields import Word
from turnserver.signaling.protocol.schema import json_schema as signal_schema
from turnserver.signaling.rooms.settings import Grant
from turnserver.transports.base import ListenerContext, ListenerSection
from turnserver.transports.registry import TRANSPORTS, ListenerKind
from turnserver.transports.udp import UdpTransport

OPTIONS: dict[str, Any] = {
    "listeners": [{"address": "127.0.0.1", "port": 0}],
    "auth": {"users": {"alice": "wonderland"}},
    "peers": {"allow": ["127.0.0.0/8"]},
}


@pytest.fixture
def registered() -> Iterator[ExitStack]:
    """Takes out at the end what a test has entered in a registry."""
    with ExitStack() as stack:
        yield stack


# A transport


class ThriceTransport(UdpTransport):
    """A listener that sends every answer three times, for networks that lose two of three."""

    name = "thrice"

    @classmethod
    def from_config(
        cls, section: ListenerSection, address: Address, index: int, context: ListenerContext
    ) -> "ThriceTransport":
        return cls(index, address, tos=context.tos, clock=context.clock)

    def send(self, client: Any, frame: bytes) -> bool:
        twice = [UdpTransport.send(self, client, frame) for _ in range(2)]
        return super().send(client, frame) or any(twice)


async def test_a_transport(registered: ExitStack) -> None:
    """Registered, it can be configured, is in schema and reference, and serves; core and engine do not know of it."""
    wanted = {**OPTIONS, "listeners": [{"transport": "thrice", "address": "127.0.0.1", "port": 0}]}
    with pytest.raises(ConfigError):
        load_mapping(wanted)
    kind = ListenerKind("answers three times", ThriceTransport.from_config, plain=ClientTransport.UDP, port=3479)
    registered.callback(TRANSPORTS.add("thrice", kind))
    assert load_mapping({"listeners": [{"transport": "thrice", "address": "::1"}]}).config.listeners[0].port == 3479
    assert "thrice" in json_schema()["$defs"]["Listener"]["properties"]["transport"]["enum"]
    assert "`thrice`" in reference()
    async with Server(wanted) as server:
        (listener,) = server.snapshot().listeners
        assert listener.kind == "thrice"
        await asyncio.to_thread(relay_something, listener.address)
        counters = server.snapshot().listeners[0].counters
        assert counters.packets_out > 2 * counters.packets_in


# A setting


class CopiesLimits(LimitsConfig):
    """The one place that says what the option is: its name, bounds, default, meaning, and that it is live."""

    copies: Annotated[int, integer(1, 9), LIVE] = Field(default=3, description="Copies of each answer.")


class CopiesConfig(Config):
    """Stands for the schema with the option in it."""

    limits: CopiesLimits = Field(default_factory=CopiesLimits, description="How much of everything.")


class CopiesSection(Protocol):
    """What the reader reads."""

    @property
    def copies(self) -> int: ...


class CopyingTransport(UdpTransport):
    """The one reader."""

    name = "copying"
    limits: CopiesSection

    @classmethod
    def from_config(
        cls, section: ListenerSection, address: Address, index: int, context: ListenerContext
    ) -> "CopyingTransport":
        made = cls(index, address, tos=context.tos, clock=context.clock)
        made.use(context.limits)
        return made

    def use(self, limits: Any) -> None:
        self.limits = limits

    def send(self, client: Any, frame: bytes) -> bool:
        sent = [UdpTransport.send(self, client, frame) for _ in range(self.limits.copies)]
        return all(sent)


async def test_a_setting_is_read_in_one_place(registered: ExitStack) -> None:
    """Between the schema and the reader nobody hears of it: the section itself is what is handed on, and replaced."""
    kind = ListenerKind("copies answers", CopyingTransport.from_config, plain=ClientTransport.UDP)
    registered.callback(TRANSPORTS.add("copying", kind))
    options = {"listeners": [{"transport": "copying", "address": "127.0.0.1", "port": 0}]}
    async with Server(CopiesConfig.model_validate(options)) as server:
        (address,) = [address for _, address in server.snapshot().listening]

        async def copies() -> int:
            before = server.snapshot().listeners[0].counters
            await asyncio.to_thread(ask, address)
            now = server.snapshot().listeners[0].counters
            assert now.packets_in == before.packets_in + 1
            return now.packets_out - before.packets_out

        assert await copies() == 3
        other = CopiesConfig.model_validate({**options, "limits": {"copies": 2}})
        assert await server.reload(other) == Reload(taken=("limits.copies",))
        assert await copies() == 2


def ask(server: Address) -> None:
    """One Binding, and its first answer."""
    with UdpPeer() as client:
        client.send(MessageBuilder(Method.BINDING, MessageClass.REQUEST, os.urandom(12)).build(), server)
        assert Message.decode(client.receive()[0]).message_class is MessageClass.SUCCESS


# A datapath that wraps another


class RouteCountingDatapath(WrappingDatapath):
    """Counts what stands in the way of a kernel's route table: how many routes there are at once, at most."""

    def __init__(self, inner: Datapath) -> None:
        super().__init__(inner)
        self.name = f"route-counting {inner.name}"
        self.routes: set[tuple[object, int]] = set()
        self.most = 0

    def add_route(self, route: Route) -> None:
        super().add_route(route)
        self.routes.add((route.client, route.channel))
        self.most = max(self.most, len(self.routes))

    def remove_route(self, client: Any, channel: int) -> None:
        super().remove_route(client, channel)
        self.routes.discard((client, channel))


async def test_a_wrapping_datapath(registered: ExitStack) -> None:
    """It makes the one that it wraps by its name; `auto` takes it because it says that it is better and works here."""
    made: list[RouteCountingDatapath] = []

    def make(*, tos: Any, clock: Callable[[], float]) -> Datapath:
        made.append(RouteCountingDatapath(create_datapath("asyncio", tos=tos, clock=clock)))
        return made[-1]

    registered.callback(DATAPATHS.add("route-counting", DatapathKind("counts routes", make, rank=2)))
    assert "`route-counting`" in reference()
    async with Server(OPTIONS) as server:
        await asyncio.to_thread(relay_something, server.snapshot().listening[0][1])
        assert server.snapshot().datapaths[0].name == "route-counting asyncio"
        assert server.snapshot().datapaths[0].counters[:4] == (1, 5, 1, 5)
    (datapath,) = made
    assert (datapath.most, datapath.routes) == (1, set())


# A credential source that waits


class Directory(CredentialSource):
    """Asks the company's directory, which takes its time and may be down; ``down`` says whether it is."""

    def __init__(self) -> None:
        self.down = False

    def find(self, username: str, realm: str, wall: float) -> Answer:
        return PENDING

    async def ask(self, username: str, realm: str, wall: float) -> LateAnswer:
        await asyncio.sleep(0)
        if self.down:
            return Unavailable("the directory is down")
        if username != "alice":
            return ()
        return (Credential(username, realm, "employee 7", long_term_keys(username, realm, "wonderland")),)


async def test_a_credential_source_that_waits(registered: ExitStack) -> None:
    """Registered, it can be named in ``auth.sources``, in its place; what it finds late counts as much."""
    wanted = {**OPTIONS, "auth": {"sources": ["users", "directory"], "users": {"bob": "builder"}}}
    with pytest.raises(ConfigError):
        load_mapping(wanted)
    directory = Directory()
    kind = SourceKind("asks the directory", lambda auth, *, clock: directory)
    registered.callback(SOURCES.add("directory", kind))
    assert load_mapping(wanted).warnings == ()
    assert "directory" in json_schema()["$defs"]["AuthConfig"]["properties"]["sources"]["items"]["enum"]
    assert "`directory`" in reference()
    async with Server(wanted) as server:
        (_, address) = server.snapshot().listening[0]
        await asyncio.to_thread(relay_something, address)
        for user, password, code in (("alice", "guess", 401), ("mallory", "wonderland", 401)):
            with pytest.raises(TurnRefused) as refused:
                await asyncio.to_thread(allocate, address, user, password)
            assert refused.value.code == code
        directory.down = True
        await asyncio.to_thread(allocate, address, "bob", "builder")
        assert server.snapshot().limits.pending_lookups.used == 0


def allocate(server: Address, user: str, password: str) -> None:
    """A relay for a moment."""
    with TurnClient.udp(server.host, server.port, user, password) as client:
        client.allocate()


# An observer


class Ledger:
    """Who has relayed how much: bytes by user, of what is over."""

    def __init__(self) -> None:
        self.open: set[tuple[RelayId, ...]] = set()
        self.carried: dict[str, int] = {}

    def on_event(self, event: object, counters: Counters | None) -> None:
        if isinstance(event, AllocationOpened):
            self.open.add(event.relays)
        elif isinstance(event, AllocationEnded) and counters is not None:
            self.open.discard(event.relays)
            octets = counters.bytes_to_peers + counters.bytes_to_client
            self.carried[event.user_id] = self.carried.get(event.user_id, 0) + octets


async def test_an_observer(registered: ExitStack) -> None:
    """Handed to a server it is told; registered it can be configured, and comes and goes with the configuration."""
    handed = Ledger()
    registered.callback(OBSERVERS.add("ledger", Ledger))
    named = {**OPTIONS, "observers": ["log", "ledger"]}
    async with Server(OPTIONS, observers=[handed]) as server:
        address = server.snapshot().listening[0][1]
        await asyncio.to_thread(relay_something, address)
        assert await server.reload(named) == Reload(taken=("observers",))
        ledger = server.observers["ledger"]
        assert isinstance(ledger, Ledger)
        await asyncio.to_thread(relay_something, address)
        await server.reload(OPTIONS)
        await asyncio.to_thread(relay_something, address)
    assert (handed.open, handed.carried) == (set(), {"alice": 30})
    assert (ledger.open, ledger.carried) == (set(), {"alice": 10})


# A message type of signal.v1


class NoRelaying:
    """A relay engine for rooms without relays."""

    def revoke(self, user_id: str) -> int:
        return 0

    def allocations(self, user_ids: Collection[str] | None = None) -> list[AllocationView]:
        return []


def nobody(token: str, wall: float) -> Grant:
    raise AssertionError("the rooms are open: nobody has a token")


class TestMessageType:
    """A message type is one class for each direction, in ``turnserver/signaling/protocol/`` and nowhere else."""

    @pytest.fixture(autouse=True)
    def wave(self) -> Iterator[None]:
        """What a newcomer would write into `server_messages` and `client_messages`."""

        @message
        class PeerWave(FromPeer):
            """Somebody waves."""

            t: Literal["wave"] = "wave"
            hand: Word

        @message
        class Wave(Relayed):
            """Wave to somebody, or to all."""

            rate = Rate.BYTES
            becomes = PeerWave
            needs = "message"

            t: Literal["wave"] = "wave"
            hand: Word = "right"

        yield
        CLIENT.remove(Wave)
        SERVER.remove(PeerWave)

    def test_it_is_in_the_schema_and_its_fields_are_checked(self) -> None:
        definitions = signal_schema()["$defs"]
        assert {"$ref": "#/$defs/Wave"} in definitions["client"]["oneOf"]
        assert definitions["PeerWave"]["description"] == "Somebody waves."
        assert is_valid("client", {"t": "wave", "n": 1, "hand": "left"})
        assert not is_valid("client", {"t": "wave", "n": 1, "hand": 3})

    def test_it_is_relayed_to_one_or_to_all_and_to_nobody_else(self) -> None:
        world = World()
        ann, bob, cem = world.enter("ann", "bob", "cem")
        dan = world.enter("dan", room="green")[0]
        assert ann.ask("wave", to=bob.id)["t"] == "ok"
        ann.say("wave", hand="left")
        heard = [{name: frame[name] for name in ("t", "from", "hand")} for frame in bob.drain()]
        assert heard == [{"t": "wave", "from": ann.id, "hand": hand} for hand in ("right", "left")]
        assert (cem.types(), ann.types(), dan.types()) == (["wave"], [], [])

    def test_it_is_counted_and_survives_the_loss_of_a_socket(self) -> None:
        world = World()
        ann, bob = world.enter("ann", "bob")
        bob.cut()
        ann.say("wave", hand="left")
        ann.say("wave", n=ann.n, hand="left")
        bob.open()
        bob.resume()
        assert bob.types() == ["welcome", "wave"]

    def test_its_size_counts_against_the_rate_and_its_token_must_allow_it(self) -> None:
        world = World(relay_rate=10, relay_burst=100, grants={"mute": {"caps": frozenset({"publish"})}})
        ann, mute = world.enter("ann")[0], world.enter("mute", token="mute")[0]
        assert mute.ask("wave")["code"] == "forbidden"
        assert [ann.ask("wave")["t"] for _ in range(5)] == ["ok", "ok", "ok", "error", "error"]

    async def test_the_python_client_says_and_hears_it(self) -> None:
        """Its bytes, its number and its class, all from the same two classes."""
        app = web.Application()
        options, _ = hub_settings(open=True)
        service = Service(options, nobody, mint, RevokedUsers(), separator=":")
        service.mount(app)
        async with TestServer(app) as server:
            service.start(NoRelaying())
            url = str(server.make_url("/"))
            async with SignalClient(url) as ann, SignalClient(url) as bob:
                heard: asyncio.Queue[Any] = asyncio.Queue()
                bob.subscribe(heard.put_nowait)
                for client in (ann, bob):
                    await client.request(Join(room="tea"))
                wave = CLIENT["wave"]
                ann.send(wave(n=UNNUMBERED, to=bob.id, hand="left"))
                async with asyncio.timeout(30):
                    while (said := await heard.get()).t != "wave":
                        pass
                assert said == SERVER["wave"](seq=said.seq, from_=ann.id, hand="left")
        service.stop()
