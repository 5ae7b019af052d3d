"""From the configured listeners to transports: wildcards are expanded, and duplicates are removed."""

from collections.abc import Callable, Iterable
from functools import partial
from typing import NamedTuple

from stun.address import Address
from turnserver.errors import StartupError
from turnserver.net import local_addresses
from turnserver.transports.base import ListenerContext, ListenerSection, Transport
from turnserver.transports.registry import TRANSPORTS

__all__ = ["PlannedListener", "expanded", "planned_listeners"]


class PlannedListener(NamedTuple):
    """One listener at one local address: its name in the configuration, and what makes its transport, not bound yet."""

    name: str
    address: Address
    make: Callable[[], Transport]


def expanded(section: ListenerSection) -> list[Address]:
    """The addresses of a listener's sockets: a wildcard stands for every local address of its family.

    With one socket per address, the server address of a client's 5-tuple is known (RFC 8656 §3.2).
    """
    packed = section.address.packed
    if section.address.is_unspecified:
        return [Address(ip, section.port) for ip in local_addresses() if len(ip) == len(packed)]
    return [Address(packed, section.port)]


def planned_listeners(sections: Iterable[ListenerSection], context: ListenerContext) -> list[PlannedListener]:
    """One transport per listener and local address.

    Raises `turnserver.errors.StartupError` with a hint when no listener has an address here.
    """
    found: dict[tuple[str, bool, Address], ListenerSection] = {}
    for section in sections:
        for address in expanded(section):
            found.setdefault((section.transport, section.tls, address), section)
    if not found:
        raise StartupError(
            "no listener has an address on this machine",
            "Name an address of this machine under listeners, or bring a network interface up.",
        )
    return [
        PlannedListener(name, address, partial(TRANSPORTS[name].make, section, address, index, context))
        for index, ((name, _, address), section) in enumerate(found.items())
    ]
