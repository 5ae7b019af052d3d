# SPDX-License-Identifier: GPL-2.0-or-later
"""Fields that scapy does not have: what an attribute of STUN needs beyond the ordinary ones."""

import ipaddress
import random
import socket
import struct
from collections.abc import Callable
from typing import Any

from scapy.fields import (
    ByteEnumField,
    ByteField,
    Field,
    PacketListField,
    ShortField,
    StrField,
    StrLenField,
    XShortEnumField,
    XShortField,
)
from scapy.packet import Packet, Raw
from scapy.volatile import RandChoice, RandField, RandIP, RandIP6, RandNum

from scapy_turn.registry import ADDRESS_FAMILIES, ALGORITHMS, ATTRIBUTES, COOKIE, ERRORS

__all__ = [
    "MAX_ATTRIBUTES",
    "AddressField",
    "AlgorithmsField",
    "AttributesField",
    "ChannelField",
    "CodeField",
    "FamilyField",
    "KeyField",
    "LengthField",
    "PaddingField",
    "SpareBitsField",
    "SpareBytesField",
    "TypeField",
    "XorAddressField",
    "XorPortField",
    "algorithm_numbers",
    "padding_of",
]

MAX_ATTRIBUTES = 512
"""Attributes of a message that are dissected one by one; a hostile message can have sixteen thousand."""


def padding_of(length: int) -> int:
    """Bytes that are missing to a multiple of four."""
    return -length % 4


def _text(packed: bytes) -> str:
    return socket.inet_ntop(socket.AF_INET if len(packed) == 4 else socket.AF_INET6, packed)


class TypeField(XShortEnumField):
    """An attribute's type. ``fuzz()`` leaves it: the fields that follow belong to it."""

    def __init__(self, default: int) -> None:
        super().__init__("type", default, ATTRIBUTES)

    def randval(self) -> Any:
        """Nothing: it is not fuzzed."""


class LengthField(ShortField):
    """The bytes of an attribute's value, without padding; None is filled in when the packet is built."""

    def __init__(self) -> None:
        super().__init__("length", None)

    def i2m(self, pkt: Packet | None, x: int | None) -> int:
        """Zero as long as it is not known."""
        return x or 0


class PaddingField(StrField):
    """The bytes after a value, up to a multiple of four. None is zeros, as many as are needed.

    It adds nothing when the fields are put together: what is behind the value is added by ``post_build``, when the
    value's length is known.
    """

    def __init__(self) -> None:
        super().__init__("padding", None)

    def addfield(self, pkt: Packet, s: bytes, val: bytes | None) -> bytes:
        """Nothing yet."""
        return s

    def getfield(self, pkt: Packet, s: bytes) -> Any:
        """What is there of the padding; None if it is as it has to be."""
        needed = padding_of(pkt.length or 0)
        found = s[:needed]
        return s[needed:], None if found == bytes(needed) else found

    def randval(self) -> Any:
        """Nothing: it is not fuzzed."""

    def i2len(self, pkt: Packet | None, x: Any) -> int:
        """It has no bytes of its own in the value."""
        return 0


class KeyField(Field[bytes | None, bytes]):
    """A key, which is not sent: an integrity attribute is computed from it when the message is built."""

    def __init__(self) -> None:
        super().__init__("key", None)

    def any2i(self, pkt: Packet | None, x: Any) -> bytes | None:
        """Text is taken as a short-term password would be (RFC 8489 §9.1.1)."""
        return x.encode() if isinstance(x, str) else x

    def i2repr(self, pkt: Packet | None, x: bytes | None) -> str:
        """Whether there is one: keys are not for screens."""
        return "none" if x is None else "(given)"

    def addfield(self, pkt: Packet, s: bytes, val: bytes | None) -> bytes:
        """Nothing."""
        return s

    def getfield(self, pkt: Packet, s: bytes) -> tuple[bytes, bytes | None]:
        """Nothing."""
        return s, None

    def randval(self) -> Any:
        """Nothing: it is not fuzzed."""


class FamilyField(ByteEnumField):
    """The family of an address; None is that of the address which follows."""

    def __init__(self) -> None:
        super().__init__("family", None, ADDRESS_FAMILIES)

    def i2m(self, pkt: Packet | None, x: Any) -> int:
        """RFC 8489 §14.1: 1 or 2."""
        if x is not None:
            return int(x)
        return 2 if pkt is not None and ":" in str(pkt.address) else 1


class AddressField(Field[str, bytes]):
    """An address of either family, as text."""

    def __init__(self, name: str = "address", default: str = "0.0.0.0") -> None:
        super().__init__(name, default)

    def mask(self, pkt: Packet | None) -> bytes:
        """What the address is combined with: nothing."""
        return bytes(16)

    def any2i(self, pkt: Packet | None, x: Any) -> Any:
        """The canonical spelling; a list or a random value stays what it is, one packet for each address.

        Raises `ValueError` if it is not an address.
        """
        if isinstance(x, str | ipaddress.IPv4Address | ipaddress.IPv6Address):
            return _text(ipaddress.ip_address(x).packed)
        return x

    def i2m(self, pkt: Packet | None, x: Any) -> bytes:
        """Four or sixteen bytes."""
        packed = ipaddress.ip_address(str(x)).packed
        return bytes(a ^ b for a, b in zip(packed, self.mask(pkt), strict=False))

    def m2i(self, pkt: Packet | None, x: bytes) -> str:
        """The address in text form."""
        return _text(bytes(a ^ b for a, b in zip(x, self.mask(pkt), strict=False)))

    def i2repr(self, pkt: Packet | None, x: Any) -> str:
        """As it is written."""
        return str(x)

    def addfield(self, pkt: Packet, s: bytes, val: Any) -> bytes:
        """Append the address."""
        return s + self.i2m(pkt, val)

    def getfield(self, pkt: Packet, s: bytes) -> tuple[bytes, str]:
        """As many bytes as the family has."""
        size = 16 if pkt.family == 2 else 4
        return s[size:], self.m2i(pkt, s[:size])

    def randval(self) -> RandChoice:
        """An address of either family."""
        return RandChoice(RandIP()._fix(), RandIP6()._fix())


class XorAddressField(AddressField):
    """An address combined with the cookie and, for IPv6, the transaction id (RFC 8489 §14.2)."""

    def mask(self, pkt: Packet | None) -> bytes:
        """The cookie and the transaction id of the message in which the attribute is."""
        message = getattr(pkt, "parent", None)
        transaction = getattr(message, "transaction_id", None) or b""
        return struct.pack("!I", COOKIE) + bytes(transaction).ljust(12, b"\0")


class XorPortField(ShortField):
    """A port combined with the cookie's upper half."""

    def i2m(self, pkt: Packet | None, x: int | None) -> int:
        """As it is sent."""
        return (x or 0) ^ COOKIE >> 16

    def m2i(self, pkt: Packet | None, x: int) -> int:
        """As it is meant."""
        return x ^ COOKIE >> 16


class SpareBitsField(ByteField):
    """The five reserved bits in the first byte of an error code, which `CodeField` writes."""

    def __init__(self) -> None:
        super().__init__("rffu_code", 0)

    def addfield(self, pkt: Packet, s: bytes, val: Any) -> bytes:
        """Nothing."""
        return s

    def getfield(self, pkt: Packet, s: bytes) -> tuple[bytes, int]:
        """Look, and leave the byte for the code."""
        return s, s[0] >> 3

    def randval(self) -> Any:
        """Nothing: it is not fuzzed."""


class SpareBytesField(StrLenField):
    """Reserved bytes that are not always there, behind the first ``before`` bytes of a value."""

    def __init__(self, before: int) -> None:
        super().__init__("rffu", b"", length_from=lambda pkt: (pkt.length or 0) - before)

    def randval(self) -> Any:
        """Nothing: it is not fuzzed."""


def algorithm_numbers(value: bytes) -> list[int]:
    """The numbers of password algorithms in a list (RFC 8489 §14.11), up to the first one that is cut off."""
    found, at = [], 0
    while at + 4 <= len(value):
        number, length = struct.unpack_from("!HH", value, at)
        found.append(number)
        at += 4 + length + padding_of(length)
    return found


class RandAlgorithms(RandField[bytes]):
    """A list of up to four password algorithms, known ones and others, some of which have parameters."""

    def _fix(self) -> bytes:
        found = b""
        for _ in range(random.randrange(5)):
            parameters = random.randbytes(random.choice([0, 0, 4, 8]))
            found += struct.pack("!HH", random.choice([1, 2, random.randrange(0x10000)]), len(parameters)) + parameters
        return found


class AlgorithmsField(StrLenField):
    """A list of password algorithms, each with a length and parameters (RFC 8489 §14.11)."""

    def __init__(self, default: bytes) -> None:
        super().__init__("value", default, length_from=lambda pkt: pkt.length or 0)

    def any2i(self, pkt: Packet | None, x: Any) -> Any:
        """Numbers become algorithms without parameters."""
        if isinstance(x, list) and all(isinstance(number, int) for number in x):
            return b"".join(struct.pack("!HH", number, 0) for number in x)
        return super().any2i(pkt, x)

    def i2repr(self, pkt: Packet | None, x: Any) -> str:
        """Their names."""
        return ",".join(ALGORITHMS.get(number, str(number)) for number in algorithm_numbers(bytes(x))[:8])

    def randval(self) -> Any:
        """A list in which every length is right."""
        return RandAlgorithms()


class ChannelField(XShortField):
    """The number before ChannelData."""

    def randval(self) -> RandNum:
        """One of those that say in the first byte that it is ChannelData (RFC 8656 §12)."""
        return RandNum(0x4000, 0x4FFF)


class CodeField(Field[int, int]):
    """An error code in two bytes: hundreds in three bits, the rest in eight (RFC 8489 §14.8)."""

    def __init__(self, default: int = 400) -> None:
        super().__init__("code", default, "H")

    def i2m(self, pkt: Packet | None, x: int | None) -> int:
        """401 is 4 and 1."""
        spare = 0 if pkt is None else int(pkt.rffu_code) & 0x1F
        return spare << 11 | ((x or 0) // 100 & 7) << 8 | (x or 0) % 100

    def m2i(self, pkt: Packet | None, x: int) -> int:
        """4 and 1 are 401."""
        return (x >> 8 & 7) * 100 + (x & 0xFF)

    def i2repr(self, pkt: Packet | None, x: Any) -> str:
        """With its default phrase."""
        return f"{x} {ERRORS[x]}" if x in ERRORS else str(x)

    def randval(self) -> RandNum:
        """Any code that a response may have."""
        return RandNum(300, 699)


class AttributesField(PacketListField):
    """The attributes of a message, each dissected from its own bytes.

    It never raises: what cannot be an attribute, because its length points beyond the message, is kept as Raw, and so
    is everything after `MAX_ATTRIBUTES`.
    """

    def __init__(self, attribute: type[Packet], length_from: Callable[[Packet], int]) -> None:
        super().__init__("attributes", [], attribute, length_from=length_from)

    def getfield(self, pkt: Packet, s: bytes) -> tuple[bytes, list[Any]]:
        """As many bytes as the message says; each part in linear time."""
        end = min(len(s), pkt.length or 0)
        found: list[Any] = []
        at = 0
        while at < end:
            size = 4 + int.from_bytes(s[at + 2 : at + 4], "big") if end - at >= 4 else end - at + 1
            if at + size > end or len(found) >= MAX_ATTRIBUTES:
                found.append(Raw(s[at:end]))
                break
            following = min(end, at + size + padding_of(size))
            found.append(self.m2i(pkt, s[at:following]))
            at = following
        return s[end:], found

    def addfield(self, pkt: Packet, s: bytes, val: Any) -> bytes:
        """One after the other: what is computed from the bytes before it is computed from what is really sent."""
        for part in val:
            if isinstance(part, Packet):
                part.add_parent(pkt)
                part.clear_cache()
            s += part.seal(s) if hasattr(part, "seal") else bytes(part)
        return s
