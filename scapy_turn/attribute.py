# SPDX-License-Identifier: GPL-2.0-or-later
"""What all attributes have in common, and the one that any can be.

Bytes become the layer of their type only if they are valid for it. Everything else is a `StunAttribute`, which keeps
the value as it is, so nothing that is received raises, and nothing is lost.
"""

import struct
from typing import Any, ClassVar

from scapy.fields import (
    AnyField,
    ShortField,
    StrLenField,
    XByteField,
)
from scapy.packet import Packet, Raw

from scapy_turn.fields import (
    AddressField,
    FamilyField,
    LengthField,
    PaddingField,
    TypeField,
    XorAddressField,
    XorPortField,
    padding_of,
)
from scapy_turn.registry import ATTRIBUTES

__all__ = [
    "AddressAttribute",
    "BlobAttribute",
    "CodeAttribute",
    "StunAttribute",
    "TextAttribute",
    "address_fields",
    "rest",
    "sealed",
    "tlv",
    "xor_address_fields",
]


def tlv(code: int, *value: AnyField) -> list[AnyField]:
    """The fields of an attribute around those of its value."""
    return [TypeField(code), LengthField(), *value, PaddingField()]


def rest(name: str, before: int = 0, default: bytes = b"") -> StrLenField:
    """What remains of the value behind its first bytes."""
    return StrLenField(name, default, length_from=lambda pkt: (pkt.length or 0) - before, max_length=700)


class StunAttribute(Packet):
    """Any attribute: type, length, value, padding (RFC 8489 §14). The unknown and the malformed are kept as this."""

    name = "STUN attribute"
    fields_desc = tlv(0, rest("value"))

    attribute_type: ClassVar[int | None] = None
    sizes: ClassVar[range | tuple[int, ...]] = range(1 << 16)
    """Lengths that a value may have."""

    def __init_subclass__(cls, **more: Any) -> None:
        """Enter the class for its type."""
        super().__init_subclass__(**more)
        # scapy asks only for hooks of the class itself.
        setattr(cls, "dispatch_hook", classmethod(StunAttribute.dispatch_hook.__func__))  # type: ignore[attr-defined]  # noqa: B010
        if cls.attribute_type is not None:
            _BY_TYPE[cls.attribute_type] = cls

    @classmethod
    def dispatch_hook(cls, _pkt: bytes = b"", *args: Any, **kwargs: Any) -> type[Packet]:
        """The layer for these bytes."""
        if not _pkt:
            return cls
        if len(_pkt) < 4:
            return Raw
        code, length = struct.unpack_from("!HH", _pkt)
        value = bytes(_pkt[4 : 4 + length])
        if len(value) < length:
            return Raw
        known = _BY_TYPE.get(code, StunAttribute) if cls is StunAttribute else cls
        return known if known.is_valid(value) else StunAttribute

    @classmethod
    def is_valid(cls, value: bytes) -> bool:
        """True if the fields of this class can hold every bit of the value."""
        return len(value) in cls.sizes

    def extract_padding(self, s: bytes) -> tuple[bytes, bytes | None]:
        """What follows belongs to somebody else."""
        return b"", s

    def post_build(self, pkt: bytes, pay: bytes) -> bytes:
        """Fill in the length, and pad."""
        padding = bytes(padding_of(len(pkt))) if self.padding is None else self.padding
        if self.length is None:
            pkt = pkt[:2] + struct.pack("!H", len(pkt) - 4) + pkt[4:]
        return pkt + padding + pay

    def mysummary(self) -> str:
        """The attribute's name in the RFC, and its value."""
        known = ATTRIBUTES.get(self.type, f"0x{self.type:04x}")
        told = self.told()
        return f"{known}={told}" if told else known

    def told(self) -> str:
        """The value in a few words."""
        names = [field.name for field in self.fields_desc[2:-1] if not field.name.startswith("rffu")]
        return " ".join(self.get_field(name).i2repr(self, self.getfieldval(name)) for name in names)


_BY_TYPE: dict[int, type[StunAttribute]] = {}


class TextAttribute(StunAttribute):
    """What attributes of text have in common; escaped, since it comes from a stranger."""

    def told(self) -> str:
        """At most forty characters."""
        value = self.getfieldval(self.fields_desc[2].name)
        text = value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
        return ascii(text[:40])[1:-1]


class BlobAttribute(StunAttribute):
    """What attributes of any bytes have in common."""

    def told(self) -> str:
        """How many bytes."""
        return f"{len(bytes(self.getfieldval(self.fields_desc[2].name) or b''))} bytes"


class AddressAttribute(StunAttribute):
    """What attributes with an address have in common (RFC 8489 §14.1)."""

    sizes = (8, 20)

    @classmethod
    def is_valid(cls, value: bytes) -> bool:
        """The family and the length have to agree."""
        return len(value) in cls.sizes and value[1] == (1 if len(value) == 8 else 2)

    def told(self) -> str:
        """As in a URI."""
        address = str(self.address)
        return f"[{address}]:{self.port}" if ":" in address else f"{address}:{self.port}"


def address_fields(code: int) -> list[AnyField]:
    """An attribute that is an address (RFC 8489 §14.1)."""
    return tlv(code, XByteField("rffu", 0), FamilyField(), ShortField("port", 0), AddressField())


def xor_address_fields(code: int) -> list[AnyField]:
    """An attribute that is an address combined with the header (RFC 8489 §14.2)."""
    return tlv(code, XByteField("rffu", 0), FamilyField(), XorPortField("port", 0), XorAddressField())


class CodeAttribute(StunAttribute):
    """What attributes with an error code have in common (RFC 8489 §14.8)."""

    @classmethod
    def is_valid(cls, value: bytes) -> bool:
        """The class is from 3 to 6, the number below 100."""
        return len(value) >= 4 and 3 <= value[2] & 7 <= 6 and value[3] < 100


def sealed(attribute: StunAttribute, field: str, value: bytes | int | None) -> bytes:
    """The attribute with a computed value in the place of None."""
    if value is not None and attribute.getfieldval(field) is None:
        attribute = attribute.copy()
        attribute.setfieldval(field, value)
    return bytes(attribute)
