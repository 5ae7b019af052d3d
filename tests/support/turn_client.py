"""A synchronous TURN client over real sockets, for tests that look at the server from outside.

It is `stun.client.core.ClientCore`, driven by hand with blocking sockets and time-outs; `udp`, `tcp` and `tls` make one
over each transport::

    with TurnClient.udp("127.0.0.1", server.port, USERNAME, PASSWORD) as client:
        allocation = client.allocate()
        client.channel_bind(0x4000, peer)
        client.send_channel(0x4000, b"hello")
        assert client.receive() == ChannelMessage(0x4000, b"hello, too")

Every request runs to its end (retransmissions, the 401 and 438 dance, a check of the answer's integrity); nothing is
renewed by itself, and nothing is held back that a server has to refuse. What arrives meanwhile from peers waits until
`TurnClient.receive` asks for it, in order.
"""

import secrets
import socket
import ssl
import time
from collections import deque
from types import TracebackType
from typing import Any, NamedTuple, Protocol, Self, TypeVar

from stun import attributes as attr
from stun import channeldata
from stun.address import Address
from stun.attributes import AttributeType
from stun.client.authentication import Login
from stun.client.core import ClientCore, ClientOptions
from stun.client.errors import ErrorResponse
from stun.client.events import AllocationGrant, ConnectionAttempt, PeerData, PeerError
from stun.client.requests import ClientRequest
from stun.client.transaction import RTO
from stun.constants import CHANNEL_MAX_RFC5766, AddressFamily, ErrorCode, MessageClass, Method, TransportProtocol
from stun.demux import is_stun
from stun.message import Message
from tests.support.stream_wire import StreamWire, open_tcp, open_tls

__all__ = [
    "AllocationGrant",
    "ChannelMessage",
    "ConnectionAttempt",
    "PeerData",
    "PeerError",
    "Received",
    "TurnClient",
    "TurnRefused",
    "UdpWire",
    "Wire",
]

TIMEOUT = 90.0
"""Seconds that `TurnClient.receive` waits unless told otherwise: a limit for failures, never waited out in success."""
LARGEST_FRAME = 65_535
QUEUE = 1_000_000
"""Nothing that a test is sent is dropped."""

T = TypeVar("T")

Attribute = tuple[AttributeType[Any], Any]


class TurnRefused(Exception):
    """An error response: its code (RFC 8656 §19), its reason phrase and the whole message."""

    def __init__(self, code: int, reason: str, response: Message) -> None:
        super().__init__(f"{code} {reason}")
        self.code = code
        self.reason = reason
        self.response = response


class ChannelMessage(NamedTuple):
    """ChannelData from a bound peer (RFC 8656 §12.6)."""

    channel: int
    data: bytes


Received = PeerData | PeerError | ChannelMessage | ConnectionAttempt


class Wire(Protocol):
    """How frames reach the server: one whole STUN message or ChannelData message at a time."""

    reliable: bool
    """True for streams, where requests are not retransmitted (RFC 8489 §6.2.2)."""

    @property
    def local(self) -> Address:
        """The client's own transport address."""

    def send(self, frame: bytes) -> None:
        """Send one whole frame."""

    def receive(self, timeout: float) -> bytes | None:
        """The next frame, or None if none came within ``timeout`` seconds."""

    def close(self) -> None:
        """Close the socket."""


class UdpWire:
    """A connected UDP socket; made in the caller's network namespace."""

    reliable = False

    def __init__(self, host: str, port: int) -> None:
        self._socket = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.connect((host, port))

    @property
    def local(self) -> Address:
        """The client's own transport address."""
        host, port = self._socket.getsockname()[:2]
        return Address.parse(host, port)

    def send(self, frame: bytes) -> None:
        """Send one datagram."""
        self._socket.send(frame)

    def receive(self, timeout: float) -> bytes | None:
        """The next datagram, or None if none came within ``timeout`` seconds; raises OSError as the socket does."""
        self._socket.settimeout(max(timeout, 0.001))
        try:
            return self._socket.recv(LARGEST_FRAME)
        except TimeoutError:
            return None

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()


class TurnClient:
    """One client, with at most one allocation; a context manager that deletes nothing, only closes its socket.

    With ``sha256`` (the default) it takes SHA-256 where the server offers PASSWORD-ALGORITHMS, as RFC 8489 §9.2 has
    it; without, it is a client of RFC 5389 that knows MD5 keys and MESSAGE-INTEGRITY only, as browsers are.
    """

    def __init__(
        self,
        wire: Wire,
        username: str | None = None,
        password: str | None = None,
        *,
        sha256: bool = True,
        rto: float = RTO,
    ) -> None:
        self.wire = wire
        login = None if username is None or password is None else Login(username, password, rfc5389=not sha256)
        options = ClientOptions(automatic=False, check_permissions=False, unsigned_errors=True, queue=QUEUE, rto=rto)
        self._core = ClientCore(secrets.token_bytes, login=login, reliable=wire.reliable, options=options)
        self._inbox: deque[Received] = deque()

    @classmethod
    def udp(
        cls,
        host: str,
        port: int,
        username: str | None = None,
        password: str | None = None,
        *,
        sha256: bool = True,
        rto: float = RTO,
    ) -> Self:
        """A client over UDP, from a port of the kernel's choice; ``rto`` is until it sends again, in seconds."""
        return cls(UdpWire(host, port), username, password, sha256=sha256, rto=rto)

    @classmethod
    def tcp(
        cls, host: str, port: int, username: str | None = None, password: str | None = None, *, sha256: bool = True
    ) -> Self:
        """A client over TCP."""
        return cls(StreamWire(open_tcp(host, port)), username, password, sha256=sha256)

    @classmethod
    def tls(
        cls,
        host: str,
        port: int,
        username: str | None = None,
        password: str | None = None,
        *,
        sha256: bool = True,
        context: ssl.SSLContext | None = None,
    ) -> Self:
        """A client over TLS; without a context it believes any certificate."""
        return cls(StreamWire(open_tls(host, port, context)), username, password, sha256=sha256)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the socket; over UDP the allocation lives on at the server until it expires."""
        self.wire.close()

    def binding(self) -> Address:
        """The server-reflexive address that a Binding request finds (RFC 8489 §2)."""
        return self._finish(self._core.binding(time.monotonic()))

    def allocate(
        self,
        *,
        protocol: TransportProtocol = TransportProtocol.UDP,
        family: AddressFamily | None = None,
        additional_family: AddressFamily | None = None,
        even_port: bool | None = None,
        reservation: bytes | None = None,
        lifetime: int | None = None,
        dont_fragment: bool = False,
    ) -> AllocationGrant:
        """Allocate a relay (RFC 8656 §7, RFC 6062 §4.1); ``even_port`` is EVEN-PORT's R bit. Raises `TurnRefused`."""
        request = self._core.allocate(
            time.monotonic(),
            protocol=protocol,
            family=family,
            additional_family=additional_family,
            even_port=even_port,
            reservation=reservation,
            lifetime=lifetime,
            dont_fragment=dont_fragment,
        )
        allocation = self._finish(request)
        assert allocation.mapped is not None, "RFC 8656 §7.3: the success response has to carry XOR-MAPPED-ADDRESS"
        assert additional_family is not None or len(allocation.relayed) == 1, "one relayed address was asked for"
        return allocation

    def refresh(self, lifetime: int | None = None) -> int:
        """Refresh the allocation, or delete it with 0; the lifetime granted, in seconds (RFC 8656 §8)."""
        wanted: list[Attribute] = [] if lifetime is None else [(attr.LIFETIME, lifetime)]
        granted = self.request(Method.REFRESH, *wanted).first(attr.LIFETIME)
        assert granted is not None, "RFC 8656 §8.2: the success response has to carry LIFETIME"
        return granted

    def create_permission(self, *peers: Address) -> None:
        """Permit the addresses of some peers; their ports do not matter (RFC 8656 §10)."""
        self.request(Method.CREATE_PERMISSION, *((attr.XOR_PEER_ADDRESS, peer) for peer in peers))

    def channel_bind(self, channel: int, peer: Address) -> None:
        """Bind a channel to a peer, or refresh the binding (RFC 8656 §12)."""
        self.request(Method.CHANNEL_BIND, (attr.CHANNEL_NUMBER, channel), (attr.XOR_PEER_ADDRESS, peer))

    def connect_peer(self, peer: Address) -> int:
        """Have the server connect to a peer over TCP; the CONNECTION-ID (RFC 6062 §4.3). Raises `TurnRefused`."""
        number = self.request(Method.CONNECT, (attr.XOR_PEER_ADDRESS, peer)).first(attr.CONNECTION_ID)
        assert number is not None, "RFC 6062 §5.2: the success response has to carry CONNECTION-ID"
        return number

    def bind_connection(self, connection: int) -> tuple[socket.socket, bytes]:
        """Make this connection, which has no allocation, the data connection of a peer's (RFC 6062 §4.3).

        The socket, which carries the peer's bytes from now on, and the first of them if they came with the answer.
        """
        assert isinstance(self.wire, StreamWire)
        self.request(Method.CONNECTION_BIND, (attr.CONNECTION_ID, connection))
        return self.wire.detach()

    def send(self, peer: Address, data: bytes, *, dont_fragment: bool = False) -> None:
        """Send a datagram to a peer by a Send indication (RFC 8656 §11.1), which is never answered."""
        self._core.send_indication(peer, data, time.monotonic(), dont_fragment=dont_fragment)
        self._transmit()

    def send_channel(self, channel: int, data: bytes) -> None:
        """Send a datagram to a bound peer as ChannelData (RFC 8656 §12.5)."""
        self._core.send_channel(channel, data, time.monotonic())
        self._transmit()

    def receive(self, timeout: float = TIMEOUT) -> Received:
        """The next thing that came from a peer; raises TimeoutError if nothing does within ``timeout`` seconds."""
        give_up = time.monotonic() + timeout
        while not self._inbox:
            frame = self.wire.receive(give_up - time.monotonic())
            if frame is not None:
                self._take(frame)
            elif time.monotonic() >= give_up:
                raise TimeoutError(f"nothing came from a peer within {timeout} s")
        return self._inbox.popleft()

    def request(self, method: Method, *attributes: Attribute) -> Message:
        """One authenticated request; its success response. Raises `TurnRefused` and TimeoutError.

        The first 401 and one 438 are answered with a new attempt, as RFC 8489 §9.2.5 says.
        """
        return self._finish(self._core.request(method, attributes, time.monotonic()))

    def _finish(self, request: ClientRequest[T]) -> T:
        """Drive a request to its end; what it gives. Raises `TurnRefused`, and `NoAnswer`, which is a TimeoutError."""
        while not request.done:
            self._core.expire(time.monotonic())
            self._transmit()
            deadline = self._core.deadline()
            if not request.done and deadline is not None:
                frame = self.wire.receive(deadline - time.monotonic())
                if frame is not None:
                    self._take(frame)
        try:
            return request.result()
        except ErrorResponse as error:
            raise TurnRefused(error.code, error.reason, request.answer().message) from error

    def _transmit(self) -> None:
        for frame in self._core.frames():
            self.wire.send(frame)

    def _take(self, frame: bytes) -> None:
        """Feed the client; what comes from peers is kept for `receive`, over channels that it knows nothing of, too."""
        if not is_stun(frame):
            channel, data = channeldata.decode(frame, CHANNEL_MAX_RFC5766)
            self._inbox.append(ChannelMessage(channel, bytes(data)))
            return
        _check_conformance(Message.decode(frame))
        self._core.receive(frame, time.monotonic())
        for event in self._core.events():
            if isinstance(event, PeerData | PeerError | ConnectionAttempt):
                self._inbox.append(event)
        self._transmit()


def _check_conformance(message: Message) -> None:
    """What a server must not leave out, and a client would pass over in silence."""
    if message.message_class is not MessageClass.INDICATION:
        error = message.first(attr.ERROR_CODE)
        if message.message_class is MessageClass.ERROR:
            assert error is not None, "RFC 8489 §6.3.4: an error response has to carry ERROR-CODE"
        if error is not None and error.code in (ErrorCode.UNAUTHENTICATED, ErrorCode.STALE_NONCE):
            assert message.first(attr.REALM) is not None, "RFC 8489 §9.2.4: a challenge has to carry REALM"
            assert message.first(attr.NONCE) is not None, "RFC 8489 §9.2.4: a challenge has to carry NONCE"
        return
    assert message.method in (Method.DATA, Method.CONNECTION_ATTEMPT), f"an indication of method {message.method}"
    assert message.has(attr.XOR_PEER_ADDRESS), "RFC 8656 §11.3, RFC 6062 §5.3: XOR-PEER-ADDRESS has to be there"
    if message.method == Method.CONNECTION_ATTEMPT:
        assert message.has(attr.CONNECTION_ID), "RFC 6062 §5.3: a ConnectionAttempt has to carry CONNECTION-ID"
    elif message.has(attr.ICMP):
        assert not message.has(attr.DATA), "RFC 8656 §11.5: an ICMP error comes without DATA"
    else:
        assert message.has(attr.DATA), "RFC 8656 §11.3: a Data indication has to carry DATA"
