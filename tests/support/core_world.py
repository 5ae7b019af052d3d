"""A whole TURN world in virtual time: one real core, a shell that does what it says, and clients that speak STUN.

Nothing here mocks the core: a `ScriptedClient` builds real messages with the codec, and `World` plays the engine,
opening relays in memory. The clock moves only when a test says so.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from auth.keys import long_term_key_md5, long_term_key_sha256
from auth.nonce import NonceIssuer
from auth.source import CredentialSource, StaticUsers
from auth.types import PENDING, Pending
from stun import attributes as a
from stun.address import Address
from stun.attributes import AttributeType
from stun.client.authentication import AuthSession, Login
from stun.constants import MessageClass, Method, PasswordAlgorithm
from stun.message import Message, MessageBuilder
from tests.support.core_settings import core_settings
from turnserver.config import LimitsConfig
from turnserver.core import commands as c
from turnserver.core.events import AllocationEnded, Event
from turnserver.core.policy import PeerPolicy
from turnserver.core.server import TurnCore
from turnserver.core.settings import CoreBounds, OwnAddresses, RelayAddress
from turnserver.core.types import ClientTransport, FiveTuple, Now, PortRange, RelayFailure, RelayId, Route

__all__ = [
    "PEER",
    "PEER6",
    "REALM",
    "RELAY",
    "RELAY6",
    "SERVER",
    "SOFTWARE",
    "ScriptedClient",
    "SlowSource",
    "World",
    "appended",
    "code_of",
    "deterministic_entropy",
    "names_of",
]

REALM = "example.org"
SOFTWARE = "meshturn test"
SERVER = Address.parse("198.51.100.1", 3478)
RELAY = Address.parse("198.51.100.1", 0).ip
RELAY6 = Address.parse("2001:db8::1", 0).ip
PEER = Address.parse("8.8.8.8", 5000)
PEER6 = Address.parse("2a00::8", 5000)

Attribute = tuple[AttributeType[Any], Any]


def deterministic_entropy(seed: bytes = b"seed") -> Any:
    """A stream of bytes that looks random and is the same in every run."""
    counter = 0

    def draw(size: int) -> bytes:
        nonlocal counter
        out = b""
        while len(out) < size:
            out += hashlib.sha256(seed + counter.to_bytes(8, "big")).digest()
            counter += 1
        return out[:size]

    return draw


@dataclass(eq=False)
class World:
    """One core and its shell. ``bound`` are the relays open now; ``unbindable`` are ports and IPs that fail to bind."""

    users: Mapping[str, str] = field(default_factory=lambda: {"alice": "secret", "bob": "hunter2"})
    source: CredentialSource | None = None
    relays: tuple[RelayAddress, ...] = (RelayAddress(RELAY, RELAY), RelayAddress(RELAY6, RELAY6))
    ports: PortRange = field(default_factory=lambda: PortRange(49152, 65535))
    limits: LimitsConfig = field(default_factory=LimitsConfig)
    bounds: CoreBounds = field(default_factory=CoreBounds)
    policy: PeerPolicy | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Options of the configuration, by their names alone."""
    automatic: bool = True
    """Answer OpenRelay at once; otherwise the test calls `settle`."""

    def __post_init__(self) -> None:
        given = {"realm": REALM, "software": SOFTWARE, "ports": self.ports, "limits": self.limits, **self.settings}
        self.nonces = NonceIssuer([b"k" * 32])
        self.core = TurnCore(
            core_settings(**given),
            OwnAddresses(self.relays, (SERVER,)),
            self.source or StaticUsers(self.users),
            self.nonces,
            deterministic_entropy(),
            bounds=self.bounds,
        )
        if self.policy is not None:
            self.core.state.policy = self.policy
        self.now = Now(1000.0, 1_700_000_000.0)
        self.bound: dict[RelayId, Address] = {}
        self.unbindable: set[int | bytes] = set()
        self.failing: dict[bytes, RelayFailure] = {}
        """IPs on which no relay opens, and why."""
        self.waiting: list[RelayId] = []
        self.routes: dict[tuple[FiveTuple, int], Route] = {}
        self.allowed: dict[tuple[RelayId, bytes], float] = {}
        self.to_clients: dict[FiveTuple, list[bytes]] = {}
        self.to_peers: list[c.SendToPeer] = []
        self.lookups: list[c.FindCredential] = []
        self.cancelled: list[int] = []
        self.closed_clients: list[FiveTuple] = []
        self.kept: set[FiveTuple] = set()
        """Clients to whom an allocation is moving, or has moved."""
        self.events: list[Event] = []
        self.log: list[c.Command] = []

    # The shell

    def run(self) -> None:
        """Carry out commands until there are none."""
        while queue := self.core.commands():
            for command in queue:
                self.log.append(command)
                self._do(command)
        events = self.core.events()
        self.kept -= {event.client for event in events if isinstance(event, AllocationEnded)}
        self.events += events

    def _do(self, command: c.Command) -> None:
        match command:
            case c.SendToClient(client, frame):
                self.to_clients.setdefault(client, []).append(frame)
            case c.SendToPeer():
                self.to_peers.append(command)
            case c.OpenRelay(relay, bind):
                self._open(relay, bind)
            case c.CloseRelay(relay):
                self.bound.pop(relay, None)
                self.routes = {key: route for key, route in self.routes.items() if route.relay != relay}
                self.allowed = {key: until for key, until in self.allowed.items() if key[0] != relay}
            case c.AddRoute(route):
                self.routes[route.client, route.channel] = route
            case c.RemoveRoute(client, channel, _):
                self.routes.pop((client, channel), None)
            case c.AllowPeer(relay, ip, until):
                self.allowed[relay, ip] = until
            case c.ForbidPeer(relay, ip):
                self.allowed.pop((relay, ip), None)
            case c.FindCredential():
                self.lookups.append(command)
            case c.CancelLookup(ticket):
                assert ticket in {lookup.ticket for lookup in self.lookups}
                self.cancelled.append(ticket)
            case c.CloseClient(client):
                self.closed_clients.append(client)
            case c.KeepClient(client, on):
                (self.kept.add if on else self.kept.discard)(client)

    def _open(self, relay: RelayId, bind: Address) -> None:
        assert bind not in self.bound.values(), "a port was given out twice"
        self.bound[relay] = bind
        if self.automatic:
            self._settle(relay)
        else:
            self.waiting.append(relay)

    def _settle(self, relay: RelayId) -> None:
        bound = self.bound.get(relay)
        if bound is not None and bound.ip in self.failing:
            del self.bound[relay]
            self.core.relay_failed(relay, self.now, self.failing[bound.ip])
        elif relay in self.bound and not self.unbindable.isdisjoint(self.bound[relay]):
            del self.bound[relay]
            self.core.relay_failed(relay, self.now)
        else:
            self.core.relay_opened(relay, self.now)

    def settle(self) -> None:
        """Answer every waiting OpenRelay, in order: by success, unless its port is unbindable."""
        while self.waiting:
            self._settle(self.waiting.pop(0))
            self.run()

    def take(self) -> list[c.Command]:
        """What has been commanded since the last call, in order."""
        log, self.log = self.log, []
        return log

    def take_events(self) -> list[Event]:
        """What has happened since the last call, in order."""
        events, self.events = self.events, []
        return events

    def assert_nothing_left(self) -> None:
        """No table has anything in it, nothing is counted, and the shell holds nothing open."""
        state = self.core.state
        assert (state.allocations, state.by_relay, state.by_serial, state.by_user) == ({}, {}, {}, {})
        assert (state.reservations, state.openings, state.opening_relays) == ({}, {}, {})
        assert state.quota.total == 0
        assert not any(ports.used for ports in state.ports.values())
        assert (self.bound, self.routes, self.allowed) == ({}, {}, {})

    def advance(self, seconds: float) -> None:
        """Turn the clock, stopping at every deadline on the way as the engine's timer would."""
        end = self.now.mono + seconds
        while (deadline := self.core.deadline()) is not None and deadline <= end:
            self._turn_to(max(deadline, self.now.mono))
            self.core.expire(self.now)
            self.run()
        self._turn_to(end)

    def _turn_to(self, mono: float) -> None:
        self.now = Now(mono, self.now.wall + mono - self.now.mono)

    # The world around

    def client(self, host: str = "192.0.2.10", port: int = 40000, **options: Any) -> "ScriptedClient":
        """A client at an address; ``user`` and ``password`` default to alice's."""
        return ScriptedClient(self, Address.parse(host, port), **options)

    def feed(self, client: FiveTuple, frame: bytes) -> list[bytes]:
        """One frame from a client; gives what was sent back to it."""
        self.to_clients.pop(client, None)
        self.core.client_frame(client, frame, self.now)
        self.run()
        return self.to_clients.pop(client, [])

    def peer_sends(self, relay: RelayId, peer: Address, data: bytes) -> None:
        """A datagram from a peer (as on the wire) to a relay."""
        self.core.peer_datagram(relay, peer, data, self.now)
        self.run()


class ScriptedClient:
    """One client's 5-tuple and what it has learnt: realm, nonce, and whether to use SHA-256."""

    def __init__(
        self,
        world: World,
        address: Address,
        *,
        user: str = "alice",
        password: str = "secret",
        transport: ClientTransport = ClientTransport.UDP,
        sha256: bool = False,
        serial: int = 0,
    ) -> None:
        self.world = world
        self.path = FiveTuple(transport, address, SERVER, 0, serial)
        self.user = user
        self.password = password
        self.sha256 = sha256
        self.algorithm = PasswordAlgorithm.SHA256 if sha256 else PasswordAlgorithm.MD5
        self.nonce: bytes | None = None
        self.anonymous = False
        """Send a USERHASH in place of the USERNAME (RFC 8489 §14.4)."""
        self._serial = 0

    def transaction_id(self) -> bytes:
        """A new one each time, unlike any other client's."""
        self._serial += 1
        return hashlib.sha256(f"{self.path}{self.user}{self._serial}".encode()).digest()[:12]

    @property
    def session(self) -> AuthSession:
        """What the TURN client would know by now, and sign with."""
        assert self.nonce is not None, "no challenge answered yet"
        offered = (a.AlgorithmValue(PasswordAlgorithm.SHA256), a.AlgorithmValue(PasswordAlgorithm.MD5))
        chosen = a.AlgorithmValue(self.algorithm)
        known = (offered, chosen) if self.sha256 else (None, None)
        return AuthSession(
            Login(self.user, self.password), REALM, self.nonce, *known, anonymous=self.anonymous, key=self.key
        )

    @property
    def key(self) -> bytes:
        """The long-term key for the chosen password algorithm."""
        derive = long_term_key_sha256 if self.algorithm is PasswordAlgorithm.SHA256 else long_term_key_md5
        return derive(self.user, REALM, self.password)

    def build(
        self,
        method: int,
        attributes: Sequence[Attribute] = (),
        *,
        signed: bool = True,
        transaction: bytes | None = None,
    ) -> bytes:
        """A request, with the long-term credential unless ``signed`` is off."""
        builder = MessageBuilder(method, MessageClass.REQUEST, transaction or self.transaction_id())
        for spec, value in attributes:
            builder.add(spec, value)
        if not signed:
            return builder.build()
        return self.session.sign(builder).build()

    def send(self, frame: bytes) -> Message:
        """Send a request; exactly one answer must come back."""
        answers = self.world.feed(self.path, frame)
        assert len(answers) == 1, f"{len(answers)} answers"
        answer = Message.decode(answers[0])
        assert answer.transaction_id == frame[8:20]
        return answer

    def challenge(self) -> Message:
        """Ask without credentials and learn the nonce."""
        answer = self.send(self.build(Method.ALLOCATE, [(a.REQUESTED_TRANSPORT, 17)], signed=False))
        assert code_of(answer) == 401
        self.nonce = answer.first(a.NONCE)
        return answer

    def request(self, method: int, *attributes: Attribute) -> Message:
        """A signed request and its answer; asks for a nonce first if there is none."""
        if self.nonce is None:
            self.challenge()
        return self.send(self.build(method, attributes))

    def allocate(self, *attributes: Attribute) -> Message:
        """Allocate a UDP relay."""
        return self.request(Method.ALLOCATE, (a.REQUESTED_TRANSPORT, 17), *attributes)

    def refresh(self, lifetime: int | None = None, *attributes: Attribute) -> Message:
        """Refresh; ``lifetime`` in seconds."""
        return self.request(Method.REFRESH, *([(a.LIFETIME, lifetime)] if lifetime is not None else []), *attributes)

    def permit(self, *peers: Address) -> Message:
        """CreatePermission."""
        return self.request(Method.CREATE_PERMISSION, *[(a.XOR_PEER_ADDRESS, peer) for peer in peers])

    def bind(self, number: int, peer: Address) -> Message:
        """ChannelBind."""
        return self.request(Method.CHANNEL_BIND, (a.CHANNEL_NUMBER, number), (a.XOR_PEER_ADDRESS, peer))

    def indicate(self, *attributes: Attribute) -> list[c.SendToPeer]:
        """A Send indication; gives what went to peers. Nothing may come back."""
        builder = MessageBuilder(Method.SEND, MessageClass.INDICATION, self.transaction_id())
        for spec, value in attributes:
            builder.add(spec, value)
        return self.indicate_raw(builder.build())

    def indicate_raw(self, frame: bytes) -> list[c.SendToPeer]:
        """Any frame that must not be answered; gives what went to peers."""
        before = len(self.world.to_peers)
        assert self.world.feed(self.path, frame) == []
        return self.world.to_peers[before:]

    @property
    def relay(self) -> RelayId:
        """The first relay of this client's allocation."""
        return self.relays[0]

    @property
    def relays(self) -> list[RelayId]:
        """The relays of this client's allocation."""
        allocation = self.world.core.state.allocation(self.path)
        return [] if allocation is None else [relay.id for relay in allocation.relays]

    def at(self, host: str, port: int = 40000, **options: Any) -> "ScriptedClient":
        """The same client at another address, with another socket or over another transport; it has a nonce there."""
        moved = ScriptedClient(
            self.world, Address.parse(host, port), user=self.user, password=self.password, sha256=self.sha256, **options
        )
        moved.nonce = self.world.nonces.issue(moved.path.address.pack(), self.world.now.wall, b"\0")
        return moved

    def hears(self) -> list[bytes]:
        """What has been sent to this client since it last looked."""
        return self.world.to_clients.pop(self.path, [])


def code_of(answer: Message) -> int:
    """The error code of an answer; 0 for a success."""
    if answer.message_class == MessageClass.SUCCESS:
        return 0
    error = answer.first(a.ERROR_CODE)
    assert error is not None
    return error.code


def names_of(answer: Message) -> list[str]:
    """The names of an answer's attributes, in order."""
    return [a.REGISTRY[raw.type].name for raw in answer.attributes]


def appended(frame: bytes, number: int, value: bytes) -> bytes:
    """A STUN message with one more attribute at its very end, whatever stands there already."""
    length = int.from_bytes(frame[2:4], "big") + 4 + len(value) + -len(value) % 4
    attribute = number.to_bytes(2, "big") + len(value).to_bytes(2, "big") + value + bytes(-len(value) % 4)
    return frame[:2] + length.to_bytes(2, "big") + frame[4:] + attribute


class SlowSource(CredentialSource):
    """A credential source that has to ask a database for everything; ``asked`` is every question it got."""

    anonymous = True

    def __init__(self) -> None:
        self.asked: list[str | bytes] = []

    def find(self, username: str, realm: str, wall: float) -> Pending:
        """Not yet."""
        self.asked.append(username)
        return PENDING

    def find_by_hash(self, userhash: bytes, realm: str, wall: float) -> Pending:
        """Not yet."""
        self.asked.append(userhash)
        return PENDING
