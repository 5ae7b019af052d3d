"""Attributes of TURN and its extensions: what is special about some of them."""

from scapy_turn import (
    StunAccessToken,
    StunAddressErrorCode,
    StunAttribute,
    StunChannelNumber,
    StunEvenPort,
    StunIcmp,
    StunRequestedTransport,
)


def test_bits() -> None:
    """RFC 8656 §18: values are in the upper bits, the rest is reserved."""
    assert bytes(StunEvenPort(reserve=1))[4:5] == b"\x80"
    assert bytes(StunRequestedTransport(protocol="TCP"))[4:] == b"\6\0\0\0"
    assert bytes(StunChannelNumber(number=0x4FFF))[4:] == b"\x4f\xff\0\0"
    assert bytes(StunIcmp(icmp_type=3, icmp_code=4, icmp_data=1400))[4:] == b"\0\0\6\4\0\0\5\x78"
    assert bytes(StunAddressErrorCode(family=2, code=440, reason="no"))[4:10] == b"\2\0\4\x28no"


def test_reserved_bits_are_kept() -> None:
    """A tester wants to see them, and to send them."""
    data = bytes.fromhex("0018000181000000")
    found = StunAttribute(data)
    assert (type(found), found.reserve, found.rffu) == (StunEvenPort, 1, 1)
    found.clear_cache()
    assert bytes(found) == data


def test_access_tokens() -> None:
    """RFC 7635 §6.2: a nonce with its length, then what only the server can read."""
    sent = StunAccessToken(nonce_length=3, nonce=b"abc", encrypted_block=b"secret")
    found = StunAttribute(bytes(sent))
    assert (found.nonce, found.encrypted_block) == (b"abc", b"secret")
    assert found.mysummary() == "ACCESS-TOKEN=6 bytes encrypted"
