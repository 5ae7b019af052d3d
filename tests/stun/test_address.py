"""Transport addresses (RFC 8489 §14.1, §14.2)."""

import pytest

from stun.address import Address
from stun.constants import AddressFamily
from stun.errors import EncodeError, MalformedMessage

TRANSACTION = bytes.fromhex("b7e7a701bc34d686fa87dfae")
V4 = Address.parse("192.0.2.1", 32853)
V6 = Address.parse("2001:db8:1234:5678:11:2233:4455:6677", 32853)


def test_text() -> None:
    assert str(V4) == "192.0.2.1:32853"
    assert str(Address.parse("::1", 5)) == "[::1]:5"
    assert (V4.host, V4.family) == ("192.0.2.1", AddressFamily.IPV4)
    assert (V6.host, V6.family) == ("2001:db8:1234:5678:11:2233:4455:6677", AddressFamily.IPV6)


@pytest.mark.parametrize(
    ("host", "port"), [("localhost", 1), ("1.2.3", 1), ("1.2.3.4", -1), ("1.2.3.4", 65536), ("", 1)]
)
def test_what_is_no_address_is_refused(host: str, port: int) -> None:
    with pytest.raises(ValueError, match=r"."):
        Address.parse(host, port)


@pytest.mark.parametrize("address", [V4, V6, Address.parse("0.0.0.0", 0), Address.parse("::", 65535)])
def test_both_forms_round_trip(address: Address) -> None:
    assert Address.unpack(address.pack()) == address
    assert Address.unpack_xor(address.pack_xor(TRANSACTION), TRANSACTION) == address


def test_xor_hides_the_address() -> None:
    """RFC 8489 §14.2: with the cookie, and for IPv6 with the transaction id after it."""
    assert V4.pack_xor(TRANSACTION) == bytes.fromhex("0001a147e112a643")
    assert V6.pack_xor(TRANSACTION) == bytes.fromhex("0002a1470113a9faa5d3f179bc25f4b5bed2b9d9")


def test_the_first_byte_is_ignored() -> None:
    """RFC 8489 §14.1: it is there for alignment."""
    assert Address.unpack(b"\xff" + V4.pack()[1:]) == V4


@pytest.mark.parametrize(
    "value",
    [b"", b"\0", b"\0\1\0", b"\0\1\0\0", V4.pack()[:-1], V4.pack() + b"\0", V6.pack()[:-1], b"\0\3" + V4.pack()[2:]],
)
def test_malformed_values(value: bytes) -> None:
    with pytest.raises(MalformedMessage):
        Address.unpack(value)
    with pytest.raises(MalformedMessage):
        Address.unpack_xor(value, TRANSACTION)


@pytest.mark.parametrize("address", [Address(b"abc", 1), Address(b"abcd", -1), Address(b"abcd", 65536)])
def test_what_cannot_be_sent(address: Address) -> None:
    with pytest.raises(EncodeError):
        address.pack()
    with pytest.raises(EncodeError):
        address.pack_xor(TRANSACTION)


def test_canonical_unwraps_mapped_addresses() -> None:
    assert Address.parse("::ffff:192.0.2.1", 7).canonical() == Address.parse("192.0.2.1", 7)
    assert V6.canonical() is V6
    assert V4.canonical() is V4


@pytest.mark.parametrize(
    ("host", "expected"), [("127.8.9.1", True), ("::1", True), ("::ffff:127.0.0.1", True), ("8.8.8.8", False)]
)
def test_loopback(host: str, expected: bool) -> None:
    assert Address.parse(host, 1).is_loopback is expected
