"""Where an SFU runs: within the server's event loop, or in a child process. Either has one UDP port.

A child parses what strangers send. So nothing that it says is taken for granted: each fact has the form of one, and
concerns a room that it has; anything else ends it.
"""

import contextlib
import json
import socket
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, Protocol, get_args

from pydantic import TypeAdapter, ValidationError

from turnserver.core.settings import MediaSocket
from turnserver.errors import StartupError
from turnserver.faults import Faults
from turnserver.framing import FrameError
from turnserver.media import worker
from turnserver.media.facts import MediaFact
from turnserver.media.host import EngineHost
from turnserver.media.stats import MediaRoomView
from turnserver.recordings.owner import RecordingOptions
from turnserver.supervisor import ChildTiming, Supervisor

__all__ = ["ChildHost", "LoopHost", "SfuHost"]

_FACTS: Final[dict[str, TypeAdapter[MediaFact]]] = {kind.__name__: TypeAdapter(kind) for kind in get_args(MediaFact)}
_VIEW: Final = TypeAdapter(MediaRoomView)

Tell = Callable[[MediaFact], None]


class SfuHost(Protocol):
    """One SFU with one UDP port."""

    @property
    def sockets(self) -> tuple[MediaSocket, ...]:
        """Where its sockets are bound, and where clients send to."""

    @property
    def absence(self) -> str:
        """Why it takes no rooms at present; empty if it does."""

    def move(self, sockets: Sequence[MediaSocket]) -> None:
        """The same sockets, which clients reach by other addresses from now on."""

    def ask(self, call: str, arguments: Sequence[Any]) -> None:
        """Ask the engine one of `turnserver.media.host.CALLS`."""

    def rooms(self) -> Iterable[MediaRoomView]:
        """Statistics of its rooms; those of a child are a second old."""

    def stop(self) -> None:
        """End it and close its sockets; no more is reported."""

    async def wait_closed(self) -> None:
        """Wait until all of it has ended."""


class LoopHost:
    """An SFU in the running loop; see `turnserver.media.host.EngineHost`."""

    absence = ""

    def __init__(
        self,
        opened: Sequence[socket.socket],
        sockets: Sequence[MediaSocket],
        recordings: RecordingOptions,
        tell: Tell,
        *,
        faults: Faults,
        clock: Callable[[], float],
    ) -> None:
        self.sockets = tuple(sockets)
        public = [each.public for each in sockets]
        self._host = EngineHost(opened, public, recordings, tell, fault=faults.note, clock=clock)
        self.ask = self._host.ask
        self.rooms = self._host.rooms
        self.stop = self._host.close

    def move(self, sockets: Sequence[MediaSocket]) -> None:
        """See `SfuHost`."""
        self.sockets = tuple(sockets)
        self._host.move([each.public for each in sockets])

    async def wait_closed(self) -> None:
        """See `SfuHost`."""


class ChildHost:
    """An SFU in a child process, which is started, and started again, on the same sockets.

    ``lost`` is told why all of its rooms are gone. Raises `StartupError`, with the sockets closed.
    """

    def __init__(
        self,
        name: str,
        opened: Sequence[socket.socket],
        sockets: Sequence[MediaSocket],
        recordings: RecordingOptions,
        *,
        tell: Tell,
        lost: Callable[["ChildHost", str], None],
        faults: Faults,
        timing: ChildTiming | None = None,
    ) -> None:
        self.sockets = tuple(sockets)
        self._opened = tuple(opened)
        self._recordings = recordings
        self._tell = tell
        self._lost = lost
        self._known: set[str] = set()
        self._views: dict[str, bytes] = {}
        self._supervisor = Supervisor(name, worker.__name__, self, faults=faults, timing=timing)
        try:
            self._supervisor.start()
        except StartupError:
            self._close_sockets()
            raise

    @property
    def pid(self) -> int | None:
        """The process; None while there is none."""
        return self._supervisor.pid

    @property
    def absence(self) -> str:
        """See `SfuHost`."""
        return f"the media process is gone: {self._supervisor.why}" if self._supervisor.waiting else ""

    def move(self, sockets: Sequence[MediaSocket]) -> None:
        """See `SfuHost`. A child that begins later learns of it with its sockets."""
        self.sockets = tuple(sockets)
        places = [[each.public.host, each.public.port] for each in sockets]
        self._supervisor.send(worker.MOVE, json.dumps(places).encode())

    def ask(self, call: str, arguments: Sequence[Any]) -> None:
        """See `SfuHost`. What is asked before the child is ready waits for that."""
        room = arguments[0]
        if call == "open":
            self._known.add(room)
        elif call == "close":
            self._known.discard(room)
            self._views.pop(room, None)
        self._supervisor.send(worker.CALL, json.dumps([call, *arguments], separators=(",", ":")).encode())

    def rooms(self) -> Iterable[MediaRoomView]:
        """See `SfuHost`."""
        for raw in self._views.values():
            with contextlib.suppress(ValidationError):
                yield _VIEW.validate_json(raw)

    def stop(self) -> None:
        """See `SfuHost`."""
        self._supervisor.stop()
        self._close_sockets()

    async def wait_closed(self) -> None:
        """See `SfuHost`."""
        await self._supervisor.wait_closed()

    # What the supervisor calls

    def inherited(self) -> list[int]:
        """See `turnserver.supervisor.Work`."""
        return [sock.fileno() for sock in self._opened]

    def begin(self, send: Callable[[int, bytes], None]) -> None:
        """See `turnserver.supervisor.Work`."""
        pairs = zip(self._opened, self.sockets, strict=True)
        places = [[sock.fileno(), each.public.host, each.public.port] for sock, each in pairs]
        directory, most, reserve = self._recordings
        recordings = [None if directory is None else str(directory), most, reserve]
        send(worker.START, json.dumps([places, recordings]).encode())

    def receive(self, kind: int, payload: bytes) -> None:
        """See `turnserver.supervisor.Work`."""
        if kind == worker.FACT:
            fact = _read_fact(payload)
            if fact.room in self._known:
                self._tell(fact)
        elif kind == worker.VIEW:
            name, _, raw = payload.partition(b"\0")
            room = name.decode("utf-8", "replace")
            if room in self._known:
                self._views[room] = raw
        else:
            raise FrameError(f"a message of kind {kind}")

    def ended(self, why: str) -> None:
        """See `turnserver.supervisor.Work`."""
        self._known.clear()
        self._views.clear()
        self._lost(self, f"the media process is gone: {why}")

    def _close_sockets(self) -> None:
        for sock in self._opened:
            sock.close()


def _read_fact(payload: bytes) -> MediaFact:
    try:
        name, *fields = json.loads(payload)
        return _FACTS[name].validate_python(fields)
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise FrameError("a fact that cannot be read") from error
