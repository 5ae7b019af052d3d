"""STUN messages for a tester: drafts that may be wrong in any way, and answers that are read however wrong they are.

The codec in `stun.message` refuses what a server must not send. A tester has to see it.
"""

import contextlib
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Self, TypeVar
from zlib import crc32

from stun.attributes import ERROR_CODE, FINGERPRINT, MESSAGE_INTEGRITY, MESSAGE_INTEGRITY_SHA256, AttributeType
from stun.constants import (
    FINGERPRINT_XOR,
    HEADER_LENGTH,
    MAGIC_COOKIE,
    TRANSACTION_ID_LENGTH,
    MessageClass,
)
from stun.digest import INTEGRITY_LENGTH, SHA256_LENGTH, integrity_sha1, integrity_sha256
from stun.errors import MalformedMessage
from stun.message import RawAttribute

__all__ = ["FINGERPRINT_SEAL", "Draft", "Raw", "Seal", "SeenMessage", "sealed_sha1", "sealed_sha256"]

T = TypeVar("T")

Raw = tuple[int, bytes]
"""An attribute: type and value, both as they are to be on the wire."""


class Seal(NamedTuple):
    """An attribute that is computed from the message before it, whose length field already counts it."""

    number: int
    size: int
    compute: Callable[[bytes], bytes]


def sealed_sha1(key: bytes) -> Seal:
    """MESSAGE-INTEGRITY (RFC 8489 §14.5)."""
    return Seal(MESSAGE_INTEGRITY.number, INTEGRITY_LENGTH, lambda covered: integrity_sha1(covered, key))


def sealed_sha256(key: bytes, size: int = SHA256_LENGTH) -> Seal:
    """MESSAGE-INTEGRITY-SHA256, truncated to ``size`` bytes (RFC 8489 §14.6)."""
    return Seal(MESSAGE_INTEGRITY_SHA256.number, size, lambda covered: integrity_sha256(covered, key)[:size])


def _fingerprint(covered: bytes) -> bytes:
    return (crc32(covered) ^ FINGERPRINT_XOR).to_bytes(4, "big")


FINGERPRINT_SEAL = Seal(FINGERPRINT.number, 4, _fingerprint)
"""FINGERPRINT (RFC 8489 §14.7)."""


@dataclass(slots=True)
class Draft:
    """A message before it is sent; the attributes may stand in any order, and may be missing or wrong."""

    method: int
    message_class: MessageClass = MessageClass.REQUEST
    items: list[Raw | Seal] = field(default_factory=list)
    transaction_id: bytes = field(default_factory=lambda: secrets.token_bytes(TRANSACTION_ID_LENGTH))
    cookie: int = MAGIC_COOKIE
    padding: int = 0

    def add(self, spec: AttributeType[T], value: T) -> Self:
        """Append an attribute."""
        self.items.append((spec.number, spec.encode(value, self.transaction_id)))
        return self

    def append(self, *items: Raw | Seal) -> Self:
        """Append attributes as they are."""
        self.items += items
        return self

    def drop(self, *specs: AttributeType[Any]) -> Self:
        """Remove all attributes of these types."""
        gone = {spec.number for spec in specs}
        self.items = [item for item in self.items if item[0] not in gone]
        return self

    def put(self, spec: AttributeType[Any], value: bytes) -> Self:
        """Replace the value of an attribute, in its place."""
        self.items = [(spec.number, value) if item[0] == spec.number else item for item in self.items]
        return self

    def insert(self, *items: Raw | Seal) -> Self:
        """Put attributes in front of all others."""
        self.items[:0] = items
        return self

    def encode(self) -> bytes:
        """The bytes; each seal covers what is before it."""
        body = bytearray()
        for item in self.items:
            value = self._sealed(item, bytes(body)) if isinstance(item, Seal) else item[1]
            body += item[0].to_bytes(2, "big") + len(value).to_bytes(2, "big") + value
            body += bytes((self.padding,)) * (-len(value) % 4)
        return self._head(len(body)) + bytes(body)

    def _sealed(self, seal: Seal, before: bytes) -> bytes:
        return seal.compute(self._head(len(before) + 4 + seal.size) + before)

    def _head(self, length: int) -> bytes:
        method, kind = self.method, self.message_class
        bits = (method & 0xF80) << 2 | (method & 0x070) << 1 | method & 0x00F | (kind & 1) << 4 | (kind & 2) << 7
        return (
            bits.to_bytes(2, "big") + length.to_bytes(2, "big") + self.cookie.to_bytes(4, "big") + self.transaction_id
        )


class SeenMessage(NamedTuple):
    """A STUN message as it came. ``fault`` says what is wrong with its framing; empty if nothing is."""

    raw: bytes
    method: int
    message_class: MessageClass
    transaction_id: bytes
    attributes: tuple[RawAttribute, ...]
    fault: str

    @classmethod
    def read(cls, data: bytes) -> "SeenMessage | None":
        """A message from the bytes of a frame; None if they do not begin as STUN does."""
        if len(data) < HEADER_LENGTH or data[0] & 0xC0:
            return None
        kind = int.from_bytes(data[:2], "big")
        method = kind & 0x000F | (kind & 0x00E0) >> 1 | (kind & 0x3E00) >> 2
        message_class = MessageClass((kind & 0x0010) >> 4 | (kind & 0x0100) >> 7)
        attributes, fault = _attributes(data)
        if int.from_bytes(data[4:8], "big") != MAGIC_COOKIE:
            fault = "it has no magic cookie"
        elif int.from_bytes(data[2:4], "big") != len(data) - HEADER_LENGTH:
            fault = "its length field is not its length"
        return cls(data, method, message_class, data[8:HEADER_LENGTH], attributes, fault)

    def octets(self, spec: AttributeType[Any]) -> bytes | None:
        """The bytes of the first attribute of a type."""
        return next((each.value for each in self.attributes if each.type == spec.number), None)

    def has(self, spec: AttributeType[Any]) -> bool:
        """Whether there is an attribute of a type."""
        return self.octets(spec) is not None

    def value(self, spec: AttributeType[T]) -> T | None:
        """The first attribute of a type; None if there is none, or if it cannot be read."""
        octets = self.octets(spec)
        try:
            return None if octets is None else spec.decode(octets, self.transaction_id)
        except MalformedMessage:
            return None

    def values(self, spec: AttributeType[T]) -> list[T]:
        """All attributes of a type that can be read."""
        found: list[T] = []
        for each in self.attributes:
            if each.type == spec.number:
                with contextlib.suppress(MalformedMessage):
                    found.append(spec.decode(each.value, self.transaction_id))
        return found

    @property
    def success(self) -> bool:
        """Whether it is a success response."""
        return self.message_class is MessageClass.SUCCESS

    @property
    def code(self) -> int:
        """The number of the error; 0 if it is no error, or has none that can be read."""
        octets = self.octets(ERROR_CODE)
        if self.message_class is not MessageClass.ERROR or octets is None or len(octets) < 4:
            return 0
        return (octets[2] & 7) * 100 + octets[3]

    def sealed_by(self, seal: Seal) -> bool | None:
        """Whether the first attribute of the seal's type is what the seal gives; None if there is none."""
        at = HEADER_LENGTH
        for each in self.attributes:
            end = at + 4 + len(each.value)
            if each.type == seal.number:
                covered = self.raw[:2] + (end - HEADER_LENGTH).to_bytes(2, "big") + self.raw[4:at]
                return seal.compute(covered) == each.value
            at = end + len(each.padding)
        return None


def _attributes(data: bytes) -> tuple[tuple[RawAttribute, ...], str]:
    """The attributes as far as they can be told apart, and what is wrong with them."""
    found: list[RawAttribute] = []
    at = HEADER_LENGTH
    while at < len(data):
        if at + 4 > len(data):
            return tuple(found), "an attribute's header is cut off"
        end = at + 4 + int.from_bytes(data[at + 2 : at + 4], "big")
        following = end + (-end % 4)
        if end > len(data):
            return tuple(found), "an attribute ends behind the message"
        number = int.from_bytes(data[at : at + 2], "big")
        found.append(RawAttribute(number, data[at + 4 : end], data[end:following]))
        if following > len(data):
            return tuple(found), "an attribute's padding is missing"
        at = following
    return tuple(found), ""
