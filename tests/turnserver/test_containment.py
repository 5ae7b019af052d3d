"""Whatever method of whatever part raises, it costs whom it happened to: the server goes on, and nobody else notices.

The methods are those that the interfaces have, so a new one is tried without being listed. After hours of silence every
table is empty.
"""

import asyncio
import inspect
import socket
from collections.abc import Callable, Iterator

import pytest

from auth.source import CredentialSource
from stun import attributes as a
from stun.constants import Method
from tests.support.core_world import code_of
from tests.support.fault_world import Broken, FaultWorld, Plan, Victim, everything_that_victims_do
from tests.support.skipping_loop import SkippingLoop
from turnserver.core.events import AllocationEnded
from turnserver.core.server import TurnCore
from turnserver.observers.base import Observer
from turnserver.paths import ChannelHop, ClientPath
from turnserver.relay.base import Datapath, DatapathSink, StreamRelays, StreamRelaySink
from turnserver.relay.sockets import MAX_FAULTS
from turnserver.transports.base import ConnectedTransport, FrameSink, HttpGateway, Transport

LIFECYCLE = {"attach", "bind", "close", "from_config", "serve", "use"}
"""What is called when a server starts, is reloaded or stops: `tests.turnserver.test_server_faults` has it."""


def methods(*interfaces: type) -> list[str]:
    """The methods of interfaces, those that they inherit among them."""
    found = {name for each in interfaces for name, _ in inspect.getmembers(each, callable) if not name.startswith("_")}
    return sorted(found - LIFECYCLE)


PARTS: dict[str, list[str]] = {
    "datapath": methods(Datapath),
    "streams": methods(StreamRelays),
    "transport": methods(Transport),
    "connected": methods(ConnectedTransport),
    "path": methods(ClientPath),
    "hop": methods(ChannelHop),
    "observer": methods(Observer),
    "source": methods(CredentialSource),
    "http": methods(HttpGateway),
    "core": [name for name in methods(FrameSink, DatapathSink, StreamRelaySink) if hasattr(TurnCore, name)],
}

SILENT = {
    ("transport", "close_client"): "the core closes only clients that have a connection",
    ("source", "holds"): "a reload asks; `tests.turnserver.test_removal` shows what one that raises costs",
}
"""Methods that no traffic comes to."""

LOST = {
    ("connected", "detach", True): "nobody was given the stream, so only the transport can close it; "
    "`tests.turnserver.transports.test_stream` shows that it does",
}
"""What no one but the part itself could clear away; ``True`` is for an exception after the work."""

CASES = [
    pytest.param(part, method, after, id=f"{part}-{method}-{'after' if after else 'before'}")
    for part, names in PARTS.items()
    for method in names
    for after in (False, True)
    if (part, method) not in SILENT and (part, method, after) not in LOST
]


@pytest.fixture
def loop() -> Iterator[SkippingLoop]:
    made = SkippingLoop()
    yield made
    made.close()


async def through_it_all(world: FaultWorld) -> None:
    await world.open()
    try:
        with world.armed():
            await everything_that_victims_do(world)
        await world.exchange()
        await world.end()
        world.assert_nothing_left()
    finally:
        world.close()


def run(loop: SkippingLoop, plan: Plan, prepare: Callable[[FaultWorld], None] = lambda world: None) -> FaultWorld:
    worlds: list[FaultWorld] = []

    async def main() -> None:
        worlds.append(FaultWorld(loop, plan))
        prepare(worlds[0])
        await through_it_all(worlds[0])

    loop.run_until_complete(main())
    return worlds[0]


def test_without_a_fault_there_is_none(loop: SkippingLoop) -> None:
    """What the others are compared with: victims that nothing happens to."""
    world = run(loop, Plan())
    assert world.engine.faults == {}


@pytest.mark.parametrize("error", [Broken, asyncio.CancelledError])
@pytest.mark.parametrize(("part", "method", "after"), CASES)
def test_a_fault_stays_where_it_is(
    part: str, method: str, after: bool, error: type[BaseException], loop: SkippingLoop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also one that is no Exception: nobody cancels anything in a call that waits for nothing."""
    monkeypatch.setattr(Plan, "error", error)
    plan = Plan(part, method, after=after)
    slow = "mallory" if method.startswith("ask") else ""
    world = run(loop, plan, lambda made: setattr(made.users, "slow", slow))
    assert plan.hits > 0
    assert sum(world.engine.faults.values()) >= 1


def test_a_relay_that_cannot_be_read_ends_with_its_allocation(loop: SkippingLoop) -> None:
    """After so many faults, each counted. The client learns it at its next request (437); nobody else notices."""

    class Unreadable:
        frame = memoryview(b"")

        def one(self, socket: object) -> object:
            raise ZeroDivisionError

        burst = one

    async def main() -> None:
        world = FaultWorld(loop, Plan())
        await world.open()
        try:
            victim = Victim(world, stream=False)
            await victim.allocate(17)
            assert victim.relay is not None
            (relay,) = world.core.state.by_relay.keys() - world.plan.protected
            world.datapath._links[relay].receiver = Unreadable()  # type: ignore[assignment]
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
                peer.sendto(b"x", victim.relay)
                await loop.until(lambda: isinstance(world.watcher.events[-1], AllocationEnded), "the allocation's end")
            assert relay not in world.datapath._links
            assert world.engine.faults == {"datapath.read": MAX_FAULTS}
            answer = await victim.ask(Method.REFRESH, (a.LIFETIME, 600))
            assert answer is not None
            assert code_of(answer) == 437
            await world.exchange()
            await world.end()
            world.assert_nothing_left()
        finally:
            world.close()

    loop.run_until_complete(main())
