"""Reads success responses (RFC 8489 §6.3.3, RFC 8656 §7.3, §8.3, RFC 6062 §4.3).

Each function reads one kind of response. It raises `stun.client.errors.InvalidAnswer` for a missing attribute,
and `stun.errors.MalformedMessage` for a value that cannot be read.
"""

from typing import TypeVar

from stun.address import Address
from stun.attributes import (
    ADDRESS_ERROR_CODE,
    CONNECTION_ID,
    LIFETIME,
    MAPPED_ADDRESS,
    MOBILITY_TICKET,
    RESERVATION_TOKEN,
    XOR_MAPPED_ADDRESS,
    XOR_RELAYED_ADDRESS,
)
from stun.client.errors import InvalidAnswer
from stun.client.events import AllocationGrant
from stun.constants import AddressFamily, TransportProtocol
from stun.message import Message

__all__ = [
    "read_allocation",
    "read_connection",
    "read_constant",
    "read_lifetime",
    "read_mapped",
    "read_message",
    "read_nothing",
]

T = TypeVar("T")


def read_message(message: Message) -> Message:
    """The whole response."""
    return message


def read_nothing(_message: Message) -> None:
    """Nothing: the success response itself is the result."""
    return


def read_constant(value: T, _message: Message) -> T:
    """What the caller knows already."""
    return value


def read_mapped(message: Message) -> Address:
    """The server-reflexive address (RFC 8489 §6.3.3); servers of RFC 3489 send MAPPED-ADDRESS instead."""
    mapped = message.first(XOR_MAPPED_ADDRESS) or message.first(MAPPED_ADDRESS)
    if mapped is None:
        raise InvalidAnswer("The answer to Binding lacks the mapped address (RFC 8489 §6.3.1).")
    return mapped


def read_lifetime(message: Message) -> int:
    """The lifetime granted, in seconds (RFC 8656 §8.2)."""
    lifetime = message.first(LIFETIME)
    if lifetime is None:
        raise InvalidAnswer("The answer to Refresh lacks the lifetime (RFC 8656 §8.2).")
    return lifetime


def read_connection(message: Message) -> int:
    """The CONNECTION-ID (RFC 6062 §4.3)."""
    number = message.first(CONNECTION_ID)
    if number is None:
        raise InvalidAnswer("The answer to Connect lacks the CONNECTION-ID (RFC 6062 §5.2).")
    return number


def read_allocation(protocol: TransportProtocol, families: set[AddressFamily], message: Message) -> AllocationGrant:
    """RFC 8656 §7.3: relayed addresses of the families asked for, and a lifetime."""
    relayed, lifetime = tuple(message.all(XOR_RELAYED_ADDRESS)), message.first(LIFETIME)
    if not relayed or lifetime is None:
        raise InvalidAnswer("The answer to Allocate lacks the relayed address or the lifetime (RFC 8656 §7.3).")
    if families and not {address.family for address in relayed} <= families:
        raise InvalidAnswer("The relayed address is not of the family that was asked for (RFC 8656 §7.3).")
    return AllocationGrant(
        relayed,
        message.first(XOR_MAPPED_ADDRESS),
        lifetime,
        protocol,
        message.first(RESERVATION_TOKEN),
        message.first(ADDRESS_ERROR_CODE),
        message.first(MOBILITY_TICKET) not in (None, b""),
    )
