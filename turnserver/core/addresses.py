"""Bound and advertised relay addresses behind 1:1 NAT (docs/conformance.md, rule 23): on the wire and for clients.

A relay is bound to a private address and advertised under a public one. Clients name a peer that is itself one of our
relays, or our SFU, by its public address. It must be reached at its private address, since few NATs hairpin. A
datagram from it arrives from the private address, and the client must be given the public one.

The addresses can change while the server runs. Clients then go on to use the names that they have for relays which were
open before.
"""

from collections.abc import Container, Iterable

from stun.address import Address
from stun.constants import AddressFamily
from turnserver.core.settings import MediaSocket, RelayAddress
from turnserver.core.types import Now, PortRange

__all__ = ["ABSENCE", "AddressChoice", "RelayAddresses"]

ABSENCE = 10.0
"""Seconds for which other addresses are preferred to one that could not be bound; then it is tried first again."""


class RelayAddresses:
    """The mapping in both directions; it changes only the addresses of the server's own relays and of its SFU.

    ``former`` are pairs that are not advertised any more, with relays that are still open. ``media`` are the sockets
    of the SFU, whose ports need not be among ``ports``.
    """

    def __init__(
        self,
        relays: Iterable[RelayAddress],
        ports: PortRange,
        former: Iterable[RelayAddress] = (),
        media: Iterable[MediaSocket] = (),
    ) -> None:
        current, earlier = tuple(relays), tuple(former)
        self._to_wire = {relay.external: relay.bound for relay in (*earlier, *current) if relay.bound != relay.external}
        self._names: dict[bytes, tuple[bytes, ...]] = {}
        for relay in (*current, *earlier):
            self._names[relay.bound] = (*self._names.get(relay.bound, ()), relay.external)
        self._names = {
            bound: tuple(dict.fromkeys(names)) for bound, names in self._names.items() if {*names} != {bound}
        }
        self._ports = ports
        self._media = frozenset(socket.bound for socket in media)

    def to_wire(self, peer: Address) -> Address:
        """The address on the wire of the peer that a client names ``peer``."""
        bound = self._to_wire.get(peer.ip)
        if bound is None:
            return peer
        wire = Address(bound, peer.port)
        return wire if peer.port in self._ports or wire in self._media else peer

    def to_client(self, peer: Address, known: Container[bytes] = ()) -> Address:
        """The address that a client uses for the peer whose datagrams come from ``peer``.

        That is the first of its names which is in ``known``, else the one that is advertised now.
        """
        names = self._names.get(peer.ip)
        if names is None or (peer.port not in self._ports and peer not in self._media):
            return peer
        return Address(next((name for name in names if name in known), names[0]), peer.port)

    def aliases(self, ip: bytes) -> tuple[bytes, ...]:
        """All addresses by which clients may name ``ip``."""
        wire = self.wire_ip(ip)
        return wire, *self._names.get(wire, ())

    def wire_ip(self, ip: bytes) -> bytes:
        """The source address of the datagrams that a permission for ``ip`` lets in."""
        return self._to_wire.get(ip, ip)


class AddressChoice:
    """Which relay addresses an Allocate tries, and in which order."""

    def __init__(self, relays: Iterable[RelayAddress]) -> None:
        self._relays: dict[AddressFamily, list[RelayAddress]] = {family: [] for family in AddressFamily}
        for relay in relays:
            self._relays[Address(relay.bound, 0).family].append(relay)
        self._families = tuple(family for family in (AddressFamily.IPV4, AddressFamily.IPV6) if self._relays[family])
        self._absent: dict[bytes, float] = {}

    def of(self, family: AddressFamily, preferred: bytes = b"", now: Now | None = None) -> list[RelayAddress]:
        """The addresses of a family, ``preferred`` (packed) first. At ``now``, those that are absent come last."""
        found = list(self._relays[family])
        if len(found) > 1:
            absent = set() if now is None else {ip for ip, until in self._absent.items() if until > now.mono}
            found.sort(key=lambda relay: (relay.bound in absent, relay.bound != preferred))
        return found

    def available(self, now: Now) -> AddressFamily | None:
        """IPv4 if there is an address of it, else IPv6; None without any. Those that are absent count last."""
        found = self._families
        if self._absent:
            found = tuple(each for each in found if self._is_present(self.of(each, now=now)[0], now)) or found
        return found[0] if found else None

    def _is_present(self, relay: RelayAddress, now: Now) -> bool:
        return self._absent.get(relay.bound, now.mono) <= now.mono

    def absent(self, bound: bytes, now: Now) -> None:
        """The system does not have an address (packed): an interface is down, or a virtual IP has moved."""
        self._absent[bound] = now.mono + ABSENCE

    def present(self, bound: bytes) -> None:
        """A relay has been bound to an address."""
        self._absent.pop(bound, None)
