"""An engine with its sockets on a running loop: what a process needs to be an SFU, be it the server or a child of it.

Calls arrive by name with plain values, because they may come from another process.
"""

import os
import socket
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from stun.address import Address
from turnserver.faults import RAISED
from turnserver.media.dtls import create_identity
from turnserver.media.edge import MediaEdge
from turnserver.media.engine import EmbeddedEngine
from turnserver.media.facts import MediaFact
from turnserver.media.router import Wish
from turnserver.media.stats import MediaRoomView
from turnserver.recordings.owner import RecordingOptions, Recordings

__all__ = ["CALLS", "EngineHost"]

CALLS: Final = frozenset({"open", "close", "join", "leave", "offer", "answer", "reset", "choose", "mute", "record"})
"""What an engine can be asked, see `turnserver.media.engine.MediaEngine`: the arguments are the same, in order."""


class EngineHost:
    """`EmbeddedEngine` on ``sockets`` (of `turnserver.media.edge.bind_media`), which are its from now on.

    ``public`` are the addresses by which clients reach them. ``tell`` gets facts. ``fault`` is told of exceptions, with
    the name of a part: each costs what it happened to. Made on the running loop.
    """

    def __init__(
        self,
        sockets: Sequence[socket.socket],
        public: Sequence[Address],
        recordings: RecordingOptions,
        tell: Callable[[MediaFact], None],
        *,
        fault: Callable[[str, BaseException], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._fault = fault
        self._now = clock
        self._recordings = Recordings(recordings, clock=clock)
        self._engine = EmbeddedEngine(create_identity(datetime.now(UTC)), public, os.urandom, tell, self._recordings)
        self._edge = MediaEdge(self._engine, fault=fault, clock=clock)
        self._edge.use(sockets)
        self._edge.serve()

    def ask(self, call: str, arguments: Sequence[Any]) -> None:
        """Ask the engine one of `CALLS`, and send what it has to say. Raises ValueError for another name."""
        if call not in CALLS:
            raise ValueError(f"no call of an engine: {call}")
        if call == "choose":
            *first, wishes = arguments
            arguments = [*first, [Wish(*wish) for wish in wishes]]
        try:
            getattr(self._engine, call)(*arguments, now=self._now())
            self._edge.flush()
        except RAISED as error:
            self._fault("media", error)

    def move(self, public: Sequence[Address]) -> None:
        """Clients reach the sockets by other addresses: descriptions name them from now on."""
        self._engine.addresses = tuple(public)

    def rooms(self) -> list[MediaRoomView]:
        """Statistics of all rooms."""
        return self._engine.rooms(self._now())

    def close(self) -> None:
        """Send what waits, close the sockets, and complete recordings, which takes some seconds at most."""
        self._edge.close()
        self._recordings.stop()
