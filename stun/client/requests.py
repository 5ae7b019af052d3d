"""Requests of one client 5-tuple, any number concurrently, without input or output (RFC 8489 §6, §9.2).

A request of the caller is one or more transactions with the server. It is sent without credentials, or with the session
of an earlier challenge. A 401 to a request without credentials, and one 438, lead to a new transaction. Everything else
is the outcome: an answer, or an error. A response without valid integrity is ignored (§9.2.5): the transaction goes on,
or ends at once over a reliable transport.

    requests.begin(...)          a request; it has an outcome once it is ``done``
    requests.receive(...)        a received message
    requests.expire(now)         when `deadline` says so
    requests.frames()            what to send, after each of them
    requests.finished()          which requests are done, likewise

Times are seconds on the caller's monotonic clock; entropy is a function that gives n random bytes.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Generic, NamedTuple, TypeVar

from stun.attributes import (
    ALTERNATE_DOMAIN,
    ALTERNATE_SERVER,
    ERROR_CODE,
    MESSAGE_INTEGRITY,
    MESSAGE_INTEGRITY_SHA256,
    REALM,
    REGISTRY,
    SOFTWARE,
    AttributeType,
    ErrorValue,
)
from stun.client.authentication import AuthSession, Login, bids_down
from stun.client.errors import (
    AnswerNotUnderstood,
    CannotAuthenticate,
    ClientError,
    ErrorResponse,
    IntegrityViolated,
    InvalidAnswer,
    NoAnswer,
    RequestCancelled,
    TooManyRequests,
    TryAlternate,
)
from stun.client.transaction import RC, RM, RTO, TI, ClientTransaction
from stun.constants import TRANSACTION_ID_LENGTH, ErrorCode, MessageClass
from stun.errors import MalformedMessage
from stun.message import Message, MessageBuilder

__all__ = ["Attribute", "ClientRequest", "Entropy", "FinalResponse", "RequestOptions", "Requests"]

T = TypeVar("T")

Attribute = tuple[AttributeType[Any], Any]
"""An attribute and the value to send in it."""

Entropy = Callable[[int], bytes]
"""Gives as many random bytes as it is asked for."""

_CHALLENGES: Final = frozenset({ErrorCode.UNAUTHENTICATED, ErrorCode.STALE_NONCE})

_UNSIGNED: Final = "the integrity of an answer was missing or wrong, so it was ignored (RFC 8489 §9.2.5)"


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestOptions:
    """Options of requests.

    ``rto``, ``rc``, ``rm`` and ``ti`` are the parameters of RFC 8489 §6.2 (seconds, a count, a factor, seconds);
    ``patience`` ends a transaction sooner, in seconds. ``fingerprint`` and ``software`` are optional attributes of
    every request. ``limit`` is the maximum number of pending requests.

    ``unsigned_errors`` accepts error responses without valid integrity as answers. RFC 8489 §9.2.5 says to discard
    them, but many servers send them, and a diagnostic tool needs to see them.
    """

    rto: float = RTO
    rc: int = RC
    rm: int = RM
    ti: float = TI
    patience: float | None = None
    fingerprint: bool = True
    software: str | None = None
    unsigned_errors: bool = False
    limit: int = 256


class FinalResponse(NamedTuple):
    """The final answer to a request, a success or an error.

    ``seconds`` is from the last transaction's first transmission to its answer, ``transmissions`` how often that
    transaction was sent; ``signed`` says whether the answer had valid integrity.
    """

    message: Message
    seconds: float
    transmissions: int
    signed: bool

    @property
    def is_success(self) -> bool:
        """True for a success response."""
        return self.message.message_class is MessageClass.SUCCESS

    @property
    def error(self) -> ErrorValue | None:
        """The error code and reason phrase; None for a success. A response that names no code has code 0."""
        return None if self.is_success else self.message.first(ERROR_CODE) or ErrorValue(0, "")


class ClientRequest(Generic[T]):
    """One request; `Requests.begin` makes it.

    ``outcome`` is None while it is pending, then the `FinalResponse`, or the `ClientError` that says why there is no
    response.
    """

    __slots__ = ("_value", "attributes", "authenticated", "method", "outcome", "read")

    def __init__(
        self, method: int, attributes: Sequence[Attribute], read: Callable[[Message], T], authenticated: bool
    ) -> None:
        self.method = method
        self.attributes = tuple(attributes)
        self.authenticated = authenticated
        self.read = read
        self.outcome: FinalResponse | ClientError | None = None
        self._value: T

    def __repr__(self) -> str:
        """Method and outcome; no values, because some are secret and all are untrusted."""
        return f"<Request method=0x{self.method:03x} {type(self.outcome).__name__ if self.done else 'under way'}>"

    @property
    def done(self) -> bool:
        """True once there is an outcome."""
        return self.outcome is not None

    def answer(self) -> FinalResponse:
        """The answer, a success or an error. Without an answer, raises the `ClientError` that is the outcome.

        Raises ValueError while the request is under way.
        """
        if self.outcome is None:
            raise ValueError("the request is still under way")
        if isinstance(self.outcome, ClientError):
            raise self.outcome
        return self.outcome

    def result(self) -> T:
        """The value that was read from a success response. Raises `ErrorResponse`, or as `answer` does."""
        answer = self.answer()
        error = answer.error
        if error is not None:
            raise _refused(error, answer.message)
        return self._value

    def finish(self, outcome: FinalResponse | ClientError) -> None:
        """Give the request its outcome, once. A success that cannot be read becomes `InvalidAnswer`."""
        if isinstance(outcome, FinalResponse) and outcome.is_success:
            try:
                self._value = self.read(outcome.message)
            except MalformedMessage as error:
                self.outcome = InvalidAnswer(f"The server's answer cannot be read: {error}.")
                return
            except InvalidAnswer as error:
                self.outcome = error
                return
        self.outcome = outcome


@dataclass(slots=True)
class _Attempt:
    """One transaction of a request."""

    request: ClientRequest[Any]
    transaction: ClientTransaction
    session: AuthSession | None
    number: int
    started: float
    was_stale: bool = False
    was_elsewhere: bool = False
    ignored: str = ""
    violated: bool = False


class Requests:
    """The requests of one client, and the session that they share.

    ``reliable`` is for streams, where a request is sent once (RFC 8489 §6.2.2). Without a ``login`` a challenge is the
    final answer. ``session`` is that of another 5-tuple with the same server, so that the first request need not be
    challenged.
    """

    def __init__(
        self,
        entropy: Entropy,
        *,
        login: Login | None = None,
        session: AuthSession | None = None,
        reliable: bool = False,
        options: RequestOptions | None = None,
    ) -> None:
        self.session = session
        self.transmissions = 0
        """Number of requests sent, retransmissions included."""
        self._entropy = entropy
        self._login = login
        self._reliable = reliable
        self._options = options or RequestOptions()
        self._attempts: dict[bytes, _Attempt] = {}
        self._frames: list[bytes] = []
        self._finished: list[ClientRequest[Any]] = []
        self._deadline: float | None = None
        self._challenges = 0
        self._adopted = 0

    def __len__(self) -> int:
        """Number of pending requests."""
        return len(self._attempts)

    # Inputs

    def begin(
        self,
        method: int,
        attributes: Sequence[Attribute],
        now: float,
        *,
        read: Callable[[Message], T],
        authenticated: bool = True,
    ) -> ClientRequest[T]:
        """Begin a request; authentication is added to ``attributes``, unless that is switched off.

        ``read`` reads the value of `ClientRequest.result` from a success response; it may raise `InvalidAnswer` or
        `stun.errors.MalformedMessage`. Raises `TooManyRequests`, and `stun.errors.EncodeError` for attributes that
        cannot be sent.
        """
        if len(self._attempts) >= self._options.limit:
            raise TooManyRequests(f"{self._options.limit} requests are under way already.")
        request = ClientRequest(method, attributes, read, authenticated)
        session = self.session if authenticated else None
        self._attempt(request, session, self._adopted, now)
        return request

    def receive(self, message: Message, now: float) -> bool:
        """Process a response of the server; False if it belongs to no pending request.

        Never raises, whatever is in it.
        """
        attempt = self._attempts.get(message.transaction_id)
        if attempt is None or not attempt.transaction.matches(message):
            return False
        try:
            self._judge(attempt, message, now)
        except MalformedMessage as error:
            attempt.ignored = f"an answer that is not valid STUN was ignored ({error})"
        return True

    def malformed(self, error: MalformedMessage) -> None:
        """Something was received that is not a STUN message: it is named if no answer follows."""
        for attempt in self._attempts.values():
            attempt.ignored = f"an answer that is not valid STUN was ignored ({error})"

    def expire(self, now: float) -> None:
        """Retransmit or end what is due at ``now``."""
        if self._deadline is None or now < self._deadline:
            return
        for attempt in list(self._attempts.values()):
            if attempt.transaction.timed_out(now) or now >= self._patience_ends(attempt):
                self._end(attempt, self._silence(attempt, now))
            else:
                self._transmit(attempt, now)
        self._rearm()

    def cancel(self, request: ClientRequest[Any]) -> None:
        """Cancel a request; its outcome is `RequestCancelled`. Its effects at the server remain."""
        for attempt in list(self._attempts.values()):
            if attempt.request is request:
                self._end(attempt, RequestCancelled("The request was given up."))

    def fail_all(self, error: ClientError) -> None:
        """End every pending request with this outcome, for example an unreachable server (RFC 8489 §6.2.1)."""
        for attempt in list(self._attempts.values()):
            self._end(attempt, error)

    # Outputs

    def frames(self) -> list[bytes]:
        """Hand over, in order, what to send."""
        frames, self._frames = self._frames, []
        return frames

    def finished(self) -> list[ClientRequest[Any]]:
        """Hand over, in order, the requests that are done."""
        finished, self._finished = self._finished, []
        return finished

    def deadline(self) -> float | None:
        """When `expire` must be called; None without pending requests."""
        return self._deadline

    # Inside

    def _attempt(self, request: ClientRequest[Any], session: AuthSession | None, number: int, now: float) -> _Attempt:
        """Begin a transaction, and send it for the first time."""
        builder = MessageBuilder(request.method, MessageClass.REQUEST, self._entropy(TRANSACTION_ID_LENGTH))
        for spec, value in request.attributes:
            builder.add(spec, value)
        options = self._options
        if options.software is not None:
            builder.add(SOFTWARE, options.software)
        if session is not None:
            session.sign(builder)
        if options.fingerprint:
            builder.fingerprint()
        transaction = ClientTransaction(
            builder.build(),
            now,
            reliable=self._reliable,
            rto=options.rto,
            rc=options.rc,
            rm=options.rm,
            ti=options.ti,
        )
        attempt = _Attempt(request, transaction, session, number, now)
        self._attempts[transaction.transaction_id] = attempt
        self._transmit(attempt, now)
        self._rearm()
        return attempt

    def _transmit(self, attempt: _Attempt, now: float) -> None:
        frame = attempt.transaction.datagrams(now)
        if frame is not None:
            self._frames.append(frame)
            self.transmissions += 1

    def _patience_ends(self, attempt: _Attempt) -> float:
        patience = self._options.patience
        return float("inf") if patience is None else attempt.started + patience

    def _silence(self, attempt: _Attempt, now: float) -> ClientError:
        """Why there is no answer (RFC 8489 §6.2.1, §9.2.5)."""
        if attempt.violated:
            return IntegrityViolated(f"No usable answer came: {attempt.ignored}.")
        waited = self._options.patience
        if waited is None or now < attempt.started + waited:
            waited = round(now - attempt.started, 1)
        return NoAnswer(attempt.transaction.sent, waited, attempt.ignored)

    def _judge(self, attempt: _Attempt, message: Message, now: float) -> None:
        """RFC 8489 §9.2.5 and §6.3.3, §6.3.4, in order: challenges, bid-down, integrity, unknown attributes."""
        session = attempt.session
        is_error = message.message_class is MessageClass.ERROR
        error = message.first(ERROR_CODE) if is_error else None
        code = 0 if error is None else error.code
        if code in _CHALLENGES and self._challenged(attempt, code, message, now):
            return
        if session is not None and not session.login.rfc5389 and code not in _CHALLENGES and bids_down(message):
            attempt.ignored = (
                "an answer was ignored that lists no password algorithms although its nonce announces them"
            )
            return
        signed = session is not None and session.verifies(message)
        excused = is_error and (self._options.unsigned_errors or code in _CHALLENGES)
        if session is not None and not signed and not excused:
            self._unsigned(attempt, message, code)
            return
        unknown = message.unknown_required(REGISTRY)
        if unknown:
            self._end(attempt, AnswerNotUnderstood(unknown))
            return
        if session is not None and attempt.number >= self._adopted:
            self.session, self._adopted = session, attempt.number
        seconds = max(0.0, now - attempt.started)
        self._end(attempt, FinalResponse(message, seconds, attempt.transaction.sent, signed))

    def _unsigned(self, attempt: _Attempt, message: Message, code: int) -> None:
        """An answer without valid integrity is discarded; over a stream it ends the transaction (§9.2.5).

        A 400 without any integrity does not end it.
        """
        attempt.ignored = _UNSIGNED
        attempt.violated = True
        has_none = not message.has(MESSAGE_INTEGRITY) and not message.has(MESSAGE_INTEGRITY_SHA256)
        if self._reliable and not (code == ErrorCode.BAD_REQUEST and has_none):
            self._end(attempt, IntegrityViolated(f"No usable answer came: {_UNSIGNED}."))

    def _challenged(self, attempt: _Attempt, code: int, message: Message, now: float) -> bool:
        """Answer a challenge; False when it has been answered already, and so is the final answer."""
        try:
            session = self._answer_to(attempt, code, message)
        except CannotAuthenticate as error:
            self._end(attempt, error)
            return True
        if session is None:
            return False
        del self._attempts[attempt.transaction.transaction_id]
        self._challenges += 1
        again = self._attempt(attempt.request, session, self._challenges, now)
        again.was_stale = attempt.was_stale or code == ErrorCode.STALE_NONCE
        again.was_elsewhere = attempt.was_elsewhere or (code != ErrorCode.STALE_NONCE and attempt.session is not None)
        return True

    def _answer_to(self, attempt: _Attempt, code: int, message: Message) -> AuthSession | None:
        """The session that a challenge begins; None if it is not to be answered.

        A 401 is answered when the request carried no credentials, or those of another realm, and a 438 once per
        request. (The RFC bounds only the former; the latter keeps a server that calls every nonce stale from a loop.)
        """
        session = attempt.session
        if self._login is None or not attempt.request.authenticated:
            return None
        if code == ErrorCode.STALE_NONCE:
            if session is None or attempt.was_stale:
                return None
            return AuthSession.from_challenge(self._login, message, session)
        if session is not None and (attempt.was_elsewhere or message.first(REALM) in (None, session.realm)):
            return None
        return AuthSession.from_challenge(self._login, message)

    def _end(self, attempt: _Attempt, outcome: FinalResponse | ClientError) -> None:
        del self._attempts[attempt.transaction.transaction_id]
        attempt.request.finish(outcome)
        self._finished.append(attempt.request)
        self._rearm()

    def _rearm(self) -> None:
        self._deadline = min(
            (min(attempt.transaction.deadline(), self._patience_ends(attempt)) for attempt in self._attempts.values()),
            default=None,
        )


def _refused(error: ErrorValue, message: Message) -> ErrorResponse:
    """The exception for an error response; the alternate server of a 300 is omitted if it is malformed."""
    if error.code != ErrorCode.TRY_ALTERNATE:
        return ErrorResponse(error.code, error.reason)
    try:
        return TryAlternate(error.reason, message.first(ALTERNATE_SERVER), message.first(ALTERNATE_DOMAIN))
    except MalformedMessage:
        return TryAlternate(error.reason, None, None)
