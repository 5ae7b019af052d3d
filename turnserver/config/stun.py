"""The schema of ``stun`` and ``behavior_discovery``: Binding, and what clients can learn of the NAT before them."""

import itertools
from collections.abc import Iterator
from ipaddress import ip_address
from typing import Annotated, Self

from pydantic import Field, ValidationInfo, model_validator

from stun.address import Address
from stun.constants import AddressFamily
from turnserver.config.context import Finding, report
from turnserver.config.listeners import Listener
from turnserver.config.section import Section
from turnserver.config.values import LIVE, Boolean, ServerEndpoint

__all__ = ["BehaviorDiscoveryConfig", "StunConfig", "discovery_listeners"]

_SECTION = "behavior_discovery"


class StunConfig(Section):
    """Binding, which tells clients their server-reflexive address and needs no credential."""

    classic: Annotated[Boolean, LIVE] = Field(
        default=True,
        description="Answer Binding requests of RFC 3489 too, which have no magic cookie: old SIP phones, and tools "
        "such as `stun` and `pystun3`. They come over UDP. RESPONSE-ADDRESS is never obeyed.",
    )


class BehaviorDiscoveryConfig(Section):
    """NAT behavior discovery (RFC 5780): clients learn how the NAT before them maps and filters.

    It needs two addresses of this host and two ports. The server listens on each port of each address, over UDP, and
    tells clients of the others. With one of the four missing, it is as if there were no discovery.
    """

    primary: ServerEndpoint | None = Field(
        default=None,
        description="The address and port that clients know, such as `192.0.2.1:3478`. Both addresses are this host's "
        "own; behind 1:1 NAT, clients are told those of `relay.external`.",
    )
    alternate: ServerEndpoint | None = Field(
        default=None,
        description="Another address of this host with another port, such as `192.0.2.2:3479`. The server also listens "
        "on the port of each at the address of the other.",
    )
    primary_ipv6: ServerEndpoint | None = Field(
        default=None, description="The same for IPv6, such as `[2001:db8::1]:3478`."
    )
    alternate_ipv6: ServerEndpoint | None = Field(
        default=None, description="The same for IPv6, such as `[2001:db8::2]:3479`."
    )

    @property
    def pairs(self) -> tuple[tuple[Address, Address], ...]:
        """The primary and the alternate address of each family that has both."""
        both = ((self.primary, self.alternate), (self.primary_ipv6, self.alternate_ipv6))
        return tuple((first, other) for first, other in both if first is not None and other is not None)

    @property
    def sockets(self) -> tuple[Address, ...]:
        """Each port of each address, the primary ones first."""
        return tuple(
            Address(host.ip, port.port) for pair in self.pairs for host, port in itertools.product(pair, repeat=2)
        )

    @model_validator(mode="after")
    def _make_pairs(self, info: ValidationInfo) -> Self:
        for family, suffix in ((AddressFamily.IPV4, ""), (AddressFamily.IPV6, "_ipv6")):
            first, other = getattr(self, f"primary{suffix}"), getattr(self, f"alternate{suffix}")
            for finding in _findings(first, other, family, suffix):
                report(info, _SECTION, finding)
        return self


def _findings(first: Address | None, other: Address | None, family: AddressFamily, suffix: str) -> Iterator[Finding]:
    name = "IPv4" if family is AddressFamily.IPV4 else "IPv6"
    for option, value in ((f"primary{suffix}", first), (f"alternate{suffix}", other)):
        if value is None:
            continue
        if value.family is not family or ip_address(value.ip).is_unspecified:
            yield Finding((option,), f"{value}", f"an {name} address of this host, and a port")
        if first is None or other is None:
            yield Finding((option,), f"{value} alone", f"both primary{suffix} and alternate{suffix}, or none of them")
    if first is not None and other is not None and (first.ip == other.ip or first.port == other.port):
        yield Finding((f"alternate{suffix}",), f"{other} beside {first}", "another address and another port")


def discovery_listeners(discovery: BehaviorDiscoveryConfig) -> tuple[Listener, ...]:
    """The UDP listeners that discovery needs; those that are configured anyway are listed all the same."""
    return tuple(Listener(address=ip_address(each.ip), port=each.port) for each in discovery.sockets)
