"""The load of an SFU: one process that has all publishers and receivers of a room.

It is told what to do over a pipe, like the generator of relayed packets (`bench.load`): it says ("ready", seconds of
set-up) when everybody is connected and receives; it hears (start, stop) on the monotonic clock; and it says ("done",
`SfuLoadResult`), or ("failed", text).
"""

import asyncio
import contextlib
import gc
import os
import time
from array import array
from contextlib import AsyncExitStack
from dataclasses import dataclass
from multiprocessing.connection import Connection

from bench.plan import BenchError
from bench.sfu_ends import MediaEnd, Publisher
from bench.sfu_rooms import ROOMS

__all__ = ["SfuLoadResult", "SfuOrder", "run_sfu_load"]

_PROBES = 2
"""Receivers that decrypt what comes: enough samples, and little work."""

_FLOWING_SECONDS = 30.0
_TOGETHER = 5
"""Receivers that connect at the same time."""


@dataclass(frozen=True, slots=True)
class SfuOrder:
    """What the process is to do: ``room`` is the kind of room, ``port`` that of its signaling."""

    room: str
    port: int
    publishers: int
    receivers: int
    cpus: frozenset[int] | None


@dataclass(frozen=True, slots=True)
class SfuLoadResult:
    """Packets of media that publishers sent and receivers got between start and stop; latencies in nanoseconds."""

    sent: int
    received: int
    latencies: "array[int]"


def run_sfu_load(order: SfuOrder, pipe: Connection) -> None:
    """The main function of the process; every failure is reported over *pipe*, nothing is raised."""
    # A pause of the collector in the generator would be measured as latency of the server.
    gc.disable()
    if order.cpus is not None:
        os.sched_setaffinity(0, order.cpus)
    try:
        asyncio.run(_run(order, pipe))
    except* (BenchError, OSError) as group:
        error = group.exceptions[0]
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        with contextlib.suppress(OSError):
            pipe.send(("failed", str(error) or type(error).__name__))
    except* (EOFError, KeyboardInterrupt):
        pass  # the benchmark process has ended


async def _run(order: SfuOrder, pipe: Connection) -> None:
    began = time.monotonic()
    publishers = [Publisher(number) for number in range(order.publishers)]
    receivers = [MediaEnd(probing=number < _PROBES) for number in range(order.receivers)]
    async with AsyncExitStack() as stack:
        for end in [*receivers, *(each.connection for each in publishers)]:
            stack.callback(end.close)
        room = await stack.enter_async_context(ROOMS[order.room](order.port))
        for publisher in publishers:
            await room.publish(publisher)
        for first in range(0, len(receivers), _TOGETHER):
            async with asyncio.TaskGroup() as group:
                for end in receivers[first : first + _TOGETHER]:
                    group.create_task(room.receive(end, len(publishers)))
        for number, publisher in enumerate(publishers):
            publisher.begin(number / len(publishers))
            stack.callback(publisher.end)
        keeper = asyncio.create_task(_keep([*receivers, *(each.connection for each in publishers)], receivers))
        stack.callback(keeper.cancel)
        await _flowing(publishers, receivers)
        pipe.send(("ready", time.monotonic() - began))
        start, stop = await asyncio.to_thread(pipe.recv)
        pipe.send(("done", await _measure(publishers, receivers, start, stop)))


async def _keep(ends: list[MediaEnd], receivers: list[MediaEnd]) -> None:
    """Consent, and reports, once a second."""
    while True:
        for end in ends:
            end.check()
        for end in receivers:
            end.estimate()
        await asyncio.sleep(1.0)


async def _flowing(publishers: list[Publisher], receivers: list[MediaEnd]) -> None:
    """Wait until for a second everybody has got nearly all of what was sent. Raises `BenchError`."""
    give_up = time.monotonic() + _FLOWING_SECONDS
    while True:
        sent, before = sum(each.sent for each in publishers), [end.rtp for end in receivers]
        await asyncio.sleep(1.0)
        sent = sum(each.sent for each in publishers) - sent
        least = min(end.rtp - was for end, was in zip(receivers, before, strict=True))
        if least > 0.95 * sent:
            return
        if time.monotonic() > give_up:
            raise BenchError(f"a receiver gets {least} packets a second of {sent}")


async def _measure(publishers: list[Publisher], receivers: list[MediaEnd], start: float, stop: float) -> SfuLoadResult:
    await asyncio.sleep(max(0.0, start - time.monotonic()))
    for end in receivers:
        end.latencies = array("q")
    sent, before = sum(each.sent for each in publishers), [end.rtp for end in receivers]
    await asyncio.sleep(max(0.0, stop - time.monotonic()))
    sent = sum(each.sent for each in publishers) - sent
    got = [end.rtp - was for end, was in zip(receivers, before, strict=True)]
    latencies = array("q")
    for end in receivers:
        latencies.extend(end.latencies)
    return SfuLoadResult(sent, sum(got), latencies)
