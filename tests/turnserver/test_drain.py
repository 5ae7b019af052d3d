"""Draining: when it is over, and when its time is."""

import asyncio

from turnserver.core.types import Now
from turnserver.drain import Drain
from turnserver.signaling.rooms.facts import RoomOpened


class Rig:
    def __init__(self) -> None:
        self.now = Now(100.0, 1_700_000_000.0)
        self.left = 2
        self.drain = Drain(lambda: self.now)
        self.looked = asyncio.Event()

    def is_empty(self) -> bool:
        self.looked.set()
        return self.left == 0

    async def look(self) -> None:
        self.looked.clear()
        self.drain.on_event(RoomOpened("x"), None)
        await asyncio.wait_for(self.looked.wait(), 90)


async def test_it_is_over_when_nothing_is_left() -> None:
    rig = Rig()
    over = asyncio.create_task(rig.drain.over(rig.is_empty))
    await asyncio.sleep(0)
    assert (rig.drain.begun, rig.drain.until, rig.looked.is_set()) == (False, None, False)
    rig.drain.begin(60.0)
    rig.drain.begin(1.0)
    assert (rig.drain.begun, rig.drain.until) == (True, 1_700_000_060.0)
    await asyncio.wait_for(rig.looked.wait(), 90)
    rig.left = 1
    await rig.look()
    assert not over.done()
    rig.left = 0
    rig.drain.on_event(RoomOpened("x"), None)
    assert await asyncio.wait_for(over, 90) is True


async def test_its_time_ends_it() -> None:
    rig = Rig()
    rig.drain.begin(60.0)
    over = asyncio.create_task(rig.drain.over(rig.is_empty))
    await asyncio.wait_for(rig.looked.wait(), 90)
    rig.now = Now(159.0, 1_700_000_059.0)
    await rig.look()
    assert not over.done()
    rig.now = Now(160.0, 1_700_000_060.0)
    await rig.look()
    assert await asyncio.wait_for(over, 90) is False


async def test_what_ends_without_an_event_is_seen_too() -> None:
    rig = Rig()
    rig.drain.begin(60.0)
    over = asyncio.create_task(rig.drain.over(rig.is_empty))
    await asyncio.wait_for(rig.looked.wait(), 90)
    rig.left = 0
    assert await asyncio.wait_for(over, 90) is True
