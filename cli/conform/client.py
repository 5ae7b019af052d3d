"""A client of a server under test: one 5-tuple, whose requests may be wrong in any way."""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any, Final, NamedTuple

from auth.errors import InvalidString
from auth.keys import long_term_key_md5, long_term_key_sha256
from cli.conform.findings import FrameLog, Untestable, Wrong
from cli.conform.pipes import Pipe, StreamPipe
from cli.conform.wire import FINGERPRINT_SEAL, Draft, Raw, Seal, SeenMessage, sealed_sha1, sealed_sha256
from stun import channeldata
from stun.address import Address
from stun.attributes import (
    DATA,
    LIFETIME,
    NONCE,
    PASSWORD_ALGORITHM,
    PASSWORD_ALGORITHMS,
    REALM,
    REQUESTED_TRANSPORT,
    USERNAME,
    XOR_PEER_ADDRESS,
    XOR_RELAYED_ADDRESS,
)
from stun.client.authentication import Login
from stun.client.requests import Attribute
from stun.constants import ErrorCode, MessageClass, Method, TransportProtocol

__all__ = ["SHA1", "SHA256", "Challenge", "KitClient", "PeerDatagram"]

SHA1: Final = "SHA-1"
SHA256: Final = "SHA-256"
"""The two kinds of integrity, as they are named on reports."""

_RTO: Final = 0.5
_SHA256_ALGORITHM: Final = bytes((0, 2, 0, 0))


class Challenge(NamedTuple):
    """What a 401 or 438 has told: ``offered`` are the bytes of PASSWORD-ALGORITHMS, None without."""

    realm: str
    nonce: bytes
    offered: bytes | None

    @property
    def modes(self) -> tuple[str, ...]:
        """The kinds of integrity that can be used."""
        offered = self.offered or b""
        found = {int.from_bytes(offered[at : at + 2], "big") for at in range(0, len(offered) - 3, 4)}
        return (SHA1, SHA256) if 2 in found else (SHA1,)


class PeerDatagram(NamedTuple):
    """A datagram of a peer, in a Data indication (``peer``) or in ChannelData (``channel``)."""

    payload: bytes
    peer: Address | None
    channel: int | None


class KitClient:
    """One connection to the server.

    ``patience`` is how long to wait for an answer, in seconds; ``mode`` is the kind of integrity of its requests.
    Methods that prepare a test raise `Untestable` when the server does not go along, because that is another check's.
    """

    def __init__(self, pipe: Pipe, patience: float, journal: FrameLog, login: Login | None, mode: str) -> None:
        self.pipe = pipe
        self.patience = patience
        self.mode = mode
        self.login = login
        self.challenge: Challenge | None = None
        self.relays: list[Address] = []
        self.lifetime = 0
        self.allocated = False
        self._journal = journal
        self._inbox: deque[bytes] = deque(maxlen=256)

    @property
    def relay(self) -> Address:
        """The first relayed address. Raises `Untestable` if the server has told none."""
        if not self.relays:
            raise Untestable("There is no relayed address.")
        return self.relays[0]

    # Frames

    def send(self, data: bytes) -> None:
        """Send bytes as they are."""
        self._journal.note("→ server", data)
        self.pipe.send(data)

    async def ask(self, draft: Draft | bytes) -> SeenMessage:
        """Send a request, again and again on UDP, and wait for its answer. Raises `Wrong` when none comes."""
        reply = await self.attempt(draft)
        if reply is None:
            raise Wrong(f"No answer came: {self._silence()}.")
        return reply

    async def attempt(self, draft: Draft | bytes, seconds: float | None = None) -> SeenMessage | None:
        """The same; None when no answer comes."""
        data = draft if isinstance(draft, bytes) else draft.encode()
        clock = asyncio.get_running_loop().time
        end = clock() + (self.patience if seconds is None else seconds)
        self.send(data)
        interval, again = _RTO, clock() + _RTO
        while (left := end - clock()) > 0 and not (self.pipe.ended and not self._inbox):
            frame = await self.pipe.frame(left if self.pipe.reliable else max(0.0, min(left, again - clock())))
            if frame is not None:
                reply = self._arrived(frame)
                if reply is not None and reply.transaction_id == data[8:20] and reply.message_class >= 2:
                    return reply
                self._inbox.append(frame)
            elif self.pipe.ended:
                break
            elif not self.pipe.reliable and clock() >= again:
                self.send(data)
                interval *= 2
                again = clock() + interval
        return None

    def _arrived(self, frame: bytes) -> SeenMessage | None:
        self._journal.note("← server", frame)
        return SeenMessage.read(frame)

    async def settled(self) -> bool:
        """Have two Binding requests answered, as what was sent before then is, too; False if the server is gone.

        Raises `Untestable` when the server is there and does not answer.
        """
        for _ in range(2):
            if await self.attempt(Draft(Method.BINDING)) is None:
                if self.pipe.ended:
                    return False
                raise Untestable("The server does not answer a Binding request, which shows the end of a silence.")
        return True

    async def reaction(self, data: bytes) -> SeenMessage | None:
        """What the server answers to something that it may have to ignore; None if nothing, or if it hangs up."""
        self.send(data)
        await self.settled()
        for frame in self._inbox:
            reply = SeenMessage.read(frame)
            if reply is not None and reply.transaction_id == data[8:20]:
                return reply
        return None

    async def relayed(self, seconds: float) -> PeerDatagram | None:
        """The next datagram of a peer; None if none comes in time."""
        clock = asyncio.get_running_loop().time
        end = clock() + seconds
        while True:
            while self._inbox:
                found = _relayed(self._inbox.popleft())
                if found is not None:
                    return found
            frame = self.pipe.waiting() or await self.pipe.frame(max(0.0, end - clock()))
            if frame is None:
                return None
            self._journal.note("← server", frame)
            self._inbox.append(frame)

    async def indication(self, method: Method, seconds: float) -> SeenMessage | None:
        """The next indication of a method; None if none comes in time."""
        clock = asyncio.get_running_loop().time
        end = clock() + seconds
        while True:
            while self._inbox:
                found = SeenMessage.read(self._inbox.popleft())
                if found is not None and found.message_class is MessageClass.INDICATION and found.method == method:
                    return found
            frame = self.pipe.waiting() or await self.pipe.frame(max(0.0, end - clock()))
            if frame is None:
                return None
            self._journal.note("← server", frame)
            self._inbox.append(frame)

    def answers_waiting(self, transaction_id: bytes) -> list[SeenMessage]:
        """Further answers to a request that have come so far."""
        while (frame := self.pipe.waiting()) is not None:
            self._arrived(frame)
            self._inbox.append(frame)
        replies = (SeenMessage.read(frame) for frame in self._inbox)
        return [each for each in replies if each is not None and each.transaction_id == transaction_id]

    def _silence(self) -> str:
        return self.pipe.ended or f"nothing in {self.patience:g} s"

    # Credentials

    async def challenged(self, draft: Draft | None = None) -> Challenge:
        """The realm and the nonce of this 5-tuple, by a request without credentials. Raises `Untestable`."""
        if self.challenge is None:
            plain = Draft(Method.ALLOCATE).add(REQUESTED_TRANSPORT, int(TransportProtocol.UDP))
            reply = await self.attempt(draft or plain)
            found = None if reply is None else self.learn(reply)
            if found is None:
                raise Untestable("The server did not ask for credentials with a realm and a nonce.")
        assert self.challenge is not None
        return self.challenge

    def learn(self, reply: SeenMessage) -> Challenge | None:
        """Take over realm and nonce of an answer; None if it has none."""
        realm, nonce = reply.value(REALM), reply.octets(NONCE)
        before = self.challenge
        if nonce is None or (realm is None and before is None):
            return None
        offered = reply.octets(PASSWORD_ALGORITHMS)
        if realm is None or (offered is None and before is not None and reply.code == ErrorCode.STALE_NONCE):
            assert before is not None
            realm, offered = realm or before.realm, offered or before.offered
        self.challenge = Challenge(realm, nonce, offered)
        return self.challenge

    def key(self, mode: str | None = None, login: Login | None = None) -> bytes:
        """The long-term key for a kind of integrity."""
        login = login or self.login
        if login is None or self.challenge is None:
            raise Untestable("There are no credentials (--user).")
        derive = long_term_key_md5 if (mode or self.mode) == SHA1 else long_term_key_sha256
        try:
            return derive(login.username, self.challenge.realm, login.password)
        except InvalidString as error:
            raise Untestable(f"The server's realm cannot be used: {error}.") from error

    def seal(self, mode: str | None = None, login: Login | None = None) -> Seal:
        """The integrity attribute of a kind."""
        key = self.key(mode, login)
        return sealed_sha1(key) if (mode or self.mode) == SHA1 else sealed_sha256(key)

    async def draft(
        self,
        method: int,
        *attributes: Attribute,
        mode: str | None = None,
        login: Login | None = None,
        extra: tuple[Raw, ...] = (),
        fingerprint: bool = False,
    ) -> Draft:
        """A request with credentials, sealed, as it should be; take away or add what is to be tested."""
        made = Draft(method)
        for spec, value in attributes:
            made.add(spec, value)
        made.append(*extra)
        # A connection on which there was an Allocate may be no data connection any more.
        first = Draft(method, items=list(made.items)) if method == Method.CONNECTION_BIND else None
        challenge = await self.challenged(first)
        found = login or self.login
        if found is None:
            raise Untestable("There are no credentials (--user).")
        made.add(USERNAME, found.username).add(REALM, challenge.realm).append((NONCE.number, challenge.nonce))
        if (mode or self.mode) == SHA256:
            made.append((PASSWORD_ALGORITHMS.number, challenge.offered or b""))
            made.append((PASSWORD_ALGORITHM.number, _SHA256_ALGORITHM))
        made.append(self.seal(mode, login))
        return made.append(FINGERPRINT_SEAL) if fingerprint else made

    async def request(self, method: int, *attributes: Attribute, **how: Any) -> SeenMessage:
        """Ask with credentials; a nonce that is stale is replaced once. Raises `Wrong` when no answer comes."""
        return await self._fresh(lambda: self.draft(method, *attributes, **how))

    async def _fresh(self, make: Callable[[], Any]) -> SeenMessage:
        reply = await self.ask(await make())
        if reply.code == ErrorCode.STALE_NONCE and self.learn(reply) is not None:
            reply = await self.ask(await make())
        return reply

    async def prepare(self, what: str, method: int, *attributes: Attribute, **how: Any) -> SeenMessage:
        """The same for a request that only prepares a test: a success. Raises `Untestable`."""
        try:
            reply = await self.request(method, *attributes, **how)
        except Wrong as error:
            raise Untestable(f"{what} is needed, and: {error}") from None
        if not reply.success:
            raise Untestable(f"{what} is needed, and was refused: error {reply.code}.")
        return reply

    # An allocation

    async def allocate(self, *attributes: Attribute, transport: int = TransportProtocol.UDP) -> SeenMessage:
        """An allocation, as preparation. Raises `Untestable`."""
        wanted = ((REQUESTED_TRANSPORT, int(transport)), *attributes)
        reply = await self.prepare("An allocation", Method.ALLOCATE, *wanted)
        self.took(reply)
        if not self.relays:
            raise Untestable("The server's answer to Allocate has no relayed address.")
        return reply

    def took(self, reply: SeenMessage) -> None:
        """Note an allocation that an answer has brought, so that it is deleted in the end."""
        if reply.success:
            self.allocated = True
            self.relays = reply.values(XOR_RELAYED_ADDRESS)
            self.lifetime = reply.value(LIFETIME) or 0

    async def permit(self, *peers: Address) -> SeenMessage:
        """A permission for each of these, as preparation. Raises `Untestable`."""
        wanted = [(XOR_PEER_ADDRESS, peer) for peer in peers]
        return await self.prepare("A permission", Method.CREATE_PERMISSION, *wanted)

    def indicate(self, peer: Address, payload: bytes, *, extra: tuple[Raw, ...] = ()) -> None:
        """A Send indication."""
        draft = Draft(Method.SEND, MessageClass.INDICATION).add(XOR_PEER_ADDRESS, peer)
        self.send(draft.append(*extra).add(DATA, payload).encode())

    def send_channel(self, number: int, payload: bytes) -> None:
        """A ChannelData message."""
        encode = channeldata.encode_padded if self.pipe.reliable else channeldata.encode
        self.send(encode(number, payload))

    async def close(self) -> None:
        """Delete the allocation and close the connection."""
        if self.allocated and not self.pipe.ended:
            try:
                draft = await self.draft(Method.REFRESH, (LIFETIME, 0))
                reply = await self.attempt(draft, min(2.0, self.patience))
                if reply is not None and reply.code == ErrorCode.STALE_NONCE and self.learn(reply) is not None:
                    await self.attempt(await self.draft(Method.REFRESH, (LIFETIME, 0)), min(2.0, self.patience))
            except Untestable:
                pass
        await self.pipe.close()

    @property
    def stream(self) -> StreamPipe:
        """The connection as a stream. Raises `Untestable` for others."""
        if not isinstance(self.pipe, StreamPipe):
            raise Untestable("It is about TCP and TLS.")
        return self.pipe


def _relayed(frame: bytes) -> PeerDatagram | None:
    """A peer's datagram in a frame; None if it is something else."""
    if frame and 0x40 <= frame[0] <= 0x7F and len(frame) >= 4:
        length = int.from_bytes(frame[2:4], "big")
        return PeerDatagram(frame[4 : 4 + length], None, int.from_bytes(frame[:2], "big"))
    reply = SeenMessage.read(frame)
    if reply is None or reply.message_class is not MessageClass.INDICATION or reply.method != Method.DATA:
        return None
    return PeerDatagram(reply.octets(DATA) or b"", reply.value(XOR_PEER_ADDRESS), None)
