"""Signaling in a process: connects the hub with the sockets, the clock and the relay engine. It makes no decisions.

Every frame becomes one input to the hub, with the time. The hub's commands are carried out, its facts go to the
observers, and one timer is set to the hub's next deadline. While there are rooms, the engine is asked every few seconds
for their allocations, so that each participant can be told the paths of its calls.
"""

import asyncio
import logging
import os
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import Final, NamedTuple, Protocol, TypeVar, get_args

from aiohttp import web
from aiohttp.typedefs import Handler

from auth.revocation import RevokedUsers
from stun.address import Address
from turnserver.clock import system_clock
from turnserver.core.events import Event
from turnserver.core.types import AllocationView, ClientTransport, Counters, Now
from turnserver.faults import RAISED, Faults
from turnserver.signaling.edge.admin_page import AdminPage
from turnserver.signaling.edge.api import Api, ApiOptions
from turnserver.signaling.edge.ice import IceServers
from turnserver.signaling.edge.operators import OperatorView
from turnserver.signaling.edge.pages import Pages
from turnserver.signaling.edge.probes import ProbeBack
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
from turnserver.signaling.rooms.media_port import MediaEvent, MediaPort
from turnserver.signaling.rooms.settings import (
    Admission,
    Doorway,
    Grant,
    HubBounds,
    MediaOptions,
    Minter,
    RoomOptions,
)
from turnserver.signaling.truth.relays import RelayTable

__all__ = ["Service", "TurnEngine"]

POLL_INTERVAL: Final = 2.0
"""Seconds between two snapshots of the allocations while there are rooms."""

POLL_SHARE: Final = 0.02
"""Maximum share of the time for snapshots; with very many rooms they are taken less often."""

LOOK_SLICE: Final = 32
"""Users whose allocations are looked at in one turn of the loop, so that other traffic has its turn in between."""

DRAIN_TIME: Final = 1.0
"""Seconds for clients to receive the goodbye when the server stops."""

RETURN_TIME: Final = 0.5
"""Seconds over which clients are asked to spread their reconnects..."""

RETURN_SPREAD: Final = 0.005
"""...plus this many for each client, so that they do not all reconnect at the same time."""

_INTERNAL: Final = 4500

_RELAY_EVENTS: Final = get_args(Event)

_Thing = TypeVar("_Thing")

_logger = logging.getLogger("meshturn.signaling")


class TurnEngine(Protocol):
    """What signaling needs from the relay engine."""

    def revoke(self, user_id: str) -> int:
        """End every allocation of a user at once; returns their number."""

    def allocations(self, user_ids: Collection[str] | None = None) -> Sequence[AllocationView]:
        """The current allocations of these users."""


class _Means(NamedTuple):
    """Objects built from the configuration: keys, ICE servers, and the API's part of both."""

    keys: TokenKeys
    ice: IceServers
    api: ApiOptions

    @classmethod
    def of(
        cls,
        config: Configuration,
        listening: Sequence[tuple[ClientTransport, Address]],
        before: ApiOptions | None = None,
    ) -> "_Means":
        keys = TokenKeys.from_config(config.signaling, config.auth.shared_secrets)
        ice = IceServers.from_config(config, listening)
        return cls(keys, ice, ApiOptions.from_config(config.signaling, keys, ice, before))


class Service:
    """Rooms, sockets, pages and the HTTP API of one process.

    ``admission`` reads tokens and ``minter`` makes ICE servers (see `turnserver.signaling.rooms.settings`). Users in
    ``revoked`` get no new allocations: the core uses the same table. ``origins`` are web origins that may connect in
    addition to the server's own; pages of ``ancestors`` may show the call page in a frame. ``keys`` sign invitations.
    Without ``api`` there is no HTTP API. ``listening`` are the listeners whose URLs participants get after `use`.
    ``tell`` is called with every fact about the rooms. ``drain`` begins to drain the server, and returns what the API
    answers then. ``faults`` records unexpected exceptions. ``media`` is an SFU, whose reports go to `on_media`;
    ``media_of`` gives what it says of a room, for the API. ``view`` is what operators are shown; with it there is the
    admin page. ``probe`` sends what the API's probes ask for.
    """

    def __init__(
        self,
        options: RoomOptions,
        admission: Admission,
        minter: Minter,
        revoked: RevokedUsers,
        *,
        origins: Collection[str] = (),
        ancestors: Collection[str] = (),
        separator: str,
        keys: TokenKeys | None = None,
        api: ApiOptions | None = None,
        listening: Sequence[tuple[ClientTransport, Address]] = (),
        tell: Callable[[Fact], None] = lambda fact: None,
        drain: Callable[[], Mapping[str, object]] | None = None,
        entropy: Callable[[int], bytes] = os.urandom,
        clock: Callable[[], Now] = system_clock,
        bounds: HubBounds | None = None,
        faults: Faults | None = None,
        media: MediaPort | None = None,
        media_options: MediaOptions | None = None,
        media_of: Callable[[str], Mapping[str, object] | None] = lambda room: None,
        view: OperatorView | None = None,
        probe: ProbeBack | None = None,
    ) -> None:
        prepare()
        self._admission = admission
        self._minter = minter
        self._revoked = revoked
        self._clock = clock
        self._faults = Faults() if faults is None else faults
        self._engine: TurnEngine | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._poll: asyncio.Handle | None = None
        self._tell = tell
        self._drain = drain
        self.media_of = media_of
        self._listening = listening
        self.relays = RelayTable(separator)
        self._keys = TokenKeys() if keys is None else keys
        self._entropy = entropy
        self.hub = Hub(
            options,
            entropy,
            self._admit,
            self._mint,
            self.relays,
            bounds=bounds or HubBounds(),
            invite=self._invite,
            media=media,
            media_options=media_options,
        )
        self.edge = WebSockets(self, origins, heartbeat=options.heartbeat)
        self._pages = Pages(origins=origins, ancestors=ancestors, open=options.open)
        self._api = None if api is None else Api(self, api, clock, view, probe)
        self._has_view = view is not None

    @classmethod
    def from_config(
        cls,
        config: Configuration,
        listening: Sequence[tuple[ClientTransport, Address]],
        revoked: RevokedUsers,
        *,
        tell: Callable[[Fact], None],
        drain: Callable[[], Mapping[str, object]] | None = None,
        clock: Callable[[], Now] = system_clock,
        faults: Faults | None = None,
        media: MediaPort | None = None,
        media_options: MediaOptions | None = None,
        media_of: Callable[[str], Mapping[str, object] | None] = lambda room: None,
        view: OperatorView | None = None,
        probe: ProbeBack | None = None,
    ) -> "Service":
        """Build it from the configuration; participants get the URLs of the listeners in ``listening``.

        Raises `turnserver.errors.StartupError` for a file of keys that cannot be used.
        """
        means = _Means.of(config, listening)
        return cls(
            config.signaling,
            means.keys.admit,
            means.ice.mint,
            revoked,
            origins=config.signaling.origins,
            ancestors=config.signaling.frame_ancestors,
            separator=config.auth.separator,
            keys=means.keys,
            api=means.api,
            listening=listening,
            tell=tell,
            drain=drain,
            clock=clock,
            faults=faults,
            media=media,
            media_options=media_options,
            media_of=media_of,
            view=view,
            probe=probe,
        )

    def use(self, config: Configuration, *, rotate: bool = False) -> None:
        """Use another configuration from now on; participants stay in their rooms.

        With ``rotate``, all participants get new ICE servers at once, because their old ones are no longer valid.
        Raises `turnserver.errors.StartupError` for a file of keys that cannot be used; nothing is changed then.
        """
        means = _Means.of(config, self._listening, None if self._api is None else self._api.options)
        self._admission, self._minter, self._keys = means.keys.admit, means.ice.mint, means.keys
        signaling = config.signaling
        self.hub.use(signaling)
        self.edge.heartbeat = signaling.heartbeat
        self.edge.origins = frozenset(signaling.origins)
        self._pages.use(signaling.origins, signaling.frame_ancestors, open=signaling.open)
        self.relays.separator = config.auth.separator
        if self._api is not None:
            self._api.options = means.api
        if rotate:
            self.renew_credentials()

    def renew_credentials(self) -> None:
        """Send all participants new ICE servers at once."""
        self._guarded(self.hub.rotate, self._clock())
        self.work()

    def wind_down(self, until: float) -> None:
        """Tell all participants that the server stops at ``until`` (Unix time) at the latest; no room is opened then.

        Rooms that exist go on, until `close`.
        """
        self._guarded(lambda now: self.hub.wind_down(until, now), self._clock())
        self.work()

    def drain(self) -> Mapping[str, object]:
        """Begin to drain the server, as the API asks for; what is left of it. Raises RuntimeError if it cannot."""
        if self._drain is None:
            raise RuntimeError("this server cannot be drained from here")
        return self._drain()

    def listen(self, config: Configuration, listening: Sequence[tuple[ClientTransport, Address]]) -> None:
        """Give the URLs of other listeners from now on. Raises what `use` raises, with nothing changed."""
        before, self._listening = self._listening, listening
        try:
            self.use(config)
        except BaseException:
            self._listening = before
            raise

    def mount(self, app: web.Application) -> None:
        """Add the routes of the WebSocket, the pages and the API, before the application starts."""
        app.router.add_get("/v1/ws", self.edge.handle)
        self._pages.mount(app)
        if self._api is not None:
            self._api.mount(app)
            if self._has_view:
                AdminPage(self._has_operators).mount(app)

    def for_admins(self, handler: Handler) -> Handler:
        """A handler of another part of the server, for keys with the scope ``admin:read``.

        Raises RuntimeError without an API, which alone knows the keys.
        """
        if self._api is None:
            raise RuntimeError("there is no API")
        return self._api.for_admins(handler)

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
        """Send a goodbye to all clients that says when to reconnect, wait until they have received it, and stop."""
        if self._engine is not None:
            self.edge.draining = True
            spread = RETURN_TIME + RETURN_SPREAD * self.edge.sockets
            self._guarded(lambda now: self.hub.drain(spread, now), self._clock())
            self.work()
            await self.edge.wait_closed(DRAIN_TIME)
        self.stop()

    def on_event(self, event: Event | Fact, counters: Counters | None) -> None:
        """Receive an event of the relay; facts about rooms are ignored, because they come from here."""
        if isinstance(event, _RELAY_EVENTS):
            self.relays.event(event, counters, self._clock())

    def on_media(self, event: MediaEvent) -> None:
        """Receive a report of the SFU, in the loop of this service, and not from inside of a call to the SFU."""
        self._guarded(lambda now: self.hub.media(event, now), self._clock())
        self.work()

    # Called by the edge

    def opened(self, cid: int, address: str, doorway: Doorway) -> None:
        """A socket is open."""
        self._feed(cid, lambda now: self.hub.opened(cid, address, doorway, now))

    def text(self, cid: int, frame: str) -> None:
        """One text message."""
        self._feed(cid, lambda now: self.hub.text(cid, frame, now))
        self.edge.keep(cid, self.hub.seated(cid))

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
        """Carry out the hub's commands, report its facts, and set the timer; called after every input to the hub.

        An unexpected exception affects only one command or fact.
        """
        try:
            for command in self.hub.commands():
                self._guarded(self._carry_out, command)
            for fact in self.hub.events():
                self._guarded(self._learn, fact)
        finally:
            self._mind_timer()

    def fault(self, cid: int, error: BaseException) -> None:
        """Close one socket after an unexpected exception; its client may resume the session."""
        self._faults.note("signaling", error)
        self.edge.close(cid, _INTERNAL, "internal")

    def _feed(self, cid: int, give: Callable[[Now], None]) -> None:
        """Give one input to the hub, and process its output."""
        try:
            give(self._clock())
        except RAISED as error:
            self.fault(cid, error)
        self.work()

    def _guarded(self, take: Callable[[_Thing], None], thing: _Thing) -> None:
        try:
            take(thing)
        except RAISED as error:
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
        self._revoked.revoke(command.user_id, command.until, self._clock().wall, kicked=command.kicked)
        if self._engine is not None:
            ended = self._engine.revoke(command.user_id)
            _logger.debug("revoked", extra={"fields": {"user": command.user_id, "allocations": ended}})

    def _has_operators(self) -> bool:
        return self._api is not None and self._api.options.has_operators

    def _admit(self, token: str, wall: float) -> Grant:
        return self._admission(token, wall)

    def _mint(self, user_id: str, wall: float, doorway: Doorway) -> Ice:
        return self._minter(user_id, wall, doorway)

    def _invite(self, room: str, host: Grant, ttl: int, uses: int, wall: float) -> tuple[str, int]:
        return self._keys.invite(room, host, ttl, uses, wall, token_id=self._entropy(16).hex())

    def _mind_timer(self) -> None:
        """Move the timer only to earlier times, because a timer that fires too early costs little."""
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
        """Tell the participants the paths of their calls, by the engine's allocations."""
        self._poll = None
        if self._engine is not None and self.hub.room_count:
            self._look_on(_slices(self.relays.watched()), 0.0)

    def _look_on(self, slices: Iterator[list[str]], spent: float) -> None:
        """Look at the next slice; after the last one, tell the participants. ``spent`` seconds were needed so far."""
        if self._engine is None:
            return
        loop, began = asyncio.get_running_loop(), time.monotonic()
        users = next(slices, None)
        if users is None:
            self._guarded(self.hub.report_paths, self._clock())
        else:
            self._guarded(self._look_at, users)
        spent += time.monotonic() - began
        if users is None:
            self._poll = loop.call_later(max(POLL_INTERVAL, spent / POLL_SHARE), self._look)
        else:
            self._poll = loop.call_soon(self._look_on, slices, spent)
        self.work()

    def _look_at(self, users: Collection[str]) -> None:
        assert self._engine is not None
        self.relays.snapshot(self._engine.allocations(users), self._clock())


def _slices(users: Iterable[str]) -> Iterator[list[str]]:
    """All users in slices. Those of a room are in one, since both ends of a pair have to be seen together."""
    found: list[str] = []
    for _, room in groupby(sorted(users), key=lambda user: user.partition(".")[0]):
        found += room
        if len(found) >= LOOK_SLICE:
            yield found
            found = []
    yield found
