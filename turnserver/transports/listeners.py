"""From the configured listeners to transports: wildcards are expanded, and duplicates are removed."""

from collections.abc import Iterable

from stun.address import Address
from turnserver.errors import StartupError
from turnserver.net import local_addresses
from turnserver.transports.base import ListenerContext, ListenerSection, Transport
from turnserver.transports.registry import TRANSPORTS

__all__ = ["expanded", "make_transports"]


def expanded(section: ListenerSection) -> list[Address]:
    """The addresses of a listener's sockets: a wildcard stands for every local address of its family.

    With one socket per address, the server address of a client's 5-tuple is known (RFC 8656 §3.2).
    """
    packed = section.address.packed
    if section.address.is_unspecified:
        return [Address(ip, section.port) for ip in local_addresses() if len(ip) == len(packed)]
    return [Address(packed, section.port)]


def make_transports(sections: Iterable[ListenerSection], context: ListenerContext) -> list[Transport]:
    """One transport per listener and local address, not bound yet.

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
        TRANSPORTS[name].make(section, address, index, context)
        for index, ((name, _, address), section) in enumerate(found.items())
    ]
