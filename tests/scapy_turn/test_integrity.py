"""Signing and checking: the vectors of the RFCs, every kind of key, and every byte changed."""

import pytest

from scapy_turn import (
    Credential,
    StunErrorCode,
    StunFingerprint,
    StunLifetime,
    StunMessage,
    StunMessageIntegrity,
    StunMessageIntegritySha256,
    StunNonce,
    StunPasswordAlgorithm,
    StunPasswordAlgorithms,
    StunRealm,
    StunUserhash,
    StunUsername,
    long_term_key,
    sign,
    verify,
)
from scapy_turn.integrity import Seals
from tests.stun import test_vectors as vectors


@pytest.mark.parametrize("data", [vectors.REQUEST, vectors.RESPONSE_IPV4, vectors.RESPONSE_IPV6])
def test_the_vectors_of_rfc_5769(data: bytes) -> None:
    """They are right, and building them again from their parts computes the same values."""
    message = StunMessage(data)
    key = vectors.SHORT_TERM_PASSWORD
    assert verify(message, key) == Seals(sha1=True, fingerprint=True)
    assert verify(message, key).ok
    message.clear_cache()
    message.attribute(StunMessageIntegrity).hmac = None
    message.attribute(StunMessageIntegrity).key = key
    message.attribute(StunFingerprint).crc = None
    assert bytes(message) == data


def test_the_long_term_vector() -> None:
    user = "\u30de\u30c8\u30ea\u30c3\u30af\u30b9"
    assert verify(StunMessage(vectors.LONG_TERM), long_term_key(user, "example.org", "TheMatrIX")).ok


@pytest.mark.parametrize("sha256", [False, True])
@pytest.mark.parametrize("fingerprint", [False, True])
def test_signing(sha256: bool, fingerprint: bool) -> None:
    """Right for the key, wrong for another, and wrong after any change of a byte that counts."""
    message = StunMessage(method="Refresh", attributes=[StunLifetime(), StunNonce(nonce=b"n")])
    data = bytes(sign(message, b"key", sha256=sha256, fingerprint=fingerprint))
    seals = verify(StunMessage(data), b"key")
    assert seals == Seals(None if sha256 else True, sha256 or None, fingerprint or None)
    assert not verify(StunMessage(data), b"other").ok
    assert verify(StunMessage(data)) == Seals(fingerprint=fingerprint or None), "without a key"
    for place in (0, 4, 10, 24, 37, len(data) - 1):
        changed = bytearray(data)
        changed[place] ^= 1
        assert not verify(StunMessage(bytes(changed)), b"key").ok, place
    assert bytes(sign(StunMessage(data), b"key", sha256=sha256, fingerprint=fingerprint)) == data, "signed again"
    assert message.attributes[-1].name == "NONCE", "the one that was signed is as it was"


@pytest.mark.parametrize("size", [16, 20, 24, 28, 32])
def test_truncated_sha256(size: int) -> None:
    """RFC 8489 §14.6."""
    data = bytes(StunMessage(attributes=[StunMessageIntegritySha256(key=b"key", length=size)]))
    assert len(data) == 20 + 4 + size
    assert verify(StunMessage(data), b"key") == Seals(sha256=True)


def test_what_follows_the_integrity_does_not_count() -> None:
    """RFC 8489 §14.5, §14.6, §14.7: only the stronger one and a FINGERPRINT at the very end."""
    both = [StunMessageIntegrity(key=b"a"), StunMessageIntegritySha256(key=b"a"), StunFingerprint()]
    assert verify(StunMessage(bytes(StunMessage(attributes=both))), b"a") == Seals(True, True, True)
    swapped = [StunMessageIntegritySha256(key=b"a"), StunMessageIntegrity(key=b"b")]
    assert verify(StunMessage(bytes(StunMessage(attributes=swapped))), b"a") == Seals(None, True)
    early = [StunFingerprint(), StunNonce()]
    assert verify(StunMessage(bytes(StunMessage(attributes=early)))) == Seals(fingerprint=False)
    twice = [StunMessageIntegrity(key=b"a"), StunMessageIntegrity(key=b"b")]
    assert verify(StunMessage(bytes(StunMessage(attributes=twice))), b"a") == Seals(True)
    assert verify(StunMessage(bytes(StunMessage())), b"a") == Seals()
    assert not Seals().ok


@pytest.mark.parametrize("prefer", [False, True])
def test_the_long_term_mechanism(prefer: bool) -> None:
    """RFC 8489 §9.2: what a 401 asks for is what the next request has."""
    credential = Credential("alice", "secret", prefer_sha256=prefer)
    assert credential.request("Allocate").attributes == []
    offer = [StunErrorCode(code=401), StunRealm(realm=b"r"), StunNonce(nonce=b"n"), StunPasswordAlgorithms()]
    refusal = StunMessage(bytes(StunMessage(method="Allocate", msgclass="error", attributes=offer)))
    assert credential.learn(refusal)
    assert credential.sha256 is prefer
    request = StunMessage(bytes(credential.request("Allocate", StunLifetime())))
    assert verify(request, long_term_key("alice", "r", "secret", 2 if prefer else 1)).ok
    assert request.attribute(StunPasswordAlgorithm).algorithm == (2 if prefer else 1)
    assert (request.attribute(StunUsername).username, request.attribute(StunNonce).nonce) == (b"alice", b"n")
    assert not credential.learn(StunMessage(msgclass="error", attributes=[StunErrorCode(code=400)]))


def test_anonymous_users() -> None:
    """RFC 8489 §9.2.3: USERHASH in the place of USERNAME."""
    credential = Credential("alice", "secret", realm=b"r", nonce=b"n", anonymous=True)
    request = credential.request("Allocate")
    assert request.attribute(StunUsername) is None
    assert len(request.attribute(StunUserhash).userhash) == 32
    assert request.attribute(StunPasswordAlgorithm) is None, "the server has offered none"
