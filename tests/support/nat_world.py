"""NATs and STUN servers of a few lines, in virtual time, for the tests of NAT behavior discovery.

`NatWorld` carries packets between one host, its NAT and any number of servers. Everything that a NAT may do is a field
of `SimNat`, everything that a server may do wrong one of `SimServer`.
"""

import heapq
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TypeVar

from stun import attributes as a
from stun.address import Address
from stun.attributes import ErrorValue
from stun.client.nat.dialogue import Dialogue
from stun.client.nat.findings import Dependence
from stun.client.nat.steps import Script
from stun.constants import MessageClass
from stun.message import Message, MessageBuilder
from tests.support.core_world import deterministic_entropy

__all__ = ["ALTERNATE", "HOST", "PRIMARY", "SECOND_SERVER", "NatWorld", "SimNat", "SimServer"]

T = TypeVar("T")

PRIMARY = Address.parse("198.51.100.1", 3478)
ALTERNATE = Address.parse("198.51.100.2", 3479)
SECOND_SERVER = Address.parse("192.0.2.7", 3478)
HOST = Address.parse("10.0.0.2", 0)
LATENCY = 0.02
MTU = 1500


@dataclass
class Binding:
    """A mapping: the host's address, and who may come in."""

    inner: Address
    used: float
    peers: set[Address] = field(default_factory=set)


@dataclass
class SimNat:
    """RFC 4787: how it maps and filters; ``mapping`` None is a firewall without translation.

    ``lifetime`` is that of an idle binding. ``blocked`` drops everything; ``loses`` says which packets are lost.
    """

    mapping: Dependence | None = Dependence.ENDPOINT_INDEPENDENT
    filtering: Dependence = Dependence.ADDRESS_AND_PORT_DEPENDENT
    hairpins: bool = False
    lifetime: float = 300.0
    keeps_ports: bool = False
    pool: tuple[str, ...] = ("203.0.113.9",)
    fragments_out: bool = True
    fragments_in: bool = True
    blocked: bool = False
    loses: Callable[[Address, Address, bytes], bool] = lambda source, to, data: False
    rewrites: bool = False
    bindings: dict[Address, Binding] = field(default_factory=dict)
    _by_key: dict[tuple[Address | bytes, ...], Address] = field(default_factory=dict)
    _ports: Iterator[int] = field(default_factory=lambda: itertools.count(20_000))

    def outward(self, source: Address, to: Address, now: float) -> Address:
        """The public address of a packet that goes out."""
        key: tuple[Address | bytes, ...] = (source,)
        if self.mapping is Dependence.ADDRESS_DEPENDENT:
            key = (source, to.ip)
        elif self.mapping is Dependence.ADDRESS_AND_PORT_DEPENDENT:
            key = (source, to)
        public = self._by_key.get(key)
        if public is None or now >= self.bindings[public].used + self.lifetime:
            public = self._by_key[key] = self._draw(source)
            self.bindings[public] = Binding(source, now)
        self.bindings[public].used = now
        self.bindings[public].peers.add(to)
        return public

    def inward(self, source: Address, to: Address, now: float) -> Address | None:
        """The host's address for a packet that comes in; None if it is dropped."""
        binding = self.bindings.get(to)
        if binding is None or now >= binding.used + self.lifetime:
            return None
        match self.filtering:
            case Dependence.ENDPOINT_INDEPENDENT:
                allowed = True
            case Dependence.ADDRESS_DEPENDENT:
                allowed = source.ip in {peer.ip for peer in binding.peers}
            case _:
                allowed = source in binding.peers
        return binding.inner if allowed else None

    def _draw(self, source: Address) -> Address:
        if self.mapping is None:
            return source
        number = next(self._ports)
        return Address.parse(self.pool[number % len(self.pool)], source.port if self.keeps_ports else number)


@dataclass
class SimServer:
    """A server with RFC 5780 at four addresses, unless ``discovers`` is False; the fields bend it."""

    primary: Address = PRIMARY
    alternate: Address = ALTERNATE
    discovers: bool = True
    other: Address | None = None
    """What it says in OTHER-ADDRESS, if that is wrong."""
    obeys_change: bool = True
    obeys_port: bool = True
    refuses: dict[int, int] = field(default_factory=dict)
    """Errors by the attribute that a request has."""
    silent_at: tuple[Address, ...] = ()
    pads: int | None = None
    """Bytes of PADDING in an answer; None for as many as in the request."""
    both_addresses: bool = True
    software: str | None = "sim"

    @property
    def addresses(self) -> set[Address]:
        """Where it receives."""
        if not self.discovers:
            return {self.primary}
        return {Address(ip, port) for ip in self._ips for port in self._ports}

    @property
    def _ips(self) -> tuple[bytes, bytes]:
        return self.primary.ip, self.alternate.ip

    @property
    def _ports(self) -> tuple[int, int]:
        return self.primary.port, self.alternate.port

    def answer(self, at: Address, source: Address, data: bytes) -> tuple[Address, Address, bytes] | None:
        """From where, to where, and what it answers (RFC 5780 §6.1); None for silence."""
        request = Message.decode(data)
        if at in self.silent_at:
            return None
        has = {raw.type for raw in request.attributes}
        known = {a.CHANGE_REQUEST.number, a.PADDING.number, a.RESPONSE_PORT.number} if self.discovers else set()
        refused = {number: 420 for number in has if number < 0x8000 and number not in known} | {
            number: code for number, code in self.refuses.items() if number in has or number == 0
        }
        if refused:
            builder = MessageBuilder(request.method, MessageClass.ERROR, request.transaction_id)
            builder.add(a.ERROR_CODE, ErrorValue(max(refused.values()), "Refused"))
            return at, source, builder.build()
        flags = (request.first(a.CHANGE_REQUEST) or 0) if self.obeys_change else 0
        place = Address(self._change(at.ip, self._ips, flags & 4), self._change(at.port, self._ports, flags & 2))
        if place in self.silent_at:
            return None
        builder = MessageBuilder(request.method, MessageClass.SUCCESS, request.transaction_id)
        builder.add(a.XOR_MAPPED_ADDRESS, source)
        if self.both_addresses:
            builder.add(a.MAPPED_ADDRESS, source)
        if self.discovers:
            other = Address(self._change(at.ip, self._ips, 1), self._change(at.port, self._ports, 1))
            builder.add(a.RESPONSE_ORIGIN, place).add(a.OTHER_ADDRESS, self.other or other)
        padding = request.first(a.PADDING)
        if padding is not None:
            builder.add(a.PADDING, bytes(len(padding) if self.pads is None else self.pads))
        if self.software is not None:
            builder.add(a.SOFTWARE, self.software)
        port = request.first(a.RESPONSE_PORT)
        to = source if port is None or not self.obeys_port else Address(source.ip, port)
        if request.has(a.FINGERPRINT):
            builder.fingerprint()
        return place, to, builder.build()

    @staticmethod
    def _change(now: T, two: tuple[T, T], changed: int) -> T:
        return two[0] if (now == two[1]) == bool(changed) else two[1]


class NatWorld:
    """One host behind one NAT, and servers; the clock moves only here."""

    def __init__(self, nat: SimNat | None = None, *servers: SimServer, reliable: bool = False) -> None:
        self.nat = nat or SimNat()
        self.servers = servers or (SimServer(),)
        self.reliable = reliable
        self.now = 1000.0
        self.sent: list[tuple[float, int, Address, bytes]] = []
        self.notes: list[str] = []
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = itertools.count()

    def local(self, number: int) -> Address:
        """The address of a socket on the host."""
        return HOST._replace(port=40_000 + number)

    def run(self, script: Script[T], *, patience: float = 5.0, limit: float = 20_000.0) -> T:
        """The result of a script."""
        dialogue = self.dialogue = Dialogue(script, deterministic_entropy(), reliable=self.reliable, patience=patience)
        end = self.now + limit
        dialogue.begin(self.now)
        while True:
            for number, to, data in dialogue.outgoing():
                self.sent.append((self.now, number, to, data))
                self._from_host(number, to, data)
            self.notes += dialogue.notes()
            if dialogue.done:
                return dialogue.result
            deadline = dialogue.deadline()
            at = self._events[0][0] if self._events else None
            self.now = min(time for time in (deadline, at) if time is not None)
            assert self.now < end, "a script without end"
            while self._events and self._events[0][0] <= self.now:
                heapq.heappop(self._events)[2]()
            dialogue.expire(self.now)

    def _later(self, action: Callable[[], None]) -> None:
        heapq.heappush(self._events, (self.now + LATENCY, next(self._numbers), action))

    def _from_host(self, number: int, to: Address, data: bytes) -> None:
        nat, source = self.nat, self.local(number)
        if nat.blocked or nat.loses(source, to, data) or (len(data) > MTU and not nat.fragments_out):
            return
        if to in nat.bindings and nat.mapping is not None:
            if nat.hairpins:
                public = nat.outward(source, to, self.now)
                self._later(lambda: self._to_host(public, to, data))
            return
        public = nat.outward(source, to, self.now)
        self._later(lambda: self._at_server(public, to, data))

    def _at_server(self, source: Address, to: Address, data: bytes) -> None:
        for server in self.servers:
            answer = server.answer(to, source, data) if to in server.addresses else None
            if answer is not None:
                self._later(lambda found=answer: self._to_host(*found))  # type: ignore[misc]

    def _to_host(self, source: Address, to: Address, data: bytes) -> None:
        if len(data) > MTU and not self.nat.fragments_in:
            return
        if self.nat.rewrites:
            inner = self.nat.bindings[to].inner if to in self.nat.bindings else to
            data = data.replace(to.pack()[2:], inner.pack()[2:])
        inside = self.nat.inward(source, to, self.now)
        if inside is not None:
            self.dialogue.receive(inside.port - 40_000, source, data, self.now)
