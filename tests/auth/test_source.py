"""Sources: static users, nobody, and chains of sources that answer now, later, or not at all."""

import hashlib

import pytest

from auth.ephemeral import SharedSecret, TimeLimitedCredentials
from auth.errors import InvalidString
from auth.keys import MD5, SHA256, key_from_hex, user_hash
from auth.source import Chain, CredentialSource, Nobody, StaticUsers
from auth.types import PENDING, Answer, LateAnswer, Pending, Unavailable

REALM = "example.org"
USERS = StaticUsers({"alice": "secret one", "caf\u00e9": "secret two"})


class Asking(CredentialSource):
    """A source that always has to ask, and counts how often it was asked to."""

    anonymous = True

    def __init__(self) -> None:
        self.asked = 0

    def find(self, username: str, realm: str, wall: float) -> Pending:
        self.asked += 1
        return PENDING

    def find_by_hash(self, userhash: bytes, realm: str, wall: float) -> Pending:
        self.asked += 1
        return PENDING


def test_user_is_found_by_name() -> None:
    """RFC 8489 §9.2.4: the user's credential has both keys, no expiry, and the name as its identity."""
    (found,) = USERS.find("alice", REALM, 0.0)
    text = f"alice:{REALM}:secret one".encode()
    assert found.keys == {1: hashlib.md5(text).digest(), 2: hashlib.sha256(text).digest()}
    assert (found.username, found.realm, found.user_id, found.expires_at) == ("alice", REALM, "alice", None)


def test_names_compare_after_preparation() -> None:
    """RFC 8265 §4.2.3: another spelling of a name is the same user; its key is of the name as sent."""
    (found,) = USERS.find("cafe\u0301", REALM, 0.0)
    assert found.user_id == "caf\u00e9"
    assert found.keys[1] == hashlib.md5(f"cafe\u0301:{REALM}:secret two".encode()).digest()


@pytest.mark.parametrize("name", ["", "bob", "Alice", "alice ", "alice\x00", "\ud800", "a" * 100_000])
def test_unknown_names(name: str) -> None:
    """RFC 8489 §9.2.4: nobody has these names, and no text raises."""
    assert USERS.find(name, REALM, 0.0) == ()


@pytest.mark.parametrize("realm", ["", "\n", "\udc00"])
def test_unusable_realm(realm: str) -> None:
    """RFC 8489 §9.2.2: in a realm that is not an OpaqueString nobody has a key."""
    assert USERS.find("alice", realm, 0.0) == ()
    assert USERS.find_by_hash(bytes(32), realm, 0.0) == ()


def test_user_is_found_by_hash() -> None:
    """RFC 8489 §14.4: USERHASH finds the same credential, in each realm."""
    assert USERS.anonymous is True
    for realm in (REALM, "example.net", REALM):
        assert USERS.find_by_hash(user_hash("alice", realm), realm, 0.0) == USERS.find("alice", realm, 0.0)
        assert USERS.find_by_hash(user_hash("bob", realm), realm, 0.0) == ()
        assert USERS.find_by_hash(b"", realm, 0.0) == ()
    assert USERS.find_by_hash(user_hash("alice", REALM), "example.net", 0.0) == ()


@pytest.mark.parametrize(
    "users", [{"": "p"}, {"a\n": "p"}, {"alice": ""}, {"alice": "hush\x00"}, {"caf\u00e9": "p", "cafe\u0301": "q"}]
)
def test_unusable_users_are_refused(users: dict[str, str]) -> None:
    """RFC 8265 §4.2: names and passwords are OpaqueStrings, names are told apart; the error shows no password."""
    with pytest.raises(InvalidString) as caught:
        StaticUsers(users)
    assert "hush" not in str(caught.value)


def test_a_user_with_a_key() -> None:
    """RFC 8489 §9.2.2: the key is the credential, of the one algorithm that it was made for; found by hash, too."""
    text = f"bob:{REALM}:secret".encode()
    for digits, keys in (
        (hashlib.md5(text).hexdigest(), {MD5: hashlib.md5(text).digest()}),
        (hashlib.sha256(text).hexdigest().upper(), {SHA256: hashlib.sha256(text).digest()}),
    ):
        users = StaticUsers({"alice": "secret one"}, {"bob": key_from_hex(digits)})
        (found,) = users.find("bob", REALM, 0.0)
        assert found.keys == keys
        assert users.find_by_hash(user_hash("bob", REALM), REALM, 0.0) == (found,)
        assert users.holds(found, 0.0)
        assert not StaticUsers({}, {"bob": {MD5: bytes(16)}}).holds(found, 0.0)
        assert len(users.find("alice", REALM, 0.0)) == 1
        assert repr(users) == "StaticUsers(2 users)"
    with pytest.raises(InvalidString):
        StaticUsers({"bob": "secret"}, {"bob": {MD5: bytes(16)}})


def test_nothing_is_shown() -> None:
    """Rule 24: neither a source nor a credential shows a password or a key."""
    found = USERS.find("alice", REALM, 0.0)
    for shown in (repr(USERS), repr(found)):
        assert "secret" not in shown
        assert "keys" not in shown


def test_credential_is_frozen_and_hashable() -> None:
    """Rule 24: a credential is a value."""
    (one,), (two,) = USERS.find("alice", REALM, 0.0), USERS.find("alice", REALM, 1.0)
    assert one == two
    assert len({one, two}) == 1
    with pytest.raises(AttributeError):
        one.user_id = "bob"  # type: ignore[misc]


def test_chain_asks_in_order() -> None:
    """Rule 24: static users and time-limited names live side by side."""
    chain = Chain([USERS, TimeLimitedCredentials([SharedSecret(b"north"), SharedSecret(b"south")])])
    assert chain.find("alice", REALM, 0.0) == USERS.find("alice", REALM, 0.0)
    ephemeral = chain.find("1700000000:alice", REALM, 0.0)
    assert ephemeral is not PENDING
    assert len(ephemeral) == 2
    assert chain.find("bob", REALM, 0.0) == ()
    assert chain.find_by_hash(user_hash("alice", REALM), REALM, 0.0) == USERS.find("alice", REALM, 0.0)
    assert chain.find_by_hash(bytes(32), REALM, 0.0) == ()


def test_chain_waits_only_when_it_must() -> None:
    """RFC 8489 §9.2.4: a source that must ask is not asked for a user that an earlier one knows."""
    asking = Asking()
    chain = Chain([USERS, asking])
    assert chain.find("alice", REALM, 0.0) == USERS.find("alice", REALM, 0.0)
    assert chain.find_by_hash(user_hash("alice", REALM), REALM, 0.0) == USERS.find("alice", REALM, 0.0)
    assert asking.asked == 0
    assert chain.find("bob", REALM, 0.0) is PENDING
    assert chain.find_by_hash(bytes(32), REALM, 0.0) is PENDING
    assert asking.asked == 2


@pytest.mark.parametrize(
    ("sources", "anonymous"),
    [
        ([], False),
        ([USERS], True),
        ([USERS, Asking()], True),
        ([USERS, TimeLimitedCredentials([SharedSecret(b"north")])], False),
    ],
)
def test_chain_is_anonymous_when_all_are(sources: list[CredentialSource], anonymous: bool) -> None:
    """RFC 8489 §9.2: anonymity is announced only if it would lock nobody out."""
    assert Chain(sources).anonymous is anonymous


class Telling(CredentialSource):
    """A source that answers as it is told, at once or late, and writes down when it was asked."""

    anonymous = True

    def __init__(self, name: str, answer: Answer, late: LateAnswer | None = None) -> None:
        self.name = name
        self.answer = answer
        self.late = late
        self.log: list[str] = []

    def find(self, username: str, realm: str, wall: float) -> Answer:
        self.log.append(f"{self.name}?")
        return self.answer

    def find_by_hash(self, userhash: bytes, realm: str, wall: float) -> Answer:
        return self.find("", realm, wall)

    async def ask(self, username: str, realm: str, wall: float) -> LateAnswer:
        self.log.append(f"{self.name}…")
        assert self.late is not None, "not pending, so not to be asked"
        return self.late

    async def ask_by_hash(self, userhash: bytes, realm: str, wall: float) -> LateAnswer:
        return await self.ask("", realm, wall)


def linked(*sources: Telling) -> tuple[Chain, list[str]]:
    log: list[str] = []
    for source in sources:
        source.log = log
    return Chain(sources), log


ONE = USERS.find("alice", REALM, 0.0)
OTHER = StaticUsers({"alice": "another password"}).find("alice", REALM, 0.0)
DOWN = Unavailable("the database is down")
BROKEN = Unavailable("the directory is broken")


@pytest.mark.parametrize(
    ("answers", "at_once"),
    [
        (["nobody", "one"], ONE),
        (["one", "other"], ONE),
        (["other", "one"], OTHER),
        (["down", "one"], ONE),  # whoever another source knows can log in
        (["one", "down"], ONE),
        (["down", "nobody"], DOWN),  # it may be a user of the first
        (["nobody", "down"], DOWN),
        (["down", "broken"], DOWN),
        (["pending", "one"], PENDING),  # the order decides, even if an answer is late
        (["one", "pending"], ONE),
        (["down", "pending"], PENDING),
        (["pending", "down"], PENDING),
        (["nobody", "nobody"], ()),
        ([], ()),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_a_chain_answers_at_once(answers: list[str], at_once: Answer) -> None:
    """RFC 8489 §9.2.4: found, not found, not yet, or unknown for now; by name and by hash."""
    said = {"nobody": (), "one": ONE, "other": OTHER, "down": DOWN, "broken": BROKEN, "pending": PENDING}
    chain, _ = linked(*(Telling(name, said[name]) for name in answers))
    assert chain.find("alice", REALM, 0.0) == at_once
    assert chain.find_by_hash(bytes(32), REALM, 0.0) == at_once


@pytest.mark.parametrize(
    ("sources", "late", "log"),
    [
        ([("a", PENDING, ONE), ("b", OTHER, None)], ONE, "a? a…"),
        ([("a", PENDING, ()), ("b", OTHER, None)], OTHER, "a? a… b?"),
        ([("a", PENDING, ()), ("b", PENDING, ONE)], ONE, "a? a… b? b…"),
        ([("a", PENDING, ()), ("b", PENDING, ())], (), "a? a… b? b…"),
        ([("a", PENDING, DOWN), ("b", PENDING, ONE)], ONE, "a? a… b? b…"),
        ([("a", PENDING, DOWN), ("b", ONE, None)], ONE, "a? a… b?"),
        ([("a", PENDING, DOWN), ("b", PENDING, ())], DOWN, "a? a… b? b…"),
        ([("a", PENDING, ()), ("b", PENDING, BROKEN)], BROKEN, "a? a… b? b…"),
        ([("a", PENDING, DOWN), ("b", PENDING, BROKEN)], DOWN, "a? a… b? b…"),
        ([("a", DOWN, None), ("b", PENDING, ONE)], ONE, "a? b? b…"),
        ([("a", DOWN, None), ("b", PENDING, ())], DOWN, "a? b? b…"),
        ([("a", ONE, None), ("b", PENDING, OTHER)], ONE, "a?"),
    ],
    ids=str,
)
async def test_what_a_chain_answers_late(
    sources: list[tuple[str, Answer, LateAnswer | None]], late: LateAnswer, log: str
) -> None:
    """Each that is pending is waited for in its turn, and nobody behind the one that knows the user is asked."""
    chain, seen = linked(*(Telling(*source) for source in sources))
    assert await chain.ask("alice", REALM, 0.0) == late
    assert " ".join(seen) == log
    assert await chain.ask_by_hash(bytes(32), REALM, 0.0) == late


async def test_a_chain_passes_on_what_concerns_all() -> None:
    """What one remembers is forgotten, and what one has open is closed, wherever it stands in the chain."""

    class Heard(Nobody):
        __slots__ = ("heard",)

        def __init__(self) -> None:
            self.heard: list[str] = []

        def forget(self, user_id: str) -> None:
            self.heard.append(user_id)

        async def close(self) -> None:
            self.heard.append("closed")

    first, second = Heard(), Heard()
    chain = Chain([first, Chain([second])])
    chain.forget("alice")
    await chain.close()
    assert first.heard == second.heard == ["alice", "closed"]


async def test_what_a_source_inherits() -> None:
    """A source that only says who is who needs nothing but `find`."""

    class Least(CredentialSource):
        def find(self, username: str, realm: str, wall: float) -> Answer:
            return PENDING if username == "late" else USERS.find(username, realm, wall)

    least = Least()
    assert least.anonymous is False
    assert least.find_by_hash(user_hash("alice", REALM), REALM, 0.0) == ()
    assert await least.ask("alice", REALM, 0.0) == ONE
    assert await least.ask_by_hash(bytes(32), REALM, 0.0) == ()
    assert isinstance(await least.ask("late", REALM, 0.0), Unavailable), "it says pending, and nobody taught it to wait"
    least.forget("alice")
    await least.close()
    assert least.find("alice", REALM, 0.0) == ONE


def test_nobody_knows_nobody() -> None:
    """The source of a server that has none."""
    assert Nobody().find("alice", REALM, 0.0) == ()
    assert not Nobody().anonymous


def test_which_credentials_a_source_holds() -> None:
    """By name, realm and keys; a source that would have to ask elsewhere does not say."""
    users, others = StaticUsers({"alice": "secret"}), StaticUsers({"alice": "another"})
    (credential,) = users.find("alice", "r", 0.0)
    assert users.holds(credential, 0.0) is True
    assert others.holds(credential, 0.0) is False
    assert StaticUsers({}).holds(credential, 0.0) is False
    assert Nobody().holds(credential, 0.0) is False
    assert Chain([others, users]).holds(credential, 0.0) is True
    assert Chain([others]).holds(credential, 0.0) is False
    assert Chain([]).holds(credential, 0.0) is False

    class Elsewhere(CredentialSource):
        def find(self, username: str, realm: str, wall: float) -> Answer:
            return PENDING

    assert Elsewhere().holds(credential, 0.0) is None
    assert Chain([Elsewhere(), others]).holds(credential, 0.0) is None
    assert Chain([Elsewhere(), users]).holds(credential, 0.0) is True
