"""NAT behavior discovery (RFC 5780): where answers come from, and what keeps them from being a weapon."""

import itertools

import pytest

from stun import attributes as a
from stun.address import Address
from stun.attributes import AttributeType
from stun.constants import Method
from stun.message import Message
from tests.support.core_world import Attribute, World, code_of, names_of
from turnserver.core.discovery import Discovery
from turnserver.core.settings import DiscoverySocket, OwnAddresses
from turnserver.core.types import ClientTransport, FiveTuple

ONE, TWO = Address.parse("198.51.100.1", 0).ip, Address.parse("198.51.100.2", 0).ip
PUBLIC = {ONE: Address.parse("203.0.113.1", 0).ip, TWO: Address.parse("203.0.113.2", 0).ip}
PORTS = (3478, 3479)
SOCKETS = tuple(
    DiscoverySocket(Address(ip, port), Address(PUBLIC[ip], port), number)
    for number, (ip, port) in enumerate(itertools.product((ONE, TWO), PORTS))
)
CLIENT = Address.parse("192.0.2.10", 40000)


def world_of(*sockets: DiscoverySocket, **options: object) -> World:
    world = World(**options)  # type: ignore[arg-type]
    own = world.core.state.own
    world.core.use_own(OwnAddresses(own.relays, own.listeners, discovery=sockets), world.now)
    return world


def ask(
    world: World, at: DiscoverySocket, *attributes: Attribute, transport: ClientTransport = ClientTransport.UDP
) -> tuple[FiveTuple, Message]:
    """A Binding request to a socket: which way the one answer goes, and the answer."""
    client = world.client()
    path = FiveTuple(transport, CLIENT, at.bound, at.listener)
    world.to_clients.clear()
    world.core.client_frame(path, client.build(Method.BINDING, attributes, signed=False), world.now)
    world.run()
    ((way, frames),) = world.to_clients.items()
    (frame,) = frames
    return way, Message.decode(frame)


@pytest.mark.parametrize("at", SOCKETS, ids=lambda socket: str(socket.bound))
@pytest.mark.parametrize("flags", [None, 0, 2, 4, 6])
def test_where_an_answer_comes_from(at: DiscoverySocket, flags: int | None) -> None:
    """RFC 5780 §6.1, table 1: the source is changed by the flags; OTHER-ADDRESS differs in both from where it came."""
    world = world_of(*SOCKETS)
    way, answer = ask(world, at, *(() if flags is None else ((a.CHANGE_REQUEST, flags),)))
    ip = TWO if (at.bound.ip == ONE) is bool((flags or 0) & 4) else ONE
    port = PORTS[(at.bound.port == PORTS[0]) is bool((flags or 0) & 2)]
    expected = next(each for each in SOCKETS if each.bound == Address(ip, port))
    assert way == FiveTuple(ClientTransport.UDP, CLIENT, expected.bound, expected.listener)
    other = next(each for each in SOCKETS if each.bound.ip != at.bound.ip and each.bound.port != at.bound.port)
    assert names_of(answer) == ["XOR-MAPPED-ADDRESS", "MAPPED-ADDRESS", "RESPONSE-ORIGIN", "OTHER-ADDRESS"]
    assert answer.first(a.XOR_MAPPED_ADDRESS) == answer.first(a.MAPPED_ADDRESS) == CLIENT
    assert (answer.first(a.RESPONSE_ORIGIN), answer.first(a.OTHER_ADDRESS)) == (expected.public, other.public)


@pytest.mark.parametrize("missing", range(4))
def test_without_all_four_there_is_no_discovery(missing: int) -> None:
    """RFC 5780 §6: no OTHER-ADDRESS without both addresses with both ports, and 420 for CHANGE-REQUEST."""
    sockets = [socket for number, socket in enumerate(SOCKETS) if number != missing]
    world = world_of(*sockets)
    for at in sockets:
        assert names_of(ask(world, at)[1]) == ["XOR-MAPPED-ADDRESS"]
        for attribute in ((a.CHANGE_REQUEST, 2), (a.RESPONSE_PORT, 4000), (a.PADDING, bytes(4))):
            _, answer = ask(world, at, attribute)
            assert code_of(answer) == 420
            assert answer.first(a.UNKNOWN_ATTRIBUTES) == (attribute[0].number,)
        assert code_of(ask(world, at, (a.CHANGE_REQUEST, 0))[1]) == 0


def test_other_listeners_have_none() -> None:
    """Another socket of the same server, and connections, are told nothing and may ask for nothing."""
    world = world_of(*SOCKETS)
    elsewhere = DiscoverySocket(Address(ONE, 5000), Address(ONE, 5000), 77)
    for transport in ClientTransport:
        answer = ask(world, elsewhere, transport=transport)[1]
        assert not {"OTHER-ADDRESS", "RESPONSE-ORIGIN"} & set(names_of(answer))
        assert code_of(ask(world, elsewhere, (a.CHANGE_REQUEST, 6), transport=transport)[1]) == 420


@pytest.mark.parametrize("method", [Method.ALLOCATE, Method.REFRESH])
@pytest.mark.parametrize("spec", [a.CHANGE_REQUEST, a.RESPONSE_PORT])
def test_only_in_binding(method: Method, spec: AttributeType[int]) -> None:
    """RFC 5780 §7: for the Binding method; a CHANGE-REQUEST without flags is absent everywhere."""
    client = world_of(*SOCKETS).client()
    client.challenge()
    assert code_of(client.request(method, (a.REQUESTED_TRANSPORT, 17), (spec, 6))) == 420
    assert code_of(client.request(method, (a.REQUESTED_TRANSPORT, 17), (a.CHANGE_REQUEST, 0))) != 420


def test_an_answer_to_another_port() -> None:
    """RFC 5780 §7.5: to the address that the request came from, in any case, and with its origin."""
    way, answer = ask(world_of(*SOCKETS), SOCKETS[0], (a.RESPONSE_PORT, 41000))
    assert way == FiveTuple(ClientTransport.UDP, Address(CLIENT.ip, 41000), SOCKETS[0].bound, 0)
    assert answer.first(a.RESPONSE_ORIGIN) == SOCKETS[0].public
    assert answer.first(a.XOR_MAPPED_ADDRESS) == CLIENT


@pytest.mark.parametrize("size", [0, 4, 500, 1400])
def test_padding_is_no_longer_than_the_requests(size: int) -> None:
    """RFC 5780 §7.6 would send the MTU for four bytes; that would be a weapon."""
    _, answer = ask(world_of(*SOCKETS), SOCKETS[0], (a.PADDING, b"x" * size))
    assert answer.first(a.PADDING) == bytes(size)


@pytest.mark.parametrize("size", [64_001, 65_430, 65_440, 65_480])
def test_an_answer_with_padding_fits_a_datagram(size: int) -> None:
    """A request may be as long as a message can be; its answer has more beside the padding (RFC 768: 65,507 bytes)."""
    _, answer = ask(world_of(*SOCKETS, settings={"software": "s" * 128}), SOCKETS[0], (a.PADDING, b"x" * size))
    assert answer.first(a.PADDING) == bytes(64_000)
    assert len(answer.raw) <= 65_487


@pytest.mark.parametrize(
    "attributes", [((a.PADDING, b"1234"), (a.RESPONSE_PORT, 4000)), ((a.RESPONSE_PORT, 0),)], ids=["both", "port 0"]
)
def test_what_is_refused(attributes: tuple[Attribute, ...]) -> None:
    """RFC 5780 §6.1: PADDING with RESPONSE-PORT is 400; so is a port that nobody has. It goes to where it came from."""
    way, answer = ask(world_of(*SOCKETS), SOCKETS[0], *attributes)
    assert code_of(answer) == 400
    assert way.address == CLIENT


def test_the_alternates_answers_are_on_the_same_budget() -> None:
    """Rule 4: whichever socket sends, and to whichever port, the prefix of the request pays."""
    limits = World().limits.model_copy(update={"reflection_burst": 2000, "reflection_rate": 0})
    world = world_of(*SOCKETS, limits=limits)
    requests = [(a.CHANGE_REQUEST, 6), (a.CHANGE_REQUEST, 2), (a.RESPONSE_PORT, 4000), (a.CHANGE_REQUEST, 4)]
    received = 0
    for number, attribute in enumerate(itertools.islice(itertools.cycle(requests), 400)):
        frame = world.client().build(Method.BINDING, [attribute], signed=False)
        received += len(frame)
        at = SOCKETS[number % 4]
        world.core.client_frame(FiveTuple(ClientTransport.UDP, CLIENT, at.bound, at.listener), frame, world.now)
        world.run()
    sent = sum(len(frame) for frames in world.to_clients.values() for frame in frames)
    assert sent <= received + 2000
    assert sum(map(len, world.to_clients.values())) < 400


def test_for_clients_of_rfc_3489() -> None:
    """RFC 3489 §8.1: CHANGED-ADDRESS is what OTHER-ADDRESS is today, and CHANGE-REQUEST is obeyed."""
    world = world_of(*SOCKETS)
    at = SOCKETS[0]
    frame = bytes.fromhex("00010008") + b"sixteen bytes id" + bytes.fromhex("0003000400000006")
    world.core.client_frame(FiveTuple(ClientTransport.UDP, CLIENT, at.bound, at.listener), frame, world.now)
    world.run()
    ((way, (answer,)),) = world.to_clients.items()
    assert (way.server, way.listener) == (SOCKETS[3].bound, 3)
    assert answer[4:20] == b"sixteen bytes id"
    addresses = [CLIENT.pack(), SOCKETS[3].public.pack(), SOCKETS[3].public.pack()]
    assert [answer[at + 4 : at + 12] for at in (20, 32, 44)] == addresses
    assert [answer[at : at + 2] for at in (20, 32, 44)] == [b"\0\1", b"\0\4", b"\0\5"]


def test_families_are_apart() -> None:
    """Two addresses of one family are needed; one of each is not enough."""
    six = Address.parse("2001:db8::1", 0).ip
    mixed = [
        DiscoverySocket(Address(ip, port), Address(ip, port), number)
        for number, (ip, port) in enumerate(itertools.product((ONE, six), PORTS))
    ]
    discovery = Discovery(mixed)
    assert all(
        discovery.place(FiveTuple(ClientTransport.UDP, CLIENT, each.bound, each.listener)) is None for each in mixed
    )


def test_sockets_come_and_go() -> None:
    """An address that goes takes the discovery with it, and brings it back."""
    world = world_of(*SOCKETS)
    own = world.core.state.own
    for sockets, offered in ((SOCKETS[:3], False), (SOCKETS, True), ((), False)):
        world.core.use_own(OwnAddresses(own.relays, own.listeners, discovery=sockets), world.now)
        assert ("OTHER-ADDRESS" in names_of(ask(world, SOCKETS[0])[1])) is offered
