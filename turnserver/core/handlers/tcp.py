"""TCP allocations (RFC 6062): Connect (§5.2), peers that connect (§5.3), ConnectionBind (§5.4), closing (§5.5).

`refusal_of` checks peers in both directions, as it does for UDP.
"""

from stun.address import Address
from stun.attributes import CONNECTION_ID, XOR_PEER_ADDRESS
from stun.constants import MessageClass, Method, TransportProtocol
from stun.message import MessageBuilder
from turnserver.core.allocation import Allocation
from turnserver.core.errors import Refusal, Silence
from turnserver.core.events import PeerConnectionRefused
from turnserver.core.handlers.common import check_credential, check_peer, own_allocation, refusal_of, relay_towards
from turnserver.core.request import Request
from turnserver.core.responses import begin_success, finish
from turnserver.core.state import CoreState
from turnserver.core.tcp_connections import ConnectionState
from turnserver.core.types import Now, RelayId
from turnserver.reasons import Reason

__all__ = ["bind", "connect", "peer_accepted", "peer_connected", "peer_failed", "peer_gone"]


def connect(state: CoreState, request: Request) -> None:
    """§5.2: begin to connect to a peer; `peer_connected`, `peer_failed` or a timeout leads to the answer."""
    _offered(state)
    allocation = own_allocation(state, request)
    if allocation.protocol is not TransportProtocol.TCP:
        raise Refusal(Reason.NOT_A_TCP_ALLOCATION)
    peer = request.message.first(XOR_PEER_ADDRESS)
    if peer is None:
        raise Refusal(Reason.MISSING_ATTRIBUTE, "XOR-PEER-ADDRESS")
    _not_connected_yet(state, request, allocation, peer)
    check_credential(state, allocation)
    relay = relay_towards(allocation, peer)
    check_peer(state, allocation, peer, with_port=True)
    shortage = _shortage(state, allocation)
    if shortage is not None:
        raise Refusal(shortage)
    state.tcp.connect(allocation, relay, peer, state.addresses.to_wire(peer), request)


def _offered(state: CoreState) -> None:
    """Where TCP relays are switched off → 442, for clients that have a TCP allocation from before, too."""
    if not state.settings.relay.tcp:
        raise Refusal(Reason.UNSUPPORTED_TRANSPORT, "relay.tcp is false")


def _not_connected_yet(state: CoreState, request: Request, allocation: Allocation, peer: Address) -> None:
    """§5.2: a connection to this peer is being made, waits or is in use → 446. (An answered retransmission never
    gets here.)
    """
    existing = state.tcp.towards(allocation, peer)
    if existing is None:
        return
    asked = existing.request
    if asked is not None and asked.transaction == request.transaction:
        raise Silence("retransmission of a Connect that is being answered")
    raise Refusal(Reason.CONNECTION_EXISTS, str(peer))


def peer_connected(state: CoreState, number: int, now: Now) -> None:
    """§5.2: the peer accepted the connection: answer with its CONNECTION-ID, kept for retransmissions."""
    connection = state.tcp.by_id.get(number)
    if connection is None or connection.state is not ConnectionState.CONNECTING:
        return
    request = state.tcp.connected(connection, now)
    if request is None:
        return
    request.now = now
    builder = begin_success(request).add(CONNECTION_ID, number)
    frame = finish(builder, request, state.settings.software)
    state.keep_answer(request.transaction, frame, now)
    state.answer(request, frame)


def peer_failed(state: CoreState, number: int, now: Now, cause: Reason) -> None:
    """§5.2: the peer did not accept the connection → 447; the server had no socket for it → 508."""
    connection = state.tcp.by_id.get(number)
    if connection is not None and connection.state is ConnectionState.CONNECTING:
        state.tcp.close(connection, now, gone=True, cause=cause)


def peer_accepted(state: CoreState, relay_id: RelayId, wire: Address, now: Now) -> int | None:
    """§5.3: a peer has connected to a relay: announce the connection to the client.

    Returns None if the peer has no permission, if the peer ACL refuses it, if the allocation has as many connections
    as it may have, or if there is no descriptor for another one. The caller then closes the connection.
    """
    allocation, relay = state.by_relay.get(relay_id, (None, None))
    if allocation is None or relay is None or state.live(allocation.client) is not allocation:
        return None
    peer = state.addresses.to_client(wire, allocation.permissions)
    if peer.ip not in allocation.permissions:
        return None
    if refusal_of(state, peer, with_port=True, protocol=TransportProtocol.TCP) is not None:
        return None
    stale = state.tcp.towards(allocation, peer)
    if stale is not None:
        if stale.state is ConnectionState.CONNECTING:
            return None
        # Two connections between the same two addresses cannot exist: the system has closed the former one.
        state.tcp.close(stale, now)
    shortage = _shortage(state, allocation)
    if shortage is not None:
        state.event(PeerConnectionRefused(allocation.client, allocation.credential.user_id, peer, shortage))
        return None
    connection = state.tcp.accepted(allocation, relay, peer, now)
    builder = MessageBuilder(Method.CONNECTION_ATTEMPT, MessageClass.INDICATION, state.entropy(12))
    builder.add(CONNECTION_ID, connection.id).add(XOR_PEER_ADDRESS, peer)
    state.send(allocation.client, builder.build())
    return connection.id


def _shortage(state: CoreState, allocation: Allocation) -> Reason | None:
    """Why the allocation can have no further connection; None if it can."""
    if state.tcp.full(allocation):
        return Reason.PEER_CONNECTIONS_FULL
    return state.descriptors.shortage(allocation.credential.user_id, ahead=1)


def bind(state: CoreState, request: Request) -> None:
    """§5.4: make the request's connection the data connection of a peer; first the answer, then raw bytes."""
    _offered(state)
    if not request.client.transport.tcp_relays:
        raise Refusal(Reason.NEEDS_STREAM)
    if state.allocation(request.client) is not None:
        # RFC 8656 §19: "a request was received that requires no allocation, but an allocation exists".
        raise Refusal(Reason.ALLOCATION_EXISTS)
    number = request.message.first(CONNECTION_ID)
    connection = None if number is None else state.tcp.by_id.get(number)
    if connection is None or connection.state is not ConnectionState.WAITING:
        raise Refusal(Reason.MISSING_ATTRIBUTE if number is None else Reason.UNKNOWN_CONNECTION, "CONNECTION-ID")
    if connection.allocation.credential.username != request.user.username:
        raise Refusal(Reason.OTHER_USER)
    state.answer(request, finish(begin_success(request), request, state.settings.software))
    state.tcp.bind(connection, request.client)


def peer_gone(state: CoreState, number: int, now: Now) -> None:
    """§5.5: a connection has ended in both directions, and the shell has closed both of its ends."""
    connection = state.tcp.by_id.get(number)
    if connection is not None:
        state.tcp.close(connection, now, gone=True)
