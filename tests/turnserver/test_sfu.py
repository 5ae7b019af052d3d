"""The SFU of a server, on real sockets and in real processes: aiortc on both sides, and rooms that cannot be had."""

import asyncio
import os
import signal
import socket
import time
from collections.abc import AsyncIterator, Callable

import pytest

from stun.address import Address
from tests.support.sfu_people import SfuPerson, deliver, until
from turnserver.config.media import MediaConfig
from turnserver.core.settings import MediaSocket, OwnAddresses, RelayAddress
from turnserver.core.types import PortRange
from turnserver.faults import Faults
from turnserver.media.worker import NICE
from turnserver.sfu import Sfu, processes_of
from turnserver.signaling.rooms.media_port import (
    MediaEvent,
    MediaPort,
    SfuAnswered,
    SfuConnected,
    SfuFailed,
    SfuGone,
    SfuLayers,
    SfuOffered,
    Tile,
)
from turnserver.supervisor import ChildTiming

LOOPBACK = OwnAddresses((RelayAddress(bytes((127, 0, 0, 1)), bytes((127, 0, 0, 1))),))


class Call:
    """An SFU, the people in its room, and what it has reported."""

    def __init__(
        self, media: MediaConfig | None = None, own: OwnAddresses = LOOPBACK, timing: ChildTiming | None = None
    ) -> None:
        self.faults = Faults()
        self.events: list[MediaEvent] = []
        self.moved: list[tuple[MediaSocket, ...]] = []
        self.people: dict[str, SfuPerson] = {}
        self.own = own
        self.sfu = Sfu(
            media or MediaConfig(processes=0),
            PortRange(49152, 65535),
            lambda: self.own,
            report=self.report,
            changed=self.moved.append,
            faults=self.faults,
            clock=time.monotonic,
            timing=timing,
        )
        self.port: MediaPort = self.sfu

    def report(self, event: MediaEvent) -> None:
        self.events.append(event)
        deliver(event, self.people.values())

    async def join(self, *names: str) -> list[SfuPerson]:
        for name in names:
            self.people[name] = SfuPerson(self.port, "r", name)
            await self.people[name].join()
        return [self.people[name] for name in names]


@pytest.fixture
async def make() -> AsyncIterator[Callable[..., Call]]:
    """Makes calls, which end with the test; nothing goes wrong in them."""
    made: list[Call] = []

    def start(**options: object) -> Call:
        made.append(Call(**options))  # type: ignore[arg-type]
        return made[-1]

    yield start
    for call in made:
        for person in call.people.values():
            await person.close()
        call.sfu.stop()
        await call.sfu.wait_closed()
        assert call.sfu.processes == ()
        assert dict(call.faults.counts) == {}


QUICK = ChildTiming(pauses=(0.0, 0.0, 0.0, 3600.0), tick=0.2, silence=10_000)
IN_LOOP_AND_IN_CHILD = pytest.mark.parametrize("processes", [0, pytest.param(1, marks=pytest.mark.process)])


@IN_LOOP_AND_IN_CHILD
async def test_three_people_see_and_hear_each_other(make: Callable[..., Call], processes: int) -> None:
    call = make(media=MediaConfig(processes=processes))
    call.port.open("r", 1)
    people = await call.join("ann", "bob", "cid")
    for person in people:
        others = {"ann", "bob", "cid"} - {person.peer}
        wanted = {(kind, other) for kind in ("audio", "video") for other in others}
        await until(lambda person=person, wanted=wanted: all(person.frames[key] > 20 for key in wanted))  # type: ignore[misc]
        assert set(person.frames) == wanted
    await until(lambda: [peer.subscribing for room in call.sfu.rooms() for peer in room.peers] == [True] * 3)
    (room,) = call.sfu.rooms()
    assert len(call.sfu.processes) == processes
    assert [(peer.peer, peer.publishing, peer.subscribing) for peer in room.peers] == [
        (name, True, True) for name in ("ann", "bob", "cid")
    ]
    connected = {(event.peer, event.side) for event in call.events if isinstance(event, SfuConnected)}
    assert len(connected) == 6
    assert [len(person.names) for person in people] == [1, 1, 1], "one connection to receive through"
    (address,) = call.sfu.addresses
    assert 49152 <= address.port <= 65535


@IN_LOOP_AND_IN_CHILD
async def test_what_rooms_ask_for_reaches_the_engine(make: Callable[..., Call], processes: int) -> None:
    call = make(media=MediaConfig(processes=processes))
    call.port.open("r", 1)
    ann, bob = await call.join("ann", "bob")
    await until(lambda: bob.frames["video", "ann"] > 5 and ann.frames["video", "bob"] > 5)
    call.port.candidates("r", "ann", "p1", ["candidate:1 1 udp 1 192.0.2.1 9 typ host"])
    call.port.choose("r", "bob", None, 360, [Tile("ann", "camera", 0)])
    await until(lambda: SfuLayers("r", "ann", "camera", ()) in call.events)
    call.port.choose("r", "bob", None, 0, [Tile("ann", "camera", 360, pinned=True)])
    await until(lambda: SfuLayers("r", "ann", "camera", ("",)) in call.events)
    seen = bob.frames["video", "ann"]
    await until(lambda: bob.frames["video", "ann"] > seen + 5)
    call.port.mute("r", "ann", "audio", True)
    call.port.reset("r", "bob")
    await until(lambda: len(bob.names) == 2)
    again = bob.frames["video", "ann"]
    await until(lambda: bob.frames["video", "ann"] > again + 5)
    call.port.leave("r", "ann")
    await until(lambda: len(call.sfu.rooms()[0].peers) == 1)
    call.port.close("r")
    assert call.sfu.rooms() == []


@IN_LOOP_AND_IN_CHILD
async def test_an_offer_that_cannot_be_used_is_reported(make: Callable[..., Call], processes: int) -> None:
    call = make(media=MediaConfig(processes=processes))
    call.port.open("r", 1)
    call.port.join("r", "ann", "Ann")
    call.port.offer("r", "ann", "p1", "nonsense", {})
    assert call.events == [], "never from inside of a call"
    await until(lambda: bool(call.events))
    (event,) = call.events
    assert isinstance(event, SfuFailed)
    assert (event.room, event.peer, event.side) == ("r", "ann", "publish")


async def test_a_port_that_is_taken_and_a_server_without_addresses_lose_the_room(make: Callable[..., Call]) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        call, other = make(media=MediaConfig(port=port, processes=0)), make(own=OwnAddresses(()))
        call.port.open("r", 7)
        other.port.open("q", 8)
        await until(lambda: bool(call.events and other.events))
    (event,) = call.events
    assert isinstance(event, SfuGone)
    assert (event.room, event.epoch) == ("r", 7)
    assert str(port) in event.why
    assert [(each.room, each.epoch) for each in other.events if isinstance(each, SfuGone)] == [("q", 8)]
    assert (call.sfu.addresses, call.moved) == ((), [])
    call.port.open("r", 9)
    await asyncio.sleep(0)
    assert call.sfu.addresses == (Address(bytes((127, 0, 0, 1)), port),), "it is tried again"


async def test_clients_are_told_the_public_address(make: Callable[..., Call]) -> None:
    own = OwnAddresses((RelayAddress(bytes((127, 0, 0, 1)), bytes((203, 0, 113, 5))),))
    call = make(own=own)
    call.port.open("r", 1)
    (address,) = call.sfu.addresses
    assert address.host == "203.0.113.5"
    bound = Address(bytes((127, 0, 0, 1)), address.port)
    assert call.sfu.sockets == (MediaSocket(bound, address),)
    call.sfu.stop()
    assert call.moved == [(MediaSocket(bound, address),), ()], "the peer ACL is told of both"
    assert call.sfu.addresses == ()


def shown_as(host: str) -> OwnAddresses:
    return OwnAddresses((RelayAddress(bytes((127, 0, 0, 1)), Address.parse(host, 0).ip),))


def places(sdp: str) -> set[str]:
    """The hosts of a description's candidates."""
    return {line.split()[4] for line in sdp.splitlines() if line.startswith("a=candidate:")}


async def _described(call: Call, kind: type[SfuAnswered] | type[SfuOffered], peer: str) -> SfuAnswered | SfuOffered:
    """The next description for a participant; what was reported before is forgotten."""

    def found() -> list[SfuAnswered | SfuOffered]:
        return [event for event in call.events if isinstance(event, kind) and event.peer == peer]

    await until(lambda: bool(found()))
    (event,) = found()
    call.events.clear()
    return event


@IN_LOOP_AND_IN_CHILD
async def test_another_public_address_is_in_new_connections_and_restarts(
    make: Callable[..., Call], processes: int
) -> None:
    """Also in those of a child that is started again. Clients in a call go on to use the name that they have."""
    call = make(media=MediaConfig(processes=processes), own=shown_as("203.0.113.5"), timing=QUICK)
    call.port.open("r", 1)
    (person,) = await call.join("ann")
    offer = person.publish.localDescription.sdp
    first = await _described(call, SfuAnswered, "ann")
    assert places(first.sdp) == {"203.0.113.5"}
    (before,) = call.sfu.sockets

    call.own = shown_as("203.0.113.6")
    call.sfu.use_own(call.own)
    after = MediaSocket(before.bound, Address.parse("203.0.113.6", before.bound.port))
    assert call.sfu.sockets == (after, before)
    assert call.sfu.addresses == (after.public,)
    ufrag = next(line for line in offer.splitlines() if line.startswith("a=ice-ufrag:"))
    call.port.offer("r", "ann", "p1", offer.replace(ufrag, "a=ice-ufrag:restarted"), {})
    again = await _described(call, SfuAnswered, "ann")
    assert places(again.sdp) == {"203.0.113.6"}
    call.port.join("r", "bob", "bob")
    assert places((await _described(call, SfuOffered, "bob")).sdp) == {"203.0.113.6"}

    for number in range(7, 12):
        call.sfu.use_own(shown_as(f"203.0.113.{number}"))
    former = [each.public.host for each in call.sfu.sockets]
    assert former == [f"203.0.113.{number}" for number in (11, 10, 9, 8, 7)], "so many are remembered"
    call.sfu.use_own(shown_as("203.0.113.9"))
    assert [each.public.host for each in call.sfu.sockets] == [f"203.0.113.{number}" for number in (9, 11, 10, 8, 7)]
    call.sfu.use_own(OwnAddresses(()))
    assert [each.host for each in call.sfu.addresses] == ["203.0.113.9"], "it is still bound where it was"

    if processes:
        (pid,) = call.sfu.processes
        os.kill(pid, signal.SIGKILL)
        await until(lambda: any(isinstance(event, SfuGone) for event in call.events))
        call.port.open("r", 2)
        call.port.join("r", "ann", "ann")
        call.port.offer("r", "ann", "p1", offer, {})
        assert places((await _described(call, SfuAnswered, "ann")).sdp) == {"203.0.113.9"}


async def test_nothing_is_asked_of_an_engine_that_is_not_there(make: Callable[..., Call]) -> None:
    call = make()
    call.port.join("r", "ann", "Ann")
    call.port.leave("r", "ann")
    call.port.close("r")
    assert (call.sfu.rooms(), call.sfu.addresses, call.events) == ([], (), [])


# Child processes


@pytest.mark.parametrize(
    ("processes", "port", "cores", "expected"),
    [("auto", 0, 8, 7), ("auto", 0, 1, 1), ("auto", 5000, 8, 1), (0, 0, 8, 0), (3, 5000, 8, 3), (64, 65530, 8, 6)],
)
def test_how_many_processes_there_are(
    monkeypatch: pytest.MonkeyPatch, processes: int, port: int, cores: int, expected: int
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(cores)))
    assert processes_of(MediaConfig(processes=processes, port=port)) == expected


@pytest.mark.process
async def test_rooms_go_to_the_process_with_least_to_do_and_stay_there(make: Callable[..., Call]) -> None:
    call = make(media=MediaConfig(processes=2))
    for number in range(6):
        call.port.open(f"r{number}", 1)
        for peer in range(3):
            call.port.join(f"r{number}", f"p{peer}", "x")
    await until(lambda: len(call.sfu.rooms()) == 6)
    assert len(call.sfu.processes) == len(call.sfu.addresses) == 2
    shares = [{view.room for view in host.rooms()} for host in call.sfu._hosts.values()]
    assert [len(share) for share in shares] == [3, 3]
    call.port.open("r0", 2)
    await until(lambda: {view.room: view.epoch for view in call.sfu.rooms()}.get("r0") == 2)
    assert "r0" in {view.room for view in call.sfu._hosts[0].rooms()}, "the same engine, in another epoch"
    assert [len(moved) for moved in call.moved] == [1, 2]
    for room in list(shares[0]):
        call.port.close(room)
    call.port.open("next", 1)
    await until(lambda: "next" in {view.room for view in call.sfu._hosts[0].rooms()})


@pytest.mark.process
async def test_a_process_that_is_killed_costs_its_rooms_new_connections(make: Callable[..., Call]) -> None:
    """Its port stays; the other process is not concerned; what comes after is a room like any other."""
    call = make(media=MediaConfig(processes=2), timing=QUICK)
    call.port.open("r", 1)
    await call.join("ann", "bob")
    call.port.open("other", 4)
    await until(lambda: call.people["bob"].frames["video", "ann"] > 5)
    before, addresses = call.sfu.processes, call.sfu.addresses
    own = os.getpriority(os.PRIO_PROCESS, 0)
    nice = [os.getpriority(os.PRIO_PROCESS, pid) for pid in before]
    assert nice == [min(19, own + NICE)] * 2, "TURN comes first"
    os.kill(before[0], signal.SIGKILL)
    await until(lambda: any(isinstance(event, SfuGone) for event in call.events))
    (gone,) = [event for event in call.events if isinstance(event, SfuGone)]
    assert (gone.room, gone.epoch) == ("r", 1)
    assert "SIGKILL" in gone.why
    call.port.join("r", "late", "nobody has this room")
    for person in call.people.values():
        await person.close()
    call.port.open("r", 2)
    ann, bob = await call.join("ann", "bob")
    await until(lambda: bob.frames["video", "ann"] > 5 and ann.frames["video", "bob"] > 5)
    assert call.sfu.addresses == addresses
    assert call.sfu.processes[0] not in before
    assert call.sfu.processes[1] == before[1]
    await until(lambda: {view.room: view.epoch for view in call.sfu.rooms()} == {"r": 2, "other": 4})


@pytest.mark.process
async def test_rooms_are_refused_while_a_process_may_not_start_again(make: Callable[..., Call]) -> None:
    call = make(media=MediaConfig(processes=1), timing=QUICK._replace(pauses=(3600.0,)))
    call.port.open("r", 1)
    await until(lambda: bool(call.sfu.rooms()))
    (pid,) = call.sfu.processes
    os.kill(pid, signal.SIGTERM)  # a service manager sends it to all; what it means is the parent's to say
    os.kill(pid, signal.SIGKILL)
    await until(lambda: len(call.events) == 1)
    call.port.open("r", 2)
    await until(lambda: len(call.events) == 2)
    for number, event in enumerate(call.events, 1):
        assert isinstance(event, SfuGone)
        assert (event.room, event.epoch) == ("r", number)
        assert "SIGKILL" in event.why
    assert call.sfu.processes == ()


@pytest.mark.process
async def test_a_process_that_cannot_begin_is_said_so(
    make: Callable[..., Call], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A failed start is no crash: the log has the last words of the child, and the room its reason."""
    monkeypatch.setattr("turnserver.media.worker.__name__", "turnserver.media.there_is_none")
    call = make(media=MediaConfig(processes=1), timing=QUICK._replace(pauses=(0.0, 3600.0)))
    call.port.open("r", 1)
    await until(lambda: bool(call.events))
    assert isinstance(call.events[0], SfuGone)
    assert "exit status 1" in call.events[0].why
    (line,) = [record for record in caplog.records if record.getMessage() == "process did not start"]
    assert "there_is_none" in line.__dict__["fields"]["last_words"]
