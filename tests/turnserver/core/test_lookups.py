"""Requests that wait for a credential: found, not found, unavailable; in time, too late, revoked or expired."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest

from auth.ephemeral import SharedSecret, TimeLimitedCredentials, mint
from auth.keys import long_term_keys
from auth.nonce import SecurityFeatures
from auth.source import Chain, CredentialSource, StaticUsers
from auth.types import PENDING, Answer, Credential, LateAnswer, Unavailable
from stun import attributes as a
from stun.constants import Method
from stun.message import Message
from tests.support.core_tables import check_tables
from tests.support.core_world import REALM, ScriptedClient, SlowSource, World, code_of, names_of
from tests.support.limits import limits
from turnserver.core.commands import CancelLookup, FindCredential, SendToClient
from turnserver.core.events import LookupFailed, RequestRefused
from turnserver.core.settings import CoreBounds
from turnserver.core.types import ClientTransport

ALICE = Credential("alice", REALM, "alice", long_term_keys("alice", REALM, "secret"))
DOWN = Unavailable("the database is down")


def asking(world: World, client: ScriptedClient) -> tuple[FindCredential, bytes]:
    """An Allocate of which the world has been asked who it is, and nothing else has happened."""
    client.challenge()
    world.take()
    frame = client.build(Method.ALLOCATE, [(a.REQUESTED_TRANSPORT, 17)])
    assert world.feed(client.path, frame) == []
    (command,) = world.take()
    assert isinstance(command, FindCredential)
    return command, frame


def answer(world: World, ticket: int, found: LateAnswer) -> None:
    world.core.credential_found(ticket, found, world.now)
    world.run()


def said(client: ScriptedClient) -> list[int]:
    """The codes of the answers that a client has got since it last looked."""
    return [code_of(Message.decode(frame)) for frame in client.hears()]


def failures(world: World) -> list[tuple[str, str]]:
    """Whom nobody could say anything about, and why."""
    events = world.take_events()
    assert [type(event) for event in events].count(LookupFailed) == [
        event.code for event in events if isinstance(event, RequestRefused)
    ].count(500), "each is answered with 500, and nothing else is"
    return [(event.username, event.reason) for event in events if isinstance(event, LookupFailed)]


def test_a_look_up_that_succeeds() -> None:
    """Rule 1, RFC 8489 §9.2.4: the request goes on where it stopped when the source has answered."""
    world = World(source=SlowSource())
    client = world.client()
    command, frame = asking(world, client)
    assert command == FindCredential(1, "alice", b"", REALM)
    answer(world, 1, (ALICE,))
    (heard,) = client.hears()
    assert Message.decode(heard).transaction_id == frame[8:20]
    assert code_of(Message.decode(heard)) == 0
    assert code_of(client.refresh()) == 0, "and the allocation needs no look-up any more"
    assert len(world.lookups) == 1


@pytest.mark.parametrize("found", [(), (Credential("alice", REALM, "alice", {1: bytes(16)}),)], ids=["none", "wrong"])
def test_a_look_up_that_finds_nobody(found: Sequence[Credential]) -> None:
    """Rule 1, RFC 8489 §9.2.4: an unknown user or a wrong key → 401, late as well as at once."""
    world = World(source=SlowSource())
    client = world.client()
    asking(world, client)
    answer(world, 1, found)
    (heard,) = client.hears()
    assert code_of(Message.decode(heard)) == 401
    world.assert_nothing_left()
    assert world.core.deadline() is None


def test_a_retransmission_waits_for_the_first() -> None:
    """Rules 1 and 10: the same transaction, repeated while it is looked up, neither asks nor is answered twice."""
    world = World(source=SlowSource())
    client = world.client()
    _, frame = asking(world, client)
    assert world.feed(client.path, frame) == []
    assert world.take() == []
    answer(world, 1, (ALICE,))
    assert len(client.hears()) == 1
    assert code_of(client.send(frame)) == 0, "asked once more, it is answered from what was kept"


@pytest.mark.parametrize("wait", [0, 5], ids=["not found", "timed out"])
def test_a_transaction_that_failed_may_be_asked_again(wait: float) -> None:
    """Rule 9, RFC 8489 §6.3.1: a retransmission after an error is looked up anew, not met with silence."""
    world = World(source=SlowSource())
    client = world.client()
    _, frame = asking(world, client)
    world.advance(wait)
    answer(world, 1, ())
    assert len(client.hears()) == 1
    assert world.feed(client.path, frame) == []
    answer(world, 2, (ALICE,))
    assert [code_of(Message.decode(heard)) for heard in client.hears()] == [0]


def test_an_unanswered_look_up_is_500() -> None:
    """Rule 9: never silence for a request; a source that says nothing for five seconds has failed."""
    world = World(source=SlowSource())
    client = world.client()
    asking(world, client)
    world.advance(4.9)
    assert client.hears() == []
    world.advance(0.1)
    (heard,) = client.hears()
    assert (code_of(Message.decode(heard)), names_of(Message.decode(heard))) == (500, ["ERROR-CODE"])
    assert world.take() == [CancelLookup(1), SendToClient(client.path, heard)]
    assert failures(world) == [("alice", "the credential source has not answered within 5 seconds")]
    answer(world, 1, (ALICE,))
    assert client.hears() == [], "too late"
    world.assert_nothing_left()


def test_look_ups_are_bounded() -> None:
    """Rule 3: strangers cannot queue more than so many look-ups; beyond it 500, and room again when one is answered."""
    world = World(source=SlowSource(), limits=limits(pending_lookups=2))
    clients = [world.client(port=port) for port in (1, 2, 3)]
    for client in clients[:2]:
        asking(world, client)
    clients[2].challenge()
    assert code_of(clients[2].allocate()) == 500
    assert failures(world) == [("alice", "too many look-ups are pending")]
    answer(world, 1, ())
    asking(world, clients[2])


def test_an_answer_to_no_question_is_ignored() -> None:
    """A ticket is good once."""
    world = World(source=SlowSource())
    client = world.client()
    asking(world, client)
    answer(world, 7, (ALICE,))
    assert world.take() == []
    answer(world, 1, ())
    client.hears()
    world.take()
    answer(world, 1, (ALICE,))
    assert (world.take(), client.hears()) == ([], [])


def test_a_client_that_goes_takes_its_look_ups_along() -> None:
    """Rule 22: when a connection has closed nothing is left of it, not even a question."""
    world = World(source=SlowSource())
    client, other = (world.client(transport=ClientTransport.TCP, serial=serial) for serial in (1, 2))
    asking(world, client)
    asking(world, other)
    world.core.client_gone(client.path, world.now)
    world.run()
    assert world.take() == [CancelLookup(1)]
    answer(world, 1, (ALICE,))
    assert (world.take(), client.hears()) == ([], [])
    answer(world, 2, (ALICE,))
    assert len(other.hears()) == 1


def test_a_nonce_that_ages_during_the_look_up() -> None:
    """Rule 1, RFC 8489 §9.2.4: the nonce is judged when the request is."""
    world = World(source=SlowSource(), bounds=CoreBounds(lookup_timeout=1000))
    client = world.client()
    asking(world, client)
    world.advance(601)
    answer(world, 1, (ALICE,))
    assert [code_of(Message.decode(frame)) for frame in client.hears()] == [438]


# What a source says, at once or late, in virtual time


class Saying(SlowSource):
    """A source that says what the test wants, at once, or is asked later."""

    def __init__(self, *, late: bool) -> None:
        super().__init__()
        self.late = late
        self.found: LateAnswer = (ALICE,)

    def find(self, username: str, realm: str, wall: float) -> Answer:
        super().find(username, realm, wall)
        return PENDING if self.late else self.found

    def find_by_hash(self, userhash: bytes, realm: str, wall: float) -> Answer:
        super().find_by_hash(userhash, realm, wall)
        return PENDING if self.late else self.found


@pytest.fixture(params=[False, True], ids=["at once", "late"])
def source(request: pytest.FixtureRequest) -> Saying:
    return Saying(late=request.param)


@pytest.fixture(params=[False, True], ids=["USERNAME", "USERHASH"])
def client(request: pytest.FixtureRequest, source: Saying) -> ScriptedClient:
    world = World(source=source)
    client = world.client()
    client.anonymous = request.param
    client.challenge()
    world.take_events()
    return client


def judged(client: ScriptedClient, source: Saying, meanwhile: Callable[[World], object] = lambda world: None) -> int:
    """The answer to an Allocate, where something happens between the request and the answer of a source that waits."""
    world = client.world
    frame = client.build(Method.ALLOCATE, [(a.REQUESTED_TRANSPORT, 17)])
    if not source.late:
        meanwhile(world)
        return code_of(client.send(frame))
    assert world.feed(client.path, frame) == []
    meanwhile(world)
    ticket = world.lookups[-1].ticket
    answer(world, ticket, source.found)
    check_tables(world)
    (code,) = said(client)
    answer(world, ticket, (ALICE,))
    assert said(client) == [], "a ticket is good once"
    return code


@pytest.mark.parametrize(
    ("found", "code"),
    [((ALICE,), 0), ((replace(ALICE, keys={1: bytes(16)}), ALICE), 0), ((), 401), (DOWN, 500)],
    ids=["found", "found among others", "not found", "unavailable"],
)
def test_what_the_source_says(client: ScriptedClient, source: Saying, found: LateAnswer, code: int) -> None:
    """Rule 1, RFC 8489 §9.2.4, §14.8: known, unknown (401, with a challenge), or an outage (500, "try again")."""
    source.found = found
    assert judged(client, source) == code
    name = "" if client.anonymous else "alice"
    assert failures(client.world) == ([(name, "the database is down")] if found is DOWN else [])


def test_an_outage_ends(client: ScriptedClient, source: Saying) -> None:
    """RFC 8489 §14.8: the client tries again, with the nonce that it has, and gets in."""
    source.found = DOWN
    assert judged(client, source) == 500
    source.found = (ALICE,)
    assert judged(client, source) == 0


def test_revoked_meanwhile(client: ScriptedClient, source: Saying) -> None:
    """Rules 24 and 34: the core checks every credential when it is used, however it came."""
    wall = client.world.now.wall
    code = judged(client, source, lambda world: world.core.revoke("alice", world.now, wall + 600))
    assert code == 401
    client.world.advance(601)
    client.challenge()
    assert judged(client, source) == 0, "it is over"


def test_made_after_the_revocation(client: ScriptedClient, source: Saying) -> None:
    """Rules 24 and 34: a credential that outlives the revocation was made after it."""
    wall = client.world.now.wall
    source.found = (replace(ALICE, expires_at=wall + 601),)
    assert judged(client, source, lambda world: world.core.revoke("alice", world.now, wall + 600)) == 0


def test_one_of_several_is_revoked(client: ScriptedClient, source: Saying) -> None:
    """Rules 24 and 34: the user is revoked, not the name."""
    wall = client.world.now.wall
    source.found = (replace(ALICE, user_id="alice at home"), replace(ALICE, user_id="alice at work"))
    assert judged(client, source, lambda world: world.core.revoke("alice at home", world.now, wall + 600)) == 0
    assert set(client.world.core.state.by_user) == {"alice at work"}


def test_a_revocation_without_end_of_credentials(client: ScriptedClient, source: Saying) -> None:
    """Without ``until`` what stands is ended, and the user may come back."""
    assert judged(client, source, lambda world: world.core.revoke("alice", world.now)) == 0


def test_expired_meanwhile(client: ScriptedClient, source: Saying) -> None:
    """Rule 24: a credential is as good as it is when it is used, not when it was asked for."""
    source.found = (replace(ALICE, expires_at=client.world.now.wall + 3),)
    assert judged(client, source, lambda world: world.advance(4)) == 401


def test_a_kept_allocation_asks_nobody(client: ScriptedClient, source: Saying) -> None:
    """RFC 8656 §6: a refresh is checked with the credential that made the allocation, also during an outage."""
    assert judged(client, source) == 0
    asked = len(source.asked)
    client.anonymous = False
    source.found = DOWN
    assert code_of(client.refresh()) == 0
    assert len(source.asked) == asked


@pytest.mark.parametrize("late", [False, True], ids=["at once", "late"])
def test_strangers_do_not_learn_of_an_outage(late: bool) -> None:
    """Rule 3: a forged address gets a challenge, whatever the source says, and leaves no line in the log."""
    source = Saying(late=late)
    source.found = DOWN
    world = World(source=source)
    client = world.client()
    client.nonce = world.nonces.issue(world.client(port=1).path.address.pack(), world.now.wall, b"e")
    assert code_of(client.allocate()) == 438
    assert world.lookups == []
    assert failures(world) == []


def test_an_outage_of_one_source_does_not_lock_out_the_users_of_another() -> None:
    """Rule 1: time-limited credentials work while a database is down; its own users are told to try again."""
    secret = SharedSecret(b"0123456789abcdef")
    source = Saying(late=False)
    source.found = DOWN
    world = World(source=Chain([source, TimeLimitedCredentials([secret])]))
    username, password = mint(secret, "carol", int(world.now.wall) + 600)
    assert code_of(world.client(port=1, user=username, password=password).allocate()) == 0
    assert code_of(world.client(port=2).allocate()) == 500


# Bounds


def test_one_address_cannot_take_every_look_up() -> None:
    """Rule 3: a stranger with a nonce leaves room for others; an IPv6 /64 is one stranger."""
    world = World(source=SlowSource(), limits=limits(pending_lookups=5), bounds=CoreBounds(lookups_per_address=2))
    near = [world.client(host=host, port=port) for host, port in (("2001:db8::1", 1), ("2001:db8::2", 2))]
    for client in near:
        asking(world, client)
    third = world.client(host="2001:db8::3", port=3)
    third.challenge()
    assert code_of(third.allocate()) == 500
    assert failures(world) == [("alice", "too many look-ups are pending for this address")]
    asking(world, world.client(host="2001:db8:0:1::1", port=4))
    answer(world, 1, ())
    asking(world, third)
    check_tables(world)


def test_a_flood_of_clients_that_go_leaves_no_questions() -> None:
    """Rules 3 and 22: who connects, asks and goes, over and over, has at no time more than its share under way."""
    world = World(source=SlowSource())
    for serial in range(200):
        client = world.client(transport=ClientTransport.TCP, serial=serial)
        asking(world, client)
        world.core.client_gone(client.path, world.now)
        world.run()
        check_tables(world)
    assert world.cancelled == list(range(1, 201))


# Another source


def test_another_source_is_asked_what_waits() -> None:
    """A reload costs nobody an answer: what waits is asked again, or answered at once if the new source knows."""
    world = World(source=SlowSource())
    alice, bob = world.client(port=1), world.client(port=2, user="bob", password="hunter2")
    asking(world, alice)
    asking(world, bob)
    other = SlowSource()
    world.core.replace_credentials(Chain([StaticUsers({"alice": "secret"}), other]), world.now)
    world.run()
    assert said(alice) == [0]
    assert world.cancelled == [1, 2]
    assert [(look_up.ticket, look_up.username) for look_up in world.lookups[2:]] == [(3, "bob")]
    answer(world, 2, (Credential("bob", REALM, "bob", long_term_keys("bob", REALM, "hunter2")),))
    assert said(bob) == [], "the old source has no say any more"
    answer(world, 3, ())
    assert said(bob) == [401]
    check_tables(world)


def test_a_source_that_is_replaced_does_not_decide_any_more() -> None:
    """Whoever only the old source knew gets no new allocation; what stands goes on."""
    world = World(source=SlowSource())
    client = world.client()
    asking(world, client)
    answer(world, 1, (ALICE,))
    assert said(client) == [0]
    late = world.client(port=40001)
    asking(world, late)
    world.core.replace_credentials(StaticUsers({"bob": "hunter2"}), world.now)
    world.run()
    assert said(late) == [401]
    assert code_of(client.refresh()) == 0


@pytest.mark.parametrize("anonymous", [True, False])
def test_nonces_say_whether_the_new_source_can_be_searched_by_hash(anonymous: bool) -> None:
    """RFC 8489 §9.2.1: anonymity is announced only while it locks nobody out; a nonce of before is stale (438)."""
    by_hash, by_name = StaticUsers({"alice": "secret"}), TimeLimitedCredentials([SharedSecret(b"north")])
    before: CredentialSource = by_name if anonymous else by_hash
    after: CredentialSource = Chain([by_hash]) if anonymous else Chain([by_hash, by_name])
    world = World(source=before)
    features = SecurityFeatures.PASSWORD_ALGORITHMS
    if not anonymous:
        features |= SecurityFeatures.USERNAME_ANONYMITY
    world.core.state.nonces = world.nonces.announcing(features)
    client = world.client()
    client.challenge()
    world.core.replace_credentials(after, world.now)
    assert code_of(client.allocate()) == 438
    client.challenge()
    assert (client.nonce or b"").startswith(b"obMatJos2wAAA" if anonymous else b"obMatJos2gAAA")
    assert code_of(client.allocate()) == 0
    world.core.replace_credentials(after, world.now)
    assert code_of(client.refresh()) == 0, "nothing has changed"


def test_questions_are_counted() -> None:
    """What an operator sees of it."""
    world = World(source=SlowSource())
    assert world.core.totals().pending_lookups == 0
    asking(world, world.client(port=1))
    asking(world, world.client(port=2))
    assert world.core.totals().pending_lookups == 2
    answer(world, 1, DOWN)
    assert world.core.totals().pending_lookups == 1
    assert world.core.totals().failed_lookups == 1
    answer(world, 2, ())
    assert world.core.totals().failed_lookups == 1, "nobody of that name is an answer"
    assert world.core.credentials is world.source
