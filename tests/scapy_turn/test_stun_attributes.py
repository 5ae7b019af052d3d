"""Attributes of STUN, NAT discovery and ICE: what is special about some of them."""

import pytest

from scapy_turn import (
    ALGORITHM_LIST,
    StunAttribute,
    StunChangeRequest,
    StunFingerprint,
    StunMessageIntegritySha256,
    StunPasswordAlgorithm,
    StunPasswordAlgorithms,
    StunResponsePort,
    StunUnknownAttributes,
)


def test_change_request() -> None:
    """RFC 5780 §7.2: the third bit and the second from the right."""
    assert bytes(StunChangeRequest(change_ip=1))[4:] == b"\0\0\0\4"
    assert bytes(StunChangeRequest(change_port=1))[4:] == b"\0\0\0\2"


@pytest.mark.parametrize("size", [2, 4])
def test_response_port(size: int) -> None:
    """RFC 5780 §7.5 says two bytes, and its picture has four: both are sent."""
    data = b"\0\x27" + size.to_bytes(2, "big") + b"\x12\x34\0\0"
    found = StunAttribute(data)
    assert (type(found), found.port) == (StunResponsePort, 0x1234)
    found.clear_cache()
    assert bytes(found) == data


def test_password_algorithms() -> None:
    """RFC 8489 §14.11: parameters are padded each; what is cut off ends the list."""
    assert StunPasswordAlgorithms().algorithms == [2, 1]
    assert StunPasswordAlgorithms(value=bytes.fromhex("0002 0001 ff000000 0001 0000")).algorithms == [2, 1]
    assert StunPasswordAlgorithms(value=ALGORITHM_LIST + b"\0\3\xff").algorithms == [2, 1]
    assert StunPasswordAlgorithms().mysummary() == "PASSWORD-ALGORITHMS=SHA-256,MD5"
    assert StunPasswordAlgorithm(bytes.fromhex("001d0004 00010000")).mysummary() == "PASSWORD-ALGORITHM=MD5"


def test_unknown_attributes() -> None:
    assert StunUnknownAttributes(types=[3, 0x7777]).mysummary() == "UNKNOWN-ATTRIBUTES=CHANGE-REQUEST,0x7777"


def test_without_a_key_there_are_zeros() -> None:
    """So the place is right even if the value is not; an explicit value is never replaced."""
    assert StunMessageIntegritySha256().seal(bytes(20))[4:] == bytes(32)
    assert StunMessageIntegritySha256(length=16, key=b"k").seal(bytes(20))[2:4] == b"\0\x10"
    assert len(StunMessageIntegritySha256(length=16, key=b"k").seal(bytes(20))) == 20
    assert StunMessageIntegritySha256(hmac=b"x" * 32, key=b"k").seal(bytes(20))[4:] == b"x" * 32
    assert StunFingerprint(crc=7).seal(bytes(20))[4:] == b"\0\0\0\7"
