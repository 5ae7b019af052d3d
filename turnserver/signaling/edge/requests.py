"""Requests to the HTTP API: their errors, and how their parts are read."""

import json
import re
from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal, TypeVar

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from meshturn.root import MeshturnError
from turnserver.signaling.edge.refusals import ApiCode
from turnserver.signaling.protocol.errors import SignalCode
from turnserver.signaling.protocol.fields import MAX_USES

__all__ = [
    "DEFAULT_TOKEN_TTL",
    "MAX_BODY",
    "MAX_REASON",
    "MAX_TOKEN_TTL",
    "ApiError",
    "TokenRequest",
    "as_json",
    "read_bearer",
    "read_body",
    "read_reason",
    "read_token_request",
    "read_ttl",
]

MAX_BODY: Final = 16 * 1024
"""Maximum size of a request in bytes."""

MAX_BEARER: Final = 8192
"""Maximum length in bytes of a key or token; longer ones are refused unread."""

MAX_TOKEN_TTL: Final = 366 * 86400
"""Maximum lifetime in seconds of a room token."""

DEFAULT_TOKEN_TTL: Final = 3600

MAX_REASON: Final = 200
"""Maximum length of the text that a removed participant gets."""

_UNAUTHORIZED: Final = 401

_Kind = TypeVar("_Kind", bound=BaseModel)


class ApiError(MeshturnError):
    """An error answer; a code of the protocol is that of a refused token (401)."""

    def __init__(self, code: ApiCode | SignalCode, message: str, headers: Mapping[str, str] | None = None) -> None:
        self.status = code.status if isinstance(code, ApiCode) else _UNAUTHORIZED
        self.code = code
        self.headers = dict(headers or {})
        super().__init__(message)


class TokenRequest(BaseModel):
    """The room token that is asked for; an unknown field is an error."""

    model_config = ConfigDict(extra="forbid", strict=True, hide_input_in_errors=True)

    room: Annotated[str, Field(description='The room, or "*" for every room.', examples=["demo"])]
    role: Annotated[Literal["host", "member"], Field(description="Hosts can moderate.")] = "member"
    ttl: Annotated[int, Field(ge=1, le=MAX_TOKEN_TTL, description="Seconds for which it admits.")] = DEFAULT_TOKEN_TTL
    name: Annotated[str | None, Field(description="The display name; it cannot be changed in the lobby.")] = None
    sub: Annotated[str | None, Field(description="Identifies the participant; bans use it.")] = None
    caps: Annotated[
        list[Literal["publish", "screen", "message"]] | None,
        Field(description="What is allowed; without it, everything."),
    ] = None
    max: Annotated[int | None, Field(description="The size of the room, if this participant opens it.")] = None
    once: Annotated[bool, Field(description="Good for one session only.")] = False
    uses: Annotated[int, Field(ge=1, le=MAX_USES, description="Good for so many sessions.")] | None = None
    shared: Annotated[bool, Field(description="Several people have it, so bans go by the address.")] = False


def as_json(value: Any, status: int = 200) -> web.Response:
    """An answer."""
    return web.json_response(value, status=status, dumps=lambda each: json.dumps(each, separators=(",", ":")))


def read_bearer(request: web.Request) -> bytes | None:
    """The token after ``Bearer`` (RFC 6750 §2.1); None without it."""
    scheme, _, shown = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "bearer":
        return None
    encoded = shown.strip(" ").encode("utf-8", "surrogateescape")
    return encoded[: MAX_BEARER + 1] or None


def read_ttl(text: str | None, default: int) -> int:
    """The lifetime that a query asks for. Raises `ApiError`."""
    if text is None:
        return default
    if not re.fullmatch(r"[0-9]{1,9}", text, re.ASCII) or int(text) == 0:
        raise ApiError(ApiCode.BAD_REQUEST, "ttl must be a number of seconds, at least 1")
    return int(text)


def read_reason(request: web.Request) -> str:
    """The reason in a query, empty without one. Raises `ApiError`."""
    reason = request.query.get("reason", "")
    if len(reason) > MAX_REASON or not reason.isprintable():
        raise ApiError(ApiCode.BAD_REQUEST, f"reason must be one line of at most {MAX_REASON} characters")
    return reason


async def read_token_request(request: web.Request) -> TokenRequest:
    """The body of ``POST /v1/tokens``. Raises `ApiError`."""
    return await read_body(request, TokenRequest)


async def read_body(request: web.Request, kind: type[_Kind]) -> _Kind:
    """A body in JSON. Raises `ApiError` for one that is none, or that does not fit."""
    try:
        return kind.model_validate(json.loads(await _body(request)))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"])) or "the request"
        raise ApiError(ApiCode.BAD_REQUEST, f"{where[:60]}: {first['msg']}") from None
    except (ValueError, RecursionError):
        raise ApiError(ApiCode.BAD_REQUEST, "the request is not JSON") from None


async def _body(request: web.Request) -> bytes:
    """The body, read up to its largest size."""
    body = bytearray()
    while chunk := await request.content.read(MAX_BODY + 1 - len(body)):
        body += chunk
        if len(body) > MAX_BODY:
            raise ApiError(ApiCode.TOO_LARGE, f"at most {MAX_BODY} bytes")
    return bytes(body)
