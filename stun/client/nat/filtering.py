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


def filtering_test(sockets: tuple[int, int, int], primary: Address, other: Address) -> Script[Behavior]:
    """Tests II and III of RFC 5780 §4.4, at the same time.

    Each has a socket of its own that has sent nothing yet: test II asks for an answer from the other address and port,
    test III for one from the other port. Silence counts only where the third socket, which asks there itself, gets an
    answer: a server may be told of an address that it does not have, or a firewall may let nothing out to it.
    """
    port_only = Address(primary.ip, other.port)
    second = Ask(sockets[0], primary, ((CHANGE_REQUEST, CHANGE_IP | CHANGE_PORT),), elsewhere=True)
    third = Ask(sockets[1], primary, ((CHANGE_REQUEST, CHANGE_PORT),), elsewhere=True)
    from_other, from_port = yield Asks((second, third))
    for outcome, wanted in ((from_other, other), (from_port, port_only)):
        trouble = _unfit(outcome, wanted)
        if trouble:
            return Behavior((), trouble)
    if from_other.ok:
        return Behavior((Dependence.ENDPOINT_INDEPENDENT,))
    other_answers, port_answers = yield Asks((Ask(sockets[2], other), Ask(sockets[2], port_only)))
    possible = [Dependence.ADDRESS_DEPENDENT if from_port.ok else Dependence.ADDRESS_AND_PORT_DEPENDENT]
    silent = []
    if not port_answers.ok and not from_port.ok:
        possible.insert(0, Dependence.ADDRESS_DEPENDENT)
        silent.append(port_only)
    if not other_answers.ok:
        possible.insert(0, Dependence.ENDPOINT_INDEPENDENT)
        silent.append(other)
    if not silent:
        return Behavior(tuple(possible))
    where = " and ".join(map(str, silent))
    why = f"the server does not answer at {where} either, so that its silence says nothing"
    return Behavior(tuple(possible) if len(possible) < len(Dependence) else (), why)


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
