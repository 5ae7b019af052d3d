"""The load generator: one process, one epoll, non-blocking sockets, no TURN library on the hot path.

It runs as a process of its own (several when asked), told what to do over a pipe:

    it says ("ready", seconds of set-up) when its flows have their channels;
    it hears (start, stop) on the monotonic clock, runs at once, and counts what arrives between the two;
    it says ("done", LoadResult) after a drain in which nothing is sent, or ("failed", text).
"""

import contextlib
import gc
import os
import select
import time
from array import array
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection

from bench.flows import PACKETS_PER_PEER, Counters, Flow, Peer, explain
from bench.legs import LEGS
from bench.plan import BenchError, Case
from stun.client.authentication import Login
from stun.errors import StunError

__all__ = ["LoadOrder", "LoadResult", "run_load"]

_WATCH_SECONDS = 0.5  # a token that has not moved for at least this long counts as lost
_DRAIN_SECONDS = 0.3  # far above the latency of a full window
_RAMP_BATCH = 16  # first packets sent between two looks at the sockets: no burst a closed loop would never make
_POLL_SECONDS = 0.05
_MAX_EVENTS = 256


@dataclass(frozen=True, slots=True)
class LoadOrder:
    """What one generator process is to do."""

    case: Case
    first_flow: int
    flows: int
    server: tuple[str, int]
    login: Login
    cpus: frozenset[int] | None


@dataclass(frozen=True, slots=True)
class LoadResult:
    """What one generator process saw: packets inside the window, and totals from first send to the end of the drain."""

    at_peer: int
    at_client: int
    latencies: "array[int]"
    sent_total: int
    received_total: int
    replaced: int
    late: int
    corrupt: int


def run_load(order: LoadOrder, pipe: Connection) -> None:
    """The main function of the generator process; every failure is reported over *pipe*, nothing is raised."""
    # A pause of the collector in the generator would be measured as latency of the server.
    gc.disable()
    if order.cpus is not None:
        os.sched_setaffinity(0, order.cpus)
    generator = _Generator(order)
    try:
        began = time.monotonic()
        generator.open()
        pipe.send(("ready", time.monotonic() - began))
        start, stop = pipe.recv()
        pipe.send(("done", generator.run(start, stop)))
    except OSError as error:
        _tell(pipe, explain(error))
    except (BenchError, StunError) as error:
        _tell(pipe, str(error))
    except (EOFError, KeyboardInterrupt):
        pass  # the benchmark process has ended
    finally:
        generator.close()


class _Generator:
    """The flows of one process and the loop that turns them."""

    def __init__(self, order: LoadOrder) -> None:
        self._order = order
        self._counters = Counters()
        self._epoll = select.epoll()
        self._readers: dict[int, Callable[[], None]] = {}
        self._replaced = 0
        leg = LEGS[order.case.transport]()
        numbers = range(order.first_flow, order.first_flow + order.flows)
        self._peers: list[Peer] = []
        self._flows = [Flow(leg, number, order.case.in_flight, order.case.payload) for number in numbers]

    def open(self) -> None:
        """Set every flow up, one after the other."""
        case = self._order.case
        for place, flow in enumerate(self._flows):
            if place * case.in_flight >= len(self._peers) * PACKETS_PER_PEER:
                peer = Peer(case.payload, self._counters)
                self._peers.append(peer)
                self._watch(peer.socket.fileno(), peer.read)
            flow.open(self._order.server, self._order.login, self._peers[-1].address)
            self._watch(flow.client.fileno(), flow.leg.reader(flow, self._counters))

    def close(self) -> None:
        """Close every socket; the allocations end with their server."""
        for flow in self._flows:
            flow.close()
        for peer in self._peers:
            peer.close()
        self._epoll.close()

    def run(self, start: float, stop: float) -> LoadResult:
        """Warm up until *start*, measure until *stop* (monotonic seconds), drain."""
        counters = self._counters
        self._ramp_up()
        self._turn_until(start)
        counters.latencies = array("q")
        at_peer, at_client = counters.at_peer, counters.at_client
        self._turn_until(stop)
        at_peer, at_client = counters.at_peer - at_peer, counters.at_client - at_client
        latencies = counters.latencies
        counters.latencies = array("q")
        counters.resend = False
        self._turn_until(time.monotonic() + _DRAIN_SECONDS)
        return LoadResult(
            at_peer=at_peer,
            at_client=at_client,
            latencies=latencies,
            sent_total=counters.sent_by_client + counters.sent_by_peer,
            received_total=counters.at_peer + counters.at_client,
            replaced=self._replaced,
            late=counters.late,
            corrupt=counters.corrupt,
        )

    def _watch(self, descriptor: int, reader: Callable[[], None]) -> None:
        """Call *reader* whenever the descriptor is readable."""
        self._epoll.register(descriptor, select.EPOLLIN)
        self._readers[descriptor] = reader

    def _ramp_up(self) -> None:
        """Bring the packets into flight a few at a time, first tokens of all flows first."""
        starts = [flow.start() for flow in self._flows]
        pending = 0
        while starts:
            still = []
            for step in starts:
                if next(step, self) is self:
                    continue
                still.append(step)
                self._counters.sent_by_client += 1
                pending += 1
                if pending % _RAMP_BATCH == 0:
                    self._poll(0.001)
            starts = still

    def _turn_until(self, end: float) -> None:
        """Run the loop until the monotonic clock says *end*."""
        clock = time.monotonic
        watch = clock() + _WATCH_SECONDS
        while (now := clock()) < end:
            if now >= watch:
                self._replace_lost()
                watch = now + _WATCH_SECONDS
            self._poll(min(_POLL_SECONDS, end - now))

    def _poll(self, seconds: float) -> None:
        """One look at the sockets."""
        readers = self._readers
        for descriptor, _ in self._epoll.poll(seconds, _MAX_EVENTS):
            readers[descriptor]()

    def _replace_lost(self) -> None:
        """Put new tokens where the server has dropped one, so the number in flight stays what the case says."""
        if not self._counters.resend:
            return
        for flow in self._flows:
            for frame in flow.replace_lost():
                with contextlib.suppress(BlockingIOError):
                    flow.client.send(frame)
                    self._counters.sent_by_client += 1
                self._replaced += 1


def _tell(pipe: Connection, text: str) -> None:
    """Report a failure, unless the other end has gone."""
    with contextlib.suppress(OSError):
        pipe.send(("failed", text))
