"""Trusted proxies: which addresses may tell who a client is, and what is known of a connection that came through one.

A proxy tells it in a PROXY header, before everything else, or in the headers of each HTTP request. Anybody can write
either, so both are read from configured addresses only. `Networks` are these addresses, and `Arrival` is what a
listener knows when it passes a connection on.
"""

from collections.abc import Callable, Iterable, Sequence
from ipaddress import IPv4Network, IPv6Network
from typing import Final, NamedTuple, Protocol

from stun.address import Address

__all__ = ["NOBODY", "NO_PROXIES", "Arrival", "Networks", "ProxySection", "is_behind", "requires_header", "trusted_by"]


class ProxySection(Protocol):
    """What the configuration says about proxies: for all listeners, or for one of them."""

    @property
    def proxies(self) -> Sequence[IPv4Network | IPv6Network] | None:
        """Networks of trusted proxies; None for those that all listeners have."""

    @property
    def proxy_protocol(self) -> str | None:
        """Whether their connections must begin with a PROXY header: ``required``; None for what all listeners do."""


class _NoProxies:
    proxies: Sequence[IPv4Network | IPv6Network] = ()
    proxy_protocol = "optional"


NO_PROXIES: Final[ProxySection] = _NoProxies()
"""Clients come directly."""


def trusted_by(listener: ProxySection, common: ProxySection) -> Sequence[IPv4Network | IPv6Network]:
    """The networks that a listener trusts; ``common`` is what all listeners do."""
    return (common.proxies if listener.proxies is None else listener.proxies) or ()


def requires_header(listener: ProxySection, common: ProxySection) -> bool:
    """Whether a listener refuses connections from these networks without a PROXY header."""
    return (listener.proxy_protocol or common.proxy_protocol) == "required"


def is_behind(listener: ProxySection, common: ProxySection) -> bool:
    """Whether clients reach a listener through proxies only, so that its port means nothing to them."""
    return bool(listener.proxies) or (bool(trusted_by(listener, common)) and requires_header(listener, common))


class Networks:
    """A set of networks. Whether an address is in it costs a look-up for each length of prefix, not for each network.

    An IPv4 address that is mapped into IPv6 is the IPv4 address.
    """

    __slots__ = ("_prefixes",)

    def __init__(self, networks: Iterable[IPv4Network | IPv6Network] = ()) -> None:
        self._prefixes: dict[tuple[int, int], set[int]] = {}
        """Network addresses without their host bits, by the bytes of an address and the number of those bits."""
        for network in networks:
            packed = network.network_address.packed
            host_bits = network.max_prefixlen - network.prefixlen
            prefixes = self._prefixes.setdefault((len(packed), host_bits), set())
            prefixes.add(int.from_bytes(packed, "big") >> host_bits)

    def __bool__(self) -> bool:
        """Whether there is any."""
        return bool(self._prefixes)

    def __contains__(self, address: Address) -> bool:
        """Whether one of them has the address."""
        ip = address.canonical().ip
        number = int.from_bytes(ip, "big")
        return any(
            size == len(ip) and number >> host_bits in prefixes
            for (size, host_bits), prefixes in self._prefixes.items()
        )


NOBODY: Final = Networks()
"""No proxy is trusted."""


class Arrival(NamedTuple):
    """What a listener knows of a connection when it passes it on.

    ``client`` is the source in the PROXY header or, without one, the other end of the connection. ``secure`` is whether
    the client uses TLS: with this server or, as the PROXY header says, with the proxy. ``port`` is the one that the
    client has connected to, 0 if no PROXY header tells it. ``proxied`` says that the other end is one of ``proxies``,
    the networks that may tell more. ``claim`` counts the connection for a client, once one is known to whom it belongs;
    it returns False if that client has too many. It is None for a connection that is counted already.
    """

    client: Address
    secure: bool = False
    port: int = 0
    proxied: bool = False
    proxies: Networks = NOBODY
    claim: Callable[[Address], bool] | None = None
