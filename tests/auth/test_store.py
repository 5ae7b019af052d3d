"""Stores: static users, chains, and what "not yet" does to a chain."""

import hashlib
from collections.abc import Sequence

import pytest

from auth.ephemeral import SharedSecret, TimeLimitedCredentials
from auth.errors import InvalidString
from auth.keys import user_hash
from auth.store import Chain, CredentialStore, StaticUsers
from auth.types import PENDING, Credential, Pending

REALM = "example.org"
USERS = StaticUsers({"alice": "secret one", "caf\u00e9": "secret two"})


class Asking:
    """A store that always has to ask, and counts how often it was asked to."""

    anonymous = True

    def __init__(self) -> None:
        self.asked = 0

    def find(self, username: str, realm: str, wall: float) -> Sequence[Credential] | Pending:
        self.asked += 1
        return PENDING

    def find_by_hash(self, userhash: bytes, realm: str, wall: float) -> Sequence[Credential] | Pending:
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


def test_nothing_is_shown() -> None:
    """Rule 24: neither a store nor a credential shows a password or a key."""
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
    """RFC 8489 §9.2.4: a store that must ask is not asked for a user that an earlier one knows."""
    asking = Asking()
    chain = Chain([USERS, asking])
    assert chain.find("alice", REALM, 0.0) == USERS.find("alice", REALM, 0.0)
    assert chain.find_by_hash(user_hash("alice", REALM), REALM, 0.0) == USERS.find("alice", REALM, 0.0)
    assert asking.asked == 0
    assert chain.find("bob", REALM, 0.0) is PENDING
    assert chain.find_by_hash(bytes(32), REALM, 0.0) is PENDING
    assert asking.asked == 2


@pytest.mark.parametrize(
    ("stores", "anonymous"),
    [
        ([], False),
        ([USERS], True),
        ([USERS, Asking()], True),
        ([USERS, TimeLimitedCredentials([SharedSecret(b"north")])], False),
    ],
)
def test_chain_is_anonymous_when_all_are(stores: list[CredentialStore], anonymous: bool) -> None:
    """RFC 8489 §9.2: anonymity is announced only if it would lock nobody out."""
    assert Chain(stores).anonymous is anonymous
