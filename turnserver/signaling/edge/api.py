"""The HTTP API beside the WebSocket: TURN credentials, room tokens, rooms as the server sees them, the schemas.

Every answer is JSON, also an error: ``{"error": {"code", "msg"}}``. Each route says what it does and which keys may use
it (`turnserver.signaling.edge.openapi`): from that come the check of the key and the OpenAPI document.
"""

import hashlib
import logging
import re
import secrets
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final, Protocol

from aiohttp import web
from aiohttp.typedefs import Handler

from auth.errors import InvalidCredential
from turnserver.clock import system_clock
from turnserver.core.types import Now
from turnserver.lines import FREQUENT, Lines
from turnserver.signaling.edge.answers import (
    DrainAnswer,
    RecordingAnswer,
    RoomAnswer,
    RoomsAnswer,
    TokenAnswer,
    TurnAnswer,
)
from turnserver.signaling.edge.api_keys import KeyRing
from turnserver.signaling.edge.gate import Caller, Gate
from turnserver.signaling.edge.ice import IceServers
from turnserver.signaling.edge.key_file import WatchedKeys
from turnserver.signaling.edge.openapi import ApiAnswer, ApiOperation, ApiQuery, ApiRoute, api_document
from turnserver.signaling.edge.operators import OperatorView, operator_routes
from turnserver.signaling.edge.origins import doorway_of, is_named, reached_by
from turnserver.signaling.edge.probes import PROBE, ProbeBack, Probes
from turnserver.signaling.edge.refusals import ApiCode
from turnserver.signaling.edge.requests import (
    MAX_REASON,
    ApiError,
    TokenRequest,
    as_json,
    read_reason,
    read_token_request,
    read_ttl,
)
from turnserver.signaling.edge.roomview import RoomSource, room_json, summary_json
from turnserver.signaling.edge.scopes import Scope
from turnserver.signaling.edge.sections import SignalingSection
from turnserver.signaling.edge.tokens import TokenError, TokenKeys
from turnserver.signaling.protocol.errors import Denial, SignalCode
from turnserver.signaling.protocol.schema import json_schema
from turnserver.signaling.rooms.settings import Grant
from turnserver.signaling.truth.relays import RelayView

__all__ = ["Api", "ApiOptions", "RoomService"]

MAX_TTL: Final = 86400
"""Maximum lifetime in seconds of a credential from `/v1/turn`."""

_PREFIX: Final = "/v1"
_ROOM = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", re.ASCII)
_PREFLIGHT_AGE: Final = "600"

_SEEN: Final = (Scope.ROOMS, Scope.ADMIN_READ)
"""The scopes that suffice to look at rooms."""

_QUIET: Final = frozenset(
    {
        ApiCode.UNAUTHORIZED,
        ApiCode.BAD_KEY,
        SignalCode.BAD_TOKEN,
        ApiCode.NOT_FOUND,
        ApiCode.METHOD_NOT_ALLOWED,
        ApiCode.TOO_LARGE,
    }
)
"""What scanners cause, or what has a line of its own (`wrong API key`)."""

_logger = logging.getLogger("meshturn.signaling")


class RoomService(Protocol):
    """What the API needs from the service."""

    @property
    def hub(self) -> RoomSource:
        """The rooms."""

    @property
    def relays(self) -> RelayView:
        """What the relays carry for them."""

    def media_of(self, room_id: str) -> Mapping[str, object] | None:
        """What the SFU says of a room; None if the room does not go through one."""

    def work(self) -> None:
        """Carry out the hub's commands."""

    def drain(self) -> Mapping[str, object]:
        """Begin to drain the whole server; what is left of it. Raises RuntimeError if it cannot."""


@dataclass(frozen=True, slots=True)
class ApiOptions:
    """Who may use the API, and what they get; can be replaced while the server runs."""

    tokens: TokenKeys | None = None
    ice: IceServers | None = None
    api_keys: Mapping[str, str] = field(default_factory=dict, repr=False)
    admin_keys: Mapping[str, str] = field(default_factory=dict, repr=False)
    origins: Collection[str] = ()
    stored: WatchedKeys | None = None
    """The keys of a file."""

    @property
    def has_operators(self) -> bool:
        """Whether there may be a key with which somebody can operate the server."""
        return bool(self.admin_keys) or self.stored is not None

    @classmethod
    def from_config(
        cls, signaling: SignalingSection, tokens: TokenKeys, ice: IceServers, before: "ApiOptions | None" = None
    ) -> "ApiOptions":
        """The keys and origins that the configuration names. A file of keys that was in use ``before`` stays so.

        Raises `turnserver.errors.StartupError` for another one that cannot be used.
        """
        stored, path = (None if before is None else before.stored), signaling.keys_file
        if stored is None or stored.path != path:
            stored = None if path is None else WatchedKeys(path)
        return cls(
            tokens,
            ice,
            {name: key.get_secret_value() for name, key in signaling.api_keys.items()},
            {name: key.get_secret_value() for name, key in signaling.admin_keys.items()},
            signaling.origins,
            stored,
        )


_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Api:
    """The handlers. ``options`` may be assigned while the server runs.

    ``view`` is what operators are shown, if any, and ``probe`` sends what probes ask for.
    """

    def __init__(
        self,
        service: RoomService,
        options: ApiOptions,
        clock: Callable[[], Now] = system_clock,
        view: OperatorView | None = None,
        probe: ProbeBack | None = None,
    ) -> None:
        self._service = service
        self._view = view
        self._clock = clock
        self._lines = Lines(_logger, clock=lambda: clock().mono)
        self._often = Lines(_logger, FREQUENT, clock=lambda: clock().mono)
        self._gate = Gate(KeyRing({}, {}), self._lines)
        self._probes = Probes(probe, clock)
        self.options = options

    def mount(self, app: web.Application) -> None:
        """Add the routes to an application, before it starts."""
        for path, methods in self.routes().items():
            resource = app.router.add_resource(_PREFIX + path)
            for method, route in methods.items():
                resource.add_route(method, self.guarded(route))
            allowed = [*methods, "OPTIONS"]
            resource.add_route("OPTIONS", self.preflight(allowed))
            resource.add_route("*", self._answered(_wrong_method(allowed)))

    @property
    def options(self) -> ApiOptions:
        """Who may use the API, and what they get."""
        return self._options

    @options.setter
    def options(self, options: ApiOptions) -> None:
        self._options = options
        self._gate.ring = KeyRing(options.api_keys, options.admin_keys, options.stored or tuple)

    def routes(self) -> Mapping[str, Mapping[str, ApiRoute]]:
        """Every path below ``/v1`` with its methods."""
        return {
            "/turn": {"GET": ApiRoute(self._turn, _TURN)},
            "/tokens": {"POST": ApiRoute(self._tokens, _TOKENS)},
            "/schema.json": {"GET": ApiRoute(self._schema, _SCHEMA)},
            "/openapi.json": {"GET": ApiRoute(self._openapi, _OPENAPI)},
            "/drain": {"POST": ApiRoute(self._drain, _DRAIN)},
            "/probe": {"POST": ApiRoute(self._probes.handle, PROBE)},
            "/rooms": {"GET": ApiRoute(self._rooms, _ROOMS)},
            "/rooms/{room}": {
                "GET": ApiRoute(self._room, _SHOW_ROOM),
                "DELETE": ApiRoute(self._close_room, _CLOSE_ROOM),
            },
            "/rooms/{room}/recording": {
                "POST": ApiRoute(self._record, _RECORD),
                "DELETE": ApiRoute(self._record, _STOP_RECORDING),
            },
            "/rooms/{room}/peers/{peer}": {"DELETE": ApiRoute(self._remove_peer, _REMOVE_PEER)},
            **({} if self._view is None else operator_routes(self._view)),
        }

    @cached_property
    def document(self) -> Mapping[str, Any]:
        """The OpenAPI document."""
        return api_document({_PREFIX + path: methods for path, methods in self.routes().items()})

    def guarded(self, route: ApiRoute) -> _Handler:
        """A handler behind the check of the caller's key, for what can be requested without `mount`, too."""
        about = route.about

        async def handle(request: web.Request) -> web.StreamResponse:
            caller = Caller()
            if about.enough is not None:
                tokens = self.options.tokens if about.by_token else None
                caller = self._gate.admit(request, self._clock(), about.enough, tokens)
            return await route.handler(request, caller)

        return self._answered(handle)

    def _answered(self, handler: _Handler) -> _Handler:
        """A handler with JSON errors, and answers that are not cached and that pages of allowed origins can read."""

        async def handle(request: web.Request) -> web.StreamResponse:
            try:
                response = await handler(request)
            except ApiError as error:
                self._say(request, error)
                response = as_json({"error": {"code": str(error.code), "msg": str(error)}}, error.status)
                response.headers.update(error.headers)
            if not response.prepared:
                response.headers.setdefault("Cache-Control", "no-store")
                response.headers.update(self.cors(request))
            return response

        return handle

    def _say(self, request: web.Request, error: ApiError) -> None:
        """Log a refused request: at level info what the operator of this or the other program can act on."""
        quiet = error.code in _QUIET
        fields = {"client": request.remote or "", "method": request.method, "path": request.path}
        fields |= {"status": str(error.status), "cause": str(error.code), "why": str(error)}
        lines, level = (self._often, logging.DEBUG) if quiet else (self._lines, logging.INFO)
        lines.write(level, "API request refused", fields, request.remote)

    def for_admins(self, handler: Handler) -> Handler:
        """A handler of another part of the server, for keys that may see whatever an operator sees."""

        async def handle(request: web.Request) -> web.StreamResponse:
            self._gate.admit(request, self._clock(), (Scope.ADMIN_READ,))
            return await handler(request)

        return self._answered(handle)

    def preflight(self, methods: Sequence[str]) -> _Handler:
        """The answer to a CORS preflight request (Fetch §3.2)."""

        async def handle(request: web.Request) -> web.StreamResponse:
            headers = self.cors(request)
            if headers.get("Access-Control-Allow-Origin"):
                headers["Access-Control-Allow-Methods"] = ", ".join(methods)
                headers["Access-Control-Allow-Headers"] = "Authorization, Content-Type"
                headers["Access-Control-Max-Age"] = _PREFLIGHT_AGE
            return web.Response(status=204, headers={"Allow": ", ".join(methods), **headers})

        return handle

    def cors(self, request: web.Request) -> dict[str, str]:
        """The headers with which pages of allowed origins can read an answer."""
        origins = self.options.origins
        if "*" in origins:
            return {"Access-Control-Allow-Origin": "*"}
        if not origins:
            return {}
        origin = request.headers.get("Origin", "")
        allowed = {"Access-Control-Allow-Origin": origin} if is_named(origin, origins) else {}
        return {"Vary": "Origin", **allowed}

    # TURN credentials

    async def _turn(self, request: web.Request, caller: Caller) -> web.Response:
        """``GET /v1/turn``: a credential in the shape of draft-uberti-behave-turn-rest §2.2."""
        ice = self.options.ice
        if ice is None or not ice.has_credentials:
            raise ApiError(ApiCode.NO_TURN, "this server cannot make TURN credentials: auth.shared_secrets is empty")
        query = request.query
        if query.get("service", "turn") != "turn":
            raise ApiError(ApiCode.BAD_REQUEST, 'the only service is "turn"')
        now = self._clock()
        ttl = read_ttl(query.get("ttl"), ice.lifetime)
        if caller.grant is None:
            user = query.get("username", "")
            ttl = min(ttl, MAX_TTL)
        else:
            if self._service.hub.is_banned(caller.grant, request.remote or "", now):
                raise ApiError(ApiCode.BANNED, "you are banned from this room")
            user = _user_of(caller.grant)
            ttl = max(1, min(ttl, ice.lifetime, int(caller.grant.expires - now.wall)))
        try:
            made = ice.credentials(user, ttl, now.wall)
        except InvalidCredential as error:
            raise ApiError(ApiCode.BAD_REQUEST, f"this username cannot be used: {error}") from None
        assert made is not None
        who = {"key": caller.name} if caller.grant is None else {"room": caller.grant.room or "*"}
        fields = {"client": reached_by(request).client, **who, "user": user, "ttl": ttl}
        self._often.write(logging.INFO, "TURN credential issued", fields, reached_by(request).client)
        uris = [url for url in ice.urls(doorway_of(request)) if url.startswith("turn")]
        return as_json({"username": made.username, "password": made.password, "ttl": ttl, "uris": uris})

    # Room tokens

    async def _tokens(self, request: web.Request, caller: Caller) -> web.Response:
        """``POST /v1/tokens``: a room token."""
        keys = self.options.tokens
        if keys is None or not keys.can_mint:
            raise ApiError(
                ApiCode.NO_KEY, "this server cannot sign tokens: signaling.key and auth.shared_secrets are empty"
            )
        asked = await read_token_request(request)
        now = self._clock()
        try:
            token = keys.mint(
                asked.room,
                asked.role,
                asked.ttl,
                now.wall,
                token_id=secrets.token_urlsafe(12),
                name=asked.name,
                subject=asked.sub,
                caps=asked.caps,
                maximum=asked.max,
                once=asked.once,
                uses=asked.uses,
                shared=asked.shared,
            )
        except TokenError as error:
            raise ApiError(ApiCode.BAD_REQUEST, str(error)) from None
        fields = {"key": caller.name, "room": asked.room, "role": asked.role, "ttl": asked.ttl}
        _logger.info("room token signed", extra={"fields": fields})
        answer = {"token": token, "room": asked.room, "role": asked.role, "expires_at": int(now.wall) + asked.ttl}
        if _ROOM.fullmatch(asked.room):
            answer["path"] = f"/call/{asked.room}#token={token}"
        return as_json(answer, 201)

    # Rooms

    async def _rooms(self, request: web.Request, caller: Caller) -> web.Response:
        """``GET /v1/rooms``: every room, in short."""
        return as_json({"rooms": [summary_json(room) for room in self._service.hub.rooms()]})

    async def _room(self, request: web.Request, caller: Caller) -> web.Response:
        """``GET /v1/rooms/{room}``: its participants, and the path of each pair."""
        room = self._service.hub.room(request.match_info["room"])
        if room is None:
            raise _no_such("room")
        return as_json(room_json(room, self._service.relays, self._service.media_of(room.id)))

    async def _close_room(self, request: web.Request, caller: Caller) -> web.Response:
        """``DELETE /v1/rooms/{room}``: remove all participants."""
        room = request.match_info["room"]
        if not self._service.hub.close_room(room, self._clock()):
            raise _no_such("room")
        self._service.work()
        _logger.info("room closed", extra={"fields": {"key": caller.name, "room": room}})
        return web.Response(status=204)

    async def _record(self, request: web.Request, caller: Caller) -> web.Response:
        """``POST`` and ``DELETE /v1/rooms/{room}/recording``: the server records the room, or does so no more."""
        room, on = request.match_info["room"], request.method == "POST"
        try:
            found = self._service.hub.record(room, on, self._clock())
        except Denial as refusal:
            raise ApiError(ApiCode.NO_RECORDING, refusal.msg) from None
        finally:
            self._service.work()
        if not found:
            raise _no_such("room")
        what = "recording of a room asked for" if on else "recording of a room ended"
        _logger.info(what, extra={"fields": {"key": caller.name, "room": room}})
        return as_json({"room": room}, 202) if on else web.Response(status=204)

    async def _remove_peer(self, request: web.Request, caller: Caller) -> web.Response:
        """``DELETE /v1/rooms/{room}/peers/{peer}``: remove one participant."""
        room, peer = request.match_info["room"], request.match_info["peer"]
        if not self._service.hub.kick(room, peer, read_reason(request), self._clock()):
            raise _no_such("room or participant")
        self._service.work()
        _logger.info("participant removed", extra={"fields": {"key": caller.name, "room": room, "peer": peer}})
        return web.Response(status=204)

    # The server

    async def _drain(self, request: web.Request, caller: Caller) -> web.Response:
        """``POST /v1/drain``: take nothing new, and stop when nothing is left. Asking again changes nothing."""
        try:
            left = self._service.drain()
        except RuntimeError as error:
            raise ApiError(ApiCode.NO_DRAIN, str(error)) from None
        _logger.info("drain requested", extra={"fields": {"key": caller.name}})
        return as_json(left, 202)

    async def _schema(self, request: web.Request, caller: Caller) -> web.Response:
        """``GET /v1/schema.json``: the messages of the protocol, for everybody."""
        response = as_json(json_schema())
        response.content_type = _SCHEMA_TYPE
        response.headers["Cache-Control"] = "no-cache"
        return response

    async def _openapi(self, request: web.Request, caller: Caller) -> web.Response:
        """``GET /v1/openapi.json``: this API, for everybody."""
        response = as_json(self.document)
        response.headers["Cache-Control"] = "no-cache"
        return response


def _wrong_method(allowed: Sequence[str]) -> _Handler:
    async def handle(request: web.Request) -> web.StreamResponse:
        methods = ", ".join(allowed)
        raise ApiError(ApiCode.METHOD_NOT_ALLOWED, f"allowed methods: {methods}", {"Allow": methods})

    return handle


def _no_such(what: str) -> ApiError:
    return ApiError(ApiCode.NOT_FOUND, f"there is no such {what}")


def _user_of(grant: Grant) -> str:
    """The user of a TURN credential requested with a room token: the token's holder, not a participant."""
    if grant.once or grant.uses:
        raise ApiError(ApiCode.FORBIDDEN, "a token with a number of uses is valid for joining a room only")
    room = "any" if grant.room is None else hashlib.sha256(grant.room.encode()).hexdigest()[:10]
    return f"{room}.token-{hashlib.sha256((grant.token_id or '').encode()).hexdigest()[:16]}"


# What the routes do. They stand here, and not in `Api.routes`, because they are the same for every server.

_SCHEMA_TYPE: Final = "application/schema+json"
_GONE: Final = ApiAnswer(204, "Done.")
_TEXT: Final[Mapping[str, Any]] = {"type": "string"}

_TURN: Final = ApiOperation(
    "getTurnCredential",
    "Get a TURN credential, in the format of draft-uberti-behave-turn-rest.",
    "turn",
    (ApiAnswer(200, "The credential.", TurnAnswer),),
    (Scope.TURN,),
    by_token=True,
    refusals=(ApiCode.BAD_REQUEST, ApiCode.BANNED, ApiCode.NO_TURN),
    query=(
        ApiQuery("service", 'Only "turn".', {"type": "string", "const": "turn"}),
        ApiQuery("username", "The user that quotas and the log name; a room token names its own.", _TEXT),
        ApiQuery("ttl", "Seconds for which it is asked, at most a day.", {"type": "integer", "minimum": 1}),
    ),
)
_TOKENS: Final = ApiOperation(
    "signRoomToken",
    "Sign a room token.",
    "tokens",
    (ApiAnswer(201, "The token.", TokenAnswer),),
    (Scope.TOKENS,),
    refusals=(ApiCode.BAD_REQUEST, ApiCode.TOO_LARGE, ApiCode.NO_KEY),
    body=TokenRequest,
)
_ROOMS: Final = ApiOperation(
    "listRooms", "List the rooms.", "rooms", (ApiAnswer(200, "Every room, in short.", RoomsAnswer),), _SEEN
)
_SHOW_ROOM: Final = ApiOperation(
    "showRoom",
    "Show a room: its participants, and the path of each pair.",
    "rooms",
    (ApiAnswer(200, "The room.", RoomAnswer),),
    _SEEN,
    refusals=(ApiCode.NOT_FOUND,),
)
_CLOSE_ROOM: Final = ApiOperation(
    "closeRoom", "Remove all participants.", "rooms", (_GONE,), (Scope.ROOMS,), refusals=(ApiCode.NOT_FOUND,)
)
_RECORD: Final = ApiOperation(
    "recordRoom",
    "Record the room at the server; all participants are told.",
    "rooms",
    (ApiAnswer(202, "The recording begins.", RecordingAnswer),),
    (Scope.ROOMS,),
    refusals=(ApiCode.NOT_FOUND, ApiCode.NO_RECORDING),
)
_STOP_RECORDING: Final = ApiOperation(
    "stopRecording",
    "Record the room no more.",
    "rooms",
    (_GONE,),
    (Scope.ROOMS,),
    refusals=(ApiCode.NOT_FOUND, ApiCode.NO_RECORDING),
)
_REMOVE_PEER: Final = ApiOperation(
    "removeParticipant",
    "Remove one participant.",
    "rooms",
    (_GONE,),
    (Scope.ROOMS,),
    refusals=(ApiCode.BAD_REQUEST, ApiCode.NOT_FOUND),
    query=(ApiQuery("reason", "The text that the participant gets.", {"type": "string", "maxLength": MAX_REASON}),),
)
_DRAIN: Final = ApiOperation(
    "drain",
    "Take nothing new, and stop the server when nothing is left.",
    "server",
    (ApiAnswer(202, "What is left.", DrainAnswer),),
    (),
    refusals=(ApiCode.NO_DRAIN,),
)
_SCHEMA: Final = ApiOperation(
    "getMessageSchema",
    "The JSON Schema of the WebSocket's messages.",
    "rooms",
    (ApiAnswer(200, "The schema.", media=_SCHEMA_TYPE),),
    None,
)
_OPENAPI: Final = ApiOperation(
    "getApiDescription", "This document.", "server", (ApiAnswer(200, "OpenAPI 3.1.", media="application/json"),), None
)
