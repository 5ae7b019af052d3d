"""Send, Data (RFC 8656 §11.2–11.4) and ICMP (§11.5)."""

from typing import Any

import pytest

from stun import attributes as a
from stun.address import Address
from stun.attributes import AttributeType, IcmpValue
from stun.channeldata import encode
from stun.constants import MessageClass, Method
from stun.message import Message, MessageBuilder
from tests.support.core_world import PEER, PEER6, ScriptedClient, World, code_of, names_of
from turnserver.core.commands import SendToPeer
from turnserver.core.settings import RelayAddress
from turnserver.core.types import ClientTransport, RelayId

OTHER = Address.parse("9.9.9.9", 6000)
TO_PEER = (a.XOR_PEER_ADDRESS, PEER)


def permitted(world: World, *attributes: tuple[AttributeType[Any], Any], **options: Any) -> ScriptedClient:
    """An allocation with a permission for `PEER`."""
    client = world.client(**options)
    assert code_of(client.allocate(*attributes)) == 0
    assert code_of(client.permit(PEER)) == 0
    world.take()
    world.take_events()
    return client


def raw(spec: AttributeType[Any], value: bytes) -> tuple[AttributeType[bytes], bytes]:
    return AttributeType(spec.number, spec.name, "-", lambda v, t: v, lambda v, t: v), value


# Send


@pytest.mark.parametrize("data", [b"x", b"hello peer", bytes(1200), b""], ids=["one", "some", "many", "none"])
def test_send_goes_to_the_peer(data: bytes) -> None:
    """Rule 21, RFC 8656 §11.2: what DATA says, also nothing; one datagram, and nothing comes back."""
    world = World()
    client = permitted(world)
    assert client.indicate(TO_PEER, (a.DATA, data)) == [SendToPeer(client.relay, PEER, data)]
    assert world.take() == [SendToPeer(client.relay, PEER, data)]
    assert world.take_events() == []


def test_send_needs_no_integrity_and_does_not_mind_a_wrong_one() -> None:
    """Rule 8, RFC 8656 §5: indications are never authenticated."""
    world = World()
    client = permitted(world)
    builder = MessageBuilder(Method.SEND, MessageClass.INDICATION, b"t" * 12)
    frame = builder.add(*TO_PEER).add(a.DATA, b"x").integrity(b"not the key at all").build()
    assert client.indicate_raw(frame) == [SendToPeer(client.relay, PEER, b"x")]


@pytest.mark.parametrize("with_it", [True, False])
def test_dont_fragment_is_passed_on(with_it: bool) -> None:
    """Rule 21, RFC 8656 §11.2, §14: the datagram is sent with DF, where it is asked for."""
    world = World()
    client = permitted(world)
    flag = [(a.DONT_FRAGMENT, True)] if with_it else []
    assert client.indicate(TO_PEER, (a.DATA, b"x"), *flag) == [SendToPeer(client.relay, PEER, b"x", with_it)]


@pytest.mark.parametrize(
    "attributes",
    [
        [],
        [TO_PEER],
        [(a.DATA, b"x")],
        [(a.XOR_PEER_ADDRESS, OTHER), (a.DATA, b"x")],
        [(a.XOR_PEER_ADDRESS, PEER6), (a.DATA, b"x")],
        [raw(a.XOR_PEER_ADDRESS, bytes(8)), (a.DATA, b"x")],
        [raw(a.XOR_PEER_ADDRESS, b""), (a.DATA, b"x")],
    ],
    ids=["empty", "no DATA", "no peer", "no permission", "no relay of the family", "unreadable", "no address"],
)
def test_send_that_is_dropped(attributes: list[tuple[AttributeType[Any], Any]]) -> None:
    """Rules 8 and 21, RFC 8656 §11.2: silence, to either side, and nothing is created."""
    world = World()
    client = permitted(world)
    before = dict(world.core.state.allocations[client.path].permissions)
    assert client.indicate(*attributes) == []
    assert (world.take(), world.take_events()) == ([], [])
    assert world.core.state.allocations[client.path].permissions == before


def test_send_without_allocation_is_dropped() -> None:
    """Rules 8 and 9, RFC 8656 §5: silently."""
    world = World()
    assert world.client().indicate(TO_PEER, (a.DATA, b"x")) == []
    assert (world.take(), world.take_events()) == ([], [])


def test_send_may_be_used_beside_a_channel() -> None:
    """Rule 21, RFC 8656 §11.1, §12.5: a client may freely intermix the two."""
    world = World()
    client = permitted(world)
    client.bind(0x4000, PEER)
    assert client.indicate(TO_PEER, (a.DATA, b"x")) == [SendToPeer(client.relay, PEER, b"x")]


def test_behind_nat_send_reaches_own_relays() -> None:
    """Rule 23: what is named by the external address goes to the private one; hairpin."""
    private, public = Address.parse("10.0.0.5", 0).ip, Address.parse("8.8.4.4", 0).ip
    world = World(relays=(RelayAddress(private, public),))
    client = world.client()
    client.allocate()
    second = world.client(port=40001)
    second.allocate()
    other = Address(public, world.bound[second.relay].port)
    assert code_of(client.permit(other)) == 0
    sent = client.indicate((a.XOR_PEER_ADDRESS, other), (a.DATA, b"x"))
    assert sent == [SendToPeer(client.relay, Address(private, other.port), b"x")]
    assert client.indicate((a.XOR_PEER_ADDRESS, Address(public, other.port ^ 1)), (a.DATA, b"x")) == []
    assert client.indicate((a.XOR_PEER_ADDRESS, Address(public, 22)), (a.DATA, b"x")) == []
    assert client.indicate((a.XOR_PEER_ADDRESS, Address(private, 22)), (a.DATA, b"x")) == []


# Data


@pytest.mark.parametrize("transport", list(ClientTransport))
@pytest.mark.parametrize("data", [b"x", b"hello client", b""], ids=["one", "some", "none"])
def test_data_reaches_the_client(transport: ClientTransport, data: bytes) -> None:
    """Rule 21, RFC 8656 §11.3: XOR-PEER-ADDRESS and DATA, nothing more; empty datagrams too."""
    world = World()
    client = permitted(world, transport=transport)
    world.peer_sends(client.relay, PEER, data)
    (frame,) = client.hears()
    heard = Message.decode(frame)
    assert (heard.method, heard.message_class) == (Method.DATA, MessageClass.INDICATION)
    assert names_of(heard) == ["XOR-PEER-ADDRESS", "DATA"]
    assert (heard.first(a.XOR_PEER_ADDRESS), heard.first(a.DATA)) == (PEER, data)


def test_each_data_indication_has_its_own_transaction_id() -> None:
    """RFC 8489 §5: uniformly at random, each time."""
    world = World()
    client = permitted(world)
    for _ in range(5):
        world.peer_sends(client.relay, PEER, b"x")
    assert len({Message.decode(frame).transaction_id for frame in client.hears()}) == 5


@pytest.mark.parametrize("peer", [OTHER, PEER6, Address.parse("10.0.0.1", 1)])
def test_data_without_permission_is_dropped(peer: Address) -> None:
    """Rule 14, RFC 8656 §9: silently."""
    world = World()
    client = permitted(world)
    world.peer_sends(client.relay, peer, b"x")
    assert (world.take(), world.take_events()) == ([], [])


def test_data_to_no_relay_is_dropped() -> None:
    """RFC 8656 §11.3: a datagram that was under way when the relay was closed."""
    world = World()
    client = permitted(world)
    relay = client.relay
    client.refresh(0)
    world.take()
    world.peer_sends(relay, PEER, b"late")
    world.peer_sends(RelayId(999), PEER, b"lost")
    assert world.take() == []


def test_data_to_a_relay_that_is_only_reserved_is_dropped() -> None:
    """RFC 8656 §7.2: a reservation has no permissions."""
    world = World()
    permitted(world, (a.EVEN_PORT, True))
    (reservation,) = world.core.state.reservations.values()
    world.peer_sends(reservation.relay.id, PEER, b"x")
    assert world.take() == []


# ICMP


def hears_of(world: World, client: ScriptedClient, relay: RelayId, peer: Address, value: IcmpValue) -> list[Message]:
    world.core.peer_icmp(relay, peer, value, world.now)
    world.run()
    return [Message.decode(frame) for frame in client.hears()]


@pytest.mark.parametrize("code", [0, 1, 3, 4, 13])
@pytest.mark.parametrize("kind", [3, 11])
def test_icmpv4_errors_reach_the_client(kind: int, code: int) -> None:
    """Rules 25 and 26, RFC 8656 §11.5: types 3 and 11 as a Data indication with ICMP, without DATA."""
    world = World()
    client = permitted(world)
    value = IcmpValue(kind, code, 1280 if (kind, code) == (3, 4) else 0)
    (heard,) = hears_of(world, client, client.relay, PEER, value)
    assert (heard.method, heard.message_class) == (Method.DATA, MessageClass.INDICATION)
    assert names_of(heard) == ["XOR-PEER-ADDRESS", "ICMP"]
    assert (heard.first(a.XOR_PEER_ADDRESS), heard.first(a.ICMP)) == (PEER, value)
    assert world.core.state.live(client.path) is not None, "an error from a peer never ends an allocation (rule 25)"


@pytest.mark.parametrize("kind", [1, 2, 3])
def test_icmpv6_errors_reach_the_client(kind: int) -> None:
    """Rule 26, RFC 8656 §11.5: types 1, 2 and 3."""
    world = World()
    client = world.client()
    client.allocate((a.ADDITIONAL_ADDRESS_FAMILY, 2))
    client.permit(PEER6)
    value = IcmpValue(kind, 0, 1280)
    (heard,) = hears_of(world, client, client.relays[1], PEER6, value)
    assert (heard.first(a.XOR_PEER_ADDRESS), heard.first(a.ICMP)) == (PEER6, value)


@pytest.mark.parametrize("kind", [0, 4, 5, 8, 12])
def test_other_icmpv4_is_dropped(kind: int) -> None:
    """Rule 26, RFC 8656 §11.5: echo, redirects and the like are not the client's."""
    world = World()
    client = permitted(world)
    assert hears_of(world, client, client.relay, PEER, IcmpValue(kind, 0, 0)) == []


@pytest.mark.parametrize("kind", [0, 4, 11, 127])
def test_other_icmpv6_is_dropped(kind: int) -> None:
    """Rule 26, RFC 8656 §11.5: type 11 is time exceeded only in ICMPv4."""
    world = World()
    client = world.client()
    client.allocate((a.REQUESTED_ADDRESS_FAMILY, 2))
    client.permit(PEER6)
    assert hears_of(world, client, client.relay, PEER6, IcmpValue(kind, 0, 0)) == []


def test_icmp_needs_a_permission_for_the_peer() -> None:
    """Rule 26, RFC 8656 §11.5: the address that the packet was for is checked, not that of the router."""
    world = World()
    client = permitted(world)
    assert hears_of(world, client, client.relay, OTHER, IcmpValue(3, 3, 0)) == []
    world.advance(300)
    assert hears_of(world, client, client.relay, PEER, IcmpValue(3, 3, 0)) == []


def test_icmp_for_no_relay_is_dropped() -> None:
    """Rule 26, RFC 8656 §11.5."""
    world = World()
    client = permitted(world)
    assert hears_of(world, client, RelayId(999), PEER, IcmpValue(3, 3, 0)) == []


def test_icmp_is_a_data_indication_beside_a_channel_too() -> None:
    """Rule 26, RFC 8656 §11.5, §12.7: ChannelData has no room for it."""
    world = World()
    client = permitted(world)
    client.bind(0x4000, PEER)
    (heard,) = hears_of(world, client, client.relay, PEER, IcmpValue(3, 3, 0))
    assert heard.has(a.ICMP)
    assert client.indicate_raw(encode(0x4000, b"x")) == [SendToPeer(client.relay, PEER, b"x")], "and goes on"


def test_icmp_behind_nat_names_the_external_address() -> None:
    """Rules 23 and 26: the client knows its peer by that."""
    private, public = Address.parse("10.0.0.5", 0).ip, Address.parse("8.8.4.4", 0).ip
    world = World(relays=(RelayAddress(private, public),))
    client = world.client()
    client.allocate()
    client.permit(Address(public, 60_000))
    (heard,) = hears_of(world, client, client.relay, Address(private, 60_000), IcmpValue(3, 3, 0))
    assert heard.first(a.XOR_PEER_ADDRESS) == Address(public, 60_000)


@pytest.mark.parametrize(("size", "heard"), [(65_500, 1), (65_535, 0)])
def test_a_datagram_that_no_stun_message_can_hold_is_dropped(size: int, heard: int) -> None:
    """RFC 8489 §5: a Data indication has 16 bits of length for the address as well; it never fails, it is dropped."""
    world = World()
    client = permitted(world)
    world.peer_sends(client.relay, PEER, bytes(size))
    assert len(client.hears()) == heard
