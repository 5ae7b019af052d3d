"""The sans-IO TURN client against the real core, over a wire in virtual time that may lose, repeat and reorder.

`ClientWorld` joins any number of `stun.client.core.ClientCore` with one `tests.support.core_world.World`. Without a
`Weather` a frame arrives the moment it is sent. `Script` is the other half: a server of a few lines that a test bends.
"""

import heapq
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any

from auth.keys import long_term_key_md5, long_term_key_sha256
from stun import attributes as a
from stun.address import Address
from stun.attributes import AlgorithmValue, ErrorValue
from stun.client.authentication import Login
from stun.client.core import ClientCore, ClientOptions
from stun.client.events import ClientEvent
from stun.constants import MessageClass, Method, PasswordAlgorithm
from stun.demux import is_stun
from stun.message import Message, MessageBuilder
from tests.support.core_world import REALM, SERVER, World, deterministic_entropy
from turnserver.core.types import ClientTransport, FiveTuple, RelayId

__all__ = ["LOGIN", "ClientWorld", "Party", "Script", "Weather", "first"]

LOGIN = Login("alice", "secret")


@dataclass
class Weather:
    """What happens to frames on the way; chances from 0 to 1, delays in seconds."""

    random: Random
    loss: float = 0.0
    duplication: float = 0.0
    delay: float = 0.0

    def arrivals(self) -> list[float]:
        """The delay of each copy that arrives."""
        if self.random.random() < self.loss:
            return []
        copies = 2 if self.random.random() < self.duplication else 1
        return [self.random.random() * self.delay for _ in range(copies)]


@dataclass(eq=False)
class Party:
    """One client and its 5-tuple; ``events`` is all that it has told, ``sent`` all frames that it has sent."""

    world: "ClientWorld"
    core: ClientCore
    path: FiveTuple
    events: list[ClientEvent] = field(default_factory=list)
    sent: list[bytes] = field(default_factory=list)

    @property
    def now(self) -> float:
        """The world's monotonic clock."""
        return self.world.now

    @property
    def relays(self) -> list[RelayId]:
        """The relays of this client's allocation, as the server has them."""
        allocation = self.world.server.core.state.allocation(self.path)
        return [] if allocation is None else [relay.id for relay in allocation.relays]

    def requests(self, method: Method) -> list[Message]:
        """The requests of a method that it has sent, retransmissions included."""
        found = [Message.decode(frame) for frame in self.sent if is_stun(frame)]
        return [each for each in found if each.method == method and each.message_class is MessageClass.REQUEST]

    def told(self, kind: type) -> list[Any]:
        """The events of one kind."""
        return [event for event in self.events if isinstance(event, kind)]


class ClientWorld:
    """Clients, a wire, a server, and one clock for all."""

    def __init__(self, server: World | None = None, weather: Weather | None = None) -> None:
        self.server = server or World()
        self.weather = weather
        self.parties: list[Party] = []
        self.blocked = False
        """While True nothing arrives anywhere."""
        self._under_way: list[tuple[float, int, Callable[[], None]]] = []
        self._serial = 0

    @property
    def now(self) -> float:
        """The monotonic clock, in seconds."""
        return self.server.now.mono

    def client(
        self,
        *,
        login: Login | None = LOGIN,
        transport: ClientTransport = ClientTransport.UDP,
        host: str = "192.0.2.10",
        **options: Any,
    ) -> Party:
        """A client on a 5-tuple of its own; ``options`` are those of `ClientOptions`."""
        number = len(self.parties) + 1
        core = ClientCore(
            deterministic_entropy(f"client {number}".encode()),
            login=login,
            reliable=transport.padded,
            options=ClientOptions(**options),
        )
        path = FiveTuple(transport, Address.parse(host, 40000 + number), SERVER, 0, number if transport.padded else 0)
        party = Party(self, core, path)
        self.parties.append(party)
        return party

    def run(self) -> None:
        """Let everything happen that happens now."""
        while True:
            for party in self.parties:
                self._collect(party)
            if not self._under_way or self._under_way[0][0] > self.now:
                return
            heapq.heappop(self._under_way)[2]()

    def advance(self, seconds: float) -> None:
        """Turn the clock, stopping wherever a client, the server or a frame on the wire has something to do."""
        end = self.now + seconds
        self.run()
        while True:
            moments = [party.core.deadline() for party in self.parties]
            moments.append(self._under_way[0][0] if self._under_way else None)
            moment = min([each for each in moments if each is not None], default=end)
            self.server.advance(max(0.0, min(moment, end) - self.now))
            for party in self.parties:
                deadline = party.core.deadline()
                if deadline is not None and deadline <= self.now:
                    party.core.expire(self.now)
                    after = party.core.deadline()
                    assert after is None or after > self.now, "a deadline that does not move would be a busy loop"
            self.run()
            if self.now >= end:
                return

    def peer_sends(self, party: Party, peer: Address, data: bytes) -> None:
        """A peer sends a datagram to a client's relay."""
        self.server.peer_sends(party.relays[0], peer, data)
        self.run()

    def _collect(self, party: Party) -> None:
        for frame in party.core.frames():
            party.sent.append(frame)
            self._post(lambda frame=frame: self._at_server(party, frame))  # type: ignore[misc]
        for frame in self.server.to_clients.pop(party.path, []):
            self._post(lambda frame=frame: party.core.receive(frame, self.now))  # type: ignore[misc]
        party.events += party.core.events()

    def _at_server(self, party: Party, frame: bytes) -> None:
        self.server.core.client_frame(party.path, frame, self.server.now)
        self.server.run()

    def _post(self, arrive: Callable[[], None]) -> None:
        if self.blocked:
            return
        for delay in [0.0] if self.weather is None else self.weather.arrivals():
            self._serial += 1
            heapq.heappush(self._under_way, (self.now + delay, self._serial, arrive))


def first(core: ClientCore) -> Message:
    """The one request that the client has just sent."""
    (frame,) = core.frames()
    return Message.decode(frame)


@dataclass
class Script:
    """Answers of a server, right or wrong, made by hand: each method gives the bytes of one."""

    realm: str = REALM
    nonce: bytes = b"n0nce"
    offered: tuple[AlgorithmValue, ...] | None = None
    login: Login = LOGIN

    def challenge(self, request: Message, code: int = 401, **changes: Any) -> bytes:
        """A 401 or 438; ``realm``, ``nonce`` and ``offered`` may be changed, or left out with None."""
        realm, nonce = changes.get("realm", self.realm), changes.get("nonce", self.nonce)
        offered = changes.get("offered", self.offered)
        builder = self._error(request, code)
        if realm is not None:
            builder.add(a.REALM, realm)
        if nonce is not None:
            builder.add(a.NONCE, nonce)
        if offered is not None:
            builder.add(a.PASSWORD_ALGORITHMS, offered)
        return builder.build()

    def error(self, request: Message, code: int, *attributes: Any, signed: bool = True, reason: str = "") -> bytes:
        """An error response."""
        builder = self._error(request, code, reason)
        return self._close(request, builder, attributes, signed)

    def success(self, request: Message, *attributes: Any, signed: bool = True) -> bytes:
        """A success response."""
        builder = MessageBuilder(request.method, MessageClass.SUCCESS, request.transaction_id)
        return self._close(request, builder, attributes, signed)

    def key(self, request: Message) -> bytes:
        """The key that the request was signed with, if it was by the right user."""
        algorithm = request.first(a.PASSWORD_ALGORITHM)
        sha256 = algorithm is not None and algorithm.number == PasswordAlgorithm.SHA256
        derive = long_term_key_sha256 if sha256 else long_term_key_md5
        return derive(self.login.username, request.first(a.REALM) or self.realm, self.login.password)

    def _error(self, request: Message, code: int, reason: str = "") -> MessageBuilder:
        builder = MessageBuilder(request.method, MessageClass.ERROR, request.transaction_id)
        return builder.add(a.ERROR_CODE, ErrorValue(code, reason))

    def _close(self, request: Message, builder: MessageBuilder, attributes: Any, signed: bool) -> bytes:
        for spec, value in attributes:
            builder.add(spec, value)
        if signed and request.has(a.MESSAGE_INTEGRITY_SHA256):
            builder.integrity_sha256(self.key(request))
        elif signed and request.has(a.MESSAGE_INTEGRITY):
            builder.integrity(self.key(request))
        return builder.fingerprint().build()
