"""Send from clients (RFC 8656 §11.2), Data to them (§11.4), and ICMP (§11.5). Never authenticated, never answered."""

from stun.address import Address
from stun.attributes import DATA, DONT_FRAGMENT, ICMP, XOR_PEER_ADDRESS, IcmpValue
from stun.channeldata import encode, encode_padded
from stun.constants import MessageClass, Method, TransportProtocol
from stun.errors import EncodeError
from stun.message import Message, MessageBuilder
from turnserver.core.allocation import Allocation
from turnserver.core.commands import SendToPeer
from turnserver.core.handlers.common import is_refused_now
from turnserver.core.state import CoreState
from turnserver.core.types import FiveTuple, Now, RelayId

__all__ = ["peer_datagram", "peer_icmp", "send"]

_RELAYED_ICMP = {4: frozenset({3, 11}), 16: frozenset({1, 2, 3})}
"""§11.5: ICMPv4 destination unreachable and time exceeded; ICMPv6 the same and packet too big. By address size."""


def send(state: CoreState, client: FiveTuple, message: Message, now: Now) -> None:
    """§11.2: needs XOR-PEER-ADDRESS, DATA (may be empty) and a live permission; creates and refreshes nothing.

    Raises `stun.errors.MalformedMessage` for an attribute that cannot be read; the caller drops the indication.
    """
    state.moves.data_on(client, now)
    allocation = state.live(client)
    if allocation is None or allocation.protocol is not TransportProtocol.UDP:
        return
    peer = message.first(XOR_PEER_ADDRESS)
    data = message.first(DATA)
    if peer is None or data is None:
        return
    if peer.ip not in allocation.permissions:
        if peer.ip in allocation.refused and state.settings.peers.refusal == "swallow":
            state.swallow(allocation)
        return
    relay = allocation.relay_for(peer.family)
    if relay is None or is_refused_now(state, allocation, peer):
        return
    dont_fragment = message.has(DONT_FRAGMENT)
    state.command(SendToPeer(relay.id, state.addresses.to_wire(peer), data, dont_fragment))


def peer_datagram(state: CoreState, relay_id: RelayId, wire: Address, data: bytes) -> None:
    """§11.3, §11.4, §12.7: ChannelData if the peer has a channel, else Data; dropped without a permission."""
    allocation = _owner(state, relay_id)
    if allocation is None:
        return
    peer = state.addresses.to_client(wire, allocation.permissions)
    if peer.ip not in allocation.permissions:
        return
    if is_refused_now(state, allocation, peer):
        return
    client = allocation.client
    channel = allocation.peers.get(peer)
    try:
        if channel is not None:
            pack = encode_padded if client.transport.padded else encode
            frame = pack(channel.number, data)
        else:
            builder = MessageBuilder(Method.DATA, MessageClass.INDICATION, state.entropy(12))
            frame = builder.add(XOR_PEER_ADDRESS, peer).add(DATA, data).build()
    except EncodeError:
        # The largest IPv6 datagrams leave no room in a STUN message for the other attributes.
        return
    state.send(client, frame)


def peer_icmp(state: CoreState, relay_id: RelayId, wire: Address, value: IcmpValue) -> None:
    """§11.5: a Data indication with ICMP and without DATA, if the peer concerned has a permission."""
    allocation = _owner(state, relay_id)
    if allocation is None or value.type not in _RELAYED_ICMP[len(wire.ip)]:
        return
    peer = state.addresses.to_client(wire, allocation.permissions)
    if peer.ip not in allocation.permissions:
        return
    builder = MessageBuilder(Method.DATA, MessageClass.INDICATION, state.entropy(12))
    state.send(allocation.client, builder.add(XOR_PEER_ADDRESS, peer).add(ICMP, value).build())


def _owner(state: CoreState, relay_id: RelayId) -> Allocation | None:
    found = state.by_relay.get(relay_id)
    if found is None:
        return None
    return state.live(found[0].client)
