"""What the peer ACL opens for the SFU is its socket: for all else the answer is as if there were none."""

from ipaddress import IPv4Address, ip_network
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from stun import attributes as a
from stun.address import Address
from stun.channeldata import encode
from stun.constants import TransportProtocol
from tests.support.core_world import ScriptedClient, World, code_of
from turnserver.core.commands import SendToPeer
from turnserver.core.policy import packed_canonical
from turnserver.core.settings import MediaSocket, OwnAddresses, RelayAddress
from turnserver.core.types import PortRange

UDP, TCP = TransportProtocol.UDP, TransportProtocol.TCP
BOUND, SHOWN = Address.parse("10.0.0.5", 0).ip, Address.parse("8.8.4.4", 0).ip
BOUND6 = Address.parse("2a00::5", 0).ip
OWN = (BOUND, SHOWN, BOUND6)
LISTENER = Address(BOUND, 3478)
PORTS = PortRange(50000, 50999)
PREFIXES = ("::ffff:0:0", "::", "64:ff9b::", "::ffff:0:0:0", "64:ff9b:1::", "2002::")

ports = st.sampled_from((22, 3478, 7000, 7001, 50000, 50001, 50999, 51000)) | st.integers(1, 65535)


@st.composite
def peers(draw: st.DrawFn) -> Address:
    """Mostly the server's own addresses, in all of their spellings; and others."""
    ip = draw(st.sampled_from((*OWN, Address.parse("10.0.0.6", 0).ip, Address.parse("127.0.0.1", 0).ip, bytes(4))))
    if len(ip) == 4 and draw(st.booleans()):
        ip = _spelled(draw(st.sampled_from(PREFIXES)), ip)
    return Address(ip, draw(ports))


def _spelled(prefix: str, ip: bytes) -> bytes:
    packed = Address.parse(prefix, 0).ip
    if prefix == "2002::":
        return packed[:2] + ip + bytes(10)
    return (int.from_bytes(packed, "big") | int(IPv4Address(ip))).to_bytes(16, "big")


@st.composite
def sockets(draw: st.DrawFn) -> tuple[MediaSocket, ...]:
    """Those of one SFU: a port for each family."""
    port, port6 = draw(ports), draw(ports)
    both = (MediaSocket(Address(BOUND, port), Address(SHOWN, port)), MediaSocket(*[Address(BOUND6, port6)] * 2))
    return draw(st.sampled_from(((), both[:1], both[1:], both)))


def a_world(media: tuple[MediaSocket, ...], **settings: Any) -> World:
    """A server behind 1:1 NAT with IPv4, and on a public address with IPv6."""
    world = World(relays=(RelayAddress(BOUND, SHOWN), RelayAddress(BOUND6, BOUND6)), ports=PORTS, settings=settings)
    world.core.use_own(OwnAddresses(world.relays, (LISTENER,), media=media), world.now)
    world.run()
    return world


ACLS: tuple[dict[str, Any], ...] = (
    {},
    {"deny": (ip_network("8.8.4.4/32"),)},
    {"allow": (ip_network("10.0.0.0/8"),)},
)


@given(media=sockets(), peer=peers(), protocol=st.sampled_from((None, UDP, TCP)), acl=st.sampled_from(ACLS))
@example(media=(MediaSocket(Address(BOUND, 3478), Address(SHOWN, 3478)),), peer=LISTENER, protocol=UDP, acl={})
def test_another_answer_is_for_its_socket_only(
    media: tuple[MediaSocket, ...], peer: Address, protocol: TransportProtocol | None, acl: dict[str, Any]
) -> None:
    """Rule 16: at that address and port, for UDP; and no listener and nothing that is denied there either."""
    with_sfu, without = a_world(media, **acl).core.state, a_world((), **acl).core.state
    now, before = with_sfu.refusal(peer, protocol), without.refusal(peer, protocol)
    if now != before:
        places = {(each.ip, each.port) for socket in media for each in (socket.bound, socket.public)}
        assert (packed_canonical(peer.ip), peer.port) in places
        assert (protocol, now, before) == (UDP, None, "own address, not a relay port")


@given(media=sockets(), peer=peers(), channel=st.booleans(), gone=st.booleans())
def test_data_reach_its_socket_only(media: tuple[MediaSocket, ...], peer: Address, channel: bool, gone: bool) -> None:
    """Rule 16: by Send and by channels, before and after it has ended; and only its own datagrams come back."""
    if len(peer.ip) == 16 and peer.ip != BOUND6:
        return  # the allocations of this world have the families of its own addresses
    world = a_world(media)
    client = world.client()
    if len(peer.ip) == 16:
        client.allocate((a.REQUESTED_ADDRESS_FAMILY, 2))
    else:
        client.allocate()
    client.permit(peer)
    if channel:
        client.bind(0x4000, peer)
    if gone:
        world.core.use_own(OwnAddresses(world.relays, (LISTENER,)), world.now)
        world.run()
    places = set() if gone else {each for socket in media for each in (socket.bound, socket.public)} - {LISTENER}
    places.discard(Address(SHOWN, LISTENER.port))  # the listener, by its public address
    wire = world.core.state.addresses.to_wire(peer)
    sent = _sends(client, peer, channel)
    assert sent == ([SendToPeer(client.relay, wire, b"x")] if peer in places else [])
    assert {route.peer for route in world.routes.values()} == ({wire} if channel and peer in places else set())
    world.peer_sends(client.relay, wire, b"x")
    assert bool(client.hears()) == (peer in places and peer.ip != BOUND), "behind NAT, the public address is the name"


def _sends(client: ScriptedClient, peer: Address, channel: bool) -> list[Any]:
    if channel:
        return client.indicate_raw(encode(0x4000, b"x"))
    return client.indicate((a.XOR_PEER_ADDRESS, peer), (a.DATA, b"x"))


def test_the_channel_ends_with_the_socket_and_the_next_one_is_another() -> None:
    """The system may give the port to another program at once; with the SFU there again, all begins anew."""
    peer, wire = Address(SHOWN, 7000), Address(BOUND, 7000)
    world = a_world((MediaSocket(wire, peer),))
    client = world.client()
    client.allocate()
    assert code_of(client.bind(0x4000, peer)) == 0
    assert world.routes[client.path, 0x4000].peer == wire, "a port that no relay can have is found behind NAT, too"
    world.core.use_own(OwnAddresses(world.relays, (LISTENER,)), world.now)
    world.run()
    assert world.routes == {}
    assert code_of(client.bind(0x4001, peer)) == 403
    world.core.use_own(OwnAddresses(world.relays, (LISTENER,), media=(MediaSocket(wire, peer),)), world.now)
    world.run()
    assert code_of(client.bind(0x4001, peer)) == 0
    world.peer_sends(client.relay, wire, b"x")
    assert client.hears() == [encode(0x4001, b"x")]


def test_another_name_is_as_good_and_the_former_one_stays() -> None:
    """The SFU has another public address: who is in a call keeps its channel, who comes names the new address."""
    former, present, wire = Address(SHOWN, 7000), Address.parse("8.8.4.9", 7000), Address(BOUND, 7000)
    world = a_world((MediaSocket(wire, former),))
    client, other = world.client(), world.client(port=40001)
    client.allocate()
    other.allocate()
    client.bind(0x4000, former)
    moved = (RelayAddress(BOUND, present.ip), world.relays[1])
    both = (MediaSocket(wire, present), MediaSocket(wire, former))
    world.core.use_own(OwnAddresses(moved, (LISTENER,), media=both), world.now)
    world.run()
    assert code_of(other.bind(0x4000, present)) == 0
    for each in (client, other):
        assert each.indicate_raw(encode(0x4000, b"x")) == [SendToPeer(each.relay, wire, b"x")]
        world.peer_sends(each.relay, wire, b"x")
        assert each.hears() == [encode(0x4000, b"x")]
    world.core.use_own(OwnAddresses(moved, (LISTENER,), media=both[:1]), world.now)
    world.run()
    assert client.indicate_raw(encode(0x4000, b"x")) == [], "the channel to a name that is gone has ended"
    assert other.indicate_raw(encode(0x4000, b"x")) == [SendToPeer(other.relay, wire, b"x")]


def test_it_keeps_the_name_by_which_clients_know_it() -> None:
    """Another public address for the server: those who are in a call go on to name the former one."""
    peer, wire = Address(SHOWN, 7000), Address(BOUND, 7000)
    world = a_world((MediaSocket(wire, peer),))
    client = world.client()
    client.allocate()
    client.bind(0x4000, peer)
    moved = (RelayAddress(BOUND, Address.parse("8.8.4.9", 0).ip), world.relays[1])
    world.core.use_own(OwnAddresses(moved, (LISTENER,), media=(MediaSocket(wire, peer),)), world.now)
    world.run()
    assert code_of(client.bind(0x4000, peer)) == 0
    assert client.indicate_raw(encode(0x4000, b"x")) == [SendToPeer(client.relay, wire, b"x")]
    world.peer_sends(client.relay, wire, b"x")
    assert client.hears() == [encode(0x4000, b"x")]
