"""What the DNS says of names: addresses and SRV records, asked for at the resolvers of this host.

dnspython asks the DNS itself. `socket.getaddrinfo` would give what this host's own ``/etc/hosts`` says, and Debian
writes the host's name there with a loopback address.
"""

import asyncio
import importlib.util
import socket
from collections.abc import Sequence
from ipaddress import ip_address
from typing import Any, NamedTuple, Protocol

from turnserver.core.types import IpAddress
from turnserver.text import one_line

__all__ = ["DnsResolver", "NoResolver", "Resolver", "SrvRecord", "SystemResolver", "resolver"]

_MOST = 64
"""Records of one answer that are looked at."""


class NoResolver(Exception):
    """The DNS cannot be asked, or has not answered; the message says why, in a few words."""


class SrvRecord(NamedTuple):
    """One SRV record (RFC 2782): where a service is. The target "." says that there is none."""

    target: str
    port: int


class Resolver(Protocol):
    """Asks the DNS. Both methods raise `NoResolver`; that a name does not exist is an empty answer."""

    async def addresses(self, name: str) -> list[IpAddress]:
        """The addresses of a name, of both families."""

    async def services(self, name: str) -> list[SrvRecord]:
        """The SRV records of a name."""


class SystemResolver:
    """Asks as any program of this host does, which knows its ``/etc/hosts``; it cannot ask for SRV records."""

    def __init__(self, patience: float) -> None:
        self._patience = patience

    async def addresses(self, name: str) -> list[IpAddress]:
        """The addresses that the system gives. Raises `NoResolver`."""
        try:
            async with asyncio.timeout(self._patience):
                found = await asyncio.get_running_loop().getaddrinfo(name, None, type=socket.SOCK_STREAM)
        except TimeoutError:
            raise NoResolver(f"no answer in {self._patience:g} s") from None
        except socket.gaierror as error:
            if error.errno in {socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME)}:
                return []
            raise NoResolver(error.strerror or "unknown") from None
        except (UnicodeError, OSError):
            raise NoResolver("it cannot be a host name") from None
        hosts = [str(where[0]).partition("%")[0] for *_, where in found[:_MOST]]
        return [ip_address(host) for host in dict.fromkeys(hosts)]

    async def services(self, name: str) -> list[SrvRecord]:
        """Raise `NoResolver`: the system has no call for SRV records."""
        raise NoResolver("SRV records need dnspython, which is not installed (pip install dnspython)")


class DnsResolver:
    """Asks the DNS by dnspython, at the name servers of ``/etc/resolv.conf`` or at ``servers``."""

    def __init__(self, patience: float, servers: Sequence[str] = (), port: int = 53) -> None:
        self._patience = patience
        self._servers = list(servers)
        self._port = port

    async def addresses(self, name: str) -> list[IpAddress]:
        """The records A and AAAA. Raises `NoResolver`."""
        found = [*await self._ask(name, "A"), *await self._ask(name, "AAAA")]
        return [ip_address(record.address) for record in found[:_MOST]]

    async def services(self, name: str) -> list[SrvRecord]:
        """The records SRV. Raises `NoResolver`."""
        records = await self._ask(name, "SRV")
        return [SrvRecord(record.target.to_text(omit_final_dot=True) or ".", record.port) for record in records[:_MOST]]

    async def _ask(self, name: str, kind: str) -> list[Any]:
        import dns.asyncresolver  # noqa: PLC0415  not a dependency of the server
        import dns.exception  # noqa: PLC0415
        import dns.name  # noqa: PLC0415
        import dns.resolver  # noqa: PLC0415

        try:
            asking = dns.asyncresolver.Resolver(configure=not self._servers)
            if self._servers:
                asking.nameservers, asking.port = list(self._servers), self._port
            asked = dns.name.from_text(name)
            answer = await asking.resolve(asked, kind, raise_on_no_answer=False, lifetime=self._patience)
        except dns.resolver.NXDOMAIN:
            return []
        except (dns.exception.DNSException, OSError, ValueError) as error:
            raise NoResolver(one_line(str(error) or type(error).__name__, 200)) from None
        return [] if answer.rrset is None else list(answer.rrset)


def resolver(patience: float) -> Resolver:
    """The best resolver that this host has; ``patience`` is how long an answer may take, in seconds."""
    return SystemResolver(patience) if importlib.util.find_spec("dns") is None else DnsResolver(patience)
