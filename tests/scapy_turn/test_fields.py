"""Fields of attributes, in the attributes that use them."""

import pytest
from scapy.packet import Raw

from scapy_turn import StunErrorCode, StunMappedAddress, StunMessage, StunMessageIntegrity, StunNonce
from scapy_turn import StunXorMappedAddress as Xor
from scapy_turn.fields import MAX_ATTRIBUTES, CodeField, padding_of


@pytest.mark.parametrize("length", range(9))
def test_padding(length: int) -> None:
    """To a multiple of four; other bytes than zeros are kept (RFC 8489 §14: any value)."""
    sent = bytes(StunNonce(nonce=b"n" * length))
    assert len(sent) == 4 + length + padding_of(length)
    assert sent[4 + length :] == bytes(padding_of(length))
    other = sent[: 4 + length] + b" " * padding_of(length)
    found = StunNonce(other)
    found.clear_cache()
    assert bytes(found) == other
    assert found.nonce == b"n" * length


@pytest.mark.parametrize("address", ["192.0.2.1", "2001:db8:1234:5678:11:2233:4455:6677", "::ffff:192.0.2.1"])
def test_families(address: str) -> None:
    """The family is that of the address; XORed ones need the message that they are in (RFC 8489 §14.2)."""
    message = StunMessage(attributes=[Xor(address=address, port=32853), StunMappedAddress(address=address, port=1)])
    found = StunMessage(bytes(message))
    assert [(part.address, part.port) for part in found.attributes] == [(address, 32853), (address, 1)]
    assert {part.family for part in found.attributes} == {2 if ":" in address else 1}
    found.clear_cache()
    found.transaction_id = bytes(12)
    again = StunMessage(bytes(found))
    assert again.attribute(Xor).address == address, "another transaction, the same address"


def test_what_is_no_address() -> None:
    with pytest.raises(ValueError, match="does not appear"):
        Xor(address="turn.example.org")


def test_several_addresses_are_several_packets() -> None:
    """As scapy has it for every field: a list is one packet for each."""
    assert [part.address for part in StunMappedAddress(address=["192.0.2.1", "::1"])] == ["192.0.2.1", "::1"]


@pytest.mark.parametrize(("code", "wire"), [(300, b"\x03\x00"), (438, b"\x04\x26"), (699, b"\x06\x63")])
def test_codes(code: int, wire: bytes) -> None:
    """RFC 8489 §14.8."""
    assert bytes(StunErrorCode(code=code))[6:8] == wire
    assert StunErrorCode(bytes(StunErrorCode(code=code))).code == code
    assert CodeField().i2repr(None, 438) == "438 Stale Nonce"


def test_keys_are_not_shown() -> None:
    part = StunMessageIntegrity(key="hunter2")
    assert part.key == b"hunter2"
    assert "hunter2" not in part.show(dump=True) + part.summary() + repr(part)


def test_an_attribute_that_is_cut_off() -> None:
    """Its bytes are kept, and those before it are dissected."""
    data = bytes(StunMessage(attributes=[StunNonce(nonce=b"abcd"), StunNonce(nonce=b"efgh")]))
    for cut in range(1, 8):
        short = data[: 20 + 8 + cut]
        found = StunMessage(short)
        assert isinstance(found.attributes[0], StunNonce)
        assert isinstance(found.attributes[1], Raw)
        found.clear_cache()
        assert bytes(found) == short


def test_sixteen_thousand_attributes() -> None:
    """A hostile datagram takes no time: the rest is kept as one piece."""
    data = bytes(StunMessage(length=4 * 16_000)) + bytes.fromhex("77770000") * 16_000
    found = StunMessage(data)
    assert len(found.attributes) == MAX_ATTRIBUTES + 1
    assert bytes(found) == data
