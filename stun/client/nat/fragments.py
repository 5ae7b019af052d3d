"""Whether UDP datagrams in fragments pass (RFC 5780 §3.5, §7.6)."""

from typing import Final

from stun.address import Address
from stun.attributes import PADDING
from stun.client.nat.findings import Behavior, Trial
from stun.client.nat.steps import Ask, Asks, Outcome, Script
from stun.constants import ErrorCode

__all__ = ["LARGEST_MTU", "fragments_test"]

LARGEST_MTU: Final = 9216
"""Bytes: interfaces with more are not tested, since that would be no datagram for the Internet."""

_SMALL: Final = 16
"""Bytes of PADDING that fit into any packet."""

_HEADERS: Final = 40 + 8 + 20 + 4
"""Bytes of IPv6, UDP and STUN headers, and of the header of PADDING."""


def fragments_test(sockets: tuple[int, int], server: Address, mtu: int) -> Script[Behavior]:
    """Ask with PADDING as long as the MTU, and with a little of it, each from a socket of its own.

    A server sends as much padding as it got, or as its own MTU has, so that the two tell the directions apart.
    """
    if mtu > LARGEST_MTU:
        return Behavior((), f"the interface takes {mtu} bytes in one packet, so that nothing is sent in fragments")
    size = -(-mtu // 4) * 4
    asks = [
        Ask(socket, server, ((PADDING, bytes(each)),)) for socket, each in zip(sockets, (size, _SMALL), strict=True)
    ]
    large, small = yield Asks(tuple(asks))
    trouble = next(filter(None, map(_refused, (large, small))), "")
    if trouble or (large.heard is None and large.why):
        return Behavior((), trouble or large.why)
    answers_are_long = any((each.heard.padding or 0) + _HEADERS > mtu for each in (large, small) if each.heard)
    if large.heard is not None:
        return Behavior((Trial.YES,), "" if answers_are_long else "only those that this host sends: answers were short")
    if small.heard is None:
        return Behavior((Trial.NO,), "those of the server's answers, which it pads by itself, do not arrive")
    if answers_are_long:
        return Behavior((Trial.NO,), "those that this host sends do not arrive; those of answers do")
    return Behavior((Trial.NO,), "those that this host sends, or those of the answers, do not arrive")


def _refused(outcome: Outcome) -> str:
    """Why the server does not take part; empty if it may."""
    if outcome.error == ErrorCode.UNKNOWN_ATTRIBUTE:
        return "the server does not know PADDING (420)"
    return "" if outcome.error is None else f"the server answers PADDING with the error {outcome.error}"
