"""The engine, with a real core, the null datapath and a transport in memory: what goes in comes out in order."""

import asyncio
import errno
import os
from collections.abc import Callable, Mapping, Sequence
from ipaddress import ip_network
from typing import cast

import pytest

from auth.keys import user_hash
from auth.nonce import NonceIssuer
from auth.source import CredentialSource, StaticUsers
from auth.types import PENDING, LateAnswer, Unavailable
from stun import attributes as a
from stun.address import Address
from stun.constants import MessageClass, Method
from stun.message import Message
from tests.support.core_settings import core_settings
from tests.support.core_world import PEER, REALM, RELAY, RELAY6, SERVER, ScriptedClient, SlowSource, World, code_of
from turnserver.clients import ClientPolicy
from turnserver.clock import system_clock
from turnserver.core.backlog import SLICE
from turnserver.core.events import AllocationEnded, AllocationOpened, EndReason, Event, LookupFailed, RequestRefused
from turnserver.core.server import TurnCore
from turnserver.core.settings import OwnAddresses, RelayAddress
from turnserver.core.state import MAX_ATTEMPTS
from turnserver.core.types import ClientTransport, Counters, FiveTuple, Now, RelayId
from turnserver.engine import Engine
from turnserver.errors import DatapathError
from turnserver.paths import ChannelHop
from turnserver.relay.null import NullDatapath
from turnserver.transports.base import FrameSink

CLIENT = FiveTuple(ClientTransport.UDP, Address.parse("192.0.2.10", 40000), SERVER, 0)


class MemoryPath:
    padded = False

    def __init__(self) -> None:
        self.channels: dict[int, ChannelHop] = {}

    def send(self, data: bytes | memoryview, tos: int = 0) -> bool:
        return bool(data) or tos == 0

    def send_run(self, datagrams: Sequence[bytes | memoryview], tos: int = 0) -> bool:
        return all(self.send(data, tos) for data in datagrams)


class MemoryTransport:
    """Keeps what it is told to send."""

    kind = ClientTransport.UDP
    listener = 0
    address = SERVER

    def __init__(self) -> None:
        self.sink: FrameSink | None = None
        self.sent: list[tuple[FiveTuple, bytes]] = []
        self.closed_clients: list[FiveTuple] = []
        self.paths: dict[FiveTuple, MemoryPath] = {}
        self.closed = False

    def serve(self, sink: FrameSink) -> None:
        self.sink = sink

    def path(self, client: FiveTuple) -> MemoryPath:
        return self.paths.setdefault(client, MemoryPath())

    def release(self, client: FiveTuple) -> None:
        self.paths.pop(client, None)

    def send(self, client: FiveTuple, frame: bytes) -> bool:
        self.sent.append((client, frame))
        return True

    def close_client(self, client: FiveTuple) -> None:
        self.closed_clients.append(client)

    def close(self) -> None:
        self.closed = True


class Rig:
    """An engine and what stands around it."""

    def __init__(
        self,
        source: CredentialSource | None = None,
        relays: tuple[RelayAddress, ...] = (RelayAddress(RELAY, RELAY),),
    ) -> None:
        users = source or StaticUsers({"alice": "secret"})
        self.later = 0.0
        self.core = TurnCore(
            core_settings(realm=REALM), OwnAddresses(relays), users, NonceIssuer([b"k" * 32]), os.urandom
        )
        self.datapath = NullDatapath()
        self.transport = MemoryTransport()
        self.events: list[tuple[Event, Counters | None]] = []
        self.engine = Engine(self.core, self.datapath, [lambda *fact: self.events.append(fact)], self.clock)
        self.engine.add(self.transport)
        # Only for building messages: its own core is never asked.
        self.script = ScriptedClient(World(), CLIENT.address)
        self.script.path = CLIENT

    def clock(self) -> Now:
        mono, wall = system_clock()
        return Now(mono + self.later, wall + self.later)

    def ask(self, method: int, *attributes: tuple[a.AttributeType, object], signed: bool = True) -> Message:
        frame = self.script.build(method, attributes, signed=signed)
        self.engine.client_frame(CLIENT, frame)
        return self.last()

    def last(self) -> Message:
        client, frame = self.transport.sent[-1]
        assert client == CLIENT
        return Message.decode(frame)

    def allocate(self) -> Message:
        self.script.nonce = self.ask(Method.ALLOCATE, (a.REQUESTED_TRANSPORT, 17), signed=False).first(a.NONCE)
        return self.ask(Method.ALLOCATE, (a.REQUESTED_TRANSPORT, 17))


async def test_an_allocation_from_challenge_to_end() -> None:
    """RFC 8656 §7: the relay is opened before the answer, the facts are told, and deleting closes it."""
    rig = Rig()
    assert code_of(rig.allocate()) == 0
    (relay,) = rig.core.state.by_relay
    assert code_of(rig.ask(Method.CHANNEL_BIND, (a.CHANNEL_NUMBER, 0x4000), (a.XOR_PEER_ADDRESS, PEER))) == 0
    assert code_of(rig.ask(Method.REFRESH, (a.LIFETIME, 0))) == 0
    kinds = [type(event) for event, _ in rig.events]
    assert kinds == [RequestRefused, AllocationOpened, AllocationEnded]
    ended, counters = rig.events[-1]
    assert isinstance(ended, AllocationEnded)
    assert ended.relays == (relay,)
    assert counters == Counters()
    rig.engine.close()
    assert rig.transport.closed


async def test_a_relay_that_cannot_be_opened_is_an_input_like_any_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rule 13: other ports are tried, then 508; nothing stays behind."""
    rig = Rig()
    tried = []

    def refuse(relay: object, bind: Address) -> None:
        tried.append(bind.port)
        raise DatapathError("no")

    monkeypatch.setattr(rig.datapath, "open_relay", refuse)
    assert code_of(rig.allocate()) == 508
    assert len(set(tried)) == len(tried) == MAX_ATTEMPTS
    assert rig.core.state.quota.total == 0
    rig.engine.close()


async def test_the_timer_ends_what_is_due() -> None:
    """The one timer stands at the core's next deadline, and what it calls expires what is due then."""
    rig = Rig()
    rig.allocate()
    deadline = rig.core.deadline()
    assert deadline is not None
    assert rig.engine._timer is not None
    assert rig.engine._timer.when() <= deadline
    rig.later = 601.0
    rig.engine._tick()
    assert isinstance(rig.events[-1][0], AllocationEnded)
    assert rig.core.state.allocations == {}
    rig.engine.close()
    assert rig.engine._timer is None


class LateUsers(SlowSource):
    """Users who are found when somebody lets them be; ``waiting`` are the questions that are open."""

    def __init__(self, users: Mapping[str, str]) -> None:
        super().__init__()
        self.users = StaticUsers(users)
        self.let = asyncio.Event()
        self.waiting = 0
        self.cancelled = 0
        self.forgotten: list[str] = []

    async def ask(self, username: str, realm: str, wall: float) -> LateAnswer:
        return await self._wait(self.users.find(username, realm, wall))

    async def ask_by_hash(self, userhash: bytes, realm: str, wall: float) -> LateAnswer:
        return await self._wait(self.users.find_by_hash(userhash, realm, wall))

    async def _wait(self, answer: LateAnswer) -> LateAnswer:
        self.waiting += 1
        try:
            await self.let.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        finally:
            self.waiting -= 1
        return answer

    def forget(self, user_id: str) -> None:
        self.forgotten.append(user_id)


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(90):
        while not condition():
            await asyncio.sleep(0)


@pytest.mark.parametrize("by_hash", [False, True], ids=["USERNAME", "USERHASH"])
async def test_a_credential_may_come_later(by_hash: bool) -> None:
    """Rule 1 with a source that waits: the answer follows the look-up, and nothing is sent before it."""
    source = LateUsers({"alice": "secret"})
    rig = Rig(source)
    rig.script.anonymous = by_hash
    assert code_of(rig.allocate()) == 401
    await until(lambda: source.waiting == 1)
    assert len(rig.transport.sent) == 1
    source.let.set()
    await until(lambda: len(rig.transport.sent) == 2)
    assert code_of(rig.last()) == 0
    assert source.asked == [user_hash("alice", REALM) if by_hash else "alice"]
    rig.engine.close()


class Waywards(SlowSource):
    """Asked, they do what ``does`` says."""

    def __init__(self, does: Callable[[], object]) -> None:
        super().__init__()
        self.does = does

    async def ask(self, username: str, realm: str, wall: float) -> LateAnswer:
        return cast(LateAnswer, self.does())


def fail() -> None:
    raise ZeroDivisionError("a fault of the source")


@pytest.mark.parametrize(
    "source",
    [
        SlowSource(),
        Waywards(fail),
        Waywards(lambda: None),
        Waywards(lambda: PENDING),
        Waywards(lambda: Unavailable("the database is down")),
    ],
    ids=["cannot wait", "raises", "returns nothing", "still pending", "unavailable"],
)
async def test_a_source_that_cannot_say_is_not_a_401(source: CredentialSource) -> None:
    """RFC 8489 §14.8: an outage is a temporary error, 500, and whoever listens is told why; the server goes on."""
    rig = Rig(source)
    rig.allocate()
    await until(lambda: len(rig.transport.sent) == 2)
    assert code_of(rig.last()) == 500
    failed = [event for event, _ in rig.events if isinstance(event, LookupFailed)]
    assert [(event.client, event.username) for event in failed] == [(CLIENT, "alice")]
    assert failed[0].reason
    assert rig.core.totals().pending_lookups == 0
    rig.engine.replace_credentials(StaticUsers({"alice": "secret"}))
    assert code_of(rig.allocate()) == 0
    rig.engine.close()


async def test_nobody_is_asked_on_behalf_of_those_who_have_gone() -> None:
    """Rule 22: with the client, its question ends; with the server, all do."""
    source = LateUsers({"alice": "secret"})
    rig = Rig(source)
    rig.allocate()
    await until(lambda: source.waiting == 1)
    rig.engine.client_gone(CLIENT)
    await until(lambda: source.cancelled == 1)
    rig.ask(Method.ALLOCATE, (a.REQUESTED_TRANSPORT, 17))
    await until(lambda: source.waiting == 1)
    rig.engine.close()
    await until(lambda: source.cancelled == 2)
    assert len(rig.transport.sent) == 1


async def test_a_question_ends_at_its_deadline() -> None:
    """Rule 9: the client is answered, and nobody goes on waiting in vain."""
    source = LateUsers({"alice": "secret"})
    rig = Rig(source)
    rig.allocate()
    await until(lambda: source.waiting == 1)
    rig.later = 6.0
    rig.engine._tick()
    assert code_of(rig.last()) == 500
    await until(lambda: source.cancelled == 1)
    source.let.set()
    await asyncio.sleep(0)
    assert len(rig.transport.sent) == 2
    rig.engine.close()


async def test_another_source_is_asked_what_the_old_one_has_not_answered() -> None:
    """A reload costs nobody an answer, and the answers of the old source do not count any more."""
    old, new = LateUsers({"alice": "secret"}), LateUsers({"alice": "secret"})
    rig = Rig(old)
    rig.allocate()
    await until(lambda: old.waiting == 1)
    rig.engine.replace_credentials(new)
    await until(lambda: old.cancelled == 1 and new.waiting == 1)
    old.let.set()
    new.let.set()
    await until(lambda: len(rig.transport.sent) == 2)
    assert code_of(rig.last()) == 0
    rig.engine.close()


async def test_a_revoked_user_is_revoked_late_as_well_as_at_once() -> None:
    """Rule 24: a look-up that was under way brings in nobody who was revoked meanwhile; the source forgets them."""
    source = LateUsers({"alice": "secret"})
    rig = Rig(source)
    rig.allocate()
    await until(lambda: source.waiting == 1)
    wall = rig.clock().wall
    assert rig.engine.revoke("alice", wall + 3600) == 0
    assert source.forgotten == ["alice"]
    source.let.set()
    await until(lambda: len(rig.transport.sent) == 2)
    assert code_of(rig.last()) == 401
    rig.engine.close()


async def test_revoking_ends_at_once() -> None:
    rig = Rig()
    rig.allocate()
    assert rig.engine.revoke("bob") == 0
    assert rig.engine.revoke("alice") == 1
    assert isinstance(rig.events[-1][0], AllocationEnded)
    rig.engine.close()


async def test_new_credentials_hold_for_new_allocations() -> None:
    """A running allocation keeps the credential that it began with; a new one needs the new password."""
    rig = Rig()
    rig.allocate()
    rig.engine.replace_credentials(StaticUsers({"alice": "changed"}))
    assert code_of(rig.ask(Method.REFRESH, (a.LIFETIME, 0))) == 0
    assert code_of(rig.ask(Method.ALLOCATE, (a.REQUESTED_TRANSPORT, 17))) == 401
    rig.engine.close()


async def test_the_end_of_the_server_is_told_in_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each allocation with what it has carried; in one turn of the loop no more than a slice of them."""
    rig = Rig()
    monkeypatch.setattr("turnserver.engine.SLICE", 4)
    monkeypatch.setattr(rig.datapath, "counters", lambda relay: Counters(1, 100, 2, 200))
    many = 13
    for port in range(40000, 40000 + many):
        client = CLIENT._replace(address=Address.parse("192.0.2.10", port))
        script = ScriptedClient(World(), client.address)
        for signed in (False, True):
            rig.engine.client_frame(client, script.build(Method.ALLOCATE, [(a.REQUESTED_TRANSPORT, 17)], signed=signed))
            script.nonce = script.nonce or Message.decode(rig.transport.sent[-1][1]).first(a.NONCE)
    assert len(rig.core.clients) == many
    rig.events.clear()
    turns: list[int] = []
    ending = asyncio.create_task(rig.engine.end_allocations())
    while not ending.done():
        before = len(rig.events)
        await asyncio.sleep(0)
        turns.append(len(rig.events) - before)
    ended = [(event, counters) for event, counters in rig.events if isinstance(event, AllocationEnded)]
    assert len(ended) == many
    assert {event.reason for event, _ in ended} == {EndReason.SHUTDOWN}
    assert {counters for _, counters in ended} == {Counters(1, 100, 2, 200)}
    assert max(turns) == 4
    assert rig.engine.is_empty
    rig.engine.close()


async def test_datagrams_and_icmp_reach_the_client() -> None:
    """RFC 8656 §11.4, §11.5: through the datapath's sink, as Data indications."""
    rig = Rig()
    rig.allocate()
    (relay,) = rig.core.state.by_relay
    rig.ask(Method.CREATE_PERMISSION, (a.XOR_PEER_ADDRESS, PEER))
    rig.engine.peer_datagram(relay, PEER, b"hello")
    assert rig.last().first(a.DATA) == b"hello"
    rig.engine.peer_icmp(relay, PEER, 3, 3, 0)
    assert rig.last().first(a.ICMP) == a.IcmpValue(3, 3, 0)
    assert rig.last().message_class is MessageClass.INDICATION
    rig.engine.close()


async def test_paths_belong_to_their_transport() -> None:
    rig = Rig()
    assert rig.engine.path(CLIENT) is rig.transport.path(CLIENT)
    assert rig.engine.path(CLIENT._replace(listener=7)) is None
    rig.engine.release(CLIENT)
    assert rig.transport.paths == {}
    rig.engine.client_gone(CLIENT)
    rig.engine.close()


async def test_live_allocations_with_what_they_have_carried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the users asked for; the counters are the datapath's, now."""
    rig = Rig()
    rig.allocate()
    (relay,) = rig.core.state.by_relay
    carried = Counters(1, 100, 2, 250, 3)
    monkeypatch.setattr(rig.datapath, "counters", lambda asked: carried if asked == relay else Counters())
    (view,) = rig.engine.allocations()
    assert (view.client, view.user_id, view.relays, view.counters) == (CLIENT, "alice", (relay,), carried)
    assert rig.engine.allocations({"alice"}) == [view]
    assert rig.engine.allocations({"bob"}) == rig.engine.allocations(()) == []
    rig.engine.revoke("alice")
    assert rig.engine.allocations() == []
    rig.engine.close()


async def test_the_counters_of_a_dual_allocation_are_those_of_both_halves(monkeypatch: pytest.MonkeyPatch) -> None:
    """RFC 8656 §7.2: one allocation, two relays."""
    rig = Rig(relays=(RelayAddress(RELAY, RELAY), RelayAddress(RELAY6, RELAY6)))
    rig.script.nonce = rig.ask(Method.ALLOCATE, (a.REQUESTED_TRANSPORT, 17), signed=False).first(a.NONCE)
    rig.ask(Method.ALLOCATE, (a.REQUESTED_TRANSPORT, 17), (a.ADDITIONAL_ADDRESS_FAMILY, 2))
    monkeypatch.setattr(rig.datapath, "counters", lambda relay: Counters(1, 2, 3, 4, 5))
    (view,) = rig.engine.allocations()
    assert len(view.relayed) == 2
    assert view.counters == Counters(2, 4, 6, 8, 10)
    rig.engine.close()


async def test_a_listener_may_ask_while_it_is_being_told() -> None:
    """An event finds the tables as they are after it, and asking changes nothing."""
    rig = Rig()
    seen: list[tuple[str, int]] = []
    rig.engine._listeners += (
        lambda event, counters: seen.append((type(event).__name__, len(rig.engine.allocations(["alice"])))),
    )
    rig.allocate()
    rig.ask(Method.REFRESH, (a.LIFETIME, 0))
    assert seen == [("RequestRefused", 0), ("AllocationOpened", 1), ("AllocationEnded", 0)]
    rig.engine.close()


async def test_asking_for_a_few_users_looks_at_theirs_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten thousand allocations of others cost nothing: neither the tables nor the counters are walked."""
    rig = Rig()
    rig.allocate()
    asked = []
    monkeypatch.setattr(rig.datapath, "counters", lambda relay: asked.append(relay) or Counters())
    monkeypatch.setattr(rig.core.state, "allocations", None)
    assert len(rig.engine.allocations(["alice", "bob"])) == 1
    assert len(asked) == 1


# Faults


async def test_a_listener_that_raises_keeps_nothing_from_the_others() -> None:
    """It is counted, the others are told, and the timer is armed all the same."""
    rig = Rig()

    def broken(event: Event, counters: Counters | None) -> None:
        raise RuntimeError("a listener's own affair")

    rig.engine._listeners = (broken, *rig.engine._listeners)
    assert code_of(rig.allocate()) == 0
    assert [type(event) for event, _ in rig.events] == [RequestRefused, AllocationOpened]
    assert rig.engine.faults == {"observer": 2}
    assert rig.engine._timer is not None
    rig.engine.close()


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("client_frame", (CLIENT, b"frame")),
        ("client_gone", (CLIENT,)),
        ("relay_opened", (RelayId(1),)),
        ("relay_failed", (RelayId(1),)),
        ("peer_datagram", (RelayId(1), PEER, b"x")),
        ("peer_icmp", (RelayId(1), PEER, 3, 3, 0)),
        ("peer_connected", (1,)),
        ("peer_failed", (1,)),
        ("peer_accepted", (RelayId(1), PEER)),
        ("peer_gone", (1,)),
    ],
)
async def test_an_exception_out_of_the_core_costs_one_input(
    name: str, arguments: tuple[object, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever called, a reader of many sockets most likely, goes on; what was due is still due."""
    rig = Rig()
    assert code_of(rig.allocate()) == 0
    timer = rig.engine._timer

    def broken(*_: object) -> None:
        raise KeyError("half of a table")

    with monkeypatch.context() as patch:
        patch.setattr(rig.core, name, broken)
        assert getattr(rig.engine, name)(*arguments) is None
    assert rig.engine.faults == {"core": 1}
    assert rig.engine._timer is timer is not None
    assert code_of(rig.ask(Method.REFRESH, (a.LIFETIME, 0))) == 0
    rig.engine.close()


async def test_what_goes_wrong_inside_the_core_is_counted_too(monkeypatch: pytest.MonkeyPatch) -> None:
    rig = Rig()

    def broken(*_: object) -> None:
        raise ZeroDivisionError("in a driver")

    rig.script.nonce = rig.ask(Method.ALLOCATE, (a.REQUESTED_TRANSPORT, 17), signed=False).first(a.NONCE)
    monkeypatch.setattr(StaticUsers, "find", broken)
    assert code_of(rig.ask(Method.ALLOCATE, (a.REQUESTED_TRANSPORT, 17))) == 500
    assert rig.engine.faults == {"core": 1}
    rig.engine.close()


async def test_what_calls_back_in_the_middle_waits_for_its_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    """A datapath may feed the engine from within a command: what comes of it follows what the core wanted first."""
    rig = Rig()
    assert code_of(rig.allocate()) == 0
    (relay,) = rig.core.state.by_relay
    rig.ask(Method.CREATE_PERMISSION, (a.XOR_PEER_ADDRESS, PEER))
    del rig.transport.sent[:]

    def talkative(*_: object) -> None:
        rig.engine.peer_datagram(relay, PEER, b"at once")

    monkeypatch.setattr(rig.datapath, "allow_peer", talkative)
    rig.ask(Method.CREATE_PERMISSION, (a.XOR_PEER_ADDRESS, PEER))
    answer, data = (Message.decode(frame) for _, frame in rig.transport.sent)
    assert code_of(answer) == 0
    assert data.first(a.DATA) == b"at once"
    rig.engine.close()


async def test_a_relay_may_open_later_or_not_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """A datapath of which the sockets are somebody else's: the answer waits for what it says."""
    rig = Rig()
    asked: list[RelayId] = []
    monkeypatch.setattr(rig.datapath, "open_relay", lambda relay, bind: asked.append(relay) or False)
    rig.script.nonce = rig.ask(Method.ALLOCATE, (a.REQUESTED_TRANSPORT, 17), signed=False).first(a.NONCE)
    frame = rig.script.build(Method.ALLOCATE, [(a.REQUESTED_TRANSPORT, 17)])
    rig.engine.client_frame(CLIENT, frame)
    assert len(rig.transport.sent) == 1
    rig.engine.relay_failed(asked[0])
    assert len(asked) == 2, "another port is tried"
    assert len(rig.transport.sent) == 1
    rig.engine.relay_opened(asked[1])
    assert code_of(rig.last()) == 0
    rig.engine.relay_failed(asked[1])
    assert isinstance(rig.events[-1][0], AllocationEnded)
    assert rig.core.state.allocations == {}
    rig.engine.close()


async def test_a_late_failure_may_say_that_no_other_port_will_do(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rule 13: the same for a datapath that reports later."""
    rig = Rig()
    asked: list[RelayId] = []
    monkeypatch.setattr(rig.datapath, "open_relay", lambda relay, bind: asked.append(relay) or False)
    rig.script.nonce = rig.ask(Method.ALLOCATE, (a.REQUESTED_TRANSPORT, 17), signed=False).first(a.NONCE)
    rig.engine.client_frame(CLIENT, rig.script.build(Method.ALLOCATE, [(a.REQUESTED_TRANSPORT, 17)]))
    rig.engine.relay_failed(asked[0], OSError(errno.EMFILE, "Too many open files"))
    assert len(asked) == 1
    assert code_of(rig.last()) == 508
    rig.engine.close()


async def test_a_relay_that_opens_too_late_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every opening has a deadline in the core; what comes after it stays with nobody."""
    rig = Rig()
    asked: list[RelayId] = []
    monkeypatch.setattr(rig.datapath, "open_relay", lambda relay, bind: asked.append(relay) or False)
    rig.script.nonce = rig.ask(Method.ALLOCATE, (a.REQUESTED_TRANSPORT, 17), signed=False).first(a.NONCE)
    rig.engine.client_frame(CLIENT, rig.script.build(Method.ALLOCATE, [(a.REQUESTED_TRANSPORT, 17)]))
    assert rig.engine._timer is not None
    rig.later = 11.0
    rig.engine._tick()
    assert code_of(rig.last()) == 508
    del rig.datapath.calls[:]
    rig.engine.relay_opened(asked[0])
    assert [(call.name, call.arguments) for call in rig.datapath.calls] == [("close_relay", (asked[0],))]
    rig.engine.close()


async def test_the_timer_minds_what_could_not_be_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    rig = Rig()
    rig.allocate()

    def broken(relay: RelayId) -> None:
        raise OSError("not now")

    with monkeypatch.context() as patch:
        patch.setattr(rig.datapath, "close_relay", broken)
        assert code_of(rig.ask(Method.REFRESH, (a.LIFETIME, 0))) == 0
    assert len(rig.datapath.relays) == 1
    assert rig.engine._timer is not None
    assert rig.engine._timer.when() <= rig.clock().mono + 1.0
    rig.later = 1.0
    rig.engine._tick()
    assert rig.datapath.relays == {}
    rig.engine.close()


async def test_a_transport_that_fails_has_no_path(monkeypatch: pytest.MonkeyPatch) -> None:
    """The route is not installed, and its packets go by the core."""
    rig = Rig()

    def broken(client: FiveTuple) -> None:
        raise OSError("no path")

    monkeypatch.setattr(rig.transport, "path", broken)
    assert rig.engine.path(CLIENT) is None
    assert rig.engine.faults == {"transport.path": 1}
    rig.engine.close()


async def test_everything_is_closed_though_something_raises(monkeypatch: pytest.MonkeyPatch) -> None:
    rig = Rig()
    rig.allocate()

    def broken() -> None:
        raise OSError("no end")

    monkeypatch.setattr(rig.transport, "close", broken)
    rig.engine.close()
    assert rig.datapath.relays == {}
    assert rig.engine.faults == {"transport.close": 1}
    rig.engine.client_frame(CLIENT, b"too late")
    assert rig.engine._timer is None


async def test_faults_of_transports_and_datapaths_are_reported_to_the_engine() -> None:
    rig = Rig()
    rig.engine.fault("transport.read", OSError("x"), CLIENT)
    rig.engine.fault("datapath.read", OSError("x"))
    assert rig.engine.faults == {"transport.read": 1, "datapath.read": 1}
    rig.engine.close()


async def test_a_crowd_that_expires_together_leaves_others_their_turn() -> None:
    """Between two slices the loop serves whatever else is ready; the work of one turn is bounded, in steps."""
    number = 300
    rig = Rig(StaticUsers({f"user{at}": "secret" for at in range(number)}))
    for at in range(number):
        script = ScriptedClient(World(), Address.parse("192.0.2.11", 1000 + at), user=f"user{at}")
        for signed in (False, True):
            frame = script.build(Method.ALLOCATE, [(a.REQUESTED_TRANSPORT, 17)], signed=signed)
            rig.engine.client_frame(script.path, frame)
            script.nonce = script.nonce or Message.decode(rig.transport.sent[-1][1]).first(a.NONCE)
    rig.events.clear()
    rig.later = 601.0
    rig.engine.client_frame(CLIENT, b"")  # any input: the clock has been turned
    per_turn: list[int] = []
    while rig.core.is_behind:
        before = len(rig.events)
        await asyncio.sleep(0)
        per_turn.append(len(rig.events) - before)
    assert max(per_turn) <= SLICE / 2
    assert len([count for count in per_turn if count]) >= number // SLICE
    assert len(rig.events) == number
    assert rig.core.deadline() is None
    rig.engine.close()


async def test_catching_up_ends_with_the_engine() -> None:
    """Nobody waits for slices that will not come."""
    rig = Rig()
    rig.core._backlog.behind = True
    rig.engine.close()
    await rig.engine.catch_up()


async def test_a_client_that_is_refused_gets_no_answer() -> None:
    """The client ACL: its frames are dropped before the core sees them, also those of an allocation from before."""
    rig = Rig(StaticUsers({"alice": "secret"}))
    rig.engine.clients = ClientPolicy(deny=(ip_network("0.0.0.0/0"), ip_network("::/0")))
    frame = rig.script.build(Method.BINDING, (), signed=False)
    rig.engine.client_frame(CLIENT, frame)
    assert (rig.transport.sent, rig.engine.denied) == ([], 1)
    rig.engine.clients = ClientPolicy()
    rig.engine.client_frame(CLIENT, frame)
    assert (len(rig.transport.sent), rig.engine.denied) == (1, 1)
    rig.engine.close()
