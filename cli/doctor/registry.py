"""The checks by what they are about."""

from collections.abc import Awaitable, Callable, Mapping
from types import MappingProxyType

from cli.doctor.checks.addresses import addresses
from cli.doctor.checks.certificate import certificate
from cli.doctor.checks.descriptors import descriptors
from cli.doctor.checks.firewall import firewall
from cli.doctor.checks.kernel import buffers, clock, conntrack, rp_filter
from cli.doctor.checks.names import dns, srv
from cli.doctor.checks.outside import outside
from cli.doctor.checks.ports import ports
from cli.doctor.checks.reach import hairpin, ipv6
from cli.doctor.findings import CheckName, HostFinding
from cli.doctor.host import Host

__all__ = ["CHECKS", "HostCheck"]

HostCheck = Callable[[Host], Awaitable[list[HostFinding]]]
"""Looks at a host; an empty list says that there is nothing to check."""

CHECKS: Mapping[CheckName, HostCheck] = MappingProxyType(
    {
        CheckName.ADDRESSES: addresses,
        CheckName.PORTS: ports,
        CheckName.FIREWALL: firewall,
        CheckName.CERTIFICATE: certificate,
        CheckName.DNS: dns,
        CheckName.SRV: srv,
        CheckName.HAIRPIN: hairpin,
        CheckName.IPV6: ipv6,
        CheckName.OUTSIDE: outside,
        CheckName.BUFFERS: buffers,
        CheckName.DESCRIPTORS: descriptors,
        CheckName.CONNTRACK: conntrack,
        CheckName.RP_FILTER: rp_filter,
        CheckName.CLOCK: clock,
    }
)
"""In the order of the report."""
