"""The SFU of a server, on real sockets: aiortc on both sides, and rooms that cannot be had."""

import asyncio
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
from turnserver.sfu import Sfu
from turnserver.signaling.rooms.media_port import (
    MediaEvent,
    MediaPort,
    SfuConnected,
    SfuFailed,
    SfuGone,
    SfuLayers,
    Tile,
)

LOOPBACK = OwnAddresses((RelayAddress(bytes((127, 0, 0, 1)), bytes((127, 0, 0, 1))),))


class Call:
    """An SFU, the people in its room, and what it has reported."""

    def __init__(self, media: MediaConfig | None = None, own: OwnAddresses = LOOPBACK) -> None:
        self.faults = Faults()
        self.events: list[MediaEvent] = []
        self.moved: list[tuple[MediaSocket, ...]] = []
        self.people: dict[str, SfuPerson] = {}
        self.sfu = Sfu(
            media or MediaConfig(),
            PortRange(49152, 65535),
            lambda: own,
            report=self.report,
            changed=self.moved.append,
            faults=self.faults,
            clock=time.monotonic,
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
        assert dict(call.faults.counts) == {}


async def test_three_people_see_and_hear_each_other(make: Callable[..., Call]) -> None:
    call = make()
    call.port.open("r", 1)
    people = await call.join("ann", "bob", "cid")
    for person in people:
        others = {"ann", "bob", "cid"} - {person.peer}
        wanted = {(kind, other) for kind in ("audio", "video") for other in others}
        await until(lambda person=person, wanted=wanted: all(person.frames[key] > 20 for key in wanted))  # type: ignore[misc]
        assert set(person.frames) == wanted
    (room,) = call.sfu.rooms()
    assert [(peer.peer, peer.publishing, peer.subscribing) for peer in room.peers] == [
        (name, True, True) for name in ("ann", "bob", "cid")
    ]
    connected = {(event.peer, event.side) for event in call.events if isinstance(event, SfuConnected)}
    assert len(connected) == 6
    assert [len(person.names) for person in people] == [1, 1, 1], "one connection to receive through"
    (address,) = call.sfu.addresses
    assert 49152 <= address.port <= 65535


async def test_what_rooms_ask_for_reaches_the_engine(make: Callable[..., Call]) -> None:
    call = make()
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


async def test_an_offer_that_cannot_be_used_is_reported(make: Callable[..., Call]) -> None:
    call = make()
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
        call, other = make(media=MediaConfig(port=port)), make(own=OwnAddresses(()))
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


async def test_nothing_is_asked_of_an_engine_that_is_not_there(make: Callable[..., Call]) -> None:
    call = make()
    call.port.join("r", "ann", "Ann")
    call.port.leave("r", "ann")
    call.port.close("r")
    assert (call.sfu.rooms(), call.sfu.addresses, call.events) == ([], (), [])
