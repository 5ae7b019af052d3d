"""The HTTP API beside the WebSocket: TURN credentials, room tokens, rooms as the server sees them, the schema.

Every answer is JSON, also an error: ``{"error": {"code", "msg"}}``. Keys and tokens are accepted only in
``Authorization: Bearer``, because URLs are logged.
"""

import hashlib
import json
import logging
import re
import secrets
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Final, Literal, NamedTuple, Protocol

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from auth.errors import InvalidCredential
from meshturn.root import MeshturnError
from turnserver.clock import system_clock
from turnserver.core.types import Now
from turnserver.lines import FREQUENT, Lines
from turnserver.signaling.edge.api_keys import KeyRing
from turnserver.signaling.edge.ice import IceServers
from turnserver.signaling.edge.origins import doorway_of, is_named, reached_by
from turnserver.signaling.edge.refusals import ApiCode
from turnserver.signaling.edge.roomview import RoomSource, room_json, summary_json
from turnserver.signaling.edge.sections import SignalingSection
from turnserver.signaling.edge.tokens import TokenError, TokenKeys
from turnserver.signaling.protocol.errors import Denial, SignalCode
from turnserver.signaling.protocol.fields import MAX_USES
from turnserver.signaling.protocol.schema import json_schema
from turnserver.signaling.rooms.settings import Grant
from turnserver.signaling.truth.relays import RelayView
from turnserver.throttle import Guesses, prefix_of

__all__ = ["Api", "ApiOptions", "RoomService"]

MAX_BODY: Final = 16 * 1024
"""Maximum size of a request in bytes."""

MAX_BEARER: Final = 8192
"""Maximum length in bytes of a key or token; longer ones are refused unread."""

MAX_TTL: Final = 86400
"""Maximum lifetime in seconds of a credential from `/v1/turn`."""

MAX_TOKEN_TTL: Final = 366 * 86400
"""Maximum lifetime in seconds of a room token."""

DEFAULT_TOKEN_TTL: Final = 3600

MAX_REASON: Final = 200

WRONG_KEYS: Final = 10
"""Wrong keys from one client within `WRONG_KEY_WINDOW` after which its requests are refused."""

WRONG_KEY_WINDOW: Final = 1800.0
"""Seconds for which a wrong key counts."""

MAX_GUESSERS: Final = 4096
"""Maximum number of clients whose wrong keys are counted; the least recently seen one is forgotten first."""

_PREFIX: Final = "/v1"
_ROOM = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", re.ASCII)
_PREFLIGHT_AGE: Final = "600"

_UNAUTHORIZED: Final = 401

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

    @classmethod
    def from_config(cls, signaling: SignalingSection, tokens: TokenKeys, ice: IceServers) -> "ApiOptions":
        """The keys and origins that the configuration names."""
        return cls(
            tokens,
            ice,
            {name: key.get_secret_value() for name, key in signaling.api_keys.items()},
            {name: key.get_secret_value() for name, key in signaling.admin_keys.items()},
            signaling.origins,
        )


class Caller(NamedTuple):
    """The caller: the name of a key and its rights, or the grant of a room token."""

    name: str
    is_admin: bool = False
    grant: Grant | None = None


class TokenRequest(BaseModel):
    """The body of `POST /v1/tokens`; an unknown field is an error."""

    model_config = ConfigDict(extra="forbid", strict=True, hide_input_in_errors=True)

    room: str
    role: Literal["host", "member"] = "member"
    ttl: Annotated[int, Field(ge=1, le=MAX_TOKEN_TTL)] = DEFAULT_TOKEN_TTL
    name: str | None = None
    sub: str | None = None
    caps: list[Literal["publish", "screen", "message"]] | None = None
    max: int | None = None
    once: bool = False
    uses: Annotated[int, Field(ge=1, le=MAX_USES)] | None = None
    shared: bool = False


class ApiError(MeshturnError):
    """An error answer; a code of the protocol is that of a refused token (401)."""

    def __init__(self, code: ApiCode | SignalCode, message: str, headers: Mapping[str, str] | None = None) -> None:
        self.status = code.status if isinstance(code, ApiCode) else _UNAUTHORIZED
        self.code = code
        self.headers = dict(headers or {})
        super().__init__(message)


RequestHandler = Callable[[web.Request], Awaitable[web.Response]]


class Api:
    """The handlers. ``options`` may be assigned while the server runs."""

    def __init__(self, service: RoomService, options: ApiOptions, clock: Callable[[], Now] = system_clock) -> None:
        self._service = service
        self._clock = clock
        self._lines = Lines(_logger, clock=lambda: clock().mono)
        self._often = Lines(_logger, FREQUENT, clock=lambda: clock().mono)
        self._guesses: Guesses[str] = Guesses(WRONG_KEYS, WRONG_KEY_WINDOW, MAX_GUESSERS)
        self.options = options

    def mount(self, app: web.Application) -> None:
        """Add the routes to an application, before it starts."""
        for path, methods in self.routes().items():
            resource = app.router.add_resource(_PREFIX + path)
            for method, handler in methods.items():
                resource.add_route(method, self.guarded(handler))
            allowed = [*methods, "OPTIONS"]
            resource.add_route("OPTIONS", self.preflight(allowed))
            resource.add_route("*", self.guarded(_wrong_method(allowed)))

    @property
    def options(self) -> ApiOptions:
        """Who may use the API, and what they get."""
        return self._options

    @options.setter
    def options(self, options: ApiOptions) -> None:
        self._options = options
        self._ring = KeyRing(options.api_keys, options.admin_keys)

    def routes(self) -> Mapping[str, Mapping[str, RequestHandler]]:
        """Every path below ``/v1`` with its methods."""
        return {
            "/turn": {"GET": self._turn},
            "/tokens": {"POST": self._tokens},
            "/schema.json": {"GET": self._schema},
            "/drain": {"POST": self._drain},
            "/rooms": {"GET": self._rooms},
            "/rooms/{room}": {"GET": self._room, "DELETE": self._close_room},
            "/rooms/{room}/recording": {"POST": self._record, "DELETE": self._record},
            "/rooms/{room}/peers/{peer}": {"DELETE": self._remove_peer},
        }

    def guarded(self, handler: RequestHandler) -> RequestHandler:
        """A handler with JSON errors, and answers that are not cached and that pages of allowed origins can read."""

        async def handle(request: web.Request) -> web.Response:
            try:
                response = await handler(request)
            except ApiError as error:
                self._say(request, error)
                response = _json({"error": {"code": str(error.code), "msg": str(error)}}, error.status)
                response.headers.update(error.headers)
            response.headers.setdefault("Cache-Control", "no-store")
            response.headers.update(self._cors(request))
            return response

        return handle

    def _say(self, request: web.Request, error: ApiError) -> None:
        """Log a refused request: at level info what the operator of this or the other program can act on."""
        quiet = error.code in _QUIET
        fields = {"client": request.remote or "", "method": request.method, "path": request.path}
        fields |= {"status": str(error.status), "cause": str(error.code), "why": str(error)}
        lines, level = (self._often, logging.DEBUG) if quiet else (self._lines, logging.INFO)
        lines.write(level, "API request refused", fields, request.remote)

    def preflight(self, methods: Sequence[str]) -> RequestHandler:
        """The answer to a CORS preflight request (Fetch §3.2)."""

        async def handle(request: web.Request) -> web.Response:
            headers = self._cors(request)
            if headers.get("Access-Control-Allow-Origin"):
                headers["Access-Control-Allow-Methods"] = ", ".join(methods)
                headers["Access-Control-Allow-Headers"] = "Authorization, Content-Type"
                headers["Access-Control-Max-Age"] = _PREFLIGHT_AGE
            return web.Response(status=204, headers={"Allow": ", ".join(methods), **headers})

        return handle

    def _cors(self, request: web.Request) -> dict[str, str]:
        origins = self.options.origins
        if "*" in origins:
            return {"Access-Control-Allow-Origin": "*"}
        if not origins:
            return {}
        origin = request.headers.get("Origin", "")
        allowed = {"Access-Control-Allow-Origin": origin} if is_named(origin, origins) else {}
        return {"Vary": "Origin", **allowed}

    # The caller

    def _caller(self, request: web.Request, *, token: bool = False) -> Caller:
        """The caller, by its key or, where that is enough, by its room token."""
        now = self._clock()
        address = reached_by(request).client
        shown = _bearer(request)
        if shown is None:
            raise ApiError(
                ApiCode.UNAUTHORIZED, "a key is required: Authorization: Bearer KEY", {"WWW-Authenticate": "Bearer"}
            )
        key = self._ring.find(shown)
        if key is not None:
            return Caller(key.name, key.is_admin)
        refused = {"WWW-Authenticate": 'Bearer error="invalid_token"'}
        if token and self.options.tokens is not None and shown.count(b".") == 2:
            try:
                grant = self.options.tokens.admit(shown.decode("ascii", "replace"), now.wall)
            except Denial as refusal:
                if refusal.code is SignalCode.BAD_TOKEN:
                    self._count_wrong(address, now)
                raise ApiError(refusal.code, refusal.msg, refused) from None
            return Caller("", grant=grant)
        self._count_wrong(address, now)
        raise ApiError(ApiCode.BAD_KEY, "this key is not configured on this server", refused)

    def _count_wrong(self, address: str, now: Now) -> None:
        """Count a wrong key or token; after too many from one address, 429.

        A right one is never refused because of the wrong ones of others behind the same address, so it is looked up
        first, in constant time.
        """
        wait = self._guesses.wait(prefix_of(address), now.mono)
        if wait > 0:
            seconds = str(int(wait) + 1)
            raise ApiError(ApiCode.RATE_LIMITED, "too many invalid keys from this address", {"Retry-After": seconds})
        self._guesses.failed(prefix_of(address), now.mono)
        self._lines.write(logging.WARNING, "wrong API key", {"client": address, "cause": str(ApiCode.BAD_KEY)}, address)

    def _admin(self, request: web.Request) -> Caller:
        caller = self._caller(request)
        if not caller.is_admin:
            raise ApiError(
                ApiCode.FORBIDDEN,
                "this needs a key of signaling.admin_keys; the one given is of signaling.api_keys",
            )
        return caller

    # TURN credentials

    async def _turn(self, request: web.Request) -> web.Response:
        """``GET /v1/turn``: a credential in the shape of draft-uberti-behave-turn-rest §2.2."""
        caller = self._caller(request, token=True)
        ice = self.options.ice
        if ice is None or not ice.has_credentials:
            raise ApiError(ApiCode.NO_TURN, "this server cannot make TURN credentials: auth.shared_secrets is empty")
        query = request.query
        if query.get("service", "turn") != "turn":
            raise ApiError(ApiCode.BAD_REQUEST, 'the only service is "turn"')
        now = self._clock()
        ttl = _ttl(query.get("ttl"), ice.lifetime)
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
        return _json({"username": made.username, "password": made.password, "ttl": ttl, "uris": uris})

    # Room tokens

    async def _tokens(self, request: web.Request) -> web.Response:
        """``POST /v1/tokens``: a room token."""
        caller = self._caller(request)
        keys = self.options.tokens
        if keys is None or not keys.can_mint:
            raise ApiError(
                ApiCode.NO_KEY, "this server cannot sign tokens: signaling.key and auth.shared_secrets are empty"
            )
        asked = await _asked(request)
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
        return _json(answer, 201)

    # Rooms

    async def _rooms(self, request: web.Request) -> web.Response:
        """``GET /v1/rooms``: every room, in short."""
        self._admin(request)
        return _json({"rooms": [summary_json(room) for room in self._service.hub.rooms()]})

    async def _room(self, request: web.Request) -> web.Response:
        """``GET /v1/rooms/{room}``: its participants, and the path of each pair."""
        self._admin(request)
        room = self._service.hub.room(request.match_info["room"])
        if room is None:
            raise _no_such("room")
        return _json(room_json(room, self._service.relays, self._service.media_of(room.id)))

    async def _close_room(self, request: web.Request) -> web.Response:
        """``DELETE /v1/rooms/{room}``: remove all participants."""
        caller = self._admin(request)
        room = request.match_info["room"]
        if not self._service.hub.close_room(room, self._clock()):
            raise _no_such("room")
        self._service.work()
        _logger.info("room closed", extra={"fields": {"key": caller.name, "room": room}})
        return web.Response(status=204)

    async def _record(self, request: web.Request) -> web.Response:
        """``POST`` and ``DELETE /v1/rooms/{room}/recording``: the server records the room, or does so no more."""
        caller = self._admin(request)
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
        return _json({"room": room}, 202) if on else web.Response(status=204)

    async def _remove_peer(self, request: web.Request) -> web.Response:
        """``DELETE /v1/rooms/{room}/peers/{peer}``: remove one participant."""
        caller = self._admin(request)
        room, peer = request.match_info["room"], request.match_info["peer"]
        reason = request.query.get("reason", "")
        if len(reason) > MAX_REASON or not reason.isprintable():
            raise ApiError(ApiCode.BAD_REQUEST, f"reason must be one line of at most {MAX_REASON} characters")
        if not self._service.hub.kick(room, peer, reason, self._clock()):
            raise _no_such("room or participant")
        self._service.work()
        _logger.info("participant removed", extra={"fields": {"key": caller.name, "room": room, "peer": peer}})
        return web.Response(status=204)

    # The server

    async def _drain(self, request: web.Request) -> web.Response:
        """``POST /v1/drain``: take nothing new, and stop when nothing is left. Asking again changes nothing."""
        caller = self._admin(request)
        try:
            left = self._service.drain()
        except RuntimeError as error:
            raise ApiError(ApiCode.NO_DRAIN, str(error)) from None
        _logger.info("drain requested", extra={"fields": {"key": caller.name}})
        return _json(left, 202)

    async def _schema(self, request: web.Request) -> web.Response:
        """``GET /v1/schema.json``: the messages of the protocol, for everybody."""
        response = _json(json_schema())
        response.content_type = "application/schema+json"
        response.headers["Cache-Control"] = "no-cache"
        return response


def _wrong_method(allowed: Sequence[str]) -> RequestHandler:
    async def handle(request: web.Request) -> web.Response:
        methods = ", ".join(allowed)
        raise ApiError(ApiCode.METHOD_NOT_ALLOWED, f"allowed methods: {methods}", {"Allow": methods})

    return handle


def _json(value: Any, status: int = 200) -> web.Response:
    return web.json_response(value, status=status, dumps=lambda each: json.dumps(each, separators=(",", ":")))


def _no_such(what: str) -> ApiError:
    return ApiError(ApiCode.NOT_FOUND, f"there is no such {what}")


def _bearer(request: web.Request) -> bytes | None:
    """The token after ``Bearer`` (RFC 6750 §2.1); None without it."""
    scheme, _, shown = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "bearer":
        return None
    encoded = shown.strip(" ").encode("utf-8", "surrogateescape")
    return encoded[: MAX_BEARER + 1] or None


def _ttl(text: str | None, default: int) -> int:
    if text is None:
        return default
    if not re.fullmatch(r"[0-9]{1,9}", text, re.ASCII) or int(text) == 0:
        raise ApiError(ApiCode.BAD_REQUEST, "ttl must be a number of seconds, at least 1")
    return int(text)


def _user_of(grant: Grant) -> str:
    """The user of a TURN credential requested with a room token: the token's holder, not a participant."""
    if grant.once or grant.uses:
        raise ApiError(ApiCode.FORBIDDEN, "a token with a number of uses is valid for joining a room only")
    room = "any" if grant.room is None else hashlib.sha256(grant.room.encode()).hexdigest()[:10]
    return f"{room}.token-{hashlib.sha256((grant.token_id or '').encode()).hexdigest()[:16]}"


async def _asked(request: web.Request) -> TokenRequest:
    try:
        return TokenRequest.model_validate(json.loads(await _body(request)))
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
