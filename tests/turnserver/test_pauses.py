"""After a pause: what waited is read before time goes on, old media is dropped, and rooms get new credentials.

The pause is made by moving the machine's monotonic clock, as the server sees it; the sockets are real.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from stun import attributes as a
from stun import channeldata
from stun.constants import MessageClass, Method
from stun.message import Message, MessageBuilder
from tests.support.core_world import ScriptedClient, World, code_of
from tests.support.peer import UdpPeer
from tests.support.signal_wire import Participant
from tests.support.stream_world import captured_log
from tests.support.tcp_pair import eventually
from turnserver import pauses
from turnserver.core.types import Now
from turnserver.pauses import PatientClock, Pauses
from turnserver.server import Server

CHANNEL = 0x4000
LIFETIME = 600


class Machine:
    """The clocks of a machine that can stand still, and whose wall clock can be set."""

    def __init__(self) -> None:
        self.paused = 0.0
        self.stepped = 0.0

    def monotonic(self) -> float:
        return time.monotonic() + self.paused

    def clock(self) -> Now:
        return Now(self.monotonic(), time.time() + self.paused + self.stepped)


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    made = Machine()
    monkeypatch.setattr(pauses, "monotonic", made.monotonic)
    monkeypatch.setattr(pauses, "BEAT", 0.01)
    return made


@pytest.fixture
def log() -> Iterator[list[logging.LogRecord]]:
    with captured_log("meshturn") as records:
        yield records


class Call:
    """A server, a client with an allocation and a channel, and the peer; nobody reads unless told to."""

    def __init__(self, server: Server) -> None:
        self.server = server
        _, self.address = server.snapshot().listening[0]
        self.client, self.peer = UdpPeer(), UdpPeer()
        self.script = ScriptedClient(World(), self.client.address)

    async def ask(self, method: int, *attributes: tuple[a.AttributeType[Any], Any], signed: bool = True) -> Message:
        """A request; its answer."""
        self.client.send(self.script.build(method, attributes, signed=signed), self.address)
        return await self.answer()

    async def answer(self) -> Message:
        async with asyncio.timeout(90):
            return Message.decode(await asyncio.get_running_loop().sock_recv(self.client.socket, 65536))

    async def begin(self) -> None:
        self.client.socket.setblocking(False)
        self.peer.socket.setblocking(False)
        transport = (a.REQUESTED_TRANSPORT, 17)
        self.script.nonce = (await self.ask(Method.ALLOCATE, transport, signed=False)).first(a.NONCE)
        allocated = await self.ask(Method.ALLOCATE, transport)
        assert code_of(allocated) == 0
        self.relayed = allocated.first(a.XOR_RELAYED_ADDRESS)
        bound = (a.CHANNEL_NUMBER, CHANNEL), (a.XOR_PEER_ADDRESS, self.peer.address)
        assert code_of(await self.ask(Method.CHANNEL_BIND, *bound)) == 0

    def media(self, data: bytes) -> None:
        """Media in both directions, sent now."""
        self.client.send(channeldata.encode(CHANNEL, data), self.address)
        assert self.relayed is not None
        self.peer.send(data, self.relayed)

    async def heard(self) -> tuple[bytes, bytes]:
        """The next media that the client and the peer get."""
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(90):
            down = await loop.sock_recv(self.client.socket, 65536)
            return down[4:], await loop.sock_recv(self.peer.socket, 65536)


@pytest.fixture
async def call(machine: Machine) -> AsyncIterator[Call]:
    config = {
        "listeners": [{"address": "127.0.0.1", "port": 0}],
        "realm": "example.org",
        "auth": {"users": {"alice": "secret"}},
        "peers": {"allow": ["127.0.0.0/8"]},
    }
    async with Server(config, clock=machine.clock) as server:
        made = Call(server)
        await made.begin()
        yield made
        made.client.close()
        made.peer.close()


async def test_a_refresh_that_came_in_time_counts_after_a_pause(
    call: Call, machine: Machine, log: list[logging.LogRecord]
) -> None:
    """It waits behind more than one read of the socket, and the lifetime is over when it is read: not 437."""
    for _ in range(300):
        call.client.send(call.script.build(Method.BINDING, signed=False), call.address)
    call.client.send(call.script.build(Method.REFRESH, [(a.LIFETIME, LIFETIME)]), call.address)
    machine.paused += LIFETIME + 100
    while (answer := await call.answer()).method != Method.REFRESH:
        pass
    assert code_of(answer) == 0
    await eventually(lambda: not call.server._clock.lag)
    assert len(call.server.snapshot().allocations) == 1
    (line,) = [record for record in log if record.getMessage().startswith("the server did not run")]
    assert LIFETIME + 99 < line.fields["seconds"] <= LIFETIME + 101  # type: ignore[attr-defined]


async def test_what_nobody_refreshed_ends_after_the_pause(call: Call, machine: Machine) -> None:
    """Time goes on once everything has been read; nothing lives for ever."""
    machine.paused += LIFETIME + 100
    call.client.send(call.script.build(Method.BINDING, signed=False), call.address)
    assert (await call.answer()).method == Method.BINDING
    await eventually(lambda: not call.server._clock.lag)
    call.script.nonce = (await call.ask(Method.ALLOCATE, signed=False)).first(a.NONCE)
    assert code_of(await call.ask(Method.REFRESH)) == 437
    assert call.server.snapshot().allocations == ()


async def test_media_that_waited_is_dropped_and_what_comes_then_is_not(call: Call, machine: Machine) -> None:
    """In both directions; the request among the media is answered."""
    for number in range(100):
        call.media(b"old %d" % number)
        builder = MessageBuilder(Method.SEND, MessageClass.INDICATION, call.script.transaction_id())
        builder.add(a.XOR_PEER_ADDRESS, call.peer.address).add(a.DATA, b"old")
        call.client.send(builder.build(), call.address)
    call.client.send(call.script.build(Method.REFRESH, [(a.LIFETIME, LIFETIME)]), call.address)
    machine.paused += 5
    assert code_of(await call.answer()) == 0
    await eventually(lambda: not call.server._clock.lag)
    call.media(b"new")
    assert await call.heard() == (b"new", b"new")
    snapshot = call.server.snapshot()
    assert snapshot.listeners[0].counters.dropped == 200
    assert snapshot.datapaths[0].counters.dropped == 100


async def test_media_goes_on_while_what_waited_is_still_being_read(call: Call, machine: Machine) -> None:
    """Each socket is read as usual as soon as it was empty once."""
    call.media(b"old")
    machine.paused += 5
    await eventually(lambda: call.server.snapshot().datapaths[0].counters.dropped == 1)
    await eventually(lambda: call.server.snapshot().listeners[0].counters.dropped == 1)
    call.media(b"new")
    assert await call.heard() == (b"new", b"new")


async def test_without_a_pause_nothing_is_dropped(call: Call, machine: Machine) -> None:
    """Less than a second is jitter."""
    call.media(b"late")
    machine.paused += pauses.STALL / 2
    assert await call.heard() == (b"late", b"late")
    assert not call.server._clock.lag


@pytest.mark.parametrize("step", [3600.0, -3600.0])
async def test_after_a_step_of_the_wall_clock_rooms_get_new_credentials(machine: Machine, step: float) -> None:
    """A machine that was suspended for an hour: the credentials in the rooms have expired meanwhile."""
    config = {
        "listeners": [{"transport": "shared", "tls": False, "address": "127.0.0.1", "port": 0}],
        "auth": {"shared_secrets": ["a shared secret of 32 characters"]},
        "signaling": {"open": True},
    }
    async with Server(config, clock=machine.clock) as server:
        _, address = server.snapshot().listening[0]
        async with Participant(f"ws://127.0.0.1:{address.port}/v1/ws") as ann:
            await ann.join("blue", "Ann")
            before = ann.joined["ice"]["exp"]
            machine.stepped = step
            ice = await ann.until("ice")
            assert ice["why"] == "rotate"
            assert ice["ice"]["exp"] == pytest.approx(before + step, abs=90)


def test_the_clock_stands_until_it_is_let_go(machine: Machine) -> None:
    clock = PatientClock(machine.clock)
    noticed: list[float] = []
    clock.noticed = noticed.append
    before = clock()
    machine.paused += 100
    assert clock.mono() >= before.mono + 100
    assert noticed == []
    clock.overdue, clock.lag = machine.monotonic() - 1, 100.0
    now = clock()
    assert len(noticed) == 1
    assert before.mono <= now.mono < before.mono + 50
    assert before.wall <= now.wall < before.wall + 50, "nonces are judged by the wall clock"


async def test_a_part_that_raises_does_not_keep_time_from_going_on(machine: Machine) -> None:
    class Faulty:
        @property
        def counters(self) -> None:
            raise ZeroDivisionError

        def paused(self, on: bool) -> None:
            raise ZeroDivisionError

    async with Server({"listeners": [{"address": "127.0.0.1", "port": 0}]}, clock=machine.clock) as server:
        clock = PatientClock(machine.clock)
        watch = Pauses(clock, server._faults)
        watch.start(lambda: [Faulty()], Faulty(), None)  # type: ignore[list-item]
        machine.paused += 100
        clock()
        assert clock.lag > 90
        await eventually(lambda: not clock.lag)
        watch.stop()
        watch.stop()
        assert server.snapshot().faults["pause"] == 4


async def test_late_beats_are_in_a_histogram(call: Call, machine: Machine) -> None:
    """How long what is ready waits for its turn; a pause is one of them."""
    lags = call.server._pauses
    await eventually(lambda: lags.lags.count > 3)
    before = lags.lags
    assert before.counts[before.bounds.index(5.0)] == before.count
    machine.paused += 20.0
    await eventually(lambda: lags.lags.counts[lags.lags.bounds.index(5.0)] < lags.lags.count)
    assert lags.lags.total - before.total >= 19.0
