# SPDX-License-Identifier: GPL-2.0-or-later
"""Attributes of RFC 8656 (TURN), RFC 6062 (its TCP relays), RFC 8016 (mobility), and RFC 7635 (access tokens)."""

from scapy.fields import (
    BitField,
    ByteEnumField,
    FieldLenField,
    IntField,
    StrLenField,
    XBitField,
    XByteField,
    XIntField,
    XShortField,
    XStrFixedLenField,
)

from scapy_turn.attribute import (
    AddressAttribute,
    BlobAttribute,
    CodeAttribute,
    StunAttribute,
    TextAttribute,
    rest,
    tlv,
    xor_address_fields,
)
from scapy_turn.fields import (
    CodeField,
    SpareBitsField,
)
from scapy_turn.registry import ADDRESS_FAMILIES, TRANSPORTS

__all__ = [
    "StunAccessToken",
    "StunAdditionalAddressFamily",
    "StunAddressErrorCode",
    "StunChannelNumber",
    "StunConnectionId",
    "StunData",
    "StunDontFragment",
    "StunEvenPort",
    "StunIcmp",
    "StunLifetime",
    "StunMobilityTicket",
    "StunRequestedAddressFamily",
    "StunRequestedTransport",
    "StunReservationToken",
    "StunThirdPartyAuthorization",
    "StunXorPeerAddress",
    "StunXorRelayedAddress",
]


class StunChannelNumber(StunAttribute):
    """RFC 8656 §18.1."""

    name = "CHANNEL-NUMBER"
    attribute_type = 0x000C
    sizes = (4,)
    fields_desc = tlv(0x000C, XShortField("number", 0x4000), XShortField("rffu", 0))


class StunLifetime(StunAttribute):
    """RFC 8656 §18.2: seconds."""

    name = "LIFETIME"
    attribute_type = 0x000D
    sizes = (4,)
    fields_desc = tlv(0x000D, IntField("lifetime", 600))


class StunXorPeerAddress(AddressAttribute):
    """RFC 8656 §18.3."""

    name = "XOR-PEER-ADDRESS"
    attribute_type = 0x0012
    fields_desc = xor_address_fields(0x0012)


class StunData(BlobAttribute):
    """RFC 8656 §18.4: what a peer has sent, or is sent."""

    name = "DATA"
    attribute_type = 0x0013
    fields_desc = tlv(0x0013, rest("data"))


class StunXorRelayedAddress(AddressAttribute):
    """RFC 8656 §18.5."""

    name = "XOR-RELAYED-ADDRESS"
    attribute_type = 0x0016
    fields_desc = xor_address_fields(0x0016)


class StunRequestedAddressFamily(StunAttribute):
    """RFC 8656 §18.6."""

    name = "REQUESTED-ADDRESS-FAMILY"
    attribute_type = 0x0017
    sizes = (4,)
    fields_desc = tlv(0x0017, ByteEnumField("family", 1, ADDRESS_FAMILIES), XBitField("rffu", 0, 24))


class StunEvenPort(StunAttribute):
    """RFC 8656 §18.7; ``reserve`` asks to hold the next port."""

    name = "EVEN-PORT"
    attribute_type = 0x0018
    sizes = (1,)
    fields_desc = tlv(0x0018, BitField("reserve", 0, 1), XBitField("rffu", 0, 7))


class StunRequestedTransport(StunAttribute):
    """RFC 8656 §18.8."""

    name = "REQUESTED-TRANSPORT"
    attribute_type = 0x0019
    sizes = (4,)
    fields_desc = tlv(0x0019, ByteEnumField("protocol", 17, TRANSPORTS), XBitField("rffu", 0, 24))


class StunDontFragment(StunAttribute):
    """RFC 8656 §18.9."""

    name = "DONT-FRAGMENT"
    attribute_type = 0x001A
    sizes = (0,)
    fields_desc = tlv(0x001A)


class StunAccessToken(BlobAttribute):
    """RFC 7635 §6.2."""

    name = "ACCESS-TOKEN"
    attribute_type = 0x001B
    fields_desc = tlv(
        0x001B,
        FieldLenField("nonce_length", None, length_of="nonce"),
        StrLenField("nonce", b"", length_from=lambda pkt: pkt.nonce_length),
        StrLenField("encrypted_block", b"", length_from=lambda pkt: (pkt.length or 0) - 2 - pkt.nonce_length),
    )

    @classmethod
    def is_valid(cls, value: bytes) -> bool:
        """The nonce has to end within the value."""
        return len(value) >= 2 and 2 + int.from_bytes(value[:2], "big") <= len(value)

    def told(self) -> str:
        """How long the token is."""
        return f"{len(self.encrypted_block)} bytes encrypted"


class StunReservationToken(StunAttribute):
    """RFC 8656 §18.10."""

    name = "RESERVATION-TOKEN"
    attribute_type = 0x0022
    sizes = (8,)
    fields_desc = tlv(0x0022, XStrFixedLenField("token", bytes(8), 8))


class StunConnectionId(StunAttribute):
    """RFC 6062 §6.2.1."""

    name = "CONNECTION-ID"
    attribute_type = 0x002A
    sizes = (4,)
    fields_desc = tlv(0x002A, XIntField("connection_id", 0))


class StunAdditionalAddressFamily(StunAttribute):
    """RFC 8656 §18.11."""

    name = "ADDITIONAL-ADDRESS-FAMILY"
    attribute_type = 0x8000
    sizes = (4,)
    fields_desc = tlv(0x8000, ByteEnumField("family", 2, ADDRESS_FAMILIES), XBitField("rffu", 0, 24))


class StunAddressErrorCode(CodeAttribute):
    """RFC 8656 §18.12: why there is no second address."""

    name = "ADDRESS-ERROR-CODE"
    attribute_type = 0x8001
    fields_desc = tlv(
        0x8001,
        ByteEnumField("family", 2, ADDRESS_FAMILIES),
        XByteField("rffu", 0),
        SpareBitsField(),
        CodeField(440),
        rest("reason", 4),
    )


class StunIcmp(StunAttribute):
    """RFC 8656 §18.13: an error from a peer, in a Data indication."""

    name = "ICMP"
    attribute_type = 0x8004
    sizes = (8,)
    fields_desc = tlv(
        0x8004,
        XShortField("rffu", 0),
        BitField("icmp_type", 3, 7),
        BitField("icmp_code", 3, 9),
        XIntField("icmp_data", 0),
    )


class StunThirdPartyAuthorization(TextAttribute):
    """RFC 7635 §6.1."""

    name = "THIRD-PARTY-AUTHORIZATION"
    attribute_type = 0x802E
    fields_desc = tlv(0x802E, rest("server"))


class StunMobilityTicket(BlobAttribute):
    """RFC 8016 §4.1."""

    name = "MOBILITY-TICKET"
    attribute_type = 0x8030
    fields_desc = tlv(0x8030, rest("ticket"))
