"""RFC 8489 §9.2: the client's half of the long-term credential mechanism."""

import pytest

from auth.keys import long_term_key_md5, long_term_key_sha256, user_hash
from stun.attributes import (
    ERROR_CODE,
    NONCE,
    PASSWORD_ALGORITHM,
    PASSWORD_ALGORITHMS,
    REALM,
    USERHASH,
    USERNAME,
    AlgorithmValue,
    ErrorValue,
)
from stun.client.authentication import AuthSession, Login, bids_down
from stun.client.errors import CannotAuthenticate, InvalidLogin
from stun.constants import MessageClass, Method
from stun.message import Message, MessageBuilder

LOGIN = Login("user", "secret")
MD5, SHA256, FUTURE = AlgorithmValue(1, b""), AlgorithmValue(2, b""), AlgorithmValue(77, b"")
COOKIE = b"obMatJos2gAAA-nonce"
TRANSACTION = bytes(range(12))


def _challenge(
    realm: str | None = "example.org", nonce: bytes | None = b"n", offered: tuple[AlgorithmValue, ...] | None = None
) -> Message:
    builder = MessageBuilder(Method.ALLOCATE, MessageClass.ERROR, TRANSACTION).add(ERROR_CODE, ErrorValue(401, ""))
    if realm is not None:
        builder.add(REALM, realm)
    if nonce is not None:
        builder.add(NONCE, nonce)
    if offered is not None:
        builder.add(PASSWORD_ALGORITHMS, offered)
    return Message.decode(builder.build())


def _signed(session: AuthSession, message_class: MessageClass = MessageClass.REQUEST) -> Message:
    return Message.decode(session.sign(MessageBuilder(Method.ALLOCATE, message_class, TRANSACTION)).build())


def test_an_old_server_gets_what_it_knows() -> None:
    """RFC 8489 §9.2.5: without PASSWORD-ALGORITHMS, USERNAME, REALM, NONCE and MESSAGE-INTEGRITY with the MD5 key."""
    session = AuthSession.from_challenge(LOGIN, _challenge())
    request = _signed(session)
    assert session.key == long_term_key_md5("user", "example.org", "secret")
    assert (request.first(USERNAME), request.first(REALM), request.first(NONCE)) == ("user", "example.org", b"n")
    assert not request.has(PASSWORD_ALGORITHMS)
    assert not request.has(PASSWORD_ALGORITHM)
    assert session.verifies(request)


@pytest.mark.parametrize(
    ("offered", "chosen"),
    [((SHA256, MD5), SHA256), ((MD5, SHA256), MD5), ((FUTURE, MD5), MD5), ((AlgorithmValue(2, b"abcd"), MD5), MD5)],
)
def test_the_first_known_algorithm_is_chosen(offered: tuple[AlgorithmValue, ...], chosen: AlgorithmValue) -> None:
    """RFC 8489 §9.2.5: the list is echoed as it came, the first supported one chosen, and integrity is SHA-256."""
    session = AuthSession.from_challenge(LOGIN, _challenge(nonce=COOKIE, offered=offered))
    request = _signed(session)
    derive = long_term_key_sha256 if chosen == SHA256 else long_term_key_md5
    assert session.key == derive("user", "example.org", "secret")
    assert request.first(PASSWORD_ALGORITHMS) == offered
    assert request.first(PASSWORD_ALGORITHM) == chosen
    assert session.verifies(request)


def test_the_other_kind_of_integrity_does_not_count() -> None:
    """RFC 8489 §9.2.5: an answer must carry the kind of integrity that the requests carry."""
    old = AuthSession.from_challenge(LOGIN, _challenge())
    new = AuthSession.from_challenge(LOGIN, _challenge(nonce=COOKIE, offered=(MD5,)))
    assert old.key == new.key
    assert not new.verifies(_signed(old))
    assert not old.verifies(_signed(new))


@pytest.mark.parametrize(
    ("challenge", "words"),
    [
        (_challenge(realm=None), "without a realm and a nonce"),
        (_challenge(nonce=None), "without a realm and a nonce"),
        (_challenge(nonce=COOKIE), "bid-down"),
        (_challenge(offered=(FUTURE,)), "not known here"),
        (_challenge(realm="a\x07b"), "cannot be used"),
    ],
)
def test_challenges_that_cannot_be_answered(challenge: Message, words: str) -> None:
    """RFC 8489 §9.2.5: incomplete, bidden down, or offering nothing known: the client does not try again."""
    with pytest.raises(CannotAuthenticate, match=words):
        AuthSession.from_challenge(LOGIN, challenge)


def test_a_stale_nonce_keeps_the_realm() -> None:
    """RFC 8489 §9.2.5: a 438 brings a new nonce; the realm is the one known."""
    before = AuthSession.from_challenge(LOGIN, _challenge())
    after = AuthSession.from_challenge(LOGIN, _challenge(realm=None, nonce=b"new"), before)
    assert (after.realm, after.nonce, after.key) == ("example.org", b"new", before.key)


def test_nothing_secret_shows() -> None:
    """Rule 24: neither the password nor the key is in a repr."""
    session = AuthSession.from_challenge(LOGIN, _challenge())
    assert "secret" not in repr(LOGIN)
    assert "secret" not in repr(session)
    assert repr(session.key) not in repr(session)


def test_after_a_list_of_algorithms_there_is_no_way_back() -> None:
    """RFC 8489 §9.2.5: once PASSWORD-ALGORITHMS has been seen, only MESSAGE-INTEGRITY-SHA256 is used."""
    before = AuthSession.from_challenge(LOGIN, _challenge(nonce=COOKIE, offered=(SHA256, MD5)))
    after = AuthSession.from_challenge(LOGIN, _challenge(nonce=b"plain"), before)
    assert (after.offered, after.chosen, after.key) == (before.offered, before.chosen, before.key)


def test_another_realm_needs_another_key() -> None:
    before = AuthSession.from_challenge(LOGIN, _challenge())
    after = AuthSession.from_challenge(LOGIN, _challenge(realm="example.net"), before)
    assert after.key == long_term_key_md5("user", "example.net", "secret")


@pytest.mark.parametrize(
    ("login", "hashed"),
    [(LOGIN, True), (Login("user", "secret", anonymous=False), False), (Login("user", "secret", rfc5389=True), False)],
)
def test_the_name_is_hidden_where_the_server_offers_it(login: Login, hashed: bool) -> None:
    """RFC 8489 §9.2.5: USERHASH instead of USERNAME, if the nonce announces username anonymity."""
    session = AuthSession.from_challenge(login, _challenge(nonce=b"obMatJos2QAAA-nonce"))
    request = _signed(session)
    assert session.anonymous is hashed
    assert request.first(USERHASH) == (user_hash("user", "example.org") if hashed else None)
    assert request.first(USERNAME) == (None if hashed else "user")


def test_a_client_of_rfc_5389_knows_nothing_of_algorithms() -> None:
    """RFC 5389 §10.2: an MD5 key and MESSAGE-INTEGRITY, whatever a newer server offers; what browsers do."""
    session = AuthSession.from_challenge(
        Login("user", "secret", rfc5389=True), _challenge(nonce=COOKIE, offered=(SHA256,))
    )
    request = _signed(session)
    assert (session.offered, session.chosen) == (None, None)
    assert not request.has(PASSWORD_ALGORITHMS)
    assert session.verifies(request)
    AuthSession.from_challenge(Login("user", "secret", rfc5389=True), _challenge(nonce=COOKIE))


def test_a_nonce_that_promises_what_is_not_there() -> None:
    """RFC 8489 §9.2.1: the cookie in the nonce is what a bid-down cannot take away."""
    assert bids_down(_challenge(nonce=COOKIE))
    assert not bids_down(_challenge(nonce=COOKIE, offered=(MD5,)))
    assert not bids_down(_challenge())
    assert not bids_down(_challenge(nonce=None))


def test_texts_are_prepared() -> None:
    """RFC 8489 §9.2.2, §14.3: user name and password are OpaqueStrings: other spaces are spaces, accents composed."""
    login = Login("a\u00a0e\u0301", "p\u2003w")
    assert (login.username, login.password) == ("a \u00e9", "p w")


@pytest.mark.parametrize(
    ("username", "password"), [("", "x"), ("x", ""), ("a\x07", "x"), ("x", "a\x07"), ("n" * 509, "x"), ("é" * 255, "x")]
)
def test_what_is_no_login(username: str, password: str) -> None:
    """RFC 8489 §14.3: fewer than 509 bytes, and nothing that OpaqueString forbids; the message repeats neither text."""
    with pytest.raises(InvalidLogin) as caught:
        Login(username, password)
    assert "nnn" not in str(caught.value)
    assert isinstance(caught.value, ValueError)
