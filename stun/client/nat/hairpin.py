"""Whether a NAT hairpins: two hosts behind it reach each other at their mapped addresses (RFC 5780 §3.4)."""

from stun.address import Address
from stun.client.nat.findings import Behavior, Trial
from stun.client.nat.steps import Ask, Asks, Script

__all__ = ["hairpinning_test"]


def hairpinning_test(sockets: tuple[int, int], server: Address, *, one_way: bool) -> Script[Behavior]:
    """Send to the mapped address of one socket from another, and back: the requests themselves have to arrive.

    They go both ways, as ICE's checks do, so that a NAT that filters lets them in. ``one_way`` is for TCP, where both
    connections would be one.
    """
    one, two = sockets
    asked = yield Asks((Ask(one, server), Ask(two, server)))
    mapped = [outcome.mapped for outcome in asked]
    if mapped[0] is None or mapped[1] is None:
        return Behavior((), "the server did not answer two more sockets")
    checks = (Ask(two, mapped[0], elsewhere=True), Ask(one, mapped[1], elsewhere=True))
    outcomes = yield Asks(checks[:1] if one_way else checks, one_is_enough=True)
    return Behavior((Trial.YES if any(outcome.returned for outcome in outcomes) else Trial.NO,))
