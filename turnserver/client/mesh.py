"""A participant of a call in Python: joins a room, and sends to and receives from every other participant.

    async with SignalClient("http://localhost:8080") as signal:
        mesh = MeshClient(signal, plan=TestMedia)
        await mesh.join("tea")
        ...
        await mesh.leave()

A lost signaling connection does not end media: pairs stay connected, and missed changes are applied after the resume.
A room is a mesh, with a connection between each two, or goes through the server's SFU; the client goes along when it
changes (`turnserver.client.ways`), and its pairs stay the same objects. This module needs aiortc
(``pip install 'meshturn[call]'``); `turnserver.client.connection` describes what aiortc lacks and what replaces it.
"""

import asyncio
import contextlib
import logging
import secrets
import ssl
import string
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping
from dataclasses import fields, replace
from types import MappingProxyType
from typing import Any, Final, Literal

from av.frame import Frame as MediaFrame

from turnserver.client.errors import SignalError
from turnserver.client.events import KINDS_OF_EVENTS, Diagnosis, MeshEvent, MeshHandler, Operation, ServerPath
from turnserver.client.ice import IceChoice
from turnserver.client.media import Listen, MediaPlan
from turnserver.client.pair import Pair, PairReport, PairState
from turnserver.client.session import SignalClient
from turnserver.client.sfu import SFU, SfuConnections
from turnserver.client.state import ClientState, PairTiming, StateChange
from turnserver.client.ways import RoomWays
from turnserver.signaling.protocol.base import UNNUMBERED, ClientMessage, FromPeer, ServerMessage, number_of
from turnserver.signaling.protocol.client_messages import (
    Choose,
    Diag,
    Invite,
    Join,
    Leave,
    Mod,
    Msg,
    Restart,
    Stat,
    Update,
)
from turnserver.signaling.protocol.errors import SignalCode
from turnserver.signaling.protocol.fields import (
    MAX_HEIGHT,
    CandidateTypes,
    Ice,
    Media,
    MediaSource,
    Mode,
    Peer,
    RelayTransport,
    RoomState,
    ShownTile,
)
from turnserver.signaling.protocol.server_messages import (
    DiagVerdict,
    Draining,
    Error,
    IceUpdate,
    Invitation,
    Joined,
    Layers,
    Paths,
    PeerBack,
    PeerCand,
    PeerDesc,
    PeerGap,
    PeerJoin,
    PeerLeave,
    PeerReset,
    PeerUpdate,
    RoomUpdate,
    Speaker,
    Sync,
)

__all__ = ["Diagnosis", "MeshClient", "MeshEvent", "MeshHandler", "Operation", "ServerPath"]

_MAX_PAIRS: Final[Mapping[Mode, int]] = {"mesh": 16, "sfu": 256}
"""Maximum number of participants that are accepted; servers allow fewer."""

_LOOK: Final = 0.1
_STAT_INTERVAL: Final = 10.0
_ID_LENGTH: Final = 8
_ID_ALPHABET: Final = string.ascii_lowercase + string.digits
_SNAPSHOT: Final = (PeerJoin, PeerLeave, PeerUpdate, PeerGap, PeerBack, RoomUpdate, Speaker)
"""Frames whose content a snapshot already includes, up to its ``at``."""

_TOLD: Final = frozenset(each.name for each in fields(RoomState)) & {each.name for each in fields(RoomUpdate)}
"""What a `room_update` says of a room."""

_ROUTING: Final = ("mode", "epoch", "changing", "unready")
"""What of a room says how its media go."""

_RETRIES: Final = 5

_logger = logging.getLogger("meshturn.client")


class MeshClient:
    """The participant's side of one room.

    ``plan`` makes the media for each participant (see `MediaPlan`), and what all are sent through an SFU, if the token
    allows sending. ``relay_only`` uses only relayed candidates, which the server's policy may require as well; ``via``
    is the transport to the relay. ``tls`` checks the certificates of ``turns:`` servers. With ``mode`` ``mesh`` this
    client is in meshes only, whose media no server sees: larger rooms refuse it (``room_full``), and its own does not
    grow beyond a mesh.
    """

    def __init__(
        self,
        signal: SignalClient,
        *,
        plan: Callable[[], MediaPlan] = Listen,
        relay_only: bool = False,
        via: RelayTransport | None = None,
        tls: ssl.SSLContext | None = None,
        mode: Literal["auto", "mesh"] = "auto",
        timing: PairTiming | None = None,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.signal = signal
        self.room: RoomState | None = None
        """The room as described by the server; None outside a room."""
        self.closes_at: float | None = None
        """When the server stops at the latest (Unix time), once it has said that it is about to; it opens no rooms."""
        self.server_paths: dict[str, ServerPath] = {}
        """The path to each peer, according to the server."""
        self._plan = plan
        self._via = via
        self._relay_only = relay_only
        self._tls = tls
        self._mode = mode
        self._timing = timing or PairTiming()
        self._pause = pause
        self._pairs: dict[str, Pair] = {}
        self._ice: Ice | None = None
        self._me = ""
        self._publishes = True
        self._at = 0
        self._wanted: Join | None = None
        self._handlers: list[MeshHandler] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._endings: set[asyncio.Task[None]] = set()
        self._stats: asyncio.Task[None] | None = None
        self._changed = asyncio.Event()
        self._ways = RoomWays(_RoomLink(self), self._timing)
        self._unsubscribe = signal.subscribe(self._on_frame, self._on_state)

    @property
    def pairs(self) -> Mapping[str, Pair]:
        """The other participants of the room, by peer id."""
        return MappingProxyType(self._pairs)

    @property
    def sfu(self) -> SfuConnections | None:
        """The connections with the server's SFU; None in a mesh."""
        return self._ways.sfu

    def subscribe(self, handler: MeshHandler) -> Callable[[], None]:
        """Call a handler for every event of the room; returns a function to stop it. Handlers must not block."""
        self._handlers.append(handler)

        def end() -> None:
            if handler in self._handlers:
                self._handlers.remove(handler)

        return end

    async def join(
        self,
        room: str,
        *,
        name: str = "meshturn",
        media: Mapping[str, int] | None = None,
        meta: Mapping[str, object] | None = None,
        within: float | None = None,
    ) -> None:
        """Enter a room and connect to all participants. Raises `SignalError`, such as ``room_full``.

        If a host has to admit this client, wait for that for up to ``within`` seconds.
        """
        sent = Media(a=1, v=1) if media is None else Media(**media)
        wanted = Join(room=room, name=name, media=sent, meta=dict(meta or {}))
        before, self._wanted = self._wanted, wanted
        try:
            await self.signal.request(self._able(wanted), patient=True, within=within)  # `_on_joined` enters.
        except BaseException:
            self._wanted = before
            raise
        if self._stats is None:
            self._stats = asyncio.create_task(self._report())

    async def leave(self) -> None:
        """Leave the room and end all connections with its participants."""
        was_in, self._wanted, self.room = self.room is not None, None, None
        if was_in and self.signal.state is ClientState.OPEN:
            try:
                await self.signal.request(Leave(), within=5.0)
            except SignalError as error:
                _logger.info("leave: %s", error)
        await self._end()

    async def close(self) -> None:
        """Leave, stop listening to the session, and wait until every connection has ended.

        A connection that a kick has begun to end is one of them: cut off in the middle, it would leave threads behind,
        which decode pictures and keep the process from ending.
        """
        await self.leave()
        self._unsubscribe()
        for task in self._tasks - self._endings:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def wait_for(self, condition: Callable[[], bool]) -> None:
        """Wait until ``condition`` is true; it is checked on every event, and also at intervals."""
        while not condition():
            self._changed.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), _LOOK)

    def message(self, data: object, to: str | None = None) -> None:
        """Send a small message through the server, to one participant or to all. Raises `SignalError`."""
        self.signal.send(Msg(n=UNNUMBERED, to=to, data=data))

    def choose(self, *, last: int | None = None, others: int = MAX_HEIGHT, tiles: Iterable[ShownTile] = ()) -> None:
        """Which pictures to receive of the SFU, in place of what was chosen before; in a mesh, all come.

        At most ``last`` pictures come, those of who spoke last, without the pinned ones. ``tiles`` are in the order of
        their importance. ``others`` is the height of the pictures that they do not name, and 0 for none of them. Sound
        always comes. Without a choice, all pictures come.
        """
        self._ways.choose(Choose(last=last, others=others, tiles=tuple(tiles)))

    def broadcast(self, data: str | bytes) -> int:
        """Send over every open data channel; returns the number of channels that accepted it.

        There are none in a room that goes through an SFU: `message` goes through the server.
        """
        sent = 0
        for pair in self._pairs.values():
            if pair.channel_open:
                pair.send(data)
                sent += 1
        return sent

    async def moderate(
        self, op: Operation, to: str | None = None, *, value: str | int | None = None, reason: str | None = None
    ) -> None:
        """Do what a host may do (`Operation`); ``mute`` without ``to`` is for all others. Raises `SignalError`."""
        await self.signal.request(Mod(n=UNNUMBERED, op=op, to=to, value=value, reason=reason or ""))

    async def invite(self, *, ttl: int = 86_400, uses: int = 20) -> Invitation:
        """A member's token for this room, valid for ``ttl`` seconds and ``uses`` sessions; for hosts.

        It is valid no longer than the host's own token. Raises `SignalError`.
        """
        answer = await self.signal.request(Invite(ttl=ttl, uses=uses))
        if not isinstance(answer, Invitation):
            raise SignalError("unreadable", f"The server answers {answer.t!r} to 'invite'.")
        return answer

    async def reports(self) -> list[PairReport]:
        """The current report of every pair."""
        return [await pair.report() for pair in tuple(self._pairs.values())]

    async def diagnose(self, peer: str) -> Diagnosis:
        """Ask the server why a pair does not work. Raises `SignalError`."""
        pair = self._pairs.get(peer)
        if pair is None:
            raise SignalError("no_such_peer", "No participant with this id is in the room.")
        ours, theirs = pair.candidate_types()
        types = CandidateTypes(local=tuple(ours), remote=tuple(theirs))
        seen = Diag(to=peer, states=(pair.state.value,), cands=types, errors=tuple(pair.failures()))
        answer = await self.signal.request(seen)
        if not isinstance(answer, DiagVerdict):
            raise SignalError("unreadable", f"The server answers {answer.t!r} to 'diag'.")
        return Diagnosis(answer.verdict, answer.text)

    # Frames and changes of the session.

    def _on_state(self, change: StateChange) -> None:
        if change.state is ClientState.CLOSED:
            self._wanted = self.room = None
            self._finish(self._end())
            self._tell(MeshEvent("ended"))
            return
        if change.state is ClientState.OPEN and change.fresh:
            self.closes_at = None  # another server, or the same one again
        outside = change.unseated and self.room is not None
        if change.state is ClientState.OPEN and (change.fresh or outside) and self._wanted is not None:
            self._me = ""  # the others have ended their connections with us
            self._spawn(self._rejoin(self._wanted))
        elif change.state is ClientState.OPEN:
            for pair in self._pairs.values():
                pair.wake()
            if self.sfu is not None:
                self.sfu.back()
        self._tell(MeshEvent("signaling"))

    async def _rejoin(self, wanted: Join) -> None:
        """The session and our peer id were lost: join again, and rebuild every connection."""
        for attempt in range(_RETRIES):
            try:
                await self.signal.request(self._able(wanted), patient=True)
            except SignalError as error:
                _logger.warning("cannot join again: %s", error)
                if self.signal.state is not ClientState.OPEN:
                    return  # The next session tries again.
                await self._pause(error.retry if error.retry is not None else 2.0 * (attempt + 1))
            else:
                return

    def _on_frame(self, said: ServerMessage) -> None:
        if isinstance(said, _SNAPSHOT) and 0 < number_of(said) <= self._at:
            return
        if (handler := _HANDLERS.get(type(said))) is not None:
            handler(self, said)
        if isinstance(said, Error) and said.code is SignalCode.WAITING:
            self._tell(MeshEvent("waiting", message=said))
        elif (kind := KINDS_OF_EVENTS.get(type(said))) is not None:
            peer = said.from_ if isinstance(said, FromPeer) else getattr(said, "id", "")
            if isinstance(said, Speaker):
                peer = said.peer or ""
            self._tell(MeshEvent(kind, peer, message=said))

    def _able(self, wanted: Join) -> Join:
        """A join that says what this client can do, as far as the server knows the words."""
        able = self._mode == "auto" and "sfu" in self.signal.features
        return replace(wanted, mode="auto") if able else wanted

    def _choice(self) -> IceChoice:
        """The TURN server to use now, with the latest credentials."""
        return IceChoice.of(self._ice, via=self._via, relay_only=self._relay_only, tls=self._tls)

    def _on_ice(self, said: IceUpdate) -> None:
        self._ice = said.ice

    def _on_sync(self, said: Sync) -> None:
        self._enter(said)
        if said.lost:  # Perhaps a description; a connected pair needs none.
            for pair in self._pairs.values():
                if pair.way == "mesh" and pair.state is not PairState.CONNECTED:
                    pair.restart("lost")
            if self.sfu is not None and self.sfu.state is not PairState.CONNECTED:
                self.sfu.restart("lost")

    def _on_joined(self, said: Joined) -> None:
        """The answer to a join, handled before later frames."""
        if self._wanted is not None:
            self._enter(said)

    def _on_peer_join(self, said: PeerJoin) -> None:
        if (pair := self._meet(said.peer)) is not None:
            self._ways.meet(pair)
        self._ways.refresh()

    def _on_peer_update(self, said: PeerUpdate) -> None:
        if (pair := self._pairs.get(said.id)) is not None:
            pair.name, pair.media = said.name, said.media
            pair.role = said.role or pair.role
            self._ways.refresh()

    def _on_peer_leave(self, said: PeerLeave) -> None:
        if (pair := self._pairs.pop(said.id, None)) is not None:
            self.server_paths.pop(pair.id, None)
            self._finish(pair.close())
            self._ways.refresh()

    def _on_peer_gap(self, said: PeerGap) -> None:
        if (pair := self._pairs.get(said.id)) is not None:
            pair.set_gap(True)

    def _on_peer_back(self, said: PeerBack) -> None:
        if (pair := self._pairs.get(said.id)) is not None:
            pair.set_gap(False)

    def _on_negotiation(self, said: PeerDesc | PeerCand | PeerReset) -> None:
        if said.from_ == SFU:
            if self.sfu is not None and not isinstance(said, PeerCand):
                self.sfu.deliver(said)
        elif (pair := self._pairs.get(said.from_)) is not None:
            pair.deliver(said)

    def _on_layers(self, said: Layers) -> None:
        if self.sfu is not None:
            self.sfu.layers(said.list)

    def _on_speaker(self, said: Speaker) -> None:
        if self.room is not None:
            self.room = replace(self.room, speaker=said.peer)

    def _on_paths(self, said: Paths) -> None:
        for entry in said.list:
            if entry.id in self._pairs:
                self.server_paths[entry.id] = ServerPath(entry.path, entry.proto, entry.by, entry.tx, entry.rx)

    def _on_room_update(self, said: RoomUpdate) -> None:
        if (before := self.room) is None:
            return
        self.room = replace(before, **{name: getattr(said, name) for name in _TOLD})
        if any(getattr(before, name) != getattr(said, name) for name in _ROUTING):
            self._ways.follow(self.room)

    def _on_draining(self, said: Draining) -> None:
        self.closes_at = said.until / 1000

    # The room.

    def _enter(self, said: Joined | Sync) -> None:
        """Make the room equal to a snapshot: add new participants, and remove those who have left."""
        self.room, self._at, self._ice = said.room, said.at, said.ice
        self._publishes = "publish" in said.you.caps
        there = {peer.id for peer in said.peers}
        if said.you.id != self._me:  # Another session: the others, and the SFU, know nothing of our connections.
            there = set()
            self._ways.end()
        self._me = said.you.id
        for identity in set(self._pairs) - there:
            self._finish(self._pairs.pop(identity).close())
        for peer in said.peers:
            self._meet(peer)
        self._ways.follow(self.room)
        self._tell(MeshEvent("joined", message=said))

    def _meet(self, peer: Peer) -> Pair | None:
        """Have a pair for a participant; returns it if it is new."""
        if peer.id == self._me or self.room is None:
            return None
        known = self._pairs.get(peer.id)
        if known is not None and known.since == peer.since:
            known.update(peer)
            known.set_gap(peer.gap is not None)
            return None
        if known is not None:  # The peer left and joined again between two snapshots.
            self._finish(self._pairs.pop(peer.id).close())
        if len(self._pairs) >= _MAX_PAIRS[self.room.mode]:
            return None
        plan = self._plan() if self._publishes else Listen()
        pair = Pair(peer, _RoomLink(self), plan, self._timing, way=self.room.mode)
        self._pairs[peer.id] = pair
        return pair

    async def _end(self) -> None:
        self._ways.end()
        pairs, self._pairs = list(self._pairs.values()), {}
        self.server_paths.clear()
        stats, self._stats = self._stats, None
        if stats is not None:
            stats.cancel()
        await asyncio.gather(*(pair.close() for pair in pairs))

    async def _report(self) -> None:
        """Report the state of our connections every ten seconds; the server cannot see direct paths."""
        while True:
            await self._pause(_STAT_INTERVAL)
            for report in await self.reports():
                if report.way == "mesh" and report.chosen is not None and self.signal.state is ClientState.OPEN:
                    self._stat(report)

    def _stat(self, report: PairReport) -> None:
        seen = Stat(
            to=report.id,
            path=report.path,
            proto=report.proto,
            rx=report.bytes_received,
            tx=report.bytes_sent,
            w=report.received.width or None,
            took=None if report.took is None else round(report.took * 1000),
        )
        self.signal.send(seen)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def _finish(self, work: Coroutine[Any, Any, None]) -> None:
        """Begin work that must not be cut off: it ends connections."""
        task = self._spawn(work)
        self._endings.add(task)
        task.add_done_callback(self._endings.discard)

    def _tell(self, event: MeshEvent) -> None:
        self._changed.set()
        for handler in tuple(self._handlers):
            try:
                handler(event)
            except Exception:
                _logger.exception("a handler failed on %r", event.kind)


class _RoomLink:
    """The interface of the room for its pairs and ways: `PairLink` and `turnserver.client.ways.WaysLink`."""

    def __init__(self, mesh: MeshClient) -> None:
        self._mesh = mesh

    def send(self, message: ClientMessage) -> None:
        self._mesh.signal.send(message)

    def ice(self) -> IceChoice:
        return self._mesh._choice()

    def new_id(self) -> str:
        return "".join(secrets.choice(_ID_ALPHABET) for _ in range(_ID_LENGTH))

    async def fresh_ice(self, peer: str, why: str) -> None:
        await self._mesh.signal.request(Restart(n=UNNUMBERED, to=peer, why=why))

    def ready(self) -> bool:
        return self._mesh.signal.state is ClientState.OPEN

    def changed(self, pair: Pair | None = None) -> None:
        if pair is not None:
            self._mesh._tell(MeshEvent("peer", pair.id))
            return
        self._mesh._tell(MeshEvent("sfu"))
        for each in self._mesh._pairs.values():
            if each.way == "sfu":
                self._mesh._tell(MeshEvent("peer", each.id))

    def message(self, pair: Pair, data: str | bytes) -> None:
        self._mesh._tell(MeshEvent("data", pair.id, data))

    # For the ways.

    @property
    def me(self) -> str:
        return self._mesh._me

    @property
    def pairs(self) -> Mapping[str, Pair]:
        return self._mesh._pairs

    @property
    def speaker(self) -> str | None:
        return None if self._mesh.room is None else self._mesh.room.speaker

    def others_send(self) -> bool:
        return any(pair.media.a or pair.media.v or pair.media.s for pair in self._mesh._pairs.values())

    def sends_nothing(self) -> None:
        with contextlib.suppress(SignalError):  # The session is over.
            self._mesh.signal.send(Update(n=UNNUMBERED, media=Media()))

    def publishing(self) -> MediaPlan | None:
        return self._mesh._plan() if self._mesh._publishes else None

    def take(self, peer: str, source: MediaSource, origin: object, frame: MediaFrame) -> None:
        self._mesh._ways.take(peer, source, origin, frame)

    def finish(self, work: Coroutine[Any, Any, None]) -> None:
        self._mesh._finish(work)


_HANDLERS: Final[Mapping[type[ServerMessage], Callable[[MeshClient, Any], None]]] = MappingProxyType(
    {
        IceUpdate: MeshClient._on_ice,
        Sync: MeshClient._on_sync,
        Joined: MeshClient._on_joined,
        PeerJoin: MeshClient._on_peer_join,
        PeerUpdate: MeshClient._on_peer_update,
        PeerLeave: MeshClient._on_peer_leave,
        PeerGap: MeshClient._on_peer_gap,
        PeerBack: MeshClient._on_peer_back,
        PeerDesc: MeshClient._on_negotiation,
        PeerCand: MeshClient._on_negotiation,
        PeerReset: MeshClient._on_negotiation,
        Paths: MeshClient._on_paths,
        RoomUpdate: MeshClient._on_room_update,
        Layers: MeshClient._on_layers,
        Speaker: MeshClient._on_speaker,
        Draining: MeshClient._on_draining,
    }
)
