"""Whether a match of nftables (libnftables-json(5)) is true for a packet, as far as that can be said from here."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

__all__ = ["FirstPacket", "SetOf", "among", "holds"]

_TRANSPORTS: Final = frozenset({"udp", "udplite", "tcp", "sctp", "dccp", "icmp", "icmpv6", "igmp", "esp", "ah"})

SetOf = Callable[[str], list[Any] | None]
"""The elements of a named set; None for one that there is not."""


@dataclass(frozen=True, slots=True)
class FirstPacket:
    """The first packet of a client: IP version, ``udp`` or ``tcp``, the port, and the interface that it comes by."""

    version: int
    protocol: str
    port: int
    interface: str


def holds(match: Any, packet: FirstPacket, sets: SetOf) -> bool | None:
    """Whether a match is true for a packet; None if that is not known."""
    if not isinstance(match, dict):
        return None
    if _is_of_others(match.get("left"), packet):
        return False
    actual = _actual(match.get("left"), packet)
    found = None if actual is None else among(actual, match.get("right"), sets)
    operator = match.get("op")
    if found is None or operator not in {"==", "!=", "in"}:
        return None
    return not found if operator == "!=" else found


def among(actual: str | int, right: Any, sets: SetOf) -> bool | None:
    """Whether the right side of a match has a value; None if that is not known."""
    if isinstance(right, str):
        if right.startswith("@"):
            elements = sets(right[1:])
            return None if elements is None else among(actual, elements, sets)
        return isinstance(actual, str) and (actual.startswith(right[:-1]) if right.endswith("*") else actual == right)
    if isinstance(right, list):
        answers = [among(actual, each, sets) for each in right]
        return True if True in answers else None if None in answers else False
    if isinstance(right, dict):
        return _in_object(actual, right, sets)
    return actual == right if isinstance(right, int) and isinstance(actual, int) else None


def _in_object(actual: str | int, right: dict[str, Any], sets: SetOf) -> bool | None:
    """The same for a set that has no name, a range, or an element with a counter or a timeout."""
    if isinstance(right.get("set"), list):
        return among(actual, right["set"], sets)
    bounds = right.get("range")
    if isinstance(bounds, list) and len(bounds) == 2 and isinstance(actual, int):
        first, last = bounds
        return first <= actual <= last if isinstance(first, int) and isinstance(last, int) else None
    element = right.get("elem")
    return among(actual, element["val"], sets) if isinstance(element, dict) and "val" in element else None


def _is_of_others(left: Any, packet: FirstPacket) -> bool:
    """Whether a match looks into the header of another protocol, which nft takes for a test of the protocol as well."""
    value = left.get("payload") if isinstance(left, dict) else None
    protocol = value.get("protocol") if isinstance(value, dict) else None
    if protocol in {"ip", "ip6"}:
        return bool(protocol != ("ip" if packet.version == 4 else "ip6"))
    return protocol in _TRANSPORTS and protocol != packet.protocol


def _actual(left: Any, packet: FirstPacket) -> str | int | None:
    """What the left side of a match is for a packet; None if that is not known."""
    if not isinstance(left, dict) or len(left) != 1:
        return None
    ((kind, value),) = left.items()
    if not isinstance(value, dict):
        return None
    known: dict[tuple[object, ...], str | int] = {
        ("meta", "iifname"): packet.interface,
        ("meta", "iif"): packet.interface,
        ("meta", "l4proto"): packet.protocol,
        ("meta", "nfproto"): "ipv4" if packet.version == 4 else "ipv6",
        ("meta", "protocol"): "ip" if packet.version == 4 else "ip6",
        ("ct", "state"): "new",
        ("payload", packet.protocol, "dport"): packet.port,
        ("payload", "th", "dport"): packet.port,
        ("payload", "ip", "protocol"): packet.protocol,
        ("payload", "ip6", "nexthdr"): packet.protocol,
    }
    part = (kind, value.get("protocol"), value.get("field")) if kind == "payload" else (kind, value.get("key"))
    return known.get(part) if all(isinstance(each, str) for each in part) else None
