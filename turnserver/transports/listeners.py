"""From the configured listeners to transports: wildcards are expanded, and duplicates are removed."""

from collections.abc import Callable, Iterable
from functools import partial
from typing import NamedTuple

from stun.address import Address
from turnserver.core.types import TlsMode
from turnserver.errors import StartupError
from turnserver.net import local_addresses
from turnserver.proxies import is_behind
from turnserver.transports.base import ListenerContext, ListenerSection, Transport
from turnserver.transports.registry import TRANSPORTS

__all__ = ["PlannedListener", "expanded", "planned_listeners"]


class PlannedListener(NamedTuple):
    """One listener at one local address: its name in the configuration, and what makes its transport, not bound yet.

    ``number`` becomes `Transport.listener`. ``section`` is the index of the listener in the configuration, and
    ``wildcard`` says that its address there is one: there may be others of the same section. ``behind`` says that
    clients reach it through proxies only.
    """

    name: str
    address: Address
    tls: TlsMode
    section: int
    wildcard: bool
    behind: bool
    number: int
    make: Callable[[], Transport]

    @property
    def key(self) -> tuple[str, TlsMode, Address]:
        """What tells it from every other listener."""
        return self.name, self.tls, self.address

    def __str__(self) -> str:
        """In words, for errors."""
        return f"The listener {self.name} {self.address}"


def expanded(section: ListenerSection) -> list[Address]:
    """The addresses of a listener's sockets: a wildcard stands for every local address of its family.

    With one socket per address, the server address of a client's 5-tuple is known (RFC 8656 §3.2).
    """
    packed = section.address.packed
    if section.address.is_unspecified:
        return [Address(ip, section.port) for ip in local_addresses() if len(ip) == len(packed)]
    return [Address(packed, section.port)]


def planned_listeners(
    sections: Iterable[ListenerSection], context: ListenerContext, first: int = 0
) -> list[PlannedListener]:
    """One transport per listener and local address, numbered from ``first``.

    Raises `turnserver.errors.StartupError` with a hint when no listener has an address here.
    """
    found: dict[tuple[str, TlsMode, Address], tuple[int, ListenerSection]] = {}
    for index, section in enumerate(sections):
        for address in expanded(section):
            found.setdefault((section.transport, section.tls, address), (index, section))
    if not found:
        raise StartupError(
            "no listener has an address on this machine",
            "Name an address of this machine under listeners, or bring a network interface up.",
        )
    return [
        PlannedListener(
            name,
            address,
            tls,
            index,
            section.address.is_unspecified,
            TRANSPORTS[name].stream and is_behind(section, context.proxies),
            number,
            partial(TRANSPORTS[name].make, section, address, number, context),
        )
        for number, ((name, tls, address), (index, section)) in enumerate(found.items(), first)
    ]
