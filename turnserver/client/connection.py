"""A connection with one participant in a mesh: an `aiortc.RTCPeerConnection`, negotiated as ``signal.v1`` says, rebuilt
when it breaks.

aiortc lacks some features of browsers, which are replaced as follows:

- *No rollback.* When offers collide and we are the polite peer, our connection is closed and a new one takes its place
  and its ``pc``. The other side has accepted nothing of the first one, so to it this looks like a rollback.
- *No ICE restart.* An offer with another ``ice-ufrag`` on an established connection is answered with `reset` and an
  offer of a new connection. When we have to restart ICE, we do the same at once.
- *No trickling.* Our descriptions contain all candidates; trickled candidates of the other side are accepted.
- *No ``disconnected``.* Every `PairTiming.look` seconds a connection is looked at; when nothing has come for
  `PairTiming.misses` looks, it is rebuilt (`turnserver.client.watch`). So is one that is not established within
  `PairTiming.connect`.

All events of a connection go through one bounded queue and are handled in order, by one task.
"""

import asyncio
import contextlib
import logging
from collections.abc import Coroutine, Iterable
from typing import Any, Final, Literal, NamedTuple, Protocol, TypeAlias

from aiortc import MediaStreamTrack, RTCDataChannel, RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import MediaStreamError
from av.frame import Frame as MediaFrame

from turnserver.client.errors import SignalError
from turnserver.client.ice import (
    IceChoice,
    bundle_tag,
    candidate_types,
    candidates_of,
    ice_transport,
    ice_ufrag,
    read_candidate,
    traffic,
)
from turnserver.client.media import MediaPlan, ScreenTrack
from turnserver.client.state import PairState, PairTiming
from turnserver.client.streams import source_named
from turnserver.client.watch import Watch
from turnserver.signaling.protocol.base import UNNUMBERED, ClientMessage
from turnserver.signaling.protocol.client_messages import Desc, Reset
from turnserver.signaling.protocol.fields import Candidate, Description, IceError, MediaSource
from turnserver.signaling.protocol.server_messages import PeerCand, PeerDesc, PeerReset

__all__ = ["MeshConnection", "MeshLink", "MeshOwner", "Negotiation"]

_MAX_QUEUE: Final = 256
_MAX_EARLY: Final = 64
_MAX_SHOWN: Final = 256
_MAX_CHANNEL: Final = 1024 * 1024
"""Bytes that the data channel may have waiting."""

_BROKEN: Final = frozenset({"failed", "closed"})
_CLOSING: Final = 5.0

_logger = logging.getLogger("meshturn.client")


Negotiation: TypeAlias = PeerDesc | PeerCand | PeerReset
"""A participant's messages about its connection with this client."""


class _Chore(NamedTuple):
    """Work without a message: the reason of a restart, or the connection that it is about."""

    what: str
    about: str


class MeshLink(Protocol):
    """What a connection needs from its room."""

    def send(self, message: ClientMessage) -> None:
        """Send a message through the server."""

    def ice(self) -> IceChoice:
        """The TURN server to use now."""

    def new_id(self) -> str:
        """A name for a connection: 8 random characters."""

    async def fresh_ice(self, peer: str, why: str) -> None:
        """Ask the server for fresh credentials for both ends."""

    def ready(self) -> bool:
        """Whether messages are sent at once now."""


class MeshOwner(Protocol):
    """The participant that a connection is with."""

    @property
    def id(self) -> str:
        """Its peer id."""

    @property
    def gap(self) -> bool:
        """Whether its signaling is away."""

    def moved(self) -> None:
        """The state of the connection, or of its data channel, has changed."""

    def said(self, data: str | bytes) -> None:
        """A message has arrived over the data channel."""

    def heard(self, source: MediaSource, track: MediaStreamTrack, frame: MediaFrame) -> None:
        """A frame has arrived."""

    def note(self, text: str) -> None:
        """Something went wrong."""


class MeshConnection:
    """See the module. ``polite`` and ``starts`` are our roles, ``plan`` says what the participant is sent."""

    def __init__(
        self,
        owner: MeshOwner,
        link: MeshLink,
        plan: MediaPlan,
        timing: PairTiming,
        *,
        polite: bool,
        starts: bool,
    ) -> None:
        self.state = PairState.CONNECTING
        self.rebuilds = 0
        """Rebuilds in a row."""
        self.ice = IceChoice()
        """The TURN server that it uses."""
        self._owner = owner
        self._polite = polite
        self._starts = starts
        self._link = link
        self._plan = plan
        self._timing = timing
        self._watch = Watch(timing.misses)
        self._queue: asyncio.Queue[Negotiation | _Chore] = asyncio.Queue(_MAX_QUEUE)
        self._background: set[asyncio.Task[None]] = set()
        self._timers: list[asyncio.TimerHandle] = []
        self._pc: RTCPeerConnection | None = None
        self._pc_id = ""
        self._remote_id: str | None = None
        self._remote_sdp = ""
        self._answered_reset: str | None = None
        self._early: list[Candidate | None] = []
        self._stalled = False
        self._attached = False
        self._left: list[MediaStreamTrack] = []
        self._channel: RTCDataChannel | None = None
        self._worker = asyncio.create_task(self._work(), name=f"pair-{owner.id}")

    @property
    def pc(self) -> RTCPeerConnection | None:
        """The connection in use."""
        return self._pc

    # For the room.

    def deliver(self, said: Negotiation) -> None:
        """A ``desc``, ``cand`` or ``reset`` from the participant."""
        self._push(said)

    def wake(self) -> None:
        """Signaling is back, theirs or ours: repairs that had to wait are made now."""
        if self._stalled and not self._owner.gap and self._link.ready():
            self.restart("failed")

    def restart(self, why: str = "user") -> None:
        """Build the connection anew, with fresh credentials."""
        self._push(_Chore("restart", why))

    def send(self, data: str | bytes) -> None:
        """Send over the data channel. Raises `SignalError` while it is not open, or when too much waits."""
        channel = self._channel
        if channel is None or channel.readyState != "open":
            raise SignalError("not_connected", "The data channel is not open.")
        if channel.bufferedAmount + len(data) > _MAX_CHANNEL:
            raise SignalError("backlog", "The data channel sends more slowly than it is given data.")
        channel.send(data)

    @property
    def channel_open(self) -> bool:
        """Whether `send` can be used."""
        return self._channel is not None and self._channel.readyState == "open"

    def failures(self) -> list[IceError]:
        """ICE errors as browsers number them: 701 when there is no relayed candidate though there is a server."""
        ours, _ = candidate_types(self._pc)
        gathered = self._attached and self._pc is not None and self._pc.iceGatheringState == "complete"
        if not gathered or not self.ice.url or "relay" in ours:
            return []
        return [IceError(code=701, url=self.ice.url[:_MAX_SHOWN])]

    async def close(self) -> None:
        """End the connection; the participant has left, or we have."""
        if self.state is PairState.CLOSED:
            return
        self.state = PairState.CLOSED
        self._worker.cancel()
        self._cancel_timers()
        if self._pc is not None:
            self._retire(self._pc)
        await asyncio.gather(self._worker, return_exceptions=True)
        if self._background:
            _, late = await asyncio.wait(self._background, timeout=_CLOSING)
            for task in late:
                task.cancel()

    # The worker and its queue.

    def _push(self, item: "Negotiation | _Chore") -> None:
        try:
            self._queue.put_nowait(item)
        except asyncio.QueueFull:
            self._owner.note("too many messages at once from the peer")

    async def _work(self) -> None:
        self._renew()
        if self._starts:
            await self._guard(self._offer())
        else:
            self._later(self._timing.offer_wait, "offer")
        while True:
            item = await self._queue.get()
            if not isinstance(item, _Chore):
                await self._guard(self._take(item))
            elif item.what == "restart":
                await self._guard(self._recover(item.about))
            elif item.about == self._pc_id:  # What follows is about one connection, which may be gone by now.
                await self._guard(self._due(item.what))

    async def _guard(self, step: Coroutine[Any, Any, None]) -> None:
        """Handle one item; an exception over what the other side has sent does not end the worker."""
        try:
            await step
        except SignalError as error:
            self._owner.note(str(error))
        except Exception as error:
            _logger.warning("pair with %s: %s: %s", self._owner.id, type(error).__name__, error)
            self._owner.note(f"{type(error).__name__}: {error}")

    async def _due(self, what: str) -> None:
        pc = self._pc
        assert pc is not None
        if what == "offer":
            if not self._remote_sdp and pc.signalingState == "stable":
                await self._offer()
        elif what == "connect":
            if pc.connectionState != "connected":
                await self._recover("failed")
        elif what == "look":
            await self._look(pc)
        elif pc.connectionState == "connected":
            self.rebuilds = 0
            self._become(PairState.CONNECTED)
            self._watch.begin()
            self._later(self._timing.look, "look")
        elif pc.connectionState == "failed":
            await self._recover("failed")
        elif pc.connectionState == "closed":  # The other side has closed it; it says why, or it is up to us.
            self._become(PairState.RECONNECTING)
            self._later(self._timing.offer_wait, "connect")

    async def _take(self, said: Negotiation) -> None:
        if isinstance(said, PeerReset):
            self._on_reset(said)
            return
        if said.rpc and said.rpc != self._pc_id:
            if self._answered_reset != said.pc:
                self._answered_reset = said.pc
                self._link.send(Reset(n=UNNUMBERED, to=self._owner.id, pc=self._pc_id, why="stale"))
            return
        if isinstance(said, PeerCand):
            await self._on_candidates(said)
        elif "\nm=" not in said.desc.sdp:
            self._owner.note("a description without media sections")
        elif said.desc.type == "offer":
            await self._on_offer(said.pc, said.desc.sdp)
        elif said.desc.type == "answer":
            await self._on_answer(said.pc, said.desc.sdp)

    # Connections.

    def _renew(self, *, keep_id: bool = False) -> None:
        """Take a new connection into use; an old one is closed in the background."""
        self._cancel_timers()
        if self._pc is not None:
            self._retire(self._pc)
        if not keep_id:
            self._pc_id = self._link.new_id()
        self.ice = self._link.ice()
        self._remote_id = None
        self._remote_sdp = ""
        self._early.clear()
        self._attached = False
        self._channel = None
        pc = self._pc = RTCPeerConnection(self.ice.configuration())
        name = self._pc_id

        def on_state() -> None:
            if self._pc is pc:
                self._push(_Chore("state", name))

        def on_track(track: MediaStreamTrack) -> None:
            self._spawn(self._drain(_source_of(pc, track), track))

        pc.on("connectionstatechange", on_state)
        pc.on("track", on_track)

    def _retire(self, pc: RTCPeerConnection) -> None:
        if self._pc is pc:
            self._pc = None
        pc.remove_all_listeners("connectionstatechange")
        self._spawn(pc.close())

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    async def _drain(self, source: MediaSource, track: MediaStreamTrack) -> None:
        """Consume frames as they arrive, so that none pile up; ends with the track."""
        with contextlib.suppress(MediaStreamError):
            while True:
                frame = await track.recv()
                if isinstance(frame, MediaFrame):
                    self._owner.heard(source, track, frame)

    def _attach(self) -> None:
        """Add our tracks and the data channel to the connection; once.

        When we answer, this comes after the offer: aiortc then has one transport in the offer's order, and our tracks
        go into the sections that are there. Tracks without a section follow in an offer of ours. A screen's are always
        in further sections, since the first of a kind is that of the microphone or camera.
        """
        pc = self._pc
        assert pc is not None
        if self._attached:
            return
        self._attached = True
        answering = pc.signalingState == "have-remote-offer"
        tracks = self._plan.outgoing()
        left: list[MediaStreamTrack] = [each for each in tracks if isinstance(each, ScreenTrack)]
        for track in tracks:
            if track in left:
                continue
            free = [each for each in pc.getTransceivers() if each.kind == track.kind and each.sender.track is None]
            if answering and not free:
                left.append(track)
            else:
                pc.addTrack(track)
        if not answering:
            for kind in {"audio", "video"} - {each.kind for each in pc.getTransceivers()}:
                pc.addTransceiver(kind, "recvonly")
            _add_all(pc, left)
            left = []
        self._open_channel(pc)
        self.ice.prepare(pc)
        self._left = left

    def _open_channel(self, pc: RTCPeerConnection) -> None:
        channel = self._channel = pc.createDataChannel("mesh", negotiated=True, id=0)

        def on_message(data: str | bytes) -> None:
            if data != "":  # The other side asks for an acknowledgement of SCTP only.
                self._owner.said(data)

        def on_open() -> None:
            self._owner.moved()

        channel.on("message", on_message)
        channel.on("open", on_open)

    # Negotiation.

    async def _describe(self, kind: Literal["offer", "answer"]) -> None:
        """Make a description, gather, and send it."""
        pc = self._pc
        assert pc is not None
        await pc.setLocalDescription(await (pc.createOffer() if kind == "offer" else pc.createAnswer()))
        description = Description(type=kind, sdp=pc.localDescription.sdp)
        self._link.send(Desc(n=UNNUMBERED, to=self._owner.id, pc=self._pc_id, rpc=self._remote_id, desc=description))
        if pc.connectionState != "connected":
            self._later(self._timing.connect, "connect")

    async def _offer(self) -> None:
        self._attach()
        await self._describe("offer")

    async def _on_offer(self, pc_id: str, sdp: str) -> None:
        pc = self._pc
        assert pc is not None
        if pc.signalingState == "have-local-offer":
            if not self._polite:
                return
            if self._remote_sdp:
                self._rebuild("glare")
                await self._offer()
                return
            self._renew(keep_id=True)
        elif self._remote_sdp and self._remote_id != pc_id:
            self._become(PairState.RECONNECTING)
            self._renew()
        elif self._remote_sdp and (ice_ufrag(sdp) != ice_ufrag(self._remote_sdp) or pc.connectionState in _BROKEN):
            self._become(PairState.RECONNECTING)
            self._rebuild("restart")
            await self._offer()
            return
        await self._accept(pc_id, "offer", sdp)
        self._attach()
        await self._describe("answer")
        if self._left:
            assert self._pc is not None
            _add_all(self._pc, self._left)
            self._left = []
            await self._describe("offer")

    async def _on_answer(self, pc_id: str, sdp: str) -> None:
        if self._pc is not None and self._pc.signalingState == "have-local-offer":
            await self._accept(pc_id, "answer", sdp)

    async def _accept(self, pc_id: str, kind: str, sdp: str) -> None:
        pc = self._pc
        assert pc is not None
        await pc.setRemoteDescription(RTCSessionDescription(sdp, kind))
        self._remote_id, self._remote_sdp = pc_id, sdp
        transport = ice_transport(pc)
        if transport is not None:
            for candidate in map(read_candidate, candidates_of(sdp)):
                if candidate is not None:
                    await transport.addRemoteCandidate(candidate)
        early, self._early = self._early, []
        for entry in early:
            await self._add(entry)

    async def _on_candidates(self, said: PeerCand) -> None:
        if self._remote_id is not None and self._remote_id != said.pc:
            return
        for candidate in said.list:
            if self._remote_sdp:
                await self._add(candidate)
            elif len(self._early) < _MAX_EARLY:
                self._early.append(candidate)

    async def _add(self, entry: Candidate | None) -> None:
        """One trickled candidate, if it is for the transport that carries everything."""
        transport = None if self._pc is None else ice_transport(self._pc)
        if transport is None:
            return
        if entry is None:
            await transport.addRemoteCandidate(None)
            return
        if entry.usernameFragment and entry.usernameFragment != ice_ufrag(self._remote_sdp):
            return
        tag = bundle_tag(self._remote_sdp)
        for_all = entry.sdpMid == tag if entry.sdpMid is not None else not entry.sdpMLineIndex
        candidate = read_candidate(entry.candidate)
        if candidate is not None and (for_all or not tag):
            await transport.addRemoteCandidate(candidate)

    # When it breaks.

    async def _look(self, pc: RTCPeerConnection) -> None:
        """Rebuild a connection over which nothing comes any more."""
        _, received = await traffic(pc)
        if pc is not self._pc or pc.connectionState != "connected":
            return
        if self._watch.look(received, able=not self._owner.gap and self._link.ready(), probe=self._probe):
            await self._recover("silent")
        else:
            self._later(self._timing.look, "look")

    def _probe(self) -> bool:
        """Have the other side acknowledge an empty message. Without a channel nothing need come from it."""
        with contextlib.suppress(SignalError):
            self.send("")
        return self.channel_open

    def _on_reset(self, said: PeerReset) -> None:
        """The other side has a new connection, so ours is rebuilt too."""
        if said.pc == self._remote_id:
            return
        if self._remote_sdp:
            self._become(PairState.RECONNECTING)
            self._renew()
            self._later(self._timing.offer_wait, "offer")
        self._remote_id = said.pc

    def _rebuild(self, why: str) -> None:
        """Take a new connection into use and make the other side do the same."""
        self._renew()
        self._link.send(Reset(n=UNNUMBERED, to=self._owner.id, pc=self._pc_id, why=why))

    async def _recover(self, why: str) -> None:
        """Rebuild, unless that was tried too often, or signaling is lost and the other side cannot be reached."""
        self._stalled = why == "failed" and (self._owner.gap or not self._link.ready())
        if self._stalled:
            return
        if self.rebuilds >= self._timing.rebuilds and why == "failed":
            self._cancel_timers()
            self._become(PairState.FAILED)
            return
        self.rebuilds += 1
        self._become(PairState.RECONNECTING)
        with contextlib.suppress(SignalError, TimeoutError):
            async with asyncio.timeout(self._timing.fresh_ice):
                await self._link.fresh_ice(self._owner.id, why)
        self._rebuild(why)
        await self._offer()

    def _later(self, seconds: float, what: str) -> None:
        loop, chore = asyncio.get_running_loop(), _Chore(what, self._pc_id)
        self._timers = [timer for timer in self._timers if timer.when() > loop.time()]
        self._timers.append(loop.call_later(seconds, self._push, chore))

    def _cancel_timers(self) -> None:
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()

    def _become(self, state: PairState) -> None:
        if state is not self.state and self.state is not PairState.CLOSED:
            self.state = state
            self._owner.moved()


def _add_all(pc: RTCPeerConnection, tracks: Iterable[MediaStreamTrack]) -> None:
    """Add tracks; those of screens in sections of their own, which are not the first of their kind."""
    for track in tracks:
        if not isinstance(track, ScreenTrack):
            pc.addTrack(track)
            continue
        if not any(each.kind == track.kind for each in pc.getTransceivers()):
            pc.addTransceiver(track.kind, "recvonly")
        pc.addTransceiver(track, "sendonly")


def _source_of(pc: RTCPeerConnection, track: MediaStreamTrack) -> MediaSource:
    """What a track is. In a mesh, the first section of a kind is camera or microphone, and others are of a screen."""
    first = next((each for each in pc.getTransceivers() if each.kind == track.kind), None)
    return source_named(track.kind, screen=first is not None and first.receiver.track is not track)
