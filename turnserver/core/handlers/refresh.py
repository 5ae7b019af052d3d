"""Refresh (RFC 8656 §8.2): extend or delete an allocation; with a ticket (RFC 8016 §3.2.2), from another 5-tuple."""

from stun.attributes import LIFETIME, MOBILITY_TICKET, REQUESTED_ADDRESS_FAMILY
from stun.constants import TransportProtocol
from turnserver.core.allocation import Allocation, AllocationState, Relay
from turnserver.core.errors import Refusal
from turnserver.core.events import AllocationRefreshed, EndReason
from turnserver.core.handlers.common import granted_lifetime, is_running_out, own_allocation, refuse_expired
from turnserver.core.request import Request
from turnserver.core.responses import begin_success, finish
from turnserver.core.state import CoreState
from turnserver.reasons import Reason

__all__ = ["handle"]


def handle(state: CoreState, request: Request) -> None:
    """Refresh, move or delete the client's allocation; LIFETIME 0 deletes (docs/conformance.md, rule 11)."""
    ticket = request.message.first(MOBILITY_TICKET)
    moves = ticket is not None
    allocation = own_allocation(state, request) if ticket is None else _moving_allocation(state, request, ticket)
    relays = _relays_meant(request, allocation)
    if request.message.first(LIFETIME) == 0:
        _delete(state, request, allocation, relays, moves=moves)
        return
    _credential_may_refresh(state, request, allocation)
    lifetime = granted_lifetime(state, request)
    if moves:
        state.moves.begin(allocation, request.client)
    for relay in relays:
        state.set_relay_expiry(allocation, relay, request.now.mono + lifetime)
    frame = _success(state, request, lifetime, allocation)
    if moves:
        state.moves.keep_answer(allocation, request.transaction, frame, request.now)
    state.answer(request, frame)
    state.event(AllocationRefreshed(request.client, allocation.credential.user_id, lifetime))


def _moving_allocation(state: CoreState, request: Request, sealed: bytes) -> Allocation:
    """RFC 8016 §3.2.2: the allocation of a ticket, by checks in the RFC's order.

    Mobility is off → 405. The ticket is not ours → 400, or its allocation has ended → 437. It has been used, or is too
    old → 400. The request comes from where the allocation is → 400. The allocation is another user's → 441.
    """
    if not state.settings.relay.mobility:
        raise Refusal(Reason.MOBILITY_OFF)
    ticket = state.moves.opened(sealed)
    if ticket is None:
        raise Refusal(Reason.TICKET_INVALID, "not made by this server since its start")
    allocation = state.by_serial.get(ticket.serial)
    if allocation is None or allocation.state is not AllocationState.LIVE:
        raise Refusal(Reason.NO_ALLOCATION)
    if ticket.number <= allocation.spent:
        raise Refusal(Reason.TICKET_INVALID, "used already")
    if ticket.expires <= request.now.mono * 1000:
        raise Refusal(Reason.TICKET_INVALID, "too old")
    if request.client == (allocation.moving or allocation.client):
        raise Refusal(Reason.TICKET_NOT_NEEDED)
    if allocation.credential.username != request.user.username:
        raise Refusal(Reason.OTHER_USER)
    _fits(state, request, allocation)
    return allocation


def _fits(state: CoreState, request: Request, allocation: Allocation) -> None:
    """A 5-tuple has one allocation (RFC 8656 §2.2) → 437; the control connection of a TCP relay is a stream (RFC 6062
    §4.1) → 400.
    """
    if state.allocation(request.client) not in (None, allocation):
        raise Refusal(Reason.ALLOCATION_EXISTS)
    if allocation.protocol is TransportProtocol.TCP and not request.client.transport.tcp_relays:
        raise Refusal(Reason.NEEDS_STREAM)


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


def _delete(state: CoreState, request: Request, allocation: Allocation, relays: list[Relay], *, moves: bool) -> None:
    """LIFETIME 0: end the allocation, or one half of it. The answer is kept, since a retransmission would get 437.

    A ticket that comes with it moves what is left.
    """
    if len(relays) == len(allocation.relays):
        state.end_allocation(allocation, EndReason.DELETED, request.now)
        frame = _success(state, request, 0)
        moves = False
    else:
        if moves:
            state.moves.begin(allocation, request.client)
        for relay in relays:
            state.drop_relay(allocation, relay, request.now)
        frame = _success(state, request, 0, allocation)
    if moves:
        state.moves.keep_answer(allocation, request.transaction, frame, request.now)
    else:
        state.keep_answer(request.transaction, frame, request.now)
    state.answer(request, frame)


def _success(state: CoreState, request: Request, lifetime: int, allocation: Allocation | None = None) -> bytes:
    """The answer, with a new ticket for a mobile allocation (RFC 8016 §3.2.2, §3.2.3)."""
    builder = begin_success(request).add(LIFETIME, lifetime)
    if allocation is not None and allocation.mobile and state.settings.relay.mobility:
        builder.add(MOBILITY_TICKET, state.moves.issue(allocation))
    return finish(builder, request, state.settings.software)
