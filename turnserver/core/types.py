"""The words that every part of the server shares: clocks, 5-tuples, relays, routes, counters.

Everything here is a plain value. Nothing here does anything, so that the siblings (core, relay, transports) can
talk about the same things without importing one another.
"""

from enum import IntEnum
from typing import NamedTuple, NewType

from stun.address import Address
from stun.constants import TransportProtocol

__all__ = ["AllocationView", "ClientTransport", "Counters", "FiveTuple", "Now", "RelayId", "Route"]

RelayId = NewType("RelayId", int)
"""Names one relay socket for its whole life; never used again in the same process."""


class ClientTransport(IntEnum):
    """How a client reaches the server (RFC 8656 §3.1); streams are reliable and their connection is the 5-tuple."""

    UDP = 1
    TCP = 2
    TLS = 3

    @property
    def is_stream(self) -> bool:
        """True for TCP and TLS: ChannelData is padded, an allocation ends with its connection."""
        return self is not ClientTransport.UDP


class Now(NamedTuple):
    """Both clocks at one moment, in seconds.

    ``mono`` never goes backwards and times every deadline; ``wall`` is Unix time and is used only for the expiry of
    credentials and nonces.
    """

    mono: float
    wall: float


class FiveTuple(NamedTuple):
    """Who a client is to the server (RFC 8656 §2.2, §3.2): the two addresses and the transport between them.

    ``listener`` is the index of the listener that the client came in by, and ``serial`` numbers the connections of a
    stream listener (0 for UDP), so that a new connection from an old address is never taken for the old one.
    """

    transport: ClientTransport
    client: Address
    server: Address
    listener: int
    serial: int = 0


class Route(NamedTuple):
    """One channel binding as the datapath needs it: ``client`` + ``channel`` ⇄ ``relay`` + ``peer``.

    ``peer`` is the address on the wire (a hairpinned external address has been mapped already). ``expires`` is on the
    monotonic clock, in seconds; a datapath stops forwarding then, even if nobody calls it.
    """

    client: FiveTuple
    channel: int
    relay: RelayId
    peer: Address
    expires: float


class Counters(NamedTuple):
    """What one relay has carried, in whole packets and payload bytes; dropped counts both directions."""

    packets_to_peers: int = 0
    bytes_to_peers: int = 0
    packets_to_client: int = 0
    bytes_to_client: int = 0
    dropped: int = 0


class AllocationView(NamedTuple):
    """A live allocation as it stands at one moment, for whoever looks from outside.

    ``relayed`` are its relayed transport addresses as clients are told them (two, of a dual allocation). ``peers`` are
    those that it may send to: of a permission the address with port 0 (RFC 8656 §9), of a channel the address and port.
    ``counters`` are those of its relays together. ``expires`` is on the monotonic clock, ``created`` too.
    """

    client: FiveTuple
    username: str
    user_id: str
    relayed: tuple[Address, ...]
    peers: tuple[Address, ...]
    counters: Counters
    expires: float
    created: float = 0.0
    relays: tuple[RelayId, ...] = ()
    protocol: TransportProtocol = TransportProtocol.UDP
