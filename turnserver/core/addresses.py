"""Bound and advertised addresses of relays behind 1:1 NAT (rule 23): what goes on the wire, and what clients see.

A relay is bound to a private address and advertised under a public one. A peer that is itself one of our relays is
therefore named by its public address but must be reached at its private one, since few NATs hairpin; and a datagram
from it arrives from the private address but must be shown as the public one.
"""

from collections.abc import Iterable

from stun.address import Address
from turnserver.core.settings import RelayAddress
from turnserver.core.types import PortRange

__all__ = ["RelayAddresses"]


class RelayAddresses:
    """The mapping, both ways; the identity for every address but the server's own relays."""

    def __init__(self, relays: Iterable[RelayAddress], ports: PortRange) -> None:
        mapped = [relay for relay in relays if relay.bound != relay.external]
        self._to_wire = {relay.external: relay.bound for relay in mapped}
        self._to_client = {relay.bound: relay.external for relay in mapped}
        self._ports = ports

    def to_wire(self, peer: Address) -> Address:
        """Where to send what a client addresses to ``peer``."""
        bound = self._to_wire.get(peer.ip)
        return peer if bound is None or peer.port not in self._ports else Address(bound, peer.port)

    def to_client(self, peer: Address) -> Address:
        """How clients know the peer whose datagram came from ``peer``."""
        external = self._to_client.get(peer.ip)
        return peer if external is None or peer.port not in self._ports else Address(external, peer.port)

    def aliases(self, ip: bytes) -> tuple[bytes, bytes]:
        """Both names of where ``ip`` is on the wire; the same twice if it has one name only."""
        wire = self.wire_ip(ip)
        return wire, self._to_client.get(wire, wire)

    def wire_ip(self, ip: bytes) -> bytes:
        """Where datagrams come from that a permission for ``ip`` lets in."""
        return self._to_wire.get(ip, ip)
