"""A small TURN client without input or output: frames and ``now`` in; frames, answers and relayed data out.

One request is under way at a time, which is all that a probe needs. The asyncio half is `cli.probe.conversation`.
Times are monotonic seconds.
"""

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from cli.probe.authentication import CannotAuthenticate, Login, Session
from stun import channeldata
from stun.address import Address
from stun.attributes import DATA, ERROR_CODE, REGISTRY, XOR_PEER_ADDRESS, AttributeType
from stun.client import ClientTransaction
from stun.constants import ErrorCode, MessageClass, Method
from stun.demux import FrameKind, classify
from stun.errors import MalformedMessage
from stun.message import Message, MessageBuilder

__all__ = ["Answer", "Incoming", "NoAnswer", "TurnClient"]

_MAX_INCOMING = 64
"""Relayed datagrams kept for the probe; it never has more than one under way, so more are somebody else's."""

_CHALLENGES = frozenset({ErrorCode.UNAUTHENTICATED, ErrorCode.STALE_NONCE})


class Answer(NamedTuple):
    """The final answer to a request.

    ``seconds`` is from the last (re-)authenticated request's first transmission to its answer; ``signed`` says that
    the answer's integrity was there and right.
    """

    message: Message
    seconds: float
    transmissions: int
    signed: bool


class NoAnswer(Exception):
    """No usable answer came; the message is one sentence, ``hint`` what to do about it."""

    def __init__(self, sentence: str, hint: str = "") -> None:
        self.hint = hint
        super().__init__(sentence)


class Incoming(NamedTuple):
    """A datagram that a peer sent to our relayed address; ``channel`` is None when it came in a Data indication."""

    peer: Address | None
    data: bytes
    channel: int | None


class _Request(NamedTuple):
    method: Method
    attributes: Sequence[tuple[AttributeType[Any], Any]]
    was_stale: bool
    session: Session | None


class TurnClient:
    """One client 5-tuple of a probe.

    ``entropy(n)`` gives n random bytes; ``patience`` is how long one transaction may take, in seconds.
    """

    def __init__(
        self, entropy: Callable[[int], bytes], patience: float, *, login: Login | None = None, reliable: bool = False
    ) -> None:
        self.session: Session | None = None
        self.incoming: deque[Incoming] = deque(maxlen=_MAX_INCOMING)
        self._entropy = entropy
        self._patience = patience
        self._login = login
        self._reliable = reliable
        self._request: _Request | None = None
        self._transaction: ClientTransaction | None = None
        self._started = 0.0
        self._result: Answer | NoAnswer | None = None
        self._ignored = ""

    def ask(self, method: Method, attributes: Sequence[tuple[AttributeType[Any], Any]], now: float) -> None:
        """Begin a request; what is added for authentication comes on top of ``attributes``."""
        self._result = None
        self._ignored = ""
        self._begin(_Request(method, attributes, False, self.session), now)

    def transmit(self, now: float) -> bytes | None:
        """What to send now, if anything; gives up when the transaction's time is over (RFC 8489 §6.2.1)."""
        if self._transaction is None:
            return None
        if self._transaction.timed_out(now) or now >= self._started + self._patience:
            self._give_up(self._transaction.sent)
            return None
        return self._transaction.datagrams(now)

    def deadline(self) -> float | None:
        """When `transmit` wants to be called next; None while nothing is under way."""
        if self._transaction is None:
            return None
        return min(self._transaction.deadline(), self._started + self._patience)

    def result(self) -> Answer | None:
        """The answer, once there is one. Raises `NoAnswer` when there will be none."""
        if isinstance(self._result, NoAnswer):
            raise self._result
        return self._result

    def receive(self, frame: bytes, now: float) -> None:
        """Take one frame from the server; whatever it holds, this raises nothing."""
        try:
            if frame and classify(frame[0]) is FrameKind.CHANNEL_DATA:
                number, payload = channeldata.decode(frame)
                self.incoming.append(Incoming(None, bytes(payload), number))
                return
            message = Message.decode(frame)
            if message.message_class is MessageClass.INDICATION:
                self._indication(message)
            elif message.message_class is not MessageClass.REQUEST:
                self._response(message, now)
        except MalformedMessage as error:
            self._ignored = f"an answer that is not valid STUN was ignored ({error})"

    def send_indication(self, peer: Address, data: bytes) -> bytes:
        """A Send indication (RFC 8656 §11.1)."""
        builder = MessageBuilder(Method.SEND, MessageClass.INDICATION, self._entropy(12))
        return builder.add(XOR_PEER_ADDRESS, peer).add(DATA, data).build()

    def channel_data(self, channel: int, data: bytes) -> bytes:
        """A ChannelData message (RFC 8656 §12.4), padded on streams (§12.5)."""
        return (channeldata.encode_padded if self._reliable else channeldata.encode)(channel, data)

    def _begin(self, request: _Request, now: float) -> None:
        builder = MessageBuilder(request.method, MessageClass.REQUEST, self._entropy(12))
        for spec, value in request.attributes:
            builder.add(spec, value)
        if request.session is not None:
            request.session.sign(builder)
        self._request = request
        self._transaction = ClientTransaction(builder.fingerprint().build(), now, reliable=self._reliable)
        self._started = now

    def _finish(self, result: Answer | NoAnswer) -> None:
        self._transaction = None
        self._request = None
        self._result = result

    def _give_up(self, sent: int) -> None:
        if self._ignored:
            self._finish(NoAnswer(f"No usable answer came: {self._ignored}."))
            return
        count = f"{sent} request{'' if sent == 1 else 's'}"
        hint = (
            "Somebody took the connection and says nothing; it may not be a TURN server."
            if self._reliable
            else "Nothing listens there, or a firewall drops the packets; check the address, the port, and that UDP is "
            "let through both ways."
        )
        self._finish(NoAnswer(f"No answer to {count} in {self._patience:g} s.", hint))

    def _indication(self, message: Message) -> None:
        """RFC 8656 §11.4: a Data indication needs a peer and data; anything else is ignored."""
        if message.method != Method.DATA:
            return
        peer, data = message.first(XOR_PEER_ADDRESS), message.first(DATA)
        if peer is not None and data is not None:
            self.incoming.append(Incoming(peer, data, None))

    def _response(self, message: Message, now: float) -> None:
        request, transaction = self._request, self._transaction
        if request is None or transaction is None or not transaction.matches(message):
            return
        if message.method != request.method:
            return
        code = message.first(ERROR_CODE) if message.message_class is MessageClass.ERROR else None
        if code is not None and code.code in _CHALLENGES and self._challenged(request, code.code, message, now):
            return
        signed = request.session is not None and request.session.verifies(message)
        if request.session is not None and message.message_class is MessageClass.SUCCESS and not signed:
            self._ignored = "the integrity of an answer was missing or wrong, so it was ignored (RFC 8489 §9.2.5)"
            return
        unknown = message.unknown_required(REGISTRY)
        if unknown:
            names = ", ".join(f"0x{number:04x}" for number in unknown[:4])
            self._finish(NoAnswer(f"The answer needs attributes that are not known here ({names})."))
            return
        self.session = request.session
        self._finish(Answer(message, max(0.0, now - self._started), transaction.sent, signed))

    def _challenged(self, request: _Request, code: int, message: Message, now: float) -> bool:
        """Answer a challenge; False when it has been answered already, and so is the final answer.

        A 401 is answered only when the request carried no credentials, a 438 once per request (RFC 8489 §9.2.5).
        """
        if self._login is None:
            return False
        first_try = code == ErrorCode.UNAUTHENTICATED and request.session is None
        stale = code == ErrorCode.STALE_NONCE and request.session is not None and not request.was_stale
        if not first_try and not stale:
            return False
        try:
            session = Session.from_challenge(self._login, message, request.session)
        except CannotAuthenticate as error:
            self._finish(NoAnswer(str(error)))
            return True
        self._begin(request._replace(was_stale=stale, session=session), now)
        return True
