"""Commands that raise: each costs itself, and the core hears of it in its own words. In memory, in virtual time."""

import errno
import logging
import os
from typing import Any

import pytest

from stun import attributes as a
from stun.address import Address
from stun.constants import Method
from tests.support.core_world import PEER, ScriptedClient, World, code_of
from turnserver.core import commands as c
from turnserver.core.events import AllocationEnded, EndReason
from turnserver.core.types import ClientTransport, Counters, FiveTuple, RelayFailure, RelayId, Route
from turnserver.errors import DatapathError
from turnserver.execution import Execution, failure_of
from turnserver.faults import Faults
from turnserver.retries import TRIES
from turnserver.streams import ByteStream


class Stream:
    """Stands for the stream of a client."""

    def __init__(self) -> None:
        self.closed = False

    def close(self) -> None:
        self.closed = True


class Outside:
    """Datapath, TCP relays and transport in one: remembers what it was told, and raises what ``failing`` says."""

    def __init__(self) -> None:
        self.world: ExecutedWorld
        self.failing: dict[str, Exception] = {}
        self.calls: list[tuple[Any, ...]] = []
        self.opens_later = False
        self.paths: set[FiveTuple] = set()
        self.stream: Stream | None = Stream()

    def call(self, name: str, *arguments: Any) -> None:
        self.calls.append((name, *arguments))
        if name in self.failing:
            raise self.failing[name]

    def called(self, name: str) -> list[tuple[Any, ...]]:
        return [arguments for called, *arguments in self.calls if called == name]

    def open_relay(self, relay: RelayId, bind: Address) -> bool:
        self.call("open_relay", relay)
        return not self.opens_later

    def close_relay(self, relay: RelayId) -> None:
        self.call("close_relay", relay)

    def add_route(self, route: Route) -> None:
        self.call("add_route", route)

    def remove_route(self, client: FiveTuple, channel: int) -> None:
        self.call("remove_route", client, channel)

    def allow_peer(self, relay: RelayId, ip: bytes, until: float) -> None:
        self.call("allow_peer", relay, ip)

    def forbid_peer(self, relay: RelayId, ip: bytes) -> None:
        self.call("forbid_peer", relay, ip)

    def send_to_peer(self, relay: RelayId, peer: Address, data: bytes, dont_fragment: bool) -> None:
        self.call("send_to_peer", relay, peer, data)

    def counters(self, relay: RelayId) -> Counters:
        self.call("counters", relay)
        return Counters(1, 2, 3, 4, 5)

    def connect(self, connection: int, relay: RelayId, peer: Address) -> None:
        self.call("connect", connection)

    def close_peer(self, connection: int) -> None:
        self.call("close_peer", connection)

    def splice(self, connection: int, client: ByteStream) -> None:
        self.call("splice", connection)

    def send(self, client: FiveTuple, frame: bytes) -> bool:
        self.call("send", client)
        self.world.to_clients.setdefault(client, []).append(frame)
        return True

    def close_client(self, client: FiveTuple) -> None:
        self.call("close_client", client)

    def release(self, client: FiveTuple) -> None:
        self.call("release", client)
        self.paths.discard(client)

    def detach(self, client: FiveTuple) -> Stream | None:
        self.call("detach", client)
        return self.stream


class ExecutedWorld(World):
    """A world whose shell is an `Execution`."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.outside: Any = Outside()
        self.outside.world = self
        self.faults = Faults(lambda: self.now.mono)
        self.others: list[c.Command] = []
        self.execution = Execution(
            self.core,
            self.outside,
            self.outside,
            transports={0: self.outside},
            clock=lambda: self.now,
            faults=self.faults,
            more={c.FindCredential: self.find},
        )

    def find(self, command: c.FindCredential) -> None:
        self.outside.call("find", command)

    def _do(self, command: c.Command) -> None:
        self.execution.carry_out(command)

    def retry(self) -> float:
        """Turn to when something is to be tried again, and do; gives the seconds that went by."""
        due = self.execution.next()
        assert due is not None
        before = self.now.mono
        self._turn_to(due)
        self.execution.try_again()
        self.run()
        return due - before


@pytest.fixture
def world() -> ExecutedWorld:
    return ExecutedWorld()


@pytest.fixture
def outside(world: ExecutedWorld) -> Outside:
    found = world.outside
    assert isinstance(found, Outside)
    return found


def allocated(world: ExecutedWorld, port: int = 40000, protocol: int = 17, **options: Any) -> ScriptedClient:
    client = world.client(port=port, **options)
    client.challenge()
    answer = client.request(Method.ALLOCATE, (a.REQUESTED_TRANSPORT, protocol))
    assert code_of(answer) == 0
    return client


def ended(world: ExecutedWorld) -> list[tuple[FiveTuple, EndReason]]:
    events = world.take_events()
    return [(event.client, event.reason) for event in events if isinstance(event, AllocationEnded)]


class Broken(RuntimeError):
    """Nothing that anybody expects."""


@pytest.mark.parametrize("name", ["add_route", "remove_route", "allow_peer", "forbid_peer"])
def test_a_relay_whose_datapath_fails_ends(name: str, world: ExecutedWorld, outside: Outside) -> None:
    """What it lets through is not known any more, so it lets nothing through; the other client has everything."""
    other, client = allocated(world), allocated(world, 40001)
    assert code_of(other.bind(0x4000, PEER)) == 0
    relay = client.relay
    if name in {"remove_route", "forbid_peer"}:
        client.bind(0x4000, PEER)
    outside.failing[name] = Broken("broken")
    if name in {"remove_route", "forbid_peer"}:
        allocation = world.core.state.live(client.path)
        assert allocation is not None
        world.core.state.forbid(allocation, PEER.ip)
        world.run()
    else:
        client.bind(0x4000, PEER)
    outside.failing.clear()
    assert ended(world) == [(client.path, EndReason.RELAY_FAILED)]
    assert outside.called("close_relay") == [[relay]]
    assert world.faults.counts == {f"datapath.{name}": 1}
    assert code_of(other.bind(0x4000, PEER)) == 0
    assert code_of(client.request(Method.ALLOCATE, (a.REQUESTED_TRANSPORT, 17))) == 0, "it may come again"


def test_a_datagram_that_raises_is_one_datagram(world: ExecutedWorld, outside: Outside) -> None:
    client = allocated(world)
    client.permit(PEER)
    outside.failing["send_to_peer"] = Broken("broken")
    client.indicate((a.XOR_PEER_ADDRESS, PEER), (a.DATA, b"1"))
    outside.failing.clear()
    client.indicate((a.XOR_PEER_ADDRESS, PEER), (a.DATA, b"2"))
    assert [data for _, _, data in outside.called("send_to_peer")] == [b"1", b"2"]
    assert ended(world) == []
    assert world.faults.counts == {"datapath.send_to_peer": 1}


@pytest.mark.parametrize("protocol", [17, 6])
def test_an_opening_that_raises_is_a_port_that_cannot_be_had(
    protocol: int, world: ExecutedWorld, outside: Outside
) -> None:
    """What may have been half opened is closed; another port is tried, and 508 answered when none will do."""
    client = world.client(transport=ClientTransport.TCP, serial=1)
    client.challenge()
    outside.failing["open_relay"] = Broken("broken")
    assert code_of(client.request(Method.ALLOCATE, (a.REQUESTED_TRANSPORT, protocol))) == 508
    opened = outside.called("open_relay")
    assert outside.called("close_relay") == opened
    assert world.faults.counts == {"datapath.open_relay": len(opened)}
    world.assert_nothing_left()


def caused(number: int) -> DatapathError:
    """What a datapath raises for an error of the system."""
    error = DatapathError(f"cannot bind: {os.strerror(number)}")
    error.__cause__ = OSError(number, os.strerror(number))
    return error


@pytest.mark.parametrize(
    ("number", "failure"),
    [
        (errno.EADDRINUSE, RelayFailure.PORT),
        (errno.EADDRNOTAVAIL, RelayFailure.ADDRESS),
        (errno.EAFNOSUPPORT, RelayFailure.ADDRESS),
        (errno.ENETDOWN, RelayFailure.ADDRESS),
        (errno.EMFILE, RelayFailure.SYSTEM),
        (errno.ENFILE, RelayFailure.SYSTEM),
        (errno.ENOBUFS, RelayFailure.SYSTEM),
        (errno.ENOMEM, RelayFailure.SYSTEM),
        (errno.EACCES, RelayFailure.SYSTEM),
        (errno.EPERM, RelayFailure.SYSTEM),
    ],
)
def test_what_an_error_of_the_system_is_about(number: int, failure: RelayFailure) -> None:
    """Rule 28: only a port that somebody else has is a reason to try another one."""
    assert failure_of(caused(number)) is failure
    assert failure_of(OSError(number, "raised as it is")) is failure


@pytest.mark.parametrize("error", [DatapathError("no odd ports here"), ValueError("broken"), OSError("without number")])
def test_without_an_error_of_the_system_it_is_the_port(error: Exception) -> None:
    assert failure_of(error) is RelayFailure.PORT


@pytest.mark.parametrize("protocol", [17, 6])
@pytest.mark.parametrize("number", [errno.EADDRNOTAVAIL, errno.EMFILE])
def test_an_error_that_is_not_about_the_port_is_said_and_ends_the_attempts(
    number: int, protocol: int, world: ExecutedWorld, outside: Outside, caplog: pytest.LogCaptureFixture
) -> None:
    """Rule 13: one attempt, one line with the cause, no fault."""
    client = world.client(transport=ClientTransport.TCP, serial=1)
    client.challenge()
    outside.failing["open_relay"] = caused(number)
    assert code_of(client.request(Method.ALLOCATE, (a.REQUESTED_TRANSPORT, protocol))) == 508
    assert len(outside.called("open_relay")) == 1
    (line,) = [record for record in caplog.records if record.getMessage() == "no relay can be opened"]
    assert os.strerror(number) in line.fields["why"]  # type: ignore[attr-defined]
    assert world.faults.counts == {}
    world.assert_nothing_left()


def test_a_port_in_use_is_no_fault(world: ExecutedWorld, outside: Outside) -> None:
    client = world.client()
    client.challenge()
    outside.failing["open_relay"] = DatapathError("in use")
    assert code_of(client.request(Method.ALLOCATE, (a.REQUESTED_TRANSPORT, 17))) == 508
    assert outside.called("close_relay") == []
    assert world.faults.counts == {}


def test_a_relay_may_open_later(world: ExecutedWorld, outside: Outside) -> None:
    """The seam: False from ``open_relay`` is neither success nor failure."""
    outside.opens_later = True
    client = world.client()
    client.challenge()
    assert world.feed(client.path, client.build(Method.ALLOCATE, [(a.REQUESTED_TRANSPORT, 17)])) == []
    ((relay,),) = outside.called("open_relay")
    world.core.relay_opened(relay, world.now)
    world.run()
    assert len(client.hears()) == 1
    assert world.core.state.live(client.path) is not None


def test_what_cannot_be_closed_is_tried_again(world: ExecutedWorld, outside: Outside) -> None:
    client = allocated(world)
    relay = client.relay
    outside.failing["close_relay"] = Broken("broken")
    assert code_of(client.refresh(0)) == 0, "the client has no part in it"
    assert [world.retry(), world.retry()] == [1.0, 2.0]
    outside.failing.clear()
    assert world.retry() == 4.0
    assert outside.called("close_relay") == [[relay]] * 4
    assert world.execution.next() is None
    assert world.faults.counts == {"datapath.close_relay": 3}


def test_what_can_never_be_closed_is_given_up(
    world: ExecutedWorld, outside: Outside, caplog: pytest.LogCaptureFixture
) -> None:
    client = allocated(world)
    outside.failing["close_relay"] = Broken("broken")
    client.refresh(0)
    for _ in range(TRIES - 1):
        world.retry()
    assert world.execution.next() is None
    assert world.faults.counts == {"datapath.close_relay": TRIES, "datapath.close_relay, for good": 1}
    assert "given up" in caplog.text


def test_what_a_relay_has_carried_is_kept_from_the_first_try(world: ExecutedWorld, outside: Outside) -> None:
    client = allocated(world)
    relay = client.relay
    outside.failing["close_relay"] = Broken("broken")
    client.refresh(0)
    assert world.execution.closed == {relay: Counters(1, 2, 3, 4, 5)}
    outside.failing["counters"] = Broken("broken")
    world.retry()
    assert world.execution.closed == {relay: Counters(1, 2, 3, 4, 5)}


def test_counters_that_cannot_be_read_are_zeroes(world: ExecutedWorld, outside: Outside) -> None:
    client = allocated(world)
    relay = client.relay
    outside.failing["counters"] = Broken("broken")
    client.refresh(0)
    assert outside.called("close_relay") == [[relay]], "it is closed all the same"
    assert world.execution.closed == {relay: Counters()}
    assert world.faults.counts == {"datapath.counters": 1}


# Clients


def test_a_stream_that_has_lost_a_frame_is_closed(world: ExecutedWorld, outside: Outside) -> None:
    """Its client would wait for an answer that never comes; and half a frame may have been written."""
    client = allocated(world, transport=ClientTransport.TCP, serial=1)
    outside.failing["send"] = Broken("broken")
    world.feed(client.path, client.build(Method.REFRESH, []))
    assert outside.called("close_client") == [[client.path]]
    assert ended(world) == [(client.path, EndReason.CLIENT_GONE)]
    assert world.faults.counts == {"transport.send": 1}


def test_a_datagram_to_a_client_is_lost_and_no_more(world: ExecutedWorld, outside: Outside) -> None:
    client = allocated(world)
    outside.failing["send"] = Broken("broken")
    world.feed(client.path, client.build(Method.REFRESH, []))
    outside.failing.clear()
    assert code_of(client.refresh()) == 0
    assert outside.called("close_client") == []


def test_a_client_that_cannot_be_closed_has_gone_as_far_as_the_core_knows(
    world: ExecutedWorld, outside: Outside
) -> None:
    client = allocated(world, transport=ClientTransport.TCP, serial=1)
    outside.failing["close_client"] = Broken("broken")
    world.execution.carry_out(c.CloseClient(client.path))
    world.run()
    assert ended(world) == [(client.path, EndReason.CLIENT_GONE)]
    outside.failing.clear()
    world.retry()
    assert outside.called("close_client") == [[client.path]] * 2
    assert world.execution.next() is None


def test_a_path_that_cannot_be_forgotten_is_forgotten_later(world: ExecutedWorld, outside: Outside) -> None:
    """The datapath, in the middle of closing something, hears nothing of it."""
    client = allocated(world)
    outside.paths.add(client.path)
    outside.failing["release"] = Broken("broken")
    world.execution.release(client.path)
    outside.failing.clear()
    world.retry()
    assert outside.paths == set()
    assert world.faults.counts == {"transport.release": 1}


def test_a_path_in_use_again_is_not_forgotten(world: ExecutedWorld, outside: Outside) -> None:
    client = allocated(world)
    outside.failing["release"] = Broken("broken")
    world.execution.release(client.path)
    outside.failing.clear()
    client.bind(0x4000, PEER)
    world.retry()
    assert len(outside.called("release")) == 1
    assert world.execution.next() is None


# Connections with peers


def connecting(world: ExecutedWorld) -> tuple[ScriptedClient, int]:
    client = allocated(world, protocol=6, transport=ClientTransport.TCP, serial=1)
    world.feed(client.path, client.build(Method.CONNECT, [(a.XOR_PEER_ADDRESS, PEER)]))
    (connection,) = world.core.state.tcp.by_id or (0,)
    return client, connection


@pytest.mark.parametrize(("error", "faults"), [(Broken("broken"), 1), (DatapathError("no route"), 0)])
def test_a_connect_that_raises_is_a_peer_that_is_not_there(
    error: Exception, faults: int, world: ExecutedWorld, outside: Outside
) -> None:
    client = allocated(world, protocol=6, transport=ClientTransport.TCP, serial=1)
    outside.failing["connect"] = error
    assert code_of(client.request(Method.CONNECT, (a.XOR_PEER_ADDRESS, PEER))) == 447
    assert sum(world.faults.counts.values()) == faults
    assert len(outside.called("close_peer")) == faults
    assert world.core.state.tcp.by_id == {}


def test_a_peer_that_cannot_be_closed_is_closed_later(world: ExecutedWorld, outside: Outside) -> None:
    client, connection = connecting(world)
    outside.failing["close_peer"] = Broken("broken")
    assert len(world.feed(client.path, client.build(Method.REFRESH, [(a.LIFETIME, 0)]))) == 2, "447, and the answer"
    outside.failing.clear()
    world.retry()
    assert outside.called("close_peer") == [[connection]] * 2


def test_a_connection_for_which_there_is_no_socket_is_a_line_and_508(
    world: ExecutedWorld, outside: Outside, caplog: pytest.LogCaptureFixture
) -> None:
    """The kind: connections with peers that fail for want of descriptors, which only the client saw."""
    client = allocated(world, protocol=6, transport=ClientTransport.TCP, serial=1)
    outside.failing["connect"] = caused(errno.EMFILE)
    answer = client.request(Method.CONNECT, (a.XOR_PEER_ADDRESS, PEER))
    assert answer.first(a.ERROR_CODE) == (508, f"Insufficient Capacity (relay-socket): {PEER}")
    (line,) = [record for record in caplog.records if record.getMessage() == "no connection with a peer can be made"]
    assert line.fields["cause"] == "relay-socket"  # type: ignore[attr-defined]
    assert world.faults.counts == {}


def bind(world: ExecutedWorld) -> tuple[ScriptedClient, int]:
    """A ConnectionBind for a connection that stands."""
    _, connection = connecting(world)
    world.core.peer_connected(connection, world.now)
    world.run()
    data = world.client(port=40009, transport=ClientTransport.TCP, serial=2)
    data.challenge()
    world.feed(data.path, data.build(Method.CONNECTION_BIND, [(a.CONNECTION_ID, connection)]))
    return data, connection


def test_a_splice_that_raises_ends_the_connection(world: ExecutedWorld, outside: Outside) -> None:
    outside.failing["splice"] = Broken("broken")
    _, connection = bind(world)
    assert outside.stream is not None
    assert outside.stream.closed
    assert outside.called("close_peer") == [[connection]]
    assert world.core.state.tcp.by_id == world.core.state.tcp.by_client == {}
    assert world.faults.counts == {"datapath.splice": 1}


def test_a_connection_that_cannot_be_detached_is_closed(world: ExecutedWorld, outside: Outside) -> None:
    outside.failing["detach"] = Broken("broken")
    data, connection = bind(world)
    assert outside.called("close_client") == [[data.path]]
    assert outside.called("close_peer") == [[connection]]
    assert world.core.state.tcp.by_id == {}


def test_a_client_that_has_gone_before_the_splice_is_no_fault(world: ExecutedWorld, outside: Outside) -> None:
    outside.stream = None
    _, connection = bind(world)
    assert outside.called("close_peer") == [[connection]]
    assert world.core.state.tcp.by_id == {}
    assert world.faults.counts == {}


# The rest


def test_somebody_elses_commands_cost_nothing_else(world: ExecutedWorld, outside: Outside) -> None:
    outside.failing["find"] = Broken("broken")
    world.execution.carry_out(c.FindCredential(1, "alice", b"", "realm"))
    assert world.faults.counts == {"credentials": 1}


def test_a_fault_in_the_core_while_it_is_told_is_another_fault(
    world: ExecutedWorld, outside: Outside, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    client = allocated(world)
    outside.failing["add_route"] = Broken("broken")

    def broken(*_: object) -> None:
        raise KeyError("half of a table")

    monkeypatch.setattr(world.core, "relay_failed", broken)
    assert code_of(client.bind(0x4000, PEER)) == 0
    assert world.faults.counts == {"datapath.add_route": 1, "core": 1}
    levels = {record.levelno for record in caplog.records if record.name == "meshturn.faults"}
    assert levels == {logging.ERROR}
