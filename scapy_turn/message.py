# SPDX-License-Identifier: GPL-2.0-or-later
"""The layers of what goes between a client and a server: STUN messages, and ChannelData."""

import secrets
import struct
from itertools import pairwise
from typing import Any

from scapy.fields import ByteEnumField, EnumField, ShortField, XIntField, XStrFixedLenField
from scapy.layers.inet import TCP, UDP
from scapy.packet import Packet, Padding, Raw
from scapy.volatile import RandNum

from scapy_turn.attribute import StunAttribute
from scapy_turn.fields import AttributesField, ChannelField, PaddingField, padding_of
from scapy_turn.registry import CLASSES, COOKIE, ERROR, HEADER_LENGTH, METHODS, REQUEST, SUCCESS
from scapy_turn.stun_attributes import StunErrorCode

__all__ = ["ChannelData", "StunMessage", "frame_length", "reassembled", "stun_frames"]

MAX_FRAMES = 64
"""Frames of one segment that are dissected; one can have thousands, and each is a layer under the one before."""


class ClassField(ByteEnumField):
    """Two bits among those of the method (RFC 8489 §5); the method's field writes them."""

    def __init__(self) -> None:
        super().__init__("msgclass", REQUEST, CLASSES)

    def addfield(self, pkt: Packet, s: bytes, val: Any) -> bytes:
        """Nothing: see `MethodField`."""
        return s

    def getfield(self, pkt: Packet, s: bytes) -> tuple[bytes, int]:
        """Look, and leave the bytes for the method."""
        return s, (s[0] & 1) << 1 | s[1] >> 4 & 1

    def randval(self) -> Any:
        """One of the four."""
        return RandNum(0, 3)


class MethodField(EnumField[int]):
    """Twelve bits with the class in between: ``M11…M7 C1 M6…M4 C0 M3…M0`` (RFC 8489 §5)."""

    def __init__(self) -> None:
        super().__init__("method", 1, METHODS, "H")

    def addfield(self, pkt: Packet, s: bytes, val: Any) -> bytes:
        """Method and class, in two bytes."""
        method, kind = self.i2m(pkt, val) & 0xFFF, int(pkt.msgclass) & 3
        bits = (method & 0xF80) << 2 | (method & 0x70) << 1 | method & 0xF
        return s + struct.pack("!H", bits | (kind & 2) << 7 | (kind & 1) << 4)

    def m2i(self, pkt: Packet | None, x: int) -> int:
        """The method without the class."""
        return (x & 0x3E00) >> 2 | (x & 0xE0) >> 1 | x & 0xF

    def randval(self) -> Any:
        """Any of those with which the first byte still says that it is STUN (RFC 7983 §7)."""
        return RandNum(0, 0xFF)


class CookieField(XIntField):
    """The magic cookie. ``fuzz()`` leaves it, or nobody would take the message for one."""

    def randval(self) -> Any:
        """Nothing: it is not fuzzed."""


class StunMessage(Packet):
    """A message of STUN or TURN (RFC 8489 §5), or of RFC 3489, whose transaction id begins where the cookie is.

    Without a ``transaction_id`` it draws one when it is made. MESSAGE-INTEGRITY and FINGERPRINT among its attributes
    are computed in their order, when it is built.
    """

    name = "STUN"
    fields_desc = [
        ClassField(),
        MethodField(),
        ShortField("length", None),
        CookieField("cookie", COOKIE),
        XStrFixedLenField("transaction_id", None, 12),
        AttributesField(StunAttribute, length_from=lambda pkt: pkt.length),
    ]

    @classmethod
    def dispatch_hook(cls, _pkt: bytes = b"", *args: Any, **kwargs: Any) -> type[Packet]:
        """Raw for what cannot be a message: too short, or the first two bits are not zero."""
        return cls if not _pkt or (len(_pkt) >= HEADER_LENGTH and _pkt[0] < 0x40) else Raw

    def __init__(self, _pkt: bytes = b"", *args: Any, **fields: Any) -> None:
        super().__init__(_pkt, *args, **fields)
        if not _pkt and "transaction_id" not in fields:
            self.fields["transaction_id"] = secrets.token_bytes(12)

    @property
    def transaction(self) -> bytes:
        """What a response has in common with its request: the cookie and the transaction id, 16 bytes."""
        return struct.pack("!I", self.cookie) + bytes(self.transaction_id)

    def attribute(self, kind: type[Packet]) -> Any:
        """The first attribute of a type, or None. The first of duplicates counts (RFC 8489 §14)."""
        return next((found for found in self.attributes if isinstance(found, kind)), None)

    @property
    def error(self) -> int | None:
        """The code of an error response; None for all others, and 0 if it has none."""
        if self.msgclass != ERROR:
            return None
        found = self.attribute(StunErrorCode)
        return 0 if found is None else int(found.code)

    def post_build(self, pkt: bytes, pay: bytes) -> bytes:
        """Fill in the length."""
        if self.length is None:
            pkt = pkt[:2] + struct.pack("!H", len(pkt) - HEADER_LENGTH & 0xFFFF) + pkt[4:]
        return pkt + pay

    def extract_padding(self, s: bytes) -> tuple[bytes, bytes | None]:
        """Behind the message is nothing, or on a stream the next frame."""
        return b"", s

    def hashret(self) -> bytes:
        """Method and transaction."""
        return struct.pack("!H", int(self.method) & 0xFFFF) + self.transaction

    def answers(self, other: Packet) -> int:
        """A response answers the request of its transaction and method."""
        return int(
            isinstance(other, StunMessage)
            and self.msgclass in {SUCCESS, ERROR}
            and other.msgclass == REQUEST
            and self.method == other.method
            and self.transaction == other.transaction
        )

    def mysummary(self) -> Any:
        """A line as in a log: who to whom, method, class, the attributes that say something, the transaction."""
        method = METHODS.get(self.method, f"method 0x{self.method:03x}")
        told = [part.mysummary() for part in self.attributes[:12] if isinstance(part, StunAttribute)]
        more = [f"(+{len(self.attributes) - 12})"] if len(self.attributes) > 12 else []
        ending = f"[{bytes(self.transaction_id or b'').hex()}]"
        return " ".join(["STUN", method, CLASSES.get(self.msgclass, "?"), *told, *more, ending]), [UDP, TCP]

    @classmethod
    def tcp_reassemble(cls, data: bytes, metadata: dict[str, Any], session: dict[str, Any]) -> Packet | None:
        """The whole frames at the beginning of a stream, see `reassembled`."""
        return reassembled(data)


class ChannelData(Packet):
    """Four bytes before a packet of a bound channel (RFC 8656 §12.4).

    It is padded to a multiple of four on TCP, and everywhere if ``padding`` says so. A payload that is exactly a STUN
    message is one: connectivity checks go through channels.
    """

    name = "ChannelData"
    fields_desc = [ChannelField("number", 0x4000), ShortField("length", None), PaddingField()]

    @classmethod
    def dispatch_hook(cls, _pkt: bytes = b"", *args: Any, **kwargs: Any) -> type[Packet]:
        """Raw for what is too short."""
        return cls if not _pkt or len(_pkt) >= 4 else Raw

    def do_dissect(self, s: bytes) -> bytes:
        """The padding is behind the payload, so `extract_padding` takes it."""
        self.fields["number"], self.fields["length"] = struct.unpack_from("!HH", s)
        return s[4:]

    def extract_padding(self, s: bytes) -> tuple[bytes, bytes | None]:
        """Payload, padding, and on a stream the next frame."""
        end = self.length
        padding = s[end : end + padding_of(end)]
        self.fields["padding"] = padding
        return s[:end], s[end + len(padding) :]

    def guess_payload_class(self, payload: bytes) -> type[Packet]:
        """A whole STUN message with its cookie, or bytes."""
        if len(payload) >= HEADER_LENGTH and payload[0] < 4 and payload[4:8] == struct.pack("!I", COOKIE):
            if int.from_bytes(payload[2:4], "big") + HEADER_LENGTH == len(payload):
                return StunMessage
        return Raw

    def post_build(self, pkt: bytes, pay: bytes) -> bytes:
        """Fill in the length, and pad where a stream needs it."""
        if self.length is None:
            pkt = pkt[:2] + struct.pack("!H", len(pay) & 0xFFFF) + pkt[4:]
        # On a stream the next frame is behind the payload, and the padding is between them.
        end = len(pay) if self.length is None else min(self.length, len(pay))
        padding = self.padding
        if padding is None:
            padding = bytes(padding_of(end)) if self._on_a_stream() else b""
        return pkt + pay[:end] + bytes(padding) + pay[end:]

    def _on_a_stream(self) -> bool:
        return self.underlayer is not None and self.underlayer.name in {"TCP", "TLS"}

    def hashret(self) -> bytes:
        """The channel, and what is inside."""
        return struct.pack("!H", self.number) + self.payload.hashret()

    def answers(self, other: Packet) -> int:
        """Something on the same channel that answers what was sent there."""
        same = isinstance(other, ChannelData) and other.number == self.number
        return int(same and bool(self.payload.answers(other.payload)))

    def mysummary(self) -> Any:
        """Who to whom, channel and size."""
        size = len(self.payload) if self.length is None else self.length
        return f"ChannelData 0x{self.number:04x} {size} bytes", [UDP, TCP]

    @classmethod
    def tcp_reassemble(cls, data: bytes, metadata: dict[str, Any], session: dict[str, Any]) -> Packet | None:
        """The whole frames at the beginning of a stream, see `reassembled`."""
        return reassembled(data)


def frame_length(data: bytes) -> int | None:
    """The bytes of the frame that a stream begins with, padding included; None as long as that cannot be said.

    Raises `ValueError` if it is no frame of STUN or TURN (RFC 8656 §12.5, RFC 8489 §6.2.2).
    """
    if not data:
        return None
    if data[0] >= 4 and not 0x40 <= data[0] <= 0x4F:
        raise ValueError("neither a message nor ChannelData")
    if len(data) < 4:
        return None
    length = int.from_bytes(data[2:4], "big")
    if data[0] >= 4:
        return 4 + length + padding_of(length)
    if length % 4 or not struct.pack("!I", COOKIE).startswith(data[4:8]):
        raise ValueError("no message: its length is no multiple of four, or it has no cookie")
    return HEADER_LENGTH + length


def reassembled(data: bytes) -> Packet | None:
    """All whole frames that a stream begins with, each the payload of the one before; then Padding, if bytes remain.

    None if there is no whole frame yet. A stream of something else becomes Raw as a whole, and so does what follows
    the first `MAX_FRAMES` frames.

    `scapy.sessions.TCPSession` puts the Padding before the next segment. Given one frame at a time it would lose its
    place in the stream, since of several frames in a segment it counts only the last one.
    """
    frames, at, foreign = [], 0, False
    while at < len(data):
        try:
            size = frame_length(data[at : at + 8])
        except ValueError:
            foreign = True
            break
        if size is None or at + size > len(data):
            break
        frames.append(data[at : at + size])
        at += size
    if not frames:
        return Raw(data) if foreign else None
    layers: list[Packet] = [(StunMessage if one[0] < 4 else ChannelData)(one) for one in frames[:MAX_FRAMES]]
    surplus = b"".join(frames[MAX_FRAMES:]) + (data[at:] if foreign else b"")
    if surplus:
        layers.append(Raw(surplus))
    if at < len(data) and not foreign:
        layers.append(Padding(data[at:]))
    for before, behind in pairwise(layers):
        before.lastlayer().add_payload(behind)
    return layers[0]


def stun_frames(packet: Packet) -> list[Packet]:
    """The messages and the ChannelData in a packet; on a stream one segment can end several.

    Each still has the next one behind its payload. What is inside ChannelData is not counted.
    """
    found: list[Packet] = []
    layer = packet
    while layer:
        if isinstance(layer, StunMessage | ChannelData):
            found.append(layer)
            if isinstance(layer, ChannelData) and (layer.length is None or layer.length):
                layer = layer.payload
        layer = layer.payload
    return found
