"""CreatePermission (RFC 8656 §9, §10.2): all or nothing, keyed on the address, 300 seconds."""

from typing import Any

import pytest

from stun import attributes as a
from stun.address import Address
from stun.attributes import AttributeType
from stun.channeldata import encode
from stun.constants import Method
from stun.message import Message
from tests.support.core_world import PEER, PEER6, SERVER, ScriptedClient, World, code_of, names_of
from tests.support.limits import limits
from turnserver.core.commands import AllowPeer, ForbidPeer, SendToClient, SendToPeer
from turnserver.core.events import AllocationEnded, PeerRefused, RequestRefused
from turnserver.reasons import Reason

OTHER = Address.parse("9.9.9.9", 6000)
PRIVATE = Address.parse("10.0.0.1", 6000)


def allocated(world: World, *attributes: tuple[AttributeType[Any], Any], **options: Any) -> ScriptedClient:
    client = world.client(**options)
    assert code_of(client.allocate(*attributes)) == 0
    world.take()
    world.take_events()
    return client


def passes(client: ScriptedClient, peer: Address) -> bool:
    """Whether packets go through, which must be the same both ways."""
    world = client.world
    out = client.indicate((a.XOR_PEER_ADDRESS, peer), (a.DATA, b"out"))
    world.peer_sends(client.relay, peer, b"in")
    back = client.hears()
    assert bool(out) == bool(back)
    return bool(out)


def test_a_permission_lets_packets_through_both_ways() -> None:
    """Rule 14, RFC 8656 §9, §10.2: before it nothing passes."""
    world = World()
    client = allocated(world)
    assert not passes(client, PEER)
    answer = client.permit(PEER)
    assert names_of(answer) == ["SOFTWARE", "MESSAGE-INTEGRITY"]
    allowed, sent = (command for command in world.take() if not isinstance(command, SendToPeer))
    assert allowed == AllowPeer(client.relay, PEER.ip, world.now.mono + 300)
    assert sent == SendToClient(client.path, answer.raw)
    assert passes(client, PEER)


def test_it_is_keyed_on_the_address_alone() -> None:
    """Rule 14, RFC 8656 §9: whatever the port; another address is another matter."""
    world = World()
    client = allocated(world)
    client.permit(Address(PEER.ip, 0))
    assert passes(client, PEER)
    assert passes(client, Address(PEER.ip, 1))
    assert not passes(client, OTHER)


def test_it_belongs_to_one_allocation() -> None:
    """Rule 14, RFC 8656 §9: the permissions of one allocation are totally unrelated to another's."""
    world = World()
    client, other = allocated(world), allocated(world, port=40001)
    client.permit(PEER)
    assert passes(client, PEER)
    assert not passes(other, PEER)


def test_it_lives_for_three_hundred_seconds() -> None:
    """Rule 14, RFC 8656 §9: not a moment longer; then the datapath is told."""
    world = World()
    client = allocated(world)
    client.permit(PEER)
    world.advance(299.99)
    assert passes(client, PEER)
    world.take()
    world.advance(0.01)
    assert world.take() == [ForbidPeer(client.relay, PEER.ip)]
    assert not passes(client, PEER)


def test_it_is_refreshed_by_create_permission() -> None:
    """Rule 14, RFC 8656 §9: reset to 300 seconds."""
    world = World()
    client = allocated(world, (a.LIFETIME, 3600))
    for _ in range(3):
        client.permit(PEER)
        world.advance(200)
    assert passes(client, PEER)
    world.advance(100)
    assert not passes(client, PEER)


def test_it_is_refreshed_by_channel_bind() -> None:
    """Rule 14, RFC 8656 §9, §12.2: a ChannelBind installs and refreshes it as well."""
    world = World(settings={"strict_permissions": True})
    client = allocated(world)
    client.permit(PEER)
    world.advance(200)
    client.bind(0x4000, PEER)
    world.advance(299)
    assert passes(client, PEER)
    world.advance(1)
    assert not passes(client, PEER)


@pytest.mark.parametrize("kind", ["Send", "ChannelData", "from the peer", "Refresh"])
def test_it_is_not_refreshed_by_anything_else(kind: str) -> None:
    """Rules 14, 17 and 21, RFC 8656 §9, §12.6: data in either direction refreshes nothing, nor does a Refresh."""
    world = World(settings={"strict_permissions": True})
    client = allocated(world)
    client.bind(0x4000, PEER)
    for _ in range(30):
        world.advance(9.99)
        if kind == "Send":
            assert client.indicate((a.XOR_PEER_ADDRESS, PEER), (a.DATA, b"x"))
        elif kind == "ChannelData":
            assert client.indicate_raw(encode(0x4000, b"x"))
        elif kind == "from the peer":
            world.peer_sends(client.relay, PEER, b"x")
            assert client.hears()
        else:
            assert code_of(client.refresh()) == 0
    world.advance(0.31)
    assert not passes(client, PEER)


def test_by_default_a_channel_keeps_it_alive() -> None:
    """Rule 14: aioice never sends CreatePermission and re-binds after 500 seconds; as coturn and pion do."""
    world = World()
    client = allocated(world, (a.LIFETIME, 3600))
    client.bind(0x4000, PEER)
    for _ in range(3):
        world.advance(500)
        assert passes(client, PEER)
        client.challenge()
        assert code_of(client.bind(0x4000, PEER)) == 0
    world.advance(599.99)
    assert passes(client, PEER)
    world.take()
    world.advance(0.01)
    assert not passes(client, PEER), "and no longer than the channel"


def test_the_strict_switch_gives_the_letter() -> None:
    """Rule 14, RFC 8656 §9, §12: with it the permission ends after 300 seconds and the channel carries nothing."""
    world = World(settings={"strict_permissions": True})
    client = allocated(world)
    client.bind(0x4000, PEER)
    world.advance(300)
    assert not passes(client, PEER)
    assert client.indicate_raw(encode(0x4000, b"x")) == []
    assert 0x4000 in world.core.state.allocations[client.path].channels, "it stays bound"
    client.permit(PEER)
    assert client.indicate_raw(encode(0x4000, b"x")) == [SendToPeer(client.relay, PEER, b"x")]
    world.peer_sends(client.relay, PEER, b"y")
    assert client.hears() == [encode(0x4000, b"y")]


def test_several_addresses_at_once() -> None:
    """Rule 15, RFC 8656 §10.2: one permission for each XOR-PEER-ADDRESS."""
    world = World()
    client = allocated(world, (a.ADDITIONAL_ADDRESS_FAMILY, 2))
    four, six = client.relays
    answer = client.permit(PEER, OTHER, PEER6)
    until = world.now.mono + 300
    assert world.take() == [
        AllowPeer(four, PEER.ip, until),
        AllowPeer(four, OTHER.ip, until),
        AllowPeer(six, PEER6.ip, until),
        SendToClient(client.path, answer.raw),
    ]


# All or nothing


def raw_peer(value: bytes) -> tuple[AttributeType[bytes], bytes]:
    return AttributeType(a.XOR_PEER_ADDRESS.number, "XOR-PEER-ADDRESS", "-", lambda v, t: v, lambda v, t: v), value


def refused(client: ScriptedClient, *attributes: tuple[AttributeType[Any], Any]) -> int:
    """The code of a CreatePermission that must change nothing."""
    world = client.world
    world.take()
    allocation = world.core.state.allocations[client.path]
    before = dict(allocation.permissions)
    answer = client.request(Method.CREATE_PERMISSION, *attributes)
    assert names_of(answer) == ["ERROR-CODE", "SOFTWARE", "MESSAGE-INTEGRITY"]
    assert world.take() == [SendToClient(client.path, answer.raw)]
    assert allocation.permissions == before
    return code_of(answer)


def peers(*addresses: Address) -> list[tuple[AttributeType[Any], Any]]:
    return [(a.XOR_PEER_ADDRESS, address) for address in addresses]


def test_no_address_is_400() -> None:
    """Rule 15, RFC 8656 §10.2: at least one XOR-PEER-ADDRESS."""
    assert refused(allocated(World())) == 400


@pytest.mark.parametrize("value", [b"", bytes(8), b"\x00\x03" + bytes(6), b"\x00\x01" + bytes(4), bytes(20)])
def test_an_address_that_cannot_be_read_is_400(value: bytes) -> None:
    """Rule 15, RFC 8656 §10.2: even after one that can."""
    assert refused(allocated(World()), *peers(PEER), raw_peer(value)) == 400


@pytest.mark.parametrize(("asked", "wrong"), [(1, PEER6), (2, PEER)])
def test_the_wrong_family_is_443(asked: int, wrong: Address) -> None:
    """Rule 15, RFC 8656 §10.2: even after one of the right family."""
    client = allocated(World(), (a.REQUESTED_ADDRESS_FAMILY, asked))
    right = PEER if asked == 1 else PEER6
    assert refused(client, *peers(wrong)) == 443
    assert refused(client, *peers(right, wrong)) == 443
    assert refused(client, *peers(wrong, right)) == 443


@pytest.mark.parametrize("order", [(PEER, PRIVATE), (PRIVATE, PEER), (PEER, PRIVATE, OTHER)])
def test_one_forbidden_address_is_403_for_all(order: tuple[Address, ...]) -> None:
    """Rules 15 and 16, RFC 8656 §10.2: the ACL is asked for each address, before any is permitted."""
    assert refused(allocated(World()), *peers(*order)) == 403


def test_the_family_is_looked_at_before_the_acl() -> None:
    """Rule 15: 400, 443, 403, 508, in this order."""
    client = allocated(World())
    assert refused(client, *peers(PRIVATE, PEER6)) == 443


def test_too_many_are_508() -> None:
    """Rule 15, RFC 8656 §10.2: counted before the first is installed; those that stand already do not count twice."""
    world = World(limits=limits(permissions_per_allocation=2))
    client = allocated(world)
    assert refused(client, *peers(*(Address.parse(f"9.9.9.{host}", 1) for host in (1, 2, 3)))) == 508
    assert code_of(client.permit(PEER, PEER, OTHER)) == 0
    assert refused(client, *peers(PEER, Address.parse("9.9.9.1", 1))) == 508
    assert code_of(client.permit(PEER, OTHER)) == 0, "a refresh is always possible"
    world.advance(300)
    assert code_of(client.permit(Address.parse("9.9.9.1", 1), Address.parse("9.9.9.2", 1))) == 0


# The ACL at the boundary; its table is in test_policy


@pytest.mark.parametrize(
    "host", ["10.0.0.1", "127.0.0.1", "169.254.169.254", "192.168.1.1", "100.64.0.1", "0.0.0.0", "255.255.255.255"]
)
def test_private_peers_are_403(host: str) -> None:
    """Rule 16, RFC 8656 §21.2.2: CreatePermission asks the ACL; the cloud's metadata service is nobody's peer."""
    assert refused(allocated(World()), *peers(Address.parse(host, 80))) == 403


@pytest.mark.parametrize(
    "host", ["::1", "::", "fe80::1", "fd00::1", "::ffff:10.0.0.1", "::127.0.0.1", "64:ff9b::169.254.169.254", "2002::1"]
)
def test_private_peers_over_ipv6_are_403(host: str) -> None:
    """Rule 16: however the address is wrapped."""
    client = allocated(World(), (a.REQUESTED_ADDRESS_FAMILY, 2))
    assert refused(client, *peers(Address.parse(host, 80))) == 403


def test_a_refused_peer_is_reported_once_by_rule() -> None:
    """Rule 16: browsers ask for every candidate; the log has a line for the first event of each address."""
    world = World()
    client = allocated(world)
    for _ in range(3):
        assert code_of(client.permit(PEER, PRIVATE)) == 403
    assert code_of(client.permit(Address.parse("10.0.0.2", 1))) == 403
    reported = [event for event in world.take_events() if isinstance(event, PeerRefused)]
    rule = "default deny 10.0.0.0/8"
    assert [(str(event.peer), event.rule, event.times) for event in reported] == [
        ("10.0.0.1:6000", rule, 1),
        ("10.0.0.1:6000", rule, 2),
        ("10.0.0.1:6000", rule, 3),
        ("10.0.0.2:1", rule, 1),
    ]
    assert {(event.cause, event.user_id) for event in reported} == {(Reason.PEER_NOT_PUBLIC, "alice")}
    world.core.expire(world.now._replace(mono=world.now.mono + 10_000))
    world.run()
    (ended,) = [event for event in world.take_events() if isinstance(event, AllocationEnded)]
    assert ended.refusals == 4


def test_reports_of_refused_peers_are_bounded() -> None:
    """Rule 16: a scanner fills neither the log nor the memory."""
    world = World()
    client = allocated(world)
    for host in range(200):
        client.permit(Address.parse(f"10.0.0.{host}", 1))
    events = world.take_events()
    assert len([event for event in events if isinstance(event, PeerRefused)]) == 64
    assert len([event for event in events if isinstance(event, RequestRefused)]) == 200


def test_a_permission_for_the_servers_own_address_does_not_open_its_listeners() -> None:
    """Rule 16: relay to relay is allowed, so the address is; its listener and other ports are refused per packet."""
    world = World()
    client, friend = allocated(world), allocated(world, port=40001)
    relayed = world.bound[friend.relay]
    assert code_of(client.permit(SERVER)) == 0
    assert client.indicate((a.XOR_PEER_ADDRESS, SERVER), (a.DATA, b"x")) == []
    assert client.indicate((a.XOR_PEER_ADDRESS, Address(SERVER.ip, 22)), (a.DATA, b"x")) == []
    assert client.indicate((a.XOR_PEER_ADDRESS, relayed), (a.DATA, b"x")) == [SendToPeer(client.relay, relayed, b"x")]
    for port, heard in ((SERVER.port, False), (22, False), (relayed.port, True)):
        world.peer_sends(client.relay, Address(SERVER.ip, port), b"x")
        assert bool(client.hears()) is heard


def test_a_permission_is_answered_alike_each_time() -> None:
    """RFC 8656 §10.2: asking again is a refresh, and a retransmission too."""
    world = World()
    client = allocated(world)
    frame = client.build(Method.CREATE_PERMISSION, peers(PEER))
    first = world.feed(client.path, frame)
    world.advance(100)
    assert world.feed(client.path, frame) == first
    assert code_of(Message.decode(first[0])) == 0
    assert world.allowed[client.relay, PEER.ip] == world.now.mono + 300


def test_a_refused_permission_may_be_swallowed() -> None:
    """Rule 16, ``peers.refusal: swallow``: success; the allowed peers of the request have theirs, others nothing."""
    world = World(settings={"refusal": "swallow"})
    client = allocated(world)
    assert code_of(client.permit(PRIVATE, PEER)) == 0
    assert set(world.allowed) == {(client.relay, PEER.ip)}
    assert client.indicate((a.XOR_PEER_ADDRESS, PRIVATE), (a.DATA, b"x")) == []
    assert client.indicate((a.XOR_PEER_ADDRESS, Address.parse("9.9.9.9", 1)), (a.DATA, b"x")) == []
    world.peer_sends(client.relay, PRIVATE, b"x")
    assert client.hears() == []
    assert world.core.totals().swallowed_datagrams == 1, "the other one had never asked for a permission"


def test_by_default_a_refused_peer_is_403() -> None:
    """RFC 8656 §10.2: the letter of it, unless configured otherwise."""
    world = World()
    client = allocated(world)
    answer = client.permit(PRIVATE)
    rule = "10.0.0.1, default deny 10.0.0.0/8"
    assert answer.first(a.ERROR_CODE) == (403, f"Forbidden (peer-not-public): {rule}")
