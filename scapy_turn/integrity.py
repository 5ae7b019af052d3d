# SPDX-License-Identifier: GPL-2.0-or-later
"""Signing messages, and checking what others have signed."""

import hmac
from dataclasses import dataclass
from typing import Any

from scapy.packet import Packet

from scapy_turn.digests import crc, hmac_sha1, hmac_sha256, long_term_key, opaque, userhash
from scapy_turn.message import StunMessage
from scapy_turn.registry import HEADER_LENGTH
from scapy_turn.stun_attributes import (
    StunFingerprint,
    StunMessageIntegrity,
    StunMessageIntegritySha256,
    StunNonce,
    StunPasswordAlgorithm,
    StunPasswordAlgorithms,
    StunRealm,
    StunUserhash,
    StunUsername,
)

__all__ = ["Credential", "Seals", "sign", "verify"]


@dataclass(frozen=True)
class Seals:
    """What `verify` has found. True is right, False is wrong, None is absent."""

    sha1: bool | None = None
    sha256: bool | None = None
    fingerprint: bool | None = None

    @property
    def ok(self) -> bool:
        """There is an integrity attribute, and nothing is wrong."""
        found = (self.sha1, self.sha256, self.fingerprint)
        return False not in found and (self.sha1 or self.sha256) is True


def verify(message: Packet, key: bytes | None = None) -> Seals:
    """Check the integrity attributes of a received message with a key, and its FINGERPRINT.

    Without a key only the fingerprint is checked. What comes behind MESSAGE-INTEGRITY counts only if it is
    MESSAGE-INTEGRITY-SHA256 or FINGERPRINT, behind that only FINGERPRINT (RFC 8489 §14.5, §14.6); FINGERPRINT counts
    only as the last attribute (§14.7).
    """
    layer = message.getlayer(StunMessage)
    if layer is None:
        return Seals()
    data = bytes(layer)[: HEADER_LENGTH + (layer.length or 0xFFFF)]
    found: dict[str, bool] = {}
    at = HEADER_LENGTH
    while at + 4 <= len(data):
        code, size = int.from_bytes(data[at : at + 2], "big"), int.from_bytes(data[at + 2 : at + 4], "big")
        value, before = data[at + 4 : at + 4 + size], data[:at]
        at += 4 + size + -size % 4
        if code == 0x8028:
            found["fingerprint"] = at == len(data) and size == 4 and value == crc(before).to_bytes(4, "big")
            break
        if key is None or "sha256" in found:
            continue
        if code == 0x0008 and "sha1" not in found:
            found["sha1"] = hmac.compare_digest(value, hmac_sha1(key, before))
        elif code == 0x001C:
            right = size in range(16, 33, 4) and hmac.compare_digest(value, hmac_sha256(key, before, size))
            found["sha256"] = right
    return Seals(**found)


def sign(message: StunMessage, key: bytes, *, sha256: bool = False, fingerprint: bool = True) -> StunMessage:
    """A copy with integrity by this key, and FINGERPRINT, in the place of those that the message has."""
    signed = message.copy()
    seals = (StunMessageIntegrity, StunMessageIntegritySha256, StunFingerprint)
    kept = [part for part in signed.attributes if not isinstance(part, seals)]
    kept.append((StunMessageIntegritySha256 if sha256 else StunMessageIntegrity)(key=key))
    if fingerprint:
        kept.append(StunFingerprint())
    signed.clear_cache()
    signed.fields["length"] = None
    signed.attributes = kept
    return signed


@dataclass
class Credential:
    """A user's name and password, and what a server has asked for: the long-term mechanism (RFC 8489 §9.2).

    ``prefer_sha256`` takes SHA-256 where the server offers it.
    """

    username: str
    password: str
    realm: bytes | None = None
    nonce: bytes | None = None
    algorithms: bytes | None = None
    prefer_sha256: bool = True
    anonymous: bool = False

    def learn(self, response: StunMessage) -> bool:
        """Take realm, nonce and algorithms from a 401 or 438; False if there is no nonce to go on with."""
        realm, nonce = response.attribute(StunRealm), response.attribute(StunNonce)
        offered = response.attribute(StunPasswordAlgorithms)
        if nonce is None or (realm is None and self.realm is None):
            return False
        self.nonce = bytes(nonce.nonce)
        if realm is not None:
            self.realm = bytes(realm.realm)
        self.algorithms = None if offered is None else bytes(offered.value)
        return True

    @property
    def sha256(self) -> bool:
        """Whether SHA-256 is used: the server offers it, and it is preferred."""
        if self.algorithms is None or not self.prefer_sha256:
            return False
        return 2 in StunPasswordAlgorithms(value=self.algorithms).algorithms

    @property
    def key(self) -> bytes:
        """The key for the algorithm in use."""
        return long_term_key(self.username, self.realm or b"", self.password, 2 if self.sha256 else 1)

    def attributes(self) -> list[Any]:
        """What has to be in a request besides its own attributes, before the integrity; nothing without a nonce."""
        if self.nonce is None or self.realm is None:
            return []
        name: Packet = StunUsername(username=opaque(self.username))
        if self.anonymous:
            name = StunUserhash(userhash=userhash(self.username, self.realm))
        found: list[Any] = [name, StunRealm(realm=self.realm), StunNonce(nonce=self.nonce)]
        if self.algorithms is not None:
            found.append(StunPasswordAlgorithms(value=self.algorithms))
            found.append(StunPasswordAlgorithm(algorithm=2 if self.sha256 else 1))
        return found

    def request(self, method: str | int, *attributes: Packet) -> StunMessage:
        """A request of this user; not authenticated before a server has sent a nonce."""
        own = self.attributes()
        message = StunMessage(method=method, attributes=[*(part.copy() for part in attributes), *own])
        return sign(message, self.key, sha256=self.sha256) if own else message
