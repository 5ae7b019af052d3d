"""Allocate (RFC 8656 §7.2): the RFC's numbered checks in order, then relays are opened, then the answer.

The success answer is built only when the shell has reported that the relay sockets are open. A port that somebody else
has is an ordinary input: another port is tried, and 508 is answered when every attempt has failed. An error that is not
about the port would be the same for every port, so that it ends the attempts at once: those on this address if the
system does not have it, all of them if the system has no socket left.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from stun.attributes import (
    ADDITIONAL_ADDRESS_FAMILY,
    ADDRESS_ERROR_CODE,
    DONT_FRAGMENT,
    EVEN_PORT,
    LIFETIME,
    MOBILITY_TICKET,
    REQUESTED_ADDRESS_FAMILY,
    REQUESTED_TRANSPORT,
    RESERVATION_TOKEN,
    XOR_MAPPED_ADDRESS,
    XOR_RELAYED_ADDRESS,
    AddressErrorValue,
)
from stun.constants import AddressFamily, ErrorCode, TransportProtocol
from turnserver.core.allocation import Relay, RelayState
from turnserver.core.answers import refuse
from turnserver.core.errors import Refusal, Silence
from turnserver.core.events import AllocationOpened, EndReason, OddExpiry
from turnserver.core.handlers.common import granted_lifetime, refuse_expired
from turnserver.core.quota import QuotaVerdict
from turnserver.core.request import Request
from turnserver.core.responses import begin_success, finish
from turnserver.core.state import CoreState, RelayOpening, Slot
from turnserver.core.types import Now, RelayFailure, RelayId
from turnserver.reasons import Reason, phrase

__all__ = ["expired", "handle", "relay_failed", "relay_opened"]

_MILLISECONDS = 1e11
"""An expiry beyond the year 5138 is a time in milliseconds, which any time since 1973 is."""

_CAUSES = {
    RelayFailure.PORT: Reason.RELAY_PORTS,
    RelayFailure.ADDRESS: Reason.RELAY_ADDRESS,
    RelayFailure.SYSTEM: Reason.RELAY_SOCKET,
    RelayFailure.TIMEOUT: Reason.RELAY_TIMEOUT,
}
"""Why there is no relay, for the answer and the log."""

_VERSIONS = {AddressFamily.IPV4: 4, AddressFamily.IPV6: 6}


@dataclass(slots=True)
class _Plan:
    """What the client asks for, as found by the checks."""

    protocol: TransportProtocol = TransportProtocol.UDP
    families: list[AddressFamily] = field(default_factory=list)
    errors: list[AddressErrorValue] = field(default_factory=list)
    lifetime: int = 0
    even: bool = False
    reserve: bool = False
    token: bytes | None = None
    reserved: Relay | None = None
    mobile: bool = False


def handle(state: CoreState, request: Request) -> None:
    """Run the checks and begin to open relays; `relay_opened` or `relay_failed` leads to the answer."""
    plan = _Plan()
    for check in _CHECKS:
        check(state, request, plan)
    _take_quota(state, request, plan)
    try:
        _redirect(state, request)
        _redeem(state, request, plan)
    except Exception:
        state.quota.give_back(request.user.user_id)
        raise
    _open(state, request, plan)


def _no_allocation_yet(state: CoreState, request: Request, plan: _Plan) -> None:
    """§7.2 step 2: the 5-tuple has an allocation → 437. (An answered retransmission never gets here.)"""
    allocation = state.allocation(request.client)
    if allocation is None:
        return
    opening = state.openings.get(allocation.serial)
    if opening is not None and opening.request.transaction == request.transaction:
        raise Silence("retransmission of an Allocate that is being answered")
    raise Refusal(Reason.ALLOCATION_EXISTS)


def _credential_not_expired(state: CoreState, request: Request, plan: _Plan) -> None:
    """docs/conformance.md, rule 24: the expiry of a time-limited credential is checked here and nowhere else."""
    expires = request.user.expires_at
    if expires is not None and expires <= request.now.wall:
        refuse_expired(state, request, expires)
    if expires is not None and expires > _MILLISECONDS and not state.odd_expiry:
        state.odd_expiry = True
        state.event(OddExpiry(request.client, request.username, request.user.user_id, expires))


def _transport(state: CoreState, request: Request, plan: _Plan) -> None:
    """§7.2 step 3: no REQUESTED-TRANSPORT → 400, one that is not offered → 442."""
    protocol = request.message.first(REQUESTED_TRANSPORT)
    if protocol is None:
        raise Refusal(Reason.MISSING_ATTRIBUTE, "REQUESTED-TRANSPORT")
    if protocol == TransportProtocol.TCP:
        _tcp(state, request)
        plan.protocol = TransportProtocol.TCP
    elif protocol != TransportProtocol.UDP:
        raise Refusal(Reason.UNSUPPORTED_TRANSPORT, f"protocol {protocol}")


def _tcp(state: CoreState, request: Request) -> None:
    """RFC 6062 §5.1: only over TCP or TLS, and without DONT-FRAGMENT, EVEN-PORT and RESERVATION-TOKEN → 400.

    Where TCP relays are switched off, TCP is a protocol that is not offered → 442.
    """
    if not state.settings.relay.tcp:
        raise Refusal(Reason.UNSUPPORTED_TRANSPORT, "relay.tcp is false")
    if not request.client.transport.tcp_relays:
        raise Refusal(Reason.NEEDS_STREAM)
    if any(request.message.has(other) for other in (DONT_FRAGMENT, EVEN_PORT, RESERVATION_TOKEN)):
        raise Refusal(Reason.CONTRADICTING_ATTRIBUTES, "a TCP relay with DONT-FRAGMENT, EVEN-PORT or RESERVATION-TOKEN")


def _reservation(state: CoreState, request: Request, plan: _Plan) -> None:
    """§7.2 step 5: RESERVATION-TOKEN beside EVEN-PORT or a family → 400; an unknown token → 508."""
    message = request.message
    plan.token = message.first(RESERVATION_TOKEN)
    if plan.token is None:
        return
    if any(message.has(other) for other in (EVEN_PORT, REQUESTED_ADDRESS_FAMILY, ADDITIONAL_ADDRESS_FAMILY)):
        raise Refusal(Reason.CONTRADICTING_ATTRIBUTES, "RESERVATION-TOKEN with EVEN-PORT or a family")
    reservation = state.reservations.get(plan.token)
    if reservation is None or reservation.user_id != request.user.user_id:
        raise Refusal(Reason.UNKNOWN_RESERVATION)


def _families(state: CoreState, request: Request, plan: _Plan) -> None:
    """§7.2 steps 6, 7 and 9: both family attributes → 400, an unsupported one → 440."""
    additional = request.message.first(ADDITIONAL_ADDRESS_FAMILY)
    if additional is not None and request.message.has(REQUESTED_ADDRESS_FAMILY):
        raise Refusal(Reason.CONTRADICTING_ATTRIBUTES, "REQUESTED-ADDRESS-FAMILY with ADDITIONAL-ADDRESS-FAMILY")
    wanted = _requested_family(request)
    if additional is not None and additional != AddressFamily.IPV6:
        raise Refusal(Reason.ADDITIONAL_FAMILY)
    if plan.token is not None:
        return
    if additional is not None:
        families = [AddressFamily.IPV4, AddressFamily.IPV6]
    else:
        families = [wanted or _default_family(state, request.now)]
    code = ErrorCode.ADDRESS_FAMILY_NOT_SUPPORTED
    for family in families:
        if state.choice.of(family):
            plan.families.append(family)
        else:
            plan.errors.append(AddressErrorValue(family, code, phrase(code, Reason.UNSUPPORTED_FAMILY)))
    if not plan.families:
        raise Refusal(Reason.UNSUPPORTED_FAMILY, " and ".join(f"IPv{_VERSIONS[family]}" for family in families))


def _default_family(state: CoreState, now: Now) -> AddressFamily:
    """§7.2: IPv4 when nobody asked; docs/conformance.md, rule 23, says why ``auto`` may give IPv6."""
    setting = state.settings.relay.default_family
    if setting == "auto":
        return state.choice.available(now) or AddressFamily.IPV4
    return AddressFamily.IPV6 if setting == "ipv6" else AddressFamily.IPV4


def _requested_family(request: Request) -> AddressFamily | None:
    """§18.6: an unknown family counts as one that the server does not support → 440."""
    value = request.message.first(REQUESTED_ADDRESS_FAMILY)
    if value is None:
        return None
    try:
        return AddressFamily(value)
    except ValueError:
        raise Refusal(Reason.UNSUPPORTED_FAMILY, f"family {value}") from None


def _even_port(state: CoreState, request: Request, plan: _Plan) -> None:
    """§7.2 step 8: EVEN-PORT with R=1 beside ADDITIONAL-ADDRESS-FAMILY → 400."""
    reserve = request.message.first(EVEN_PORT)
    if reserve is None:
        return
    if reserve and request.message.has(ADDITIONAL_ADDRESS_FAMILY):
        raise Refusal(Reason.CONTRADICTING_ATTRIBUTES, "EVEN-PORT with R=1 and ADDITIONAL-ADDRESS-FAMILY")
    plan.even, plan.reserve = True, reserve


def _lifetime(state: CoreState, request: Request, plan: _Plan) -> None:
    """§7.2: the time-to-expiry; computed before anything is opened, so that a malformed LIFETIME costs nothing."""
    plan.lifetime = granted_lifetime(state, request)


def _mobility(state: CoreState, request: Request, plan: _Plan) -> None:
    """RFC 8016 §3.1.2: MOBILITY-TICKET where mobility is off → 405; one that is not empty → 400."""
    ticket = request.message.first(MOBILITY_TICKET)
    if ticket is None:
        return
    if not state.settings.relay.mobility:
        raise Refusal(Reason.MOBILITY_OFF)
    if ticket:
        raise Refusal(Reason.TICKET_ASKED_WITH)
    plan.mobile = True


def _not_draining(state: CoreState, request: Request, plan: _Plan) -> None:
    """A server that is about to stop: 300 where another one is known, else 508. Before the quota, which is no matter.

    A retransmission of an Allocate that has been answered gets its answer before any check.
    """
    if state.draining:
        _redirect(state, request)
        raise Refusal(Reason.DRAINING, "the server is about to stop")


_CHECKS: tuple[Callable[[CoreState, Request, _Plan], None], ...] = (
    _no_allocation_yet,
    _credential_not_expired,
    _transport,
    _reservation,
    _families,
    _even_port,
    _lifetime,
    _mobility,
    _not_draining,
)


def _take_quota(state: CoreState, request: Request, plan: _Plan) -> None:
    """§7.2 step 10: the user's quota → 486, the server's capacity → 508. Taken before any socket (rule 25).

    Reserved relays belong to no allocation yet, so they have a separate limit of the same size.
    """
    user_id = request.user.user_id
    sockets = len(plan.families) * (2 if plan.reserve else 1)
    shortage = state.descriptors.shortage(user_id, sockets, claimed=int(request.client.transport.stream))
    if plan.reserve and state.reserved_by(user_id) >= state.settings.limits.allocations_per_user:
        raise Refusal(Reason.USER_QUOTA, "reserved ports, limits.allocations_per_user")
    verdict = state.quota.take(user_id)
    if verdict is QuotaVerdict.USER_FULL:
        raise Refusal(Reason.USER_QUOTA, "limits.allocations_per_user")
    if verdict is QuotaVerdict.SERVER_FULL:
        raise Refusal(Reason.SERVER_FULL, "limits.allocations")
    if shortage is not None:
        state.quota.give_back(user_id)
        raise Refusal(shortage)


def _redirect(state: CoreState, request: Request) -> None:
    """§7.2 step 11 and RFC 8489 §10: send new allocations elsewhere → 300 with ALTERNATE-SERVER."""
    family = request.client.address.canonical().family
    for alternate in state.settings.alternate_servers:
        if alternate.family is family:
            raise Refusal(Reason.REDIRECTED, str(alternate), alternate=alternate)


def _redeem(state: CoreState, request: Request, plan: _Plan) -> None:
    """§7.2: a RESERVATION-TOKEN is valid for one allocation."""
    if plan.token is not None:
        plan.reserved = state.redeem(plan.token, request.user.user_id)
        if plan.reserved is None:
            raise Refusal(Reason.UNKNOWN_RESERVATION)


def _open(state: CoreState, request: Request, plan: _Plan) -> None:
    allocation = state.new_allocation(request.client, request.user, request.now, plan.protocol)
    allocation.mobile = plan.mobile
    opening = RelayOpening(request, allocation, plan.lifetime, [], plan.errors)
    state.begin_opening(opening, request.now)
    if plan.reserved is not None:
        state.attach_relay(allocation, plan.reserved)
        _finish(state, opening, request.now)
        return
    server = request.client.server.ip
    for family in plan.families:
        addresses = state.choice.of(family, server, request.now)
        slot = Slot(family, addresses, even=plan.even, pair=plan.reserve)
        opening.slots.append(slot)
    for slot in opening.slots:
        _try_next_port(state, opening, slot, request.now)
    _settle(state, opening, request.now)


def _try_next_port(state: CoreState, opening: RelayOpening, slot: Slot, now: Now) -> None:
    """Open the slot's relay on another random port (rule 13), or on another address if this one has no free port."""
    protocol, holder = opening.allocation.protocol, opening.allocation.credential.user_id
    for address in slot.addresses if slot.attempts > 0 else ():
        port = state.ports[address.bound, protocol].take(now, even=slot.even, pair=slot.pair)
        if port is None:
            continue
        slot.attempts -= 1
        slot.relay = state.new_relay(address, port, protocol, holder=holder)
        state.attach_relay(opening.allocation, slot.relay)
        state.opening_relays[slot.relay.id] = (opening, slot)
        if slot.pair:
            slot.mate = state.new_relay(address, port + 1, holder=holder)
            state.opening_relays[slot.mate.id] = (opening, slot)
        return
    slot.failed = True


def relay_opened(state: CoreState, relay_id: RelayId, now: Now) -> None:
    """The shell has bound a relay's socket."""
    found = _outcome(state, relay_id, RelayState.OPEN)
    if found is not None:
        _settle(state, found[0], now)


def relay_failed(state: CoreState, relay_id: RelayId, failure: RelayFailure, now: Now) -> None:
    """The shell could not bind a relay's socket: give up the port and its pair, and try others if that may help.

    A relay that fails after the Allocate has been answered is lost.
    """
    found = _outcome(state, relay_id, RelayState.FAILED) or _unanswered(state, relay_id)
    if found is None:
        state.lose_relay(relay_id, now)
        return
    opening, slot = found
    tried = [relay.bound.ip for relay in (slot.relay, slot.mate) if relay is not None]
    _give_up_port(state, opening, slot, now)
    slot.failure = failure
    if failure is RelayFailure.ADDRESS:
        for ip in tried:
            state.choice.absent(ip, now)
        slot.addresses = [address for address in slot.addresses if address.bound not in tried]
    elif failure is RelayFailure.SYSTEM:
        slot.addresses = []
    _try_next_port(state, opening, slot, now)
    _settle(state, opening, now)


def expired(state: CoreState, serial: int, now: Now) -> None:
    """The shell has not reported on every relay in time: the Allocate goes on without the missing relays."""
    opening = state.openings.get(serial)
    if opening is None:
        return
    opening.request.now = now
    for slot in [slot for slot in opening.slots if not slot.settled]:
        _give_up_port(state, opening, slot, now)
        slot.failed, slot.failure = True, RelayFailure.TIMEOUT
    _settle(state, opening, now)


def _give_up_port(state: CoreState, opening: RelayOpening, slot: Slot, now: Now) -> None:
    if slot.relay is not None:
        state.drop_relay(opening.allocation, slot.relay, now)
        slot.relay = None
    state.drop_mate(slot, now)


def _outcome(state: CoreState, relay_id: RelayId, outcome: RelayState) -> tuple[RelayOpening, Slot] | None:
    """Record whether a relay opened, and return the Allocate that waits for it; None if none waits any more."""
    found = state.opening_relays.pop(relay_id, None)
    if found is not None:
        for relay in (found[1].relay, found[1].mate):
            if relay is not None and relay.id == relay_id:
                relay.state = outcome
                if outcome is RelayState.OPEN:
                    state.choice.present(relay.bound.ip)
    return found


def _unanswered(state: CoreState, relay_id: RelayId) -> tuple[RelayOpening, Slot] | None:
    """The Allocate that has this relay open and still waits for another relay."""
    for opening in state.openings.values():
        for slot in opening.slots:
            if any(relay is not None and relay.id == relay_id for relay in (slot.relay, slot.mate)):
                return opening, slot
    return None


def _settle(state: CoreState, opening: RelayOpening, now: Now) -> None:
    """Answer as soon as every relay asked for has opened or failed."""
    if opening.allocation.serial not in state.openings or not all(slot.settled for slot in opening.slots):
        return
    if not opening.allocation.relays:
        state.end_allocation(opening.allocation, EndReason.DELETED, now)
        cause = _CAUSES[opening.slots[0].failure]
        detail = f"relay.ports {state.settings.relay.ports}" if cause is Reason.RELAY_PORTS else ""
        refuse(state, opening.request, Refusal(cause, detail))
        return
    code = ErrorCode.INSUFFICIENT_CAPACITY
    opening.errors += [
        AddressErrorValue(slot.family, code, phrase(code, _CAUSES[slot.failure]))
        for slot in opening.slots
        if slot.failed
    ]
    _finish(state, opening, now)


def _finish(state: CoreState, opening: RelayOpening, now: Now) -> None:
    """§7.2: the success answer, kept for retransmissions for as long as the client may ask again."""
    allocation, request = opening.allocation, opening.request
    state.end_opening(allocation)
    state.go_live(allocation)
    allocation.relays.sort(key=lambda relay: relay.family)
    builder = begin_success(request)
    for relay in allocation.relays:
        state.set_relay_expiry(allocation, relay, now.mono + opening.lifetime)
        builder.add(XOR_RELAYED_ADDRESS, relay.advertised)
    builder.add(LIFETIME, opening.lifetime)
    for slot in opening.slots:
        if slot.mate is not None:
            builder.add(RESERVATION_TOKEN, state.reserve(slot.mate, allocation.credential.user_id, now))
            slot.mate = None
    builder.add(XOR_MAPPED_ADDRESS, request.client.address.canonical())
    for error in opening.errors:
        builder.add(ADDRESS_ERROR_CODE, error)
    if allocation.mobile:
        builder.add(MOBILITY_TICKET, state.moves.issue(allocation))
    frame = finish(builder, request, state.settings.software)
    state.keep_answer(request.transaction, frame, now)
    state.answer(request, frame)
    credential = allocation.credential
    state.event(
        AllocationOpened(
            allocation.client,
            credential.username,
            credential.user_id,
            tuple(relay.id for relay in allocation.relays),
            tuple(relay.advertised for relay in allocation.relays),
            opening.lifetime,
            allocation.protocol,
        )
    )
