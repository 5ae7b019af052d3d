"""Long-term credentials at the core: RFC 8489 §9.2.4 check by check, in order, alone and in every combination."""

from collections.abc import Collection, Iterator
from itertools import combinations
from typing import Any

import pytest

from auth.ephemeral import SharedSecret, TimeLimitedCredentials, mint
from auth.keys import long_term_key_md5, long_term_key_sha256, user_hash
from auth.nonce import NonceIssuer, NonceStatus, SecurityFeatures
from auth.source import Chain, StaticUsers
from stun import attributes as a
from stun.address import Address
from stun.attributes import AlgorithmValue, AttributeType
from stun.constants import MessageClass, Method, PasswordAlgorithm
from stun.integrity import verify, verify_sha256
from stun.message import Message, MessageBuilder
from tests.support.core_world import REALM, ScriptedClient, SlowSource, World, code_of, names_of
from turnserver.core.commands import SendToClient
from turnserver.core.events import LoginFailed, RequestRefused
from turnserver.core.responses import OFFERED_ALGORITHMS
from turnserver.observers.relay_lines import line_of
from turnserver.reasons import Reason

SHA256 = AlgorithmValue(PasswordAlgorithm.SHA256, b"")
MD5 = AlgorithmValue(PasswordAlgorithm.MD5, b"")
UNKNOWN: AttributeType[bytes] = AttributeType(0x7F00, "NOBODY-KNOWS", "-", lambda v, t: v, lambda v, t: v)

FAULTS = {
    "no integrity": 401,
    "no name": 400,
    "no realm": 400,
    "no nonce": 400,
    "bid down": 400,
    "unknown user": 401,
    "wrong password": 401,
    "stale nonce": 438,
    "unknown attribute": 420,
}
"""What can be wrong with a request, in the order in which RFC 8489 looks, and the answer to each."""

CHALLENGE = ["ERROR-CODE", "REALM", "NONCE", "PASSWORD-ALGORITHMS"]


def compose(client: ScriptedClient, faults: Collection[str]) -> bytes:
    """An Allocate with these faults; without any it would succeed."""
    builder = MessageBuilder(Method.ALLOCATE, MessageClass.REQUEST, client.transaction_id())
    builder.add(a.REQUESTED_TRANSPORT, 17)
    if "unknown attribute" in faults:
        builder.add(UNKNOWN, b"")
    user = "mallory" if "unknown user" in faults else client.user
    if "no name" not in faults:
        builder.add(a.USERNAME, user)
    if "no realm" not in faults:
        builder.add(a.REALM, REALM)
    if "no nonce" not in faults:
        world = client.world
        age = 3000 if "stale nonce" in faults else 0
        scope = client.path.address.pack()
        builder.add(a.NONCE, world.nonces.issue(scope, world.now.wall - age, b"e"))
    if client.sha256 or "bid down" in faults:
        builder.add(a.PASSWORD_ALGORITHMS, (MD5,) if "bid down" in faults else OFFERED_ALGORITHMS)
        builder.add(a.PASSWORD_ALGORITHM, MD5 if "bid down" in faults else SHA256)
    password = "guess" if "wrong password" in faults else client.password
    if "no integrity" in faults:
        return builder.build()
    if client.sha256:
        return builder.integrity_sha256(long_term_key_sha256(user, REALM, password)).build()
    return builder.integrity(long_term_key_md5(user, REALM, password)).build()


def subsets(names: list[str]) -> Iterator[set[str]]:
    for size in range(len(names) + 1):
        yield from (set(chosen) for chosen in combinations(names, size))


def assert_challenge(client: ScriptedClient, answer: Message) -> None:
    """REALM, PASSWORD-ALGORITHMS and a nonce that is good; nothing else, and no integrity."""
    assert names_of(answer) == CHALLENGE
    assert answer.first(a.REALM) == REALM
    assert answer.first(a.PASSWORD_ALGORITHMS) == (SHA256, MD5)
    nonce = answer.first(a.NONCE)
    assert nonce is not None
    world = client.world
    assert world.nonces.check(nonce, client.path.address.pack(), world.now.wall) is NonceStatus.VALID


def signed(
    client: ScriptedClient,
    *,
    key: bytes,
    length: int | None = None,
    name: tuple[AttributeType[Any], Any] | None = None,
    chosen: AlgorithmValue | None = None,
    offered: tuple[AlgorithmValue, ...] | None = None,
    nonce: bytes | None = None,
) -> bytes:
    """An Allocate with the parts given; ``length`` asks for MESSAGE-INTEGRITY-SHA256 of so many bytes."""
    builder = MessageBuilder(Method.ALLOCATE, MessageClass.REQUEST, client.transaction_id())
    builder.add(a.REQUESTED_TRANSPORT, 17)
    spec, value = name or (a.USERNAME, client.user)
    builder.add(spec, value).add(a.REALM, REALM).add(a.NONCE, nonce or client.nonce or b"")
    if offered is not None:
        builder.add(a.PASSWORD_ALGORITHMS, offered)
    if chosen is not None:
        builder.add(a.PASSWORD_ALGORITHM, chosen)
    return (builder.integrity(key) if length is None else builder.integrity_sha256(key, length)).build()


def challenged(world: World, **options: Any) -> ScriptedClient:
    client = world.client(**options)
    client.challenge()
    return client


@pytest.mark.parametrize("first", FAULTS)
@pytest.mark.parametrize("sha256", [False, True], ids=["SHA-1", "SHA-256"])
def test_the_first_check_that_fails_decides(first: str, sha256: bool) -> None:
    """Rule 1, RFC 8489 §9.2.4: in this order, whatever else is wrong: no integrity 401, incomplete 400, bid-down 400,
    unknown user 401, wrong integrity 401, stale nonce 438; then §6.3.1: unknown attributes 420."""
    world = World()
    later = list(FAULTS)[list(FAULTS).index(first) + 1 :]
    for also in subsets(later):
        client = world.client(sha256=sha256)
        answer = client.send(compose(client, {first, *also}))
        assert code_of(answer) == FAULTS[first], also
        if FAULTS[first] in (401, 438):
            assert_challenge(client, answer)
        elif FAULTS[first] == 400:
            assert names_of(answer) == ["ERROR-CODE"]
        else:
            integrity = "MESSAGE-INTEGRITY-SHA256" if sha256 else "MESSAGE-INTEGRITY"
            assert names_of(answer) == ["ERROR-CODE", "UNKNOWN-ATTRIBUTES", "SOFTWARE", integrity]
            assert answer.first(a.UNKNOWN_ATTRIBUTES) == (UNKNOWN.number,)
    world.assert_nothing_left()


@pytest.mark.parametrize("sha256", [False, True], ids=["SHA-1", "SHA-256"])
def test_a_request_without_fault_passes(sha256: bool) -> None:
    """Rule 1, RFC 8489 §9.2.4: the table of faults above is wrong only where it says so."""
    world = World()
    client = world.client(sha256=sha256)
    assert code_of(client.send(compose(client, ()))) == 0


@pytest.mark.parametrize("missing", ["no name", "no realm", "no nonce"])
def test_incomplete_credentials_get_400_without_realm_or_nonce(missing: str) -> None:
    """Rule 1, RFC 8489 §9.2.4: integrity without USERNAME/USERHASH, REALM or NONCE → 400, and nothing to go on."""
    world = World()
    client = world.client()
    world.take()
    answer = client.send(compose(client, {missing}))
    assert (code_of(answer), names_of(answer)) == (400, ["ERROR-CODE"])
    assert world.take() == [SendToClient(client.path, answer.raw)]


def test_an_unknown_user_is_told_the_same_as_a_wrong_password() -> None:
    """Rule 1, RFC 8489 §9.2.4: both are 401 with a fresh challenge, so names cannot be told from the answers."""
    world = World()
    client = world.client()
    unknown = client.send(compose(client, {"unknown user"}))
    wrong = client.send(compose(client, {"wrong password"}))
    assert names_of(unknown) == names_of(wrong)
    assert unknown.first(a.ERROR_CODE) == wrong.first(a.ERROR_CODE)
    assert len(unknown.raw) == len(wrong.raw)


def test_wrong_integrity_brings_a_fresh_nonce() -> None:
    """Rule 1, RFC 8489 §9.2.4: the 401 for a wrong password carries a nonce that the next try succeeds with."""
    world = World()
    client = challenged(world)
    answer = client.send(signed(client, key=long_term_key_md5("alice", REALM, "guess")))
    assert code_of(answer) == 401
    assert_challenge(client, answer)
    client.nonce = answer.first(a.NONCE)
    assert code_of(client.allocate()) == 0


def test_a_stale_nonce_counts_only_after_the_integrity() -> None:
    """Rule 1, RFC 8489 §9.2.4: 438 is for those who know the password; for anybody else a stale nonce is 401."""
    world = World()
    client = world.client()
    assert code_of(client.send(compose(client, {"stale nonce", "wrong password"}))) == 401
    assert code_of(client.send(compose(client, {"stale nonce", "unknown user"}))) == 401
    assert code_of(client.send(compose(client, {"stale nonce"}))) == 438


def test_the_nonce_of_a_438_is_good() -> None:
    """Rule 2, RFC 8489 §9.2.4: never 438 for a nonce just handed out, by a 401 or by a 438."""
    world = World()
    client = challenged(world)
    assert code_of(client.allocate()) == 0
    world.advance(599)
    client.refresh()
    world.advance(200)
    answer = client.refresh()
    assert code_of(answer) == 438
    client.nonce = answer.first(a.NONCE)
    assert code_of(client.refresh()) == 0


def test_a_nonce_is_good_for_its_lifetime_and_no_longer() -> None:
    """Rule 2, RFC 8489 §9.2.4: 600 seconds by default, by the wall clock."""
    world = World()
    client = challenged(world)
    world.advance(600)
    assert code_of(client.request(Method.REFRESH)) == 437
    world.advance(1)
    assert code_of(client.request(Method.REFRESH)) == 438


@pytest.mark.parametrize(("host", "port"), [("192.0.2.10", 40001), ("192.0.2.11", 40000)], ids=["port", "address"])
def test_a_nonce_is_good_only_where_it_was_sent(host: str, port: int) -> None:
    """Rule 2, RFC 8489 §9.2.4: never the same nonce for two requests unless from the same address and port."""
    world = World()
    owner = challenged(world)
    thief = world.client(host, port)
    thief.nonce = owner.nonce
    answer = thief.allocate()
    assert code_of(answer) == 438
    assert_challenge(thief, answer)
    assert code_of(owner.allocate()) == 0


def test_nonces_survive_a_change_of_keys() -> None:
    """Rule 2: two keys during rotation; the newest signs, both are accepted."""
    world = World()
    old, new = challenged(world), world.client(port=40001)
    world.core.state.nonces = world.nonces = NonceIssuer([b"n" * 32, b"k" * 32])
    assert code_of(old.allocate()) == 0
    assert code_of(new.allocate()) == 0
    world.core.state.nonces = NonceIssuer([b"n" * 32])
    assert code_of(old.refresh()) == 438
    assert code_of(new.refresh()) == 0


def test_nonces_say_that_password_algorithms_are_offered() -> None:
    """Rule 2, RFC 8489 §9.2: every nonce begins with the cookie and the feature bit for password algorithms."""
    client = challenged(World())
    assert client.nonce is not None
    assert client.nonce.startswith(b"obMatJos2gAAA")


def test_sha256_throughout() -> None:
    """Rule 1, RFC 8489 §9.2.4, §18.5.1.2: PASSWORD-ALGORITHM SHA-256 derives the key, -SHA256 protects both ways."""
    world = World()
    client = world.client(sha256=True)
    answer = client.allocate()
    assert code_of(answer) == 0
    assert verify_sha256(answer, long_term_key_sha256("alice", REALM, "secret"))
    assert answer.first(a.MESSAGE_INTEGRITY) is None


def test_sha256_integrity_with_the_md5_key() -> None:
    """Rule 1, RFC 8489 §9.2.4: without PASSWORD-ALGORITHM the key is MD5, whatever the integrity; the answer alike."""
    world = World()
    client = challenged(world)
    key = long_term_key_md5("alice", REALM, "secret")
    answer = client.send(signed(client, key=key, length=32))
    assert code_of(answer) == 0
    assert verify_sha256(answer, key)
    assert not answer.has(a.MESSAGE_INTEGRITY)


@pytest.mark.parametrize("chosen", [MD5, SHA256])
def test_sha1_integrity_is_answered_in_kind(chosen: AlgorithmValue) -> None:
    """Rule 1: an answer carries the same kind of integrity as its request, with the key of the chosen algorithm."""
    world = World()
    client = challenged(world)
    derive = long_term_key_md5 if chosen == MD5 else long_term_key_sha256
    key = derive("alice", REALM, "secret")
    answer = client.send(signed(client, key=key, chosen=chosen, offered=OFFERED_ALGORITHMS))
    assert code_of(answer) == 0
    assert verify(answer, key)
    assert not answer.has(a.MESSAGE_INTEGRITY_SHA256)


@pytest.mark.parametrize("length", [16, 20, 24, 28])
def test_truncated_sha256_is_refused(length: int) -> None:
    """Rule 5, RFC 8489 §14.6: -SHA256 may be cut to 16–28 bytes only where the usage says so, and TURN does not."""
    world = World()
    client = challenged(world)
    answer = client.send(signed(client, key=client.key, length=length))
    assert code_of(answer) == 401
    assert_challenge(client, answer)


def test_full_sha256_is_answered_in_full() -> None:
    """Rule 5, RFC 8489 §14.6: TURN uses all 32 bytes, both ways."""
    world = World()
    client = challenged(world)
    answer = client.send(signed(client, key=client.key, length=32))
    assert code_of(answer) == 0
    integrity = answer.first(a.MESSAGE_INTEGRITY_SHA256)
    assert integrity is not None
    assert len(integrity) == 32
    assert verify_sha256(answer, client.key)


def test_wrong_sha256_is_refused() -> None:
    """Rule 5, RFC 8489 §14.6: one bit off in the last byte is wrong."""
    world = World()
    client = challenged(world)
    right = bytearray(signed(client, key=client.key, length=32))
    right[-1] ^= 1
    assert code_of(client.send(bytes(right))) == 401


@pytest.mark.parametrize(("sha1", "sha256", "code"), [(False, True, 0), (True, False, 401)])
def test_sha256_counts_where_both_are_there(sha1: bool, sha256: bool, code: int) -> None:
    """Rule 1, RFC 8489 §9.2.4: with both kinds of integrity the stronger one is checked."""
    world = World()
    client = challenged(world)
    key, wrong = client.key, bytes(16)
    builder = MessageBuilder(Method.ALLOCATE, MessageClass.REQUEST, client.transaction_id())
    builder.add(a.REQUESTED_TRANSPORT, 17).add(a.USERNAME, "alice").add(a.REALM, REALM)
    builder.add(a.NONCE, client.nonce or b"")
    frame = builder.integrity(key if sha1 else wrong).integrity_sha256(key if sha256 else wrong).build()
    assert code_of(client.send(frame)) == code


BID_DOWN: dict[str, tuple[AlgorithmValue | None, tuple[AlgorithmValue, ...] | None]] = {
    "only the choice": (MD5, None),
    "only the list": (None, OFFERED_ALGORITHMS),
    "a shorter list": (MD5, (MD5,)),
    "another order": (MD5, (MD5, SHA256)),
    "a longer list": (MD5, (*OFFERED_ALGORITHMS, AlgorithmValue(9, b""))),
    "a choice that is not listed": (AlgorithmValue(9, b""), OFFERED_ALGORITHMS),
    "a choice with parameters": (AlgorithmValue(PasswordAlgorithm.MD5, b"rounds"), OFFERED_ALGORITHMS),
}


@pytest.mark.parametrize("case", BID_DOWN)
def test_bid_down_is_noticed(case: str) -> None:
    """Rule 1, RFC 8489 §9.2.4: PASSWORD-ALGORITHM and -ALGORITHMS both, the list as sent, a choice from it, or 400."""
    world = World()
    client = challenged(world)
    chosen, offered = BID_DOWN[case]
    answer = client.send(signed(client, key=client.key, chosen=chosen, offered=offered))
    assert (code_of(answer), names_of(answer)) == (400, ["ERROR-CODE"])


@pytest.mark.parametrize("nonce", [b"somebody else's", b"obMatJos2AAAAxxxxxxxxxxxxxxxxxxx", b"obMatJos2"])
def test_without_the_feature_bit_algorithms_say_nothing(nonce: bytes) -> None:
    """Rule 1, RFC 8489 §9.2.4: the bid-down checks are for nonces with our bit; any other is then stale."""
    world = World()
    client = challenged(world)
    key = long_term_key_md5("alice", REALM, "secret")
    assert code_of(client.send(signed(client, key=key, nonce=nonce, chosen=MD5))) == 438
    assert code_of(client.send(signed(client, key=bytes(16), nonce=nonce, chosen=MD5))) == 401


def test_a_nonce_cannot_be_stripped_of_its_feature_bit() -> None:
    """Rules 1 and 2, RFC 8489 §9.2.1: clearing the bit in our nonce, as a man in the middle would, makes it stale."""
    world = World()
    client = challenged(world)
    assert client.nonce is not None
    stripped = client.nonce.replace(b"obMatJos2gAAA", b"obMatJos2AAAA")
    assert code_of(client.send(signed(client, key=client.key, nonce=stripped))) == 438


def test_userhash_instead_of_username() -> None:
    """Rule 1, RFC 8489 §9.2.4, §14.4: the user may be named by hash."""
    world = World()
    client = challenged(world)
    key = long_term_key_md5("alice", REALM, "secret")
    answer = client.send(signed(client, key=key, name=(a.USERHASH, user_hash("alice", REALM))))
    assert code_of(answer) == 0
    assert not answer.has(a.USERNAME)
    assert code_of(client.refresh()) == 0, "the allocation is alice's, by whatever name"


def test_an_unknown_userhash_is_401() -> None:
    """Rule 1, RFC 8489 §9.2.4: as an unknown name."""
    world = World()
    client = challenged(world)
    answer = client.send(signed(client, key=client.key, name=(a.USERHASH, bytes(32))))
    assert code_of(answer) == 401
    assert_challenge(client, answer)


def test_a_name_that_is_not_text_is_400() -> None:
    """Rule 1, RFC 8489 §14.3: a USERNAME that is not UTF-8 is a malformed request."""
    world = World()
    client = challenged(world)
    raw: AttributeType[bytes] = AttributeType(a.USERNAME.number, "USERNAME", "-", lambda v, t: v, lambda v, t: v)
    answer = client.send(signed(client, key=client.key, name=(raw, b"\xff\xfe")))
    assert (code_of(answer), names_of(answer)) == (400, ["ERROR-CODE"])


@pytest.mark.parametrize("which", [0, 1])
def test_each_of_several_secrets_opens(which: int) -> None:
    """Rule 24: several shared secrets at once, so that one can be replaced while the other's credentials live."""
    secrets = [SharedSecret(b"the new one"), SharedSecret(b"the old one", "sha256")]
    world = World(source=TimeLimitedCredentials(secrets))
    user, password = mint(secrets[which], "alice", int(world.now.wall) + 60)
    client = world.client(user=user, password=password)
    assert code_of(client.allocate()) == 0
    assert code_of(client.refresh()) == 0


def test_a_credential_of_no_secret_is_401() -> None:
    """Rule 24: what none of the secrets has minted does not open."""
    world = World(source=TimeLimitedCredentials([SharedSecret(b"one"), SharedSecret(b"two")]))
    user, password = mint(SharedSecret(b"three"), "alice", int(world.now.wall) + 60)
    client = world.client(user=user, password=password)
    assert code_of(client.allocate()) == 401


def test_an_allocation_remembers_its_credential() -> None:
    """RFC 8656 §6: the key is kept with the allocation; the source need not know the user any more."""
    world = World()
    client = world.client()
    assert code_of(client.allocate()) == 0
    world.core.replace_credentials(StaticUsers({"bob": "hunter2"}), world.now)
    assert code_of(client.refresh()) == 0
    assert code_of(world.client(port=40001).allocate()) == 401


def test_an_allocation_does_not_open_for_another_password() -> None:
    """Rule 1, RFC 8489 §9.2.4: on an allocation, too, the integrity has to be right."""
    world = World()
    client = world.client()
    client.allocate()
    client.password = "guess"
    answer = client.refresh(0)
    assert code_of(answer) == 401
    assert world.core.state.allocation(client.path) is not None


@pytest.mark.parametrize("nonce", ["stale", "foreign", "another port's"])
def test_a_stale_nonce_never_reaches_the_database(nonce: str) -> None:
    """Rule 3: only who has proven an address by a nonce can make the server ask its database; others get 438."""
    world = World(source=SlowSource())
    client = challenged(world)
    wall = world.now.wall
    sent = {
        "stale": world.nonces.issue(client.path.address.pack(), wall - 3000, b"e"),
        "foreign": b"obMatJos2gAAAxxxxxxxxxxxxxxxxxxx",
        "another port's": world.nonces.issue(world.client(port=1).path.address.pack(), wall, b"e"),
    }[nonce]
    world.take()
    answer = client.send(signed(client, key=client.key, nonce=sent))
    assert code_of(answer) == 438
    assert_challenge(client, answer)
    assert world.take() == [SendToClient(client.path, answer.raw)]


def test_a_good_nonce_reaches_the_database() -> None:
    """Rule 3: and by USERHASH as by USERNAME the question says who is asked for."""
    world = World(source=SlowSource())
    client = challenged(world)
    for name in ((a.USERNAME, "alice"), (a.USERHASH, b"h" * 32)):
        assert world.feed(client.path, signed(client, key=client.key, name=name)) == []
    asked = [(look_up.username, look_up.userhash, look_up.realm) for look_up in world.lookups]
    assert asked == [("alice", b"", REALM), ("", b"h" * 32, REALM)]


def test_features_of_the_issuer_reach_the_wire() -> None:
    """Rule 2, RFC 8489 §9.2.1: a server that finds users by hash can say so; the bid-down check does not mind."""
    world = World()
    features = SecurityFeatures.PASSWORD_ALGORITHMS | SecurityFeatures.USERNAME_ANONYMITY
    world.core.state.nonces = world.nonces = NonceIssuer([b"k" * 32], features=features)
    client = world.client(sha256=True)
    assert code_of(client.allocate()) == 0
    assert (client.nonce or b"").startswith(b"obMatJos2wAAA")


SECRET = SharedSecret(b"a secret that is shared")


def refusals() -> list[tuple[str, str, float | None, Reason]]:
    """Name, password, until when its user is revoked, and the cause."""
    good, password = mint(SECRET, "alice", 2_000_000_000)
    kicked, theirs = mint(SECRET, "mallory", 2_000_000_000)
    return [
        (good, "wrong", None, Reason.WRONG_PASSWORD),
        ("bob", "hunter3", None, Reason.WRONG_PASSWORD),
        ("carol", "x", None, Reason.UNKNOWN_USER),
        ("alice:2000000000", password, None, Reason.MALFORMED_TIME),
        ("12345678901234567", password, None, Reason.MALFORMED_TIME),
        ("tomorrow:alice", password, None, Reason.MALFORMED_TIME),
        (kicked, theirs, 3_000_000_000.0, Reason.REVOKED),
    ]


@pytest.mark.parametrize(("user", "password", "until", "cause"), refusals())
def test_the_operator_learns_the_cause_and_a_guesser_does_not(
    user: str, password: str, until: float | None, cause: Reason
) -> None:
    """Rule 1, RFC 8489 §9.2.4: the answers do not differ, so nobody learns which names there are; events do."""
    source = Chain([StaticUsers({"bob": "hunter2"}), TimeLimitedCredentials([SECRET])])
    world = World(source=source)
    if until is not None:
        world.core.revoke("mallory", world.now, until)
    client = world.client(user=user, password=password)
    client.challenge()
    world.take_events()
    answer = client.request(Method.ALLOCATE, (a.REQUESTED_TRANSPORT, 17))
    assert names_of(answer) == CHALLENGE
    assert answer.first(a.ERROR_CODE) == (401, "Unauthenticated")
    assert len(answer.raw) == len(client.request(Method.ALLOCATE, (a.REQUESTED_TRANSPORT, 17)).raw)
    failed, refused, *_ = world.take_events()
    assert isinstance(failed, LoginFailed)
    assert isinstance(refused, RequestRefused)
    assert (failed.cause, refused.cause, refused.reason) == (cause, cause, "Unauthenticated")
    assert failed.why


def test_a_user_has_one_id_in_all_that_is_said_of_it() -> None:
    """The kind: `expiry:dave` in one line and `dave` in the next."""
    world = World(source=TimeLimitedCredentials([SECRET]))
    name, password = mint(SECRET, "dave", int(world.now.wall) + 60)
    client = world.client(user=name, password="wrong")
    client.allocate()
    client.password = password
    client.allocate()
    client.permit(Address.parse("10.0.0.1", 9))
    client.bind(0x5000, Address.parse("8.8.8.8", 9))
    client.refresh()
    client.refresh(0)
    world.advance(61)
    client.allocate()
    lines = [line_of(event, None) for event in world.take_events()]
    assert {line.message for line in lines} >= {"allocation opened", "allocation refreshed", "allocation ended"}
    assert {line.message for line in lines} >= {"login failed", "peer refused", "request refused"}
    assert {line.fields["user"] for line in lines if "user" in line.fields} == {"dave"}
