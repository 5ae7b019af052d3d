"""A plug that raises while a server starts, is reloaded, is looked at or stops: it is named, and costs nothing else.

One plug of each kind is registered as ``faulty`` and used beside the ones that ship, in a whole server with sockets.
"""

import asyncio
import os
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from auth.source import CredentialSource, StaticUsers
from stun.address import Address
from stun.constants import MessageClass, Method
from stun.message import Message, MessageBuilder
from tests.support.server import free_port
from tests.turnserver.test_containment import LIFECYCLE
from turnserver.core.types import ClientTransport, Counters
from turnserver.credentials.registry import SOURCES, SourceKind
from turnserver.errors import StartupError
from turnserver.observers.recorder import Recorder
from turnserver.observers.registry import OBSERVERS
from turnserver.relay.base import Datapath, StreamRelays
from turnserver.relay.registry import DATAPATHS, DatapathKind
from turnserver.relay.sockets import AsyncioDatapath
from turnserver.relay.tcp import TcpRelays
from turnserver.server import Server
from turnserver.snapshot import ListenerView
from turnserver.transports.base import ListenerContext, ListenerSection, Transport
from turnserver.transports.registry import TRANSPORTS, ListenerKind
from turnserver.transports.stream import StreamTransport
from turnserver.transports.udp import UdpTransport


class Broken(Exception):
    """An exception that nobody expects."""


class Faulty:
    """Stands in front of a plug; the attribute or method that the rig has broken raises."""

    def __init__(self, inner: Any, rig: "Rig", part: str) -> None:
        self.inner = inner
        self._rig = rig
        self._part = part

    def __getattr__(self, name: str) -> Any:
        value = getattr(self.inner, name)
        if not callable(value):
            if self._rig.broken == (self._part, name):
                raise self._rig.error("line one\nline two")
            return value

        def call(*arguments: Any) -> Any:
            if self._rig.broken != (self._part, name):
                return value(*arguments)
            if self._rig.after:
                value(*arguments)
            raise self._rig.error("line one\nline two")

        return call


class Datagrams(UdpTransport):
    """A listener that says the name that it is registered by."""

    name = "faulty"


class Users(CredentialSource):
    """A source that remembers whether it has been closed."""

    def __init__(self, rig: "Rig") -> None:
        self.rig = rig
        self.closed = False
        rig.sources.append(self)

    def find(self, username: str, realm: str, wall: float) -> tuple[()]:
        return ()

    async def close(self) -> None:
        self.closed = True
        if self.rig.broken == ("source", "close"):
            raise self.rig.error


class Rig:
    """The plugs called ``faulty``: ``broken`` is the part and the method that raises, ``after`` its work or before."""

    def __init__(self, error: type[BaseException] = Broken) -> None:
        self.error = error
        self.broken = ("", "")
        self.after = False
        self.sources: list[Users] = []
        self.inner: list[Any] = []

    def make(self, part: str, make: Callable[..., Any]) -> Callable[..., Any]:
        def made(*arguments: Any, **named: Any) -> Any:
            if self.broken == (part, "make"):
                raise self.error("line one\nline two")
            inner = make(*arguments, **named)
            if part not in ("transport", "datapath", "streams"):
                return inner
            self.inner.append(inner)
            return Faulty(inner, self, part)

        return made

    def register(self) -> list[Callable[[], None]]:
        datagrams = ListenerKind("", self.make("transport", datagrams_from), plain=ClientTransport.UDP)
        return [
            TRANSPORTS.add("faulty", datagrams),
            DATAPATHS.add("faulty", DatapathKind("", self.make("datapath", AsyncioDatapath))),
            SOURCES.add("faulty", SourceKind("", self.make("source", lambda auth, *, clock: Users(self)))),
            SOURCES.add("first", SourceKind("", lambda auth, *, clock: Users(self))),
            OBSERVERS.add("faulty", self.make("observer", Recorder)),
        ]


def datagrams_from(section: ListenerSection, address: Address, index: int, context: ListenerContext) -> Transport:
    return Datagrams(index, address, tos=context.tos, clock=context.clock)


@pytest.fixture(params=[Broken, asyncio.CancelledError])
def rig(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Rig]:
    made = Rig(request.param)
    undo = made.register()
    monkeypatch.setattr("turnserver.server.TcpRelays", made.make("streams", TcpRelays))
    yield made
    for each in undo:
        each()


def listeners(*names: str) -> list[dict[str, Any]]:
    plain = {"shared": {"tls": False}}
    return [{"transport": name, "address": "127.0.0.1", "port": 0} | plain.get(name, {}) for name in names]


OPTIONS: dict[str, Any] = {
    "listeners": listeners("udp", "tcp", "faulty", "shared"),
    "auth": {"users": {"alice": "wonderland"}, "sources": ["first", "faulty", "users"]},
    "signaling": {"open": True},
    "relay": {"datapath": "faulty"},
    "observers": ["faulty"],
    "log": {"level": "error"},
}


def what_is_open() -> dict[str, int]:
    """How many there are of whatever can be left behind."""
    loop: Any = asyncio.get_running_loop()
    return {
        "descriptors": len(os.listdir("/proc/self/fd")),
        "watched by the loop": len(loop._selector.get_map()),
        "timers": len([handle for handle in loop._scheduled if not handle.cancelled()]),
        "tasks": len(asyncio.all_tasks()),
        "threads": threading.active_count(),
    }


def what_is_left(before: dict[str, int]) -> dict[str, int]:
    """What there is more of than before; less there may be, if garbage of other tests has been collected."""
    return {name: count - before[name] for name, count in what_is_open().items() if count > before[name]}


async def answers(address: Address) -> bool:
    """Whether a listener for datagrams answers a Binding request."""
    loop = asyncio.get_running_loop()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.setblocking(False)
        client.connect((address.host, address.port))
        request = MessageBuilder(Method.BINDING, MessageClass.REQUEST, os.urandom(12)).build()
        await loop.sock_sendall(client, request)
        answer = Message.decode(await asyncio.wait_for(loop.sock_recv(client, 2048), 90))
    return answer.transaction_id == request[8:20]


def is_free(view: ListenerView) -> bool:
    """Whether a listener's port can be bound."""
    kind = socket.SOCK_STREAM if view.transport.connected else socket.SOCK_DGRAM
    with socket.socket(socket.AF_INET, kind) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1 if kind is socket.SOCK_STREAM else 0)
        try:
            sock.bind((view.address.host, view.address.port))
        except OSError:
            return False
    return True


STARTS = [
    ("transport", "make", False, "The listener faulty 127.0.0.1:0"),
    ("transport", "bind", False, "The listener faulty 127.0.0.1:0"),
    ("transport", "bind", True, "The listener faulty 127.0.0.1:0"),
    ("transport", "name", False, "The listener faulty 127.0.0.1:0"),
    ("transport", "serve", False, "The listener faulty 127.0.0.1:"),
    ("transport", "serve", True, "The listener faulty 127.0.0.1:"),
    ("datapath", "make", False, "The datapath faulty"),
    ("datapath", "name", False, "The datapath faulty"),
    ("datapath", "attach", False, "The datapath faulty"),
    ("datapath", "attach", True, "The datapath faulty"),
    ("streams", "attach", False, "The datapath faulty"),
    ("streams", "attach", True, "The datapath faulty"),
    ("source", "make", False, "The credential source faulty"),
]


@pytest.mark.parametrize(("part", "method", "after", "words"), STARTS)
async def test_a_start_with_a_plug_that_raises(part: str, method: str, after: bool, words: str, rig: Rig) -> None:
    """One line and a hint, and nothing is open; without the fault the same server starts."""
    server = Server(OPTIONS)
    before = what_is_open()
    rig.broken, rig.after = (part, method), after
    with pytest.raises(StartupError) as caught:
        await server.start()
    assert str(caught.value).startswith(words)
    assert f"{rig.error.__qualname__}: line one\\x0aline two" in str(caught.value)
    assert "\n" not in str(caught.value) + caught.value.hint
    (noted,) = server.snapshot().faults
    assert f"fault in {noted}" in caught.value.hint
    assert what_is_left(before) == {}
    assert all(source.closed for source in rig.sources)
    rig.broken = "", ""
    async with server:
        assert await answers(server.snapshot().listeners[2].address)
    assert what_is_left(before) == {}


def test_an_observer_that_cannot_be_made(rig: Rig) -> None:
    rig.broken = "observer", "make"
    with pytest.raises(StartupError, match=f"The observer faulty cannot be used: {rig.error.__qualname__}"):
        Server(OPTIONS)


CHANGED: dict[str, Any] = {
    **OPTIONS,
    "limits": {"idle_timeout": 7, "connections": 3},
    "peers": {"deny": ["8.8.8.8/32"]},
    "signaling": {"open": False},
}
CHANGES = [
    ("transport", "use", False, CHANGED, "The listener faulty 127.0.0.1:"),
    ("transport", "use", True, CHANGED, "The listener faulty 127.0.0.1:"),
    ("source", "make", False, CHANGED, "The credential source faulty"),
    ("observer", "make", False, {**CHANGED, "observers": ["faulty", "log"]}, "The observer faulty"),
]


@pytest.mark.parametrize(("part", "method", "after", "wanted", "words"), CHANGES)
async def test_a_reload_with_a_plug_that_raises(
    part: str, method: str, after: bool, wanted: dict[str, Any], words: str, rig: Rig
) -> None:
    """It is said, and everything is as it was: limits, policy, observers, credentials. What was made is closed."""
    running = {**OPTIONS, "observers": ["log"]} if part == "observer" else OPTIONS
    async with Server(running) as server:
        parts = server._parts
        assert parts is not None
        assert parts.core is not None
        config, policy, source = server.config, parts.core.state.policy, parts.core.credentials
        observers, made = dict(server.observers), list(rig.sources)
        rig.broken, rig.after = (part, method), after
        with pytest.raises(StartupError) as caught:
            await server.reload(wanted)
        assert str(caught.value).startswith(words)
        rig.broken = "", ""
        assert server.config is config
        assert parts.limiter.limits is config.limits
        streams = [transport for transport in server.transports if isinstance(transport, StreamTransport)]
        assert [transport._limits for transport in streams] == [config.limits] * 2
        assert (parts.core.state.policy, parts.core.credentials) == (policy, source)
        assert server.observers == observers
        assert [each.closed for each in made] == [False, False]
        assert all(each.closed for each in rig.sources[2:])
        assert len(server.snapshot().faults) == 1
        assert await answers(server.snapshot().listeners[0].address)
        assert await server.reload(wanted)
        assert [transport._limits.idle_timeout for transport in streams] == [7, 7]
        assert [each.closed for each in made] == [True, True]


CLOSES = [(part, "close", after) for part in ("transport", "datapath", "streams") for after in (False, True)]
CLOSES.append(("source", "close", True))


def test_every_method_outside_traffic_is_tried() -> None:
    """Those that `tests.turnserver.test_containment` leaves out."""
    tried = {(part, method) for part, method, *_ in [*STARTS, *CHANGES, *CLOSES]}
    interfaces = {"transport": Transport, "datapath": Datapath, "streams": StreamRelays, "source": CredentialSource}
    for part, interface in interfaces.items():
        assert {(part, name) for name in LIFECYCLE if hasattr(interface, name)} <= tried


@pytest.mark.parametrize(("part", "method", "after"), CLOSES)
async def test_a_stop_with_a_plug_that_raises(part: str, method: str, after: bool, rig: Rig) -> None:
    """Everything else is closed, and the fault is counted."""
    before = what_is_open()
    server = Server(OPTIONS)
    await server.start()
    views = server.snapshot().listeners
    rig.broken, rig.after = (part, method), after
    await server.stop()
    assert not server.snapshot().running
    assert server.snapshot().faults
    assert all(source.closed for source in rig.sources)
    assert [is_free(views[at]) for at in (0, 1, 3)] == [True] * 3
    for inner in rig.inner:  # what raises instead of closing leaves its own sockets open, and no others
        inner.close()
    assert what_is_left(before) == {}


@pytest.mark.parametrize("name", ["counters", "connections", "name", "kind", "address", "local"])
async def test_a_snapshot_of_a_listener_that_raises(name: str, rig: Rig) -> None:
    """Zeros where it cannot be asked; the other listeners are there, and what it is, is known from the start."""
    async with Server(OPTIONS, credentials=StaticUsers({})) as server:
        first, faulty = server.snapshot().listeners[0], server.snapshot().listeners[2]
        assert await answers(first.address)
        assert await answers(faulty.address)
        rig.broken = "transport", name
        now = server.snapshot()
        assert [view.kind for view in now.listeners] == ["udp", "tcp", "faulty", "shared"]
        assert (now.listeners[2].address, now.listeners[2].transport) == (faulty.address, ClientTransport.UDP)
        assert now.listeners[0].counters.packets_in == 1
        assert now.listeners[2].counters.packets_in == (0 if name == "counters" else 1)
        assert now.listeners[2].connections == 0
        assert now.faults == ({f"transport.{name}": 1} if name in ("counters", "connections") else {})


@pytest.mark.parametrize("what", ["counters", "name"])
async def test_a_snapshot_of_a_datapath_that_raises(what: str, rig: Rig) -> None:
    """Its relays count for nothing."""
    async with Server(OPTIONS, credentials=StaticUsers({})) as server:
        assert server._parts is not None
        assert server._parts.datapath is not None
        server._parts.datapath.open_relay(1, Address.parse("127.0.0.1", free_port()))  # type: ignore[arg-type]
        rig.broken = "datapath", what
        now = server.snapshot()
        assert [(view.name, view.relays, view.counters) for view in now.datapaths] == [
            ("asyncio", 1, Counters()),
            ("tcp", 0, Counters()),
        ]
        assert now.faults == ({"datapath.counters": 1} if what == "counters" else {})
