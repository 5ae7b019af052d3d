"""The two connections with the server's SFU: one through which we send, and one through which all others come.

We offer the first, and the SFU offers the second. Each has a name, chosen by whoever offers it, and a connection with
another name replaces it. The SFU answers checks and sends none (ICE-lite), and its candidates are in its descriptions.

A connection that has failed is built again, after longer and longer pauses; the one before goes on until the new one
stands. aiortc notices a dead path after 30 s only (RFC 7675 §5.1), so both are watched (`turnserver.client.watch`), and
built again sooner. The SFU reports on what it gets: while we send, something has to come back. Where nobody sends,
nothing need come: then it is asked with a check of ICE, which it answers for as long as it knows the connection.

aiortc sends one quality of a picture, without layers: its sender has one encoder, and offers no rids (RFC 8853). It
reads all of a track that nobody receives, and encodes none of it.
"""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from aiortc import MediaStreamTrack, RTCPeerConnection, RTCRtpSender, RTCSessionDescription
from aiortc.mediastreams import MediaStreamError
from av.frame import Frame as MediaFrame

from turnserver.client.errors import SignalError
from turnserver.client.ice import MAX_CANDIDATES, IceChoice, answers, flow, traffic
from turnserver.client.media import MediaPlan, source_of
from turnserver.client.sections import SfuSection, offered, route
from turnserver.client.state import PairState, PairTiming
from turnserver.client.watch import Watch
from turnserver.signaling.protocol.base import UNNUMBERED, ClientMessage
from turnserver.signaling.protocol.client_messages import Choose, Desc, Reset
from turnserver.signaling.protocol.fields import Description, MediaSource, SourceLayers
from turnserver.signaling.protocol.server_messages import PeerDesc, PeerReset

__all__ = ["SFU", "SfuConnections", "SfuLink"]

SFU: Final = "sfu"
"""The peer id of the SFU."""

RETRIES: Final = (0.0, 1.0, 2.0, 5.0, 10.0)
"""Seconds until a connection that has failed is built again; the last for all further times."""

_MAX_QUEUED: Final = 64
_MAX_SHOWN: Final = 200
_CLOSING: Final = 5.0

_logger = logging.getLogger("meshturn.client")


class SfuLink(Protocol):
    """What the connections need from the room."""

    def send(self, message: ClientMessage) -> None:
        """Send a message through the server. Raises `SignalError`."""

    def ice(self) -> IceChoice:
        """The TURN server to use now."""

    def new_id(self) -> str:
        """A name for a connection: 8 random characters."""

    def ready(self) -> bool:
        """Whether messages are sent at once now."""

    def others_send(self) -> bool:
        """Whether any other participant says that it sends something."""

    def changed(self) -> None:
        """The state, or what went wrong, is another."""

    def take(self, peer: str, source: MediaSource, origin: object, frame: MediaFrame) -> None:
        """A frame of a participant's, over the section ``origin``."""


@dataclass(eq=False, slots=True)
class _Line:
    """One connection, and the work on it: one thing after the other."""

    name: str
    sends: bool
    pc: RTCPeerConnection
    ice: IceChoice
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    queued: int = 0
    closed: bool = False
    timer: asyncio.TimerHandle | None = None
    senders: dict[MediaSource, RTCRtpSender] = field(default_factory=dict)
    tracks: list[MediaStreamTrack] = field(default_factory=list)
    """What we send."""
    sections: dict[str, SfuSection] = field(default_factory=dict)
    read: set[str] = field(default_factory=set)
    """The ``mid`` of the sections whose frames are read."""
    sent: int = 0
    received: int = -1
    """Packets sent and bytes received at the last look."""
    answered: int = 0
    """Checks of ours that were answered."""
    check: asyncio.Task[None] | None = None
    """The one under way."""

    @property
    def stands(self) -> bool:
        return not self.closed and self.pc.connectionState == "connected"

    @property
    def watched(self) -> bool:
        """Whether it stands, and the next one is not being waited for."""
        return self.stands and self.timer is None

    def stop_timer(self) -> None:
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None

    async def ask(self) -> None:
        self.answered += await answers(self.pc)


class SfuConnections:
    """See the module. ``plan`` says what is sent, and is None for who may not send; ``choice`` is what to receive."""

    def __init__(
        self,
        link: SfuLink,
        plan: MediaPlan | None,
        timing: PairTiming,
        *,
        choice: Choose | None = None,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.state = PairState.CONNECTING
        """``connected`` when those stand that are needed: to send, if we do, and to receive, if others send."""
        self.rebuilds = 0
        """How often in a row one of them was built again."""
        self.errors: list[str] = []
        """What went wrong, in our words; the last few."""
        self._link = link
        self._plan = plan
        self._timing = timing
        self._choice = choice
        self._pause = pause
        self._was = False
        self._closed = False
        self._wanted: dict[str, bool] = {}
        self._out: _Line | None = None
        self._in: _Line | None = None
        self._before: list[_Line] = []
        self._watches = {sends: Watch(timing.misses) for sends in (True, False)}
        self._tasks: set[asyncio.Task[None]] = set()
        self._publish()
        self._looks = asyncio.create_task(self._look(), name="sfu-look")

    @property
    def pc(self) -> RTCPeerConnection | None:
        """The connection through which the others come; None before the SFU has offered one."""
        return None if self._in is None else self._in.pc

    @property
    def sending(self) -> RTCPeerConnection | None:
        """The connection through which we send; None if we send nothing."""
        return None if self._out is None else self._out.pc

    @property
    def ice(self) -> IceChoice:
        """The TURN server of the connection through which the others come."""
        return IceChoice() if self._in is None else self._in.ice

    @property
    def publishes(self) -> bool:
        """Whether we send anything."""
        return self._out is not None

    async def traffic(self) -> tuple[int, int]:
        """Bytes sent and received over both connections."""
        sent = received = 0
        for line in (self._out, self._in):
            if line is not None and not line.closed:
                some = await traffic(line.pc)
                sent, received = sent + some[0], received + some[1]
        return sent, received

    def choose(self, choice: Choose) -> None:
        """Say which pictures to send us, now and after a renewal."""
        self._choice = choice
        self._say_choice()

    def deliver(self, said: PeerDesc | PeerReset) -> None:
        """A ``desc`` or ``reset`` of the SFU's."""
        if self._closed:
            return
        if isinstance(said, PeerReset):
            self.renew()
        elif "\nm=" not in said.desc.sdp:
            self._note("a description without media sections")
        elif said.desc.sdp.count("a=candidate:") > MAX_CANDIDATES:  # each is an address that we send to
            self._note("a description with too many candidates")
        elif said.desc.type == "offer":
            self._on_offer(said.pc, said.desc.sdp)
        elif said.desc.type == "answer":
            self._on_answer(said.pc, said.desc.sdp)

    def layers(self, entries: Iterable[SourceLayers]) -> None:
        """Which of our pictures anybody receives."""
        self._wanted.update({entry.what: bool(entry.rids) for entry in entries})
        self._tune()

    def renew(self) -> None:
        """Both connections anew: at the other end there is nothing left of them."""
        if self._closed:
            return
        self._retire(self._in)
        self._in = None
        self.rebuilds = 0
        self._publish()
        self._refresh()

    def restart(self, why: str = "user") -> None:
        """Both connections anew, because of us."""
        if self._closed:
            return
        self.rebuilds += 1
        self._publish()
        if self._in is not None:
            self._send(Reset(n=UNNUMBERED, to=SFU, pc=self._in.name, why=why))
            self._wait(self._in, self._timing.connect)
        self._refresh()

    def refresh(self) -> None:
        """Somebody has come, has gone, or sends something else: perhaps other connections are needed."""
        if not self._closed:
            self._refresh()

    def back(self) -> None:
        """The signaling is back: what is not counted may not have arrived."""
        self._say_choice()

    async def close(self) -> None:
        """End both."""
        if self._closed:
            return
        self._closed = True
        self._looks.cancel()
        for line in (self._out, self._in, *self._before):
            if line is not None:
                self._end(line)
        self._out = self._in = None
        self._before.clear()
        self.state = PairState.CLOSED
        await asyncio.gather(self._looks, return_exceptions=True)
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=_CLOSING)
            for task in late:
                task.cancel()

    # Sending.

    def _publish(self) -> None:
        """Offer a connection for what we send. Who sends nothing has none."""
        self._retire(self._out)
        self._out = None
        self._wanted.clear()  # was said of tracks that are gone
        tracks = [] if self._plan is None else self._plan.outgoing()
        if tracks:
            line = self._out = self._line(self._link.new_id(), sends=True)
            line.tracks = tracks
            self._do(line, self._offer(line))

    async def _offer(self, line: _Line) -> None:
        sources: dict[MediaSource, RTCRtpSender] = {}
        for track in line.tracks:
            if (source := source_of(track)) in sources:
                raise ValueError(f"the plan has two tracks for {source}")
            sources[source] = line.pc.addTransceiver(track, "sendonly").sender
        line.senders = sources
        line.ice.prepare(line.pc)
        await line.pc.setLocalDescription(await line.pc.createOffer())
        if line is not self._out:
            return
        mids: dict[str, MediaSource] = {
            str(each.mid): source
            for each in line.pc.getTransceivers()
            for source, sender in sources.items()
            if each.sender is sender
        }
        description = Description(type="offer", sdp=line.pc.localDescription.sdp)
        self._send(Desc(n=UNNUMBERED, to=SFU, pc=line.name, desc=description, sources=mids))

    def _on_answer(self, name: str, sdp: str) -> None:
        if self._out is not None and self._out.name == name:
            self._do(self._out, self._accept(self._out, sdp))

    async def _accept(self, line: _Line, sdp: str) -> None:
        if line.pc.signalingState != "have-local-offer":
            return
        await line.pc.setRemoteDescription(RTCSessionDescription(sdp, "answer"))
        self._tune()

    def _tune(self) -> None:
        """Encode only what somebody receives. aiortc's senders read and drop what is not enabled."""
        line = self._out
        if line is None or line.pc.signalingState != "stable":
            return
        taken = {each.sender for each in line.pc.getTransceivers() if each.currentDirection == "sendonly"}
        for source, sender in line.senders.items():
            if sender.kind == "video" and sender in taken:
                sender._enabled = self._wanted.get(source, True)

    # Receiving.

    def _on_offer(self, name: str, sdp: str) -> None:
        if self._in is None or self._in.name != name:
            self._retire(self._in)
            self._in = self._line(name, sends=False)
            self._say_choice()
        self._do(self._in, self._answer(self._in, sdp))

    async def _answer(self, line: _Line, sdp: str) -> None:
        await line.pc.setRemoteDescription(RTCSessionDescription(sdp, "offer"))
        line.ice.prepare(line.pc)
        await line.pc.setLocalDescription(await line.pc.createAnswer())
        line.sections = offered(sdp)
        if line is not self._in:
            return
        route(line.pc, line.sections)
        for transceiver in line.pc.getTransceivers():
            track, mid = transceiver.receiver.track, transceiver.mid
            if track is not None and mid is not None and mid not in line.read:
                line.read.add(mid)
                self._spawn(self._read(line, mid, track))
        description = Description(type="answer", sdp=line.pc.localDescription.sdp)
        self._send(Desc(n=UNNUMBERED, to=SFU, pc=line.name, desc=description))

    async def _read(self, line: _Line, mid: str, track: MediaStreamTrack) -> None:
        """Take all frames of a section, whosever they are. They end with the connection."""
        with contextlib.suppress(MediaStreamError):
            while True:
                frame = await track.recv()
                section = line.sections.get(mid)
                if isinstance(frame, MediaFrame) and section is not None and self._is_shown(line):
                    self._link.take(section.peer, section.source, (line.name, mid, section.ssrcs), frame)

    def _is_shown(self, line: _Line) -> bool:
        """The connection that was is shown until the next one stands."""
        return line is self._in or (line in self._before and (self._in is None or not self._in.stands))

    def _say_choice(self) -> None:
        if self._choice is not None and self._in is not None and self._link.ready():
            self._send(self._choice)

    # Both.

    def _line(self, name: str, *, sends: bool) -> _Line:
        ice = self._link.ice()
        line = _Line(name, sends, RTCPeerConnection(ice.configuration()), ice)
        self._watches[sends].begin()

        def on_state() -> None:
            self._changed(line)

        line.pc.on("connectionstatechange", on_state)
        self._wait(line, self._timing.connect)
        return line

    def _do(self, line: _Line, step: Coroutine[Any, Any, None]) -> None:
        """Do something with a connection, after what is already to be done with it."""
        if line.closed or line.queued >= _MAX_QUEUED:
            step.close()
            return
        line.queued += 1
        self._spawn(self._guard(line, step))

    async def _guard(self, line: _Line, step: Coroutine[Any, Any, None]) -> None:
        """An exception over what the other side has sent makes the connection a failed one."""
        async with line.turn:
            line.queued -= 1
            if line.closed:
                step.close()
                return
            try:
                await step
            except Exception as error:
                if not line.closed:
                    _logger.warning("the connection with the SFU: %s: %s", type(error).__name__, error)
                    self._failed(line, f"{type(error).__name__}: {error}")

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def _send(self, message: ClientMessage) -> None:
        try:
            self._link.send(message)
        except SignalError as error:
            self._note(str(error))

    def _retire(self, line: _Line | None) -> None:
        """The connection that was goes on until the next one stands."""
        if line is None:
            return
        line.stop_timer()
        if line.stands:
            self._before.append(line)
        else:
            self._end(line)

    def _end(self, line: _Line) -> None:
        line.stop_timer()
        if line.check is not None:
            line.check.cancel()
        line.closed = True
        line.pc.remove_all_listeners("connectionstatechange")
        self._spawn(_close(line))

    def _changed(self, line: _Line) -> None:
        if self._closed or line.closed or (line is not self._out and line is not self._in):
            return
        state = line.pc.connectionState
        if state == "connected":
            line.stop_timer()
            for old in [each for each in self._before if each.sends is line.sends]:
                self._before.remove(old)
                self._end(old)
        elif state == "failed":
            self._failed(line, "the connection with the SFU has failed")
        elif state == "closed":
            self._failed(line, "the SFU has ended the connection")
        self._refresh()

    def _wait(self, line: _Line, seconds: float) -> None:
        """A connection that does not come about for so long has failed."""

        def over() -> None:
            line.timer = None
            if not line.stands:
                self._failed(line, "no path to the SFU was found")

        line.stop_timer()
        line.timer = asyncio.get_running_loop().call_later(seconds, over)

    def _failed(self, line: _Line, why: str) -> None:
        if self._closed or line.closed or (line is not self._out and line is not self._in):
            return
        self._note(why)
        pause = RETRIES[min(self.rebuilds, len(RETRIES) - 1)]
        self.rebuilds += 1
        line.stop_timer()
        line.timer = asyncio.get_running_loop().call_later(pause, self._replace, line)
        self._refresh()
        self._link.changed()

    def _replace(self, line: _Line) -> None:
        line.timer = None
        if self._closed:
            return
        if line is self._out:
            self._publish()
        elif line is self._in:
            self._send(Reset(n=UNNUMBERED, to=SFU, pc=line.name, why="failed"))
            self._wait(line, self._timing.connect)
        self._refresh()

    async def _look(self) -> None:
        """Build both again when nothing comes through one of them any more: mostly, the path of both has gone."""
        while True:
            await self._pause(self._timing.look)
            for line in (self._out, self._in):
                if line is not None and line.watched and await self._is_silent(line):
                    self._note("nothing comes from the SFU any more")
                    self.restart("silent")
                    break

    async def _is_silent(self, line: _Line) -> bool:
        sent, received = await flow(line.pc)
        if not line.watched or (line is not self._out and line is not self._in):
            return False
        if sent == line.sent and received == line.received and (line.check is None or line.check.done()):
            line.check = self._spawn(line.ask())
        line.sent, line.received = sent, received
        heard = received + line.answered
        return self._watches[line.sends].look(heard, able=self._link.ready(), probe=lambda: True)

    def _refresh(self) -> None:
        receives = self._in is not None or self._link.others_send()
        stands = (not receives or (self._in is not None and self._in.stands)) and (
            self._out is None or self._out.stands
        )
        if stands:
            self._was = self._was or self._in is not None or self._out is not None
            self.rebuilds = 0
        state = PairState.CONNECTED if stands else PairState.RECONNECTING if self._was else PairState.CONNECTING
        if state is not self.state:
            self.state = state
            self._link.changed()

    def _note(self, text: str) -> None:
        del self.errors[:-9]
        self.errors.append(text[:_MAX_SHOWN])


async def _close(line: _Line) -> None:
    """End a connection, and the tracks that it has not begun to send, which aiortc leaves alone."""
    await line.pc.close()
    for track in line.tracks:
        track.stop()
