"""A client of ``signal.v1``: one session over as many WebSockets as it takes.

`SignalClient` says hello, asks, counts what it sends, acknowledges what it gets, and when the connection is lost comes
back by itself and resumes: the server sends again what was missed, the client what did not arrive, and neither sees
anything twice. It knows nothing of media; `turnserver.client.mesh` does. The server imports neither.
"""

import asyncio
import contextlib
import json
import logging
import random
import ssl
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

import aiohttp

from turnserver.client.frames import COUNTED, MAX_FRAME, Endpoint, Frame, SignalError, back_off
from turnserver.client.state import ClientState, FrameHandler, StateChange, StateHandler, Timing

__all__ = ["SignalClient"]

PROTOCOL: Final = "signal.v1.json"
VERSION: Final = 1

_CLOSING: Final = aiohttp.ClientWSTimeout(ws_close=1.0)
"""How long the other side has to answer a Close; coming back does not wait for the dead."""

_MAX_UNSENT: Final = 1024
"""Frames that wait for the connection to take them."""

_MAX_COUNTED: Final = 1000
"""Counted frames that are kept for a resume; only then the server says which of them it has."""

_MAX_PENDING: Final = 128
"""Requests without an answer."""

_ACK_EVERY: Final = 64
"""Messages after which an acknowledgement is sent at once: the server keeps what is not acknowledged."""

_NEVER: Final = frozenset({4401, 4403, 4409, 4410, 4426})
"""Close codes after which coming back is of no use, should their ``goodbye`` have been lost."""

_NO_USE: Final = frozenset(
    {
        "auth_required",
        "bad_token",
        "token_expired",
        "token_not_yet",
        "forbidden",
        "banned",
        "unsupported_version",
        "replaced",
        "kicked",
        "room_closed",
    }
)
"""Answers to hello that will be the same the next time."""

_logger = logging.getLogger("meshturn.client")


@dataclass(slots=True)
class _Session:
    sid: str
    key: str
    seq: int = 0
    """The highest number handled."""
    acked: int = 0
    n: int = 0
    """The last number given to a frame of ours."""
    sent: "OrderedDict[int, dict[str, object]]" = field(default_factory=OrderedDict)
    """Frames of ours that the server may not have."""


@dataclass(slots=True)
class _Request:
    frame: dict[str, object]
    answer: "asyncio.Future[Frame]"
    patient: bool


class SignalClient:
    """One participant's session.

    ``url`` is a server's (see `Endpoint`). ``token`` is the room token, for servers that are not open. ``tls`` is the
    context to check the server's certificate with; None for the system's roots. ``name`` and ``version`` are what the
    server is told of the program. ``entropy`` (numbers from 0 to 1) and ``pause`` (a sleep) are there for tests.

    Used as an async context manager it is open inside and has said goodbye after.
    """

    def __init__(
        self,
        url: str,
        *,
        token: str | None = None,
        tls: ssl.SSLContext | None = None,
        name: str = "meshturn-python",
        version: str = "1",
        timing: Timing | None = None,
        entropy: Callable[[], float] = random.random,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.endpoint = Endpoint.parse(url)
        self.state = ClientState.NEW
        self.you = Frame({})
        """What the server says of us: id, role, caps."""
        self.limits = Frame({})
        self.connections = 0
        """WebSockets on which a hello was answered."""
        self._token = token
        self._tls = tls
        self._about = {"name": name, "ver": version}
        self._timing = timing or Timing()
        self._entropy = entropy
        self._pause = pause
        self._session: _Session | None = None
        self._cid = ""  # of the socket in use
        self._heartbeat = 15.0
        self._requests: OrderedDict[str, _Request] = OrderedDict()
        self._last_id = 0
        self._outbox: deque[dict[str, object]] = deque()
        self._filled = asyncio.Event()
        self._socket: aiohttp.ClientWebSocketResponse | None = None
        self._task: asyncio.Task[None] | None = None
        self._nudge = asyncio.Event()
        self._frame_handlers: list[FrameHandler] = []
        self._state_handlers: list[StateHandler] = []
        self._final: SignalError | None = None
        self._wait = 0.0
        self._proven = False

    async def __aenter__(self) -> "SignalClient":
        await self.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.bye()

    @property
    def id(self) -> str:
        """Our peer id; empty before hello."""
        return self.you.text("id")

    @property
    def reason(self) -> SignalError | None:
        """Why it is over; None while it is not, or when we ended it."""
        return self._final

    def subscribe(
        self, on_frame: FrameHandler | None = None, on_state: StateHandler | None = None
    ) -> Callable[[], None]:
        """Hear every frame of the session, and every change of state; returns what ends it.

        Handlers are called from the reader, one frame after the other, and must not block. An answer is heard before
        `request` returns it, and before the frames that come after it: so a room is entered in time for its news.
        """
        if on_frame is not None:
            self._frame_handlers.append(on_frame)
        if on_state is not None:
            self._state_handlers.append(on_state)

        def end() -> None:
            if on_frame in self._frame_handlers:
                self._frame_handlers.remove(on_frame)
            if on_state in self._state_handlers:
                self._state_handlers.remove(on_state)

        return end

    async def open(self) -> None:
        """Connect and say hello. From then on the client comes back by itself.

        Raises `SignalError` when the server cannot be reached or does not let us in; nothing is tried again then.
        """
        if self.state is not ClientState.NEW:
            raise SignalError("closed", "A client is opened once.")
        opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._task = asyncio.create_task(self._run(opened), name="signal-client")
        try:
            await opened
        except asyncio.CancelledError:
            await self.close()
            raise

    async def request(
        self,
        t: str,
        fields: Mapping[str, object] | None = None,
        *,
        within: float | None = None,
        patient: bool = False,
    ) -> Frame:
        """Send a message that is answered, and wait for the answer; it survives the loss of connections.

        Fields that are None are left out. It may take ``within`` seconds (else `Timing.answer`). With ``patient``, the
        error ``waiting`` is no answer yet. Raises `SignalError`.
        """
        self._insist_on_life()
        if len(self._requests) >= _MAX_PENDING:
            raise SignalError("backlog", "Too many requests are without an answer.")
        self._last_id += 1
        identity = f"r{self._last_id}"
        frame: dict[str, object] = {"t": t, "id": identity, **_given(fields)}
        answer: asyncio.Future[Frame] = asyncio.get_running_loop().create_future()
        self._requests[identity] = _Request(frame, answer, patient)
        try:
            if t in COUNTED:
                self._count(frame)
            if self.state is ClientState.OPEN:
                self._put(frame)
            async with asyncio.timeout(self._timing.answer if within is None else within):
                return await answer
        except TimeoutError:
            raise SignalError("timeout", f"The server did not answer {t!r}.") from None
        finally:
            self._requests.pop(identity, None)

    def send(self, t: str, fields: Mapping[str, object] | None = None) -> None:
        """Send a message that has no answer.

        Counted ones are kept, and sent again after a resume; others are dropped while there is no connection. Raises
        `SignalError` when the session is over or far more waits than the server takes.
        """
        self._insist_on_life()
        frame: dict[str, object] = {"t": t, **_given(fields)}
        if t in COUNTED:
            self._count(frame)
        if self.state is ClientState.OPEN:
            self._put(frame)

    def reconnect(self) -> None:
        """Do not wait to come back: the network is there again."""
        self._nudge.set()

    async def drop(self) -> None:
        """Lose the connection, as a network would; the client comes back. For tests, and for a change of network."""
        if self._socket is not None:
            await self._socket.close(code=aiohttp.WSCloseCode.GOING_AWAY)

    async def bye(self) -> None:
        """End the session at once, so that the others need not wait for us, and close."""
        socket = self._socket
        if self.state is ClientState.OPEN and socket is not None:
            self._final = self._final or SignalError("closed", "We left.")
            with contextlib.suppress(aiohttp.ClientError, OSError, TimeoutError):
                async with asyncio.timeout(self._timing.connect):
                    await self._flush(socket)
                    await socket.send_str(json.dumps({"t": "bye"}))
                    await socket.close()
        await self.close()

    async def close(self) -> None:
        """Close without a word: to the server we have lost the connection."""
        task, self._task = self._task, None
        self._final = self._final or SignalError("closed", "We closed it.")
        if task is not None and task is not asyncio.current_task():
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        self._over(self._final)

    # The life of the session.

    async def _run(self, opened: "asyncio.Future[None]") -> None:
        attempt = 0
        while self._final is None:
            reason = await self._connection(opened)
            if not opened.done():  # The first try is the only one.
                opened.set_exception(reason)
                self._final = reason
            if self._final is not None:
                break
            self._change(StateChange(ClientState.RECONNECTING, reason=reason))
            attempt = 0 if self._proven else attempt + 1
            await self._rest(max(self._wait, back_off(attempt, self._entropy)))
        self._over(self._final)

    async def _connection(self, opened: "asyncio.Future[None]") -> SignalError:
        """One WebSocket, from its first byte to its last; returns why it ended."""
        self._wait = 0.0
        self._proven = False
        try:
            async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as http:
                async with asyncio.timeout(self._timing.connect):
                    socket = await http.ws_connect(
                        self.endpoint.url,
                        protocols=(PROTOCOL,),
                        ssl=self._tls if self._tls is not None else True,
                        max_msg_size=MAX_FRAME,
                        timeout=_CLOSING,
                    )
                async with socket:
                    async with asyncio.timeout(self._timing.connect):
                        fresh = await self._greet(socket)
                    return await self._talk(socket, opened, fresh)
        except SignalError as error:
            return error
        except aiohttp.WSServerHandshakeError as error:
            return SignalError("handshake", f"The server answered {error.status} to the WebSocket handshake.")
        except TimeoutError:
            return SignalError("timeout", "The server does not answer.")
        except aiohttp.ClientConnectorCertificateError as error:
            return SignalError(
                "untrusted", f"The server's certificate is not trusted: {_why(error.certificate_error)}."
            )
        except (aiohttp.ClientError, OSError) as error:
            return SignalError("unreachable", str(error) or type(error).__name__)

    async def _greet(self, socket: aiohttp.ClientWebSocketResponse) -> bool:
        """Hello: resume what we have, or begin anew; returns whether the session is a new one. Raises `SignalError`."""
        welcome = await self._next(socket)
        while welcome.t != "welcome":
            self._refused(welcome)
            welcome = await self._next(socket)
        versions = welcome.fields.get("v")
        if isinstance(versions, list) and VERSION not in versions:
            self._final = SignalError("unsupported_version", "The server speaks none of our versions.")
            raise self._final
        self._cid = welcome.text("cid")
        self.limits = welcome.child("limits")
        self._heartbeat = max(welcome.number("hb", 15_000) / 1000, 0.001)
        if self._session is not None and (answer := await self._hello(socket, self._session)) is not None:
            return self._welcomed(answer)
        self._session = None
        answer = await self._hello(socket, None)
        assert answer is not None
        return self._welcomed(answer)

    async def _hello(self, socket: aiohttp.ClientWebSocketResponse, old: _Session | None) -> Frame | None:
        """The answer to one hello; None when there is nothing to resume."""
        self._last_id += 1
        identity = f"h{self._last_id}"
        hello: dict[str, object] = {"t": "hello", "id": identity, "v": VERSION, "feat": [], "client": self._about}
        if old is not None:
            hello["resume"] = {"sid": old.sid, "key": old.key, "seq": old.seq}
        elif self._token is not None:
            hello["token"] = self._token
        await socket.send_str(json.dumps(hello, separators=(",", ":")))
        while True:
            frame = await self._next(socket)
            if frame.t == "hello_ok":
                return frame
            if old is not None and frame.t == "error" and frame.text("code") == "session_gone":
                return None
            self._refused(frame)

    def _refused(self, frame: Frame) -> None:
        """Before hello is through, an error is the end of the connection. Raises `SignalError`."""
        if frame.t == "goodbye":
            self._parted(frame)
        if frame.t in {"error", "goodbye"}:
            error = frame.error()
            if error.code in _NO_USE:
                self._final = self._final or error
            self._wait = max(self._wait, error.retry or 0.0)
            raise error

    def _welcomed(self, answer: Frame) -> bool:
        """Take over what hello_ok says; whether the session is a new one."""
        old = self._session
        sid, key = answer.text("sid"), answer.text("key")
        if not sid or not key:
            raise SignalError("internal", "The server's hello_ok has no session in it.")
        if answer.has("you"):
            self.you = answer.child("you")
        if old is None or not answer.flag("resumed"):
            self._session = _Session(sid, key)
            self._outbox.clear()
            return True
        old.sid, old.key = sid, key
        self._arrived(old, answer.count("n"))
        if next(iter(old.sent), old.n + 1) > answer.count("n") + 1:
            self._session = None
            raise SignalError("session_gone", "More was lost than is kept here.")
        self._outbox.clear()
        for frame in old.sent.values():
            self._put(frame)
        for request in self._requests.values():
            if "n" not in request.frame:  # Answers to counted ones have a ``seq``, and come again by themselves.
                self._put(request.frame)
        return False

    @staticmethod
    def _arrived(session: _Session, n: int) -> None:
        while session.sent and next(iter(session.sent)) <= n:
            session.sent.popitem(last=False)

    async def _talk(
        self, socket: aiohttp.ClientWebSocketResponse, opened: "asyncio.Future[None]", fresh: bool
    ) -> SignalError:
        """Read and write until the connection ends; returns why."""
        self._socket = socket
        self.connections += 1
        anew = fresh and opened.done()
        if anew:
            self._forget(SignalError("session_gone", "The session was lost; a new one has begun."))
        self._change(StateChange(ClientState.OPEN, fresh=fresh))
        if not opened.done():
            opened.set_result(None)
        helpers = [asyncio.create_task(self._write(socket)), asyncio.create_task(self._beat())]
        try:
            while True:
                frame = await self._next(socket)
                self._proven = True
                if (reason := self._handle(frame)) is not None:
                    return reason
        except SignalError as error:
            return error
        finally:
            self._socket = None
            for helper in helpers:
                helper.cancel()
            await asyncio.gather(*helpers, return_exceptions=True)

    async def _next(self, socket: aiohttp.ClientWebSocketResponse) -> Frame:
        """The next frame that is one; raises `SignalError` at the end of the connection."""
        while True:
            message = await socket.receive(timeout=self._heartbeat * self._timing.silence)
            if message.type is aiohttp.WSMsgType.TEXT:
                frame = Frame.parse(message.data)
                if frame is not None:
                    return frame
                _logger.warning("the server sent a frame that is none")
            elif message.type is not aiohttp.WSMsgType.BINARY:
                code = socket.close_code
                error = SignalError("closed", f"The connection was closed with {code}.")
                if code in _NEVER:
                    self._final = self._final or error
                raise error

    def _handle(self, frame: Frame) -> SignalError | None:
        """One frame; an error when it is the last one of this connection."""
        session = self._session
        assert session is not None
        if seq := frame.count("seq"):
            if seq <= session.seq:
                return None  # Sent again, though we had it.
            session.seq = seq
            if seq - session.acked >= _ACK_EVERY:
                self._put({"t": "ping", "ts": 0})
        if frame.t == "goodbye":
            return self._parted(frame)
        for handler in tuple(self._frame_handlers):
            try:
                handler(frame)
            except Exception:
                _logger.exception("a handler failed on %r", frame)
        if frame.has("re"):
            self._answered(frame)
        return None

    def _answered(self, frame: Frame) -> None:
        request = self._requests.get(frame.text("re"))
        if request is None or request.answer.done():
            return
        if frame.t != "error":
            request.answer.set_result(frame)
        elif not (request.patient and frame.text("code") == "waiting"):
            request.answer.set_exception(frame.error())

    def _parted(self, frame: Frame) -> SignalError | None:
        """A goodbye: for us, or for a socket that we no longer use."""
        if self._cid and frame.has("cid") and frame.text("cid") != self._cid:
            return None
        reason = frame.error()
        how = frame.text("reconnect")
        if how == "never":
            self._final = self._final or reason
        elif how == "fresh":
            self._session = None
        self._wait = frame.number("after") / 1000
        return reason

    # What goes out.

    def _put(self, frame: dict[str, object]) -> None:
        if len(self._outbox) >= _MAX_UNSENT:
            raise SignalError("backlog", "The server takes less than we send.")
        self._outbox.append(frame)
        self._filled.set()

    def _count(self, frame: dict[str, object]) -> None:
        """Give a frame its number, and keep it until it has arrived for certain."""
        session = self._session
        if session is None:
            raise SignalError("closed", "There is no session.")
        session.n += 1
        frame["n"] = session.n
        session.sent[session.n] = frame
        if len(session.sent) > _MAX_COUNTED:
            if self.state is not ClientState.OPEN:
                session.n -= 1
                session.sent.popitem()
                raise SignalError("backlog", "Too much waits for the connection to come back.")
            session.sent.popitem(last=False)

    async def _write(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        with contextlib.suppress(aiohttp.ClientError, OSError):  # The reader hears of it, too.
            while True:
                await self._flush(socket)
                self._filled.clear()
                await self._filled.wait()

    async def _flush(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        while self._outbox:
            frame = self._outbox.popleft()
            session = self._session
            if session is not None and session.seq > session.acked:
                session.acked = session.seq
                frame = {**frame, "ack": session.seq}
            await socket.send_str(json.dumps(frame, separators=(",", ":")))

    async def _beat(self) -> None:
        while True:
            await self._pause(self._heartbeat)
            self._put({"t": "ping", "ts": int(asyncio.get_running_loop().time() * 1000)})

    async def _rest(self, seconds: float) -> None:
        """Wait before coming back, unless somebody knows better."""
        self._nudge.clear()
        waits = [asyncio.ensure_future(self._pause(seconds)), asyncio.ensure_future(self._nudge.wait())]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for each in waits:
                each.cancel()

    # The end.

    def _insist_on_life(self) -> None:
        if self.state is ClientState.NEW:
            raise SignalError("closed", "The client is not open.")
        if self._final is not None:
            raise self._final

    def _forget(self, reason: SignalError) -> None:
        for request in self._requests.values():
            if not request.answer.done():
                request.answer.set_exception(reason)

    def _over(self, reason: SignalError) -> None:
        self._forget(reason)
        if self.state is not ClientState.CLOSED:
            self._change(StateChange(ClientState.CLOSED, reason=reason))

    def _change(self, change: StateChange) -> None:
        self.state = change.state
        for handler in tuple(self._state_handlers):
            try:
                handler(change)
            except Exception:
                _logger.exception("a handler failed on %r", change.state)


def _why(error: Exception) -> str:
    return error.verify_message if isinstance(error, ssl.SSLCertVerificationError) else type(error).__name__


def _given(fields: Mapping[str, object] | None) -> dict[str, object]:
    return {name: value for name, value in (fields or {}).items() if value is not None}
