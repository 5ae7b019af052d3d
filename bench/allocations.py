"""Many allocations held at once: how fast they are made, what each costs in memory, and that relaying still works.

The clients are one process with one socket per allocation, so every allocation has a 5-tuple of its own. Their ports
lie on loopback addresses of their own and below the relay range, so they cannot take a port the server needs.
"""

import contextlib
import errno
import gc
import os
import resource
import select
import socket
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from heapq import heappop, heappush
from multiprocessing.connection import Connection
from typing import Any

from bench.flows import PEER_HOST, UdpLeg, explain
from bench.offspring import Offspring
from bench.plan import BenchError, Plan
from bench.servers import LOGIN, SERVERS
from bench.turn import CHANNEL, Control
from stun.address import Address
from stun.client.authentication import Login
from stun.errors import StunError

__all__ = ["AllocationSample", "measure_allocations", "raise_descriptor_limit"]

_AT_ONCE = 64  # allocations under way
_POLL_SECONDS = 0.1
_DEADLINE_SECONDS = 120.0
_REQUESTS = 2  # requests per allocation: one without credentials, and one after the challenge
_SETTLE_SECONDS = 0.5
_SAMPLE = 64  # allocations that are given a channel afterwards
_PACKETS = 20  # round trips over each of them
_PORTS = range(10_000, 30_000)  # below both the ephemeral and the relay range
_SPARE_DESCRIPTORS = 256
_ECHO_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class _Order:
    """What the client process is to do."""

    count: int
    server: tuple[str, int]
    login: Login
    cpus: frozenset[int] | None


@dataclass(frozen=True, slots=True)
class AllocationSample:
    """One server with many allocations; RSS in bytes, times in seconds, CPU per allocation in microseconds."""

    server: str
    round: int
    allocations: int
    distinct_relays: int
    seconds: float
    per_second: float
    server_cpu_us_per_allocation: float
    load_cpu_us_per_allocation: float
    retransmissions: int
    rss_before: int
    rss_after: int
    rss_per_allocation: float
    relayed_sent: int
    relayed_returned: int

    def to_json(self) -> dict[str, Any]:
        """Plain values for the result file."""
        return asdict(self)


def raise_descriptor_limit(wanted: int) -> int:
    """Raise the soft (and, where allowed, the hard) limit of open files; return what this process may have now.

    Processes that are started afterwards, including the server, inherit it.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft >= wanted:
        return soft
    for limit in ((wanted, max(wanted, hard)), (min(wanted, hard), hard)):
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, limit)
            break
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def measure_allocations(plan: Plan, server_name: str, number: int) -> AllocationSample:
    """Start the server, hold ``plan.allocations`` on it, relay over some of them, stop it.

    Raises :class:`BenchError` when the limit of open files is too low, or server or clients fail.
    """
    wanted = plan.allocations + _SPARE_DESCRIPTORS
    allowed = raise_descriptor_limit(wanted)
    if allowed < wanted:
        raise BenchError(f"{plan.allocations} allocations need {wanted} open files; this machine allows {allowed}")
    with SERVERS[server_name](plan.cores.server) as server:
        order = _Order(plan.allocations, server.address("udp"), LOGIN, plan.cores.load)
        with Offspring(_run_clients, order, server.check) as clients:
            clients.expect("ready", _DEADLINE_SECONDS)
            rss_before, cpu_before = server.resident_bytes(), server.cpu_seconds()
            clients.send("go")
            report = clients.expect("allocated", _DEADLINE_SECONDS + 5)
            cpu_after = server.cpu_seconds()
            time.sleep(_SETTLE_SECONDS)
            rss_after = server.resident_bytes()
            clients.send("relay")
            sent, returned = clients.expect("relayed", _DEADLINE_SECONDS)
            server.check()
    count = plan.allocations
    return AllocationSample(
        server=server_name,
        round=number,
        allocations=count,
        distinct_relays=report["distinct"],
        seconds=report["seconds"],
        per_second=count / report["seconds"],
        server_cpu_us_per_allocation=(cpu_after - cpu_before) / count * 1e6,
        load_cpu_us_per_allocation=report["cpu"] / count * 1e6,
        retransmissions=report["retransmissions"],
        rss_before=rss_before,
        rss_after=rss_after,
        rss_per_allocation=(rss_after - rss_before) / count,
        relayed_sent=sent,
        relayed_returned=returned,
    )


def _run_clients(order: _Order, pipe: Connection) -> None:
    """The main function of the client process; every failure is reported over *pipe*."""
    gc.disable()
    if order.cpus is not None:
        os.sched_setaffinity(0, order.cpus)
    try:
        with contextlib.ExitStack() as stack:
            places = _places()
            connections = [
                stack.enter_context(_connect(order.server, places)) for _ in range(order.count + 1)
            ]  # one more, to exclude what the server creates only for its first client
            _Crowd(connections[:1], order.login).allocate()
            pipe.send(("ready", None))
            pipe.recv()
            crowd = _Crowd(connections[1:], order.login)
            pipe.send(("allocated", crowd.allocate()))
            pipe.recv()
            pipe.send(("relayed", crowd.relay_over_sample()))
    except OSError as error:
        _tell(pipe, explain(error))
    except (BenchError, StunError) as error:
        _tell(pipe, str(error))
    except (EOFError, KeyboardInterrupt):
        pass  # the benchmark process has ended or is ending


def _places() -> Iterator[tuple[str, int]]:
    """Addresses for client sockets: a range of ports on each of several loopback addresses."""
    for host in range(1, 255):
        for port in _PORTS:
            yield f"127.0.1.{host}", port


def _connect(server: tuple[str, int], places: Iterator[tuple[str, int]]) -> socket.socket:
    """A client socket at the next place that is free."""
    for place in places:
        try:
            return UdpLeg().connect(server, place)
        except OSError as error:
            if error.errno != errno.EADDRINUSE:  # another socket has this port on all addresses
                raise
    raise BenchError("no free client ports left")


class _Crowd:
    """Clients that make an allocation each, a limited number at a time."""

    def __init__(self, connections: list[socket.socket], login: Login) -> None:
        self._connections = connections
        self._controls = [Control(login, reliable=False) for _ in connections]

    def allocate(self) -> dict[str, Any]:
        """Make every allocation and hold it; return seconds, distinct relays, retransmissions, CPU seconds."""
        began, cpu = time.monotonic(), time.process_time()
        waiting: list[tuple[float, int]] = []  # (when to look again, client), the earliest first
        done: set[int] = set()
        following = iter(range(len(self._connections)))
        by_descriptor = {connection.fileno(): place for place, connection in enumerate(self._connections)}
        with select.epoll() as epoll:

            def begin() -> None:
                client = next(following, None)
                if client is None:
                    return
                epoll.register(self._connections[client].fileno(), select.EPOLLIN)
                self._connections[client].setblocking(False)
                self._controls[client].allocate()
                heappush(waiting, (self._send(client), client))

            for _ in range(_AT_ONCE):
                begin()
            while len(done) < len(self._connections):
                for descriptor, _ in epoll.poll(_POLL_SECONDS):
                    client = by_descriptor[descriptor]
                    if self._controls[client].feed(self._connections[client].recv(2048)):
                        epoll.unregister(descriptor)
                        done.add(client)
                        begin()
                    else:
                        self._send(client)
                self._look_again(waiting, done)
                if time.monotonic() > began + _DEADLINE_SECONDS:
                    raise BenchError(f"{len(done)} allocations after {_DEADLINE_SECONDS:.0f} s; the rest is missing")
        return {
            "seconds": time.monotonic() - began,
            "distinct": len({control.relayed for control in self._controls}),
            "retransmissions": sum(control.transmissions - _REQUESTS for control in self._controls),
            "cpu": time.process_time() - cpu,
        }

    def _send(self, client: int) -> float:
        """Send what a client has to send; when to look again."""
        control = self._controls[client]
        for frame in control.frames():
            self._connections[client].send(frame)
        return control.deadline

    def _look_again(self, waiting: list[tuple[float, int]], done: set[int]) -> None:
        """Retransmit overdue requests."""
        now = time.monotonic()
        while waiting and waiting[0][0] <= now:
            _, client = heappop(waiting)
            if client not in done:
                heappush(waiting, (self._send(client), client))

    def relay_over_sample(self) -> tuple[int, int]:
        """Bind channels on some of the allocations, evenly spread, and send packets to a peer that returns them.

        Returns how many round trips were begun and how many came back whole.
        """
        leg = UdpLeg()
        step = max(1, len(self._connections) // _SAMPLE)
        sent = returned = 0
        for client in range(0, len(self._connections), step)[:_SAMPLE]:
            connection, control = self._connections[client], self._controls[client]
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
                peer.bind((PEER_HOST, 0))
                peer.settimeout(_ECHO_SECONDS)
                control.bind(CHANNEL, Address.parse(*peer.getsockname()))
                leg.transact(connection, control)
                connection.settimeout(_ECHO_SECONDS)
                for number in range(_PACKETS):
                    sent += 1
                    returned += _echo(connection, peer, leg.frame(CHANNEL, f"{client}:{number}".encode().ljust(160)))
        return sent, returned


def _echo(connection: socket.socket, peer: socket.socket, frame: bytes) -> bool:
    """Send one packet to the peer and back; returns whether it came back unchanged."""
    try:
        connection.send(frame)
        data, relay = peer.recvfrom(2048)
        peer.sendto(data, relay)
        return connection.recv(2048) == frame
    except TimeoutError:
        return False


def _tell(pipe: Connection, text: str) -> None:
    """Report a failure, unless the other end has gone."""
    with contextlib.suppress(OSError):
        pipe.send(("failed", text))
