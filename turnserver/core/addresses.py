"""Bound and advertised relay addresses behind 1:1 NAT (docs/conformance.md, rule 23): on the wire and for clients.

A relay is bound to a private address and advertised under a public one. Clients name a peer that is itself one of our
relays by its public address. It must be reached at its private address, since few NATs hairpin. A datagram from it
arrives from the private address, and the client must be given the public one.
"""

from collections.abc import Iterable

from stun.address import Address
from turnserver.core.settings import RelayAddress
from turnserver.core.types import PortRange

__all__ = ["RelayAddresses"]


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
