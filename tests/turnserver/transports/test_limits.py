"""Counting connections."""

from ipaddress import ip_network

from stun.address import Address
from tests.support.limits import limits
from turnserver.clients import ClientPolicy
from turnserver.descriptors import Descriptors
from turnserver.transports.limits import ConnectionLimiter, ConnectionSlot

ONE = Address.parse("192.0.2.1", 0).ip
OTHER = Address.parse("192.0.2.2", 0).ip


def test_the_total_is_kept() -> None:
    """Rule 3: so many connections and no more, until one has gone."""
    limiter = ConnectionLimiter(limits(connections=2, connections_per_address=10))
    first, second = limiter.admit(), limiter.admit()
    assert first is not None
    assert second is not None
    assert limiter.admit() is None
    first.release()
    first.release()
    assert limiter.count == 1
    assert limiter.admit() is not None
    assert limiter.admit() is None


def test_each_address_has_its_share() -> None:
    """Rule 3: an address that has its fill does not concern the others."""
    limiter = ConnectionLimiter(limits(connections=10, connections_per_address=1))
    slots = [limiter.admit() for _ in range(3)]
    one, again, other = (slot for slot in slots if slot is not None)
    assert one.claim(ONE)
    assert not again.claim(ONE)
    assert other.claim(OTHER)
    one.release()
    assert again.claim(ONE)
    for slot in (again, other):
        slot.release()
    assert limiter.count == 0


def test_a_slot_is_claimed_once_and_not_after_it_was_given_back() -> None:
    """Rule 25: what was counted once is given back once."""
    limiter = ConnectionLimiter(limits(connections=10, connections_per_address=10))
    slot = limiter.admit()
    assert slot is not None
    assert slot.claim(ONE)
    assert not slot.claim(OTHER)
    slot.release()
    assert not slot.claim(ONE)
    assert limiter.count == 0


def test_an_ipv6_network_counts_as_one_address() -> None:
    """Rule 3: whoever has one IPv6 address has 2^64 of them."""
    limiter = ConnectionLimiter(limits(connections=10, connections_per_address=1))
    one, same, other = limiter.admit(), limiter.admit(), limiter.admit()
    assert one is not None
    assert same is not None
    assert other is not None
    assert one.claim(Address.parse("2001:db8::1", 0).ip)
    assert not same.claim(Address.parse("2001:db8::ffff", 0).ip)
    assert other.claim(Address.parse("2001:db8:0:1::1", 0).ip)


def test_other_limits_hold_for_who_comes_later() -> None:
    """Nobody who is there has to go."""
    limiter = ConnectionLimiter(limits(connections=2, connections_per_address=2))
    slots = [limiter.admit(), limiter.admit()]
    limiter.limits = limits(connections=1, connections_per_address=1)
    assert limiter.count == 2
    assert limiter.admit() is None
    for slot in slots:
        assert slot is not None
        slot.release()
    assert limiter.admit() is not None


def connected(limiter: ConnectionLimiter, ip: bytes, ended: list[str], name: str) -> ConnectionSlot:
    """A connection that another may replace; its name is in ``ended`` then."""
    slot = limiter.admit()
    assert slot is not None
    assert slot.claim(ip)
    slot.offer(lambda: ended.append(name), ip)
    return slot


def test_when_all_are_taken_the_one_idle_longest_makes_room() -> None:
    """And each is counted."""
    ended: list[str] = []
    limiter = ConnectionLimiter(limits(connections=2, connections_per_address=10))
    first = connected(limiter, ONE, ended, "first")
    connected(limiter, ONE, ended, "second")
    first.use(True)
    first.use(False)
    connected(limiter, ONE, ended, "third")
    assert ended == ["second"]
    connected(limiter, ONE, ended, "fourth")
    assert ended == ["second", "first"]
    assert (limiter.count, limiter.evicted) == (2, 2)


def test_a_connection_in_use_is_never_closed_for_another() -> None:
    """What stands goes on, and the newcomer is refused."""
    ended: list[str] = []
    limiter = ConnectionLimiter(limits(connections=2, connections_per_address=10))
    slots = [connected(limiter, ONE, ended, str(number)) for number in range(2)]
    for slot in slots:
        slot.use(True)
    assert limiter.admit() is None
    slots[0].use(False)
    assert limiter.admit() is not None
    assert (ended, limiter.evicted) == (["0"], 1)


def test_use_before_the_offer_counts() -> None:
    limiter = ConnectionLimiter(limits(connections=1, connections_per_address=10))
    slot = limiter.admit()
    assert slot is not None
    slot.use(True)
    slot.offer(lambda: None, ONE)
    assert limiter.admit() is None


def test_behind_a_proxy_it_is_the_client_that_counts() -> None:
    """Before the PROXY header all are the proxy's; then each is its client's."""
    ended: list[str] = []
    limiter = ConnectionLimiter(limits(connections=4, connections_per_address=10))
    proxied = []
    for name in ("a", "b", "c"):
        slot = limiter.admit()
        assert slot is not None
        slot.offer(lambda name=name: ended.append(name), OTHER)  # type: ignore[misc]
        proxied.append(slot)
    far = Address.parse("198.51.100.1", 0).ip
    assert proxied[0].claim(far)
    connected(limiter, far, ended, "d")
    assert proxied[1].claim(far)
    assert limiter.admit() is not None
    assert ended == ["a"]


def test_a_lowered_limit_is_reached_step_by_step() -> None:
    """Newcomers are refused until it is, and none closes so many that the server stalls."""
    ended: list[str] = []
    limiter = ConnectionLimiter(limits(connections=50, connections_per_address=50))
    for number in range(50):
        connected(limiter, ONE, ended, str(number))
    limiter.limits = limits(connections=10, connections_per_address=50)
    assert limiter.admit() is None
    assert limiter.count == 34
    assert limiter.admit() is None
    assert limiter.admit() is not None
    assert limiter.count == 10
    assert ended == [str(number) for number in range(41)]


def test_a_client_at_its_limit_replaces_nobody() -> None:
    """The limit per client is asked first."""
    limiter = ConnectionLimiter(limits(connections=9, connections_per_address=1))
    connected(limiter, ONE, [], "one")
    assert not limiter.has_room(ONE)
    assert limiter.has_room(OTHER)


def test_connections_take_descriptors_and_no_more_than_half() -> None:
    """Strangers can make them: the other half is for relays. Here, too, an idle one makes room."""
    ended: list[str] = []
    budget = Descriptors(8)
    limiter = ConnectionLimiter(limits(connections=100, connections_per_address=100), budget)
    slots = [connected(limiter, ONE, ended, str(number)) for number in range(4)]
    assert (budget.used, limiter.full) == (4, "RLIMIT_NOFILE")
    connected(limiter, ONE, ended, "4")
    assert (budget.used, ended) == (4, ["0"])
    slots[1].release()
    assert (budget.used, limiter.full) == (3, None)


def test_a_session_without_a_socket_takes_no_descriptor() -> None:
    """DTLS: all have one socket. They count as connections all the same."""
    budget = Descriptors(8)
    limiter = ConnectionLimiter(limits(connections=2), budget)
    slots = [limiter.admit(socket=False), limiter.admit(socket=False)]
    assert (budget.used, limiter.count, limiter.admit(socket=False)) == (0, 2, None)
    for slot in slots:
        assert slot is not None
        slot.release()
    assert (budget.used, limiter.count) == (0, 0)


def test_without_a_descriptor_an_idle_connection_makes_room_or_the_newcomer_is_refused() -> None:
    """Relays may have taken all."""
    ended: list[str] = []
    budget = Descriptors(8)
    limiter = ConnectionLimiter(limits(connections=100, connections_per_address=100), budget)
    slot = connected(limiter, ONE, ended, "idle")
    for _ in range(7):
        budget.take("alice")
    assert connected(limiter, ONE, ended, "next") is not slot
    assert ended == ["idle"]
    budget.total = 0
    assert limiter.admit() is None
    assert limiter.full == "RLIMIT_NOFILE"


def test_who_is_refused_has_no_share() -> None:
    """The client ACL: no slot is counted for such a client, and others have theirs."""
    limiter = ConnectionLimiter(limits(connections=10, connections_per_address=1))
    limiter.clients = ClientPolicy(deny=(ip_network("192.0.2.1"),))
    slot = limiter.admit()
    assert slot is not None
    assert not slot.claim(ONE)
    assert slot.claim(OTHER)
