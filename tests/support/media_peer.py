"""A participant's side of a media connection, sans-IO: a full ICE agent, DTLS and SRTP, driven step by step."""

import struct
from collections.abc import Callable
from datetime import UTC, datetime
from functools import cache
from itertools import count

from stun.address import Address
from stun.attributes import USERNAME, XOR_MAPPED_ADDRESS
from stun.constants import MessageClass, Method
from stun.message import Message, MessageBuilder
from turnserver.media.connection import PeerConnection, Wire
from turnserver.media.dtls import DtlsIdentity, DtlsRole, SrtpHandshake, create_identity
from turnserver.media.ice import ICE_CONTROLLING, PRIORITY, USE_CANDIDATE, IceCredentials
from turnserver.media.srtp import TRAILER, SrtpReceiver, SrtpSender

__all__ = ["MediaClient", "connection", "entropy", "identity", "rtp_packet"]

_serials = count(1)


@cache
def identity(whose: str = "server") -> DtlsIdentity:
    """A certificate that is made once for each name."""
    return create_identity(datetime(2026, 1, 1, tzinfo=UTC))


def entropy() -> Callable[[int], bytes]:
    """Bytes that do not repeat."""
    return lambda size: next(_serials).to_bytes(size, "big")


def connection(ufrag: str = "ours", wire: Wire | None = None, now: float = 0.0) -> PeerConnection:
    """The server's side, for `MediaClient.meet`."""
    return PeerConnection(identity(), IceCredentials(ufrag, "o" * 24), entropy=entropy(), now=now, wire=wire)


def rtp_packet(sequence: int, *, ssrc: int = 7, payload: bytes = b"hello", payload_type: int = 96) -> bytearray:
    """A plain RTP packet."""
    return bytearray(struct.pack("!BBHII", 0x80, payload_type, sequence, 90 * sequence, ssrc) + payload)


class MediaClient:
    """The other side of a `PeerConnection`. ``source`` is where its datagrams come from, which may be changed.

    ``rtp`` and ``rtcp`` are what it has received; ``answers`` says whether it answers Binding requests.
    """

    def __init__(self, server: PeerConnection, source: Address, *, whose: str = "client") -> None:
        self.server = server
        self.source = source
        self.credentials = IceCredentials("them", "t" * 24)
        self.identity = identity(whose)
        self.answers = True
        self.rtp: list[bytes] = []
        self.rtcp: list[bytes] = []
        self.responses: list[Message] = []
        self.handshake: SrtpHandshake | None = None
        self.sender: SrtpSender | None = None
        self.receiver: SrtpReceiver | None = None

    def meet(self, *, role: DtlsRole = "client") -> None:
        """Exchange descriptions; ``role`` is the client's in DTLS."""
        self.handshake = SrtpHandshake(self.identity, role, [identity().fingerprint])
        ours: DtlsRole = "server" if role == "client" else "client"
        self.server.remote(self.credentials, [self.identity.fingerprint], ours)

    def check(self, *, nominate: bool = False, pwd: str | None = None) -> bytes:
        """A connectivity check."""
        local = self.server.local
        builder = MessageBuilder(Method.BINDING, MessageClass.REQUEST, next(_serials).to_bytes(12, "big"))
        builder.add(USERNAME, f"{local.ufrag}:{self.credentials.ufrag}").add(PRIORITY, 1).add(ICE_CONTROLLING, 2)
        if nominate:
            builder.add(USE_CANDIDATE, b"")
        return builder.integrity((pwd or local.pwd).encode()).fingerprint().build()

    def put(self, data: bytes, now: float, source: Address | None = None) -> None:
        """Have a datagram arrive at the server."""
        self.server.receive(bytearray(data), len(data), source or self.source, now)

    def connect(self, now: float = 0.0) -> None:
        """Check, nominate, and go through the handshake."""
        self.put(self.check(nominate=True), now)
        self.exchange(now)
        for _ in range(6):
            self.flush(now)
            self.exchange(now)

    def flush(self, now: float) -> None:
        """Send what the handshake has to say."""
        assert self.handshake is not None
        for datagram in self.handshake.flight():
            self.put(datagram, now)

    def exchange(self, now: float) -> list[tuple[bytes, Address]]:
        """Take what the server has sent to this source; what went elsewhere is returned."""
        others = []
        while taken := self.server.wire.take():
            for data, destination in taken:
                if destination == self.source:
                    self.take(bytes(data), now)
                else:
                    others.append((bytes(data), destination))
        return others

    def take(self, data: bytes, now: float) -> None:
        """Take one datagram of the server."""
        if data[0] < 4:
            self._stun(Message.decode(data), now)
        elif data[0] < 64:
            if self.handshake is not None:
                self.handshake.feed(data)
                if self.handshake.keys is not None and self.sender is None:
                    self.sender = SrtpSender(self.handshake.keys)
                    self.receiver = SrtpReceiver(self.handshake.keys)
        elif self.receiver is not None:
            memory = bytearray(data)
            if 192 <= data[1] <= 223:
                self.rtcp.append(bytes(memory[: self.receiver.unprotect_rtcp(memory, len(data))]))
            else:
                size = self.receiver.unprotect(memory, len(data))
                assert size > 0, "a packet that is not genuine, or comes twice"
                self.rtp.append(bytes(memory[:size]))

    def protected(self, packet: bytearray) -> bytes:
        """An RTP packet as it goes over the wire."""
        assert self.sender is not None
        memory = packet + bytes(TRAILER)
        return bytes(memory[: self.sender.protect(memory, len(packet))])

    def _stun(self, message: Message, now: float) -> None:
        if message.message_class is not MessageClass.REQUEST:
            self.responses.append(message)
        elif self.answers:
            builder = MessageBuilder(Method.BINDING, MessageClass.SUCCESS, message.transaction_id)
            builder.add(XOR_MAPPED_ADDRESS, self.source).integrity(self.credentials.pwd.encode())
            self.put(builder.fingerprint().build(), now)
