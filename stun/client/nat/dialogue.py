"""Runs a test of a NAT: its requests are transactions of RFC 8489 §6.2, paced as RFC 5780 §5 asks.

    dialogue = Dialogue(test, entropy)
    dialogue.begin(now)
    dialogue.receive(socket, source, data, now)    what a socket has received
    dialogue.failed(socket, to, why, now)          a socket cannot send, or a connection has ended
    dialogue.expire(now)                           when `deadline` says so
    dialogue.outgoing(), dialogue.notes()          what to send and to say, after each of them
    dialogue.done, dialogue.result                 the end

Times are seconds on the caller's monotonic clock. Sockets are numbers; the caller opens one when it is first used.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, Generic, NamedTuple, TypeVar

from stun.address import Address
from stun.attributes import (
    ERROR_CODE,
    MAPPED_ADDRESS,
    OTHER_ADDRESS,
    PADDING,
    REGISTRY,
    RESPONSE_ORIGIN,
    SOFTWARE,
    XOR_MAPPED_ADDRESS,
    ErrorValue,
)
from stun.client.nat.steps import Ask, Asks, BindingAnswer, Note, Outcome, Pause, Script, ScriptStep, Together
from stun.client.requests import Entropy
from stun.client.transaction import ClientTransaction
from stun.constants import TRANSACTION_ID_LENGTH, MessageClass, Method
from stun.errors import MalformedMessage
from stun.message import Message, MessageBuilder

__all__ = ["PACE", "Dialogue", "Outgoing"]

T = TypeVar("T")

PACE: Final = 0.1
"""Seconds between the beginnings of two transactions: no more than ten in a second (RFC 5780 §5)."""

_MOST_NOTES: Final = 3
"""Ignored messages that are remembered for one request."""


class Outgoing(NamedTuple):
    """Bytes to send from a socket."""

    socket: int
    to: Address
    data: bytes


@dataclass(eq=False)
class _Running:
    """One test, and what it waits for: outcomes of requests, results of other tests, or a time."""

    test: Script[Any]
    parent: "_Running | None" = None
    place: int = 0
    results: list[Any] = field(default_factory=list)
    missing: int = 0
    step: ScriptStep | None = None


@dataclass(eq=False)
class _Exchange:
    """One request under way; without a transaction it waits for its turn."""

    ask: Ask
    running: _Running
    place: int
    transaction: ClientTransaction | None = None
    first: float = 0.0
    last: float = 0.0
    ignored: list[str] = field(default_factory=list)


class Dialogue(Generic[T]):
    """A test and its requests.

    ``reliable`` is for TCP: a request is sent once. ``patience`` bounds a transaction, in seconds from its first
    transmission. ``entropy`` is a function that gives n random bytes.
    """

    def __init__(self, test: Script[T], entropy: Entropy, *, reliable: bool = False, patience: float = 39.5) -> None:
        self.done = False
        self.result: T
        self._entropy = entropy
        self._reliable = reliable
        self._patience = patience
        self._root = _Running(test)
        self._waiting: deque[_Exchange] = deque()
        self._exchanges: dict[bytes, _Exchange] = {}
        self._pauses: dict[_Running, float] = {}
        self._outgoing: list[Outgoing] = []
        self._notes: list[str] = []
        self._next_start = float("-inf")

    # Inputs

    def begin(self, now: float) -> None:
        """Start the test."""
        self._advance(self._root, None, now)
        self._start_waiting(now)

    def receive(self, socket: int, source: Address, data: bytes, now: float) -> None:
        """Take a datagram, or a frame of a stream; what belongs to no request is ignored. Never raises."""
        try:
            message = Message.decode(data)
        except MalformedMessage as error:
            known = self._exchanges.get(data[8:20])
            if known is not None:
                _remember(known.ignored, f"a response was ignored that is not valid ({error})")
            return
        exchange = self._exchanges.get(message.transaction_id)
        if exchange is None or exchange.transaction is None or message.method != Method.BINDING:
            return
        if message.message_class is MessageClass.REQUEST:
            if data == exchange.transaction.request:
                self._end(exchange, replace(self._outcome(exchange, now), returned=True), now)
        elif message.message_class is not MessageClass.INDICATION:
            self._judge(exchange, message, socket, source, now)
        self._start_waiting(now)

    def failed(self, socket: int, to: Address, why: str, now: float) -> None:
        """End the requests from a socket to a server: the system says why they cannot be answered."""
        for exchange in list(self._exchanges.values()):
            if (exchange.ask.socket, exchange.ask.to) == (socket, to):
                self._end(exchange, replace(self._outcome(exchange, now), why=why), now)
        self._start_waiting(now)

    def expire(self, now: float) -> None:
        """Start, retransmit and end what is due at ``now``."""
        for exchange in list(self._exchanges.values()):
            transaction = exchange.transaction
            if transaction is None:
                continue
            if transaction.timed_out(now) or now >= self._patience_ends(exchange):
                self._end(exchange, self._outcome(exchange, now), now)
            else:
                self._transmit(exchange, transaction, now)
        for running in [each for each, until in self._pauses.items() if now >= until]:
            del self._pauses[running]
            self._advance(running, now, now)
        self._start_waiting(now)

    # Outputs

    def outgoing(self) -> list[Outgoing]:
        """Hand over, in order, what to send."""
        outgoing, self._outgoing = self._outgoing, []
        return outgoing

    def notes(self) -> list[str]:
        """Hand over sentences about the progress."""
        notes, self._notes = self._notes, []
        return notes

    def deadline(self) -> float | None:
        """When `expire` must be called; None if that is never."""
        times = list(self._pauses.values())
        for exchange in self._exchanges.values():
            if exchange.transaction is not None:
                times.append(min(exchange.transaction.deadline(), self._patience_ends(exchange)))
        if self._waiting:
            times.append(self._next_start)
        return min(times, default=None)

    # Inside

    def _advance(self, running: _Running, value: Any, now: float) -> None:
        """Let a test go on to a step that it has to wait for."""
        while True:
            try:
                step = running.test.send(value)
            except StopIteration as end:
                self._finish(running, end.value, now)
                return
            if isinstance(step, Note):
                self._notes.append(step.text)
                value = now
            elif isinstance(step, Pause) and step.until <= now:
                value = now
            elif (isinstance(step, Asks) and not step.asks) or (isinstance(step, Together) and not step.tests):
                value = ()
            else:
                break
        running.step = step
        if isinstance(step, Pause):
            self._pauses[running] = step.until
        elif isinstance(step, Asks):
            running.results, running.missing = [None] * len(step.asks), len(step.asks)
            self._waiting.extend(_Exchange(ask, running, place) for place, ask in enumerate(step.asks))
        else:
            running.results, running.missing = [None] * len(step.tests), len(step.tests)
            for place, test in enumerate(step.tests):
                self._advance(_Running(test, running, place), None, now)

    def _finish(self, running: _Running, value: Any, now: float) -> None:
        if running.parent is None:
            self.result, self.done = value, True
        else:
            self._fill(running.parent, running.place, value, now)

    def _fill(self, running: _Running, place: int, value: Any, now: float) -> None:
        """One of the results that a test waits for."""
        running.results[place] = value
        running.missing -= 1
        if running.missing == 0:
            self._advance(running, tuple(running.results), now)

    def _start_waiting(self, now: float) -> None:
        """Begin transactions, one at a time.

        They have no FINGERPRINT: servers would answer with one, and a gateway that rewrites addresses would break it.
        """
        while self._waiting and now >= self._next_start:
            exchange = self._waiting.popleft()
            builder = MessageBuilder(Method.BINDING, MessageClass.REQUEST, self._entropy(TRANSACTION_ID_LENGTH))
            for spec, value in exchange.ask.attributes:
                builder.add(spec, value)
            transaction = ClientTransaction(builder.build(), now, reliable=self._reliable)
            exchange.transaction, exchange.first = transaction, now
            self._exchanges[transaction.transaction_id] = exchange
            self._next_start = now + PACE
            self._transmit(exchange, transaction, now)

    def _transmit(self, exchange: _Exchange, transaction: ClientTransaction, now: float) -> None:
        frame = transaction.datagrams(now)
        if frame is not None:
            exchange.last = now
            self._outgoing.append(Outgoing(exchange.ask.socket, exchange.ask.to, frame))

    def _patience_ends(self, exchange: _Exchange) -> float:
        own = exchange.ask.patience
        return exchange.first + (self._patience if own is None else min(own, self._patience))

    def _outcome(self, exchange: _Exchange, now: float) -> Outcome:
        sent = 0 if exchange.transaction is None else exchange.transaction.sent
        why = "; ".join(exchange.ignored)
        return Outcome(exchange.ask, None, False, exchange.first, exchange.last, now, sent, why, bool(exchange.ignored))

    def _judge(self, exchange: _Exchange, message: Message, socket: int, source: Address, now: float) -> None:
        """RFC 8489 §6.3.3, §6.3.4; a response that cannot be used is ignored, and named if nothing else comes."""
        ask = exchange.ask
        try:
            heard = _read(message, socket, source)
        except MalformedMessage as error:
            _remember(exchange.ignored, f"a response was ignored that is not valid ({error})")
            return
        if source != ask.to and not ask.elsewhere:
            _remember(exchange.ignored, f"a response was ignored that came from {source}, and not from {ask.to}")
            return
        self._end(exchange, replace(self._outcome(exchange, now), heard=heard), now)

    def _end(self, exchange: _Exchange, outcome: Outcome, now: float) -> None:
        if exchange.transaction is not None:
            del self._exchanges[exchange.transaction.transaction_id]
        running, step = exchange.running, exchange.running.step
        if isinstance(step, Asks) and step.one_is_enough and (outcome.ok or outcome.returned):
            self._end_others(exchange, now)
        self._fill(running, exchange.place, outcome, now)

    def _end_others(self, exchange: _Exchange, now: float) -> None:
        """End the other requests of the same step."""
        running = exchange.running
        others = [each for each in (*self._exchanges.values(), *self._waiting) if each.running is running]
        self._waiting = deque(each for each in self._waiting if each.running is not running)
        for other in others:
            if other.transaction is not None:
                del self._exchanges[other.transaction.transaction_id]
            running.results[other.place] = self._outcome(other, now)
            running.missing -= 1


def _remember(ignored: list[str], what: str) -> None:
    if what not in ignored and len(ignored) < _MOST_NOTES:
        ignored.append(what)


def _read(message: Message, socket: int, source: Address) -> BindingAnswer:
    """A response's values. Raises `MalformedMessage` for one that cannot be understood."""
    unknown: Sequence[int] = message.unknown_required(REGISTRY)
    if unknown:
        raise MalformedMessage(f"unknown attribute 0x{unknown[0]:04x}")
    if message.message_class is MessageClass.ERROR:
        error = message.first(ERROR_CODE) or ErrorValue(0, "")
        return BindingAnswer(socket, source, None, software=message.first(SOFTWARE), error=error)
    plain = message.first(MAPPED_ADDRESS)
    mapped = message.first(XOR_MAPPED_ADDRESS) or plain
    if mapped is None:
        raise MalformedMessage("no XOR-MAPPED-ADDRESS")
    padding = message.first(PADDING)
    return BindingAnswer(
        socket,
        source,
        mapped,
        plain,
        message.first(RESPONSE_ORIGIN),
        message.first(OTHER_ADDRESS),
        None if padding is None else len(padding),
        message.first(SOFTWARE),
    )
