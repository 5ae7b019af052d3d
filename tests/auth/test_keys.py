"""Long-term keys and user hashes against the RFCs' own vectors and values made with openssl."""

import hashlib
import hmac

import pytest

from auth.errors import InvalidString
from auth.keys import MD5, SHA256, key_from_hex, long_term_key_md5, long_term_key_sha256, long_term_keys, user_hash

MATRIX = "\u30de\u30c8\u30ea\u30c3\u30af\u30b9"
MATRIX_PASSWORD = "TheMatrIX"
REALM = "example.org"

SAMPLE_LONG_TERM = bytes.fromhex(
    """
    00010060 2112a442 78ad3433 c6ad72c0 29da412e
    00060012 e3839ee3 8388e383 aae38383 e382afe3 82b90000
    0015001c 662f2f34 39396b39 35346436 4f4c3334 6f4c3946 53547679 36347341
    0014000b 6578616d 706c652e 6f726700
    00080014 f6702465 6dd64a3e 02b8e071 2e85c9a2 8ca89666
    """,
)

SAMPLE_USERHASH = bytes.fromhex("4a3cf38fef6992bda952c6780417da0f24819415569e60b205c46e41407f1704")

SAMPLE_SHA256 = bytes.fromhex(
    """
    00010090 2112a442 78ad3433 c6ad72c0 29da412e
    001e0020 4a3cf38f ef6992bd a952c678 0417da0f 24819415 569e60b2 05c46e41 407f1704
    00150029 6f624d61 744a6f73 32414141 43662f2f 3439396b 39353464 364f4c33 346f4c39 46535476 79363473 41000000
    0014000b 6578616d 706c652e 6f726700
    001d0004 00020000
    001c0020 b5c7bf00 5b6c52a2 1c51c5e8 92f81924 136296cb 927c4314 9309278c c6518e65
    """,
)


def test_md5_key_makes_the_sample_request() -> None:
    """RFC 5769 §2.4: the sample request with long-term authentication has the HMAC that our key makes."""
    covered, tag = SAMPLE_LONG_TERM[:-24], SAMPLE_LONG_TERM[-20:]
    assert hmac.digest(long_term_key_md5(MATRIX, REALM, MATRIX_PASSWORD), covered, "sha1") == tag


def test_sha256_key_makes_the_sample_request() -> None:
    """RFC 8489 appendix B.1 as corrected by erratum 6268: the request has the HMAC that our SHA-256 key makes."""
    covered, tag = SAMPLE_SHA256[:-36], SAMPLE_SHA256[-32:]
    assert hmac.digest(long_term_key_sha256(MATRIX, REALM, MATRIX_PASSWORD), covered, "sha256") == tag


def test_user_hash_of_the_sample_request() -> None:
    """RFC 8489 §14.4 and appendix B.1: the USERHASH of the sample request."""
    assert user_hash(MATRIX, REALM) == SAMPLE_USERHASH


def test_keys_by_openssl() -> None:
    """RFC 8489 §18.5.1: both keys as ``printf alice:example.org:pass | openssl md5`` and ``sha256`` give them."""
    keys = long_term_keys("alice", REALM, "pass")
    assert keys[MD5] == long_term_key_md5("alice", REALM, "pass") == bytes.fromhex("14f5d36e9e37e3ebd10d4d1e206eb349")
    assert keys[SHA256] == long_term_key_sha256("alice", REALM, "pass")
    assert keys[SHA256] == bytes.fromhex("81af2a18357c09d8ca4a8ecd4dde564192121cec2e97b9dec1669e42f8787bc4")
    assert set(keys) == {1, 2}


def test_example_of_the_rfc() -> None:
    """RFC 8489 §9.2.2: user, realm and pass make MD5(user:realm:pass)."""
    assert long_term_key_md5("user", "realm", "pass") == hashlib.md5(b"user:realm:pass").digest()


def test_realm_and_password_are_prepared() -> None:
    """RFC 8489 §9.2.2: realm and password go through OpaqueString, so every spelling makes one key."""
    composed = long_term_key_md5("u", "caf\u00e9", "na\u00efve pass")
    assert long_term_key_md5("u", "cafe\u0301", "nai\u0308ve\u00a0pass") == composed
    assert long_term_key_sha256("u", "cafe\u0301", "nai\u0308ve\u3000pass") == long_term_key_sha256(
        "u", "caf\u00e9", "na\u00efve pass"
    )


def test_username_is_taken_as_sent() -> None:
    """RFC 8489 §9.2.2: the username in the key is the value of USERNAME, byte for byte."""
    assert long_term_key_md5("cafe\u0301", "r", "p") == hashlib.md5("cafe\u0301:r:p".encode()).digest()


def test_user_hash_prepares_the_name() -> None:
    """RFC 8489 §14.4: the hash is over the prepared name and realm."""
    assert user_hash("cafe\u0301", "r\u00a0s") == user_hash("caf\u00e9", "r s")


@pytest.mark.parametrize(
    ("username", "realm", "password"),
    [("u", "", "p"), ("u", "r", ""), ("u", "r\x00", "p"), ("u", "r", "p\n"), ("\ud800", "r", "p")],
)
def test_unusable_texts_are_refused(username: str, realm: str, password: str) -> None:
    """RFC 8265 §4.2: what is not an OpaqueString makes no key, and the error does not repeat the password."""
    for make in (long_term_key_md5, long_term_key_sha256, long_term_keys):
        with pytest.raises(InvalidString):
            make(username, realm, password)


@pytest.mark.parametrize(("username", "realm"), [("", "r"), ("u", ""), ("u\x7f", "r"), ("\udfff", "r")])
def test_unusable_names_have_no_hash(username: str, realm: str) -> None:
    """RFC 8489 §14.4: a name that OpaqueString refuses has no USERHASH."""
    with pytest.raises(InvalidString):
        user_hash(username, realm)


@pytest.mark.parametrize("digits", ["", "0x" + "a" * 32, "a" * 31, "g" * 32, "a" * 48, " " + "a" * 32, "\u0661" * 32])
def test_what_is_no_key(digits: str) -> None:
    """A stored key has 32 or 64 hexadecimal digits; what has not is refused, and not repeated."""
    with pytest.raises(ValueError, match="32 or 64") as caught:
        key_from_hex(digits)
    assert not digits or digits not in str(caught.value)


def test_stored_keys() -> None:
    """RFC 8489 §18.5.1: the length says which algorithm it is of."""
    assert key_from_hex("0A" * 16) == {MD5: b"\n" * 16}
    assert key_from_hex("0a" * 32) == {SHA256: b"\n" * 32}
