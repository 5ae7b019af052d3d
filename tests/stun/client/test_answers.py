"""What success responses say, and what they may not leave out."""

from typing import Any

import pytest

from stun import attributes as a
from stun.address import Address
from stun.attributes import AddressErrorValue
from stun.client import answers
from stun.client.errors import InvalidAnswer
from stun.client.events import AllocationGrant
from stun.constants import AddressFamily, MessageClass, Method, TransportProtocol
from stun.message import Message, MessageBuilder

V4, V6, HERE = (Address.parse(host, 5000) for host in ("203.0.113.1", "2001:db8::1", "192.0.2.1"))
UDP, IPV4, IPV6 = TransportProtocol.UDP, AddressFamily.IPV4, AddressFamily.IPV6


def success(*attributes: tuple[Any, Any]) -> Message:
    builder = MessageBuilder(Method.ALLOCATE, MessageClass.SUCCESS, bytes(12))
    for spec, value in attributes:
        builder.add(spec, value)
    return Message.decode(builder.build())


def test_an_allocation() -> None:
    """RFC 8656 §7.3: everything that a success response to Allocate may carry."""
    message = success(
        (a.XOR_RELAYED_ADDRESS, V4),
        (a.LIFETIME, 600),
        (a.XOR_MAPPED_ADDRESS, HERE),
        (a.RESERVATION_TOKEN, b"12345678"),
        (a.ADDRESS_ERROR_CODE, AddressErrorValue(2, 440, "none")),
    )
    expected = AllocationGrant((V4,), HERE, 600, UDP, b"12345678", AddressErrorValue(2, 440, "none"))
    assert answers.read_allocation(UDP, set(), message) == expected


def test_a_dual_allocation() -> None:
    """RFC 8656 §7.3: two relayed addresses, one of each family."""
    message = success((a.XOR_RELAYED_ADDRESS, V4), (a.XOR_RELAYED_ADDRESS, V6), (a.LIFETIME, 600))
    assert answers.read_allocation(UDP, {IPV4, IPV6}, message).relayed == (V4, V6)


@pytest.mark.parametrize("attributes", [[(a.LIFETIME, 600)], [(a.XOR_RELAYED_ADDRESS, V4)], []])
def test_half_an_allocation_is_none(attributes: list[Any]) -> None:
    """RFC 8656 §7.3."""
    with pytest.raises(InvalidAnswer, match="lacks the relayed address or the lifetime"):
        answers.read_allocation(UDP, set(), success(*attributes))


def test_an_address_of_another_family_than_was_asked_for() -> None:
    """RFC 8656 §7.3: it is not to be used. Who asked for none takes what there is."""
    message = success((a.XOR_RELAYED_ADDRESS, V6), (a.LIFETIME, 600))
    with pytest.raises(InvalidAnswer, match="not of the family"):
        answers.read_allocation(UDP, {IPV4}, message)
    assert answers.read_allocation(UDP, set(), message).address == V6


def test_our_own_address() -> None:
    """RFC 8489 §6.3.3, and what servers of RFC 3489 say."""
    assert answers.read_mapped(success((a.XOR_MAPPED_ADDRESS, HERE), (a.MAPPED_ADDRESS, V4))) == HERE
    assert answers.read_mapped(success((a.MAPPED_ADDRESS, V4))) == V4
    with pytest.raises(InvalidAnswer, match="lacks the mapped address"):
        answers.read_mapped(success())


def test_numbers() -> None:
    assert answers.read_lifetime(success((a.LIFETIME, 0))) == 0
    assert answers.read_connection(success((a.CONNECTION_ID, 7))) == 7
    for read in (answers.read_lifetime, answers.read_connection):
        with pytest.raises(InvalidAnswer, match="lacks the"):
            read(success())


def test_responses_that_say_enough_by_being_there() -> None:
    message = success()
    assert answers.read_message(message) is message
    assert answers.read_constant(5, message) == 5
    assert answers.read_nothing(message) is None  # type: ignore[func-returns-value]
