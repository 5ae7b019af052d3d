"""What the addresses that a server relays from mean for its clients: sentences for its operator, none if all is well.

The server says them in its log, and ``meshturn check`` as warnings.
"""

from collections.abc import Iterable
from typing import Final

from turnserver.core.settings import RelayAddress
from turnserver.core.types import DefaultFamily

__all__ = ["relay_advice"]

_FAMILIES: Final = {"ipv4": ("IPv4", 4), "ipv6": ("IPv6", 16)}


def relay_advice(relays: Iterable[RelayAddress], default_family: DefaultFamily) -> list[str]:
    """What should be changed about these addresses; ``default_family`` is the option of that name."""
    sizes = {len(relay.bound) for relay in relays}
    if default_family == "auto" or not sizes:
        return []
    words, size = _FAMILIES[default_family]
    if size in sizes:
        return []
    return [
        f"No relay address is {words}, which relay.default_family asks for: browsers, which ask for no family, get no "
        "relay (440). Use auto."
    ]
