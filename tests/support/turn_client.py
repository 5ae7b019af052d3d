"""A small synchronous TURN client over real sockets, for tests that look at the server from outside.

It is made of the `stun` package's codec and client transaction, with blocking sockets and time-outs; `udp`, `tcp` and
`tls` make one over each transport::

    with TurnClient.udp("127.0.0.1", server.port, USERNAME, PASSWORD) as client:
        allocation = client.allocate()
        client.channel_bind(0x4000, peer)
        client.send_channel(0x4000, b"hello")
        assert client.receive() == ChannelMessage(0x4000, b"hello, too")

Every request runs as a whole transaction (retransmissions, the 401 and 438 dance, a check of the answer's integrity).
What arrives meanwhile from peers waits until `TurnClient.receive` asks for it, in order.
"""

import secrets
import socket
import ssl
import time
from collections import deque
from types import TracebackType
from typing import Any, NamedTuple, Protocol, Self

from auth.keys import long_term_key_md5, long_term_key_sha256
from stun import attributes as attr
from stun import channeldata, integrity
from stun.address import Address
from stun.attributes import AlgorithmValue, AttributeType, IcmpValue
from stun.client import ClientTransaction
from stun.constants import (
    CHANNEL_MAX_RFC5766,
    AddressFamily,
    ErrorCode,
    MessageClass,
    Method,
    PasswordAlgorithm,
    TransportProtocol,
)
from stun.message import Message, MessageBuilder
from tests.support.stream_wire import StreamWire, open_tcp, open_tls

__all__ = [
    "Allocation",
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

TIMEOUT = 10.0
"""Seconds that `TurnClient.receive` waits unless told otherwise: a limit for failures, never waited out in success."""
LARGEST_FRAME = 65_535

Attribute = tuple[AttributeType[Any], Any]


class TurnRefused(Exception):
    """An error response: its code (RFC 8656 §19), its reason phrase and the whole message."""

    def __init__(self, code: int, reason: str, response: Message) -> None:
        super().__init__(f"{code} {reason}")
        self.code = code
        self.reason = reason
        self.response = response


class Allocation(NamedTuple):
    """What a success response to Allocate grants (RFC 8656 §7.3); two relayed addresses for a dual allocation.

    ``lifetime`` is in seconds. ``refused`` is the ADDRESS-ERROR-CODE of half a dual allocation as (family, code).
    """

    relayed: tuple[Address, ...]
    mapped: Address
    lifetime: int
    reservation: bytes | None
    refused: tuple[int, int] | None

    @property
    def address(self) -> Address:
        """The relayed transport address of an allocation that has just one."""
        (only,) = self.relayed
        return only

    def of_family(self, family: AddressFamily) -> Address:
        """The relayed transport address of one family."""
        (only,) = (address for address in self.relayed if address.family is family)
        return only


class PeerData(NamedTuple):
    """A Data indication with a peer's datagram (RFC 8656 §11.3)."""

    peer: Address
    data: bytes


class PeerError(NamedTuple):
    """A Data indication with an ICMP error that came back from a peer (RFC 8656 §11.5)."""

    peer: Address
    icmp: IcmpValue


class ChannelMessage(NamedTuple):
    """ChannelData from a bound peer (RFC 8656 §12.6)."""

    channel: int
    data: bytes


class ConnectionAttempt(NamedTuple):
    """A peer has connected to a TCP relay (RFC 6062 §4.4)."""

    peer: Address
    connection: int


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
        self, wire: Wire, username: str | None = None, password: str | None = None, *, sha256: bool = True
    ) -> None:
        self.wire = wire
        self._username = username
        self._password = password
        self._wants_sha256 = sha256
        self._realm: str | None = None
        self._nonce: bytes | None = None
        self._offered: tuple[AlgorithmValue, ...] | None = None
        self._key = b""
        self._inbox: deque[Received] = deque()

    @classmethod
    def udp(
        cls, host: str, port: int, username: str | None = None, password: str | None = None, *, sha256: bool = True
    ) -> Self:
        """A client over UDP, from a port of the kernel's choice."""
        return cls(UdpWire(host, port), username, password, sha256=sha256)

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
        mapped = self._transact(Method.BINDING, (), authenticated=False).first(attr.XOR_MAPPED_ADDRESS)
        assert mapped is not None
        return mapped

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
    ) -> Allocation:
        """Allocate a relay (RFC 8656 §7, RFC 6062 §4.1); ``even_port`` is EVEN-PORT's R bit. Raises `TurnRefused`."""
        optional: list[tuple[AttributeType[Any], Any]] = [
            (attr.REQUESTED_ADDRESS_FAMILY, family),
            (attr.ADDITIONAL_ADDRESS_FAMILY, additional_family),
            (attr.EVEN_PORT, even_port),
            (attr.RESERVATION_TOKEN, reservation),
            (attr.LIFETIME, lifetime),
            (attr.DONT_FRAGMENT, True if dont_fragment else None),
        ]
        given = [(spec, value) for spec, value in optional if value is not None]
        response = self.request(Method.ALLOCATE, (attr.REQUESTED_TRANSPORT, protocol), *given)
        mapped, granted = response.first(attr.XOR_MAPPED_ADDRESS), response.first(attr.LIFETIME)
        assert mapped is not None, "RFC 8656 §7.3: the success response has to carry XOR-MAPPED-ADDRESS"
        assert granted is not None, "RFC 8656 §7.3: the success response has to carry LIFETIME"
        half = response.first(attr.ADDRESS_ERROR_CODE)
        return Allocation(
            tuple(response.all(attr.XOR_RELAYED_ADDRESS)),
            mapped,
            granted,
            response.first(attr.RESERVATION_TOKEN),
            None if half is None else (half.family, half.code),
        )

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
        builder = MessageBuilder(Method.SEND, MessageClass.INDICATION, secrets.token_bytes(12))
        builder.add(attr.XOR_PEER_ADDRESS, peer).add(attr.DATA, data)
        if dont_fragment:
            builder.add(attr.DONT_FRAGMENT, True)
        self.wire.send(builder.build())

    def send_channel(self, channel: int, data: bytes) -> None:
        """Send a datagram to a bound peer as ChannelData (RFC 8656 §12.5)."""
        encode = channeldata.encode_padded if self.wire.reliable else channeldata.encode
        self.wire.send(encode(channel, data))

    def receive(self, timeout: float = TIMEOUT) -> Received:
        """The next thing that came from a peer; raises TimeoutError if nothing does within ``timeout`` seconds."""
        give_up = time.monotonic() + timeout
        while not self._inbox:
            frame = self.wire.receive(give_up - time.monotonic())
            if frame is not None:
                self._sort(frame)
            elif time.monotonic() >= give_up:
                raise TimeoutError(f"nothing came from a peer within {timeout} s")
        return self._inbox.popleft()

    def request(self, method: Method, *attributes: Attribute) -> Message:
        """One authenticated request; its success response. Raises `TurnRefused` and TimeoutError.

        The first 401 and every 438 are answered with a new attempt, as RFC 8489 §9.2.5 says.
        """
        retried = False
        while True:
            authenticated = self._nonce is not None
            try:
                return self._transact(method, attributes, authenticated=authenticated)
            except TurnRefused as refusal:
                challenged = refusal.code == ErrorCode.UNAUTHENTICATED and not authenticated
                stale = refusal.code == ErrorCode.STALE_NONCE and not retried
                if self._username is None or not (challenged or stale):
                    raise
                retried = retried or stale
                self._learn(refusal.response)

    def _learn(self, challenge: Message) -> None:
        """Take realm, nonce and algorithms from a 401 or 438 and derive the key (RFC 8489 §9.2.5)."""
        assert self._username is not None
        assert self._password is not None
        realm, self._nonce = challenge.first(attr.REALM), challenge.first(attr.NONCE)
        assert realm is not None, "RFC 8489 §9.2.4: a challenge has to carry REALM"
        assert self._nonce is not None, "RFC 8489 §9.2.4: a challenge has to carry NONCE"
        self._realm = realm
        self._offered = challenge.first(attr.PASSWORD_ALGORITHMS) if self._wants_sha256 else None
        derive = long_term_key_sha256 if self._uses_sha256_key else long_term_key_md5
        self._key = derive(self._username, realm, self._password)

    @property
    def _uses_sha256_key(self) -> bool:
        return self._offered is not None and self._offered[0].number == PasswordAlgorithm.SHA256

    def _build(
        self, method: Method, transaction: bytes, attributes: tuple[Attribute, ...], authenticated: bool
    ) -> bytes:
        builder = MessageBuilder(method, MessageClass.REQUEST, transaction)
        for spec, value in attributes:
            builder.add(spec, value)
        if not authenticated:
            return builder.fingerprint().build()
        assert self._username is not None
        assert self._realm is not None
        assert self._nonce is not None
        builder.add(attr.USERNAME, self._username).add(attr.REALM, self._realm).add(attr.NONCE, self._nonce)
        if self._offered is None:
            return builder.integrity(self._key).fingerprint().build()
        builder.add(attr.PASSWORD_ALGORITHMS, self._offered).add(attr.PASSWORD_ALGORITHM, self._offered[0])
        return builder.integrity_sha256(self._key).fingerprint().build()

    def _transact(self, method: Method, attributes: tuple[Attribute, ...], *, authenticated: bool) -> Message:
        """Run one transaction to its end; raises `TurnRefused` for an error response, TimeoutError for none."""
        identifier = secrets.token_bytes(12)
        request = self._build(method, identifier, attributes, authenticated)
        transaction = ClientTransaction(request, time.monotonic(), reliable=self.wire.reliable)
        while not transaction.timed_out(time.monotonic()):
            datagram = transaction.datagrams(time.monotonic())
            if datagram is not None:
                self.wire.send(datagram)
            frame = self.wire.receive(transaction.deadline() - time.monotonic())
            if frame is None:
                continue
            response = self._sort(frame)
            if response is not None and transaction.matches(response):
                return self._judge(response, authenticated)
        raise TimeoutError(f"no answer to {method.name}")

    def _judge(self, response: Message, authenticated: bool) -> Message:
        if response.message_class is MessageClass.ERROR:
            error = response.first(attr.ERROR_CODE)
            assert error is not None, "RFC 8489 §6.3.4: an error response has to carry ERROR-CODE"
            raise TurnRefused(error.code, error.reason, response)
        if authenticated:
            verify = integrity.verify if self._offered is None else integrity.verify_sha256
            assert verify(response, self._key), "RFC 8489 §9.2.4: the answer's integrity has to be right"
        return response

    def _sort(self, frame: bytes) -> Message | None:
        """Keep what comes from peers for `receive`; a message of any other kind is handed back."""
        if frame[0] & 0xC0 == 0x40:
            channel, data = channeldata.decode(frame, CHANNEL_MAX_RFC5766)
            self._inbox.append(ChannelMessage(channel, bytes(data)))
            return None
        message = Message.decode(frame)
        if message.message_class is not MessageClass.INDICATION:
            return message
        assert message.method in (Method.DATA, Method.CONNECTION_ATTEMPT), f"an indication of method {message.method}"
        peer = message.first(attr.XOR_PEER_ADDRESS)
        assert peer is not None, "RFC 8656 §11.3, RFC 6062 §5.3: XOR-PEER-ADDRESS has to be there"
        if message.method == Method.CONNECTION_ATTEMPT:
            number = message.first(attr.CONNECTION_ID)
            assert number is not None, "RFC 6062 §5.3: a ConnectionAttempt has to carry CONNECTION-ID"
            self._inbox.append(ConnectionAttempt(peer, number))
            return None
        data_value, icmp = message.first(attr.DATA), message.first(attr.ICMP)
        if icmp is not None:
            assert data_value is None, "RFC 8656 §11.5: an ICMP error comes without DATA"
            self._inbox.append(PeerError(peer, icmp))
        else:
            assert data_value is not None, "RFC 8656 §11.3: a Data indication has to carry DATA"
            self._inbox.append(PeerData(peer, data_value))
        return None
