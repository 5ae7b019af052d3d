"""The control side of a client, for set-up only: the project's own TURN client, limited to what all servers support.

A bare Allocate, the 401 with realm and nonce, the same request again with MESSAGE-INTEGRITY under the MD5 key: both
servers understand that. There is no FINGERPRINT. The packets that are measured never come through here.
"""

import os
import time
from typing import Any

from bench.plan import BenchError
from stun import attributes
from stun.address import Address
from stun.client.answers import read_nothing
from stun.client.authentication import Login
from stun.client.errors import ClientError, ErrorResponse, NoAnswer
from stun.client.requests import ClientRequest, RequestOptions, Requests
from stun.constants import Method, TransportProtocol
from stun.errors import MalformedMessage
from stun.message import Message

__all__ = ["CHANNEL", "Control", "Refused", "login"]

CHANNEL = 0x4000  # one channel per flow, so every flow may use the first number

_OPTIONS = RequestOptions(fingerprint=False, unsigned_errors=True, patience=10.0)


def login(username: str, password: str) -> Login:
    """A user of the benchmark, with the authentication of RFC 5389, which both servers support."""
    return Login(username, password, rfc5389=True)


class Refused(BenchError):
    """The server answered a request with an error that a retry cannot resolve."""

    def __init__(self, method: str, code: int, reason: str) -> None:
        self.code = code
        super().__init__(f"{method} refused: {code} {reason}")


class Control:
    """The control requests of one client, one at a time.

    Begin one, send the :meth:`frames`, wait until ``deadline`` at most, and pass every message to :meth:`feed`.
    """

    def __init__(self, who: Login | None, *, reliable: bool) -> None:
        self.relayed: Address | None = None
        self._requests = Requests(os.urandom, login=who, reliable=reliable, options=_OPTIONS)
        self._request: ClientRequest[Any] | None = None

    @property
    def transmissions(self) -> int:
        """Requests sent so far, retransmissions included."""
        return self._requests.transmissions

    @property
    def deadline(self) -> float:
        """When to ask for :meth:`frames` again if nothing comes (monotonic seconds)."""
        deadline = self._requests.deadline()
        return time.monotonic() if deadline is None else deadline

    def binding(self) -> None:
        """Start a Binding, to ask whether a server is there."""
        self._begin(Method.BINDING, [])

    def allocate(self) -> None:
        """Start an Allocate for a UDP relay (RFC 8656 §7.1)."""
        self._begin(Method.ALLOCATE, [(attributes.REQUESTED_TRANSPORT, TransportProtocol.UDP)])

    def bind(self, channel: int, peer: Address) -> None:
        """Start a ChannelBind (RFC 8656 §12.1)."""
        self._begin(Method.CHANNEL_BIND, [(attributes.CHANNEL_NUMBER, channel), (attributes.XOR_PEER_ADDRESS, peer)])

    def frames(self) -> list[bytes]:
        """What is to be sent now; raises :class:`BenchError` when the server has not answered in time."""
        self._requests.expire(time.monotonic())
        self._done()
        return self._requests.frames()

    def feed(self, frame: bytes) -> bool:
        """Take a message: True when the request has succeeded, False when there are frames to send, or to wait for.

        Raises :class:`Refused` on an error answer other than the challenges of RFC 8489 §9.2.
        """
        try:
            self._requests.receive(Message.decode(frame), time.monotonic())
        except MalformedMessage:
            return False
        return self._done()

    def _begin(self, method: Method, wanted: list[Any]) -> None:
        read = _relayed if method is Method.ALLOCATE else read_nothing
        self._request = self._requests.begin(method, wanted, time.monotonic(), read=read)

    def _done(self) -> bool:
        request = self._request
        if request is None or not request.done:
            return False
        try:
            value = request.result()
        except ErrorResponse as error:
            raise Refused(Method(request.method).name, error.code, error.reason) from error
        except NoAnswer as error:
            raise BenchError("the server does not answer control requests") from error
        except ClientError as error:
            raise BenchError(f"{Method(request.method).name}: {error}") from error
        if request.method == Method.ALLOCATE:
            self.relayed = value
        return True


def _relayed(message: Message) -> Address:
    relayed = message.first(attributes.XOR_RELAYED_ADDRESS)
    if relayed is None:
        raise BenchError("Allocate success without XOR-RELAYED-ADDRESS")
    return relayed
