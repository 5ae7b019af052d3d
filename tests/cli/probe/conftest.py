"""A TURN server of a few lines, in memory, whose behaviour each test can bend."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import pytest

from auth.keys import long_term_key_md5, long_term_key_sha256, user_hash
from auth.nonce import NONCE_COOKIE
from cli.probe.link import Opened
from cli.probe.report import Step
from cli.probe.security import TlsFacts
from stun import channeldata, integrity
from stun.address import Address
from stun.attributes import (
    CHANNEL_NUMBER,
    DATA,
    ERROR_CODE,
    LIFETIME,
    NONCE,
    PASSWORD_ALGORITHM,
    PASSWORD_ALGORITHMS,
    REALM,
    SOFTWARE,
    USERHASH,
    USERNAME,
    XOR_MAPPED_ADDRESS,
    XOR_PEER_ADDRESS,
    XOR_RELAYED_ADDRESS,
    AlgorithmValue,
    ErrorValue,
)
from stun.constants import MessageClass, Method, PasswordAlgorithm
from stun.demux import is_stun
from stun.message import Message, MessageBuilder
from stun.uri import StunUri
from turnserver.turnclient.links import LinkReceiver

SHA256 = AlgorithmValue(PasswordAlgorithm.SHA256, b"")
MD5 = AlgorithmValue(PasswordAlgorithm.MD5, b"")


@dataclass
class FakeLink:
    """A link of the probe to the fake server; frames that the server drops are simply never queued."""

    server: "FakeTurn"
    number: int
    reliable: bool = False
    closed: bool = False
    relayed: Address | None = None
    channels: dict[int, Address] = field(default_factory=dict)
    buffered: int = 0

    def start(self, receiver: LinkReceiver) -> None:
        self.receiver = receiver

    def send(self, frame: bytes) -> None:
        self.server.handle(self, frame)

    def deliver(self, frame: bytes) -> None:
        """Have a frame arrive, as soon as the loop turns."""
        asyncio.get_running_loop().call_soon(self.receiver.frame_received, frame)

    async def close(self) -> None:
        self.closed = True


class FakeOutside:
    """The probe's own socket; a datagram to a live relay arrives at its client."""

    def __init__(self, server: "FakeTurn", relayed: Address) -> None:
        self.server, self.relayed = server, relayed
        self.source = Address.parse(server.own if len(relayed.ip) == 4 else "2001:db8::77", 4000)
        self.seen_as = Address.parse(server.reflexive, 9000)
        self.refused = 0
        self.sent = 0
        self.closed = False
        self.queue: asyncio.Queue[bytes | None] = asyncio.Queue()

    def send(self, data: bytes) -> None:
        assert not self.closed
        self.sent += 1
        receiver = next((link for link in self.server.links if link.relayed == self.relayed), None)
        if self.server.shut == "reject" or (receiver is None and self.server.icmp and not self.server.shut):
            self.refused += 1
            self.queue.put_nowait(None)
        elif receiver is not None and self.server.shut != "drop" and not self.server.denied:
            builder = MessageBuilder(Method.DATA, MessageClass.INDICATION, bytes(12))
            receiver.deliver(builder.add(XOR_PEER_ADDRESS, self.seen_as).add(DATA, data).build())

    async def incoming(self, seconds: float) -> bytes | None:
        try:
            async with asyncio.timeout(seconds):
                return await self.queue.get()
        except TimeoutError:
            return None

    async def close(self) -> None:
        self.closed = True


@dataclass
class FakeTurn:
    """Follows RFC 8489 §9.2.4 and RFC 8656 as far as a probe can tell; the fields bend it."""

    username: str = "user"
    password: str = "secret"
    realm: str = "example.org"
    software: str | None = "fake 1"
    offered: tuple[AlgorithmValue, ...] | None = None
    anonymous: bool = False
    nonce: bytes = b""
    stale: int = 0
    """How many authenticated requests get a 438 first."""
    errors: dict[Method, tuple[int, str]] = field(default_factory=dict)
    silent: set[Method] = field(default_factory=set)
    sign: bool = True
    tamper: Callable[[MessageBuilder], MessageBuilder] | None = None
    steps: Sequence[Step] = ()
    """How opening a link went."""
    tls: TlsFacts | None = None
    links: list[FakeLink] = field(default_factory=list)
    requests: list[Message] = field(default_factory=list)
    opened: list[Address] = field(default_factory=list)
    no_route: bool = False
    """There is no way to the relayed address."""
    shut: str = ""
    """What a firewall does to datagrams from outside: ``drop``, ``reject``, or ``replies``: those to the outside."""
    denied: int = 0
    """The error for a permission for the outside; 0 for none."""
    icmp: bool = True
    """Closed ports are answered."""
    reflexive: str = "198.51.100.7"
    relay: str = "203.0.113.9"
    own: str = "192.168.7.7"
    """The probe's own address."""

    def __post_init__(self) -> None:
        self.nonce = self.nonce or self._nonce()
        self.outside: FakeOutside | None = None

    def _nonce(self) -> bytes:
        if self.offered is None and not self.anonymous:
            return b"nonce-0"
        flags = (0x800000 if self.offered is not None else 0) | (0x400000 if self.anonymous else 0)
        table = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
        return NONCE_COOKIE + bytes(table[flags >> shift & 63] for shift in (18, 12, 6, 0)) + b"n0"

    async def open_outside(self, relayed: Address) -> "FakeOutside":
        """What `run_probe` takes as its socket outside."""
        if self.no_route:
            raise OSError(101, "Network is unreachable")
        self.outside = FakeOutside(self, relayed)
        return self.outside

    async def open(self, uri: StunUri, address: Address) -> Opened:
        """What `run_probe` takes as its opener."""
        self.opened.append(address)
        link = FakeLink(self, len(self.links), uri.transport == "tcp")
        self.links.append(link)
        return Opened(link, self.steps, self.tls)

    def handle(self, link: FakeLink, frame: bytes) -> None:
        if not is_stun(frame):
            number, payload = channeldata.decode(frame)
            self._relay(link, link.channels[number], bytes(payload))
            return
        message = Message.decode(frame)
        if message.message_class is MessageClass.INDICATION:
            peer, data = message.first(XOR_PEER_ADDRESS), message.first(DATA)
            if Method.SEND not in self.silent:
                assert peer is not None
                assert data is not None
                self._relay(link, peer, data)
            return
        self.requests.append(message)
        if message.method in self.silent:
            return
        link.deliver(self._answer(link, message))

    def _relay(self, sender: FakeLink, peer: Address, data: bytes) -> None:
        if self.outside is not None and peer == self.outside.seen_as:
            if self.shut != "replies":
                self.outside.queue.put_nowait(data)
            return
        receiver = next(link for link in self.links if link.relayed == peer)
        assert sender.relayed is not None
        for number, bound in receiver.channels.items():
            if bound == sender.relayed:
                if Method.CHANNEL_BIND not in self.silent:
                    receiver.deliver(channeldata.encode(number, data))
                return
        builder = MessageBuilder(Method.DATA, MessageClass.INDICATION, bytes(12))
        receiver.deliver(builder.add(XOR_PEER_ADDRESS, sender.relayed).add(DATA, data).build())

    def _key(self, request: Message) -> bytes:
        algorithm = request.first(PASSWORD_ALGORITHM)
        derive = long_term_key_sha256 if algorithm == SHA256 else long_term_key_md5
        return derive(self.username, self.realm, self.password)

    def _challenge(self, request: Message, code: int) -> bytes:
        builder = MessageBuilder(request.method, MessageClass.ERROR, request.transaction_id)
        builder.add(ERROR_CODE, ErrorValue(code, "no")).add(REALM, self.realm).add(NONCE, self.nonce)
        if self.offered is not None:
            builder.add(PASSWORD_ALGORITHMS, self.offered)
        return builder.build()

    def _authentic(self, request: Message) -> bool:
        if self.anonymous:
            known = request.first(USERHASH) == user_hash(self.username, self.realm)
        else:
            known = request.first(USERNAME) == self.username
        verify = integrity.verify if self.offered is None else integrity.verify_sha256
        echoed = request.first(PASSWORD_ALGORITHMS) == self.offered
        return known and echoed and request.first(REALM) == self.realm and verify(request, self._key(request))

    def _answer(self, link: FakeLink, request: Message) -> bytes:
        if request.method != Method.BINDING:
            if not self._authentic(request):
                return self._challenge(request, 401)
            if self.stale:
                self.stale -= 1
                self.nonce = self.nonce[:-1] + bytes([self.nonce[-1] + 1])
                return self._challenge(request, 438)
            assert request.first(NONCE) == self.nonce
        error = self.errors.get(Method(request.method))
        if self.denied and request.method == Method.CREATE_PERMISSION:
            peer = request.first(XOR_PEER_ADDRESS)
            assert peer is not None
            error = error or ((self.denied, "no") if peer.host != self.relay else None)
        kind = MessageClass.SUCCESS if error is None else MessageClass.ERROR
        builder = MessageBuilder(request.method, kind, request.transaction_id)
        if error is not None:
            builder.add(ERROR_CODE, ErrorValue(*error))
        else:
            self._succeed(link, request, builder)
        if self.software is not None:
            builder.add(SOFTWARE, self.software)
        if self.tamper is not None:
            self.tamper(builder)
        if request.method != Method.BINDING and self.sign:
            key = self._key(request)
            builder = builder.integrity(key) if self.offered is None else builder.integrity_sha256(key)
        return builder.fingerprint().build()

    def _succeed(self, link: FakeLink, request: Message, builder: MessageBuilder) -> None:
        if request.method == Method.BINDING:
            builder.add(XOR_MAPPED_ADDRESS, Address.parse(self.reflexive, 1000 + link.number))
        elif request.method == Method.ALLOCATE:
            link.relayed = Address.parse(self.relay, 50000 + link.number)
            builder.add(XOR_RELAYED_ADDRESS, link.relayed).add(LIFETIME, 600)
        elif request.method == Method.REFRESH:
            link.relayed = None
            builder.add(LIFETIME, 0)
        elif request.method == Method.CHANNEL_BIND:
            number, peer = request.first(CHANNEL_NUMBER), request.first(XOR_PEER_ADDRESS)
            assert number is not None
            assert peer is not None
            link.channels[number] = peer


@pytest.fixture
def fake_turn() -> type[FakeTurn]:
    """The class of the fake server: ``fake_turn(stale=1)``."""
    return FakeTurn


@pytest.fixture
def algorithms() -> dict[str, tuple[AlgorithmValue, ...]]:
    """PASSWORD-ALGORITHMS as servers may offer them."""
    return {"sha256": (SHA256, MD5), "md5": (MD5, SHA256), "unknown first": (AlgorithmValue(99, b""), SHA256)}
