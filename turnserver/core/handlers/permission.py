"""CreatePermission (RFC 8656 §10.2): all or nothing."""

from stun.attributes import XOR_PEER_ADDRESS
from turnserver.core.errors import Refusal
from turnserver.core.handlers.common import check_credential, check_peer, own_allocation, relay_towards
from turnserver.core.request import Request
from turnserver.core.responses import begin_success, finish
from turnserver.core.state import CoreState
from turnserver.reasons import Reason

__all__ = ["handle"]


def handle(state: CoreState, request: Request) -> None:
    """Check every address before the first permission is installed (docs/conformance.md, rule 15)."""
    allocation = own_allocation(state, request)
    peers = request.message.all(XOR_PEER_ADDRESS)
    if not peers:
        raise Refusal(Reason.MISSING_ATTRIBUTE, "XOR-PEER-ADDRESS")
    check_credential(state, allocation, new=any(peer.ip not in allocation.permissions for peer in peers))
    for peer in peers:
        relay_towards(allocation, peer)
    allowed = [peer for peer in peers if check_peer(state, allocation, peer, with_port=False)]
    if (
        len(allocation.permissions.keys() | {peer.ip for peer in allowed})
        > state.settings.limits.permissions_per_allocation
    ):
        raise Refusal(Reason.PERMISSIONS_FULL, "limits.permissions_per_allocation")
    until = request.now.mono + state.bounds.permission_lifetime
    for peer in allowed:
        state.permit(allocation, relay_towards(allocation, peer), peer.ip, until)
    state.answer(request, finish(begin_success(request), request, state.settings.software))
