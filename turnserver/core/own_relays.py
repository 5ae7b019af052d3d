"""What the server itself has for peers, live relays and the SFU: where they stand, and who has a way to them.

Two clients behind symmetric NATs meet relay to relay, on the server's own addresses, and a client without UDP reaches
the SFU through its relay. Any other port of these addresses belongs to something else on this host, which the firewall
may protect from everybody but this host. So the peer ACL allows an own address only where a live relay of the same
protocol or a socket of the SFU stands, and the ways to it end with it: the system may give its port to another program
at once.
"""

from collections.abc import Hashable, Iterable
from typing import Generic, TypeVar

from stun.address import Address
from stun.constants import TransportProtocol
from turnserver.core.allocation import Relay
from turnserver.core.policy import packed_canonical
from turnserver.core.settings import MediaSocket

__all__ = ["OwnRelays", "Ways"]

_Place = tuple[bytes, int, TransportProtocol]
_Way = TypeVar("_Way", bound=Hashable)


class OwnRelays:
    """The relays of live allocations and the SFU, by the addresses that clients are told and those that are bound."""

    def __init__(self) -> None:
        self._standing: dict[_Place, Relay] = {}
        self._media: frozenset[_Place] = frozenset()

    def add(self, relay: Relay) -> None:
        """A relay is open, and its allocation is live."""
        for place in _places(relay):
            self._standing[place] = relay

    def remove(self, relay: Relay) -> None:
        """A relay has ended; one that was never added is ignored."""
        for place in _places(relay):
            if self._standing.get(place) is relay:
                del self._standing[place]

    def use_media(self, sockets: Iterable[MediaSocket]) -> None:
        """These are the sockets of the SFU from now on: exactly these addresses and ports, for UDP only."""
        places = (address for socket in sockets for address in (socket.bound, socket.public))
        self._media = frozenset(_place(address, TransportProtocol.UDP) for address in places)

    def stands(self, peer: Address, protocol: TransportProtocol) -> bool:
        """Whether a live relay or the SFU stands at an address and port, however the address is written."""
        place = _place(peer, protocol)
        return place in self._standing or place in self._media


class Ways(Generic[_Way]):
    """What leads to an address and port, so that it is found when the relay there ends: channels, or connections."""

    def __init__(self, protocol: TransportProtocol) -> None:
        self._protocol = protocol
        self._to: dict[_Place, dict[_Way, None]] = {}

    def add(self, peer: Address, way: _Way) -> None:
        """Something leads to ``peer``."""
        self._to.setdefault(_place(peer, self._protocol), {})[way] = None

    def remove(self, peer: Address, way: _Way) -> None:
        """It does not any more; an unknown one is ignored."""
        place = _place(peer, self._protocol)
        ways = self._to.get(place)
        if ways is not None:
            ways.pop(way, None)
            if not ways:
                del self._to[place]

    def to(self, relay: Relay) -> list[_Way]:
        """What leads to a relay, by either of its addresses."""
        if relay.protocol is not self._protocol:
            return []
        return [way for place in _places(relay) for way in self._to.get(place, ())]

    def at(self, address: Address) -> list[_Way]:
        """What leads to an address and port, however the address is written."""
        return list(self._to.get(_place(address, self._protocol), ()))


def _place(address: Address, protocol: TransportProtocol) -> _Place:
    return packed_canonical(address.ip), address.port, protocol


def _places(relay: Relay) -> tuple[_Place, ...]:
    bound, advertised = _place(relay.bound, relay.protocol), _place(relay.advertised, relay.protocol)
    return (bound,) if bound == advertised else (bound, advertised)
