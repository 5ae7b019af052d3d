"""How a NAT or a firewall filters (RFC 5780 §4.4; RFC 4787 §5)."""

from typing import Final

from stun.address import Address
from stun.attributes import CHANGE_REQUEST
from stun.client.nat.findings import Behavior, Dependence
from stun.client.nat.steps import Ask, Asks, Outcome, Script
from stun.constants import ErrorCode

__all__ = ["CHANGE_IP", "CHANGE_PORT", "filtering_test"]

CHANGE_IP: Final = 4
CHANGE_PORT: Final = 2
"""RFC 5780 §7.2: the flags of CHANGE-REQUEST."""


def filtering_test(sockets: tuple[int, int], primary: Address, other: Address) -> Script[Behavior]:
    """Tests II and III of RFC 5780 §4.4, at the same time.

    Each has a socket of its own that has sent nothing yet: test II asks for an answer from the other address and port,
    test III for one from the other port.
    """
    second = Ask(sockets[0], primary, ((CHANGE_REQUEST, CHANGE_IP | CHANGE_PORT),), elsewhere=True)
    third = Ask(sockets[1], primary, ((CHANGE_REQUEST, CHANGE_PORT),), elsewhere=True)
    from_other, from_port = yield Asks((second, third))
    for outcome, wanted in ((from_other, other), (from_port, Address(primary.ip, other.port))):
        trouble = _unfit(outcome, wanted)
        if trouble:
            return Behavior((), trouble)
    if from_other.ok:
        return Behavior((Dependence.ENDPOINT_INDEPENDENT,))
    if from_port.ok:
        return Behavior((Dependence.ADDRESS_DEPENDENT,))
    return Behavior((Dependence.ADDRESS_AND_PORT_DEPENDENT,))


def _unfit(outcome: Outcome, wanted: Address) -> str:
    """Why an outcome says nothing about filtering; empty if it does."""
    if outcome.error == ErrorCode.UNKNOWN_ATTRIBUTE:
        return "the server names another address, but refuses CHANGE-REQUEST (420)"
    if outcome.error is not None:
        return f"the server answers CHANGE-REQUEST with the error {outcome.error}"
    if outcome.heard is not None and outcome.heard.source != wanted:
        return (
            f"the server was asked for an answer from {wanted}, and sent it from {outcome.heard.source}: "
            "it does not do what CHANGE-REQUEST says"
        )
    if outcome.heard is None and outcome.why:
        return outcome.why
    return ""
