"""The events of a client: data from peers, losses, finished requests. Plain values, in order."""

from typing import Any, NamedTuple

from stun.address import Address
from stun.attributes import AddressErrorValue, IcmpValue
from stun.client.errors import ClientError
from stun.client.requests import ClientRequest
from stun.constants import AddressFamily, TransportProtocol

__all__ = [
    "AllocationGrant",
    "AllocationLost",
    "ChannelLost",
    "ClientEvent",
    "ConnectionAttempt",
    "PeerData",
    "PeerError",
    "PermissionLost",
    "RequestDone",
]


class AllocationGrant(NamedTuple):
    """What a success response to Allocate grants (RFC 8656 §7.3).

    ``relayed`` are the relayed transport addresses, two of a dual allocation; ``mapped`` is the server-reflexive one.
    ``lifetime`` is in seconds. ``reservation`` is the RESERVATION-TOKEN for the next port, ``refused`` says why a dual
    allocation has only one half. ``protocol`` is that between server and peers. A ``mobile`` one can move
    (RFC 8016); after that, ``mapped`` is None, since no answer says it.
    """

    relayed: tuple[Address, ...]
    mapped: Address | None
    lifetime: int
    protocol: TransportProtocol = TransportProtocol.UDP
    reservation: bytes | None = None
    refused: AddressErrorValue | None = None
    mobile: bool = False

    @property
    def address(self) -> Address:
        """The relayed transport address, the first of a dual allocation."""
        return self.relayed[0]

    def of_family(self, family: AddressFamily) -> Address:
        """The relayed transport address of one family. Raises LookupError if there is none."""
        for address in self.relayed:
            if address.family is family:
                return address
        raise LookupError(f"no relayed address of {family.name}")


class PeerData(NamedTuple):
    """A peer's datagram; ``channel`` is None when it came in a Data indication (RFC 8656 §11.4, §12.6)."""

    peer: Address
    data: bytes
    channel: int | None = None


class PeerError(NamedTuple):
    """An ICMP error came back for something sent to a peer (RFC 8656 §11.5)."""

    peer: Address
    icmp: IcmpValue


class ConnectionAttempt(NamedTuple):
    """A peer has connected to a TCP relay: bind a data connection to it within 30 seconds (RFC 6062 §4.4)."""

    peer: Address
    connection: int


class AllocationLost(NamedTuple):
    """The allocation is gone, and permissions and channels with it.

    ``error`` is the server's refusal, or why it could not be renewed; None if it has expired.
    """

    error: ClientError | None


class PermissionLost(NamedTuple):
    """A permission is gone: no more data to or from that IP address (packed); ``error`` as above."""

    ip: bytes
    error: ClientError | None


class ChannelLost(NamedTuple):
    """A channel is gone; its peer may still be permitted. ``error`` as above."""

    channel: int
    peer: Address
    error: ClientError | None


class RequestDone(NamedTuple):
    """A request of the caller is done; it has its outcome."""

    request: ClientRequest[Any]


ClientEvent = PeerData | PeerError | ConnectionAttempt | AllocationLost | PermissionLost | ChannelLost | RequestDone
