"""The brake on guessing: what is counted, who is answered, and what the operator is told; alone and in the core."""

import pytest

from auth.ephemeral import SharedSecret, TimeLimitedCredentials, mint
from auth.revocation import RevokedUsers
from stun import attributes as a
from stun.constants import Method
from tests.support.core_world import ScriptedClient, World, code_of
from turnserver.core import logins as module
from turnserver.core.events import LoginFailed, LoginsFailing
from turnserver.core.logins import GUESSING, SOURCE_ANSWERS, UNPROVEN, USER_ANSWERS, WINDOW, FailedLogins
from turnserver.core.types import ClientTransport

STREAMS = (ClientTransport.TCP, ClientTransport.TLS)
GUESSES = 3000


def ip(number: int) -> bytes:
    return bytes((192, 0, number >> 8, number & 255))


# Alone


def test_a_source_gets_some_answers_at_once_and_then_one_now_and_then() -> None:
    """Rule 31: a guesser learns nothing from silence; a client that is only outdated gets its 401."""
    logins = FailedLogins()
    answered = [logins.failed(ip(1), "alice", 0.0).answered for _ in range(GUESSES)]
    assert answered == [True] * SOURCE_ANSWERS + [False] * (GUESSES - SOURCE_ANSWERS)
    assert (logins.total, logins.unanswered) == (GUESSES, GUESSES - SOURCE_ANSWERS)
    assert logins.failed(ip(2), "bob", 0.0).answered, "a neighbour has its own"
    late = sum(logins.failed(ip(1), "alice", second / 10).answered for second in range(600))
    assert 25 <= late <= 31, "a client with an old password learns why within seconds"


def test_a_user_gets_some_answers_from_all_sources_together() -> None:
    """Rule 31: a name that does not exist is counted like one that does: the brake does not tell which."""
    logins = FailedLogins()
    answered = sum(logins.failed(ip(number), "alice", 0.0).answered for number in range(GUESSES))
    assert answered == USER_ANSWERS
    assert logins.failed(ip(GUESSES), "bob", 0.0).answered


def test_an_ipv6_site_is_one_source() -> None:
    """A /64 is one client in every limit."""
    logins = FailedLogins()
    for number in range(SOURCE_ANSWERS):
        logins.failed(bytes.fromhex("20010db800010002") + number.to_bytes(8, "big"), "alice", 0.0)
    assert not logins.failed(bytes.fromhex("20010db800010002ffffffffffffffff"), "bob", 0.0).answered
    assert logins.failed(bytes.fromhex("20010db8000100030000000000000001"), "bob", 0.0).answered


def test_a_run_of_failures_is_told_once() -> None:
    """Rule 31: one line for fail2ban, and one for each user; again only when the window is over."""
    logins = FailedLogins()
    failures = [logins.failed(ip(1), "alice", number / 1000) for number in range(GUESSES)]
    assert [number for number, failure in enumerate(failures) if failure.first] == [0]
    assert [number for number, failure in enumerate(failures) if failure.guessing] == [GUESSING - 1]
    assert failures[GUESSING - 1].guessing == module.Run(GUESSING, pytest.approx(0.009), 1)
    assert not any(failure.attacked for failure in failures)
    again = [logins.failed(ip(1), "alice", WINDOW + number) for number in range(GUESSING)]
    assert (again[0].first, again[-1].guessing) == (True, module.Run(GUESSING, 9.0, 1))


def test_one_user_from_many_sources_is_told_once() -> None:
    """Rule 31: no single source has many failures then."""
    logins = FailedLogins()
    failures = [logins.failed(ip(number % 300), "alice", 0.0) for number in range(GUESSES)]
    told = [failure.attacked for failure in failures if failure.attacked]
    assert told == [module.Run(10 * GUESSING, 0.0, module.MAX_NAMES)]


def test_what_is_remembered_is_bounded() -> None:
    """Rule 31: sources, users, and the names of a source. One source cannot push the users of others out."""
    logins = FailedLogins()
    for number in range(USER_ANSWERS):
        logins.failed(ip(number), "alice", 0.0)
    for number in range(3 * module.MAX_KEYS):
        logins.failed(ip(5000), f"name {number}", 0.0)
    assert not logins.failed(ip(6000), "alice", 0.0).answered
    assert len(logins._by_source[ip(5000)].others) == module.MAX_NAMES
    for number in range(3 * module.MAX_KEYS):
        logins.failed(number.to_bytes(4, "big"), f"name {number}", 0.0)
    tables = (logins._by_source, logins._by_user, logins._sources, logins._users)
    assert [len(table) for table in tables] == [module.MAX_KEYS] * 4


# Through the core: attacks


def guess(client: ScriptedClient, count: int) -> int:
    """Guess passwords without waiting; gives the number of answers."""
    world = client.world
    right = client.password
    answers = 0
    for number in range(count):
        client.password = f"guess {number}"
        answers += len(world.feed(client.path, client.build(Method.ALLOCATE, [(a.REQUESTED_TRANSPORT, 17)])))
    client.password = right
    return answers


@pytest.mark.parametrize("transport", ClientTransport)
def test_three_thousand_guesses_are_seen_and_braked_and_lock_nobody_out(transport: ClientTransport) -> None:
    """Rule 31. Kind: failures that nobody sees and nothing slows down; the right holder has the same address."""
    world = World()
    guesser = world.client(transport=transport, serial=1)
    guesser.challenge()
    assert guess(guesser, GUESSES) == SOURCE_ANSWERS
    assert (guesser.path in world.closed_clients) == transport.connected
    told = [event for event in world.take_events() if isinstance(event, LoginFailed | LoginsFailing)]
    assert [type(event) for event in told] == [LoginFailed, LoginsFailing]
    assert {(event.client, event.username, event.why) for event in told} == {(guesser.path, "alice", "wrong password")}
    holder = world.client(port=50000, transport=transport, serial=2)
    assert code_of(holder.allocate()) == 0, "the same user, the same address, at once"
    other = world.client(port=50001, transport=transport, serial=3, user="bob", password="hunter2")
    assert code_of(other.allocate()) == 0
    assert world.core.totals().unanswered_logins == GUESSES - SOURCE_ANSWERS


def test_even_the_guesser_is_let_in_with_the_right_password() -> None:
    """Rule 31: whoever types wrong for a long time, and then right."""
    world = World()
    client = world.client()
    client.challenge()
    guess(client, GUESSES)
    assert code_of(client.allocate()) == 0


def test_a_user_under_attack_from_everywhere_is_not_locked_out() -> None:
    """Rule 31. Kind: a brake that is a way to lock the right holder out."""
    world = World()
    answers = 0
    for number in range(300):
        client = world.client(f"203.0.113.{number % 250}", port=1000 + number)
        client.challenge()
        answers += guess(client, 10)
    assert answers == USER_ANSWERS
    told = [event for event in world.take_events() if isinstance(event, LoginsFailing) and event.of_user]
    assert [(event.username, event.sources > 1) for event in told] == [("alice", True)]
    assert code_of(world.client("198.51.100.77").allocate()) == 0


def test_a_success_gives_the_guesser_nothing_back() -> None:
    """It may have an account of its own."""
    world = World()
    guesser = world.client()
    guesser.challenge()
    answers = 0
    for number in range(300):
        answers += guess(guesser, 1)
        own = world.client(port=1000 + number, user="bob", password="hunter2")
        assert code_of(own.request(Method.REFRESH)) == 437
    assert answers == SOURCE_ANSWERS


def test_a_nonce_that_has_changed_is_no_failure() -> None:
    """Rule 31, RFC 8489 §9.2.5: 438, and the same password with the new nonce. Many clients behind one address."""
    world = World()
    clients = [world.client(port=1000 + number) for number in range(3 * SOURCE_ANSWERS)]
    for client in clients:
        client.challenge()
    world.advance(3000)
    for client in clients:
        answer = client.request(Method.REFRESH)
        assert code_of(answer) == 438
        client.nonce = answer.first(a.NONCE)
        assert code_of(client.request(Method.REFRESH)) == 437
    assert world.core.totals().failed_logins == 0
    assert not [event for event in world.take_events() if isinstance(event, LoginFailed | LoginsFailing)]


def test_a_forged_address_is_neither_counted_nor_named() -> None:
    """Rule 31: or a stranger could have an innocent address banned."""
    world = World()
    forged = world.client()
    forged.nonce = b"obMatJos2gAAAxxxxxxxxxxxxxxxxxxx"
    guess(forged, GUESSES)
    assert world.core.totals().failed_logins == 0
    assert not [event for event in world.take_events() if isinstance(event, LoginFailed | LoginsFailing)]
    victim = world.client()
    assert code_of(victim.allocate()) == 0


def test_guesses_with_a_foreign_nonce_do_not_learn_which_was_right() -> None:
    """Rule 31: 438 for a right password and 401 for a wrong one would be a way around the brake."""
    world = World()
    guesser = world.client()
    guesser.nonce = b"obMatJos2gAAAxxxxxxxxxxxxxxxxxxx"
    guess(guesser, UNPROVEN)
    right = code_of(guesser.send(guesser.build(Method.ALLOCATE, [(a.REQUESTED_TRANSPORT, 17)])))
    guesser.password = "wrong"
    wrong = code_of(guesser.send(guesser.build(Method.ALLOCATE, [(a.REQUESTED_TRANSPORT, 17)])))
    assert (right, wrong) == (438, 438)
    holder = world.client(port=1)
    holder.nonce = guesser.nonce
    answer = holder.request(Method.REFRESH)
    holder.nonce = answer.first(a.NONCE)
    assert (code_of(answer), code_of(holder.request(Method.REFRESH))) == (438, 437), "as ever, for a right password"


def test_the_connection_of_an_allocation_stays() -> None:
    """Rule 31: somebody else's wrong requests on it are dropped; what stands goes on."""
    world = World()
    client = world.client(transport=ClientTransport.TCP, serial=1)
    client.allocate()
    guess(client, GUESSES)
    assert world.closed_clients == []
    assert code_of(client.refresh()) == 0


@pytest.mark.parametrize(
    ("user", "password", "why"),
    [
        ("carol", "x", "unknown user"),
        ("alice", "x", "wrong password or secret"),
        ("gone", "", "revoked"),
        ("old", "", "expired 60 s ago"),
    ],
)
def test_the_operator_is_told_why(user: str, password: str, why: str) -> None:
    """Once for each name and source; the client's own retry does not double it."""
    secret = SharedSecret(b"0123456789abcdef")
    world = World(source=TimeLimitedCredentials([secret]))
    world.core.state.revoked = RevokedUsers()
    world.core.state.revoked.revoke("gone", world.now.wall + 1000)
    if user != "carol":
        expiry = int(world.now.wall) + (-60 if user == "old" else 600)
        user, made = mint(secret, user, expiry)
        password = password or made
    for port in range(1000, 1005):
        client = world.client(port=port, user=user, password=password)
        assert code_of(client.allocate()) == 401
        assert code_of(client.allocate()) == 401
    told = [event for event in world.take_events() if isinstance(event, LoginFailed)]
    assert [(event.username, event.why) for event in told] == [(user, why)]


def test_another_realm_is_named() -> None:
    """A client with another server's realm is a common mistake."""
    world = World()
    client = world.client()
    client.challenge()
    world.core.state.use(world.core.state.settings.__class__(**{**vars(world.core.state.settings), "realm": "other"}))
    assert code_of(client.allocate()) == 401
    told = [event for event in world.take_events() if isinstance(event, LoginFailed)]
    assert [event.why for event in told] == ["wrong realm or password; the realm here is other"]
