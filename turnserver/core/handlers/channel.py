"""ChannelBind (RFC 8656 §12.2), and ChannelData for which the datapath had no route (§12.6)."""

from typing import NoReturn

from stun.address import Address
from stun.attributes import CHANNEL_NUMBER, XOR_PEER_ADDRESS
from stun.channeldata import decode
from stun.constants import CHANNEL_MIN, TransportProtocol
from turnserver.core.allocation import Allocation, Channel
from turnserver.core.commands import SendToPeer
from turnserver.core.errors import Refusal
from turnserver.core.handlers.common import (
    check_credential,
    check_peer,
    is_refused_now,
    own_allocation,
    relay_towards,
)
from turnserver.core.request import Request
from turnserver.core.responses import begin_success, finish
from turnserver.core.state import CoreState
from turnserver.core.types import FiveTuple, Now
from turnserver.reasons import Reason

__all__ = ["channel_data", "handle"]


def handle(state: CoreState, request: Request) -> None:
    """Bind a channel to a peer, or refresh the binding (docs/conformance.md, rule 17). Clients give up after a 400."""
    allocation = own_allocation(state, request)
    if allocation.protocol is not TransportProtocol.UDP:
        raise Refusal(Reason.NOT_A_UDP_ALLOCATION)
    number = request.message.first(CHANNEL_NUMBER)
    peer = request.message.first(XOR_PEER_ADDRESS)
    if number is None or peer is None:
        raise Refusal(Reason.MISSING_ATTRIBUTE, "CHANNEL-NUMBER" if number is None else "XOR-PEER-ADDRESS")
    if not CHANNEL_MIN <= number <= state.last_channel:
        raise Refusal(Reason.CHANNEL_NUMBER, f"{number:#06x} is not in {CHANNEL_MIN:#06x}-{state.last_channel:#06x}")
    bound, bound_to = allocation.channels.get(number), allocation.peers.get(peer)
    if bound is not bound_to:
        _refuse_another(number, peer, bound, bound_to)
    check_credential(state, allocation, new=bound is None)
    relay = relay_towards(allocation, peer)
    reachable = check_peer(state, allocation, peer, with_port=True)
    _room_for_one_more(state, allocation, peer.ip if reachable else None, new=bound is None)
    if reachable:
        state.bind_channel(allocation, relay, number, peer, request.now)
    else:
        state.bind_to_nothing(allocation, number, peer, request.now)
    state.answer(request, finish(begin_success(request), request, state.settings.software))


def _refuse_another(number: int, peer: Address, bound: Channel | None, bound_to: Channel | None) -> NoReturn:
    """§12.2: a channel has one peer and a peer one channel → 400, which says who has whom."""
    if bound_to is not None:
        raise Refusal(Reason.PEER_HAS_CHANNEL, f"{peer} has {bound_to.number:#06x}, not {number:#06x}")
    other = "" if bound is None else str(bound.peer)
    raise Refusal(Reason.CHANNEL_HAS_PEER, f"{number:#06x} is bound to {other}")


def _room_for_one_more(state: CoreState, allocation: Allocation, ip: bytes | None, *, new: bool) -> None:
    """§12.2: the server may limit channels and, since a binding installs one, permissions → 508.

    With the strict switch, a refresh needs a new permission too if the binding has outlived its permission. Without
    ``ip`` the binding installs none.
    """
    limits = state.settings.limits
    if new and len(allocation.channels) >= limits.channels_per_allocation:
        raise Refusal(Reason.CHANNELS_FULL, "limits.channels_per_allocation")
    if ip is not None and ip not in allocation.permissions:
        if len(allocation.permissions) >= limits.permissions_per_allocation:
            raise Refusal(Reason.PERMISSIONS_FULL, "limits.permissions_per_allocation")


def channel_data(state: CoreState, client: FiveTuple, frame: bytes, now: Now) -> None:
    """§12.6: relay to the channel's peer; without allocation, channel or permission, or if too short, drop silently.

    Raises `stun.errors.MalformedMessage` if the frame is not ChannelData.
    """
    number, payload = decode(frame, state.last_channel)
    state.moves.data_on(client, now)
    allocation = state.live(client)
    if allocation is None:
        return
    channel = allocation.channels.get(number)
    if channel is not None and channel.swallows:
        state.swallow(allocation)
        return
    if channel is None or channel.peer.ip not in allocation.permissions:
        return
    relay = allocation.relay_for(channel.peer.family)
    if relay is not None and not is_refused_now(state, allocation, channel.peer):
        state.command(SendToPeer(relay.id, state.addresses.to_wire(channel.peer), bytes(payload)))
