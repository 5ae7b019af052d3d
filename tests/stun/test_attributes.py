"""Every attribute: its number, its value both ways, and every value that it cannot have."""

from typing import Any

import pytest

from stun import attributes as a
from stun.address import Address
from stun.attributes import (
    AddressErrorValue,
    AlgorithmValue,
    AttributeType,
    ErrorValue,
    IcmpValue,
    TransmitCounterValue,
)
from stun.errors import EncodeError, MalformedMessage

TRANSACTION = bytes(range(12))
ADDRESS = Address.parse("192.0.2.7", 3478)
ADDRESS6 = Address.parse("2001:db8::7", 3478)

ROUND_TRIPS: list[tuple[AttributeType[Any], Any, str]] = [
    (a.MAPPED_ADDRESS, ADDRESS, "00010d96c0000207"),
    (a.MAPPED_ADDRESS, ADDRESS6, "00020d9620010db8000000000000000000000007"),
    (a.CHANGE_REQUEST, 6, "00000006"),
    (a.RESPONSE_ADDRESS, ADDRESS, "00010d96c0000207"),
    (a.SOURCE_ADDRESS, ADDRESS, "00010d96c0000207"),
    (a.CHANGED_ADDRESS, ADDRESS, "00010d96c0000207"),
    (a.USERNAME, "zoë", "7a6fc3ab"),
    (a.MESSAGE_INTEGRITY, bytes(20), "00" * 20),
    (a.ERROR_CODE, ErrorValue(438, "Stale Nonce"), "000004265374616c65204e6f6e6365"),
    (a.ERROR_CODE, ErrorValue(300, ""), "00000300"),
    (a.UNKNOWN_ATTRIBUTES, (0x7FFE, 3), "7ffe0003"),
    (a.UNKNOWN_ATTRIBUTES, (), ""),
    (a.CHANNEL_NUMBER, 0x4001, "40010000"),
    (a.LIFETIME, 3600, "00000e10"),
    (a.XOR_PEER_ADDRESS, ADDRESS, "00012c84e112a645"),
    (a.DATA, b"", ""),
    (a.DATA, b"abc", "616263"),
    (a.REALM, "example.org", "6578616d706c652e6f7267"),
    (a.NONCE, b"n0nce", "6e306e6365"),
    (a.XOR_RELAYED_ADDRESS, ADDRESS, "00012c84e112a645"),
    (a.REQUESTED_ADDRESS_FAMILY, 2, "02000000"),
    (a.EVEN_PORT, True, "80"),
    (a.EVEN_PORT, False, "00"),
    (a.REQUESTED_TRANSPORT, 17, "11000000"),
    (a.DONT_FRAGMENT, True, ""),
    (a.ACCESS_TOKEN, b"t", "74"),
    (a.MESSAGE_INTEGRITY_SHA256, bytes(32), "00" * 32),
    (a.MESSAGE_INTEGRITY_SHA256, bytes(16), "00" * 16),
    (a.PASSWORD_ALGORITHM, AlgorithmValue(2), "00020000"),
    (a.PASSWORD_ALGORITHM, AlgorithmValue(7, b"xyz"), "0007000378797a00"),
    (a.USERHASH, bytes(32), "00" * 32),
    (a.XOR_MAPPED_ADDRESS, ADDRESS, "00012c84e112a645"),
    (a.RESERVATION_TOKEN, b"12345678", "3132333435363738"),
    (a.PADDING, b"\0\0", "0000"),
    (a.RESPONSE_PORT, 5000, "13880000"),
    (a.CONNECTION_ID, 0xDEADBEEF, "deadbeef"),
    (a.ADDITIONAL_ADDRESS_FAMILY, 2, "02000000"),
    (a.ADDRESS_ERROR_CODE, AddressErrorValue(2, 440, "no"), "020004286e6f"),
    (a.PASSWORD_ALGORITHMS, (AlgorithmValue(2), AlgorithmValue(1)), "0002000000010000"),
    (a.PASSWORD_ALGORITHMS, (AlgorithmValue(9, b"x"), AlgorithmValue(1)), "000900017800000000010000"),
    (a.ALTERNATE_DOMAIN, "example.org", "6578616d706c652e6f7267"),
    (a.ICMP, IcmpValue(3, 4, 1400), "0000060400000578"),
    (a.SOFTWARE, "x", "78"),
    (a.ALTERNATE_SERVER, ADDRESS, "00010d96c0000207"),
    (a.TRANSACTION_TRANSMIT_COUNTER, TransmitCounterValue(1, 2), "00000102"),
    (a.CACHE_TIMEOUT, 60, "0000003c"),
    (a.FINGERPRINT, 1, "00000001"),
    (a.RESPONSE_ORIGIN, ADDRESS, "00010d96c0000207"),
    (a.OTHER_ADDRESS, ADDRESS, "00010d96c0000207"),
    (a.THIRD_PARTY_AUTHORIZATION, "auth", "61757468"),
    (a.MOBILITY_TICKET, b"", ""),
]


@pytest.mark.parametrize(("spec", "value", "encoded"), ROUND_TRIPS, ids=lambda part: getattr(part, "name", None))
def test_values_both_ways(spec: AttributeType[Any], value: Any, encoded: str) -> None:
    assert spec.encode(value, TRANSACTION).hex() == encoded
    assert spec.decode(bytes.fromhex(encoded), TRANSACTION) == value


def test_every_attribute_is_tried_above() -> None:
    assert {spec.number for spec, _, _ in ROUND_TRIPS} == set(a.REGISTRY)


def test_the_table() -> None:
    """Comprehension-required is the lower half of the number space (RFC 8489 §14); names and RFCs are given."""
    for number, spec in a.REGISTRY.items():
        assert spec.number == number
        assert spec.comprehension_required is (number < 0x8000)
        assert spec.rfc.startswith("RFC ")
        assert spec.name in repr(spec)


MALFORMED: list[tuple[AttributeType[Any], str]] = [
    (a.CHANGE_REQUEST, "000006"),
    (a.USERNAME, "00" * 509),
    (a.USERNAME, "ff"),
    (a.MESSAGE_INTEGRITY, "00" * 19),
    (a.MESSAGE_INTEGRITY, "00" * 21),
    (a.ERROR_CODE, "000004"),
    (a.ERROR_CODE, "00000200"),
    (a.ERROR_CODE, "00000700"),
    (a.ERROR_CODE, "00000464"),
    (a.ERROR_CODE, "00000401ff"),
    (a.ERROR_CODE, "00000401" + "61" * 764),
    (a.UNKNOWN_ATTRIBUTES, "7ffe00"),
    (a.CHANNEL_NUMBER, "4001"),
    (a.CHANNEL_NUMBER, "400100000000"),
    (a.LIFETIME, "0e10"),
    (a.LIFETIME, ""),
    (a.REALM, "61" * 764),
    (a.NONCE, "61" * 764),
    (a.REQUESTED_ADDRESS_FAMILY, "02"),
    (a.EVEN_PORT, ""),
    (a.EVEN_PORT, "8000"),
    (a.REQUESTED_TRANSPORT, "11"),
    (a.DONT_FRAGMENT, "00"),
    (a.MESSAGE_INTEGRITY_SHA256, "00" * 12),
    (a.MESSAGE_INTEGRITY_SHA256, "00" * 18),
    (a.MESSAGE_INTEGRITY_SHA256, "00" * 36),
    (a.PASSWORD_ALGORITHM, ""),
    (a.PASSWORD_ALGORITHM, "0002"),
    (a.PASSWORD_ALGORITHM, "0002000000010000"),
    (a.PASSWORD_ALGORITHM, "00020008"),
    (a.USERHASH, "00" * 31),
    (a.RESERVATION_TOKEN, "00" * 7),
    (a.CONNECTION_ID, "00"),
    (a.ADDRESS_ERROR_CODE, "020004"),
    (a.PASSWORD_ALGORITHMS, ""),
    (a.PASSWORD_ALGORITHMS, "000200000001"),
    (a.ICMP, "00000604"),
    (a.SOFTWARE, "c3"),
    (a.TRANSACTION_TRANSMIT_COUNTER, "0102"),
    (a.FINGERPRINT, "00"),
]


@pytest.mark.parametrize(("spec", "encoded"), MALFORMED, ids=lambda part: getattr(part, "name", None))
def test_malformed_values(spec: AttributeType[Any], encoded: str) -> None:
    with pytest.raises(MalformedMessage):
        spec.decode(bytes.fromhex(encoded), TRANSACTION)


UNSENDABLE: list[tuple[AttributeType[Any], Any]] = [
    (a.USERNAME, "x" * 509),
    (a.USERNAME, "\ud800"),
    (a.REALM, "x" * 128),
    (a.SOFTWARE, "x" * 128),
    (a.NONCE, b"x" * 764),
    (a.LIFETIME, -1),
    (a.LIFETIME, 1 << 32),
    (a.CHANNEL_NUMBER, 1 << 16),
    (a.ERROR_CODE, ErrorValue(299, "")),
    (a.ERROR_CODE, ErrorValue(700, "")),
    (a.ERROR_CODE, ErrorValue(400, "x" * 128)),
    (a.ADDRESS_ERROR_CODE, AddressErrorValue(3, 440, "")),
    (a.DONT_FRAGMENT, False),
    (a.PASSWORD_ALGORITHMS, ()),
    (a.PASSWORD_ALGORITHM, AlgorithmValue(1 << 16)),
    (a.UNKNOWN_ATTRIBUTES, (1 << 16,)),
    (a.UNKNOWN_ATTRIBUTES, (1,) * 40_000),
    (a.ICMP, IcmpValue(128, 0, 0)),
    (a.ICMP, IcmpValue(0, 512, 0)),
    (a.ICMP, IcmpValue(0, 0, 1 << 32)),
    (a.TRANSACTION_TRANSMIT_COUNTER, TransmitCounterValue(256, 0)),
    (a.DATA, bytes(65536)),
    (a.USERHASH, b""),
    (a.XOR_PEER_ADDRESS, Address(b"", 0)),
]


@pytest.mark.parametrize(("spec", "value"), UNSENDABLE, ids=lambda part: getattr(part, "name", None))
def test_what_cannot_be_sent(spec: AttributeType[Any], value: Any) -> None:
    with pytest.raises(EncodeError):
        spec.encode(value, TRANSACTION)


@pytest.mark.parametrize(
    ("spec", "encoded", "value"),
    [
        (a.CHANNEL_NUMBER, "4001ffff", 0x4001),
        (a.REQUESTED_TRANSPORT, "11ffffff", 17),
        (a.REQUESTED_ADDRESS_FAMILY, "01ffffff", 1),
        (a.EVEN_PORT, "ff", True),
        (a.EVEN_PORT, "7f", False),
        (a.ERROR_CODE, "fffffc26", ErrorValue(438, "")),
        (a.ICMP, "ffff060400000000", IcmpValue(3, 4, 0)),
        (a.TRANSACTION_TRANSMIT_COUNTER, "ffff0102", TransmitCounterValue(1, 2)),
    ],
    ids=lambda part: getattr(part, "name", None),
)
def test_reserved_bits_are_ignored(spec: AttributeType[Any], encoded: str, value: Any) -> None:
    """RFC 8656 §18: RFFU bits are ignored on receipt."""
    assert spec.decode(bytes.fromhex(encoded), TRANSACTION) == value
