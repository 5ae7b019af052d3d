"""Bound and advertised relay addresses behind 1:1 NAT (docs/conformance.md, rule 23): on the wire and for clients.

A relay is bound to a private address and advertised under a public one. Clients name a peer that is itself one of our
relays by its public address. It must be reached at its private address, since few NATs hairpin. A datagram from it
arrives from the private address, and the client must be given the public one.
"""

from collections.abc import Iterable

from stun.address import Address
from stun.constants import AddressFamily
from turnserver.core.settings import RelayAddress
from turnserver.core.types import Now, PortRange

__all__ = ["ABSENCE", "AddressChoice", "RelayAddresses"]

ABSENCE = 10.0
"""Seconds for which other addresses are preferred to one that could not be bound; then it is tried first again."""


class RelayAddresses:
    """The mapping in both directions; it changes only the addresses of the server's own relays."""

    def __init__(self, relays: Iterable[RelayAddress], ports: PortRange) -> None:
        mapped = [relay for relay in relays if relay.bound != relay.external]
        self._to_wire = {relay.external: relay.bound for relay in mapped}
        self._to_client = {relay.bound: relay.external for relay in mapped}
        self._ports = ports

    def to_wire(self, peer: Address) -> Address:
        """The address on the wire of the peer that a client names ``peer``."""
        bound = self._to_wire.get(peer.ip)
        return peer if bound is None or peer.port not in self._ports else Address(bound, peer.port)

    def to_client(self, peer: Address) -> Address:
        """The address that clients use for the peer whose datagrams come from ``peer``."""
        external = self._to_client.get(peer.ip)
        return peer if external is None or peer.port not in self._ports else Address(external, peer.port)

    def aliases(self, ip: bytes) -> tuple[bytes, bytes]:
        """Both addresses by which clients may name ``ip``; the same one twice if there is only one."""
        wire = self.wire_ip(ip)
        return wire, self._to_client.get(wire, wire)

    def wire_ip(self, ip: bytes) -> bytes:
        """The source address of the datagrams that a permission for ``ip`` lets in."""
        return self._to_wire.get(ip, ip)


class AddressChoice:
    """Which relay addresses an Allocate tries, and in which order."""

    def __init__(self, relays: Iterable[RelayAddress]) -> None:
        self._relays = tuple(relays)
        self._absent: dict[bytes, float] = {}

    def of(self, family: AddressFamily, preferred: bytes = b"", now: Now | None = None) -> list[RelayAddress]:
        """The addresses of a family, ``preferred`` (packed) first. At ``now``, those that are absent come last."""
        size = 4 if family is AddressFamily.IPV4 else 16
        found = [relay for relay in self._relays if len(relay.bound) == size]
        absent = set() if now is None else {ip for ip, until in self._absent.items() if until > now.mono}
        return sorted(found, key=lambda relay: (relay.bound in absent, relay.bound != preferred))

    def absent(self, bound: bytes, now: Now) -> None:
        """The system does not have an address (packed): an interface is down, or a virtual IP has moved."""
        self._absent[bound] = now.mono + ABSENCE

    def present(self, bound: bytes) -> None:
        """A relay has been bound to an address."""
        self._absent.pop(bound, None)
