"""A server in its own thread, for tests: on loopback, with everything that a client needs."""

import asyncio
import secrets
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from threading import Event, Lock, Thread, current_thread
from types import TracebackType
from typing import Any, Final, Self, TypedDict, TypeVar

from auth.ephemeral import SharedSecret, mint
from stun.address import Address
from turnserver.core.types import ClientTransport
from turnserver.observers.recorder import Recorded, Recorder
from turnserver.server import Server
from turnserver.snapshot import Snapshot

__all__ = ["BackgroundServer", "IceServerEntry"]

T = TypeVar("T")

_LOOPBACK: Final = "127.0.0.1"

_USER: Final = "tester"

_NOT_RUNNING: Final = "the server is not running"

_PATIENCE: Final = 60.0
"""Seconds to wait for the server's thread; it needs milliseconds, but the machine may be busy."""


class IceServerEntry(TypedDict):
    """One entry of ``iceServers``, as ``RTCPeerConnection`` takes it in browsers (W3C WebRTC §4.2.4)."""

    urls: list[str]
    username: str
    credential: str


class BackgroundServer:
    """A TURN server on loopback, in a thread of its own; a context manager::

        with BackgroundServer() as turn:
            run(turn.uri, turn.username, turn.password)

    It listens on UDP and TCP ports that the system chooses, and relays to peers on loopback, which servers refuse by
    default. Nothing outside the machine can reach it. Other programs on the machine can, so its password and its
    secret are random.

    ``config`` replaces options: it is a mapping as in a configuration file, whose sections are merged with the
    defaults here and whose other values replace them. ``uris`` follows the listeners that it configures. Any thread
    may call any method. What names ports raises RuntimeError before the start. A server that has been stopped cannot be
    started again.
    """

    def __init__(self, config: Mapping[str, Any] | None = None) -> None:
        self.username = _USER
        """A user of the server. Its credential does not expire; `credential` makes others, which do."""
        self.password = secrets.token_urlsafe(18)
        """The password of that user."""
        self.shared_secret = secrets.token_urlsafe(24)
        """The secret of time-limited credentials, for back ends that make their own (*TURN REST*)."""
        self._options = _laid_over(self._defaults(), config or {})
        self._recorder = Recorder()
        self._listening: tuple[tuple[ClientTransport, Address], ...] = ()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._server: Server | None = None
        self._stopping: asyncio.Event | None = None
        self._failure: BaseException | None = None
        self._ready = Event()
        self._calls: set[Future[Any]] | None = None
        """Calls that wait for the server's thread; None if it takes none, before the start and at the end."""
        self._calling = Lock()
        self._thread = Thread(target=self._run, name="meshturn", daemon=True)

    def __enter__(self) -> Self:
        """Start. Raises what `start` raises."""
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Stop."""
        self.stop()

    def start(self) -> None:
        """Start the thread and wait until the server listens.

        Raises `turnserver.errors.ConfigError` with every problem of the configuration,
        `turnserver.errors.StartupError` if it cannot listen, and RuntimeError if it has been started before.
        """
        self._thread.start()
        self._ready.wait()
        if self._failure is not None:
            self._thread.join()
            raise self._failure

    def stop(self) -> None:
        """End every allocation, close every socket, and wait until that is done. Calling it again does nothing.

        An observer, which runs in the server's thread, does not wait.
        """
        if current_thread() is self._thread:
            if self._stopping is not None:
                self._stopping.set()
            return
        with self._calling:
            if self._calls is not None and self._loop is not None and self._stopping is not None:
                self._loop.call_soon_threadsafe(self._stopping.set)
        if self._thread.is_alive():
            self._thread.join(_PATIENCE)

    # What a client needs

    @property
    def address(self) -> Address:
        """The transport address of the first listener."""
        return self._bound()[0][1]

    @property
    def uris(self) -> list[str]:
        """The TURN URIs of all listeners (RFC 7065), UDP first unless the configuration says otherwise."""
        return [_uri(kind, address) for kind, address in self._bound()]

    @property
    def uri(self) -> str:
        """The TURN URI of the first listener."""
        return self.uris[0]

    @property
    def stun_uri(self) -> str:
        """The STUN URI of the first listener (RFC 7064)."""
        kind, address = self._bound()[0]
        return f"{'stuns' if kind.secure else 'stun'}:{address}"

    @property
    def ice_servers(self) -> list[IceServerEntry]:
        """The value of ``iceServers`` of an ``RTCPeerConnection``; for aiortc, ``RTCIceServer(**entry)`` of each."""
        return [{"urls": self.uris, "username": self.username, "credential": self.password}]

    def credential(self, user: str = "", lifetime: float = 3600.0) -> tuple[str, str]:
        """Another credential: the user name and the password of one that expires after ``lifetime`` seconds.

        With a negative lifetime it has expired already. Raises `auth.errors.InvalidCredential` for a user that a
        user name cannot contain.
        """
        return mint(SharedSecret(self.shared_secret.encode()), user, int(time.time() + lifetime))

    # For tests

    def snapshot(self) -> Snapshot:
        """The present state of the server: its allocations with their counters, listeners, rooms and limits."""
        return self.call(Server.snapshot)

    def events(self) -> list[Recorded]:
        """The events since the start, oldest first, at most the last thousand, with their counters."""
        return self.call(lambda _: list(self._recorder.events))

    def revoke(self, user: str) -> int:
        """End all allocations of a user at once, as for a user that has been removed. Returns their number."""
        return self.call(lambda server: server.revoke(user))

    def call(self, function: Callable[[Server], T]) -> T:
        """Call a function with the `turnserver.server.Server`, in its event loop; returns and raises what it does.

        Raises RuntimeError if the server does not run.
        """
        if self._server is not None and current_thread() is self._thread:
            return function(self._server)  # called by an observer
        outcome: Future[T] = Future()
        with self._calling:
            if self._calls is None or self._loop is None:
                raise RuntimeError(_NOT_RUNNING)
            self._calls.add(outcome)
            self._loop.call_soon_threadsafe(self._answer, function, outcome)
        return outcome.result(_PATIENCE)

    # Inside

    def _bound(self) -> tuple[tuple[ClientTransport, Address], ...]:
        if not self._listening:
            raise RuntimeError("the server has not been started: its ports are not known yet")
        return self._listening

    def _defaults(self) -> dict[str, Any]:
        return {
            "listeners": [{"transport": name, "address": _LOOPBACK, "port": 0} for name in ("udp", "tcp")],
            "relay": {"addresses": [_LOOPBACK]},
            "peers": {"allow": ["127.0.0.0/8", "::1/128"]},
            "auth": {"users": {self.username: self.password}, "shared_secrets": [self.shared_secret]},
        }

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except BaseException as error:  # `start` raises it in its own thread
            self._failure = error
        finally:
            self._ready.set()

    async def _serve(self) -> None:
        async with Server(self._options, observers=[self._recorder]) as server:
            self._listening = server.snapshot().listening
            self._server = server
            self._stopping = asyncio.Event()
            self._loop = asyncio.get_running_loop()
            with self._calling:
                self._calls = set()
            self._ready.set()
            try:
                await self._stopping.wait()
            finally:
                self._end_calls()

    def _answer(self, function: Callable[[Server], T], outcome: Future[T]) -> None:
        """Make a call of another thread, in the event loop."""
        if self._calls is None or self._server is None:
            return  # `_end_calls` has answered it
        self._calls.discard(outcome)
        try:
            outcome.set_result(function(self._server))
        except BaseException as error:  # the caller's
            outcome.set_exception(error)

    def _end_calls(self) -> None:
        """Take no more calls, and end those that wait: the event loop does not come to them any more."""
        with self._calling:
            waiting, self._calls = self._calls or set(), None
        for outcome in waiting:
            outcome.set_exception(RuntimeError(_NOT_RUNNING))


def _uri(kind: ClientTransport, address: Address) -> str:
    scheme, transport = kind.uri
    return f"{scheme}:{address}?transport={transport}"


def _laid_over(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """``below`` with the values of ``above``: mappings are merged, everything else is replaced."""
    merged = dict(below)
    for key, value in above.items():
        beneath = merged.get(key)
        both = isinstance(value, Mapping) and isinstance(beneath, Mapping)
        merged[key] = _laid_over(beneath, value) if both and isinstance(beneath, Mapping) else value
    return merged
