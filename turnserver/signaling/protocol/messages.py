"""The messages of ``signal.v1``: one frozen dataclass per type, and the only way from text to them and back.

`CLIENT` and `SERVER` map each type ``t`` to its class. Where both sides send the same type (`desc`, for one), the
client's class has the plain name and the server's says what it is: `PeerDesc`.
"""

from collections.abc import Mapping
from dataclasses import fields
from functools import cache
from types import MappingProxyType
from typing import Annotated, Any, Final, get_args

from pydantic import Field, TypeAdapter, ValidationError
from pydantic_core import from_json

from turnserver.signaling.protocol.client_messages import (
    Bye,
    Cand,
    ClientMessage,
    Counted,
    Desc,
    Diag,
    Hello,
    IceGet,
    Join,
    Leave,
    Mod,
    ModeReady,
    Msg,
    Peek,
    Ping,
    Reset,
    Restart,
    Stat,
    Update,
)
from turnserver.signaling.protocol.errors import ErrorCode, Refusal
from turnserver.signaling.protocol.fields import MAX_FRAME, Ice, IceServer
from turnserver.signaling.protocol.server_messages import (
    DiagVerdict,
    Error,
    Goodbye,
    HelloOk,
    IceUpdate,
    Joined,
    Knock,
    Mute,
    Ok,
    Paths,
    PeerBack,
    PeerCand,
    PeerDesc,
    PeerGap,
    PeerJoin,
    PeerLeave,
    PeerMsg,
    PeerReset,
    PeerRestart,
    PeerUpdate,
    Pong,
    RoomInfo,
    RoomUpdate,
    ServerMessage,
    Sync,
    Welcome,
)

__all__ = [
    "CLIENT",
    "SERVER",
    "Bye",
    "Cand",
    "ClientMessage",
    "Counted",
    "Desc",
    "Diag",
    "DiagVerdict",
    "Error",
    "Goodbye",
    "Hello",
    "HelloOk",
    "Ice",
    "IceGet",
    "IceServer",
    "IceUpdate",
    "Join",
    "Joined",
    "Knock",
    "Leave",
    "Mod",
    "ModeReady",
    "Msg",
    "Mute",
    "Ok",
    "Paths",
    "Peek",
    "PeerBack",
    "PeerCand",
    "PeerDesc",
    "PeerGap",
    "PeerJoin",
    "PeerLeave",
    "PeerMsg",
    "PeerReset",
    "PeerRestart",
    "PeerUpdate",
    "Ping",
    "Pong",
    "Reset",
    "Restart",
    "RoomInfo",
    "RoomUpdate",
    "ServerMessage",
    "Stat",
    "Sync",
    "Update",
    "Welcome",
    "client_adapter",
    "encode",
    "parse",
    "parse_server",
    "server_adapter",
]

_SHOWN: Final = 160
_WRITERS: Final[dict[type[Any], TypeAdapter[Any]]] = {}


def _type_of(kind: type[Any]) -> str:
    """The value of a message class's ``t``."""
    return str(next(field.default for field in fields(kind) if field.name == "t"))


CLIENT: Final[Mapping[str, type[ClientMessage]]] = MappingProxyType(
    {_type_of(kind): kind for kind in get_args(ClientMessage)}
)
"""The class of each type that clients send."""

SERVER: Final[Mapping[str, type[ServerMessage]]] = MappingProxyType(
    {_type_of(kind): kind for kind in get_args(ServerMessage)}
)
"""The class of each type that the server sends."""


def parse(text: str) -> ClientMessage:
    """A client's frame. Raises `Refusal`: too_large, bad_json, unknown_type, or bad_message with the field's path."""
    message: ClientMessage = _parse(text, client_adapter())
    return message


def parse_server(text: str) -> ServerMessage:
    """A server's frame, for clients and tests; raises as `parse` does."""
    message: ServerMessage = _parse(text, server_adapter())
    return message


def encode(message: ClientMessage | ServerMessage) -> str:
    """Compact JSON, without the fields that are None."""
    kind: type[Any] = type(message)
    return _writer(kind).dump_json(message, by_alias=True, exclude_none=True).decode()


@cache
def client_adapter() -> TypeAdapter[Any]:
    """Pydantic's view of everything a client may say."""
    return TypeAdapter(Annotated[ClientMessage, Field(discriminator="t")])


@cache
def server_adapter() -> TypeAdapter[Any]:
    """Pydantic's view of everything the server may say."""
    return TypeAdapter(Annotated[ServerMessage, Field(discriminator="t")])


def _writer(kind: type[Any]) -> TypeAdapter[Any]:
    if kind not in _WRITERS:
        _WRITERS[kind] = TypeAdapter(kind)
    return _WRITERS[kind]


def _parse(text: str, adapter: TypeAdapter[Any]) -> Any:
    try:
        data = text.encode() if len(text) <= MAX_FRAME else b""
    except UnicodeEncodeError:
        raise Refusal(ErrorCode.BAD_JSON, "not Unicode text") from None
    if len(text) > MAX_FRAME or len(data) > MAX_FRAME:
        raise Refusal(ErrorCode.TOO_LARGE, f"a frame has at most {MAX_FRAME} bytes", detail={"max": MAX_FRAME})
    try:
        return adapter.validate_json(data, strict=True)
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False, include_context=False)[0]
    raise _refusal(found["type"], found["msg"], found["loc"], data)


def _refusal(kind: str, msg: str, loc: tuple[int | str, ...], data: bytes) -> Refusal:
    if kind == "json_invalid":
        return Refusal(ErrorCode.BAD_JSON, msg[:_SHOWN])
    frame = from_json(data)
    if not isinstance(frame, dict):
        return Refusal(ErrorCode.BAD_MESSAGE, "a frame is a JSON object", path="")
    re, n = frame.get("id"), frame.get("n")
    seen: dict[str, Any] = {
        "re": re if isinstance(re, str) and 1 <= len(re) <= 32 else None,
        "n": n if type(n) is int and n >= 1 else None,
    }
    if kind == "union_tag_invalid" and isinstance(frame.get("t"), str):
        return Refusal(ErrorCode.UNKNOWN_TYPE, "no such type", path="t", **seen)
    path = ".".join(str(part) for part in loc[1:]) if len(loc) > 1 else "t"
    return Refusal(ErrorCode.BAD_MESSAGE, msg[:_SHOWN], path=path[:128], **seen)
