"""Stateless nonces with the nonce cookie of RFC 8489 §9.2.

A nonce is ``obMatJos2``, four base64 characters of security features, and nineteen of our own: 18 bits (time and a
little entropy) and a 96-bit HMAC-SHA256. The HMAC covers the full time of issue and the client, but the nonce carries
only the low 14 bits of the time: the checker restores the rest from its own clock. A nonce is thus only 32 bytes; it is
sent to unauthenticated addresses, and every byte adds to reflection. Nothing is stored, and any process that has the
key can check it.
"""

import hashlib
import hmac
from base64 import b64decode, b64encode
from collections.abc import Sequence
from enum import Enum, IntFlag

__all__ = ["MAX_LIFETIME", "NONCE_COOKIE", "NonceIssuer", "NonceStatus", "SecurityFeatures", "nonce_features"]

NONCE_COOKIE = b"obMatJos2"
"""What a nonce starts with when its next four characters are security features (RFC 8489 §9.2)."""

MAX_LIFETIME = 3600.0
"""The longest lifetime of a nonce, in seconds."""

_FEATURES_END = len(NONCE_COOKIE) + 4
_HEAD_END = _FEATURES_END + 3
_LENGTH = _HEAD_END + 16

_TAG_LENGTH = 12  # 96 bits: guessing is hopeless within any lifetime, and twelve bytes are sixteen base64 characters
_TIME_BITS = 14  # 16384 seconds: well past the longest lifetime, so that an expired nonce is still known as ours
_ENTROPY_BITS = 4
_SKEW = 60  # seconds that the clock of another worker or node may be ahead, or ours may be set back
_MIN_KEY_LENGTH = 16
_LABEL = b"meshturn nonce 1\x00"


class SecurityFeatures(IntFlag):
    """The 24 flags of RFC 8489 §18.1; bit 0 is the leftmost, that is the most significant."""

    NONE = 0
    PASSWORD_ALGORITHMS = 1 << 23
    USERNAME_ANONYMITY = 1 << 22


class NonceStatus(Enum):
    """The result of checking a nonce."""

    VALID = "valid"
    EXPIRED = "expired"
    """Issued with one of our keys to this client, but too old, or announcing other features than we do now."""
    FOREIGN = "foreign"
    """Anything else: another server's, another client's, older than four and a half hours, or forged."""


class NonceIssuer:
    """Issues and checks nonces, without storing any.

    ``keys`` are secrets of at least 16 bytes, the newest first: the first signs, all are accepted, so that a key can be
    replaced while nonces of the previous one are in use. ``lifetime`` is in seconds, above 0 and up to 3600.
    ``features`` is what the nonces announce (RFC 8489 §9.2.1). Raises ValueError for anything else.
    """

    __slots__ = ("_keys", "_lifetime", "_prefix", "features")

    def __init__(
        self,
        keys: Sequence[bytes],
        lifetime: float = 600.0,
        features: SecurityFeatures = SecurityFeatures.PASSWORD_ALGORITHMS,
    ) -> None:
        if not keys or any(len(key) < _MIN_KEY_LENGTH for key in keys):
            raise ValueError(f"a nonce issuer needs at least one key, and keys of at least {_MIN_KEY_LENGTH} bytes")
        if not 0 < lifetime <= MAX_LIFETIME:
            raise ValueError(f"the lifetime of a nonce is above 0 and at most {MAX_LIFETIME:.0f} seconds")
        self._keys = tuple(bytes(key) for key in keys)
        self._lifetime = lifetime
        self.features = features
        self._prefix = NONCE_COOKIE + b64encode(int(features).to_bytes(3, "big"))

    def announcing(self, features: SecurityFeatures) -> "NonceIssuer":
        """The same issuer with other features: nonces that announce the previous ones count as expired."""
        return NonceIssuer(self._keys, self._lifetime, features)

    def issue(self, client: bytes, wall: float, entropy: bytes) -> bytes:
        """Return a nonce of 32 bytes for a client, issued at ``wall`` (Unix time, seconds).

        ``client`` are bytes that identify the client, such as its address and port (RFC 8489 §9.2.4). Four bits of the
        first byte of ``entropy`` make nonces of one second differ; the HMAC is what makes a nonce hard to guess.
        Raises ValueError if ``entropy`` is empty.
        """
        if not entropy:
            raise ValueError("a nonce needs at least one byte of entropy")
        return _render(self._keys[0], self._prefix, client, int(wall), entropy[0] % (1 << _ENTROPY_BITS))

    def check(self, nonce: bytes, client: bytes, wall: float) -> NonceStatus:
        """Say what ``nonce`` is, coming from a client at ``wall`` (Unix time, seconds).

        Never raises, whatever the bytes; compares in constant time. A nonce is valid from the second it was issued
        until ``lifetime`` seconds later, and up to a minute "before", for clocks that disagree.
        """
        if len(nonce) != _LENGTH or not nonce.startswith(NONCE_COOKIE):
            return NonceStatus.FOREIGN
        try:
            head = int.from_bytes(b64decode(b"A" + nonce[_FEATURES_END:_HEAD_END], validate=True), "big")
        except ValueError:
            return NonceStatus.FOREIGN
        latest = int(wall) + _SKEW
        issued = latest - (latest - (head >> _ENTROPY_BITS)) % (1 << _TIME_BITS)
        entropy = head % (1 << _ENTROPY_BITS)
        prefix = bytes(nonce[:_FEATURES_END])
        # Every key is tried, so that the time taken does not reveal which one matched.
        known = [hmac.compare_digest(_render(key, prefix, client, issued, entropy), nonce) for key in self._keys]
        if not any(known):
            return NonceStatus.FOREIGN
        fresh = int(wall) - issued <= self._lifetime and prefix == self._prefix
        return NonceStatus.VALID if fresh else NonceStatus.EXPIRED


def nonce_features(nonce: bytes) -> SecurityFeatures | None:
    """Return the security features that a nonce announces, or None if it does not start with a nonce cookie (§9.2).

    Flags without a meaning yet are kept. Never raises.
    """
    if not nonce.startswith(NONCE_COOKIE):
        return None
    try:
        flags = b64decode(bytes(nonce[len(NONCE_COOKIE) : _FEATURES_END]), validate=True)
    except ValueError:
        return None
    return SecurityFeatures(int.from_bytes(flags, "big")) if len(flags) == 3 else None


def _render(key: bytes, prefix: bytes, client: bytes, issued: int, entropy: int) -> bytes:
    """Return the nonce of these values. Checking builds it again and compares, so that no other encoding passes."""
    head = (issued % (1 << _TIME_BITS)) << _ENTROPY_BITS | entropy
    covered = b"".join((_LABEL, prefix, issued.to_bytes(9, "big", signed=True), bytes((entropy,)), client))
    tag = hmac.digest(key, covered, hashlib.sha256)[:_TAG_LENGTH]
    # 18 bits are three characters: the first of the four that 24 bits make is always "A".
    return prefix + b64encode(head.to_bytes(3, "big"))[1:] + b64encode(tag)
