"""A client of ``signal.v1``: one session over a series of WebSockets.

`SignalClient` sends hello and requests, numbers its messages, and acknowledges those it receives. When the connection
is lost it reconnects by itself and resumes: the server repeats missed frames, the client repeats lost ones, and neither
handles a message twice. Media are in `turnserver.client.mesh`. The server imports neither.
"""

import asyncio
import contextlib
import logging
import random
import ssl
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import Final

import aiohttp

from turnserver.client.endpoint import SignalEndpoint, back_off
from turnserver.client.errors import SignalError, error_of
from turnserver.client.reading import MAX_FRAME, Unreadable, read
from turnserver.client.state import ClientState, FrameHandler, StateChange, StateHandler, Timing
from turnserver.signaling.protocol.base import ClientMessage, Counted, ServerMessage, number_of, request_of
from turnserver.signaling.protocol.client_messages import Bye, Hello, Ping
from turnserver.signaling.protocol.codec import encode, prepare
from turnserver.signaling.protocol.errors import SignalCode
from turnserver.signaling.protocol.fields import ClientInfo, ClientLimits, Identity, Resume
from turnserver.signaling.protocol.server_messages import Error, Goodbye, HelloOk, Welcome

__all__ = ["SignalClient"]

PROTOCOL: Final = "signal.v1.json"
VERSION: Final = 1

_CLOSING: Final = aiohttp.ClientWSTimeout(ws_close=1.0)
"""Seconds for the other side to answer a Close; a reconnect must not wait for a dead connection."""

_MAX_UNSENT: Final = 1024
"""Frames that may wait to be sent."""

_MAX_COUNTED: Final = 1000
"""Counted frames kept for a resume; only a resume tells which of them the server has."""

_MAX_PENDING: Final = 128
"""Requests that may wait for an answer."""

_ACK_EVERY: Final = 64
"""Messages after which an acknowledgement is sent at once: the server keeps unacknowledged messages."""

_NEVER: Final = frozenset({4401, 4403, 4409, 4410, 4426})
"""Close codes after which the client does not reconnect, in case their ``goodbye`` was lost."""

_NO_USE: Final[frozenset[str]] = frozenset(
    {
        SignalCode.AUTH_REQUIRED,
        SignalCode.BAD_TOKEN,
        SignalCode.TOKEN_EXPIRED,
        SignalCode.TOKEN_NOT_YET,
        SignalCode.FORBIDDEN,
        SignalCode.BANNED,
        SignalCode.UNSUPPORTED_VERSION,
        SignalCode.REPLACED,
        SignalCode.KICKED,
        SignalCode.ROOM_CLOSED,
    }
)
"""Errors for hello that a repetition would not change."""

_logger = logging.getLogger("meshturn.client")


@dataclass(slots=True)
class _Resumable:
    """A session, and what is needed to resume it."""

    sid: str
    key: str
    seq: int = 0
    """The highest number handled."""
    acked: int = 0
    n: int = 0
    """The last number given to a sent frame."""
    sent: "OrderedDict[int, Counted]" = field(default_factory=OrderedDict)
    """Sent frames that the server may not have."""


@dataclass(slots=True)
class _Question:
    """A request without an answer."""

    message: ClientMessage
    answer: "asyncio.Future[ServerMessage]"
    patient: bool


class SignalClient:
    """One participant's session.

    ``url`` is any of a server's (see `turnserver.client.endpoint.SignalEndpoint`). ``token`` is the room token, for
    servers that are not open. ``tls`` is the context to check the server's certificate with; None for the system's
    roots. ``name`` and ``version`` identify the program to the server. ``entropy`` (numbers from 0 to 1) and
    ``pause`` (a sleep) are there for tests.

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
        self.endpoint = SignalEndpoint.parse(url)
        self.state = ClientState.NEW
        self.you: Identity | None = None
        """This participant as the server describes it; None before hello."""
        self.limits: ClientLimits | None = None
        self.features: tuple[str, ...] = ()
        """What the server can do, by the protocol's words; empty before hello. With ``sfu`` it has an SFU."""
        self.connections = 0
        """WebSockets on which a hello was answered."""
        self._token = token
        self._tls = tls
        self._about = ClientInfo(name=name, ver=version)
        self._timing = timing or Timing()
        self._entropy = entropy
        self._pause = pause
        self._session: _Resumable | None = None
        self._room: str | None = None
        """The room in which the server had the session when it began or was resumed."""
        self._cid = ""  # of the socket in use
        self._heartbeat = 15.0
        self._requests: OrderedDict[str, _Question] = OrderedDict()
        self._last_id = 0
        self._outbox: deque[ClientMessage] = deque()
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
        """The own peer id; empty before hello."""
        return "" if self.you is None else self.you.id

    @property
    def reason(self) -> SignalError | None:
        """Why the session has ended; None before, or if this client ended it."""
        return self._final

    def subscribe(
        self, on_frame: FrameHandler | None = None, on_state: StateHandler | None = None
    ) -> Callable[[], None]:
        """Call a handler for every message of the session, and every change of state; returns a function to stop it.

        Handlers are called from the reader, one message after the other, and must not block. A handler gets an answer
        before `request` returns it, and before later frames: so a room is entered before its news arrives.
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
        """Connect and send hello. From then on the client reconnects by itself.

        Raises `SignalError`, without a retry, when the server cannot be reached or refuses the client.
        """
        if self.state is not ClientState.NEW:
            raise SignalError("closed", "A client can be opened only once.")
        prepare()
        opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._task = asyncio.create_task(self._run(opened), name="signal-client")
        try:
            await opened
        except asyncio.CancelledError:
            await self.close()
            raise

    async def request(
        self, message: ClientMessage, *, within: float | None = None, patient: bool = False
    ) -> ServerMessage:
        """Send a request and wait for its answer, also across lost connections.

        Its ``id``, and its ``n`` if it is counted, are given here. It may take ``within`` seconds (else
        `Timing.answer`). With ``patient``, the error ``waiting`` is no answer yet. Raises `SignalError`.
        """
        self._insist_on_life()
        if len(self._requests) >= _MAX_PENDING:
            raise SignalError("backlog", "Too many requests are waiting for an answer.")
        self._last_id += 1
        identity = f"r{self._last_id}"
        answer: asyncio.Future[ServerMessage] = asyncio.get_running_loop().create_future()
        asked = self._numbered(replace(message, id=identity))
        self._requests[identity] = _Question(asked, answer, patient)
        try:
            if self.state is ClientState.OPEN:
                self._put(asked)
            async with asyncio.timeout(self._timing.answer if within is None else within):
                return await answer
        except TimeoutError:
            raise SignalError("timeout", f"The server did not answer {message.t!r}.") from None
        finally:
            self._requests.pop(identity, None)

    def send(self, message: ClientMessage) -> None:
        """Send a message that has no answer.

        Counted ones get their ``n`` here, are kept, and are sent again after a resume; others are dropped while there
        is no connection. Raises `SignalError` when the session is over or far more waits than the server takes.
        """
        self._insist_on_life()
        numbered = self._numbered(message)
        if self.state is ClientState.OPEN:
            self._put(numbered)

    def reconnect(self) -> None:
        """Reconnect without waiting: the network is available again."""
        self._nudge.set()

    async def bye(self) -> None:
        """End the session at once, so that the others need not wait for this participant, and close."""
        socket = self._socket
        if self.state is ClientState.OPEN and socket is not None:
            self._final = self._final or SignalError("closed", "We left.")
            with contextlib.suppress(aiohttp.ClientError, OSError, TimeoutError):
                async with asyncio.timeout(self._timing.connect):
                    await self._flush(socket)
                    await socket.send_str(encode(Bye()))
                    await socket.close()
        await self.close()

    async def close(self) -> None:
        """Close without goodbye: to the server the connection is lost."""
        task, self._task = self._task, None
        self._final = self._final or SignalError("closed", "The session was closed by this client.")
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
        """Hello: resume the session, or begin a new one; returns whether it is new. Raises `SignalError`."""
        while not isinstance(welcome := await self._next(socket), Welcome):
            self._refused(welcome)
        if VERSION not in welcome.v:
            self._final = SignalError(
                "unsupported_version", "The server supports none of this client's protocol versions."
            )
            raise self._final
        self._cid = welcome.cid
        self.limits = welcome.limits
        self.features = tuple(welcome.feat)
        self._heartbeat = max(welcome.hb / 1000, 0.001)
        if self._session is not None and (answer := await self._hello(socket, self._session)) is not None:
            return self._welcomed(answer)
        self._session = None
        answer = await self._hello(socket, None)
        assert answer is not None
        return self._welcomed(answer)

    async def _hello(self, socket: aiohttp.ClientWebSocketResponse, old: _Resumable | None) -> HelloOk | None:
        """The answer to one hello; None when there is nothing to resume."""
        self._last_id += 1
        hello = Hello(id=f"h{self._last_id}", v=VERSION, client=self._about)
        if old is not None:
            hello = replace(hello, resume=Resume(sid=old.sid, key=old.key, seq=old.seq))
        elif self._token is not None:
            hello = replace(hello, token=self._token)
        await socket.send_str(encode(hello))
        while True:
            said = await self._next(socket)
            if isinstance(said, HelloOk):
                return said
            if old is not None and isinstance(said, Error) and said.code is SignalCode.SESSION_GONE:
                return None
            if isinstance(said, Unreadable) and said.re == hello.id:
                raise SignalError("unreadable", f"The server's answer to hello is not valid: {said.why}.")
            self._refused(said)

    def _refused(self, said: ServerMessage | Unreadable) -> None:
        """Until hello is answered, an error ends the connection. Raises `SignalError`."""
        if isinstance(said, Goodbye):
            self._parted(said)
        if isinstance(said, Error | Goodbye):
            error = error_of(said)
            if error.code in _NO_USE:
                self._final = self._final or error
            self._wait = max(self._wait, error.retry or 0.0)
            raise error

    def _welcomed(self, answer: HelloOk) -> bool:
        """Apply hello_ok; returns whether the session is new."""
        old = self._session
        self.you = answer.you
        self._room = answer.room
        if old is None or not answer.resumed:
            self._session = _Resumable(answer.sid, answer.key)
            self._outbox.clear()
            return True
        old.sid, old.key = answer.sid, answer.key
        self._arrived(old, answer.n)
        if next(iter(old.sent), old.n + 1) > answer.n + 1:
            self._session = None
            raise SignalError("session_gone", "More frames were lost than this client keeps.")
        self._outbox.clear()
        for message in old.sent.values():
            self._put(message)
        for question in self._requests.values():
            if not isinstance(
                question.message, Counted
            ):  # Answers to counted ones have a ``seq``: the server has them.
                self._put(question.message)
        return False

    @staticmethod
    def _arrived(session: _Resumable, n: int) -> None:
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
        unseated = not fresh and self._room is None
        self._change(StateChange(ClientState.OPEN, fresh=fresh, unseated=unseated))
        if not opened.done():
            opened.set_result(None)
        helpers = [asyncio.create_task(self._write(socket)), asyncio.create_task(self._beat())]
        try:
            while True:
                said = await self._next(socket)
                self._proven = True
                if (reason := self._handle(said)) is not None:
                    return reason
        except SignalError as error:
            return error
        finally:
            self._socket = None
            for helper in helpers:
                helper.cancel()
            await asyncio.gather(*helpers, return_exceptions=True)

    async def _next(self, socket: aiohttp.ClientWebSocketResponse) -> ServerMessage | Unreadable:
        """The next text frame; raises `SignalError` at the end of the connection."""
        while True:
            received = await socket.receive(timeout=self._heartbeat * self._timing.silence)
            if received.type is aiohttp.WSMsgType.TEXT:
                return read(received.data)
            if received.type is not aiohttp.WSMsgType.BINARY:
                code = socket.close_code
                error = SignalError("closed", f"The connection was closed with {code}.")
                if code in _NEVER:
                    self._final = self._final or error
                raise error

    def _handle(self, said: ServerMessage | Unreadable) -> SignalError | None:
        """One frame; an error when it is the last one of this connection."""
        session = self._session
        assert session is not None
        if seq := said.seq if isinstance(said, Unreadable) else number_of(said):
            if seq <= session.seq:
                return None  # Sent again, though we had it.
            session.seq = seq
            if seq - session.acked >= _ACK_EVERY:
                self._put(Ping(ts=0))
        if isinstance(said, Unreadable):
            _logger.info("the server sent an invalid message: %s", said.why)
            self._failed(said.re, SignalError("unreadable", f"The server's answer is not valid: {said.why}."))
            return None
        if isinstance(said, Goodbye):
            return self._parted(said)
        for handler in tuple(self._frame_handlers):
            try:
                handler(said)
            except Exception:
                _logger.exception("a handler failed on %r", said.t)
        self._answered(said)
        return None

    def _answered(self, said: ServerMessage) -> None:
        question = self._requests.get(request_of(said) or "")
        if question is None or question.answer.done():
            return
        if not isinstance(said, Error):
            question.answer.set_result(said)
        elif not (question.patient and said.code is SignalCode.WAITING):
            question.answer.set_exception(error_of(said))

    def _failed(self, identity: str | None, error: SignalError) -> None:
        question = self._requests.get(identity or "")
        if question is not None and not question.answer.done():
            question.answer.set_exception(error)

    def _parted(self, said: Goodbye) -> SignalError | None:
        """A goodbye: for the socket in use, or for an earlier one."""
        if self._cid and said.cid != self._cid:
            return None
        reason = error_of(said)
        if said.reconnect == "never":
            self._final = self._final or reason
        elif said.reconnect == "fresh":
            self._session = None
        self._wait = said.after / 1000
        return reason

    # What goes out.

    def _put(self, message: ClientMessage) -> None:
        if len(self._outbox) >= _MAX_UNSENT:
            raise SignalError("backlog", "The server receives more slowly than this client sends.")
        self._outbox.append(message)
        self._filled.set()

    def _numbered(self, message: ClientMessage) -> ClientMessage:
        """Give a message its number if it is counted, and keep it until it has arrived for certain."""
        try:
            encode(message)
        except (ValueError, TypeError, RecursionError) as error:
            raise SignalError("bad_message", f"This cannot be sent: {error}") from None
        if not isinstance(message, Counted):
            return message
        session = self._session
        if session is None:
            raise SignalError("closed", "No session is open.")
        if len(session.sent) >= _MAX_COUNTED:
            if self.state is not ClientState.OPEN:
                raise SignalError("backlog", "Too many messages are waiting for the connection to come back.")
            session.sent.popitem(last=False)
        session.n += 1
        numbered = replace(message, n=session.n)
        session.sent[session.n] = numbered
        return numbered

    async def _write(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        with contextlib.suppress(aiohttp.ClientError, OSError):  # The reader hears of it, too.
            while True:
                await self._flush(socket)
                self._filled.clear()
                await self._filled.wait()

    async def _flush(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        while self._outbox:
            message = self._outbox.popleft()
            session = self._session
            if session is not None and session.seq > session.acked:
                session.acked = session.seq
                message = replace(message, ack=session.seq)
            await socket.send_str(encode(message))

    async def _beat(self) -> None:
        while True:
            await self._pause(self._heartbeat)
            self._put(Ping(ts=int(asyncio.get_running_loop().time() * 1000)))

    async def _rest(self, seconds: float) -> None:
        """Wait before reconnecting, unless told to reconnect at once."""
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
