"""How long a NAT keeps a binding that is idle (RFC 5780 §4.6; RFC 4787 §4.3).

The search takes rounds. In each, some sockets make a binding at the same time, and each is left idle for a time of its
own. Then another socket asks the server to send an answer there (RESPONSE-PORT). A round takes as long as its longest
time, or ends after two bindings in succession have expired.
"""

from collections.abc import Iterable, Sequence
from typing import Any, Final

from stun.address import Address
from stun.attributes import RESPONSE_PORT
from stun.client.nat.dialogue import PACE
from stun.client.nat.findings import Lifetime
from stun.client.nat.steps import Ask, Asks, Note, Outcome, Pause, Script
from stun.constants import ErrorCode

__all__ = ["longest_search", "search_lifetime", "times_of_first_round"]

_LADDER: Final = (1, 2, 5, 10, 20, 30, 45, 60, 90, 120, 180, 240, 300, 450, 600, 900, 1800, 3600)
"""Seconds that a binding may be idle in the first round; NATs have 30 to 300 (RFC 4787 §4.3 asks for more than 120)."""

_LATER_POINTS: Final = 3
_ROUNDS: Final = 3
_NEAR: Final = 0.1
_NEAR_SECONDS: Final = 2.5
"""The search ends when the bounds differ by a tenth of the upper one, or by so little."""

_CHECK: Final = 2.0
"""Seconds to wait for the answer that shows that a binding lives: what is sent again later tests a later time."""

_ENOUGH_EXPIRED: Final = 2


def times_of_first_round(limit: float) -> tuple[float, ...]:
    """The idle times of the first round of a search up to ``limit`` seconds."""
    return (*(float(each) for each in _LADDER if each < limit), float(limit))


def longest_search(limit: float, patience: float) -> float:
    """At most so many seconds take a search up to ``limit``, with ``patience`` for each answer."""
    checks = len(times_of_first_round(limit)) + (_ROUNDS - 1) * _LATER_POINTS + 2
    return _ROUNDS * limit + checks * _CHECK + (_ROUNDS + 2) * (patience + checks * PACE)


def search_lifetime(sockets: Iterable[int], control: int, server: Address, limit: float) -> Script[Lifetime]:
    """Search up to ``limit`` seconds; each binding takes a fresh socket of ``sockets``, and ``control`` asks."""
    fresh = iter(sockets)
    trouble = yield from _trouble(next(fresh), control, server)
    if trouble:
        return Lifetime(why=trouble)
    lower, upper, unsteady = 0.0, None, False
    times: Sequence[float] = times_of_first_round(limit)
    for number in range(_ROUNDS):
        yield Note(f"Round {number + 1}: bindings are idle for {_listed(times)} s.")
        lived, expired = yield from _round([(next(fresh), idle) for idle in times], control, server)
        lower = max([lower, *lived])
        bounds = [each for each in ([] if upper is None else [upper]) + expired if each > lower]
        unsteady = unsteady or any(each <= lower for each in expired)
        upper = min(bounds, default=None)
        if upper is None or upper - lower <= max(_NEAR_SECONDS, _NEAR * upper):
            break
        step = (upper - lower) / (_LATER_POINTS + 1)
        times = [lower + step * (point + 1) for point in range(_LATER_POINTS)]
    trouble = yield from _trouble(next(fresh), control, server)
    if trouble:
        return Lifetime(why=f"something has changed during the search: {trouble}")
    return Lifetime(lower, upper, unsteady)


def _round(
    points: Sequence[tuple[int, float]], control: int, server: Address
) -> Script[tuple[list[float], list[float]]]:
    """How long bindings had been idle when they were seen alive, and when they were seen expired."""
    made: tuple[Outcome, ...] = yield Asks(tuple(Ask(socket, server) for socket, _ in points))
    lived: list[float] = []
    expired: list[float] = []
    gone = 0
    for binding, (socket, idle) in zip(made, points, strict=True):
        if binding.mapped is None:
            continue
        yield Pause(binding.ended + idle)
        check: Outcome
        check, alive = yield from _is_alive(socket, control, server, binding.mapped.port)
        if alive:
            lived.append(check.first - binding.ended)
            gone = 0
            continue
        expired.append(check.last - binding.first)
        gone += 1
        if gone == _ENOUGH_EXPIRED:
            break
    return lived, expired


def _is_alive(socket: int, control: int, server: Address, port: int) -> Script[tuple[Outcome, bool]]:
    """Have the server answer to ``port``, the mapped one of ``socket``.

    The answer may come to ``control``, if the binding has expired and the NAT has given its port to that socket.
    """
    (check,) = yield Asks((Ask(control, server, ((RESPONSE_PORT, port),), patience=_CHECK),))
    return check, check.heard is not None and check.ok and check.heard.socket == socket


def _trouble(socket: int, control: int, server: Address) -> Script[str]:
    """Why the search is not possible; empty if a fresh binding is reached by RESPONSE-PORT."""
    asked: Any = yield Asks((Ask(socket, server), Ask(control, server)))
    binding, other = (outcome.mapped for outcome in asked)
    if binding is None or other is None:
        return "the server did not answer two more sockets"
    if binding.ip != other.ip:
        return (
            "the NAT gives one host several public addresses (RFC 4787 §4.1: IP address pooling is arbitrary), "
            "and RESPONSE-PORT names a port only"
        )
    check, alive = yield from _is_alive(socket, control, server, binding.port)
    if check.error == ErrorCode.UNKNOWN_ATTRIBUTE:
        return "the server does not know RESPONSE-PORT (420)"
    if check.error is not None:
        return f"the server answers RESPONSE-PORT with the error {check.error}"
    if check.heard is not None and not alive:
        return "the server does not send its answer to the port of RESPONSE-PORT"
    return "" if alive else "an answer to the port of RESPONSE-PORT does not arrive, not even for a fresh binding"


def _listed(times: Sequence[float]) -> str:
    return ", ".join(f"{each:.3g}" for each in times)
