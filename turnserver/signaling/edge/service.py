"""Signaling in a process: joins the hub, the sockets, the clock and the relay engine, and decides nothing.

Every frame becomes one input to the hub with the time on it; the commands that come out are carried out, the facts are
told to whoever observes, and one timer is kept for the hub's next deadline. While there are rooms, the engine is asked
every few seconds which allocations carry them, so that each participant can be told which way its calls go.
"""

import asyncio
import logging
import os
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Final, NamedTuple, Protocol, TypeVar, get_args

from aiohttp import web

from auth.revocation import RevokedUsers
from stun.address import Address
from turnserver.clock import system_clock
from turnserver.core.events import Event
from turnserver.core.types import AllocationView, ClientTransport, Counters, Now
from turnserver.faults import Faults
from turnserver.signaling.edge.api import Api, ApiOptions
from turnserver.signaling.edge.ice import IceServers
from turnserver.signaling.edge.pages import Pages
from turnserver.signaling.edge.sections import Configuration
from turnserver.signaling.edge.tokens import TokenKeys
from turnserver.signaling.edge.websocket import WebSockets
from turnserver.signaling.protocol.codec import prepare
from turnserver.signaling.protocol.fields import Ice
from turnserver.signaling.rooms.facts import (
    CandidatesSeen,
    Close,
    Fact,
    Revoke,
    Wake,
)
from turnserver.signaling.rooms.hub import Hub
from turnserver.signaling.rooms.settings import Admission, Grant, HubBounds, Minter, RoomOptions
from turnserver.signaling.truth.relays import RelayTable

__all__ = ["Service", "TurnEngine"]

POLL_INTERVAL: Final = 2.0
"""Seconds between two snapshots of the allocations while there are rooms."""

POLL_SHARE: Final = 0.02
"""The share of the time that this may take; with very many rooms it is done less often instead."""

DRAIN_TIME: Final = 1.0
"""Seconds for clients to receive their goodbye when the server stops."""

RETURN_TIME: Final = 0.5
"""Seconds over which clients are asked to spread their return, and..."""

RETURN_SPREAD: Final = 0.005
"""...that many more for each of them: they must not all come at once."""

_INTERNAL: Final = 4500

_RELAY_EVENTS: Final = get_args(Event)

_Thing = TypeVar("_Thing")

_logger = logging.getLogger("meshturn.signaling")


class TurnEngine(Protocol):
    """What signaling needs from the relay engine."""

    def revoke(self, user_id: str) -> int:
        """End every allocation of a user at once; returns their number."""

    def allocations(self, user_ids: Collection[str] | None = None) -> Sequence[AllocationView]:
        """The live allocations of these users."""


class _Means(NamedTuple):
    """What the configuration gives for others to use: keys, ICE servers, and the API's part of both."""

    keys: TokenKeys
    ice: IceServers
    api: ApiOptions

    @classmethod
    def of(cls, config: Configuration, listening: Sequence[tuple[ClientTransport, Address]]) -> "_Means":
        keys = TokenKeys.from_config(config.signaling, config.auth.shared_secrets)
        ice = IceServers.from_config(config, listening)
        return cls(keys, ice, ApiOptions.from_config(config.signaling, keys, ice))


class Service:
    """Rooms, sockets, pages and the HTTP API of one process.

    ``admission`` reads tokens and ``minter`` makes ICE servers (see `turnserver.signaling.rooms.settings`). Users in
    ``revoked`` get no new allocations: it is the table of the core, too. ``origins`` are web origins that may connect
    beside the server's own. Without ``api`` there is no HTTP API. ``listening`` is what `use` tells participants of.
    ``tell`` is handed every fact about the rooms.
    ``faults`` is where exceptions are noted that nobody foresaw.
    """

    def __init__(
        self,
        options: RoomOptions,
        admission: Admission,
        minter: Minter,
        revoked: RevokedUsers,
        *,
        origins: Collection[str] = (),
        separator: str,
        api: ApiOptions | None = None,
        listening: Sequence[tuple[ClientTransport, Address]] = (),
        tell: Callable[[Fact], None] = lambda fact: None,
        entropy: Callable[[int], bytes] = os.urandom,
        clock: Callable[[], Now] = system_clock,
        bounds: HubBounds | None = None,
        faults: Faults | None = None,
    ) -> None:
        prepare()
        self._admission = admission
        self._minter = minter
        self._revoked = revoked
        self._clock = clock
        self._faults = Faults() if faults is None else faults
        self._engine: TurnEngine | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._poll: asyncio.TimerHandle | None = None
        self._tell = tell
        self._listening = listening
        self.relays = RelayTable(separator)
        self.hub = Hub(options, entropy, self._admit, self._mint, self.relays, bounds=bounds or HubBounds())
        self.edge = WebSockets(self, origins, heartbeat=options.heartbeat)
        self._pages = Pages(origins=origins, open=options.open)
        self._api = None if api is None else Api(self, api, clock)

    @classmethod
    def from_config(
        cls,
        config: Configuration,
        listening: Sequence[tuple[ClientTransport, Address]],
        revoked: RevokedUsers,
        *,
        tell: Callable[[Fact], None],
        clock: Callable[[], Now] = system_clock,
        faults: Faults | None = None,
    ) -> "Service":
        """What the configuration describes; participants are told of what is ``listening``.

        Raises `turnserver.errors.StartupError` for a file of keys that cannot be used.
        """
        means = _Means.of(config, listening)
        return cls(
            config.signaling,
            means.keys.admit,
            means.ice.mint,
            revoked,
            origins=config.signaling.origins,
            separator=config.auth.separator,
            api=means.api,
            listening=listening,
            tell=tell,
            clock=clock,
            faults=faults,
        )

    def use(self, config: Configuration, *, rotate: bool = False) -> None:
        """Use another configuration from now on; participants stay in their rooms.

        With ``rotate`` everybody is given new ICE servers at once, because those from before are not good any more.
        Raises `turnserver.errors.StartupError`, with nothing changed, for a file of keys that cannot be used.
        """
        means = _Means.of(config, self._listening)
        self._admission, self._minter = means.keys.admit, means.ice.mint
        signaling = config.signaling
        self.hub.use(signaling)
        self.edge.heartbeat = signaling.heartbeat
        self.edge.origins = frozenset(signaling.origins)
        self._pages.use(signaling.origins, open=signaling.open)
        self.relays.separator = config.auth.separator
        if self._api is not None:
            self._api.options = means.api
        if rotate:
            self._guarded(self.hub.rotate, self._clock())
            self.work()

    def mount(self, app: web.Application) -> None:
        """Add the routes of the WebSocket, the pages and the API, before the application starts."""
        app.router.add_get("/v1/ws", self.edge.handle)
        self._pages.mount(app)
        if self._api is not None:
            self._api.mount(app)

    def start(self, engine: TurnEngine) -> None:
        """Begin, inside the running loop."""
        self._engine = engine

    def stop(self) -> None:
        """Stop at once."""
        self.edge.draining = True
        self._engine = None
        for timer in (self._timer, self._poll):
            if timer is not None:
                timer.cancel()
        self._timer = self._poll = None

    async def close(self) -> None:
        """Stop, after a goodbye to all clients that says when to come back, and a moment to receive it."""
        if self._engine is not None:
            self.edge.draining = True
            spread = RETURN_TIME + RETURN_SPREAD * self.edge.sockets
            self._guarded(lambda now: self.hub.drain(spread, now), self._clock())
            self.work()
            await self.edge.wait_closed(DRAIN_TIME)
        self.stop()

    def health(self) -> Mapping[str, object]:
        """What ``/healthz`` says of the rooms."""
        return {"rooms": self.hub.room_count, "participants": self.hub.peer_count}

    def on_event(self, event: Event | Fact, counters: Counters | None) -> None:
        """Take an event of the relay; what happens in rooms is known here."""
        if isinstance(event, _RELAY_EVENTS):
            self.relays.event(event, counters, self._clock())

    # What the edge calls

    def opened(self, cid: int, address: str, host: str) -> None:
        """A socket is open."""
        self._feed(cid, lambda now: self.hub.opened(cid, address, host, now))

    def text(self, cid: int, frame: str) -> None:
        """One text message."""
        self._feed(cid, lambda now: self.hub.text(cid, frame, now))

    def binary(self, cid: int) -> None:
        """One binary message."""
        self._feed(cid, lambda now: self.hub.binary(cid, now))

    def closed(self, cid: int) -> None:
        """The socket has closed."""
        self._feed(cid, lambda now: self.hub.closed(cid, now))

    def take(self, cid: int) -> str | None:
        """The next frame for that socket."""
        return self.hub.take(cid)

    # Inside

    def work(self) -> None:
        """Carry out what the hub wants, tell what it has seen, mind the timer; after every input to the hub.

        A fault costs one command, or one fact.
        """
        try:
            for command in self.hub.commands():
                self._guarded(self._carry_out, command)
            for fact in self.hub.events():
                self._guarded(self._learn, fact)
        finally:
            self._mind_timer()

    def fault(self, cid: int, error: Exception) -> None:
        """An unexpected exception costs one socket; its client may resume the session."""
        self._faults.note("signaling", error)
        self.edge.close(cid, _INTERNAL, "internal")

    def _feed(self, cid: int, give: Callable[[Now], None]) -> None:
        """One input, and all that follows from it."""
        try:
            give(self._clock())
        except Exception as error:
            self.fault(cid, error)
        self.work()

    def _guarded(self, take: Callable[[_Thing], None], thing: _Thing) -> None:
        try:
            take(thing)
        except Exception as error:
            self._faults.note("signaling", error)

    def _carry_out(self, command: Wake | Close | Revoke) -> None:
        if isinstance(command, Wake):
            self.edge.wake(command.cid)
        elif isinstance(command, Close):
            self.edge.close(command.cid, command.code, command.reason)
        else:
            self._revoke(command)

    def _learn(self, fact: Fact) -> None:
        if isinstance(fact, CandidatesSeen):
            self.relays.candidates(fact.sender, fact.receiver, fact.addresses)
        self._tell(fact)

    def _revoke(self, command: Revoke) -> None:
        self._revoked.revoke(command.user_id, command.until)
        if self._engine is not None:
            ended = self._engine.revoke(command.user_id)
            _logger.debug("revoked", extra={"fields": {"user": command.user_id, "allocations": ended}})

    def _admit(self, token: str, wall: float) -> Grant:
        return self._admission(token, wall)

    def _mint(self, user_id: str, wall: float, host: str) -> Ice:
        return self._minter(user_id, wall, host)

    def _mind_timer(self) -> None:
        """Move the timer only to earlier times: firing too early costs little."""
        if self._engine is None:
            return
        loop = asyncio.get_running_loop()
        deadline = self.hub.deadline()
        if deadline is not None and (self._timer is None or self._timer.when() > deadline):
            if self._timer is not None:
                self._timer.cancel()
            self._timer = loop.call_at(deadline, self._tick)
        if self._poll is None and self.hub.room_count:
            self._poll = loop.call_later(POLL_INTERVAL, self._look)

    def _tick(self) -> None:
        self._timer = None
        self._guarded(self.hub.expire, self._clock())
        self.work()

    def _look(self) -> None:
        """Tell the participants which way their calls go, as the engine sees it."""
        self._poll = None
        engine = self._engine
        if engine is None or not self.hub.room_count:
            return
        began = time.monotonic()
        self._guarded(self._report_paths, engine)
        spent = time.monotonic() - began
        self._poll = asyncio.get_running_loop().call_later(max(POLL_INTERVAL, spent / POLL_SHARE), self._look)
        self.work()

    def _report_paths(self, engine: TurnEngine) -> None:
        now = self._clock()
        self.relays.snapshot(engine.allocations(self.relays.watched()), now)
        self.hub.report_paths(now)
