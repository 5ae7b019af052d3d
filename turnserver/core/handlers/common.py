"""Steps that several methods share: the request's allocation, and the peers it may reach."""

from typing import NoReturn

from stun.address import Address
from stun.attributes import LIFETIME
from stun.constants import ErrorCode, TransportProtocol
from turnserver.core.allocation import Allocation, AllocationState, Relay
from turnserver.core.errors import Refusal
from turnserver.core.events import LoginFailed, PeerRefused
from turnserver.core.policy import cause_of
from turnserver.core.request import Request
from turnserver.core.state import CoreState
from turnserver.reasons import Reason

__all__ = [
    "check_credential",
    "check_peer",
    "granted_lifetime",
    "is_refused_now",
    "is_running_out",
    "own_allocation",
    "refusal_of",
    "refuse_expired",
    "relay_towards",
]

_MAX_REFUSED_REMEMBERED = 64
"""Refused peers remembered per allocation, so that each is reported once; no more than this number is reported."""


def own_allocation(state: CoreState, request: Request) -> Allocation:
    """The live allocation of the request's 5-tuple (RFC 8656 §5): none → 437, another user's → 441."""
    allocation = state.allocation(request.client)
    if allocation is None or allocation.state is not AllocationState.LIVE:
        raise Refusal(Reason.NO_ALLOCATION)
    if allocation.credential.username != request.user.username:
        raise Refusal(Reason.OTHER_USER)
    return allocation


def refuse_expired(state: CoreState, request: Request, expires: float) -> NoReturn:
    """A right credential that has expired → 401. No guess, so nothing is counted; the operator is told once."""
    client, now = request.client, request.now
    if state.logins.is_first(client.address.ip, request.user.user_id, now.mono):
        why, user_id = f"expired {round(now.wall - expires)} s ago", request.user.user_id
        state.event(LoginFailed(client, request.username, Reason.EXPIRED, why, user_id))
    raise Refusal(Reason.EXPIRED, challenge=True)


def is_running_out(state: CoreState, allocation: Allocation) -> bool:
    """Whether an allocation is only to live until its present expiry, because its credential has been removed."""
    return allocation.credential_removed and state.settings.auth.on_removal != "keep"


def check_credential(state: CoreState, allocation: Allocation, *, new: bool = True) -> None:
    """Nothing ``new`` for an allocation whose credential has been removed from the configuration → 403."""
    if new and is_running_out(state, allocation):
        raise Refusal(Reason.CREDENTIAL_REMOVED, code=ErrorCode.FORBIDDEN)


def granted_lifetime(state: CoreState, request: Request) -> int:
    """``max(default, min(requested, maximum))`` seconds (RFC 8656 §7.2; docs/conformance.md, rule 11)."""
    limits = state.settings.limits
    requested = request.message.first(LIFETIME)
    if requested is None:
        return limits.default_lifetime
    return max(limits.default_lifetime, min(requested, limits.max_lifetime))


def relay_towards(allocation: Allocation, peer: Address) -> Relay:
    """The relay of the peer's family (RFC 8656 §10.2, §12.2): none → 443."""
    relay = allocation.relay_for(peer.family)
    if relay is None:
        raise Refusal(Reason.NO_RELAY_OF_FAMILY, f"{peer.host}")
    return relay


def check_peer(state: CoreState, allocation: Allocation, peer: Address, *, with_port: bool) -> bool:
    """The peer ACL (RFC 8656 §10.2, rule 16): a refused peer → 403, reported with how often it was refused.

    With ``peers.refusal: swallow`` the result is False, and the caller does as if the peer were allowed; there are no
    such datagrams for TCP relays, so a Connect gets its 403.
    """
    rule = refusal_of(state, peer, with_port=with_port, protocol=allocation.protocol)
    if rule is None:
        return True
    swallow = state.settings.peers.refusal == "swallow" and allocation.protocol is TransportProtocol.UDP
    cause, count = cause_of(rule), allocation.refused.get(peer.ip, 0) + 1
    allocation.refusals += 1
    if count > 1 or len(allocation.refused) < _MAX_REFUSED_REMEMBERED:
        allocation.refused[peer.ip] = count
        told, user_id = Reason.PEER_SWALLOWED if swallow else cause, allocation.credential.user_id
        state.event(PeerRefused(allocation.client, peer, told, rule, user_id, count))
    if swallow:
        return False
    raise Refusal(cause, f"{peer.host}, {rule}")


def is_refused_now(state: CoreState, allocation: Allocation, peer: Address) -> bool:
    """Whether a peer with a permission is refused: by its port, or by a new ACL that is still being applied."""
    if not state.policy.depends_on_port(peer.ip) and allocation.serial not in state.unchecked:
        return False
    return refusal_of(state, peer, with_port=True) is not None


def refusal_of(
    state: CoreState, peer: Address, *, with_port: bool, protocol: TransportProtocol = TransportProtocol.UDP
) -> str | None:
    """Why the peer ACL refuses a peer, with or without its port; None if it may be reached with ``protocol``."""
    return state.refusal(peer, protocol if with_port else None)
