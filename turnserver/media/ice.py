"""An ICE-lite agent (RFC 8445 §2.5): it answers connectivity checks and never looks for paths itself.

The other side is a full agent and controls. Each of its checks that carries our password makes a *path*: the address it
came from. The path that it nominates is selected, and a later nomination selects another one, as when a phone leaves
Wi-Fi.

The password does not prove that a check's source address is true, and a lite agent does not find that out by itself: a
participant could have its pictures sent to somebody else. So a path is *proven* before it gets more than three times
the bytes that came from it (the rule of RFC 9000 §8.1): by an answer to a Binding request of ours, which goes out with
each answer until then, or by a DTLS handshake that was completed over it. A path that is nominated later is selected
when it is proven.

Checks are consent, too (RFC 7675): a full agent sends them for as long as it wants media.
"""

import hmac
from base64 import b64encode
from collections.abc import Callable
from typing import Final, NamedTuple

from stun.address import Address
from stun.attributes import (
    ERROR_CODE,
    MESSAGE_INTEGRITY,
    UNKNOWN_ATTRIBUTES,
    USERNAME,
    XOR_MAPPED_ADDRESS,
    AttributeType,
    ErrorValue,
)
from stun.constants import HEADER_LENGTH, TRANSACTION_ID_LENGTH, ErrorCode, MessageClass, Method
from stun.errors import MalformedMessage
from stun.integrity import verify
from stun.message import Message, MessageBuilder

__all__ = [
    "CONSENT_LIFETIME",
    "ICE_CONTROLLED",
    "ICE_CONTROLLING",
    "MOST_PATHS",
    "PRIORITY",
    "USE_CANDIDATE",
    "IceAgent",
    "IceCredentials",
    "IcePath",
    "make_credentials",
    "named_ufrag",
]

CONSENT_LIFETIME: Final = 30.0
"""Seconds without a check after which nothing more is sent (RFC 7675 §5.1)."""

MOST_PATHS: Final = 16
"""Paths of one agent. A browser with four interfaces and two relays makes fewer; only its password makes any."""

AMPLIFICATION: Final = 3
"""Bytes sent for each received, until a path is proven (RFC 9000 §8.1 has the same number and the reason)."""

_MOST_LOOKED_AT: Final = 16
"""Attributes of a check among which USERNAME is looked for. Checks have eight; 370 empty ones fit into a datagram."""

_ROLE_CONFLICT: Final = ErrorValue(487, "Role Conflict")
_OURS: Final = 110 << 24 | 0xFFFF << 8 | 0xFF
"""The priority of a peer-reflexive candidate (RFC 8445 §5.1.2.1, §7.1.1)."""


def _whole(value: int, size: int) -> bytes:
    return value.to_bytes(size, "big")


def _number(number: int, name: str, rfc: str, size: int) -> AttributeType[int]:
    def decode(value: bytes, _: bytes) -> int:
        if len(value) != size:
            raise MalformedMessage(f"{name} is {size} bytes")
        return int.from_bytes(value, "big")

    return AttributeType(number, name, rfc, decode, lambda value, _: _whole(value, size))


PRIORITY: Final = _number(0x0024, "PRIORITY", "RFC 8445 §16.1", 4)
USE_CANDIDATE: Final[AttributeType[bytes]] = AttributeType(
    0x0025, "USE-CANDIDATE", "RFC 8445 §16.1", lambda value, _: value, lambda value, _: value
)
ICE_CONTROLLED: Final = _number(0x8029, "ICE-CONTROLLED", "RFC 8445 §16.1", 8)
ICE_CONTROLLING: Final = _number(0x802A, "ICE-CONTROLLING", "RFC 8445 §16.1", 8)
# They are not in `stun.attributes.REGISTRY`: TURN does not understand them, and says so where it is asked (rule 420).

_UNDERSTOOD: Final = frozenset({USERNAME.number, MESSAGE_INTEGRITY.number, PRIORITY.number, USE_CANDIDATE.number})


class IceCredentials(NamedTuple):
    """The user name fragment and the password of one side (RFC 8445 §5.3)."""

    ufrag: str
    pwd: str

    def __repr__(self) -> str:
        """Without the password."""
        return f"<IceCredentials {self.ufrag}>"


def make_credentials(entropy: Callable[[int], bytes]) -> IceCredentials:
    """Fresh credentials, of 48 and 144 random bits (RFC 8445 §5.3 wants 24 and 128)."""
    return IceCredentials(b64encode(entropy(6)).decode(), b64encode(entropy(18)).decode())


def named_ufrag(datagram: bytes | bytearray | memoryview, size: int) -> bytes | None:
    """Whose agent a Binding request is for: what stands before the colon in its USERNAME; None if there is nothing.

    It reads as little as that takes, since anybody can send these; nothing is verified.
    """
    if size < HEADER_LENGTH or datagram[0] or datagram[1] != Method.BINDING:
        return None
    at = HEADER_LENGTH
    for _ in range(_MOST_LOOKED_AT):
        if at + 4 > size:
            break
        length = datagram[at + 2] << 8 | datagram[at + 3]
        if not datagram[at] and datagram[at + 1] == USERNAME.number:
            name = bytes(datagram[at + 4 : min(at + 4 + length, size)])
            ufrag, colon, _ = name.partition(b":")
            return ufrag if colon else None
        at += 4 + length + (-length & 3)
    return None


class IcePath:
    """One address of the other side, known by a check that carried our password. ``seen`` is the time of the last."""

    __slots__ = ("address", "challenge", "proven", "received", "seen", "sent")

    def __init__(self, address: Address, challenge: bytes, now: float) -> None:
        self.address = address
        self.challenge = challenge
        """The transaction id of our Binding requests on it."""
        self.proven = False
        self.received = self.sent = 0
        self.seen = now

    def allows(self, size: int) -> bool:
        """Whether so many bytes may be sent to it now."""
        return self.proven or self.sent + size <= AMPLIFICATION * self.received


class IceAgent:
    """The lite agent of one connection.

    ``outgoing`` takes what is to be sent, as pairs of bytes and destination. ``entropy`` gives random bytes. ``remote``
    may be None until its description is here: its checks are answered before that (RFC 8445 §7.3), but nothing is
    asked.
    """

    def __init__(
        self,
        local: IceCredentials,
        remote: IceCredentials | None,
        *,
        entropy: Callable[[int], bytes],
        outgoing: list[tuple[bytes | bytearray, Address]],
    ) -> None:
        self.local = local
        self.remote = remote
        self.paths: dict[Address, IcePath] = {}
        self.selected: IcePath | None = None
        self._before: IceCredentials | None = None
        self._nominated: IcePath | None = None
        self._entropy = entropy
        self._tie_breaker = int.from_bytes(entropy(8), "big")
        self._outgoing = outgoing

    @property
    def ufrags(self) -> tuple[str, ...]:
        """By which ufrags its checks name it: two while an ICE restart is under way."""
        return (self.local.ufrag,) if self._before is None else (self.local.ufrag, self._before.ufrag)

    @property
    def consent_until(self) -> float | None:
        """When consent to send on the selected path ends; None without one."""
        return None if self.selected is None else self.selected.seen + CONSENT_LIFETIME

    def restart(self, local: IceCredentials, remote: IceCredentials | None) -> None:
        """Begin an ICE restart (RFC 8445 §9): paths stay as they are until one is nominated by the new credentials."""
        self._before, self.local, self.remote = self.local, local, remote
        self._nominated = None
        for path in self.paths.values():
            path.challenge = self._entropy(TRANSACTION_ID_LENGTH)

    def receive(self, data: bytes, source: Address, now: float) -> None:
        """Take one STUN message; what is not one, or is of no use, is dropped."""
        try:
            message = Message.decode(data)
        except MalformedMessage:
            return
        if message.method != Method.BINDING:
            return
        if message.message_class is MessageClass.REQUEST:
            try:
                self._request(message, source, now)
            except MalformedMessage:
                self._refuse(message, source, ErrorValue(ErrorCode.BAD_REQUEST, ErrorCode.BAD_REQUEST.reason), None)
        elif message.message_class is not MessageClass.INDICATION:
            self._response(message, source)

    def prove(self, path: IcePath) -> None:
        """What came from a path shows that what was sent to it arrives there."""
        path.proven = True
        if path is self._nominated:
            self.selected = path

    def _request(self, message: Message, source: Address, now: float) -> None:
        """RFC 8445 §7.3, with the short-term credentials of RFC 8489 §9.1.3."""
        name = message.first(USERNAME)
        if name is None or message.first(MESSAGE_INTEGRITY) is None:
            self._refuse(message, source, ErrorValue(ErrorCode.BAD_REQUEST, ErrorCode.BAD_REQUEST.reason), None)
            return
        used = self._named(name)
        if used is None or not verify(message, used.pwd.encode()):
            refusal = ErrorValue(ErrorCode.UNAUTHENTICATED, ErrorCode.UNAUTHENTICATED.reason)
            self._refuse(message, source, refusal, None)
            return
        key = used.pwd.encode()
        unknown = message.unknown_required(_UNDERSTOOD)
        if unknown:
            refusal = ErrorValue(ErrorCode.UNKNOWN_ATTRIBUTE, ErrorCode.UNKNOWN_ATTRIBUTE.reason)
            self._refuse(message, source, refusal, key, unknown)
            return
        if message.first(ICE_CONTROLLED) is not None:
            self._refuse(message, source, _ROLE_CONFLICT, key)  # a lite agent never controls a full one (§6.1.1)
            return
        if message.first(PRIORITY) is None:
            self._refuse(message, source, ErrorValue(ErrorCode.BAD_REQUEST, ErrorCode.BAD_REQUEST.reason), key)
            return
        path = self._path(source, now)
        path.received += len(message.raw)
        builder = MessageBuilder(Method.BINDING, MessageClass.SUCCESS, message.transaction_id)
        self._send(builder.add(XOR_MAPPED_ADDRESS, source).integrity(key).fingerprint().build(), path)
        if message.first(USE_CANDIDATE) is not None and used is self.local:
            self._nominate(path)
        self._challenge(path)

    def _named(self, name: str) -> IceCredentials | None:
        """Which credentials of ours a check uses: the part before the colon names them."""
        ufrag, colon, _ = name.partition(":")
        for own in (self.local, self._before):
            if own is not None and colon and hmac.compare_digest(ufrag.encode(), own.ufrag.encode()):
                return own
        return None

    def _path(self, source: Address, now: float) -> IcePath:
        path = self.paths.get(source)
        if path is None:
            if len(self.paths) >= MOST_PATHS:
                spare = [each for each in self.paths.values() if each is not self.selected]
                del self.paths[min(spare, key=lambda each: each.seen).address]
            path = self.paths[source] = IcePath(source, self._entropy(TRANSACTION_ID_LENGTH), now)
        path.seen = now
        return path

    def _nominate(self, path: IcePath) -> None:
        self._nominated = path
        self._before = None
        if path.proven or self.selected is None:
            self.selected = path

    def _challenge(self, path: IcePath) -> None:
        """Ask for a proof; a lost request is repeated with the next check."""
        remote = self.remote
        if path.proven or remote is None:
            return
        builder = MessageBuilder(Method.BINDING, MessageClass.REQUEST, path.challenge)
        builder.add(USERNAME, f"{remote.ufrag}:{self.local.ufrag}").add(PRIORITY, _OURS)
        builder.add(ICE_CONTROLLED, self._tie_breaker)
        request = builder.integrity(remote.pwd.encode()).fingerprint().build()
        if path.allows(len(request)):
            self._send(request, path)

    def _response(self, message: Message, source: Address) -> None:
        """An answer proves the path that it comes from, whatever it says."""
        path = self.paths.get(source)
        if path is None or self.remote is None or not hmac.compare_digest(path.challenge, message.transaction_id):
            return
        if verify(message, self.remote.pwd.encode()):
            self.prove(path)

    def _send(self, data: bytes, path: IcePath) -> None:
        path.sent += len(data)
        self._outgoing.append((data, path.address))

    def _refuse(
        self,
        message: Message,
        source: Address,
        refusal: ErrorValue,
        key: bytes | None,
        unknown: tuple[int, ...] = (),
    ) -> None:
        """An error response, which is hardly longer than the request (RFC 8489 §6.3.1, §9.1.3)."""
        builder = MessageBuilder(Method.BINDING, MessageClass.ERROR, message.transaction_id)
        builder.add(ERROR_CODE, refusal)
        if unknown:
            builder.add(UNKNOWN_ATTRIBUTES, unknown)
        if key is not None:
            builder.integrity(key)
        answer = builder.fingerprint().build()
        if len(answer) <= AMPLIFICATION * len(message.raw):
            self._outgoing.append((answer, source))
