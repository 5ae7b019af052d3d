# SPDX-License-Identifier: GPL-2.0-or-later
"""Attributes of RFC 8489 (STUN), RFC 3489 (its first version), RFC 5780 (NAT discovery), and RFC 8445 (ICE)."""

import struct

from scapy.fields import (
    BitField,
    FieldLenField,
    FieldListField,
    IntField,
    ShortEnumField,
    ShortField,
    XBitField,
    XIntField,
    XLongField,
    XShortField,
    XStrFixedLenField,
)
from scapy.packet import Packet

from scapy_turn.attribute import (
    AddressAttribute,
    BlobAttribute,
    CodeAttribute,
    StunAttribute,
    TextAttribute,
    address_fields,
    rest,
    sealed,
    tlv,
    xor_address_fields,
)
from scapy_turn.digests import crc, hmac_sha1, hmac_sha256
from scapy_turn.fields import (
    AlgorithmsField,
    CodeField,
    KeyField,
    SpareBitsField,
    SpareBytesField,
    algorithm_numbers,
)
from scapy_turn.registry import ALGORITHMS, ATTRIBUTES

__all__ = [
    "ALGORITHM_LIST",
    "StunAlternateDomain",
    "StunAlternateServer",
    "StunChangeRequest",
    "StunChangedAddress",
    "StunErrorCode",
    "StunFingerprint",
    "StunIceControlled",
    "StunIceControlling",
    "StunMappedAddress",
    "StunMessageIntegrity",
    "StunMessageIntegritySha256",
    "StunNonce",
    "StunOtherAddress",
    "StunPadding",
    "StunPassword",
    "StunPasswordAlgorithm",
    "StunPasswordAlgorithms",
    "StunPriority",
    "StunRealm",
    "StunReflectedFrom",
    "StunResponseAddress",
    "StunResponseOrigin",
    "StunResponsePort",
    "StunSoftware",
    "StunSourceAddress",
    "StunUnknownAttributes",
    "StunUseCandidate",
    "StunUserhash",
    "StunUsername",
    "StunXorMappedAddress",
]

ALGORITHM_LIST = struct.pack("!HHHH", 2, 0, 1, 0)
"""PASSWORD-ALGORITHMS of a server that prefers SHA-256 and still offers MD5."""


def _sha256_length(pkt: Packet) -> int:
    return 32 if pkt.length is None else int(pkt.length)


class StunMappedAddress(AddressAttribute):
    """RFC 8489 §14.1."""

    name = "MAPPED-ADDRESS"
    attribute_type = 0x0001
    fields_desc = address_fields(0x0001)


class StunResponseAddress(AddressAttribute):
    """RFC 3489 §11.2.2; servers must not obey it."""

    name = "RESPONSE-ADDRESS"
    attribute_type = 0x0002
    fields_desc = address_fields(0x0002)


class StunChangeRequest(StunAttribute):
    """RFC 5780 §7.2: answer from the other address, the other port."""

    name = "CHANGE-REQUEST"
    attribute_type = 0x0003
    sizes = (4,)
    fields_desc = tlv(
        0x0003,
        XBitField("rffu", 0, 29),
        BitField("change_ip", 0, 1),
        BitField("change_port", 0, 1),
        BitField("rffu_low", 0, 1),
    )


class StunSourceAddress(AddressAttribute):
    """RFC 3489 §11.2.5."""

    name = "SOURCE-ADDRESS"
    attribute_type = 0x0004
    fields_desc = address_fields(0x0004)


class StunChangedAddress(AddressAttribute):
    """RFC 3489 §11.2.3."""

    name = "CHANGED-ADDRESS"
    attribute_type = 0x0005
    fields_desc = address_fields(0x0005)


class StunUsername(TextAttribute):
    """RFC 8489 §14.3."""

    name = "USERNAME"
    attribute_type = 0x0006
    fields_desc = tlv(0x0006, rest("username"))


class StunPassword(BlobAttribute):
    """RFC 3489 §11.2.7: in answers to Shared Secret requests."""

    name = "PASSWORD"
    attribute_type = 0x0007
    fields_desc = tlv(0x0007, rest("password"))


class StunMessageIntegrity(StunAttribute):
    """RFC 8489 §14.5. With ``hmac=None`` it is computed from ``key`` when the message is built."""

    name = "MESSAGE-INTEGRITY"
    attribute_type = 0x0008
    fields_desc = tlv(0x0008, XStrFixedLenField("hmac", None, 20), KeyField())

    sizes = (20,)

    def seal(self, message: bytes) -> bytes:
        """The whole attribute, behind these bytes of a message whose length already counts it."""
        digest = hmac_sha1(self.key, message) if self.key is not None else None
        return sealed(self, "hmac", digest)

    def told(self) -> str:
        """Nothing: it is of no use to a reader."""
        return ""


class StunErrorCode(CodeAttribute):
    """RFC 8489 §14.8."""

    name = "ERROR-CODE"
    attribute_type = 0x0009
    fields_desc = tlv(0x0009, XBitField("rffu", 0, 16), SpareBitsField(), CodeField(), rest("reason", 4))

    def told(self) -> str:
        """The code and the phrase that came with it."""
        return f"{self.code} {ascii(bytes(self.reason).decode('utf-8', 'replace')[:60])[1:-1]}".rstrip()


class StunUnknownAttributes(StunAttribute):
    """RFC 8489 §14.9: what a 420 is about."""

    name = "UNKNOWN-ATTRIBUTES"
    attribute_type = 0x000A
    fields_desc = tlv(0x000A, FieldListField("types", [], XShortField("", 0), length_from=lambda pkt: pkt.length or 0))

    @classmethod
    def is_valid(cls, value: bytes) -> bool:
        """Two bytes for each type, and no more of them than scapy puts into a list."""
        return len(value) % 2 == 0 and len(value) <= 128

    def told(self) -> str:
        """Their names."""
        return ",".join(ATTRIBUTES.get(code, f"0x{code:04x}") for code in self.types)


class StunReflectedFrom(AddressAttribute):
    """RFC 3489 §11.2.11."""

    name = "REFLECTED-FROM"
    attribute_type = 0x000B
    fields_desc = address_fields(0x000B)


class StunRealm(TextAttribute):
    """RFC 8489 §14.9."""

    name = "REALM"
    attribute_type = 0x0014
    fields_desc = tlv(0x0014, rest("realm"))


class StunNonce(TextAttribute):
    """RFC 8489 §14.10."""

    name = "NONCE"
    attribute_type = 0x0015
    fields_desc = tlv(0x0015, rest("nonce"))


class StunMessageIntegritySha256(StunAttribute):
    """RFC 8489 §14.6. With ``hmac=None`` it is computed from ``key``; ``length`` can cut it (16, 20, 24, 28)."""

    name = "MESSAGE-INTEGRITY-SHA256"
    attribute_type = 0x001C
    fields_desc = tlv(0x001C, XStrFixedLenField("hmac", None, length_from=_sha256_length), KeyField())

    sizes = range(16, 33, 4)

    def seal(self, message: bytes) -> bytes:
        """The whole attribute, behind these bytes of a message whose length already counts it."""
        digest = hmac_sha256(self.key, message, _sha256_length(self)) if self.key is not None else None
        return sealed(self, "hmac", digest)

    def told(self) -> str:
        """Nothing: it is of no use to a reader."""
        return ""


class StunPasswordAlgorithm(StunAttribute):
    """RFC 8489 §14.12."""

    name = "PASSWORD-ALGORITHM"
    attribute_type = 0x001D
    fields_desc = tlv(
        0x001D,
        ShortEnumField("algorithm", 2, ALGORITHMS),
        FieldLenField("parameters_length", None, length_of="parameters"),
        rest("parameters", 4),
    )

    @classmethod
    def is_valid(cls, value: bytes) -> bool:
        """The parameters are what remains."""
        return len(value) >= 4

    def told(self) -> str:
        """Its name."""
        return ALGORITHMS.get(self.algorithm, str(self.algorithm))


class StunUserhash(BlobAttribute):
    """RFC 8489 §14.4."""

    name = "USERHASH"
    attribute_type = 0x001E
    sizes = (32,)
    fields_desc = tlv(0x001E, XStrFixedLenField("userhash", bytes(32), 32))


class StunXorMappedAddress(AddressAttribute):
    """RFC 8489 §14.2."""

    name = "XOR-MAPPED-ADDRESS"
    attribute_type = 0x0020
    fields_desc = xor_address_fields(0x0020)


class StunPriority(StunAttribute):
    """RFC 8445 §16.1."""

    name = "PRIORITY"
    attribute_type = 0x0024
    sizes = (4,)
    fields_desc = tlv(0x0024, IntField("priority", 0))


class StunUseCandidate(StunAttribute):
    """RFC 8445 §16.1."""

    name = "USE-CANDIDATE"
    attribute_type = 0x0025
    sizes = (0,)
    fields_desc = tlv(0x0025)


class StunPadding(BlobAttribute):
    """RFC 5780 §7.6."""

    name = "PADDING"
    attribute_type = 0x0026
    fields_desc = tlv(0x0026, rest("bytes"))


class StunResponsePort(StunAttribute):
    """RFC 5780 §7.5. Two bytes; some programs send four."""

    name = "RESPONSE-PORT"
    attribute_type = 0x0027
    sizes = (2, 4)
    fields_desc = tlv(0x0027, ShortField("port", 0), SpareBytesField(2))


class StunPasswordAlgorithms(StunAttribute):
    """RFC 8489 §14.11. ``value`` is bytes, or a list of numbers; ``algorithms`` has its numbers. Both by default."""

    name = "PASSWORD-ALGORITHMS"
    attribute_type = 0x8002
    fields_desc = tlv(0x8002, AlgorithmsField(ALGORITHM_LIST))

    @property
    def algorithms(self) -> list[int]:
        """The algorithms' numbers in the order of the server's preference, up to the first part that is cut off."""
        return algorithm_numbers(bytes(self.value))

    def told(self) -> str:
        """Their names."""
        return ",".join(ALGORITHMS.get(number, str(number)) for number in self.algorithms[:8])


class StunAlternateDomain(TextAttribute):
    """RFC 8489 §14.16."""

    name = "ALTERNATE-DOMAIN"
    attribute_type = 0x8003
    fields_desc = tlv(0x8003, rest("domain"))


class StunSoftware(TextAttribute):
    """RFC 8489 §14.14."""

    name = "SOFTWARE"
    attribute_type = 0x8022
    fields_desc = tlv(0x8022, rest("software"))


class StunAlternateServer(AddressAttribute):
    """RFC 8489 §14.15."""

    name = "ALTERNATE-SERVER"
    attribute_type = 0x8023
    fields_desc = address_fields(0x8023)


class StunFingerprint(StunAttribute):
    """RFC 8489 §14.7. With ``crc=None`` it is computed when the message is built."""

    name = "FINGERPRINT"
    attribute_type = 0x8028
    fields_desc = tlv(0x8028, XIntField("crc", None))

    sizes = (4,)

    def seal(self, message: bytes) -> bytes:
        """The whole attribute, behind these bytes of a message whose length already counts it."""
        return sealed(self, "crc", crc(message))

    def told(self) -> str:
        """Nothing: it is of no use to a reader."""
        return ""


class StunIceControlled(StunAttribute):
    """RFC 8445 §16.1."""

    name = "ICE-CONTROLLED"
    attribute_type = 0x8029
    sizes = (8,)
    fields_desc = tlv(0x8029, XLongField("tie_breaker", 0))


class StunIceControlling(StunAttribute):
    """RFC 8445 §16.1."""

    name = "ICE-CONTROLLING"
    attribute_type = 0x802A
    sizes = (8,)
    fields_desc = tlv(0x802A, XLongField("tie_breaker", 0))


class StunResponseOrigin(AddressAttribute):
    """RFC 5780 §7.3."""

    name = "RESPONSE-ORIGIN"
    attribute_type = 0x802B
    fields_desc = address_fields(0x802B)


class StunOtherAddress(AddressAttribute):
    """RFC 5780 §7.4."""

    name = "OTHER-ADDRESS"
    attribute_type = 0x802C
    fields_desc = address_fields(0x802C)
