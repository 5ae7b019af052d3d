"""ChannelBind (RFC 8656 §12.2) and ChannelData (§12.4–12.7)."""

from ipaddress import ip_network
from typing import Any

import pytest

from stun import attributes as a
from stun.address import Address
from stun.attributes import AttributeType
from stun.channeldata import encode, encode_padded
from stun.constants import Method
from stun.message import Message
from tests.support.core_settings import core_settings
from tests.support.core_world import PEER, PEER6, RELAY, SERVER, ScriptedClient, World, code_of, names_of
from tests.support.limits import limits
from turnserver.core.commands import AddRoute, AllowPeer, ForbidPeer, RemoveRoute, SendToClient, SendToPeer
from turnserver.core.events import AllocationEnded, PeerRefused, RequestRefused
from turnserver.core.settings import RelayAddress
from turnserver.core.types import ClientTransport, Route
from turnserver.reasons import Reason

OTHER = Address.parse("9.9.9.9", 6000)
SAME_IP = Address(PEER.ip, PEER.port + 1)
STREAMS = [ClientTransport.TCP, ClientTransport.TLS]


def allocated(world: World, *attributes: tuple[AttributeType[Any], Any], **options: Any) -> ScriptedClient:
    client = world.client(**options)
    assert code_of(client.allocate(*attributes)) == 0
    world.take()
    world.take_events()
    return client


def refused(client: ScriptedClient, *attributes: tuple[AttributeType[Any], Any]) -> int:
    """The code of a ChannelBind that must change nothing."""
    world = client.world
    world.take()
    allocation = world.core.state.allocations[client.path]
    before = dict(allocation.channels), dict(allocation.peers), dict(allocation.permissions)
    answer = client.request(Method.CHANNEL_BIND, *attributes)
    assert names_of(answer) == ["ERROR-CODE", "SOFTWARE", "MESSAGE-INTEGRITY"]
    assert world.take() == [SendToClient(client.path, answer.raw)]
    assert (allocation.channels, allocation.peers, allocation.permissions) == before
    return code_of(answer)


def number_and(peer: Address, number: int = 0x4000) -> list[tuple[AttributeType[Any], Any]]:
    return [(a.CHANNEL_NUMBER, number), (a.XOR_PEER_ADDRESS, peer)]


# Binding


def test_a_binding_is_a_permission_and_a_route() -> None:
    """Rules 14 and 17, RFC 8656 §12.2: both before the answer; the route for 600 seconds."""
    world = World()
    client = allocated(world)
    answer = client.bind(0x4000, PEER)
    assert names_of(answer) == ["SOFTWARE", "MESSAGE-INTEGRITY"]
    until = world.now.mono + 600
    assert world.take() == [
        AllowPeer(client.relay, PEER.ip, until),
        AddRoute(Route(client.path, 0x4000, client.relay, PEER, until)),
        SendToClient(client.path, answer.raw),
    ]


def test_by_the_strict_switch_the_route_ends_with_the_permission() -> None:
    """Rule 14, RFC 8656 §9, §12: 300 seconds, though the channel stays bound for 600."""
    world = World(settings={"strict_permissions": True})
    client = allocated(world)
    client.bind(0x4000, PEER)
    until = world.now.mono + 300
    assert world.take()[:2] == [
        AllowPeer(client.relay, PEER.ip, until),
        AddRoute(Route(client.path, 0x4000, client.relay, PEER, until)),
    ]


@pytest.mark.parametrize("number", [0x4000, 0x4001, 0x4800, 0x4FFE, 0x4FFF])
def test_numbers_in_range(number: int) -> None:
    """Rule 17, RFC 8656 §12: 0x4000–0x4FFF."""
    assert code_of(allocated(World()).bind(number, PEER)) == 0


@pytest.mark.parametrize("number", [0, 1, 0x3FFF, 0x5000, 0x7FFF, 0x8000, 0xFFFF])
def test_numbers_out_of_range_are_400(number: int) -> None:
    """Rule 17, RFC 8656 §12.2: RFC 5766's upper half included; aioice gets there after 4096 peers."""
    assert refused(allocated(World()), *number_and(PEER, number)) == 400


@pytest.mark.parametrize("missing", [0, 1])
def test_both_attributes_are_needed(missing: int) -> None:
    """Rule 17, RFC 8656 §12.2: CHANNEL-NUMBER and XOR-PEER-ADDRESS, else 400."""
    attributes = number_and(PEER)
    del attributes[missing]
    assert refused(allocated(World()), *attributes) == 400


def test_one_channel_one_peer() -> None:
    """Rule 17, RFC 8656 §12.2: a number bound to another address, or an address to another number, is 400."""
    world = World()
    client = allocated(world)
    client.bind(0x4000, PEER)
    client.bind(0x4001, OTHER)
    assert refused(client, *number_and(SAME_IP, 0x4000)) == 400, "the number is taken"
    assert refused(client, *number_and(PEER, 0x4002)) == 400, "the peer is taken"
    assert refused(client, *number_and(OTHER, 0x4000)) == 400, "both are, by different bindings"


def test_a_second_channel_for_one_peer_is_refused_by_that_name() -> None:
    """The kind: 400 that says only "Bad Request". libnice asks at each ICE restart; answer and event have the cause."""
    world = World()
    client = allocated(world)
    client.bind(0x4000, PEER)
    world.take_events()
    answer = client.request(Method.CHANNEL_BIND, *number_and(PEER, 0x4001))
    reason = f"Bad Request (peer-has-channel): {PEER} has 0x4000, not 0x4001"
    assert answer.first(a.ERROR_CODE) == a.ErrorValue(400, reason)
    (event,) = world.take_events()
    assert isinstance(event, RequestRefused)
    assert (event.cause, event.reason) == (Reason.PEER_HAS_CHANNEL, reason)
    answer = client.request(Method.CHANNEL_BIND, *number_and(OTHER, 0x4000))
    reason = f"Bad Request (channel-has-peer): 0x4000 is bound to {PEER}"
    assert answer.first(a.ERROR_CODE) == a.ErrorValue(400, reason)


def test_ports_of_one_address_are_different_peers() -> None:
    """Rule 17, RFC 8656 §12: a channel is for a transport address."""
    world = World()
    client = allocated(world)
    assert [code_of(client.bind(0x4000 + index, Address(PEER.ip, 5000 + index))) for index in range(3)] == [0, 0, 0]
    assert len(world.routes) == 3


def test_another_allocation_may_bind_the_same() -> None:
    """Rule 17, RFC 8656 §12: bindings are specific to an allocation."""
    world = World()
    first, second = allocated(world), allocated(world, port=40001)
    assert [code_of(client.bind(0x4000, PEER)) for client in (first, second)] == [0, 0]


def test_rebinding_the_same_pair_refreshes() -> None:
    """Rule 17, RFC 8656 §12: channel, permission and route for another 600 seconds; never a wrong 400."""
    world = World()
    client = allocated(world, (a.LIFETIME, 3600))
    for _ in range(3):
        client.challenge()
        world.take()
        answer = client.bind(0x4000, PEER)
        until = world.now.mono + 600
        assert code_of(answer) == 0
        assert world.take() == [
            AllowPeer(client.relay, PEER.ip, until),
            AddRoute(Route(client.path, 0x4000, client.relay, PEER, until)),
            SendToClient(client.path, answer.raw),
        ]
        world.advance(599)
        world.take()
    world.advance(1)
    assert RemoveRoute(client.path, 0x4000, client.relay) in world.take()


def test_a_retransmitted_bind_is_a_success() -> None:
    """Rule 17, RFC 8656 §5: Chromium drops the allocation on an unexpected 400."""
    world = World()
    client = allocated(world)
    frame = client.build(Method.CHANNEL_BIND, number_and(PEER))
    assert [code_of(client.send(frame)) for _ in range(3)] == [0, 0, 0]


@pytest.mark.parametrize("kind", ["ChannelData", "Send", "from the peer", "CreatePermission", "Refresh"])
def test_nothing_else_refreshes_a_channel(kind: str) -> None:
    """Rule 17, RFC 8656 §12, §12.6: data does not, and CreatePermission only refreshes the permission."""
    world = World()
    client = allocated(world)
    client.bind(0x4000, PEER)
    for _ in range(60):
        world.advance(9.999)
        if kind == "ChannelData":
            assert client.indicate_raw(encode(0x4000, b"x"))
        elif kind == "Send":
            assert client.indicate((a.XOR_PEER_ADDRESS, PEER), (a.DATA, b"x"))
        elif kind == "from the peer":
            world.peer_sends(client.relay, PEER, b"x")
            assert client.hears() == [encode(0x4000, b"x")]
        elif kind == "CreatePermission":
            assert code_of(client.permit(PEER)) == 0
        elif world.now.mono < 1500:
            assert code_of(client.refresh()) == 0
    client.refresh()
    world.take()
    world.advance(0.07)
    assert RemoveRoute(client.path, 0x4000, client.relay) in world.take()
    assert client.indicate_raw(encode(0x4000, b"x")) == []


def test_an_expired_channel_is_free_again() -> None:
    """Rule 17, RFC 8656 §12: after 600 seconds the number and the peer may be bound otherwise."""
    world = World()
    client = allocated(world, (a.LIFETIME, 3600))
    client.bind(0x4000, PEER)
    world.take()
    world.advance(600)
    gone = world.take()
    assert sorted(map(repr, gone)) == sorted(
        map(repr, [RemoveRoute(client.path, 0x4000, client.relay), ForbidPeer(client.relay, PEER.ip)])
    )
    assert code_of(client.bind(0x4000, OTHER)) == 0
    assert code_of(client.bind(0x4001, PEER)) == 0


@pytest.mark.parametrize(("asked", "wrong"), [(1, PEER6), (2, PEER)])
def test_the_wrong_family_is_443(asked: int, wrong: Address) -> None:
    """Rule 17, RFC 8656 §12.2: a peer that no relay of the allocation can reach."""
    assert refused(allocated(World(), (a.REQUESTED_ADDRESS_FAMILY, asked)), *number_and(wrong)) == 443


def test_each_family_by_its_own_relay() -> None:
    """RFC 8656 §12.2: a dual allocation binds peers of both families."""
    world = World()
    client = allocated(world, (a.ADDITIONAL_ADDRESS_FAMILY, 2))
    four, six = client.relays
    client.bind(0x4000, PEER)
    client.bind(0x4001, PEER6)
    assert client.indicate_raw(encode(0x4000, b"4")) == [SendToPeer(four, PEER, b"4")]
    assert client.indicate_raw(encode(0x4001, b"6")) == [SendToPeer(six, PEER6, b"6")]
    world.peer_sends(six, PEER6, b"6")
    assert client.hears() == [encode(0x4001, b"6")]


@pytest.mark.parametrize("host", ["10.0.0.1", "127.0.0.1", "169.254.169.254", "224.0.0.1"])
def test_forbidden_peers_are_403(host: str) -> None:
    """Rules 16 and 17, RFC 8656 §12.2: ChannelBind asks the ACL."""
    world = World()
    client = allocated(world)
    peer = Address.parse(host, 80)
    assert refused(client, *number_and(peer)) == 403
    assert [event.peer for event in world.take_events() if isinstance(event, PeerRefused)] == [peer]


@pytest.mark.parametrize("port", [3478, 22, 49151, 50000, 65535])
def test_the_servers_own_addresses(port: int) -> None:
    """Rule 16: its listener and whatever else runs there are no peers, also on ports that a relay might have."""
    world = World()
    client, other = allocated(world), allocated(world, port=40001)
    assert refused(client, *number_and(Address(SERVER.ip, port))) == 403
    assert code_of(client.bind(0x4000, world.bound[other.relay])) == 0


ENDS = {
    "deleted": lambda world, other: other.refresh(0),
    "expired": lambda world, other: world.advance(201),
    "revoked": lambda world, other: world.core.revoke("bob", world.now),
    "lost": lambda world, other: world.core.relay_failed(other.relay, world.now),
    "gone": lambda world, other: world.core.client_gone(other.path, world.now),
}


@pytest.mark.parametrize("nat", [False, True])
@pytest.mark.parametrize("end", ENDS)
def test_a_channel_to_a_relay_ends_with_it(end: str, nat: bool) -> None:
    """Rule 16: whatever gets the port next is no peer; other channels, and the permission, stand."""
    inside = Address.parse("10.0.0.5", 0).ip if nat else RELAY
    world = World(relays=(RelayAddress(inside, RELAY),))
    client = allocated(world)
    other = allocated(world, port=40001, user="bob", password="hunter2")
    peer = Address(RELAY, world.bound[other.relay].port)
    client.refresh(3600)
    assert code_of(client.bind(0x4000, peer)) == code_of(client.bind(0x4001, PEER)) == 0
    assert code_of(client.bind(0x4002, Address(RELAY, world.bound[client.relay].port))) == 0
    assert client.indicate_raw(encode(0x4000, b"x")) == [SendToPeer(client.relay, Address(inside, peer.port), b"x")]
    for _ in range(2 if end == "expired" else 0):
        world.advance(200)
        assert [code_of(client.bind(*bound)) for bound in ((0x4000, peer), (0x4001, PEER))] == [0, 0]
        assert code_of(client.bind(0x4002, Address(RELAY, world.bound[client.relay].port))) == 0
    world.take()
    ENDS[end](world, other)
    world.run()
    assert RemoveRoute(client.path, 0x4000, client.relay) in world.take()
    assert sorted(channel for _, channel in world.routes) == [0x4001, 0x4002]
    assert client.indicate_raw(encode(0x4000, b"x")) == []
    assert client.indicate((a.XOR_PEER_ADDRESS, peer), (a.DATA, b"x")) == []
    world.peer_sends(client.relay, Address(inside, peer.port), b"from whatever has the port now")
    assert client.hears() == []
    client.challenge()
    assert refused(client, *number_and(peer)) == 403
    assert code_of(client.permit(peer)) == 0, "a permission is for the address, where others may stand"
    client.refresh(0)
    assert world.core.state._channels_to._to == {}


def test_a_channel_to_an_allowed_address_does_not_depend_on_a_relay() -> None:
    """Rule 16: what the operator allows by name stays allowed."""
    world = World(settings={"allow": [ip_network("198.51.100.0/24")]})
    client, other = allocated(world), allocated(world, port=40001)
    peer = world.bound[other.relay]
    assert code_of(client.bind(0x4000, peer)) == 0
    other.refresh(0)
    assert (client.path, 0x4000) in world.routes


def test_checks_in_order() -> None:
    """Rule 17, RFC 8656 §12.2: 400 before 443 before 403 before 508."""
    world = World(limits=limits(channels_per_allocation=0))
    client = allocated(world)
    private = Address.parse("10.0.0.1", 1)
    assert refused(client, *number_and(PEER6, 0x5000)) == 400
    assert refused(client, *number_and(Address.parse("fe80::1", 1))) == 443
    assert refused(client, *number_and(private)) == 403
    assert refused(client, *number_and(PEER)) == 508


def test_too_many_channels_are_508() -> None:
    """Rule 17, RFC 8656 §12.2: a capacity limit; rebinding what stands is always possible."""
    world = World(limits=limits(channels_per_allocation=2))
    client = allocated(world)
    assert [code_of(client.bind(0x4000 + index, Address(PEER.ip, 1 + index))) for index in range(2)] == [0, 0]
    assert refused(client, *number_and(OTHER, 0x4002)) == 508
    assert code_of(client.bind(0x4000, Address(PEER.ip, 1))) == 0


def test_the_permission_of_a_channel_counts_too() -> None:
    """Rule 15: a binding to a new address needs room for its permission; to a permitted one it does not."""
    world = World(limits=limits(permissions_per_allocation=1))
    client = allocated(world)
    client.permit(PEER)
    assert refused(client, *number_and(OTHER)) == 508
    assert code_of(client.bind(0x4000, PEER)) == 0


# Data


def test_data_to_the_client_is_channel_data_from_the_moment_of_binding() -> None:
    """Rule 18, RFC 8656 §11.3, §12.5: a Data indication before, ChannelData ever after."""
    world = World()
    client = allocated(world)
    client.permit(PEER)
    world.peer_sends(client.relay, PEER, b"before")
    (before,) = client.hears()
    assert Message.decode(before).first(a.DATA) == b"before"
    world.core.client_frame(client.path, client.build(Method.CHANNEL_BIND, number_and(PEER)), world.now)
    world.core.peer_datagram(client.relay, PEER, b"at once", world.now)
    world.run()
    answer, data = client.hears()
    assert code_of(Message.decode(answer)) == 0
    assert data == encode(0x4000, b"at once")


def test_another_port_of_the_peer_is_not_the_channel() -> None:
    """Rule 18, RFC 8656 §12: the permission is for the address, the channel for the transport address."""
    world = World()
    client = allocated(world)
    client.bind(0x4000, PEER)
    world.peer_sends(client.relay, SAME_IP, b"x")
    (heard,) = client.hears()
    assert Message.decode(heard).first(a.XOR_PEER_ADDRESS) == SAME_IP


def test_after_the_channel_data_indications_again() -> None:
    """Rule 18: when the channel has expired and the permission lives, it is a Data indication again."""
    world = World()
    client = allocated(world, (a.LIFETIME, 3600))
    client.bind(0x4000, PEER)
    world.advance(500)
    client.permit(PEER)
    world.advance(100)
    world.peer_sends(client.relay, PEER, b"x")
    (heard,) = client.hears()
    assert Message.decode(heard).first(a.DATA) == b"x"


@pytest.mark.parametrize("size", [0, 1, 2, 3, 4, 5, 1200])
def test_over_udp_it_is_not_padded(size: int) -> None:
    """Rule 19, RFC 8656 §12.5: as long as it is, and an empty datagram is one, too."""
    world = World()
    client = allocated(world)
    client.bind(0x4000, PEER)
    payload = bytes(range(256))[:size] * (1 if size <= 256 else 5)
    world.peer_sends(client.relay, PEER, payload)
    (heard,) = client.hears()
    assert heard == b"\x40\x00" + len(payload).to_bytes(2, "big") + payload


@pytest.mark.parametrize("transport", STREAMS)
@pytest.mark.parametrize("size", [0, 1, 2, 3, 4, 5])
def test_on_streams_it_is_padded(transport: ClientTransport, size: int) -> None:
    """Rule 19, RFC 8656 §12.5: to a multiple of four; the length says the size without."""
    world = World()
    client = allocated(world, transport=transport, serial=1)
    client.bind(0x4000, PEER)
    world.peer_sends(client.relay, PEER, b"abcde"[:size])
    (heard,) = client.hears()
    assert heard == b"\x40\x00" + size.to_bytes(2, "big") + b"abcde"[:size] + bytes(-size % 4)


@pytest.mark.parametrize("transport", list(ClientTransport))
@pytest.mark.parametrize("pack", [encode, encode_padded])
def test_padding_is_not_relayed(transport: ClientTransport, pack: Any) -> None:
    """Rule 19, RFC 8656 §12.5, §12.6: the peer gets what the length says; padding is legal on UDP."""
    world = World()
    client = allocated(world, transport=transport, serial=0)
    client.bind(0x4000, PEER)
    assert client.indicate_raw(pack(0x4000, b"abcde")) == [SendToPeer(client.relay, PEER, b"abcde")]


def test_an_empty_datagram_is_a_datagram() -> None:
    """Rule 19, RFC 8656 §12.4, §12.6: length 0 is legal and is forwarded, both ways."""
    world = World()
    client = allocated(world)
    client.bind(0x4000, PEER)
    assert client.indicate_raw(encode(0x4000, b"")) == [SendToPeer(client.relay, PEER, b"")]
    world.peer_sends(client.relay, PEER, b"")
    assert client.hears() == [b"\x40\x00\x00\x00"]


@pytest.mark.parametrize(
    "frame",
    [
        b"\x40",
        b"\x40\x00\x00",
        b"\x40\x00\x00\x05abcd",
        b"\x40\x00\xff\xffabcd",
        b"\x40\x01\x00\x04abcd",
        b"\x50\x00\x00\x04abcd",
        b"\x7f\xff\x00\x04abcd",
        b"\xff\xff\x00\x04abcd",
    ],
    ids=["one byte", "no length", "too long", "far too long", "unbound", "0x5000", "0x7fff", "0xffff"],
)
def test_channel_data_that_is_dropped(frame: bytes) -> None:
    """Rules 9 and 19, RFC 8656 §12.6: too short for its length, an unbound number, or a reserved one."""
    world = World()
    client = allocated(world)
    client.bind(0x4000, PEER)
    world.take()
    assert client.indicate_raw(frame) == []
    assert world.take() == []


def test_behind_nat_the_route_goes_to_the_bound_address() -> None:
    """Rule 23: two clients of this server meet relay to relay by external addresses; the route is on the wire."""
    private, public = Address.parse("10.0.0.5", 0).ip, Address.parse("8.8.4.4", 0).ip
    world = World(relays=(RelayAddress(private, public),))
    alice, bob = allocated(world), allocated(world, port=40001, user="bob", password="hunter2")
    ports = [world.bound[client.relay].port for client in (alice, bob)]
    world.take()
    assert code_of(alice.bind(0x4000, Address(public, ports[1]))) == 0
    assert code_of(bob.permit(Address(public, ports[0]))) == 0
    route = world.routes[alice.path, 0x4000]
    assert route.peer == Address(private, ports[1])
    assert (alice.relay, private) in world.allowed

    (sent,) = alice.indicate_raw(encode(0x4000, b"hello"))
    assert sent == SendToPeer(alice.relay, Address(private, ports[1]), b"hello")
    world.peer_sends(bob.relay, Address(private, ports[0]), b"hello")
    (heard,) = bob.hears()
    assert Message.decode(heard).first(a.XOR_PEER_ADDRESS) == Address(public, ports[0])
    world.peer_sends(alice.relay, Address(private, ports[1]), b"and back")
    assert alice.hears() == [encode(0x4000, b"and back")]


@pytest.mark.parametrize("port", [22, 3478, 49151])
def test_behind_nat_only_relay_ports_are_peers(port: int) -> None:
    """Rules 16 and 23: neither the external nor the private address opens anything else of the machine."""
    private, public = Address.parse("10.0.0.5", 0).ip, Address.parse("8.8.4.4", 0).ip
    client = allocated(World(relays=(RelayAddress(private, public),)))
    assert refused(client, *number_and(Address(public, port))) == 403
    assert refused(client, *number_and(Address(private, port))) == 403


def test_the_upper_half_for_those_who_ask() -> None:
    """Rule 17, RFC 5766 §11: a setting also takes 0x5000–0x7FFF, which RFC 8656 reserves, for older clients."""
    world = World(settings={"legacy_channels": True})
    client = allocated(world)
    assert [code_of(client.bind(number, Address(PEER.ip, number))) for number in (0x4000, 0x5000, 0x7FFF)] == [0, 0, 0]
    assert refused(client, *number_and(PEER, 0x8000)) == 400
    frame = b"\x50\x00\x00\x01x"
    assert client.indicate_raw(frame) == [SendToPeer(client.relay, Address(PEER.ip, 0x5000), b"x")]
    world.peer_sends(client.relay, Address(PEER.ip, 0x5000), b"x")
    assert client.hears() == [frame]


@pytest.mark.parametrize("size", [65_535, 65_527])
def test_the_largest_datagrams(size: int) -> None:
    """Rule 19, RFC 8656 §12.4: ChannelData carries what 16 bits of length can say."""
    world = World()
    client = allocated(world)
    client.bind(0x4000, PEER)
    world.peer_sends(client.relay, PEER, bytes(size))
    assert [len(frame) for frame in client.hears()] == [4 + size]


# Refused peers of which the client is not told (``peers.refusal: swallow``)

PRIVATE = Address.parse("10.0.0.1", 6000)


def swallowing(**options: Any) -> tuple[World, ScriptedClient]:
    world = World(settings={"refusal": "swallow", **options})
    return world, allocated(world)


def test_a_channel_to_a_refused_peer_leads_nowhere() -> None:
    """Rule 16: libre gives up its allocation after a 403. No route, no permission; what goes there is counted."""
    world, client = swallowing()
    answer = client.bind(0x4000, PRIVATE)
    assert names_of(answer) == ["SOFTWARE", "MESSAGE-INTEGRITY"]
    assert world.take() == [SendToClient(client.path, answer.raw)], "nothing is opened"
    (event,) = world.take_events()
    assert isinstance(event, PeerRefused)
    assert (event.cause, event.peer, event.rule) == (Reason.PEER_SWALLOWED, PRIVATE, "default deny 10.0.0.0/8")
    for _ in range(3):
        world.core.client_frame(client.path, encode(0x4000, b"x"), world.now)
    world.peer_sends(client.relay, PRIVATE, b"x")
    assert world.take() == []
    assert world.core.totals().swallowed_datagrams == 3
    (view,) = world.core.allocations()
    assert view.peers == ()
    client.refresh(0)
    (ended,) = [event for event in world.take_events() if isinstance(event, AllocationEnded)]
    assert (ended.refusals, ended.swallowed) == (1, 3)
    world.assert_nothing_left()


def test_such_a_channel_is_one_in_all_else() -> None:
    """Rule 17: its number and its peer are taken, it is refreshed, and it ends after ten minutes."""
    world, client = swallowing()
    assert code_of(client.bind(0x4000, PRIVATE)) == 0
    assert code_of(client.bind(0x4000, PEER)) == 400
    assert code_of(client.bind(0x4001, PRIVATE)) == 400
    for _ in range(2):
        client.refresh(3600)
        world.advance(500)
        client.challenge()
        assert code_of(client.bind(0x4000, PRIVATE)) == 0
    world.advance(599)
    client.challenge()
    assert code_of(client.bind(0x4000, PEER)) == 400
    world.advance(1)
    assert code_of(client.bind(0x4000, PEER)) == 0
    assert [route.peer for route in world.routes.values()] == [PEER]


def test_a_peer_that_is_allowed_later_is_reached_from_the_next_binding_on_and_back() -> None:
    """Rule 16: the list is asked at each ChannelBind, in both directions."""
    world, client = swallowing()
    client.bind(0x4000, PRIVATE)
    allow = core_settings(refusal="swallow", allow=(ip_network("10.0.0.0/8"),))
    world.core.use(allow, world.now)
    world.run()
    assert code_of(client.bind(0x4000, PRIVATE)) == 0
    assert [route.peer for route in world.routes.values()] == [PRIVATE]
    world.core.use(core_settings(refusal="swallow"), world.now)
    world.run()
    assert world.routes == {}
    assert code_of(client.bind(0x4000, PRIVATE)) == 0
    assert world.routes == {}


def test_a_list_that_changes_asks_only_about_channels_that_lead_somewhere() -> None:
    """Rule 16: a channel that leads nowhere has nothing that could be ended."""
    world, client = swallowing()
    client.bind(0x4000, PRIVATE)
    world.take()
    world.core.use(core_settings(refusal="swallow", deny=(ip_network("9.9.9.9/32"),)), world.now)
    world.run()
    assert world.take() == []
    assert code_of(client.bind(0x4000, PEER)) == 400, "the client's channel stays what it is"
