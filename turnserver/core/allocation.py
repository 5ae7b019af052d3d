"""An allocation: its relays, permissions and channels, and how long each lives (RFC 8656 §3.2, §9, §12).

States of an allocation::

    OPENING ──every relay opened or failed, at least one opened──► LIVE ──► gone
       └──────none opened──────────────────────────────────────► gone

Tables of a live allocation, with expiries on the monotonic clock:

- ``relays``: one, or two of different families (a dual allocation), each with its own expiry (RFC 8656 §8.2);
- ``permissions``: packed IP → expiry. Keyed on the address alone;
- ``channels``: number → peer and expiry; ``peers``: the inverse of ``channels``, always in agreement with it.

The core expires what is due before it handles an input, so every entry in a table is live.

This module only holds the tables. `turnserver.core.state` changes routes, sockets and quota with them.
"""

from dataclasses import dataclass, field
from enum import Enum

from auth.types import Credential
from stun.address import Address
from stun.constants import AddressFamily, TransportProtocol
from turnserver.core.retransmissions import TransactionKey
from turnserver.core.types import AllocationView, Counters, FiveTuple, RelayId

__all__ = ["Allocation", "AllocationState", "Channel", "Relay", "RelayState", "Reservation", "view_of"]


_NOTHING = Counters()


class AllocationState(Enum):
    """Whether an allocation can relay data yet."""

    OPENING = "opening"
    LIVE = "live"


class RelayState(Enum):
    """The state of a relay socket."""

    OPENING = "opening"
    OPEN = "open"
    FAILED = "failed"


@dataclass(slots=True, eq=False)
class Relay:
    """One relayed transport address: where it is bound, and what clients are told it is (RFC 8656 §2.4)."""

    id: RelayId
    bound: Address
    advertised: Address
    expires: float = 0.0
    state: RelayState = RelayState.OPENING
    protocol: TransportProtocol = TransportProtocol.UDP
    holder: str = ""
    """The id of the user whose descriptor it is."""

    @property
    def family(self) -> AddressFamily:
        """IPv4 or IPv6."""
        return self.bound.family


@dataclass(slots=True, eq=False)
class Reservation:
    """A relay held for a second allocation of the same user (RFC 8656 §7.2, EVEN-PORT with R=1)."""

    token: bytes
    relay: Relay
    user_id: str


@dataclass(slots=True, eq=False)
class Channel:
    """One channel binding (RFC 8656 §12): ``peer`` as the client names it.

    With ``swallows`` the peer ACL refuses the peer, and only the client believes in the channel: it leads nowhere.
    """

    number: int
    peer: Address
    expires: float
    swallows: bool = False


@dataclass(slots=True, eq=False)
class Allocation:
    """The allocation of one 5-tuple; see the module's docstring."""

    serial: int
    client: FiveTuple
    credential: Credential
    created: float
    state: AllocationState = AllocationState.OPENING
    relays: list[Relay] = field(default_factory=list)
    permissions: dict[bytes, float] = field(default_factory=dict)
    channels: dict[int, Channel] = field(default_factory=dict)
    peers: dict[Address, Channel] = field(default_factory=dict)
    refused: dict[bytes, int] = field(default_factory=dict)
    """How often the peer ACL has refused each address; those beyond a limit are counted in ``refusals`` only."""
    refusals: int = 0
    """How often it has refused a peer."""
    swallowed: int = 0
    """Datagrams of the client to refused peers that it believes to be allowed (``peers.refusal: swallow``)."""
    protocol: TransportProtocol = TransportProtocol.UDP
    """Between server and peers; for TCP (RFC 6062), `turnserver.core.tcp_connections` holds the connections."""
    credential_removed: bool = False
    """The configuration does not have its credential any more; what follows from that is ``auth.on_removal``."""
    mobile: bool = False
    """Its client has asked for tickets (RFC 8016)."""
    tickets: int = 0
    """How many it has been given; the last one has this number."""
    spent: int = 0
    """The tickets up to this number cannot be used any more."""
    answered: TransactionKey | None = None
    """The last Refresh with a ticket, whose answer is kept for retransmissions."""
    moving: FiveTuple | None = None
    """Where its client has used a ticket, and has not sent data yet (`turnserver.core.moves`)."""

    def relay_for(self, family: AddressFamily) -> Relay | None:
        """The relay of one family, if the allocation has it."""
        for relay in self.relays:
            if relay.family is family:
                return relay
        return None

    def bind(self, channel: Channel) -> None:
        """Add a binding to both tables; neither its number nor its peer may be in use."""
        self.channels[channel.number] = channel
        self.peers[channel.peer] = channel

    def unbind(self, number: int) -> Channel | None:
        """Remove a binding from both tables."""
        channel = self.channels.pop(number, None)
        if channel is not None:
            del self.peers[channel.peer]
        return channel


def view_of(allocation: Allocation) -> AllocationView:
    """An immutable view of the allocation as it is now."""
    relays = allocation.relays
    return AllocationView(
        allocation.client,
        allocation.credential.username,
        allocation.credential.user_id,
        tuple([relay.advertised for relay in relays]),
        tuple(
            [Address(ip, 0) for ip in allocation.permissions]
            + [peer for peer, channel in allocation.peers.items() if not channel.swallows]
        ),
        _NOTHING,
        max([relay.expires for relay in relays], default=allocation.created),
        allocation.created,
        tuple([relay.id for relay in relays]),
        allocation.protocol,
    )
