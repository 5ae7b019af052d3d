"""The addresses of a server's name."""

import asyncio
import socket
from typing import Final

from stun.address import Address
from stun.client.errors import ServerUnreachable
from stun.uri import StunUri

__all__ = ["MAX_ADDRESSES", "NameNotResolved", "resolve"]

MAX_ADDRESSES: Final = 4
"""Maximum number of addresses that are tried for one name, so that a client does not wait for minutes."""


class NameNotResolved(ServerUnreachable):
    """A host name has no address; ``why`` says why, and may contain text of the resolver."""

    def __init__(self, host: str, why: str) -> None:
        super().__init__(f"The name {host!a} cannot be resolved: {why}.")
        self.why = why


async def resolve(uri: StunUri, patience: float) -> list[Address]:
    """The addresses of the URI's host in the system's order of preference; at least one.

    Raises `NameNotResolved` if there is none, or if the look-up takes more than ``patience`` seconds.
    """
    try:
        return [Address.parse(uri.host, uri.port)]
    except ValueError:
        pass  # A name.
    kind = socket.SOCK_DGRAM if uri.transport == "udp" else socket.SOCK_STREAM
    try:
        async with asyncio.timeout(patience):
            found = await asyncio.get_running_loop().getaddrinfo(uri.host, uri.port, type=kind)
    except TimeoutError:
        why = f"no answer in {patience:g} s"
    except socket.gaierror as error:
        why = error.strerror or "unknown"
    except (UnicodeError, OSError):
        why = "it cannot be a host name"
    else:
        addresses = [Address.parse(str(where[0]).partition("%")[0], uri.port) for *_, where in found]
        if addresses:
            return list(dict.fromkeys(addresses))[:MAX_ADDRESSES]
        why = "it has no address"
    raise NameNotResolved(uri.host, why)
