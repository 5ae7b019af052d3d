"""Routes for operators: ``GET /v1/status``, ``/v1/history`` and ``/v1/config``. They change nothing."""

from collections.abc import Mapping
from typing import Any, Final, Protocol

from aiohttp import web

from turnserver.signaling.edge.gate import Caller
from turnserver.signaling.edge.openapi import ApiAnswer, ApiOperation, ApiRoute
from turnserver.signaling.edge.operator_answers import ConfigAnswer, HistoryAnswer, ServerStatusAnswer
from turnserver.signaling.edge.requests import as_json
from turnserver.signaling.edge.scopes import Scope, spelled

__all__ = ["OperatorView", "operator_routes"]


class OperatorView(Protocol):
    """What a server shows to its operators, as JSON values."""

    def status(self) -> Mapping[str, Any]:
        """The numbers now."""

    def history(self) -> Mapping[str, Any]:
        """The last hour."""

    def config(self) -> Mapping[str, Any]:
        """The configuration in force; secrets are masked."""


def operator_routes(view: OperatorView) -> Mapping[str, Mapping[str, ApiRoute]]:
    """The routes below ``/v1`` that show a view."""

    async def status(request: web.Request, caller: Caller) -> web.Response:
        key = {"name": caller.name, "scopes": spelled(caller.scopes, " ").split()}
        return as_json({"key": key, **view.status()})

    async def history(request: web.Request, caller: Caller) -> web.Response:
        return as_json(view.history())

    async def config(request: web.Request, caller: Caller) -> web.Response:
        return as_json({"config": view.config()})

    return {
        "/status": {"GET": ApiRoute(status, _STATUS)},
        "/history": {"GET": ApiRoute(history, _HISTORY)},
        "/config": {"GET": ApiRoute(config, _CONFIG)},
    }


_READING: Final = (Scope.ADMIN_READ,)

_STATUS: Final = ApiOperation(
    "getStatus",
    "The server in numbers, now.",
    "server",
    (ApiAnswer(200, "The numbers.", ServerStatusAnswer),),
    _READING,
)
_HISTORY: Final = ApiOperation(
    "getHistory",
    "The last hour, in samples that the server keeps itself.",
    "server",
    (ApiAnswer(200, "The samples.", HistoryAnswer),),
    _READING,
)
_CONFIG: Final = ApiOperation(
    "getConfiguration",
    "The configuration in force; secrets are masked.",
    "server",
    (ApiAnswer(200, "Every option.", ConfigAnswer),),
    _READING,
)
