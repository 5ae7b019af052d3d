"""Why a listener cannot be opened, in words for the operator."""

import errno
from typing import Final

from stun.address import Address
from turnserver.errors import StartupError

__all__ = ["startup_error"]

_FIRST_FREE_PORT: Final = 1024
_LIST_OPTION: Final = {"TCP": "-ltnp", "UDP": "-lunp"}


def startup_error(protocol: str, address: Address, error: OSError) -> StartupError:
    """The error for a listener of ``protocol`` (``TCP`` or ``UDP``) that could not be bound to ``address``."""
    where = f"{protocol} {address}"
    if error.errno == errno.EADDRINUSE:
        command = f"ss {_LIST_OPTION[protocol]} 'sport = :{address.port}'"
        return StartupError(
            f"{where} is already in use.",
            f"Stop the program that holds it ({command} names it) or choose another port.",
        )
    if error.errno in (errno.EACCES, errno.EPERM) and address.port < _FIRST_FREE_PORT:
        return StartupError(
            f"{where} is a privileged port and this user may not listen on it.",
            f"Choose a port from {_FIRST_FREE_PORT} up, or grant the program CAP_NET_BIND_SERVICE.",
        )
    if error.errno == errno.EADDRNOTAVAIL:
        return StartupError(
            f"{where} cannot be used: {address.host} is not an address of this machine.",
            "Listen on one of its addresses (ip address lists them); behind NAT, set the public one in relay.external.",
        )
    if error.errno == errno.EAFNOSUPPORT:
        family = "IPv4" if len(address.ip) == 4 else "IPv6"
        return StartupError(
            f"{where} cannot be used: this machine has no {family}.",
            f"Remove the {family} listeners, or enable {family} in the kernel.",
        )
    return StartupError(
        f"{where} cannot be used: {error.strerror or error}.", "See the address and port of the listener."
    )
