"""Time-limited credentials against values made with openssl, and against hostile usernames."""

import base64
import hashlib
import hmac

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auth.ephemeral import NameOrder, SharedSecret, TimeLimitedCredentials, mint, parse_username, password_for
from auth.errors import InvalidCredential

NORTH, SOUTH = SharedSecret(b"north"), SharedSecret(b"south", "sha256")
REALM = "example.org"

# printf %s USERNAME | openssl dgst -sha1 -hmac north -binary | openssl base64
BY_OPENSSL = [
    ("sha1", "1700000000:alice", "Cd/49soE35ICqcJF/bCTn8Z4OyE="),
    ("sha1", "1700000000", "CWyHi3zCeWqXBir9thl4m+iZPRY="),
    ("sha256", "1700000000:alice", "EuME0Xh0HllnbpbObfs8aBsd78Vr1EMwxArqbyCrGl8="),
    ("sha256", "1700000000:\u00fcn\u00ef", "rRDPdgkMqXcPazR5P1Z1NzFYwRy+SR1ReZD51JOprF4="),
]

HOSTILE = [
    "",
    ":",
    ":alice",
    "alice",
    "alice:1700000000",
    "-1:alice",
    "+1:alice",
    " 1:alice",
    "1 :alice",
    "1_000:alice",
    "1.5:alice",
    "1e9:alice",
    "0x10:alice",
    "\u0661\u0662\u0663:alice",
    "\u00b2:alice",
    "\uff11:alice",
    "1\n:alice",
    "\n1:alice",
    "1:alice\n",
    "1:al\x00ice",
    "1:\ud800",
    "1:\u202ealice",
    "9" * 16 + ":alice",
    str(10**400),
    str(10**400) + ":alice",
    "1:" + "a" * 507,
    "1:" + "a" * 100_000,
]


@pytest.mark.parametrize(("algorithm", "username", "password"), BY_OPENSSL)
def test_password_by_openssl(algorithm: str, username: str, password: str) -> None:
    """Rule 24: the password is base64(HMAC(secret, username)) as openssl makes it."""
    secret = SharedSecret(b"north", "sha256" if algorithm == "sha256" else "sha1")
    assert password_for(secret, username) == password


@pytest.mark.parametrize("secret", [NORTH, SOUTH])
@pytest.mark.parametrize("user", ["", "alice", "a:b", "caf\u00e9"])
@pytest.mark.parametrize("separator", [":", "-", "::", "|"])
def test_minted_credential_is_found(secret: SharedSecret, user: str, separator: str) -> None:
    """Rule 24: what is minted is found, with the key MD5(username:realm:password) and the expiry of the name."""
    username, password = mint(secret, user, 1_700_000_000, separator)
    assert username == (f"1700000000{separator}{user}" if user else "1700000000")
    (found,) = TimeLimitedCredentials([secret], separator).find(username, REALM, 0.0)
    text = f"{username}:{REALM}:{password}".encode()
    assert found.keys == {1: hashlib.md5(text).digest(), 2: hashlib.sha256(text).digest()}
    assert (found.username, found.realm, found.user_id) == (username, REALM, user or username)
    assert found.expires_at == 1_700_000_000.0


def test_expired_credential_is_still_found() -> None:
    """Rule 24: the core judges the expiry (at Allocate), the store does not."""
    (found,) = TimeLimitedCredentials([NORTH]).find("1:alice", REALM, 1_700_000_000.0)
    assert found.expires_at == 1.0


def test_one_credential_per_secret() -> None:
    """Rule 24: several secrets at once, each with its own hash, in their order."""
    username = "1700000000:alice"
    found = TimeLimitedCredentials([NORTH, SOUTH]).find(username, REALM, 0.0)
    expected = [
        base64.b64encode(hmac.digest(key, username.encode(), algorithm)).decode()
        for key, algorithm in ((b"north", "sha1"), (b"south", "sha256"))
    ]
    assert [credential.keys[1] for credential in found] == [
        hashlib.md5(f"{username}:{REALM}:{password}".encode()).digest() for password in expected
    ]


def test_user_is_counted_by_the_user_part() -> None:
    """Rule 24: quota is counted on the user part, in one spelling, whatever the expiry."""
    store = TimeLimitedCredentials([NORTH])
    names = ["1700000000:caf\u00e9", "1800000000:cafe\u0301", "0001:caf\u00e9"]
    assert {store.find(name, REALM, 0.0)[0].user_id for name in names} == {"caf\u00e9"}
    assert store.find("1700000000:", REALM, 0.0)[0].user_id == "1700000000:"


def test_key_is_of_the_name_as_sent() -> None:
    """RFC 8489 §9.2.2: a name that was not normalized before it was minted still proves itself."""
    username = "1700000000:cafe\u0301"
    (found,) = TimeLimitedCredentials([NORTH]).find(username, REALM, 0.0)
    password = base64.b64encode(hmac.digest(b"north", username.encode(), "sha1")).decode()
    assert found.keys[1] == hashlib.md5(f"{username}:{REALM}:{password}".encode()).digest()


@pytest.mark.parametrize("username", HOSTILE)
def test_hostile_usernames_are_nobody(username: str) -> None:
    """Rule 24: the username is hostile text; what is not exactly of the form is an unknown user."""
    assert TimeLimitedCredentials([NORTH]).find(username, REALM, 0.0) == ()


@given(
    st.text(st.characters()) | st.builds("{}:{}".format, st.integers(0, 10**17), st.text(max_size=5)),
    st.text(st.characters(), max_size=5),
)
def test_no_username_raises(username: str, realm: str) -> None:
    """Rule 24: no text makes the store raise, in the name or in the realm."""
    for credential in TimeLimitedCredentials([NORTH]).find(username, realm, 0.0):
        assert credential.expires_at is not None
        assert 0 <= credential.expires_at < 10**15
        assert "\n" not in credential.user_id


@pytest.mark.parametrize(
    ("username", "separator", "parsed"),
    [
        ("1700000000", ":", (1_700_000_000, "")),
        ("1700000000:", ":", (1_700_000_000, "")),
        ("1700000000:a:b", ":", (1_700_000_000, "a:b")),
        ("1700000000:\n", ":", (1_700_000_000, "\n")),
        ("1700000000-alice", "-", (1_700_000_000, "alice")),
        ("999999999999999|x", "|", (999_999_999_999_999, "x")),
        ("0", ":", (0, "")),
    ],
)
def test_parse(username: str, separator: str, parsed: tuple[int, str]) -> None:
    """Rule 24: the form is ``<expiry>`` or ``<expiry><separator><user>``."""
    assert parse_username(username, separator) == parsed


@pytest.mark.parametrize("username", ["", "alice", "-1:a", "1700000000-alice", "\u0661:a", str(10**400), "9" * 16])
def test_parse_refuses(username: str) -> None:
    """Rule 24: anything else is refused, and a number of 401 digits is never converted."""
    with pytest.raises(InvalidCredential):
        parse_username(username)


@pytest.mark.parametrize("separator", ["", "1", "a0b"])
def test_unusable_separators(separator: str) -> None:
    """Rule 24: a separator that is empty or looks like a digit would make the form ambiguous."""
    with pytest.raises(InvalidCredential):
        parse_username("1", separator)
    with pytest.raises(InvalidCredential):
        mint(NORTH, "alice", 1, separator)
    with pytest.raises(InvalidCredential):
        TimeLimitedCredentials([NORTH], separator)


@pytest.mark.parametrize(
    ("user", "expires_at"),
    [
        ("alice", 0),
        ("alice", -5),
        ("alice", 10**15),
        ("al\nice", 1),
        ("\u202e", 1),
        ("a" * 507, 1),
        ("\u00e9" * 254, 1),
    ],
)
def test_mint_refuses_what_could_not_be_used(user: str, expires_at: int) -> None:
    """RFC 8489 §14.3: a minted username is an OpaqueString of at most 508 bytes."""
    with pytest.raises(InvalidCredential):
        mint(NORTH, user, expires_at)


def test_mint_up_to_the_limit() -> None:
    """RFC 8489 §14.3: 508 bytes are allowed, and found again."""
    username, _ = mint(NORTH, "a" * 506, 1)
    assert len(username) == 508
    assert len(TimeLimitedCredentials([NORTH]).find(username, REALM, 0.0)) == 1


def test_password_of_what_is_not_text() -> None:
    """Rule 24: half a surrogate pair has no bytes to hash."""
    with pytest.raises(InvalidCredential):
        password_for(NORTH, "1:\udc80")


def test_secrets_are_checked_and_not_shown() -> None:
    """Rule 24: an empty secret would let everybody in; a secret in a log would too."""
    with pytest.raises(InvalidCredential):
        SharedSecret(b"")
    with pytest.raises(InvalidCredential):
        SharedSecret(b"north", "md5")  # type: ignore[arg-type]
    with pytest.raises(InvalidCredential):
        TimeLimitedCredentials([])
    store = TimeLimitedCredentials([NORTH])
    found = store.find("1:alice", REALM, 0.0)
    for shown in (repr(NORTH), repr(store), repr(found), str(found)):
        assert "north" not in shown
        assert "keys" not in shown


def test_cannot_be_searched_by_hash() -> None:
    """RFC 8489 §9.2: a time-limited name is not known before it is used, so anonymity cannot be announced."""
    store = TimeLimitedCredentials([NORTH])
    assert store.anonymous is False
    assert store.find_by_hash(bytes(32), REALM, 0.0) == ()


def test_a_credential_of_a_secret_that_is_left_is_held_and_another_is_not() -> None:
    """Whether it has expired is another question."""
    old, new = SharedSecret(b"the old one"), SharedSecret(b"the new one")
    (credential,) = TimeLimitedCredentials([old]).find("1000:alice", "example.org", 0.0)
    assert TimeLimitedCredentials([new, old]).holds(credential, 2000.0)
    assert not TimeLimitedCredentials([new]).holds(credential, 0.0)
    assert not TimeLimitedCredentials([SharedSecret(b"the old one", "sha256")]).holds(credential, 0.0)


@pytest.mark.parametrize(
    ("username", "parsed"),
    [
        ("1700000000:ann", (1_700_000_000, "ann")),
        ("1700000000", (1_700_000_000, "")),
        ("ann:1700000000", (1_700_000_000, "ann")),
        ("ann:lee:1700000000", (1_700_000_000, "ann:lee")),
        ("1700000000:1800000000", (1_700_000_000, "1800000000")),
        ("1700000000:ann:1800000000", (1_700_000_000, "ann:1800000000")),
    ],
)
def test_the_expiry_may_be_on_either_side(username: str, parsed: tuple[int, str]) -> None:
    """As coturn takes it; a name that begins with a time is of the first kind, whatever it ends with."""
    assert parse_username(username, order="any") == parsed


@pytest.mark.parametrize("username", ["ann", "ann:", ":1700000000", "ann:17x", "ann:1234567890123456", ""])
def test_no_expiry_on_either_side(username: str) -> None:
    with pytest.raises(InvalidCredential):
        parse_username(username, order="any")


@pytest.mark.parametrize(
    ("username", "order", "says"),
    [
        ("ann:1700000000", "expiry-first", "comes after the user"),
        ("2026-01-01:ann", "any", "no expiry"),
        ("1234567890123456:ann", "any", "more than 15 digits"),
        ("ann:", "any", "no expiry"),
        ("ann", "any", ""),
        ("", "any", ""),
    ],
)
def test_what_is_wrong_with_a_name_that_should_have_a_time(username: str, order: NameOrder, says: str) -> None:
    """For the operator, in words of ours: the name is hostile text."""
    source = TimeLimitedCredentials([SharedSecret(b"secret")], order=order)
    assert source.find(username, "example.org", 0.0) == ()
    found = source.misread(username)
    assert says in found
    assert bool(found) is bool(says)
    assert not username or username not in found
