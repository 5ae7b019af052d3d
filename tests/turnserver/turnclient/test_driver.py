"""A sans-IO client on a link: what is sent, what is told, and when the timer fires."""

import asyncio
from typing import Any

import pytest

from stun.address import Address
from stun.client.core import ClientCore, ClientOptions
from stun.client.errors import NoAnswer, RequestCancelled, ServerUnreachable
from stun.client.events import AllocationLost, PeerData
from stun.constants import Method
from tests.support.client_world import LOGIN
from tests.support.core_world import PEER, deterministic_entropy
from tests.support.memory_link import MemoryLink, MemoryServer
from turnserver.turnclient.driver import Driver

TIMEOUT = 90.0


class Rig:
    """A driver, and what it has told."""

    def __init__(self, server: MemoryServer, link: MemoryLink, **options: Any) -> None:
        self.server = server
        self.link = link
        self.told: list[Any] = []
        self.troubles: list[ServerUnreachable] = []
        core = ClientCore(deterministic_entropy(), login=LOGIN, options=ClientOptions(**options))
        self.driver = Driver(core, link, self.told.append, self.troubles.append)

    async def allocated(self) -> "Rig":
        (await self.driver.ask(self.driver.core.allocate)).result()
        return self


async def rig(**options: Any) -> Rig:
    server = MemoryServer()
    link = await server.open(None, Address.parse("198.51.100.1", 3478), None)  # type: ignore[arg-type]
    return Rig(server, link, **options)


async def test_a_request_and_its_answer() -> None:
    """RFC 8489 §9.2: one question here may be two requests there."""
    found = await (await rig()).allocated()
    assert found.link.methods() == [Method.ALLOCATE] * 2
    await found.driver.close()
    assert found.link.closed


async def test_requests_side_by_side() -> None:
    found = await (await rig()).allocated()
    core = found.driver.core
    asked = await asyncio.gather(
        found.driver.ask(core.binding),
        found.driver.ask(lambda now: core.create_permission([PEER], now)),
        found.driver.ask(lambda now: core.bind_channel(PEER, now)),
    )
    assert [type(request.result()) for request in asked] == [Address, type(None), int]
    await found.driver.close()


async def test_the_timer_sends_again_and_gives_up() -> None:
    """RFC 8489 §6.2.1: by the loop's clock, with nobody waiting but the timer."""
    found = await rig(rto=0.01, rc=3, rm=2)
    found.link.swallow = lambda frame: True
    async with asyncio.timeout(TIMEOUT):
        request = await found.driver.ask(found.driver.core.binding)
    with pytest.raises(NoAnswer):
        request.result()
    assert len(found.link.sent) == 3
    await found.driver.close()


async def test_the_timer_comes_forward() -> None:
    """A retransmission is due before the keepalive that the timer was set for."""
    found = await (await rig(rto=0.01, rc=3, rm=2, keepalive=3600.0)).allocated()
    async with asyncio.timeout(TIMEOUT):
        while (timer := found.driver._timer) is None or timer.when() < found.driver.now() + 100:
            await asyncio.sleep(0.01)  # the timer of the Allocate's retransmission finds nothing to do
    found.link.swallow = lambda frame: True
    async with asyncio.timeout(TIMEOUT):
        request = await found.driver.ask(found.driver.core.binding)
    assert isinstance(request.outcome, NoAnswer)
    assert timer.cancelled()
    await found.driver.close()


async def test_a_wait_that_is_cancelled_cancels_the_request() -> None:
    found = await rig()
    found.link.swallow = lambda frame: True
    asking = asyncio.create_task(found.driver.ask(found.driver.core.binding))
    await asyncio.sleep(0)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    assert found.driver.core.deadline() is None
    await found.driver.close()


async def test_what_comes_from_peers_is_told() -> None:
    found = await (await rig()).allocated()
    await found.driver.ask(lambda now: found.driver.core.create_permission([PEER], now))
    found.server.peer_sends(found.link, PEER, b"hello")
    await asyncio.sleep(0)
    assert found.told == [PeerData(PEER, b"hello")]
    await found.driver.close()


async def test_a_listener_that_fails_costs_itself() -> None:
    """The next one is told all the same; the failure goes to the loop's handler."""
    failures: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: failures.append(context))
    found = await (await rig()).allocated()

    def fail(event: object) -> None:
        found.told.append(event)
        raise RuntimeError("no")

    found.driver._on_event = fail
    await found.driver.ask(lambda now: found.driver.core.create_permission([PEER], now))
    for data in (b"one", b"two"):
        found.server.peer_sends(found.link, PEER, data)
    await asyncio.sleep(0)
    assert [event.data for event in found.told] == [b"one", b"two"]
    assert [str(context["exception"]) for context in failures] == ["no", "no"]
    await found.driver.close()


async def test_trouble_fails_what_is_under_way_and_the_link_goes_on() -> None:
    """RFC 8489 §6.2.1."""
    found = await (await rig()).allocated()
    found.link.swallow = lambda frame: True
    error = ServerUnreachable("Nothing listens there.")
    asyncio.get_running_loop().call_soon(found.link.receiver.link_troubled, error)
    request = await found.driver.ask(found.driver.core.binding)
    assert request.outcome is error
    assert found.troubles == [error]
    found.link.swallow = lambda frame: False
    assert (await found.driver.ask(found.driver.core.binding)).result() == found.link.path.address
    await found.driver.close()


async def test_the_end_of_a_link_is_the_end() -> None:
    """RFC 8656 §3.1: the allocation is gone, nothing can be asked, and no timer is left."""
    found = await (await rig()).allocated()
    error = ServerUnreachable("The server closed the connection.")
    found.link.receiver.link_ended(error)
    assert found.told == [AllocationLost(error)]
    with pytest.raises(ServerUnreachable):
        await found.driver.ask(found.driver.core.binding)
    assert found.driver._timer is None
    await found.driver.close()


async def test_closing_gives_up_what_is_under_way() -> None:
    found = await rig()
    found.link.swallow = lambda frame: True
    asking = asyncio.create_task(found.driver.ask(found.driver.core.binding))
    await asyncio.sleep(0)
    await found.driver.close()
    assert isinstance((await asking).outcome, RequestCancelled)
    assert found.driver._timer is None
