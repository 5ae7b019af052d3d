"""The two HMACs, against the test cases of RFC 2202 and RFC 4231."""

from stun.digest import INTEGRITY_LENGTH, SHA256_LENGTH, integrity_sha1, integrity_sha256


def test_hmac_sha1() -> None:
    """RFC 2202 §3, test case 2."""
    digest = integrity_sha1(b"what do ya want for nothing?", b"Jefe")
    assert digest.hex() == "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79"
    assert len(digest) == INTEGRITY_LENGTH


def test_hmac_sha256() -> None:
    """RFC 4231 §4.3, test case 2."""
    digest = integrity_sha256(b"what do ya want for nothing?", b"Jefe")
    assert digest.hex() == "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
    assert len(digest) == SHA256_LENGTH
