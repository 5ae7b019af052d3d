"""Keys, and what is computed with them, by the vectors of RFC 5769 and RFC 8489 appendix B."""

import pytest

from scapy_turn.digests import adjusted, crc, hmac_sha1, hmac_sha256, long_term_key, opaque, short_term_key, userhash
from tests.stun import test_vectors as vectors

USER = "\u30de\u30c8\u30ea\u30c3\u30af\u30b9"
"""The user of RFC 5769 §2.4."""


def test_keys() -> None:
    assert long_term_key("user", "realm", "pass").hex() == "8493fbc53ba582fb4c044c456bdc40eb", "RFC 5389 §15.4"
    assert long_term_key("user", "realm", "pass", 2) != long_term_key("user", "realm", "pass")
    assert len(long_term_key("user", "realm", "pass", 2)) == 32
    with pytest.raises(ValueError, match="no password algorithm 3"):
        long_term_key("user", "realm", "pass", 3)


def test_opaque_strings() -> None:
    """RFC 8265 §4.2: one kind of space, composed characters, case kept; bytes are left alone."""
    assert opaque("A\u3000b\u00a0c e\u0301") == "A b c \u00e9".encode()
    assert opaque(b"e\xcc\x81") == b"e\xcc\x81"
    assert short_term_key("pass word") == b"pass word"


def test_userhash() -> None:
    """RFC 8489 appendix B.1."""
    assert userhash(USER, "example.org").hex() == vectors.USERHASH_REQUEST[24:56].hex()


def test_the_vectors() -> None:
    request = vectors.REQUEST
    assert hmac_sha1(vectors.SHORT_TERM_PASSWORD, request[:-32]) == request[-28:-8]
    assert crc(request[:-8]) == int.from_bytes(request[-4:], "big")
    assert adjusted(request[:-32], len(request) - 8)[2:4] == b"\x00\x50"
    last = vectors.USERHASH_REQUEST
    key = long_term_key(USER, "example.org", "TheMatrIX", 2)
    assert hmac_sha256(long_term_key(USER, "example.org", "TheMatrIX"), last[:-36]) == last[-32:] or (
        hmac_sha256(key, last[:-36]) == last[-32:]
    )
    assert hmac_sha256(key, last[:-36], 16) != hmac_sha256(key, last[:-36])[:16], "the length is hashed, too"
