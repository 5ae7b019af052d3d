"""Allocate (RFC 8656 §7.2): checks in order, families, pairs of ports, sockets that do not open, retransmissions."""

from itertools import combinations
from typing import Any

import pytest

from auth.ephemeral import SharedSecret, TimeLimitedCredentials, mint, password_for
from stun import attributes as a
from stun.address import Address
from stun.attributes import AddressErrorValue, AttributeType, ErrorValue
from stun.constants import AddressFamily, ErrorCode, Method, TransportProtocol
from stun.message import Message
from tests.support.core_settings import core_settings
from tests.support.core_world import (
    PEER,
    PEER6,
    REALM,
    RELAY,
    RELAY6,
    ScriptedClient,
    World,
    code_of,
    names_of,
)
from tests.support.limits import limits
from turnserver.core.addresses import ABSENCE
from turnserver.core.commands import CloseClient, CloseRelay, OpenRelay, SendToClient
from turnserver.core.events import AllocationEnded, AllocationOpened, EndReason, OddExpiry, RequestRefused
from turnserver.core.settings import CoreBounds, RelayAddress
from turnserver.core.state import MAX_ATTEMPTS
from turnserver.core.types import ClientTransport, PortRange, RelayFailure, RelayId
from turnserver.reasons import Reason

ONLY_IPV4 = (RelayAddress(RELAY, RELAY),)
ONLY_IPV6 = (RelayAddress(RELAY6, RELAY6),)
SECRET = SharedSecret(b"between us")

UDP = (a.REQUESTED_TRANSPORT, 17)
DUAL = (a.ADDITIONAL_ADDRESS_FAMILY, 2)
IPV4, IPV6 = AddressFamily.IPV4, AddressFamily.IPV6


def raw(spec: AttributeType[Any], value: bytes) -> tuple[AttributeType[bytes], bytes]:
    """An attribute with a value that its own encoder would refuse."""
    return AttributeType(spec.number, spec.name, "-", lambda v, t: v, lambda v, t: v), value


def challenged(world: World, **options: Any) -> ScriptedClient:
    client = world.client(**options)
    client.challenge()
    world.take()
    world.take_events()
    return client


def opening(client: ScriptedClient, *attributes: tuple[AttributeType[Any], Any]) -> bytes:
    """Begin an Allocate whose sockets are not open yet."""
    frame = client.build(Method.ALLOCATE, [UDP, *attributes])
    assert client.world.feed(client.path, frame) == []
    return frame


def reserved(world: World, client: ScriptedClient) -> tuple[Address, bytes]:
    """Allocate a pair; the relayed address and the token for the one above."""
    answer = client.allocate((a.EVEN_PORT, True))
    relayed, token = answer.first(a.XOR_RELAYED_ADDRESS), answer.first(a.RESERVATION_TOKEN)
    assert relayed is not None
    assert token is not None
    return relayed, token


def redeem(client: ScriptedClient, token: bytes) -> Message:
    return client.allocate((a.RESERVATION_TOKEN, token))


# Success


def test_a_success_says_all_that_it_must() -> None:
    """Rules 10 and 11, RFC 8656 §7.2: XOR-RELAYED-ADDRESS, LIFETIME, XOR-MAPPED-ADDRESS; and nothing else happens."""
    world = World()
    client = challenged(world)
    answer = client.allocate()
    assert names_of(answer) == [
        "XOR-RELAYED-ADDRESS",
        "LIFETIME",
        "XOR-MAPPED-ADDRESS",
        "SOFTWARE",
        "MESSAGE-INTEGRITY",
    ]
    opened, sent = world.take()
    assert opened == OpenRelay(client.relay, world.bound[client.relay])
    assert sent == SendToClient(client.path, answer.raw)
    relayed = answer.first(a.XOR_RELAYED_ADDRESS)
    assert relayed == world.bound[client.relay]
    assert answer.first(a.LIFETIME) == 600
    assert answer.first(a.XOR_MAPPED_ADDRESS) == client.path.address
    assert world.take_events() == [
        AllocationOpened(client.path, "alice", "alice", (client.relay,), (relayed,), 600),
    ]


def test_the_answer_waits_for_the_socket() -> None:
    """Rule 13, RFC 8656 §7.2: success is said when the relay is open, not before."""
    world = World(automatic=False)
    client = challenged(world)
    opening(client)
    (command,) = world.take()
    assert isinstance(command, OpenRelay)
    assert world.take_events() == []
    world.settle()
    (heard,) = client.hears()
    assert code_of(Message.decode(heard)) == 0


def test_an_ipv4_client_is_shown_plain_ipv4() -> None:
    """Rule 23: a client that comes in mapped into IPv6 sees its IPv4 address."""
    world = World()
    answer = world.client("::ffff:192.0.2.10", 40000).allocate()
    assert answer.first(a.XOR_MAPPED_ADDRESS) == Address.parse("192.0.2.10", 40000)


def test_behind_nat_the_external_address_is_advertised() -> None:
    """Rule 23: the private address is bound, the external one told, in the answer and in the event."""
    private, public = Address.parse("10.0.0.5", 0).ip, Address.parse("8.8.4.4", 0).ip
    world = World(relays=(RelayAddress(private, public),))
    client = challenged(world)
    answer = client.allocate()
    bound = world.bound[client.relay]
    assert bound.ip == private
    assert answer.first(a.XOR_RELAYED_ADDRESS) == Address(public, bound.port)
    (event,) = world.take_events()
    assert isinstance(event, AllocationOpened)
    assert event.relayed == (Address(public, bound.port),)


def test_relay_ports_are_in_the_range() -> None:
    """Rule 13, RFC 8656 §7.2: 49152–65535 by default, or the configured range; no two alike."""
    world = World(ports=PortRange(50000, 50019), limits=limits(allocations_per_user=100))
    for port in range(1, 21):
        assert code_of(world.client(port=port).allocate()) == 0
    assert {bound.port for bound in world.bound.values()} == set(range(50000, 50020))
    default = World()
    client = default.client()
    client.allocate()
    assert 49152 <= default.bound[client.relay].port <= 65535


def test_dont_fragment_is_supported() -> None:
    """Rule 21, RFC 8656 §7.2 step 4: DONT-FRAGMENT in an Allocate asks whether it is; it is, so no 420."""
    assert code_of(World().client().allocate((a.DONT_FRAGMENT, True))) == 0


# The checks, each alone

REFUSED: dict[str, tuple[int, list[tuple[AttributeType[Any], Any]]]] = {
    "no REQUESTED-TRANSPORT": (400, []),
    "REQUESTED-TRANSPORT of the wrong size": (400, [raw(a.REQUESTED_TRANSPORT, b"\x11")]),
    "TCP over UDP": (400, [(a.REQUESTED_TRANSPORT, 6)]),
    "SCTP": (442, [(a.REQUESTED_TRANSPORT, 132)]),
    "a protocol that nobody relays": (442, [(a.REQUESTED_TRANSPORT, 132)]),
    "a token beside EVEN-PORT": (400, [UDP, (a.RESERVATION_TOKEN, bytes(8)), (a.EVEN_PORT, False)]),
    "a token beside a family": (400, [UDP, (a.RESERVATION_TOKEN, bytes(8)), (a.REQUESTED_ADDRESS_FAMILY, 1)]),
    "a token beside a second family": (400, [UDP, (a.RESERVATION_TOKEN, bytes(8)), (a.ADDITIONAL_ADDRESS_FAMILY, 2)]),
    "a token of the wrong size": (400, [UDP, raw(a.RESERVATION_TOKEN, bytes(4))]),
    "a token of nothing": (508, [UDP, (a.RESERVATION_TOKEN, bytes(8))]),
    "both family attributes": (400, [UDP, (a.REQUESTED_ADDRESS_FAMILY, 2), (a.ADDITIONAL_ADDRESS_FAMILY, 2)]),
    "both, and an unknown family": (400, [UDP, (a.REQUESTED_ADDRESS_FAMILY, 9), (a.ADDITIONAL_ADDRESS_FAMILY, 2)]),
    "no family at all": (440, [UDP, (a.REQUESTED_ADDRESS_FAMILY, 0)]),
    "a family that nobody knows": (440, [UDP, (a.REQUESTED_ADDRESS_FAMILY, 3)]),
    "a second family that is IPv4": (400, [UDP, (a.ADDITIONAL_ADDRESS_FAMILY, 1)]),
    "a second family that nobody knows": (400, [UDP, (a.ADDITIONAL_ADDRESS_FAMILY, 9)]),
    "a pair of ports for two families": (400, [UDP, (a.EVEN_PORT, True), (a.ADDITIONAL_ADDRESS_FAMILY, 2)]),
    "EVEN-PORT of the wrong size": (400, [UDP, raw(a.EVEN_PORT, b"")]),
    "LIFETIME of the wrong size": (400, [UDP, raw(a.LIFETIME, b"\x00")]),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_request_that_fails_a_check(case: str) -> None:
    """Rule 10, RFC 8656 §7.2 steps 3 and 5–9: one protected error, no socket, nothing counted, nothing left."""
    code, attributes = REFUSED[case]
    world = World()
    client = challenged(world)
    answer = client.request(Method.ALLOCATE, *attributes)
    assert code_of(answer) == code
    assert names_of(answer) == ["ERROR-CODE", "SOFTWARE", "MESSAGE-INTEGRITY"]
    assert world.take() == [SendToClient(client.path, answer.raw)]
    (event,) = world.take_events()
    assert isinstance(event, RequestRefused)
    assert event[:3] == (client.path, Method.ALLOCATE, code)
    assert answer.first(a.ERROR_CODE) == ErrorValue(code, event.reason)
    assert event.reason.startswith(f"{ErrorCode(code).reason} ({event.cause})"), (
        "the same word in answer, event and log"
    )
    assert (event.username, event.user_id) == ("alice", "alice")
    world.assert_nothing_left()
    assert world.core.deadline() is None


def test_a_five_tuple_in_use() -> None:
    """Rule 10, RFC 8656 §7.2 step 2: another transaction on the same 5-tuple → 437; what is there stays."""
    world = World()
    client = challenged(world)
    client.allocate()
    relays = client.relays
    world.take()
    answer = client.allocate((a.LIFETIME, 3600))
    assert code_of(answer) == 437
    assert world.take() == [SendToClient(client.path, answer.raw)]
    assert client.relays == relays


def test_a_five_tuple_that_is_being_opened() -> None:
    """Rule 10, RFC 8656 §7.2 step 2: likewise while its sockets open."""
    world = World(automatic=False)
    client = challenged(world)
    opening(client)
    assert code_of(client.allocate()) == 437


# The checks, in order

FAULTS = {
    "5-tuple in use": 437,
    "expired": 401,
    "no transport": 400,
    "not UDP": 442,
    "token beside": 400,
    "bad token": 508,
    "both families": 400,
    "unsupported": 440,
    "additional IPv4": 400,
    "pair and additional": 400,
    "user quota": 486,
    "capacity": 508,
    "redirect": 300,
}
"""What can be wrong with an Allocate, in the order of §7.2 and rule 10."""


def implied(faults: set[str]) -> set[str]:
    """The faults, with those that two of them make together."""
    found = set(faults)
    families = {"both families", "unsupported", "additional IPv4", "pair and additional"}
    if "bad token" in found and found & (families | {"token beside"}):
        found.add("token beside")
    if "unsupported" in found and found & {"additional IPv4", "pair and additional"}:
        found.add("both families")
    return found


def attributes_for(faults: set[str]) -> list[tuple[AttributeType[Any], Any]]:
    found: list[tuple[AttributeType[Any], Any]] = []
    if "no transport" not in faults:
        found.append((a.REQUESTED_TRANSPORT, 132 if "not UDP" in faults else 17))
    if faults & {"token beside", "bad token"}:
        found.append((a.RESERVATION_TOKEN, bytes(8)))
    if faults & {"both families", "unsupported"}:
        found.append((a.REQUESTED_ADDRESS_FAMILY, 2 if "unsupported" in faults else 1))
    if faults & {"both families", "additional IPv4", "pair and additional"}:
        found.append((a.ADDITIONAL_ADDRESS_FAMILY, 1 if "additional IPv4" in faults else 2))
    if faults & {"token beside", "pair and additional"}:
        found.append((a.EVEN_PORT, "pair and additional" in faults))
    return found


def outcome(faults: set[str]) -> int:
    """The code that an Allocate with these faults gets; 0 for success."""
    alices = [port for port, name in ((40000, "5-tuple in use"), (40001, "user quota")) if name in faults]
    bounded = limits(
        allocations=len(alices) + 1 if "capacity" in faults else 100,
        allocations_per_user=len(alices) if "user quota" in faults else 100,
    )
    world = World(source=TimeLimitedCredentials([SECRET]), relays=ONLY_IPV4, limits=bounded)

    def client(port: int, user: str, lives: int) -> ScriptedClient:
        name, password = mint(SECRET, user, int(world.now.wall) + lives)
        return world.client(port=port, user=name, password=password)

    for port in alices:
        assert code_of(client(port, "alice", 100).allocate()) == 0
    if "capacity" in faults:
        assert code_of(client(40002, "bob", 100).allocate()) == 0
    if "redirect" in faults:
        elsewhere = (Address.parse("198.51.100.2", 3478),)
        world.core.state.settings = world.core.state.settings.model_copy(update={"alternate_servers": elsewhere})
    before = world.core.state.quota.total
    answer = client(40000, "alice", -10 if "expired" in faults else 200).request(
        Method.ALLOCATE, *attributes_for(faults)
    )
    assert world.core.state.quota.total == before + (code_of(answer) == 0), "what is refused is not counted"
    return code_of(answer)


@pytest.mark.parametrize("first", FAULTS)
def test_the_first_check_that_fails_decides(first: str) -> None:
    """Rules 10 and 24, RFC 8656 §7.2: 437, expired 401, 400, 442, token 400 and 508, families 400, 440, 400, EVEN-PORT
    400, quota 486, capacity 508, redirect 300; every fault with up to two of those that come later."""
    later = list(FAULTS)[list(FAULTS).index(first) + 1 :]
    for size in (0, 1, 2):
        for also in combinations(later, size):
            faults = {first, *also}
            decisive = min(implied(faults), key=list(FAULTS).index)
            assert outcome(faults) == FAULTS[decisive], faults


def test_an_allocate_without_fault_passes() -> None:
    """Rule 10: the table of faults above is wrong only where it says so."""
    assert outcome(set()) == 0


# Retransmissions


@pytest.mark.parametrize("transport", list(ClientTransport))
def test_the_same_transaction_gets_the_same_success(transport: ClientTransport) -> None:
    """Rule 10, RFC 8656 §5, RFC 8489 §6.3.1: byte by byte, for 40 seconds, on streams too; then 437."""
    world = World()
    client = challenged(world, transport=transport)
    frame = client.build(Method.ALLOCATE, [UDP])
    first = world.feed(client.path, frame)
    world.take()
    for _ in range(4):
        assert world.feed(client.path, frame) == first
        world.advance(9.99)
    assert world.take() == [SendToClient(client.path, first[0])] * 4
    world.advance(0.05)
    assert [code_of(Message.decode(answer)) for answer in world.feed(client.path, frame)] == [437]


def test_a_retransmission_while_the_socket_opens_waits() -> None:
    """Rule 10, RFC 8489 §6.3.1: one transaction, one answer; and no second socket."""
    world = World(automatic=False)
    client = challenged(world)
    frame = opening(client)
    assert world.feed(client.path, frame) == []
    assert [type(command) for command in world.take()] == [OpenRelay]
    world.settle()
    assert len(client.hears()) == 1


def test_a_transaction_id_is_good_for_its_five_tuple_only() -> None:
    """Rule 10, RFC 8489 §6.3.1: the same id from another port is another request."""
    world = World()
    client, other = challenged(world), challenged(world, port=40001)
    frame = client.build(Method.ALLOCATE, [UDP], transaction=b"t" * 12)
    client.send(frame)
    answer = other.send(other.build(Method.ALLOCATE, [UDP], transaction=b"t" * 12))
    assert answer.first(a.XOR_MAPPED_ADDRESS) == other.path.address
    assert world.core.state.quota.total == 2


def test_refusals_are_not_remembered() -> None:
    """Rule 10, RFC 8656 §5: what was refused is looked at afresh; room may have been made."""
    world = World(limits=limits(allocations_per_user=1))
    client, other = challenged(world), world.client(port=40001)
    other.allocate()
    frame = client.build(Method.ALLOCATE, [UDP])
    assert code_of(client.send(frame)) == 486
    other.refresh(0)
    assert code_of(client.send(frame)) == 0


# Lifetimes


@pytest.mark.parametrize(
    ("requested", "granted"),
    [
        (None, 600),
        (0, 600),
        (1, 600),
        (599, 600),
        (600, 600),
        (601, 601),
        (1800, 1800),
        (3599, 3599),
        (3600, 3600),
        (3601, 3600),
        (2**32 - 1, 3600),
    ],
)
def test_the_lifetime_granted_and_kept(requested: int | None, granted: int) -> None:
    """Rule 11, RFC 8656 §7.2: max(600, min(requested, 3600)); the answer says it and the allocation lives so long."""
    world = World()
    client = challenged(world)
    answer = client.allocate(*([] if requested is None else [(a.LIFETIME, requested)]))
    assert answer.first(a.LIFETIME) == granted
    world.advance(granted - 0.01)
    assert world.core.state.live(client.path) is not None
    world.advance(0.01)
    world.assert_nothing_left()


def test_configured_lifetimes() -> None:
    """Rule 11: the bounds are settings."""
    world = World(limits=limits(default_lifetime=700, max_lifetime=800))
    lifetimes = []
    for port, requested in enumerate((0, 750, 10_000), start=1):
        answer = world.client(port=port).allocate((a.LIFETIME, requested))
        lifetimes.append(answer.first(a.LIFETIME))
    assert lifetimes == [700, 750, 800]


# Families


@pytest.mark.parametrize("host", ["192.0.2.10", "2a00::10"])
@pytest.mark.parametrize(("asked", "family"), [(None, IPV4), (1, IPV4), (2, IPV6)])
def test_the_family_that_is_asked_for(host: str, asked: int | None, family: AddressFamily) -> None:
    """Rules 10 and 23, RFC 8656 §7.2 step 7: IPv4 unless asked, whatever the client itself uses."""
    world = World()
    client = world.client(host)
    answer = client.allocate(*([] if asked is None else [(a.REQUESTED_ADDRESS_FAMILY, asked)]))
    relayed = answer.all(a.XOR_RELAYED_ADDRESS)
    assert [address.family for address in relayed] == [family]
    assert list(world.bound.values()) == relayed


@pytest.mark.parametrize(
    ("setting", "relays", "family"),
    [
        ("auto", ONLY_IPV6, IPV6),
        ("auto", ONLY_IPV4, IPV4),
        ("auto", (), None),
        ("ipv4", ONLY_IPV6, None),
        ("ipv6", ONLY_IPV6, IPV6),
        ("ipv6", ONLY_IPV4, None),
    ],
)
def test_the_default_family(setting: str, relays: tuple[RelayAddress, ...], family: AddressFamily | None) -> None:
    """Rule 23: a browser names no family and gets what the server has, if ``relay.default_family`` is ``auto``.

    The kind of fault: to the letter of the RFC, and useless to every browser.
    """
    answer = World(relays=relays, settings={"default_family": setting}).client().allocate()
    assert code_of(answer) == (440 if family is None else 0)
    assert [address.family for address in answer.all(a.XOR_RELAYED_ADDRESS)] == ([] if family is None else [family])


def test_the_default_family_may_be_ipv6() -> None:
    """Rule 23: on a server that has both; who asks for IPv4 gets it."""
    world = World(settings={"default_family": "ipv6"})
    six = world.client(port=1).allocate()
    four = world.client(port=2).allocate((a.REQUESTED_ADDRESS_FAMILY, 1))
    assert [answer.all(a.XOR_RELAYED_ADDRESS)[0].family for answer in (six, four)] == [IPV6, IPV4]


def test_the_default_family_changes_while_the_server_runs() -> None:
    """Rule 23: the option is live."""
    world = World(relays=ONLY_IPV6, settings={"default_family": "ipv4"})
    client = challenged(world)
    assert code_of(client.allocate()) == 440
    world.core.use(core_settings(realm=REALM, default_family="auto"), world.now)
    assert code_of(client.allocate()) == 0


def test_the_default_family_is_one_whose_address_is_there() -> None:
    """Rules 13 and 23: after an IPv4 address that the system does not have, the next Allocate gets IPv6."""
    world = World()
    world.failing[RELAY] = RelayFailure.ADDRESS
    client = challenged(world)
    assert code_of(client.allocate()) == 508
    answer = client.allocate()
    assert [address.family for address in answer.all(a.XOR_RELAYED_ADDRESS)] == [IPV6]


@pytest.mark.parametrize(("relays", "asked"), [(ONLY_IPV4, [2]), (ONLY_IPV6, [1])])
def test_a_family_that_the_server_has_not(relays: tuple[RelayAddress, ...], asked: list[int]) -> None:
    """Rule 10, RFC 8656 §7.2 step 7: 440."""
    world = World(relays=relays)
    client = challenged(world)
    answer = client.allocate(*[(a.REQUESTED_ADDRESS_FAMILY, family) for family in asked])
    assert code_of(answer) == 440
    world.assert_nothing_left()


def test_a_dual_allocation() -> None:
    """Rule 10, RFC 8656 §7.2 step 9: one relay of each family, two XOR-RELAYED-ADDRESS, one quota."""
    world = World()
    client = challenged(world)
    answer = client.allocate(DUAL)
    assert names_of(answer) == [
        "XOR-RELAYED-ADDRESS",
        "XOR-RELAYED-ADDRESS",
        "LIFETIME",
        "XOR-MAPPED-ADDRESS",
        "SOFTWARE",
        "MESSAGE-INTEGRITY",
    ]
    four, six = answer.all(a.XOR_RELAYED_ADDRESS)
    assert (four.family, six.family) == (IPV4, IPV6)
    assert list(world.bound.values()) == [four, six]
    assert world.core.state.quota.total == 1
    (event,) = world.take_events()
    assert isinstance(event, AllocationOpened)
    assert (event.relays, event.relayed) == (tuple(client.relays), (four, six))
    assert code_of(client.permit(PEER, PEER6)) == 0


@pytest.mark.parametrize(("relays", "has", "lacks"), [(ONLY_IPV4, IPV4, IPV6), (ONLY_IPV6, IPV6, IPV4)])
def test_half_a_dual_allocation_for_want_of_a_family(
    relays: tuple[RelayAddress, ...], has: AddressFamily, lacks: AddressFamily
) -> None:
    """Rule 10, RFC 8656 §7.2 step 9: success with ADDRESS-ERROR-CODE 440 for the family that the server has not."""
    world = World(relays=relays)
    client = challenged(world)
    answer = client.allocate(DUAL)
    assert code_of(answer) == 0
    assert [address.family for address in answer.all(a.XOR_RELAYED_ADDRESS)] == [has]
    expected = AddressErrorValue(lacks, 440, "Address Family not Supported (unsupported-family)")
    assert answer.all(a.ADDRESS_ERROR_CODE) == [expected]


@pytest.mark.parametrize(("broken", "has", "lacks"), [(RELAY6, IPV4, IPV6), (RELAY, IPV6, IPV4)])
def test_half_a_dual_allocation_for_want_of_a_socket(broken: bytes, has: AddressFamily, lacks: AddressFamily) -> None:
    """Rules 10 and 25, RFC 8656 §7.2 step 9: 508 for the half that cannot be bound; its ports are given back."""
    world = World(automatic=False)
    world.unbindable.add(broken)
    client = challenged(world)
    opening(client, DUAL)
    world.settle()
    (heard,) = client.hears()
    answer = Message.decode(heard)
    assert code_of(answer) == 0
    assert [address.family for address in answer.all(a.XOR_RELAYED_ADDRESS)] == [has]
    expected = AddressErrorValue(lacks, 508, "Insufficient Capacity (relay-ports)")
    assert answer.all(a.ADDRESS_ERROR_CODE) == [expected]
    assert sum(ports.used for ports in world.core.state.ports.values()) == 1
    assert code_of(client.permit(PEER if lacks is IPV4 else PEER6)) == 443
    assert code_of(client.permit(PEER6 if lacks is IPV4 else PEER)) == 0
    client.refresh(0)
    world.assert_nothing_left()


def test_ipv4_is_named_first_however_long_it_took() -> None:
    """Rule 10, RFC 8656 §7.2: the order of the two addresses does not depend on which socket opened when."""
    world = World(automatic=False)
    client = challenged(world)
    opening(client, DUAL)
    world.unbindable.add(world.bound[world.waiting[0]].port)
    world.settle()
    (heard,) = client.hears()
    relayed = Message.decode(heard).all(a.XOR_RELAYED_ADDRESS)
    assert [address.family for address in relayed] == [IPV4, IPV6]


def test_a_dual_allocation_with_neither_half_is_508() -> None:
    """Rules 10 and 25: one error, all given back."""
    world = World()
    world.unbindable |= {RELAY, RELAY6}
    client = challenged(world)
    assert code_of(client.allocate(DUAL)) == 508
    world.assert_nothing_left()


# EVEN-PORT and reservations


@pytest.mark.parametrize("attempt", range(4))
def test_an_even_port(attempt: int) -> None:
    """Rule 10, RFC 8656 §7.2: EVEN-PORT with R=0 → an even port, and no token."""
    world = World(ports=PortRange(50000 + attempt, 50009))
    answer = world.client().allocate((a.EVEN_PORT, False))
    relayed = answer.first(a.XOR_RELAYED_ADDRESS)
    assert relayed is not None
    assert relayed.port % 2 == 0
    assert not answer.has(a.RESERVATION_TOKEN)
    assert len(world.bound) == 1


def test_even_ports_for_both_families() -> None:
    """Rule 10, RFC 8656 §7.2 step 8: EVEN-PORT with R=0 goes with ADDITIONAL-ADDRESS-FAMILY."""
    answer = World().client().allocate((a.EVEN_PORT, False), (a.ADDITIONAL_ADDRESS_FAMILY, 2))
    assert [address.port % 2 for address in answer.all(a.XOR_RELAYED_ADDRESS)] == [0, 0]


def test_no_even_port_left_is_508() -> None:
    """Rule 10, RFC 8656 §7.2 step 8: cannot be satisfied; without EVEN-PORT it can."""
    world = World(ports=PortRange(50001, 50001))
    client = challenged(world)
    assert code_of(client.allocate((a.EVEN_PORT, False))) == 508
    assert code_of(client.allocate()) == 0


def test_a_pair_of_ports() -> None:
    """Rules 10 and 13, RFC 8656 §7.2: R=1 → an even port, a token for the next one up, which is held open."""
    world = World()
    client = challenged(world)
    answer = client.allocate((a.EVEN_PORT, True))
    assert names_of(answer)[:4] == ["XOR-RELAYED-ADDRESS", "LIFETIME", "RESERVATION-TOKEN", "XOR-MAPPED-ADDRESS"]
    relayed, token = answer.first(a.XOR_RELAYED_ADDRESS), answer.first(a.RESERVATION_TOKEN)
    assert relayed is not None
    assert relayed.port % 2 == 0
    above = Address(relayed.ip, relayed.port + 1)
    assert list(world.bound.values()) == [relayed, above]
    world.take()

    other = challenged(world, port=40001, transport=ClientTransport.TCP)
    second = redeem(other, token or b"")
    assert second.first(a.XOR_RELAYED_ADDRESS) == above
    assert world.take() == [SendToClient(other.path, second.raw)], "no other socket is opened"
    assert code_of(other.permit(PEER)) == 0
    client.refresh(0)
    other.refresh(0)
    world.assert_nothing_left()


def test_a_reservation_is_held_for_thirty_seconds() -> None:
    """Rule 13, RFC 8656 §7.2: at least 30 seconds; then the token is worth nothing and the port is free."""
    world = World()
    relayed, token = reserved(world, challenged(world))
    world.take()
    world.advance(29.99)
    assert world.take() == []
    world.advance(0.01)
    (closed,) = world.take()
    assert isinstance(closed, CloseRelay)
    assert list(world.bound.values()) == [relayed]
    assert code_of(redeem(challenged(world, port=40001), token)) == 508


def test_a_reservation_is_used_in_its_last_moment() -> None:
    """Rule 13, RFC 8656 §7.2: and then it does not expire any more."""
    world = World()
    relayed, token = reserved(world, challenged(world))
    world.advance(29.99)
    other = challenged(world, port=40001)
    assert redeem(other, token).first(a.XOR_RELAYED_ADDRESS) == Address(relayed.ip, relayed.port + 1)
    world.advance(60)
    assert world.core.state.live(other.path) is not None


def test_a_reservation_is_good_once() -> None:
    """Rule 10, RFC 8656 §7.2 step 5: the second try → 508."""
    world = World()
    _, token = reserved(world, challenged(world))
    assert code_of(redeem(challenged(world, port=40001), token)) == 0
    assert code_of(redeem(challenged(world, port=40002), token)) == 508
    assert world.core.state.quota.total == 2


def test_a_reservation_is_its_users() -> None:
    """Rule 10, RFC 8656 §7.2 step 5: another user's token is worth nothing, and is not used up by trying."""
    world = World()
    _, token = reserved(world, challenged(world))
    bob = challenged(world, port=40001, user="bob", password="hunter2")
    assert code_of(redeem(bob, token)) == 508
    assert code_of(redeem(challenged(world, port=40002), token)) == 0


def test_a_reservation_outlives_the_allocation_that_made_it() -> None:
    """RFC 8656 §7.2: it is server-wide and not specific to an allocation."""
    world = World()
    client = challenged(world)
    _, token = reserved(world, client)
    client.refresh(0)
    assert code_of(redeem(client, token)) == 0


def test_without_descriptors_508_says_so_and_takes_nothing() -> None:
    """Rules 25 and 30: one for a relay, two for a pair or both families; a reserved relay has one already."""
    world = World(limits=limits(allocations_per_user=9))
    client = challenged(world)
    _, token = reserved(world, client)
    budget = world.core.state.descriptors
    assert budget.users == {"alice": 2}
    budget.total = 3
    other = challenged(world, port=40001, user="bob", password="hunter2")
    for attribute in ((a.EVEN_PORT, True), (a.ADDITIONAL_ADDRESS_FAMILY, AddressFamily.IPV6)):
        answer = other.allocate(attribute)
        error = answer.first(a.ERROR_CODE)
        assert error is not None
        assert (error.code, error.reason) == (508, "Insufficient Capacity (no-descriptors)")
    assert world.core.state.quota.users == {"alice": 1}
    assert code_of(other.allocate()) == 0
    assert budget.free == 0
    assert code_of(redeem(challenged(world, port=40002), token)) == 0
    assert budget.users == {"alice": 2, "bob": 1}
    other.refresh(0)
    assert budget.users == {"alice": 2}


def test_a_token_that_is_refused_for_quota_stays_good() -> None:
    """Rule 25: a refusal takes nothing, the reservation neither."""
    world = World(limits=limits(allocations_per_user=1))
    client = challenged(world)
    _, token = reserved(world, client)
    other = challenged(world, port=40001)
    assert code_of(redeem(other, token)) == 486
    client.refresh(0)
    assert code_of(redeem(other, token)) == 0


def test_reservations_are_bounded() -> None:
    """Rules 3 and 25: who reserves and deletes, again and again, does not get hold of all ports."""
    world = World(limits=limits(allocations_per_user=3))
    client = challenged(world)
    for _ in range(3):
        reserved(world, client)
        client.refresh(0)
    assert code_of(client.allocate((a.EVEN_PORT, True))) == 486
    assert code_of(client.allocate()) == 0, "without another reservation it goes on"
    client.refresh(0)
    world.advance(30)
    assert code_of(client.allocate((a.EVEN_PORT, True))) == 0
    assert world.core.state.reserved_by("alice") == 1


@pytest.mark.parametrize("which", [0, 1])
def test_a_pair_is_opened_whole_or_tried_elsewhere(which: int) -> None:
    """Rules 13 and 25, RFC 8656 §7.2: when one of the two cannot be bound, both are given up for another pair."""
    world = World(automatic=False)
    client = challenged(world)
    opening(client, (a.EVEN_PORT, True))
    first, second = world.waiting
    unlucky = world.bound[(first, second)[which]]
    world.unbindable.add(unlucky.port)
    world.settle()
    (heard,) = client.hears()
    answer = Message.decode(heard)
    relayed = answer.first(a.XOR_RELAYED_ADDRESS)
    assert relayed is not None
    assert unlucky.port not in (relayed.port, relayed.port + 1)
    assert answer.has(a.RESERVATION_TOKEN)
    assert sorted(bound.port for bound in world.bound.values()) == [relayed.port, relayed.port + 1]
    assert world.core.state.ports[RELAY, TransportProtocol.UDP].used == 2
    client.refresh(0)
    world.advance(30)
    world.assert_nothing_left()


# Sockets that do not open


def test_another_port_is_tried() -> None:
    """Rule 13, RFC 8656 §7.2: a port that some other program has is passed over; the client hears of the next."""
    world = World(automatic=False)
    client = challenged(world)
    opening(client)
    world.unbindable.add(world.bound[world.waiting[0]].port)
    world.take()
    world.settle()
    again, sent = world.take()
    assert isinstance(again, OpenRelay)
    assert isinstance(sent, SendToClient)
    assert Message.decode(sent.frame).first(a.XOR_RELAYED_ADDRESS) == again.bind
    assert world.core.state.ports[RELAY, TransportProtocol.UDP].used == 1


def test_when_no_port_opens_it_is_508_and_all_is_given_back() -> None:
    """Rules 13 and 25: so many different ports, then one error; quota and ports as before, and no end of a life."""
    world = World()
    world.unbindable.add(RELAY)
    client = challenged(world)
    answer = client.allocate()
    assert (code_of(answer), names_of(answer)) == (508, ["ERROR-CODE", "SOFTWARE", "MESSAGE-INTEGRITY"])
    *opened, sent = world.take()
    assert sent == SendToClient(client.path, answer.raw)
    ports = [command.bind.port for command in opened if isinstance(command, OpenRelay)]
    assert len(ports) == len(opened) == len(set(ports)) == MAX_ATTEMPTS
    assert [type(event) for event in world.take_events()] == [RequestRefused]
    world.assert_nothing_left()
    world.unbindable.clear()
    assert code_of(client.allocate()) == 0


# Errors that are not about the port (rule 13)

OTHER_RELAY = Address.parse("198.51.100.9", 0).ip
TWO = (RelayAddress(RELAY, RELAY), RelayAddress(OTHER_RELAY, OTHER_RELAY))


def opened_on(world: World) -> list[bytes]:
    """The addresses that relays were to be opened on since the last look."""
    return [command.bind.ip for command in world.take() if isinstance(command, OpenRelay)]


@pytest.mark.parametrize(
    ("failure", "cause"),
    [(RelayFailure.ADDRESS, Reason.RELAY_ADDRESS), (RelayFailure.SYSTEM, Reason.RELAY_SOCKET)],
)
@pytest.mark.parametrize("attributes", [[], [(a.EVEN_PORT, True)]], ids=["one", "pair"])
def test_an_error_that_is_not_about_the_port_ends_the_attempt(
    failure: RelayFailure, cause: Reason, attributes: list[Any]
) -> None:
    """Rule 28: one port (or pair) is tried and no other; 508 says why; all is given back."""
    world = World(relays=(RelayAddress(RELAY, RELAY),))
    world.failing[RELAY] = failure
    client = challenged(world)
    for _ in range(3):
        world.take()
        answer = client.allocate(*attributes)
        assert answer.first(a.ERROR_CODE) == ErrorValue(508, f"Insufficient Capacity ({cause})")
        assert len(opened_on(world)) == 1 + len(attributes)
        world.assert_nothing_left()
    world.failing.clear()
    assert code_of(client.allocate(*attributes)) == 0


def test_when_the_system_has_no_socket_left_the_other_address_is_not_tried() -> None:
    """Rule 28: no descriptor here means none there."""
    world = World(relays=TWO)
    world.failing[RELAY] = world.failing[OTHER_RELAY] = RelayFailure.SYSTEM
    client = challenged(world)
    assert code_of(client.allocate()) == 508
    assert opened_on(world) == [RELAY]


def test_of_two_addresses_the_one_that_is_there_is_used() -> None:
    """Rule 28: the absent one costs one attempt, then none for a while, then one again; when it is back it is used."""
    world = World(relays=TWO)
    world.failing[RELAY] = RelayFailure.ADDRESS
    seen = []
    for port in range(4):
        client = world.client(port=40000 + port)
        assert code_of(client.allocate()) == 0
        seen.append(opened_on(world))
        if port == 1:
            world.advance(ABSENCE)
    assert seen == [[RELAY, OTHER_RELAY], [OTHER_RELAY], [RELAY, OTHER_RELAY], [OTHER_RELAY]]
    world.failing.clear()
    world.advance(ABSENCE)
    assert code_of(world.client(port=40009).allocate()) == 0
    assert opened_on(world) == [RELAY]


def test_half_of_a_dual_allocation_on_an_absent_address() -> None:
    """Rule 28, RFC 8656 §7.2 step 9: the other half is granted; ADDRESS-ERROR-CODE says what is wrong with this one."""
    world = World()
    world.failing[RELAY6] = RelayFailure.ADDRESS
    client = challenged(world)
    answer = client.allocate(DUAL)
    assert code_of(answer) == 0
    assert answer.all(a.ADDRESS_ERROR_CODE) == [AddressErrorValue(IPV6, 508, "Insufficient Capacity (relay-address)")]
    assert sorted(opened_on(world)) == [RELAY6, RELAY]


# Sockets of which nothing is heard


def test_an_opening_that_is_never_answered_ends_in_508() -> None:
    """Rule 25: no Allocate waits for ever; port and quota are given back, and the socket is closed if it comes."""
    world = World(automatic=False, bounds=CoreBounds(opening_timeout=7))
    client = challenged(world)
    opening(client)
    (command,) = [command for command in world.take() if isinstance(command, OpenRelay)]
    world.advance(6.9)
    assert client.hears() == []
    world.advance(0.1)
    (heard,) = client.hears()
    assert code_of(Message.decode(heard)) == 508
    assert world.take()[0] == CloseRelay(command.relay)
    world.assert_nothing_left()
    assert not world.core.relay_opened(command.relay, world.now), "nobody wants it any more"
    world.waiting.clear()
    world.automatic = True
    assert code_of(client.allocate()) == 0


def test_half_a_dual_allocation_for_want_of_news() -> None:
    """RFC 8656 §7.2: what is open by then is granted, with the reason for what is not."""
    world = World(automatic=False)
    client = challenged(world)
    opening(client, DUAL)
    first, second = world.waiting
    world.core.relay_opened(first, world.now)
    world.advance(world.core.state.bounds.opening_timeout)
    answer = Message.decode(client.hears()[0])
    assert code_of(answer) == 0
    assert [address.family for address in answer.all(a.XOR_RELAYED_ADDRESS)] == [IPV4]
    (error,) = answer.all(a.ADDRESS_ERROR_CODE)
    assert (error.family, error.code) == (IPV6, 508)
    assert second not in world.bound
    world.advance(601)
    world.assert_nothing_left()


def test_a_pair_of_which_half_is_heard_of_is_given_up_whole() -> None:
    """RFC 8656 §7.2: EVEN-PORT with R=1 is both ports or an error."""
    world = World(automatic=False)
    client = challenged(world)
    opening(client, (a.EVEN_PORT, True))
    world.core.relay_opened(world.waiting[0], world.now)
    world.advance(10)
    assert code_of(Message.decode(client.hears()[0])) == 508
    world.assert_nothing_left()


def test_an_answer_in_time_takes_the_deadline_with_it() -> None:
    """A relay that opened is nobody's business ten seconds later."""
    world = World(automatic=False)
    client = challenged(world)
    opening(client)
    world.settle()
    assert code_of(Message.decode(client.hears()[0])) == 0
    world.advance(20)
    assert client.hears() == []
    assert code_of(client.refresh()) == 0


# Sockets that break


@pytest.mark.parametrize("transport", ClientTransport)
def test_an_allocation_ends_with_its_only_relay(transport: ClientTransport) -> None:
    """A datapath may lose a relay that it had open: nothing is kept that does not work. A connection is closed."""
    world = World()
    client = challenged(world, transport=transport, serial=int(transport.connected))
    client.allocate()
    client.bind(0x4000, PEER)
    relay = client.relay
    world.take(), world.take_events()
    world.core.relay_failed(relay, world.now)
    world.run()
    *gone, last = world.take()
    assert CloseRelay(relay) in [*gone, last]
    assert (CloseClient(client.path) == last) is transport.connected
    (ended,) = world.take_events()
    assert isinstance(ended, AllocationEnded)
    assert ended.reason is EndReason.RELAY_FAILED
    world.assert_nothing_left()


def test_half_a_dual_allocation_outlives_the_other() -> None:
    """RFC 8656 §8.2: as if the other half had been deleted."""
    world = World()
    client = challenged(world)
    client.allocate(DUAL)
    four, six = client.relays
    client.bind(0x4000, PEER)
    world.core.relay_failed(six, world.now)
    world.run()
    assert client.relays == [four]
    assert not [event for event in world.take_events() if isinstance(event, AllocationEnded)]
    world.core.relay_failed(four, world.now)
    world.run()
    world.assert_nothing_left()


def test_a_relay_that_breaks_while_another_opens_is_replaced() -> None:
    """The Allocate is not answered yet, so another port will do."""
    world = World(automatic=False)
    client = challenged(world)
    opening(client, DUAL)
    first, _ = world.waiting
    world.core.relay_opened(first, world.now)
    world.waiting.remove(first)
    world.core.relay_failed(first, world.now)
    world.run()
    assert first not in world.bound
    world.settle()
    answer = Message.decode(client.hears()[0])
    assert len(answer.all(a.XOR_RELAYED_ADDRESS)) == 2


def test_a_reserved_relay_that_breaks_is_not_reserved_any_more() -> None:
    """A token of nothing → 508 (RFC 8656 §7.2)."""
    world = World()
    client = challenged(world)
    _, token = reserved(world, client)
    (held,) = world.core.state.reservations.values()
    world.core.relay_failed(held.relay.id, world.now)
    world.run()
    client.refresh(0)
    world.assert_nothing_left()
    assert code_of(redeem(client, token)) == 508


def test_when_no_port_is_left_it_is_508_at_once() -> None:
    """Rule 10: and no socket is tried."""
    world = World(ports=PortRange(50000, 50000))
    assert code_of(world.client(port=1).allocate()) == 0
    client = challenged(world, port=2)
    answer = client.allocate()
    assert code_of(answer) == 508
    assert world.take() == [SendToClient(client.path, answer.raw)]
    assert world.core.state.quota.total == 1


def test_a_port_just_freed_is_not_given_to_the_next() -> None:
    """Rule 13: not even in a small range."""
    world = World(ports=PortRange(50000, 50003))
    client = challenged(world)
    seen = set()
    for _ in range(4):
        answer = client.allocate()
        relayed = answer.first(a.XOR_RELAYED_ADDRESS)
        assert relayed is not None
        seen.add(relayed.port)
        client.refresh(0)
    assert len(seen) == 4


# Quota, capacity, redirection


def test_the_users_quota() -> None:
    """Rules 10 and 25, RFC 8656 §7.2 step 10: 486 for the one too many; deleting makes room; others do not count."""
    world = World(limits=limits(allocations_per_user=2))
    clients = [challenged(world, port=port) for port in (1, 2, 3)]
    assert [code_of(client.allocate()) for client in clients] == [0, 0, 486]
    assert code_of(world.client(port=4, user="bob", password="hunter2").allocate()) == 0
    clients[0].refresh(0)
    assert code_of(clients[2].allocate()) == 0


def test_the_servers_capacity() -> None:
    """Rule 10: all users together → 508."""
    world = World(limits=limits(allocations=1))
    assert code_of(world.client(port=1).allocate()) == 0
    bob = challenged(world, port=2, user="bob", password="hunter2")
    answer = bob.allocate()
    assert code_of(answer) == 508
    assert world.take() == [SendToClient(bob.path, answer.raw)]


def test_quota_is_taken_before_the_socket() -> None:
    """Rule 25: allocations that are still opening count; expiry gives back."""
    world = World(automatic=False, limits=limits(allocations_per_user=1))
    client, other = challenged(world), challenged(world, port=40001)
    opening(client)
    world.take()
    answer = other.allocate()
    assert code_of(answer) == 486
    assert world.take() == [SendToClient(other.path, answer.raw)]
    world.settle()
    world.advance(600)
    world.assert_nothing_left()


def test_quota_is_counted_on_the_user_part() -> None:
    """Rule 24: `<expiry>:<user>` is the same user whenever it was minted; without a user part the name is."""
    world = World(source=TimeLimitedCredentials([SECRET]), limits=limits(allocations_per_user=2))
    codes = []
    for port, (user, lives) in enumerate(
        [("alice", 60), ("alice", 61), ("alice", 62), ("bob", 60), ("", 60), ("", 61)]
    ):
        name, password = mint(SECRET, user, int(world.now.wall) + lives)
        codes.append(code_of(world.client(port=port + 1, user=name, password=password).allocate()))
    assert codes == [0, 0, 486, 0, 0, 0]
    assert world.core.state.quota.users.get("alice", 0) == 2


@pytest.mark.parametrize(
    ("host", "alternate"),
    [("192.0.2.10", "198.51.100.2"), ("2a00::10", "2a00::2"), ("::ffff:192.0.2.10", "198.51.100.2")],
)
def test_redirection(host: str, alternate: str) -> None:
    """Rule 10, RFC 8656 §7.2 step 11, RFC 8489 §14.15: 300 with an ALTERNATE-SERVER of the client's own family."""
    elsewhere = (Address.parse("2a00::2", 3478), Address.parse("198.51.100.2", 3479))
    world = World(settings={"alternate_servers": elsewhere})
    client = challenged(world, host=host)
    answer = client.allocate()
    assert (code_of(answer), names_of(answer)) == (
        300,
        ["ERROR-CODE", "ALTERNATE-SERVER", "SOFTWARE", "MESSAGE-INTEGRITY"],
    )
    found = answer.first(a.ALTERNATE_SERVER)
    assert found is not None
    assert found.host == alternate
    world.assert_nothing_left()


def test_without_an_alternate_of_the_family_it_is_served_here() -> None:
    """RFC 8489 §14.15: the family MUST be that of the request's source, so there is none to send this client to."""
    world = World(settings={"alternate_servers": (Address.parse("2a00::2", 3478),)})
    assert code_of(world.client().allocate()) == 0


def test_what_is_here_stays_when_others_are_redirected() -> None:
    """Rule 10: only Allocate is redirected; strangers still have to authenticate first."""
    world = World()
    client = challenged(world)
    client.allocate()
    elsewhere = (Address.parse("198.51.100.2", 3478),)
    world.core.state.settings = world.core.state.settings.model_copy(update={"alternate_servers": elsewhere})
    assert code_of(client.refresh()) == 0
    stranger = world.client(port=40001)
    assert code_of(stranger.challenge()) == 401


@pytest.mark.parametrize("family", ["192.0.2.10", "2a00::10"])
def test_a_draining_server_takes_no_allocations(family: str) -> None:
    """Rule 30: 508 says why; what stands goes on in every respect, and the quota is that of those who stand."""
    world = World()
    client = challenged(world)
    client.allocate()
    waiting = challenged(world, port=40001, host=family)
    world.core.drain(world.now)
    answer = waiting.allocate()
    assert code_of(answer) == 508
    refusal = answer.first(a.ERROR_CODE)
    assert refusal is not None
    assert refusal.reason == "Insufficient Capacity (draining): the server is about to stop"
    assert code_of(client.permit(PEER)) == 0
    assert code_of(client.bind(0x4000, PEER)) == 0
    assert code_of(client.refresh()) == 0
    assert world.core.state.quota.total == 1
    assert code_of(client.refresh(0)) == 0
    assert code_of(client.allocate()) == 508
    assert world.core.is_empty


def test_a_draining_server_sends_clients_to_another_one() -> None:
    """Rule 30: where one of the client's family is known; a retransmission still gets its answer."""
    world = World()
    client = challenged(world)
    frame = client.build(Method.ALLOCATE, [(a.REQUESTED_TRANSPORT, 17)])
    (opened,) = world.feed(client.path, frame)
    elsewhere = (Address.parse("198.51.100.2", 3478),)
    world.core.state.settings = world.core.state.settings.model_copy(update={"alternate_servers": elsewhere})
    other, sixth = challenged(world, port=40001), challenged(world, host="2a00::10")
    world.core.drain(world.now)
    answer = other.allocate()
    assert (code_of(answer), answer.first(a.ALTERNATE_SERVER)) == (300, elsewhere[0])
    assert code_of(sixth.allocate()) == 508
    assert world.feed(client.path, frame) == [opened]
    assert code_of(Message.decode(opened)) == 0


def test_a_full_quota_does_not_hide_that_the_server_drains() -> None:
    """Rule 30: 508, and not 486: another attempt at this server is no use."""
    world = World(settings={"limits": limits(allocations_per_user=1)})
    client, other = challenged(world), challenged(world, port=40001)
    assert code_of(client.allocate()) == 0
    world.core.drain(world.now)
    assert code_of(other.allocate()) == 508


# Credentials that expire


def test_an_expired_credential_does_not_allocate() -> None:
    """Rule 24: expiry is checked at Allocate; the 401 says why and carries a challenge."""
    world = World(source=TimeLimitedCredentials([SECRET]))
    name, password = mint(SECRET, "alice", int(world.now.wall) + 60)
    client = challenged(world, user=name, password=password)
    world.advance(60)
    answer = client.allocate()
    error = answer.first(a.ERROR_CODE)
    assert error == (401, "Unauthenticated (expired)")
    assert names_of(answer) == ["ERROR-CODE", "REALM", "NONCE", "PASSWORD-ALGORITHMS"]
    world.assert_nothing_left()


def test_a_credential_in_its_last_second_allocates() -> None:
    """Rule 24: until the moment itself."""
    world = World(source=TimeLimitedCredentials([SECRET]))
    name, password = mint(SECRET, "alice", int(world.now.wall) + 60)
    client = challenged(world, user=name, password=password)
    world.advance(59.9)
    assert code_of(client.allocate()) == 0


def test_a_hostile_name_goes_through_unchanged() -> None:
    """Rule 24: the username is hostile text; the core hands it on as it is and whoever writes it must escape it."""
    name = "1700000060:\N{PILE OF POO}'; DROP TABLE users; --"
    world = World(source=TimeLimitedCredentials([SECRET]))
    name, password = mint(SECRET, name.partition(":")[2], 1_700_000_060)
    client = challenged(world, user=name, password=password)
    assert code_of(client.allocate()) == 0
    (event,) = world.take_events()
    assert isinstance(event, AllocationOpened)
    assert (event.username, event.user_id) == (name, name.partition(":")[2])


def test_relay_numbers_are_never_used_again() -> None:
    """Rule 13: a late answer about an old socket cannot be taken for a new one's."""
    world = World()
    client = challenged(world)
    seen: list[RelayId] = []
    for _ in range(3):
        client.allocate()
        seen += client.relays
        client.refresh(0)
    assert len(set(seen)) == 3


def test_an_expiry_in_milliseconds_is_told_once() -> None:
    """Rule 24, the kind: a back end's mistake that nobody sees, because such a credential works for ever."""
    world = World(source=TimeLimitedCredentials([SECRET]))
    for port in range(3):
        name, password = mint(SECRET, "alice", int(world.now.wall * 1000) + 60)
        assert code_of(world.client(port=40000 + port, user=name, password=password).allocate()) == 0
    (event,) = [event for event in world.take_events() if isinstance(event, OddExpiry)]
    assert (event.user_id, event.expires_at) == ("alice", int(world.now.wall * 1000) + 60)


def test_a_user_before_the_expiry_is_that_user() -> None:
    """Rule 24: `user:timestamp`, as coturn takes it. Quota and expiry are those of the user's other credentials."""
    world = World(source=TimeLimitedCredentials([SECRET], order="any"), limits=limits(allocations_per_user=1))
    expires = int(world.now.wall) + 60
    name = f"alice:{expires}"
    client = challenged(world, user=name, password=password_for(SECRET, name))
    assert code_of(client.allocate()) == 0
    first, password = mint(SECRET, "alice", expires)
    assert code_of(challenged(world, port=40001, user=first, password=password).allocate()) == 486
    client.refresh(0)
    world.advance(60)
    assert client.allocate().first(a.ERROR_CODE) == (401, "Unauthenticated (expired)")
