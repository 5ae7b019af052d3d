"""Nonces: fresh, expired, foreign, forged; rotation; the feature bits."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auth.nonce import NonceIssuer, NonceStatus, SecurityFeatures, nonce_features

CLIENT = bytes([192, 0, 2, 7])
CLIENT6 = bytes.fromhex("20010db8000000000000000000000007")
OLD, NEW, OTHER = b"o" * 32, b"n" * 32, b"x" * 32
WALL = 1_700_000_000.25
ENTROPY = b"\xa5\x5a"


def test_fresh_nonce_is_valid_until_its_lifetime_is_over() -> None:
    """Rule 2: valid from the moment it is handed out to the end of its lifetime, then expired."""
    issuer = NonceIssuer([NEW], lifetime=600)
    nonce = issuer.issue(CLIENT, WALL, ENTROPY)
    assert issuer.check(nonce, CLIENT, WALL) is NonceStatus.VALID
    assert issuer.check(nonce, CLIENT, WALL + 600) is NonceStatus.VALID
    assert issuer.check(nonce, CLIENT, WALL + 601) is NonceStatus.EXPIRED
    assert issuer.check(nonce, CLIENT, WALL + 3600) is NonceStatus.EXPIRED


def test_nonce_does_not_come_back_to_life() -> None:
    """Rule 2: long after, when the low bits of the clock are the same again, the nonce is still not valid."""
    issuer = NonceIssuer([NEW])
    nonce = issuer.issue(CLIENT, WALL, ENTROPY)
    for turns in (1, 2, 1000):
        assert issuer.check(nonce, CLIENT, WALL + turns * (1 << 14)) is NonceStatus.FOREIGN


@given(st.floats(0, 4e9), st.integers(0, 3600), st.binary(min_size=1, max_size=4))
def test_never_stale_within_its_lifetime(wall: float, age: int, entropy: bytes) -> None:
    """Rule 2: a nonce just handed out is never answered with 438, whatever the time of day."""
    issuer = NonceIssuer([NEW], lifetime=3600)
    nonce = issuer.issue(CLIENT6, wall, entropy)
    assert issuer.check(nonce, CLIENT6, wall + age) is NonceStatus.VALID


def test_clock_set_back_a_little() -> None:
    """Rule 2: another worker's clock, or a correction of ours, does not make a new nonce stale; an hour does."""
    issuer = NonceIssuer([NEW])
    nonce = issuer.issue(CLIENT, WALL, ENTROPY)
    assert issuer.check(nonce, CLIENT, WALL - 60) is NonceStatus.VALID
    assert issuer.check(nonce, CLIENT, WALL - 61) is NonceStatus.FOREIGN
    assert issuer.check(nonce, CLIENT, WALL - 3600) is NonceStatus.FOREIGN


def test_bound_to_the_client() -> None:
    """Rule 2: another address's nonce is foreign, the same bytes in the other family too."""
    issuer = NonceIssuer([NEW])
    nonce = issuer.issue(CLIENT, WALL, ENTROPY)
    for other in (bytes([192, 0, 2, 8]), CLIENT6, b"", bytes(12) + CLIENT, bytes(10) + b"\xff\xff" + CLIENT):
        assert issuer.check(nonce, other, WALL) is NonceStatus.FOREIGN


def test_key_rotation() -> None:
    """Rule 2: two keys during rotation; the newest signs, both are accepted, a dropped one is foreign."""
    before, during, after = NonceIssuer([OLD]), NonceIssuer([NEW, OLD]), NonceIssuer([NEW])
    old, new = before.issue(CLIENT, WALL, ENTROPY), during.issue(CLIENT, WALL, ENTROPY)
    assert during.check(old, CLIENT, WALL) is NonceStatus.VALID
    assert during.check(old, CLIENT, WALL + 700) is NonceStatus.EXPIRED
    assert after.check(old, CLIENT, WALL) is NonceStatus.FOREIGN
    assert after.check(new, CLIENT, WALL) is NonceStatus.VALID
    assert before.check(new, CLIENT, WALL) is NonceStatus.FOREIGN
    assert NonceIssuer([OTHER]).check(new, CLIENT, WALL) is NonceStatus.FOREIGN


@pytest.mark.parametrize("client", [CLIENT, CLIENT6])
def test_every_bit_flip_is_foreign(client: bytes) -> None:
    """Rule 2: no bit of a nonce can be changed, the cookie and the feature bits included."""
    issuer = NonceIssuer([NEW, OLD])
    nonce = issuer.issue(client, WALL, ENTROPY)
    for bit in range(len(nonce) * 8):
        forged = bytearray(nonce)
        forged[bit // 8] ^= 1 << bit % 8
        assert issuer.check(bytes(forged), client, WALL) is NonceStatus.FOREIGN


def test_every_cut_and_extension_is_foreign() -> None:
    """Rule 2: neither a part of a nonce nor a nonce with something after it is one."""
    issuer = NonceIssuer([NEW])
    nonce = issuer.issue(CLIENT, WALL, ENTROPY)
    for forged in [*(nonce[:end] for end in range(len(nonce))), nonce + b"A", nonce + b"=", b"A" + nonce, nonce * 2]:
        assert issuer.check(forged, CLIENT, WALL) is NonceStatus.FOREIGN


@given(
    st.binary(max_size=40)
    | st.binary(min_size=23, max_size=23).map(lambda tail: b"obMatJos2" + tail)
    | st.binary(min_size=19, max_size=19).map(lambda tail: b"obMatJos2gAAA" + tail)
    | st.text("AQgw/+=-_ \u00e9", min_size=19, max_size=19).map(lambda tail: b"obMatJos2gAAA" + tail.encode()),
    st.binary(max_size=16),
)
def test_any_bytes_are_judged_without_an_error(nonce: bytes, client: bytes) -> None:
    """Rule 2: whatever a stranger sends as NONCE is foreign, and nothing is raised."""
    assert NonceIssuer([NEW]).check(nonce, client, WALL) is NonceStatus.FOREIGN
    nonce_features(nonce)


def test_as_short_as_is_safe() -> None:
    """Rule 4: a nonce is 32 bytes, 96 bits of them a MAC, with nothing that a quoted-string must escape (§14.10)."""
    for client in (CLIENT, CLIENT6):
        nonce = NonceIssuer([NEW]).issue(client, WALL, ENTROPY)
        assert len(nonce) == 32
        assert nonce.isascii()
        assert nonce.replace(b"+", b"").replace(b"/", b"").isalnum()


def test_entropy_tells_nonces_of_one_second_apart() -> None:
    """Rule 2: nonces of the same second differ by the entropy, and each is valid."""
    issuer = NonceIssuer([NEW])
    nonces = {issuer.issue(CLIENT, WALL, bytes((value,))) for value in range(16)}
    assert len(nonces) == 16
    assert {issuer.check(nonce, CLIENT, WALL) for nonce in nonces} == {NonceStatus.VALID}
    with pytest.raises(ValueError, match="entropy"):
        issuer.issue(CLIENT, WALL, b"")


@pytest.mark.parametrize(
    ("features", "start"),
    [
        (SecurityFeatures.NONE, b"obMatJos2AAAA"),
        (SecurityFeatures.PASSWORD_ALGORITHMS, b"obMatJos2gAAA"),
        (SecurityFeatures.USERNAME_ANONYMITY, b"obMatJos2QAAA"),
        (SecurityFeatures.PASSWORD_ALGORITHMS | SecurityFeatures.USERNAME_ANONYMITY, b"obMatJos2wAAA"),
    ],
)
def test_feature_bits(features: SecurityFeatures, start: bytes) -> None:
    """RFC 8489 §9.2 and §18.1: bit 0 is the most significant of the 24, then base64."""
    nonce = NonceIssuer([NEW], features=features).issue(CLIENT, WALL, ENTROPY)
    assert nonce.startswith(start)
    assert nonce_features(nonce) == features


def test_default_features() -> None:
    """RFC 8489 §9.2.1: password algorithms are announced unless told otherwise."""
    nonce = NonceIssuer([NEW]).issue(CLIENT, WALL, ENTROPY)
    assert nonce_features(nonce) is SecurityFeatures.PASSWORD_ALGORITHMS


def test_nonce_of_other_features_is_expired() -> None:
    """RFC 8489 §9.2.4: after the announced features change, old nonces are replaced (438), not honoured."""
    before = NonceIssuer([NEW])
    after = NonceIssuer([NEW], features=SecurityFeatures.PASSWORD_ALGORITHMS | SecurityFeatures.USERNAME_ANONYMITY)
    assert after.check(before.issue(CLIENT, WALL, ENTROPY), CLIENT, WALL) is NonceStatus.EXPIRED


@pytest.mark.parametrize(
    ("nonce", "features"),
    [
        (b"obMatJos2AAACf//499k954d6OL34oL9FSTvy64sA", SecurityFeatures(2)),
        (b"obMatJos2////", SecurityFeatures(0xFFFFFF)),
        (b"obMatJos2AAA", None),
        (b"obMatJos2AAA=", None),
        (b"obMatJos2AA==", None),
        (b"obMatJos2A\xffAA", None),
        (b"obMatJos2 AAA", None),
        (b"obmatjos2AAAA", None),
        (b"f//499k954d6OL34oL9FSTvy64sA", None),
        (b"", None),
    ],
)
def test_features_of_any_nonce(nonce: bytes, features: SecurityFeatures | None) -> None:
    """RFC 8489 §9.2: four base64 characters after the cookie, or it is not a nonce cookie (first: appendix B.1)."""
    assert nonce_features(nonce) == features


@pytest.mark.parametrize("keys", [[], [b""], [b"k" * 15], [NEW, b"short"]])
def test_weak_keys_are_refused(keys: list[bytes]) -> None:
    """Rule 2: the HMAC is worth its key."""
    with pytest.raises(ValueError, match="key"):
        NonceIssuer(keys)


@pytest.mark.parametrize("lifetime", [0.0, -1.0, 3600.5, float("inf"), float("nan")])
def test_lifetime_is_bounded(lifetime: float) -> None:
    """Rule 2: valid for at most one hour."""
    with pytest.raises(ValueError, match="lifetime"):
        NonceIssuer([NEW], lifetime=lifetime)


def test_keys_are_not_shown() -> None:
    """Rule 2: an issuer in a log does not give its keys away."""
    assert "nnnn" not in repr(NonceIssuer([NEW]))
