"""The client ACL: from which networks clients may come, on every transport."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address
from typing import Final, Protocol

from turnserver.core.types import IpAddress, IpNetwork

__all__ = ["EVERY_CLIENT", "ClientPolicy", "ClientsSection"]


class ClientsSection(Protocol):
    """The configuration's section ``clients``."""

    @property
    def allow(self) -> Sequence[IpNetwork]:
        """The networks that clients may come from; empty for all."""

    @property
    def deny(self) -> Sequence[IpNetwork]:
        """The networks that they may not come from."""


@dataclass(frozen=True, slots=True)
class ClientPolicy:
    """The client ACL as values; an empty one refuses nobody."""

    allow: tuple[IpNetwork, ...] = ()
    deny: tuple[IpNetwork, ...] = ()

    @classmethod
    def of(cls, section: ClientsSection) -> "ClientPolicy":
        """That of a configuration."""
        return cls(tuple(section.allow), tuple(section.deny))

    def refuses(self, ip: bytes) -> bool:
        """Whether a client with this address (packed) is to be ignored; IPv4-mapped ones count as IPv4."""
        if not (self.allow or self.deny):
            return False
        address: IpAddress = ip_address(ip)
        if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
            address = address.ipv4_mapped
        return _has(self.deny, address) or bool(self.allow and not _has(self.allow, address))


def _has(networks: Iterable[IpNetwork], address: IpAddress) -> bool:
    return any(network.version == address.version and address in network for network in networks)


EVERY_CLIENT: Final = ClientPolicy()
"""The ACL that refuses nobody."""
