"""The OpenAPI document of the HTTP API, made from the descriptions that the routes themselves have.

It is OpenAPI 3.1, whose schemas are those of JSON Schema 2020-12. It names no version of the program: anybody may ask.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from aiohttp import web
from pydantic import BaseModel
from pydantic.json_schema import JsonSchemaMode, models_json_schema

from turnserver.signaling.edge.answers import ErrorAnswer, StatusAnswer
from turnserver.signaling.edge.gate import Caller
from turnserver.signaling.edge.refusals import ApiCode
from turnserver.signaling.edge.scopes import Scope
from turnserver.signaling.protocol.errors import MEANINGS, SignalCode

__all__ = ["ApiAnswer", "ApiOperation", "ApiQuery", "ApiRoute", "api_document"]

_REF: Final = "#/components/schemas/{model}"

_KEY_CODES: Final = (
    ApiCode.UNAUTHORIZED,
    ApiCode.BAD_KEY,
    ApiCode.KEY_EXPIRED,
    ApiCode.FORBIDDEN,
    ApiCode.RATE_LIMITED,
)
"""What whoever has no right to ask is answered."""

_TOKEN_CODES: Final = (SignalCode.BAD_TOKEN, SignalCode.TOKEN_EXPIRED, SignalCode.TOKEN_NOT_YET)

_UNAUTHORIZED: Final = 401

_DESCRIPTION: Final = """\
TURN credentials, room tokens, and the operation of a meshturn server. Keys and tokens are sent in
`Authorization: Bearer` only. Errors are `{"error": {"code", "msg"}}`; a code never changes."""


class ApiAnswer(NamedTuple):
    """One way in which an operation succeeds: what is in the body, or only its type (``media``), if it has one."""

    status: int
    meaning: str
    body: type[BaseModel] | None = None
    media: str = ""


class ApiQuery(NamedTuple):
    """A parameter of the URL's query, with its JSON Schema."""

    name: str
    meaning: str
    schema: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ApiOperation:
    """What can be done at a path.

    ``enough`` are the scopes of which any one suffices, besides ``admin``, which always does; with None everybody may
    ask. With ``by_token``, a room token suffices, too. ``refusals`` are the codes that it has besides those about keys.
    """

    name: str
    summary: str
    tag: str
    answers: tuple[ApiAnswer, ...]
    enough: tuple[Scope, ...] | None
    by_token: bool = False
    refusals: tuple[ApiCode, ...] = ()
    query: tuple[ApiQuery, ...] = ()
    body: type[BaseModel] | None = None

    @property
    def models(self) -> list[tuple[type[BaseModel], JsonSchemaMode]]:
        """The types of its bodies."""
        found: list[tuple[type[BaseModel], JsonSchemaMode]] = [] if self.body is None else [(self.body, "validation")]
        return [*found, *((each.body, "serialization") for each in self.answers if each.body is not None)]

    @property
    def codes(self) -> tuple[ApiCode | SignalCode, ...]:
        """Every code that it may be refused with."""
        about_keys = () if self.enough is None else _KEY_CODES
        return (*about_keys, *(_TOKEN_CODES if self.by_token else ()), *self.refusals)


class ApiRoute(NamedTuple):
    """A handler, and what it does."""

    handler: Callable[[web.Request, Caller], Awaitable[web.StreamResponse]]
    about: ApiOperation


_READY: Final = (
    ApiAnswer(200, "It takes new clients.", StatusAnswer),
    ApiAnswer(503, "It drains, and takes no new client.", StatusAnswer),
)

_ELSEWHERE: Final[Mapping[str, Mapping[str, ApiOperation]]] = {
    "/v1/ws": {
        "GET": ApiOperation(
            "connect",
            "The WebSocket of rooms: subprotocol `signal.v1.json`, messages as in `/v1/schema.json`.",
            "rooms",
            (ApiAnswer(101, "The connection is a WebSocket from here on."),),
            None,
            refusals=(
                ApiCode.UNSUPPORTED_VERSION,
                ApiCode.FORBIDDEN,
                ApiCode.UPGRADE_REQUIRED,
                ApiCode.TOO_MANY_CONNECTIONS,
                ApiCode.DRAINING,
            ),
        )
    },
    "/healthz": {
        "GET": ApiOperation(
            "health", "Whether the process answers.", "health", (ApiAnswer(200, "It does.", StatusAnswer),), None
        )
    },
    "/readyz": {"GET": ApiOperation("ready", "Whether the server takes new clients.", "health", _READY, None)},
}
"""What is served beside the API's own routes."""


_NAMED: Final = {"room": "The name of a room.", "peer": "The id of a participant."}
"""What stands in braces in paths."""


def api_document(routes: Mapping[str, Mapping[str, ApiRoute]]) -> dict[str, Any]:
    """The document for these routes (whole path → method → route), and for what is served beside them."""
    operations = {
        **{path: {method: route.about for method, route in methods.items()} for path, methods in routes.items()},
        **_ELSEWHERE,
    }
    models = [pair for methods in operations.values() for about in methods.values() for pair in about.models]
    _, schemas = models_json_schema([*dict.fromkeys(models), (ErrorAnswer, "serialization")], ref_template=_REF)
    return {
        "openapi": "3.1.0",
        "info": {"title": "meshturn", "version": "1", "description": _DESCRIPTION},
        "servers": [{"url": "/"}],
        "paths": {
            path: {method.lower(): _operation(about, _in_path(path)) for method, about in methods.items()}
            for path, methods in operations.items()
        },
        "components": {
            "schemas": schemas["$defs"],
            "securitySchemes": {
                "key": {"type": "http", "scheme": "bearer", "description": _scopes_text()},
                "roomToken": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"},
            },
        },
    }


def _scopes_text() -> str:
    listed = "\n".join(f"- `{scope}`: {scope.meaning}" for scope in Scope)
    return f"An API key. Any one of the scopes listed at an operation is enough.\n\n{listed}"


def _operation(about: ApiOperation, in_path: list[dict[str, Any]]) -> dict[str, Any]:
    in_query = [
        {"name": each.name, "in": "query", "description": each.meaning, "schema": dict(each.schema)}
        for each in about.query
    ]
    found: dict[str, Any] = {
        "operationId": about.name,
        "summary": about.summary,
        "tags": [about.tag],
        "responses": {**_successes(about.answers), **_refusals(about.codes)},
        "security": _security(about),
    }
    if in_path or in_query:
        found["parameters"] = [*in_path, *in_query]
    if about.body is not None:
        found["requestBody"] = {"required": True, "content": {"application/json": {"schema": _ref(about.body)}}}
    return found


def _security(about: ApiOperation) -> list[dict[str, list[str]]]:
    """One requirement for each scope, since any one is enough; an empty list is for everybody."""
    if about.enough is None:
        return []
    by_key = [{"key": [str(scope)]} for scope in dict.fromkeys((*about.enough, Scope.ADMIN))]
    by_token: list[dict[str, list[str]]] = [{"roomToken": []}] if about.by_token else []
    return [*by_key, *by_token]


def _successes(answers: Iterable[ApiAnswer]) -> dict[str, Any]:
    found = {}
    for each in answers:
        response: dict[str, Any] = {"description": each.meaning}
        if each.body is not None:
            response["content"] = {"application/json": {"schema": _ref(each.body)}}
        elif each.media:
            response["content"] = {each.media: {}}
        found[str(each.status)] = response
    return found


def _refusals(codes: Iterable[ApiCode | SignalCode]) -> dict[str, Any]:
    by_status: dict[int, list[str]] = {}
    for code in codes:
        status, meaning = (
            (code.status, code.meaning) if isinstance(code, ApiCode) else (_UNAUTHORIZED, MEANINGS[code][0])
        )
        by_status.setdefault(status, []).append(f"`{code}`: {meaning}")
    return {
        str(status): {
            "description": "\n".join(meanings),
            "content": {"application/json": {"schema": _ref(ErrorAnswer)}},
        }
        for status, meanings in sorted(by_status.items())
    }


def _ref(model: type[BaseModel]) -> dict[str, str]:
    return {"$ref": _REF.format(model=model.__name__)}


def _in_path(path: str) -> list[dict[str, Any]]:
    names = [part[1:-1].partition(":")[0] for part in path.split("/") if part.startswith("{")]
    schema = {"type": "string", "minLength": 1}
    return [
        {"name": name, "in": "path", "required": True, "description": _NAMED[name], "schema": schema} for name in names
    ]
