"""A STUN message (RFC 8489 §5, §6): decoded strictly, values read lazily, encoded to the bytes it was decoded from.

Decoding checks what does not depend on the meaning of an attribute: the header, the cookie, the lengths, that integrity
attributes have a permitted length, and that FINGERPRINT, if present, is last and correct. A value is decoded on access.
"""

from collections.abc import Container
from struct import Struct
from typing import Any, Final, NamedTuple, Self, TypeVar
from zlib import crc32

from stun.attributes import (
    FINGERPRINT,
    MESSAGE_INTEGRITY,
    MESSAGE_INTEGRITY_SHA256,
    AttributeType,
)
from stun.constants import (
    FINGERPRINT_XOR,
    HEADER_LENGTH,
    MAGIC_COOKIE,
    MAX_LENGTH,
    TRANSACTION_ID_LENGTH,
    MessageClass,
)
from stun.digest import INTEGRITY_LENGTH, SHA256_LENGTH, integrity_sha1, integrity_sha256
from stun.errors import EncodeError, MalformedMessage

__all__ = ["Message", "MessageBuilder", "RawAttribute"]

T = TypeVar("T")

_HEADER: Final = Struct("!HHL12s")
_TLV: Final = Struct("!HH")
_TAIL: Final = frozenset((MESSAGE_INTEGRITY.number, MESSAGE_INTEGRITY_SHA256.number, FINGERPRINT.number))
_INTEGRITY: Final = frozenset((MESSAGE_INTEGRITY.number, MESSAGE_INTEGRITY_SHA256.number))
_AFTER_INTEGRITY: Final = frozenset((MESSAGE_INTEGRITY_SHA256.number, FINGERPRINT.number))
_AFTER_SHA256: Final = frozenset((FINGERPRINT.number,))
_CLASSES: Final = tuple(MessageClass)
_new: Final = tuple.__new__
_unpack_tlv: Final = _TLV.unpack_from
_PADDING: Final = (b"", bytes(3), bytes(2), bytes(1))


class RawAttribute(NamedTuple):
    """An attribute as it is on the wire; ``padding`` are the bytes after the value, up to three of any content."""

    type: int
    value: bytes
    padding: bytes


class Message(NamedTuple):
    """One decoded message; `decode` makes it, `MessageBuilder` makes the bytes of one.

    ``attributes`` are all of them, in the order of the wire, padding kept. ``meaningful`` are those that count: after
    an integrity attribute only -SHA256 and FINGERPRINT do (RFC 8489 §14.5, §14.6).
    """

    method: int
    message_class: MessageClass
    transaction_id: bytes
    attributes: tuple[RawAttribute, ...]
    meaningful: tuple[RawAttribute, ...]
    raw: bytes

    def __repr__(self) -> str:
        """Method, class, types and lengths of attributes; no values: some are secret, and none can be trusted."""
        parts = ", ".join(f"0x{raw.type:04x}[{len(raw.value)}]" for raw in self.attributes)
        return f"<Message method=0x{self.method:03x} {self.message_class.name} {self.transaction_id.hex()} {parts}>"

    @classmethod
    def decode(cls, data: bytes | bytearray | memoryview) -> "Message":
        """A message from exactly the bytes of one frame (RFC 8489 §5, §6.3). Raises `MalformedMessage`."""
        data = bytes(data)
        size = len(data)
        if size < HEADER_LENGTH:
            raise MalformedMessage("shorter than a STUN header")
        kind, length, cookie, transaction_id = _HEADER.unpack_from(data)
        if kind & 0xC000 or cookie != MAGIC_COOKIE:
            raise MalformedMessage("not STUN: top bits or magic cookie")
        if length & 3 or length != size - HEADER_LENGTH:
            raise MalformedMessage("a length field that is not the message's length")
        attributes, meaningful = _split(data, size)
        method = kind & 0x000F | (kind & 0x00E0) >> 1 | (kind & 0x3E00) >> 2
        message_class = _CLASSES[(kind & 0x0010) >> 4 | (kind & 0x0100) >> 7]
        # The class's own constructor takes five times as long, and every Send indication passes here.
        return tuple.__new__(cls, (method, message_class, transaction_id, attributes, meaningful, data))

    def encode(self) -> bytes:
        """The message's bytes: those it was decoded from."""
        return self.raw

    def first(self, spec: AttributeType[T]) -> T | None:
        """The first attribute of a type (RFC 8489 §14), or None. Raises `MalformedMessage` for an unreadable value."""
        wanted = spec.number
        for number, value, _ in self.meaningful:
            if number == wanted:
                return spec.decode(value, self.transaction_id)
        return None

    def all(self, spec: AttributeType[T]) -> list[T]:
        """Every attribute of a type, in order. Raises `MalformedMessage` if a value is unreadable."""
        number = spec.number
        return [spec.decode(raw.value, self.transaction_id) for raw in self.meaningful if raw.type == number]

    def has(self, spec: AttributeType[Any]) -> bool:
        """True if there is an attribute of this type that counts."""
        wanted = spec.number
        for number, _, _ in self.meaningful:  # noqa: SIM110 - a generator would take three times as long
            if number == wanted:
                return True
        return False

    def unknown_required(self, understood: Container[int]) -> tuple[int, ...]:
        """The comprehension-required types that are not ``understood``, each once (RFC 8489 §6.3.1)."""
        found = [number for number, _, _ in self.meaningful if number < 0x8000 and number not in understood]
        return tuple(dict.fromkeys(found)) if found else ()

    def before(self, spec: AttributeType[Any]) -> bytes | None:
        """The bytes of the message that stand before the first attribute of a type; None without one."""
        at = HEADER_LENGTH
        for raw in self.attributes:
            if raw.type == spec.number:
                return self.raw[:at]
            at += 4 + len(raw.value) + len(raw.padding)
        return None


def _split(data: bytes, size: int) -> tuple[tuple[RawAttribute, ...], tuple[RawAttribute, ...]]:
    """All attributes, and those that count; ``size`` is a multiple of four."""
    found: list[RawAttribute] = []
    sealed = -1
    at = HEADER_LENGTH
    while at < size:
        number, length = _unpack_tlv(data, at)
        start = at + 4
        end = start + length
        following = end + 3 & ~3
        if following > size:
            raise MalformedMessage("an attribute that ends beyond the message")
        if number in _TAIL:
            _check_tail(data, number, at, length, following == size)
            if sealed < 0 and number in _INTEGRITY:
                sealed = len(found)
        found.append(_new(RawAttribute, (number, data[start:end], data[end:following])))
        at = following
    attributes = tuple(found)
    return attributes, attributes if sealed < 0 else _meaningful(attributes, sealed)


def _check_tail(data: bytes, number: int, at: int, length: int, last: bool) -> None:
    """The integrity attributes and FINGERPRINT (RFC 8489 §14.5–14.7)."""
    if number == MESSAGE_INTEGRITY.number:
        if length != INTEGRITY_LENGTH:
            raise MalformedMessage("MESSAGE-INTEGRITY is 20 bytes")
    elif number == MESSAGE_INTEGRITY_SHA256.number:
        if not 16 <= length <= SHA256_LENGTH or length & 3:
            raise MalformedMessage("MESSAGE-INTEGRITY-SHA256 is 16 to 32 bytes, in steps of four")
    elif length != 4 or not last:
        raise MalformedMessage("FINGERPRINT is four bytes and last")
    elif int.from_bytes(data[at + 4 : at + 8], "big") != _fingerprint(data[:at]):
        raise MalformedMessage("a wrong FINGERPRINT")


def _meaningful(attributes: tuple[RawAttribute, ...], sealed: int) -> tuple[RawAttribute, ...]:
    """Everything up to the first integrity attribute, which is at ``sealed``; then only -SHA256 and FINGERPRINT."""
    allowed = _AFTER_INTEGRITY if attributes[sealed].type == MESSAGE_INTEGRITY.number else _AFTER_SHA256
    return attributes[: sealed + 1] + tuple(raw for raw in attributes[sealed + 1 :] if raw.type in allowed)


def _fingerprint(before: bytes) -> int:
    """RFC 8489 §14.7: the length field of ``before`` already counts the FINGERPRINT."""
    return crc32(before) ^ FINGERPRINT_XOR


class MessageBuilder:
    """Builds one message: attributes, then integrity, then fingerprint; any other order is an error.

    Every method raises `EncodeError` for what cannot be sent.
    """

    __slots__ = ("_body", "_closed", "_kind", "_transaction_id")

    def __init__(self, method: int, message_class: MessageClass, transaction_id: bytes) -> None:
        if not 0 <= method <= 0xFFF:
            raise EncodeError(f"no method: {method}")
        if len(transaction_id) != TRANSACTION_ID_LENGTH:
            raise EncodeError("a transaction id is twelve bytes")
        klass = (message_class & 1) << 4 | (message_class & 2) << 7
        self._kind = (method & 0xF80) << 2 | (method & 0x070) << 1 | method & 0x00F | klass
        self._transaction_id = bytes(transaction_id)
        self._body = bytearray()
        self._closed = 0

    def add(self, spec: AttributeType[T], value: T) -> Self:
        """Append an attribute. Integrity and fingerprint have methods of their own."""
        if spec.number in _TAIL:
            raise EncodeError(f"{spec.name} is computed, not added")
        self._advance(0)
        self._append(spec.number, spec.encode(value, self._transaction_id))
        return self

    def extend(self, encoded: bytes) -> Self:
        """Append attributes as an earlier message had them on the wire, such as those of every challenge."""
        self._advance(0)
        if len(self._body) + len(encoded) > MAX_LENGTH:
            raise EncodeError("a message of more than 65,552 bytes")
        self._body += encoded
        return self

    def integrity(self, key: bytes) -> Self:
        """Append MESSAGE-INTEGRITY (RFC 8489 §14.5)."""
        self._advance(1)
        value = integrity_sha1(self._head(4 + INTEGRITY_LENGTH) + self._body, key)
        self._append(MESSAGE_INTEGRITY.number, value)
        return self

    def integrity_sha256(self, key: bytes, length: int = SHA256_LENGTH) -> Self:
        """Append MESSAGE-INTEGRITY-SHA256, truncated to ``length`` bytes (RFC 8489 §14.6)."""
        if not 16 <= length <= SHA256_LENGTH or length % 4:
            raise EncodeError("MESSAGE-INTEGRITY-SHA256 is 16 to 32 bytes, in steps of four")
        self._advance(2)
        value = integrity_sha256(self._head(4 + length) + self._body, key)
        self._append(MESSAGE_INTEGRITY_SHA256.number, value[:length])
        return self

    def fingerprint(self) -> Self:
        """Append FINGERPRINT (RFC 8489 §14.7)."""
        self._advance(3)
        self._append(FINGERPRINT.number, _fingerprint(self._head(8) + self._body).to_bytes(4, "big"))
        return self

    def build(self) -> bytes:
        """The message's bytes."""
        return self._head(0) + bytes(self._body)

    def _advance(self, stage: int) -> None:
        if self._closed > stage or (self._closed == stage and stage > 0):
            raise EncodeError("attributes, MESSAGE-INTEGRITY, -SHA256, FINGERPRINT: in this order, the last three once")
        self._closed = stage

    def _head(self, coming: int) -> bytes:
        """The header, its length field counting ``coming`` more bytes."""
        return _HEADER.pack(self._kind, len(self._body) + coming, MAGIC_COOKIE, self._transaction_id)

    def _append(self, number: int, value: bytes) -> None:
        if len(self._body) + 4 + len(value) + 3 > MAX_LENGTH:
            raise EncodeError("a message of more than 65,552 bytes")
        self._body += _TLV.pack(number, len(value))
        self._body += value
        self._body += _PADDING[len(value) & 3]
