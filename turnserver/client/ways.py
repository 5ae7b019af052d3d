"""How the media of a room go, and the change from a mesh to the SFU and back: make before break.

While the mode changes, pairs have both ways. When everything of the new one decodes, all pairs take what comes that way
at once, and the server is told. When it says that the others do not need the old connections either, these end.
`turnserver.signaling.rooms.switching` is the server's side.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import Any, Final, Protocol

from av.frame import Frame as MediaFrame

from turnserver.client.errors import SignalError
from turnserver.client.media import MediaPlan
from turnserver.client.pair import Pair
from turnserver.client.sfu import SfuConnections, SfuLink
from turnserver.client.state import PairState, PairTiming
from turnserver.signaling.protocol.client_messages import Choose, ModeReady
from turnserver.signaling.protocol.fields import MediaSource, Mode, RoomState

__all__ = ["RoomWays", "WaysLink"]

_LOOK: Final = 0.15
"""Seconds between two looks at what is decoded."""

_ENOUGH: Final = 27
"""Looks at connections that stand after which nothing more is waited for, four seconds: somebody may send nothing."""


class WaysLink(SfuLink, Protocol):
    """What the ways need from the room."""

    @property
    def me(self) -> str:
        """Our peer id."""

    @property
    def pairs(self) -> Mapping[str, Pair]:
        """The others, by peer id."""

    @property
    def speaker(self) -> str | None:
        """Who speaks, by peer id."""

    def publishing(self) -> MediaPlan | None:
        """What to send through the SFU; None if we may not send."""

    def sends_nothing(self) -> None:
        """Nothing goes to the SFU. It is waited for whoever says otherwise, so the server has to know."""

    def finish(self, work: Coroutine[Any, Any, None]) -> None:
        """Do work that must not be cut off: it ends connections."""


class RoomWays:
    """See the module. ``choice`` is what to receive of the SFU."""

    def __init__(
        self, link: WaysLink, timing: PairTiming, *, pause: Callable[[float], Awaitable[None]] = asyncio.sleep
    ) -> None:
        self.sfu: SfuConnections | None = None
        """The connections with the SFU; None without any."""
        self._link = link
        self._timing = timing
        self._pause = pause
        self._choice: Choose | None = None
        self._plan: MediaPlan | None = None
        self._room: RoomState | None = None
        self._awaiting: asyncio.Task[None] | None = None

    def choose(self, choice: Choose) -> None:
        """What to receive of the SFU, of this one and of later ones."""
        self._choice = choice
        if self.sfu is not None:
            self.sfu.choose(choice)

    def follow(self, room: RoomState) -> None:
        """Go on with what the room says now; everybody in it has a pair."""
        self._room = room
        if room.mode == "sfu" and self.sfu is None:
            self._plan = self._link.publishing()
            self.sfu = SfuConnections(self._link, self._plan, self._timing, choice=self._choice)
            if not self.sfu.publishes:
                self._link.sends_nothing()
        for pair in self._link.pairs.values():
            self.meet(pair)
        self.refresh()
        self._stop_waiting()
        if room.changing:
            self._awaiting = asyncio.create_task(self._await(room), name="mode-change")
        else:
            self._settle(room)

    def meet(self, pair: Pair) -> None:
        """Give somebody what the room's mode needs."""
        if self._room is None:
            return
        pair.through(self.sfu)
        if self._room.mode == "mesh":
            pair.connect()

    def refresh(self) -> None:
        """Somebody has come, has gone, or sends something else."""
        if self.sfu is not None:
            self.sfu.refresh()

    def take(self, peer: str, source: MediaSource, origin: object, frame: MediaFrame) -> None:
        """A frame that has come through the SFU."""
        pair = self._link.pairs.get(peer)
        if pair is None:
            return
        pair.take("sfu", source, origin, frame)
        if self._plan is not None and peer == self._echoed():
            self._plan.incoming(frame)

    def end(self) -> None:
        """Out of the room, or in it with another session, of which the SFU knows nothing."""
        self._stop_waiting()
        self._room = None
        self._end_sfu()

    def _echoed(self) -> str:
        """Whose frames the plan of what all get is given: one's, since an echo of several would be nobody's."""
        speaker = self._link.speaker
        return speaker if speaker is not None and speaker in self._link.pairs else next(iter(self._link.pairs), "")

    def _end_sfu(self) -> None:
        sfu, self.sfu = self.sfu, None
        if sfu is not None:
            for pair in self._link.pairs.values():
                pair.through(None)
            self._link.finish(sfu.close())

    def _stop_waiting(self) -> None:
        if self._awaiting is not None:
            self._awaiting.cancel()
            self._awaiting = None

    async def _await(self, room: RoomState) -> None:
        """Show the new mode and say so when it is ready."""
        stood = 0
        while True:
            stands, decodes = self._ready(room.mode)
            stood = stood + 1 if stands else 0
            if (stands and decodes) or stood > _ENOUGH:
                break
            await self._pause(_LOOK)
        self._show(room.mode)
        with contextlib.suppress(SignalError):  # The session is over.
            self._link.send(ModeReady(epoch=room.epoch))

    def _ready(self, mode: Mode) -> tuple[bool, bool]:
        """Whether the connections of a mode stand, and whether all that is sent is decoded."""
        pairs = self._link.pairs.values()
        if mode == "sfu":
            stands = self.sfu is not None and self.sfu.state is PairState.CONNECTED
        else:
            stands = all(pair.state_of(mode) is PairState.CONNECTED for pair in pairs)
        return stands, all(pair.decodes(mode) for pair in pairs)

    def _settle(self, room: RoomState) -> None:
        """The change is complete, or was taken back."""
        self._show(room.mode)
        if room.mode == "mesh":
            self._end_sfu()
        else:
            for pair in self._link.pairs.values():
                self._link.finish(pair.disconnect())
        if room.unready is not None and self._link.me in room.unready:
            self._awaiting = asyncio.create_task(self._await(room), name="mode-change")

    def _show(self, mode: Mode) -> None:
        for pair in self._link.pairs.values():
            pair.show(mode)
