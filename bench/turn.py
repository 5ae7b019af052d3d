"""The control side of a TURN client, for set-up only: requests out, answers in, no socket.

A handshake is what every client does (RFC 8489 §9.2): a bare Allocate, the 401 with realm and nonce, the same request
again with MESSAGE-INTEGRITY under the MD5 key. The packets that are measured never come through here.
"""

import functools
import os
from typing import NamedTuple

from auth.keys import long_term_key_md5
from bench.plan import BenchError
from stun import attributes
from stun.address import Address
from stun.constants import ErrorCode, MessageClass, Method, TransportProtocol
from stun.message import Message, MessageBuilder

__all__ = ["CHANNEL", "Credentials", "Handshake", "Login", "Refused", "binding_request"]

CHANNEL = 0x4000  # one channel per flow, so every flow may use the first number

_CHALLENGES = frozenset({ErrorCode.UNAUTHENTICATED, ErrorCode.STALE_NONCE})
_MAX_CHALLENGES = 3
_derive = functools.lru_cache(maxsize=16)(long_term_key_md5)


class Credentials(NamedTuple):
    """A user name and password for the long-term mechanism."""

    username: str
    password: str


class Login(NamedTuple):
    """What makes a request authentic: learned from a 401 or 438."""

    username: str
    realm: str
    nonce: bytes
    key: bytes


class Refused(BenchError):
    """The server answered a request with an error that more trying does not mend."""

    def __init__(self, method: str, code: int, reason: str) -> None:
        self.code = code
        super().__init__(f"{method} refused: {code} {reason}")


def binding_request() -> bytes:
    """A Binding request, to ask whether a server is there."""
    return MessageBuilder(Method.BINDING, MessageClass.REQUEST, os.urandom(12)).build()


class Handshake:
    """One client's control conversation: at any moment one request waits for its answer.

    Ask for ``request`` to (re)transmit; give every datagram to :meth:`feed`, which says whether the request is done.
    """

    def __init__(self, credentials: Credentials) -> None:
        self.relayed: Address | None = None
        self.request = b""
        self._credentials = credentials
        self._login: Login | None = None
        self._challenges = 0
        self._method = Method.ALLOCATE
        self._channel: tuple[int, Address] | None = None

    def allocate(self) -> bytes:
        """Start an Allocate for a UDP relay (RFC 8656 §7.1)."""
        return self._start(Method.ALLOCATE, None)

    def bind(self, channel: int, peer: Address) -> bytes:
        """Start a ChannelBind (RFC 8656 §12.1)."""
        return self._start(Method.CHANNEL_BIND, (channel, peer))

    def feed(self, datagram: bytes) -> bool:
        """Take an answer: True when the request has succeeded, False when ``request`` is to be sent (or waited for).

        Raises :class:`Refused` on an error answer other than the challenges of RFC 8489 §9.2.
        """
        message = Message.decode(datagram)
        if message.transaction_id != self.request[8:20]:
            return False
        if message.message_class is MessageClass.SUCCESS:
            if self._method is Method.ALLOCATE:
                self.relayed = message.first(attributes.XOR_RELAYED_ADDRESS)
                if self.relayed is None:
                    raise BenchError("Allocate success without XOR-RELAYED-ADDRESS")
            return True
        error = message.first(attributes.ERROR_CODE)
        code, reason = (error.code, error.reason) if error is not None else (0, "no ERROR-CODE")
        self._challenges += 1
        if code not in _CHALLENGES or self._challenges > _MAX_CHALLENGES:
            raise Refused(self._method.name, code, reason)
        self._accept_challenge(message)
        self.request = self._build()
        return False

    def _start(self, method: Method, channel: tuple[int, Address] | None) -> bytes:
        """Make a new request the one that waits."""
        self._method = method
        self._channel = channel
        self._challenges = 0
        self.request = self._build()
        return self.request

    def _accept_challenge(self, message: Message) -> None:
        """Learn realm and nonce from a 401 or 438."""
        realm = message.first(attributes.REALM)
        nonce = message.first(attributes.NONCE)
        if realm is None or nonce is None:
            raise BenchError(f"{self._method.name}: a challenge without REALM and NONCE")
        username, password = self._credentials
        self._login = Login(username, realm, nonce, _derive(username, realm, password))

    def _build(self) -> bytes:
        """Encode the current request under a fresh transaction id, authenticated when there is a login."""
        builder = MessageBuilder(self._method, MessageClass.REQUEST, os.urandom(12))
        if self._channel is None:
            builder.add(attributes.REQUESTED_TRANSPORT, TransportProtocol.UDP)
        else:
            channel, peer = self._channel
            builder.add(attributes.CHANNEL_NUMBER, channel)
            builder.add(attributes.XOR_PEER_ADDRESS, peer)
        if self._login is not None:
            builder.add(attributes.USERNAME, self._login.username)
            builder.add(attributes.REALM, self._login.realm)
            builder.add(attributes.NONCE, self._login.nonce)
            builder.integrity(self._login.key)
        return builder.build()
