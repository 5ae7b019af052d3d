"""SRTP and SRTCP of one connection (RFC 3711, RFC 7714) by libsrtp, in place in the memory of the caller.

Packets are changed where they lie: the public functions of pylibsrtp copy each packet twice and create an object,
which costs as much again as the encryption. They serve as the fall-back where the binding below them is not as
expected.

A repeated sequence number is refused when sending: the same keystream over another header would give the
authentication key away (RFC 7714 §8.1). What was lost is sent again as RTX (RFC 4588), under a number of its own.
"""

from importlib import import_module
from typing import Any, Final, NamedTuple, Protocol, TypeAlias

import pylibsrtp
from pylibsrtp import Policy, Session

__all__ = [
    "MOST_SOURCES",
    "PROFILES",
    "TRAILER",
    "SrtpCipher",
    "SrtpKeys",
    "SrtpPlace",
    "SrtpProfile",
    "SrtpReceiver",
    "SrtpSender",
    "place_of",
    "split_keys",
]

TRAILER: Final = 32
"""Bytes that must be free after a packet: RTCP grows by the index and a tag, 20 with AES-GCM (RFC 7714 §9.2)."""

MOST_SOURCES: Final = 256
"""SSRCs received on one connection. libsrtp keeps about two kilobytes for each that has sent a genuine packet, and the
other side may have as many as it likes. A call with some simulcast tracks and their RTX has twenty."""

_REPLAY_WINDOW: Final = 1024
"""Packets (RFC 3711 §3.3.2). A screen's keyframe can have hundreds, and a reordered one is not a replay."""

_LEAST: Final = 12
_LEAST_RTCP: Final = 8
"""Bytes of the shortest packets that libsrtp is shown: an RTP header, and a report about nothing."""


class SrtpProfile(NamedTuple):
    """A protection profile of DTLS-SRTP: its name in OpenSSL, its number in libsrtp, bytes of key and salt."""

    name: bytes
    number: int
    key: int
    salt: int


PROFILES: Final = (
    SrtpProfile(b"SRTP_AEAD_AES_128_GCM", Policy.SRTP_PROFILE_AEAD_AES_128_GCM, 16, 12),
    SrtpProfile(b"SRTP_AES128_CM_SHA1_80", Policy.SRTP_PROFILE_AES128_CM_SHA1_80, 16, 14),
)
"""RFC 7714 §14.2 and RFC 5764 §4.1.2, the preferred first; the second is what every endpoint has (RFC 8827 §6.5)."""


class SrtpKeys(NamedTuple):
    """Master keys, each with its salt, of what this side sends and of what it receives."""

    profile: SrtpProfile
    sending: bytes
    receiving: bytes

    def __repr__(self) -> str:
        """The profile alone."""
        return f"<SrtpKeys {self.profile.name.decode()}>"


def split_keys(profile: SrtpProfile, material: bytes, *, client: bool) -> SrtpKeys:
    """The keys in ``2 * (key + salt)`` bytes that DTLS has exported (RFC 5764 §4.2); ``client``: this side is that."""
    key, salt = profile.key, profile.salt
    of_client = material[:key] + material[2 * key : 2 * key + salt]
    of_server = material[key : 2 * key] + material[2 * key + salt : 2 * (key + salt)]
    return SrtpKeys(profile, *((of_client, of_server) if client else (of_server, of_client)))


SrtpPlace: TypeAlias = Any
"""Memory as libsrtp takes it, made by `place_of`."""


class SrtpCipher(Protocol):
    """Changes a packet of ``size`` bytes in its place; the new size, or -1 if that is refused.

    The place is not looked at: one in which a packet grows needs `TRAILER` more bytes than that.
    """

    def __call__(self, place: SrtpPlace, size: int) -> int: ...


def _session(keys: SrtpKeys, *, sending: bool) -> Session:
    kind = Policy.SSRC_ANY_OUTBOUND if sending else Policy.SSRC_ANY_INBOUND
    policy = Policy(keys.sending if sending else keys.receiving, kind, 0, keys.profile.number)
    policy.window_size = _REPLAY_WINDOW
    return Session(policy)


def _ciphers(session: Session, *names: str) -> tuple[SrtpCipher, SrtpCipher]:
    """For RTP and for RTCP, by pylibsrtp's functions of these names."""
    make = _copying if _native is None else _in_place
    rtp, rtcp = (make(session, name, least) for name, least in zip(names, (_LEAST, _LEAST_RTCP), strict=True))
    return rtp, rtcp


def _load() -> Any:
    """The binding of pylibsrtp, if it is as it was when this was written."""
    try:
        binding = import_module("._binding", pylibsrtp.__name__)
        binding.ffi.typeof(Session()._srtp[0])
    except (ImportError, AttributeError, TypeError):
        return None
    return binding


_native: Final = _load()


def place_of(memory: bytearray | memoryview) -> SrtpPlace:
    """Memory as the ciphers take it. It is kept as long as its place, and cannot be resized."""
    return memoryview(memory) if _native is None else _native.ffi.from_buffer(memory)


def _in_place(session: Session, name: str, least: int) -> SrtpCipher:
    function = getattr(_native.lib, f"srtp_{name}")
    length = _native.ffi.new("int *")
    context = session._srtp[0]

    def cipher(place: SrtpPlace, size: int, session: Session = session) -> int:
        if size < least:
            return -1
        length[0] = size
        if function(context, place, length):
            return -1
        return length[0]  # type: ignore[no-any-return]

    return cipher


def _copying(session: Session, name: str, least: int) -> SrtpCipher:
    function = getattr(session, name)

    def cipher(place: SrtpPlace, size: int) -> int:
        if size < least:
            return -1
        try:
            changed: bytes = function(bytes(place[:size]))
        except (pylibsrtp.Error, ValueError):
            return -1
        place[: len(changed)] = changed
        return len(changed)

    return cipher


class SrtpSender:
    """Protects what is sent."""

    def __init__(self, keys: SrtpKeys) -> None:
        self.protect_in, self._rtcp = _ciphers(_session(keys, sending=True), "protect", "protect_rtcp")
        """Protect an RTP packet in its place. It is refused if it is none, or its sequence number has been used."""

    def protect(self, packet: bytearray | memoryview, size: int) -> int:
        """Protect a packet of ``size`` bytes, at least `TRAILER` less than its memory has; the new size, or -1.

        Raises ValueError without room.
        """
        if len(packet) - size < TRAILER:
            raise ValueError("no room for an authentication tag")
        return self.protect_in(place_of(packet), size)

    def protect_rtcp(self, packet: bytes) -> bytes | None:
        """The protected form of a compound RTCP packet; None if it is none."""
        memory = bytearray(packet) + bytes(TRAILER)
        size = self._rtcp(place_of(memory), len(packet))
        return bytes(memory[:size]) if size >= 0 else None


class SrtpReceiver:
    """Authenticates and decrypts what is received. ``refused`` counts forged, replayed and surplus packets."""

    def __init__(self, keys: SrtpKeys) -> None:
        self._rtp, self._rtcp = _ciphers(_session(keys, sending=False), "unprotect", "unprotect_rtcp")
        self._sources: set[bytes] = set()
        self.refused = 0

    def unprotect(self, packet: bytearray | memoryview, size: int) -> int:
        """Decrypt an RTP packet of ``size`` bytes, at most the length of its memory; the new size, -1 if refused."""
        return self._take(self._rtp, packet, size, 8)

    def unprotect_rtcp(self, packet: bytearray | memoryview, size: int) -> int:
        """Decrypt a compound RTCP packet likewise."""
        return self._take(self._rtcp, packet, size, 4)

    def _take(self, cipher: SrtpCipher, packet: bytearray | memoryview, size: int, at: int) -> int:
        """The SSRC is at an offset of ``at``, and is not encrypted. A new one counts once its packet is genuine."""
        if not _LEAST <= size <= len(packet):
            self.refused += 1
            return -1
        source = bytes(packet[at : at + 4])
        known = source in self._sources
        if not known and len(self._sources) >= MOST_SOURCES:
            self.refused += 1
            return -1
        decrypted = cipher(place_of(packet), size)
        if decrypted < 0:
            self.refused += 1
        elif not known:
            self._sources.add(source)
        return decrypted
