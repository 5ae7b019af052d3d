"""All tests of a NAT in their order (RFC 5780 §4.5), against NATs of every kind, in virtual time."""

from itertools import pairwise

import pytest

from stun.address import Address
from stun.attributes import CHANGE_REQUEST
from stun.client.nat.discovery import MAX_SERVERS, SILENCES, DiscoveryPlan, discover, unfit_other
from stun.client.nat.findings import Dependence, Findings, Trial
from stun.message import Message
from tests.support.nat_world import ALTERNATE, PRIMARY, SECOND_SERVER, NatWorld, SimNat, SimServer

PLAIN = SimServer(SECOND_SERVER, discovers=False)


def found(world: NatWorld, *servers: Address, lifetime: float | None = None) -> Findings:
    plan = DiscoveryPlan(servers or (PRIMARY,), world.local, reliable=world.reliable, lifetime=lifetime)
    return world.run(discover(plan))


@pytest.mark.parametrize("hairpins", [True, False])
@pytest.mark.parametrize("filtering", list(Dependence))
@pytest.mark.parametrize("mapping", list(Dependence))
def test_every_nat(mapping: Dependence, filtering: Dependence, hairpins: bool) -> None:
    """RFC 4787 §4.1, §5, §6: nine kinds of NAT, hairpinning or not."""
    result = found(NatWorld(SimNat(mapping, filtering, hairpins)))
    assert (result.translated, result.port_preserved) == (True, False)
    assert (result.mapping.decided, result.filtering.decided) == (mapping, filtering)
    # What a NAT gives another destination cannot be told to it, so a strict filter keeps the other out.
    reachable = mapping is Dependence.ENDPOINT_INDEPENDENT or filtering is not Dependence.ADDRESS_AND_PORT_DEPENDENT
    if not hairpins or reachable:
        assert result.hairpinning.decided is (Trial.YES if hairpins and _lets_in(mapping, filtering) else Trial.NO)
    assert (result.fragments.decided, result.rewriting.decided) == (Trial.YES, Trial.NO)
    assert (result.lifetime.lower, result.lifetime.upper) == (None, None)


def _lets_in(mapping: Dependence, filtering: Dependence) -> bool:
    """Whether the requests of two sockets find each other at the addresses that the server has told."""
    return mapping is Dependence.ENDPOINT_INDEPENDENT or filtering is Dependence.ENDPOINT_INDEPENDENT


@pytest.mark.parametrize("filtering", list(Dependence))
def test_no_nat(filtering: Dependence) -> None:
    """RFC 5780 §4.3: the address is the host's own, so the mapping is known; a firewall may still filter."""
    world = NatWorld(SimNat(None, filtering))
    result = found(world)
    assert (result.translated, result.port_preserved, result.local) == (False, None, result.mapped)
    assert result.mapping.decided is Dependence.ENDPOINT_INDEPENDENT
    assert result.filtering.decided is filtering
    assert (result.hairpinning.possible, result.hairpinning.why) == ((), "there is no NAT")


def test_udp_is_blocked() -> None:
    """RFC 5780 §4.2: without any answer there is no verdict, and the servers say why."""
    result = found(NatWorld(SimNat(blocked=True)), PRIMARY, SECOND_SERVER)
    assert (result.answered, result.translated, result.mapping.possible) == (False, None, ())
    assert [server.why for server in result.servers] == ["no answer to 4 transmissions"] * 2


@pytest.mark.parametrize("mapping", list(Dependence))
def test_two_plain_servers(mapping: Dependence) -> None:
    """They tell whether the mapping depends on the destination, and nothing of filtering; hairpinning they do."""
    other = SimServer(PRIMARY, discovers=False)
    result = found(NatWorld(SimNat(mapping, hairpins=True), PLAIN, other), PRIMARY, SECOND_SERVER)
    dependent = mapping is not Dependence.ENDPOINT_INDEPENDENT
    both = (Dependence.ADDRESS_DEPENDENT, Dependence.ADDRESS_AND_PORT_DEPENDENT)
    assert result.mapping.possible == (both if dependent else (mapping,))
    assert bool(result.mapping.why) is dependent
    assert (result.filtering.possible, result.filtering.why[:27]) == ((), "no server offers RFC 5780: ")
    assert result.fragments.why == "the server does not know PADDING (420)"
    assert result.hairpinning.possible


def test_one_plain_server_says_what_it_cannot() -> None:
    """One server sees one mapping."""
    result = found(NatWorld(SimNat(), PLAIN), SECOND_SERVER, lifetime=60)
    assert (result.translated, result.mapping.possible) == (True, ())
    assert "name a second server" in result.mapping.why
    assert result.lifetime.why == "the server does not know RESPONSE-PORT (420)"


def test_the_server_with_rfc_5780_is_preferred() -> None:
    """Wherever it stands among those that were named."""
    result = found(NatWorld(SimNat(), PLAIN, SimServer()), SECOND_SERVER, PRIMARY)
    assert result.asked is not None
    assert (result.asked.address, result.asked.other, result.asked.software) == (PRIMARY, ALTERNATE, "sim")
    assert [server.other for server in result.servers] == [None, ALTERNATE]


def test_one_silent_server_does_no_harm() -> None:
    """The others go on, and the silent one is named."""
    result = found(NatWorld(SimNat(), SimServer()), SECOND_SERVER, PRIMARY)
    assert result.servers[0].why == "no answer to 4 transmissions"
    assert result.mapping.decided is Dependence.ENDPOINT_INDEPENDENT


def test_an_error_is_no_answer() -> None:
    """RFC 5780 §5.2: a server that wants credentials is of no use here."""
    result = found(NatWorld(SimNat(), SimServer(refuses={0: 401})))
    assert (result.answered, result.servers[0].why) == (False, "error 401: Refused")


def test_an_other_address_that_is_silent_falls_back() -> None:
    """Then plain comparisons tell what they can; with one server they tell nothing, and the reason is the silence."""
    hole = Address(ALTERNATE.ip, PRIMARY.port)
    world = NatWorld(SimNat(), SimServer(silent_at=(hole,)), PLAIN)
    assert found(world, PRIMARY, SECOND_SERVER).mapping.decided is Dependence.ENDPOINT_INDEPENDENT
    alone = found(NatWorld(SimNat(), SimServer(silent_at=(hole,))))
    assert alone.mapping.why == f"the server's other address {hole} did not answer"


@pytest.mark.parametrize(
    ("other", "why"),
    [
        ("198.51.100.1:3479", "not another address"),
        ("198.51.100.2:3478", "not another address"),
        ("198.51.100.2:0", "not another address"),
        ("224.0.0.1:3479", "where no server can be"),
        ("0.0.0.0:3479", "where no server can be"),
        ("127.0.0.1:3479", "where no server can be"),
        ("[2001:db8::2]:3479", "another family"),
    ],
)
def test_an_unfit_other_address_is_not_used(other: str, why: str) -> None:
    """RFC 5780 §6.1, table 1; and a server cannot have others sent to where it likes."""
    host, _, port = other.rpartition(":")
    address = Address.parse(host.strip("[]"), int(port))
    world = NatWorld(SimNat(), SimServer(other=address))
    result = found(world)
    assert why in result.servers[0].why
    assert result.filtering.why == result.servers[0].why
    assert all(to != address for _, _, to, _ in world.sent)


def test_a_private_other_address_of_a_public_server() -> None:
    """A server behind NAT that tells its own address."""
    public, private = Address.parse("8.8.8.8", 3478), Address.parse("10.0.0.9", 3479)
    assert "does not know its public addresses" in unfit_other(public, private)
    assert unfit_other(Address.parse("10.0.0.8", 3478), private) == ""
    assert unfit_other(Address.parse("127.0.0.1", 3478), Address.parse("127.0.0.2", 3479)) == ""


def test_an_alg_is_seen() -> None:
    """RFC 5780 §3.6: MAPPED-ADDRESS is rewritten on its way, what is XORed is not."""
    assert found(NatWorld(SimNat(rewrites=True))).rewriting.decided is Trial.YES
    without = found(NatWorld(SimNat(), SimServer(both_addresses=False)))
    assert (without.rewriting.possible, bool(without.rewriting.why)) == ((), True)


def test_filtering_comes_before_the_other_address_is_contacted() -> None:
    """RFC 5780 §3.2, §4.1: nothing may have been sent to the other address, and its sockets are fresh."""
    world = NatWorld(SimNat(Dependence.ADDRESS_AND_PORT_DEPENDENT))
    found(world)
    changed = [time for time, _, _, data in world.sent if Message.decode(data).has(CHANGE_REQUEST)]
    contacted = [time for time, _, to, _ in world.sent if to.ip == ALTERNATE.ip]
    assert changed
    assert max(changed) < min(contacted)
    first_use = {}
    for _, number, _, data in world.sent:
        first_use.setdefault(number, data)
    assert [number for number, data in first_use.items() if Message.decode(data).has(CHANGE_REQUEST)] == [1, 2]


def test_no_more_than_ten_transactions_in_a_second() -> None:
    """RFC 5780 §5: they are paced, whatever runs at the same time."""
    world = NatWorld(SimNat())
    found(world, PRIMARY, SECOND_SERVER, lifetime=300)
    begun: dict[bytes, float] = {}
    for time, _, _, data in world.sent:
        begun.setdefault(data[8:20], time)
    assert len(begun) > 20
    assert min(later - sooner for sooner, later in pairwise(begun.values())) >= 0.1 - 1e-9


def test_it_takes_a_bounded_time() -> None:
    """Everything silent that may be: connectivity, then filtering, mapping, and the rest at the same time."""
    world = NatWorld(SimNat(Dependence.ADDRESS_AND_PORT_DEPENDENT, fragments_in=False))
    found(world, PRIMARY, SECOND_SERVER)
    assert world.now - 1000 < SILENCES * 5 + 2


@pytest.mark.parametrize("mapping", list(Dependence))
def test_over_tcp(mapping: Dependence) -> None:
    """RFC 5780 §3: mapping and hairpinning only, and one transmission each."""
    world = NatWorld(SimNat(mapping, Dependence.ENDPOINT_INDEPENDENT, hairpins=True), reliable=True)
    result = found(world, lifetime=60)
    assert (result.mapping.decided, result.hairpinning.decided) == (mapping, Trial.YES)
    for behavior in (result.filtering, result.lifetime):
        assert "may not open a connection" in behavior.why
    assert result.fragments.why == "TCP has no datagrams"
    assert len({data[8:20] for _, _, _, data in world.sent}) == len(world.sent)


def test_only_so_many_servers_are_asked() -> None:
    """A list without end would be a flood."""
    servers = [Address.parse(f"192.0.2.{number}", 3478) for number in range(1, 30)]
    world = NatWorld(SimNat(blocked=True))
    assert len(found(world, *servers, servers[0]).servers) == MAX_SERVERS


def test_the_lifetime_is_searched_on_demand() -> None:
    """RFC 5780 §4.6: it is a part of the whole."""
    result = found(NatWorld(SimNat(lifetime=40)), lifetime=120)
    assert result.lifetime.lower is not None
    assert result.lifetime.upper is not None
    assert result.lifetime.lower < 40 <= result.lifetime.upper
