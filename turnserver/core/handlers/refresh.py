"""Refresh (RFC 8656 §8.2): extend or delete an allocation."""

from stun.attributes import LIFETIME, REQUESTED_ADDRESS_FAMILY
from turnserver.core.allocation import Allocation, Relay
from turnserver.core.errors import Refusal
from turnserver.core.events import AllocationRefreshed, EndReason
from turnserver.core.handlers.common import granted_lifetime, is_running_out, own_allocation, refuse_expired
from turnserver.core.request import Request
from turnserver.core.responses import begin_success, finish
from turnserver.core.state import CoreState
from turnserver.reasons import Reason

__all__ = ["handle"]


def handle(state: CoreState, request: Request) -> None:
    """Refresh or delete the client's allocation; LIFETIME 0 deletes (docs/conformance.md, rule 11)."""
    allocation = own_allocation(state, request)
    relays = _relays_meant(request, allocation)
    if request.message.first(LIFETIME) == 0:
        _delete(state, request, allocation, relays)
        return
    _credential_may_refresh(state, request, allocation)
    lifetime = granted_lifetime(state, request)
    for relay in relays:
        state.set_relay_expiry(allocation, relay, request.now.mono + lifetime)
    state.answer(request, _success(state, request, lifetime))
    state.event(AllocationRefreshed(request.client, allocation.credential.user_id, lifetime))


def _relays_meant(request: Request, allocation: Allocation) -> list[Relay]:
    """§8.2: REQUESTED-ADDRESS-FAMILY names one half of a dual allocation; a family without a relay → 443."""
    family = request.message.first(REQUESTED_ADDRESS_FAMILY)
    relays = [relay for relay in allocation.relays if family is None or relay.family == family]
    if not relays:
        raise Refusal(Reason.NO_RELAY_OF_FAMILY, "REQUESTED-ADDRESS-FAMILY")
    return relays


def _credential_may_refresh(state: CoreState, request: Request, allocation: Allocation) -> None:
    """A credential that has been removed may delete, but not refresh; nor, by rule 24's strict switch, may an expired
    one.
    """
    if is_running_out(state, allocation):
        raise Refusal(Reason.CREDENTIAL_REMOVED, challenge=True)
    expires = request.user.expires_at
    if state.settings.auth.strict_expiry and expires is not None and expires <= request.now.wall:
        refuse_expired(state, request, expires)


def _delete(state: CoreState, request: Request, allocation: Allocation, relays: list[Relay]) -> None:
    """LIFETIME 0: end the allocation, or one half of it. The answer is kept, since a retransmission would get 437."""
    if len(relays) == len(allocation.relays):
        state.end_allocation(allocation, EndReason.DELETED, request.now)
    else:
        for relay in relays:
            state.drop_relay(allocation, relay, request.now)
    frame = _success(state, request, 0)
    state.keep_answer(request.transaction, frame, request.now)
    state.answer(request, frame)


def _success(state: CoreState, request: Request, lifetime: int) -> bytes:
    return finish(begin_success(request).add(LIFETIME, lifetime), request, state.settings.software)
