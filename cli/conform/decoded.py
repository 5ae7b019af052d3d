"""Frames in words, for a report: what they are, and every attribute with its value."""

from typing import Final

from cli.conform.wire import SeenMessage
from stun.attributes import REGISTRY, ErrorValue
from stun.constants import MAGIC_COOKIE, MessageClass, Method
from stun.errors import MalformedMessage
from turnserver.text import one_line

__all__ = ["decoded"]

_LONGEST: Final = 100
"""Characters of a value."""

_CLASSES: Final = {
    MessageClass.REQUEST: "request",
    MessageClass.INDICATION: "indication",
    MessageClass.SUCCESS: "success response",
    MessageClass.ERROR: "error response",
}


def decoded(frame: bytes) -> str:
    """One line about a frame, and one for each attribute."""
    if frame[:1] and 0x40 <= frame[0] <= 0x7F and len(frame) >= 4:
        number, length = int.from_bytes(frame[:2], "big"), int.from_bytes(frame[2:4], "big")
        return f"ChannelData 0x{number:04x}, length {length}, {len(frame) - 4} bytes"
    message = SeenMessage.read(frame)
    if message is None:
        return f"{len(frame)} bytes that are neither STUN nor ChannelData"
    try:
        name = Method(message.method).name.replace("_", " ").title().replace(" ", "")
    except ValueError:
        name = f"method 0x{message.method:03x}"
    lines = [f"{name} {_CLASSES[message.message_class]}, {len(frame)} bytes"]
    cookie = int.from_bytes(frame[4:8], "big")
    if cookie != MAGIC_COOKIE:
        lines.append(f"  cookie 0x{cookie:08x}")
    lines += [f"  {_attribute(each.type, each.value, message.transaction_id)}" for each in message.attributes]
    if message.fault:
        lines.append(f"  ({message.fault})")
    return "\n".join(lines)


def _attribute(number: int, value: bytes, transaction_id: bytes) -> str:
    spec = REGISTRY.get(number)
    if spec is None:
        return f"0x{number:04x}: {_hex(value)}"
    try:
        read = spec.decode(value, transaction_id)
    except MalformedMessage as error:
        return f"{spec.name}: {_hex(value)} ({one_line(str(error), _LONGEST)})"
    if isinstance(read, bytes):
        return f"{spec.name}: {_hex(read)}"
    if isinstance(read, ErrorValue):
        return f"{spec.name}: {one_line(f'{read.code} {read.reason}', _LONGEST)}"
    if isinstance(read, tuple) and not hasattr(read, "_fields"):
        return f"{spec.name}: {one_line(', '.join(map(str, read)), _LONGEST)}"
    return f"{spec.name}: {one_line(str(read), _LONGEST)}"


def _hex(value: bytes) -> str:
    shown = value[: _LONGEST // 2].hex()
    return f"{shown}… ({len(value)} bytes)" if len(value) > _LONGEST // 2 else shown or "(empty)"
