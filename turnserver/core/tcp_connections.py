"""The TCP connections of allocations with their peers (RFC 6062): their table, and when each ends.

States of a connection::

    CONNECTING ──the peer took it──► WAITING ──ConnectionBind──► BOUND ──► gone
        └──refused, or nothing for 30 s──► gone (447)
    a peer connects ───────────────► WAITING ──no ConnectionBind in 30 s──► gone

While a connection is waiting, the shell buffers what the peer sends. Once it is bound, the shell splices it with the
client's data connection, and the core sees none of its bytes. Every end (by either side, the allocation, a timeout, the
peer ACL) goes through `TcpConnections.close`, once.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from stun.address import Address
from stun.constants import TransportProtocol
from turnserver.core.allocation import Allocation, Relay
from turnserver.core.answers import Answering, refuse
from turnserver.core.commands import ClosePeer, Command, ConnectPeer, Splice
from turnserver.core.deadlines import DeadlineKey, DeadlineKind
from turnserver.core.errors import Refusal
from turnserver.core.events import PeerConnectionEnded, PeerConnectionOpened
from turnserver.core.own_relays import OwnRelays, Ways
from turnserver.core.request import Request
from turnserver.core.types import FiveTuple, Now
from turnserver.deadlines import Deadlines
from turnserver.descriptors import Descriptors
from turnserver.reasons import Reason

__all__ = ["ConnectionHost", "ConnectionState", "TcpConnections", "TcpPeerConnection"]


class ConnectionState(Enum):
    """The state of a peer connection."""

    CONNECTING = "connecting"
    WAITING = "waiting"
    BOUND = "bound"


@dataclass(slots=True, eq=False)
class TcpPeerConnection:
    """One connection between a relay and a peer; ``peer`` as the client names it, ``id`` its CONNECTION-ID.

    ``request`` is the Connect that waits for an answer, ``client`` the data connection once it is bound.
    """

    id: int
    allocation: Allocation
    relay: Relay
    peer: Address
    created: float
    state: ConnectionState
    request: Request | None = None
    client: FiveTuple | None = None


class ConnectionHost(Answering, Protocol):
    """What the connections need from the rest of the state; `turnserver.core.state.CoreState` has it."""

    deadlines: Deadlines[DeadlineKey]
    descriptors: Descriptors
    own_relays: OwnRelays

    def command(self, command: Command) -> None:
        """Queue something for the shell to do."""


class TcpConnections:
    """Every peer connection, by CONNECTION-ID, by allocation and peer, and by the client's data connection."""

    def __init__(self, host: ConnectionHost) -> None:
        self._host = host
        self.by_id: dict[int, TcpPeerConnection] = {}
        self.by_client: dict[FiveTuple, TcpPeerConnection] = {}
        self.by_allocation: dict[int, dict[Address, TcpPeerConnection]] = {}
        self._to: Ways[int] = Ways(TransportProtocol.TCP)

    def towards(self, allocation: Allocation, peer: Address) -> TcpPeerConnection | None:
        """The connection of an allocation with a peer: there is never more than one (RFC 6062 §5.2)."""
        return self.by_allocation.get(allocation.serial, {}).get(peer)

    def of(self, allocation: Allocation, relay: Relay | None = None) -> list[TcpPeerConnection]:
        """The connections of an allocation, or of one of its relays."""
        held = self.by_allocation.get(allocation.serial, {}).values()
        return [connection for connection in held if relay is None or connection.relay is relay]

    def full(self, allocation: Allocation) -> bool:
        """Whether the allocation has as many connections as it may have."""
        limit = self._host.settings.limits.tcp_connections_per_allocation
        return len(self.by_allocation.get(allocation.serial, ())) >= limit

    def connect(self, allocation: Allocation, relay: Relay, peer: Address, wire: Address, request: Request) -> None:
        """Begin to connect to a peer, at its address on the wire (RFC 6062 §5.2); the answer comes later."""
        connection = self._enter(allocation, relay, peer, ConnectionState.CONNECTING, request.now)
        connection.request = request
        self._due(connection, request.now, self._host.bounds.connect_timeout)
        self._host.command(ConnectPeer(connection.id, relay.id, wire))

    def connected(self, connection: TcpPeerConnection, now: Now) -> Request | None:
        """The peer accepted the connection; returns the Connect to answer, None if it does not wait any more."""
        request, connection.request = connection.request, None
        self._wait(connection, now, inbound=False)
        return request

    def accepted(self, allocation: Allocation, relay: Relay, peer: Address, now: Now) -> TcpPeerConnection:
        """A peer has connected to a relay (RFC 6062 §5.3)."""
        connection = self._enter(allocation, relay, peer, ConnectionState.WAITING, now)
        self._wait(connection, now, inbound=True)
        return connection

    def bind(self, connection: TcpPeerConnection, client: FiveTuple) -> None:
        """Make ``client`` the data connection of a waiting peer connection (RFC 6062 §5.4)."""
        connection.state = ConnectionState.BOUND
        connection.client = client
        self.by_client[client] = connection
        self._host.descriptors.arrived()
        self._host.deadlines.remove(_deadline(connection))
        self._host.command(Splice(client, connection.id))

    def close(
        self,
        connection: TcpPeerConnection,
        now: Now,
        *,
        gone: bool = False,
        cause: Reason = Reason.PEER_UNREACHABLE,
    ) -> None:
        """End a connection; a waiting Connect is refused for ``cause``. ``gone`` if the shell has closed it already."""
        del self.by_id[connection.id]
        self._to.remove(connection.peer, connection.id)
        held = self.by_allocation[connection.allocation.serial]
        del held[connection.peer]
        if not held:
            del self.by_allocation[connection.allocation.serial]
        if connection.client is not None:
            del self.by_client[connection.client]
        self._host.deadlines.remove(_deadline(connection))
        user_id = connection.allocation.credential.user_id
        self._host.descriptors.give_back(user_id)
        self._host.descriptors.disclaim(user_id, ahead=connection.client is None)
        if not gone:
            self._host.command(ClosePeer(connection.id))
        if connection.state is not ConnectionState.CONNECTING:
            self._tell_end(connection, now)
        elif connection.request is not None:
            connection.request.now = now
            refuse(self._host, connection.request, Refusal(cause, str(connection.peer)), keep=True)

    def close_where(self, allocation: Allocation, unwanted: Callable[[Address], bool], now: Now) -> None:
        """End the connections of an allocation with peers for which ``unwanted`` is true."""
        for connection in self.of(allocation):
            if unwanted(connection.peer):
                self.close(connection, now)

    def close_ways_to(self, own: Relay, now: Now) -> None:
        """A relay of this server has ended: what is still connecting to it must not reach what gets its port.

        Connections that are established end with the other end's, after the last bytes that it has sent.
        """
        for number in self._to.to(own):
            connection = self.by_id.get(number)
            if connection is not None and connection.state is ConnectionState.CONNECTING:
                self.close(connection, now)

    def expired(self, number: int, now: Now) -> None:
        """A peer did not accept in time, or a client did not send ConnectionBind in time (RFC 6062 §5.2, §5.3)."""
        self.close(self.by_id[number], now)

    def client_gone(self, client: FiveTuple, allocation: Allocation | None, now: Now) -> None:
        """A client's connection has ended: the peer connection of a data connection ends too (RFC 6062 §5.5).

        If it was a control connection, its waiting requests cannot be answered any more.
        """
        bound = self.by_client.get(client)
        if bound is not None:
            self.close(bound, now)
        for connection in [] if allocation is None else self.of(allocation):
            if connection.request is not None and connection.request.client == client:
                connection.request = None

    def _enter(
        self, allocation: Allocation, relay: Relay, peer: Address, state: ConnectionState, now: Now
    ) -> TcpPeerConnection:
        number = self._new_id()
        connection = TcpPeerConnection(number, allocation, relay, peer, now.mono, state)
        self.by_id[number] = connection
        self._host.descriptors.take(allocation.credential.user_id)
        self._host.descriptors.claim(allocation.credential.user_id, ahead=True)
        self.by_allocation.setdefault(allocation.serial, {})[peer] = connection
        if self._host.own_relays.stands(peer, TransportProtocol.TCP):
            self._to.add(peer, number)
        return connection

    def _new_id(self) -> int:
        """Random, although RFC 6062 §5.2 asks only for unique ones: a client cannot guess another's CONNECTION-ID."""
        while True:
            number = int.from_bytes(self._host.entropy(4), "big")
            if number not in self.by_id:
                return number

    def _wait(self, connection: TcpPeerConnection, now: Now, *, inbound: bool) -> None:
        connection.state = ConnectionState.WAITING
        self._due(connection, now, self._host.bounds.connection_bind_timeout)
        allocation = connection.allocation
        self._host.event(
            PeerConnectionOpened(
                allocation.client, allocation.credential.user_id, connection.peer, connection.id, inbound
            )
        )

    def _tell_end(self, connection: TcpPeerConnection, now: Now) -> None:
        allocation = connection.allocation
        bound = connection.state is ConnectionState.BOUND
        duration = now.mono - connection.created
        self._host.event(
            PeerConnectionEnded(
                allocation.client, allocation.credential.user_id, connection.peer, connection.id, bound, duration
            )
        )

    def _due(self, connection: TcpPeerConnection, now: Now, seconds: int) -> None:
        self._host.deadlines.set(_deadline(connection), now.mono + seconds)


def _deadline(connection: TcpPeerConnection) -> DeadlineKey:
    return DeadlineKey(DeadlineKind.CONNECTION, 0, connection.id)
