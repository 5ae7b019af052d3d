"""The engine and what has connections: allocations that keep theirs, and TCP relays (RFC 6062), all in memory."""

import asyncio
import os
from typing import Any

import pytest

from auth.nonce import NonceIssuer
from auth.source import StaticUsers
from stun import attributes as a
from stun.address import Address
from stun.constants import Method, TransportProtocol
from stun.message import Message
from tests.support.core_settings import core_settings
from tests.support.core_world import PEER, REALM, RELAY, SERVER, ScriptedClient, World, code_of
from turnserver.core.commands import ConnectPeer, Splice
from turnserver.core.events import AllocationEnded, AllocationMoved, Event
from turnserver.core.server import TurnCore
from turnserver.core.settings import OwnAddresses, RelayAddress
from turnserver.core.types import ClientTransport, Counters, FiveTuple, RelayId
from turnserver.engine import Engine
from turnserver.errors import DatapathError
from turnserver.relay.base import StreamRelaySink
from turnserver.relay.null import NullDatapath
from turnserver.transports.base import FrameSink


class MemoryStreams:
    """A stream listener: keeps what it is told to send, and gives a name for a stream when one is detached."""

    kind = ClientTransport.TCP
    listener = 0
    address = SERVER

    def __init__(self) -> None:
        self.sink: FrameSink | None = None
        self.log: list[tuple[Any, ...]] = []
        self.gone: set[FiveTuple] = set()

    def serve(self, sink: FrameSink) -> None:
        self.sink = sink

    def path(self, client: FiveTuple) -> None:
        return None

    def release(self, client: FiveTuple) -> None:
        raise AssertionError("a path lives as long as its connection")

    def send(self, client: FiveTuple, frame: bytes) -> bool:
        self.log.append(("send", client, frame))
        return True

    def keep(self, client: FiveTuple, on: bool) -> None:
        self.log.append(("keep", client, on))

    def detach(self, client: FiveTuple) -> Any:
        self.log.append(("detach", client))
        return None if client in self.gone else f"stream of {client.serial}"

    def close_client(self, client: FiveTuple) -> None:
        self.log.append(("close", client))

    def close(self) -> None:
        self.log.append(("closed",))


class MemoryRelays:
    """TCP relays that remember what they were told; ``failing`` names the calls that fail."""

    def __init__(self) -> None:
        self.sink: StreamRelaySink | None = None
        self.log: list[tuple[Any, ...]] = []
        self.failing: set[str] = set()

    def attach(self, sink: StreamRelaySink) -> None:
        self.sink = sink

    def _call(self, name: str, *arguments: Any) -> None:
        self.log.append((name, *arguments))
        if name in self.failing:
            raise DatapathError("no")

    def open_relay(self, relay: RelayId, bind: Address) -> bool:
        self._call("open", relay, bind.ip)
        return True

    def close_relay(self, relay: RelayId) -> None:
        self._call("close relay", relay)

    def connect(self, connection: int, relay: RelayId, peer: Address) -> None:
        self._call("connect", connection, relay, peer)

    def close_peer(self, connection: int) -> None:
        self._call("close peer", connection)

    def splice(self, connection: int, client: Any) -> None:
        self._call("splice", connection, client)

    def counters(self, relay: RelayId) -> Counters:
        return Counters(bytes_to_peers=10, bytes_to_client=20)

    def close(self) -> None:
        self._call("close")


class Rig:
    """An engine with TCP relays and a client that has connected by TCP."""

    def __init__(self, tcp: MemoryRelays | None = None, *, offered: bool = True, mobility: bool = False) -> None:
        own = OwnAddresses((RelayAddress(RELAY, RELAY),))
        users = StaticUsers({"alice": "secret"})
        settings = core_settings(realm=REALM, mobility=mobility)
        self.core = TurnCore(settings, own, users, NonceIssuer([b"k" * 32]), os.urandom)
        self.tcp = tcp or MemoryRelays()
        self.streams = MemoryStreams()
        self.datapath = NullDatapath()
        self.events: list[tuple[Event, Counters | None]] = []
        self.engine = Engine(
            self.core, self.datapath, [lambda *fact: self.events.append(fact)], tcp=self.tcp if offered else None
        )
        self.engine.add(self.streams)
        self.control = self.client(1)

    def client(self, serial: int) -> ScriptedClient:
        """A client that only builds messages; the world around it is not asked."""
        address = Address.parse("192.0.2.10", 40000 + serial)
        return ScriptedClient(World(), address, transport=ClientTransport.TCP, serial=serial)

    def ask(self, client: ScriptedClient, method: int, *attributes: Any) -> Message:
        if client.nonce is None:
            self.engine.client_frame(client.path, client.build(method, attributes, signed=False))
            client.nonce = self.answer(client).first(a.NONCE)
        self.engine.client_frame(client.path, client.build(method, attributes))
        return self.answer(client)

    def answer(self, client: ScriptedClient) -> Message:
        return Message.decode(
            next(entry[2] for entry in reversed(self.streams.log) if entry[:2] == ("send", client.path))
        )

    def allocate(self, protocol: int = 6) -> Message:
        return self.ask(self.control, Method.ALLOCATE, (a.REQUESTED_TRANSPORT, protocol))

    def connect(self) -> int:
        """A Connect under way; gives its CONNECTION-ID."""
        self.engine.client_frame(self.control.path, self.control.build(Method.CONNECT, [(a.XOR_PEER_ADDRESS, PEER)]))
        (connection,) = self.core.state.tcp.by_id
        return connection

    def waiting(self) -> int:
        """A connection that stands and waits for its client."""
        assert code_of(self.allocate()) == 0
        connection = self.connect()
        self.engine.peer_connected(connection)
        assert self.answer(self.control).first(a.CONNECTION_ID) == connection
        return connection


async def test_a_connection_with_an_allocation_is_kept() -> None:
    """RFC 8656 §3.1: told to the transport when an allocation begins and when it ends, of either protocol."""
    for protocol in (6, 17):
        rig = Rig()
        assert code_of(rig.allocate(protocol)) == 0
        assert code_of(rig.ask(rig.control, Method.REFRESH, (a.LIFETIME, 0))) == 0
        kept = [entry for entry in rig.streams.log if entry[0] == "keep"]
        assert kept == [("keep", rig.control.path, True), ("keep", rig.control.path, False)]
        rig.engine.close()


async def test_a_connection_that_an_allocation_moves_to_is_kept() -> None:
    """RFC 8016 §3.2.2: from the Refresh with the ticket on; the old one is closed when the allocation has arrived."""
    rig = Rig(mobility=True)
    ticket = rig.ask(rig.control, Method.ALLOCATE, (a.REQUESTED_TRANSPORT, 17), (a.MOBILITY_TICKET, b"")).first(
        a.MOBILITY_TICKET
    )
    away = rig.client(2)
    assert code_of(rig.ask(away, Method.REFRESH, (a.MOBILITY_TICKET, ticket))) == 0
    rig.engine.client_frame(away.path, b"\x40\x00\x00\x00")
    told = [entry for entry in rig.streams.log if entry[0] in {"keep", "close"}]
    assert told == [
        ("keep", rig.control.path, True),
        ("keep", away.path, True),
        ("keep", rig.control.path, False),
        ("close", rig.control.path),
    ]
    event, _ = rig.events[-1]
    assert isinstance(event, AllocationMoved)
    assert (event.former, event.client) == (rig.control.path, away.path)
    rig.engine.close()


async def test_tcp_relays_are_opened_and_closed_as_such() -> None:
    """RFC 6062 §5.1: by the TCP relays, not the datapath; what they carried is told at the end."""
    rig = Rig()
    assert code_of(rig.allocate()) == 0
    (relay,) = rig.core.state.by_relay
    assert rig.tcp.log == [("open", relay, RELAY)]
    rig.engine.client_gone(rig.control.path)
    assert rig.tcp.log[1:] == [("close relay", relay)]
    assert [call.name for call in rig.datapath.calls] == ["attach"]
    ended, counters = rig.events[-1]
    assert isinstance(ended, AllocationEnded)
    assert counters == Counters(bytes_to_peers=10, bytes_to_client=20)
    rig.engine.close()
    assert rig.tcp.log[-1] == ("close",)


async def test_a_port_that_cannot_be_listened_on() -> None:
    """Rule 13: other ports are tried, then 508."""
    rig = Rig()
    rig.tcp.failing = {"open"}
    assert code_of(rig.allocate()) == 508
    assert len(rig.tcp.log) > 1
    rig.engine.close()


async def test_without_tcp_relays_there_is_no_capacity_for_them() -> None:
    rig = Rig(offered=False)
    assert code_of(rig.allocate()) == 508
    assert code_of(rig.allocate(17)) == 0
    for command in (ConnectPeer(1, RelayId(1), PEER), Splice(rig.control.path, 1)):
        rig.engine._execution.carry_out(command)
    assert rig.engine.faults == {}
    rig.engine.close()


async def test_a_connection_from_connect_to_its_end() -> None:
    """RFC 6062 §5.2, §5.4, §5.5: connect, answer, splice after the answer, gone."""
    rig = Rig()
    connection = rig.waiting()
    (relay,) = rig.core.state.by_relay
    assert rig.tcp.log[-1] == ("connect", connection, relay, PEER)
    data = rig.client(2)
    assert code_of(rig.ask(data, Method.CONNECTION_BIND, (a.CONNECTION_ID, connection))) == 0
    assert [entry[:2] for entry in rig.streams.log[-2:]] == [("send", data.path), ("detach", data.path)]
    assert rig.tcp.log[-1] == ("splice", connection, "stream of 2")
    rig.engine.peer_gone(connection)
    assert rig.core.state.tcp.by_id == {}
    rig.engine.close()


async def test_a_connect_that_fails_at_once() -> None:
    """RFC 6062 §5.2: 447, as for one that fails later."""
    for at_once in (True, False):
        rig = Rig()
        assert code_of(rig.allocate()) == 0
        if at_once:
            rig.tcp.failing = {"connect"}
            rig.engine.client_frame(rig.control.path, rig.control.build(Method.CONNECT, [(a.XOR_PEER_ADDRESS, PEER)]))
        else:
            rig.engine.peer_failed(rig.connect())
        assert code_of(rig.answer(rig.control)) == 447
        assert rig.core.state.tcp.by_id == {}
        rig.engine.close()


async def test_a_peer_that_connects() -> None:
    """RFC 6062 §5.3: the core's word, and the client is told; None without a permission."""
    rig = Rig()
    assert code_of(rig.allocate()) == 0
    (relay,) = rig.core.state.by_relay
    assert rig.engine.peer_accepted(relay, PEER) is None
    assert code_of(rig.ask(rig.control, Method.CREATE_PERMISSION, (a.XOR_PEER_ADDRESS, PEER))) == 0
    connection = rig.engine.peer_accepted(relay, PEER)
    told = rig.answer(rig.control)
    assert told.method == Method.CONNECTION_ATTEMPT
    assert told.first(a.CONNECTION_ID) == connection
    rig.engine.close()


async def test_a_splice_that_comes_too_late() -> None:
    """RFC 6062 §5.5: the client gone, or the peer: neither end is kept, and the core knows."""
    for gone in ("client", "peer"):
        rig = Rig()
        connection = rig.waiting()
        data = rig.client(2)
        if gone == "client":
            rig.streams.gone = {data.path}
        else:
            rig.tcp.failing = {"splice"}
        rig.ask(data, Method.CONNECTION_BIND, (a.CONNECTION_ID, connection))
        assert rig.tcp.log[-1] == ("close peer", connection)
        assert (rig.core.state.tcp.by_id, rig.core.state.tcp.by_client) == ({}, {})
        rig.engine.close()


async def test_revoking_ends_what_is_still_connecting() -> None:
    """RFC 6062 §5.2, §5.5: the timer stands at the Connect's deadline; and what ends earlier is closed at once."""
    rig = Rig()
    assert code_of(rig.allocate()) == 0
    connection = rig.connect()
    timer = rig.engine._timer
    assert timer is not None
    deadline = rig.core.deadline()
    assert deadline is not None
    assert timer.when() <= deadline < asyncio.get_running_loop().time() + 31
    rig.engine.revoke("alice")
    assert ("close peer", connection) in rig.tcp.log
    assert ("close", rig.control.path) in rig.streams.log
    rig.engine.close()


async def test_protocols_have_their_relays() -> None:
    rig = Rig()
    assert rig.engine._execution._relays(TransportProtocol.UDP) is rig.datapath
    assert rig.engine._execution._relays(TransportProtocol.TCP) is rig.tcp
    rig.engine.close()


async def test_a_live_tcp_relay_is_counted_too() -> None:
    """RFC 6062: an allocation says which kind of relay it has, and the TCP relays what that has carried."""
    rig = Rig()
    rig.allocate()
    (view,) = rig.engine.allocations(["alice"])
    assert (view.protocol, view.client) == (TransportProtocol.TCP, rig.control.path)
    assert view.counters == Counters(bytes_to_peers=10, bytes_to_client=20)
    rig.engine.close()


async def test_a_connection_that_cannot_be_kept_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that nobody lets be idle would be closed in the middle of a call; better now. And it leaves nothing."""
    rig = Rig()

    def broken(client: FiveTuple, on: bool) -> None:
        raise OSError("keep what?")

    monkeypatch.setattr(rig.streams, "keep", broken)
    rig.allocate()
    assert ("close", rig.control.path) in rig.streams.log
    assert rig.engine.faults == {"transport.keep": 1}
    rig.engine.close()
