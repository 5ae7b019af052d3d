"""The work of ``meshturn call``: take part in a call for a while, watch it, and report the result."""

import asyncio
import contextlib
import signal
import ssl
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from turnserver.client import ClientState, SignalClient, SignalError
from turnserver.client.events import Diagnosis, MeshEvent, ServerPath
from turnserver.client.media import TONE, Echo, Listen, MediaPlan, TestMedia
from turnserver.client.mesh import MeshClient
from turnserver.client.pair import Pair, PairReport, PairState
from turnserver.signaling.protocol.fields import RelayTransport
from turnserver.text import one_line

__all__ = ["CallOptions", "CallResult", "MediaKind", "PeerResult", "take_part"]

MediaKind = Literal["tone", "echo", "listen"]

_PLANS: Final[dict[MediaKind, Callable[[], MediaPlan]]] = {"tone": TestMedia, "echo": Echo, "listen": Listen}

_LOOK: Final = 1.0
"""Seconds between two looks at the pairs."""

_MAX_PEERS: Final = 256
"""The largest number of participants in a report; a call may have no end."""

_FOREVER: Final = 366 * 86400.0

_VERDICT: Final = 5.0

_TONE_HEARD: Final = 0.5
"""The least share of the power at 997 Hz with which the test tone counts as heard."""


@dataclass(frozen=True, slots=True)
class CallOptions:
    """The options of a call."""

    url: str
    room: str
    token: str | None = field(default=None, repr=False)
    media: MediaKind = "tone"
    name: str = "meshturn"
    duration: float | None = 30.0
    """Seconds; None is until told to stop."""
    relay_only: bool = False
    via: RelayTransport | None = None
    allow_empty: bool = False
    tls: ssl.SSLContext | None = None


@dataclass(slots=True)
class PeerResult:
    """The result for one participant, over the whole call."""

    report: PairReport
    left: bool = False
    server: ServerPath | None = None
    verdict: Diagnosis | None = None
    best: PairReport | None = None
    """The last look at which there was a connection."""

    @property
    def flowed(self) -> bool:
        """Whether any audio or video arrived."""
        return self.report.received.audio > 0 or self.report.received.video > 0

    @property
    def hears_tone(self) -> bool:
        """Whether the test tone was heard at the last measurement."""
        return self.report.received.tone >= _TONE_HEARD

    def as_json(self) -> dict[str, Any]:
        """The same for programs."""
        shown = self.best or self.report
        got = self.report.received
        server = self.server
        return {
            "id": self.report.id,
            "name": self.report.name,
            "state": self.report.state.value,
            "left": self.left,
            "flowed": self.flowed,
            "path": shown.path,
            "candidates": None
            if shown.chosen is None
            else {"local": shown.chosen.local, "remote": shown.chosen.remote},
            "relay": {"url": shown.relay, "transport": shown.proto} if shown.relay else None,
            "bytes": {"sent": shown.bytes_sent, "received": shown.bytes_received},
            "frames": {"audio": got.audio, "video": got.video},
            "picture": f"{got.width}x{got.height}" if got.video else None,
            "tone": {"hertz": TONE, "share": round(got.tone, 3), "loudness": round(got.loudness, 4)},
            "rebuilds": self.report.rebuilds,
            "way": self.report.way,
            "server": None
            if server is None
            else {
                "path": server.path,
                "transport": server.proto,
                "by": server.by,
                "bytes": {"sent": server.sent, "received": server.received},
            },
            "verdict": None if self.verdict is None else {"code": self.verdict.code, "text": self.verdict.text},
        }


@dataclass(slots=True)
class CallResult:
    """The result of a call."""

    url: str
    room: str
    you: str = ""
    peers: list[PeerResult] = field(default_factory=list)
    problem: SignalError | None = None
    """Why there was no call, or why it ended early."""
    allow_empty: bool = False
    joined: bool = False

    @property
    def ok(self) -> bool:
        """Whether media arrived from a participant, or nobody else joined and that is allowed."""
        if self.problem is not None or not self.joined:
            return False
        return any(peer.flowed for peer in self.peers) if self.peers else self.allow_empty

    def as_json(self) -> dict[str, Any]:
        """The same for programs."""
        problem = self.problem
        return {
            "ok": self.ok,
            "url": self.url,
            "room": self.room,
            "you": self.you or None,
            "peers": [peer.as_json() for peer in self.peers],
            "problem": None if problem is None else {"code": problem.code, "text": problem.message},
        }


async def take_part(options: CallOptions, tell: Callable[[str], None]) -> CallResult:
    """Join, stay, and leave; ``tell`` is given a sentence whenever something happens.

    SIGINT and SIGTERM end it early and in order. Never raises for what a server or a network does.
    """
    result = CallResult(options.url, options.room, allow_empty=options.allow_empty)
    signaling = SignalClient(options.url, token=options.token, tls=options.tls, name="meshturn call")
    with _stop_signals() as stop:
        try:
            await _until_stopped(signaling.open(), stop)
            if not stop.is_set():
                await _call(options, signaling, result, tell, stop)
        except SignalError as error:
            result.problem = error
        finally:
            await signaling.bye()
    return result


async def _call(
    options: CallOptions, signaling: SignalClient, result: CallResult, tell: Callable[[str], None], stop: asyncio.Event
) -> None:
    mesh = MeshClient(
        signaling, plan=_PLANS[options.media], relay_only=options.relay_only, via=options.via, tls=options.tls
    )
    watch = _Watch(mesh, tell, stop)
    try:
        # In a lobby, the host may admit us at any time during the call.
        joining = mesh.join(options.room, name=options.name, within=options.duration or _FOREVER)
        await _until_stopped(joining, stop)
        if mesh.room is None:
            return
        result.joined = True
        result.you = signaling.id
        result.room = mesh.room.id
        await watch.look_on(options.duration)
        await watch.ask_why()
    except SignalError as error:
        if error.code != "timeout" or not watch.waiting:
            raise
        raise SignalError("waiting", "No host has admitted this client.") from None
    finally:
        result.peers = list(watch.peers.values())
        if signaling.state is ClientState.CLOSED and not stop.is_set():
            result.problem = signaling.reason
        await mesh.close()


class _Watch:
    """Watches a call."""

    def __init__(self, mesh: MeshClient, tell: Callable[[str], None], stop: asyncio.Event) -> None:
        self.peers: dict[str, PeerResult] = {}
        self.waiting = False
        """Whether a host was asked to admit this client."""
        self._mesh = mesh
        self._tell = tell
        self._stop = stop
        self._news = asyncio.Event()
        self._ended = False
        self._pairs: dict[str, Pair] = {}
        self._told: dict[str, str] = {}
        mesh.subscribe(self._on_event)

    async def look_on(self, duration: float | None) -> None:
        """Wait until the time is over, the call has ended, or it is stopped."""
        loop = asyncio.get_running_loop()
        end = None if duration is None else loop.time() + duration
        while not self._stop.is_set() and not self._ended and (end is None or loop.time() < end):
            left = _LOOK if end is None else min(_LOOK, max(end - loop.time(), 0.0))
            waits = [asyncio.ensure_future(each.wait()) for each in (self._stop, self._news)]
            await asyncio.wait(waits, timeout=left, return_when=asyncio.FIRST_COMPLETED)
            for each in waits:
                each.cancel()
            self._news.clear()
            await self._look()

    async def ask_why(self) -> None:
        """Ask the server about every pair from which no media arrived."""
        for identity, peer in self.peers.items():
            if peer.flowed or peer.left or self._ended:
                continue
            if peer.report.way == "sfu":  # The server's verdicts are about connections between participants.
                errors = [] if self._mesh.sfu is None else self._mesh.sfu.errors
                peer.verdict = Diagnosis("sfu", f"Nothing came through the SFU: {errors[-1]}.") if errors else None
                continue
            with contextlib.suppress(SignalError, TimeoutError):
                async with asyncio.timeout(_VERDICT):
                    peer.verdict = await self._mesh.diagnose(identity)

    async def _look(self) -> None:
        for identity, pair in tuple(self._pairs.items()):
            report = await pair.report()
            peer = self.peers.setdefault(identity, PeerResult(report))
            peer.report = report
            peer.server = self._mesh.server_paths.get(identity, peer.server)
            if report.chosen is not None:
                peer.best = report
            peer.left = identity not in self._mesh.pairs
            if peer.left:
                del self._pairs[identity]
                self._tell(f"{_named(report)}: has left")
            else:
                self._say(peer)
        while len(self.peers) > _MAX_PEERS:
            del self.peers[next(iter(self.peers))]

    def _say(self, peer: PeerResult) -> None:
        """Print a sentence when the state or the path of a pair has changed."""
        report = peer.report
        words = report.state.value
        if report.state is PairState.CONNECTED:
            how = f"relayed over {(report.proto or '').upper()} by {report.relay}" if report.relay else report.path
            words = f"connected, {'relayed by the other side' if how == 'relay' else how}"
            if report.way == "sfu":
                words = f"connected through the server's SFU, {how}"
            words += ", media is received" if peer.flowed else ", no media received yet"
        if self._told.get(report.id) != words:
            self._told[report.id] = words
            self._tell(f"{_named(report)}: {words}")

    def _on_event(self, event: MeshEvent) -> None:
        self._pairs.update(self._mesh.pairs)  # Also participants who leave before the next look.
        if event.kind in {"joined", "peer", "left", "ended"}:
            self._news.set()
        if event.kind == "joined":
            others = len(self._mesh.pairs)
            self._tell(f"in the room, with {others} other{'' if others == 1 else 's'}")
        elif event.kind == "waiting":
            self.waiting = True
            self._tell("waiting for a host to admit this client")
        elif event.kind == "signaling":
            self._tell(f"signaling: {self._mesh.signal.state.value}")
        elif event.kind == "ended":
            self._ended = True


def _named(report: PairReport) -> str:
    return f"{one_line(report.name, 40)} ({report.id})" if report.name else report.id


@contextlib.contextmanager
def _stop_signals() -> Iterator[asyncio.Event]:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    try:
        yield stop
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)


async def _until_stopped(work: Coroutine[Any, Any, None], stop: asyncio.Event) -> None:
    """Run ``work`` until it ends or ``stop`` is set. Raises what the work raises."""
    task = asyncio.create_task(work)
    stopping = asyncio.ensure_future(stop.wait())
    try:
        await asyncio.wait([task, stopping], return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            task.result()
    finally:
        for each in (task, stopping):
            each.cancel()
        with contextlib.suppress(asyncio.CancelledError, SignalError):
            await task
