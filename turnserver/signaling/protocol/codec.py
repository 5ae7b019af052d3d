"""Parsing and encoding of messages, for both sides of ``signal.v1``."""

import dataclasses
from typing import Any, Final

from pydantic import TypeAdapter, ValidationError
from pydantic_core import from_json, to_json

from turnserver.signaling.protocol import client_messages, server_messages
from turnserver.signaling.protocol.base import CLIENT, SERVER, ClientMessage, MessageTypes, ServerMessage
from turnserver.signaling.protocol.errors import Denial, SignalCode
from turnserver.signaling.protocol.fields import MAX_FRAME

__all__ = ["encode", "parse", "parse_server", "prepare"]

_KNOWN: Final = (client_messages, server_messages)
"""Importing these modules registers their message types."""

_SHOWN: Final = 160
_WRITERS: Final[dict[type[Any], tuple[TypeAdapter[Any], tuple[str, ...]]]] = {}
"""The serializer of a message type, and its fields without a default, which are written even if they are None."""


def parse(text: str) -> ClientMessage:
    """A client's frame. Raises `Denial`: too_large, bad_json, unknown_type, or bad_message with the field's path."""
    message: ClientMessage = _parse(text, CLIENT, MAX_FRAME)
    return message


def parse_server(text: str, *, limit: int = MAX_FRAME) -> ServerMessage:
    """A server's frame, for clients and tests; raises as `parse` does. ``limit`` is in bytes."""
    message: ServerMessage = _parse(text, SERVER, limit)
    return message


def encode(message: ClientMessage | ServerMessage) -> str:
    """Compact JSON, without optional fields that are None. A required ``data`` is written, even if it is null."""
    writer, required = _writer(type(message))
    nulls = {name: None for name in required if getattr(message, name) is None}
    if nulls:
        return to_json(writer.dump_python(message, mode="json", by_alias=True, exclude_none=True) | nulls).decode()
    return writer.dump_json(message, by_alias=True, exclude_none=True).decode()


def prepare() -> None:
    """Build the parsers and serializers now instead of at the first message, because it takes a tenth of a second."""
    for types in (CLIENT, SERVER):
        _ = types.adapter
        for kind in types.classes:
            _writer(kind)


def _writer(kind: type[Any]) -> tuple[TypeAdapter[Any], tuple[str, ...]]:
    """The serializer of a class, and the names of the fields that are always written."""
    found = _WRITERS.get(kind)
    if found is None:
        found = _WRITERS[kind] = TypeAdapter(kind), _required(kind)
    return found


def _required(kind: type[Any]) -> tuple[str, ...]:
    missing = dataclasses.MISSING
    return tuple(
        field.name
        for field in dataclasses.fields(kind)
        if field.default is missing and field.default_factory is missing
    )


def _parse(text: str, types: MessageTypes[Any], limit: int) -> Any:
    try:
        data = text.encode() if len(text) <= limit else b""
    except UnicodeEncodeError:
        raise Denial(SignalCode.BAD_JSON, "not Unicode text") from None
    if len(text) > limit or len(data) > limit:
        raise Denial(SignalCode.TOO_LARGE, f"a frame has at most {limit} bytes", detail={"max": limit})
    try:
        return types.adapter.validate_json(data, strict=True)
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False, include_context=False)[0]
    raise _refusal(found["type"], found["msg"], found["loc"], data)


def _refusal(kind: str, msg: str, loc: tuple[int | str, ...], data: bytes) -> Denial:
    if kind == "json_invalid":
        return Denial(SignalCode.BAD_JSON, msg[:_SHOWN])
    frame = from_json(data)
    if not isinstance(frame, dict):
        return Denial(SignalCode.BAD_MESSAGE, "a frame is a JSON object", path="")
    re, n = frame.get("id"), frame.get("n")
    seen: dict[str, Any] = {
        "re": re if isinstance(re, str) and 1 <= len(re) <= 32 else None,
        "n": n if type(n) is int and n >= 1 else None,
    }
    if kind == "union_tag_invalid" and isinstance(frame.get("t"), str):
        return Denial(SignalCode.UNKNOWN_TYPE, "no such type", path="t", **seen)
    path = ".".join(str(part) for part in loc[1:]) if len(loc) > 1 else "t"
    return Denial(SignalCode.BAD_MESSAGE, msg[:_SHOWN], path=path[:128], **seen)
