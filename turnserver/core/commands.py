"""What the core asks its shell to do, one frozen class each; the engine carries them out in order."""

from typing import NamedTuple

from stun.address import Address
from stun.constants import TransportProtocol
from turnserver.core.types import FiveTuple, RelayId, Route

__all__ = [
    "AddRoute",
    "AllowPeer",
    "CancelLookup",
    "CloseClient",
    "ClosePeer",
    "CloseRelay",
    "Command",
    "ConnectPeer",
    "FindCredential",
    "ForbidPeer",
    "KeepClient",
    "OpenRelay",
    "RemoveRoute",
    "SendToClient",
    "SendToPeer",
    "Splice",
]


class SendToClient(NamedTuple):
    """Send one whole frame (a STUN message, or ChannelData padded for its transport) to a client."""

    client: FiveTuple
    frame: bytes


class SendToPeer(NamedTuple):
    """Send a datagram from a relay to a peer's wire address (RFC 8656 §11.2); ``data`` may be empty."""

    relay: RelayId
    peer: Address
    data: bytes
    dont_fragment: bool = False


class OpenRelay(NamedTuple):
    """Bind a relay socket to exactly ``bind``; answered by ``relay_opened`` or ``relay_failed``, at once or later.

    `CloseRelay` may come before the answer: the core waits for `Limits.opening_timeout` seconds.
    A TCP relay (RFC 6062 §5.1) listens: every peer that connects is an input, ``peer_accepted``.
    """

    relay: RelayId
    bind: Address
    protocol: TransportProtocol = TransportProtocol.UDP


class CloseRelay(NamedTuple):
    """Close a relay socket; its routes and permissions go with it."""

    relay: RelayId
    protocol: TransportProtocol = TransportProtocol.UDP


class AddRoute(NamedTuple):
    """Install or refresh a channel route; idempotent."""

    route: Route


class RemoveRoute(NamedTuple):
    """Remove the route of one channel of one client through ``relay``."""

    client: FiveTuple
    channel: int
    relay: RelayId


class AllowPeer(NamedTuple):
    """A permission was installed or refreshed: let datagrams from ``ip`` (packed, on the wire) up until ``until``."""

    relay: RelayId
    ip: bytes
    until: float


class ForbidPeer(NamedTuple):
    """A permission has ended before its expiry: drop datagrams from ``ip`` again."""

    relay: RelayId
    ip: bytes


class FindCredential(NamedTuple):
    """Ask the credential source, which could not answer at once; answer with ``credential_found(ticket, ...)``.

    By ``username``, or by ``userhash`` (RFC 8489 §14.4) if the username is empty.
    """

    ticket: int
    username: str
    userhash: bytes
    realm: str


class CancelLookup(NamedTuple):
    """The answer to a `FindCredential` is not needed any more; it is ignored if it still comes."""

    ticket: int


class CloseClient(NamedTuple):
    """Close a client's connection (streams only; a datagram transport ignores it)."""

    client: FiveTuple


class KeepClient(NamedTuple):
    """An allocation is moving to a client (RFC 8016), so its connection may be idle (``on``); or it is not any more."""

    client: FiveTuple
    on: bool


class ConnectPeer(NamedTuple):
    """Connect from a TCP relay to a peer's wire address; answered by ``peer_connected`` or ``peer_failed``."""

    connection: int
    relay: RelayId
    peer: Address


class ClosePeer(NamedTuple):
    """Close a peer connection in any state, and the client connection that it has been spliced with."""

    connection: int


class Splice(NamedTuple):
    """Take a client's connection from its transport and join it to a peer connection (RFC 6062 §5.4).

    Frames already sent to the client go out before the peer's first byte; ``peer_gone`` follows when the splice ends.
    """

    client: FiveTuple
    connection: int


Command = (
    SendToClient
    | SendToPeer
    | OpenRelay
    | CloseRelay
    | AddRoute
    | RemoveRoute
    | AllowPeer
    | ForbidPeer
    | FindCredential
    | CancelLookup
    | CloseClient
    | KeepClient
    | ConnectPeer
    | ClosePeer
    | Splice
)
