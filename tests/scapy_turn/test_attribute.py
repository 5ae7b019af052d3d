"""What all attributes have in common."""

import pytest
from scapy.packet import Raw

import scapy_turn
from scapy_turn import StunAttribute, StunErrorCode, StunLifetime, StunRealm, StunXorPeerAddress
from scapy_turn.registry import ATTRIBUTES

LAYERS = [
    layer
    for layer in map(scapy_turn.__dict__.get, scapy_turn.__all__)
    if isinstance(layer, type) and issubclass(layer, StunAttribute) and layer is not StunAttribute
]


def test_there_is_a_layer_for_every_attribute() -> None:
    assert {layer.attribute_type: layer._name for layer in LAYERS} == ATTRIBUTES


@pytest.mark.parametrize("layer", LAYERS, ids=lambda layer: layer._name)
def test_the_default_is_well_formed(layer: type[StunAttribute]) -> None:
    """What is built is dissected as the same layer, with the same values and the same bytes."""
    data = bytes(layer())
    assert len(data) % 4 == 0
    found = StunAttribute(data)
    assert type(found) is layer
    found.clear_cache()
    assert bytes(found) == data
    assert found.mysummary().startswith(layer._name)
    assert layer._name in found.show(dump=True)


def test_unknown_types_are_kept() -> None:
    found = StunAttribute(bytes(StunAttribute(type=0x7777, value=b"abc")))
    assert (type(found), found.type, found.length, found.value) == (StunAttribute, 0x7777, 3, b"abc")
    assert found.mysummary() == "0x7777=b'abc'"


@pytest.mark.parametrize(
    "data",
    [
        "000d0003 00025800",  # a LIFETIME of three bytes
        "0012 0008 00 03 0000 00000000",  # an address of a third family
        "0012 0008 00 02 0000 00000000",  # IPv6, but four bytes long
        "0009 0004 0000 0001",  # class 0
        "0009 0004 0000 0464",  # number 100
        "0009 0002 0000 0000",
        "0008 0004 00000000",
        "000a 0003 00010200",
        "001b 0004 00ff 0000",  # a nonce that ends beyond the value
    ],
)
def test_malformed_values_are_kept_as_they_are(data: str) -> None:
    """Not in fields that would lose bits of them."""
    sent = bytes.fromhex(data)
    found = StunAttribute(sent)
    assert type(found) is StunAttribute
    found.clear_cache()
    assert bytes(found) == sent


def test_what_is_asked_for_by_its_own_class() -> None:
    """``StunLifetime(data)`` raises for no data, either."""
    assert isinstance(StunLifetime(bytes(StunLifetime(lifetime=5))), StunLifetime)
    assert type(StunLifetime(bytes.fromhex("000d000100000000"))) is StunAttribute
    assert isinstance(StunLifetime(b"\0\r\0"), Raw)
    assert isinstance(StunLifetime(b"\0\r\0\x08\0"), Raw)


def test_summaries_are_safe_to_print() -> None:
    """Text from a stranger cannot move the cursor or fill the screen."""
    told = StunRealm(realm=b"\x1b[2J" + b"\xff" * 100).mysummary()
    assert told.isprintable()
    assert len(told) < 400
    assert StunErrorCode(code=401, reason=b"a\nb").mysummary() == "ERROR-CODE=401 a\\nb"
    assert StunXorPeerAddress(address="::1", port=7).mysummary() == "XOR-PEER-ADDRESS=[::1]:7"
