"""Packets protected and unprotected in place; pylibsrtp's own functions are the other side."""

import os
import struct

import pytest
from pylibsrtp import Error, Policy, Session

from turnserver.media import srtp
from turnserver.media.srtp import (
    MOST_SOURCES,
    PROFILES,
    TRAILER,
    SrtpKeys,
    SrtpProfile,
    SrtpReceiver,
    SrtpSender,
    split_keys,
)


def rtp(sequence: int, ssrc: int = 5, payload: bytes = b"payload") -> bytes:
    return struct.pack("!BBHII", 0x80, 96, sequence, 1000, ssrc) + payload


RTCP = struct.pack("!BBHI", 0x80, 201, 1, 5)


@pytest.fixture(params=PROFILES, ids=lambda profile: profile.name.decode())
def keys(request: pytest.FixtureRequest) -> SrtpKeys:
    profile: SrtpProfile = request.param
    size = profile.key + profile.salt
    return SrtpKeys(profile, os.urandom(size), os.urandom(size))


@pytest.fixture(params=["in place", "copying"], autouse=True)
def binding(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both ways to libsrtp. Here the fast one is at hand, or nothing would be measured of what is served."""
    assert srtp._native is not None
    if request.param == "copying":
        monkeypatch.setattr(srtp, "_native", None)


def other_way(keys: SrtpKeys) -> SrtpKeys:
    return keys._replace(sending=keys.receiving, receiving=keys.sending)


def theirs(keys: SrtpKeys, kind: int) -> Session:
    return Session(Policy(keys.sending, kind, 0, keys.profile.number))


def room(packet: bytes) -> bytearray:
    return bytearray(packet) + bytes(TRAILER)


def test_what_is_sent_is_read_by_the_other_side(keys: SrtpKeys) -> None:
    sender = SrtpSender(keys)
    memory = room(rtp(1))
    size = sender.protect(memory, len(rtp(1)))
    assert size > len(rtp(1))
    session = theirs(keys, Policy.SSRC_ANY_INBOUND)
    assert session.unprotect(bytes(memory[:size])) == rtp(1)
    protected = sender.protect_rtcp(RTCP)
    assert protected is not None
    assert session.unprotect_rtcp(protected) == RTCP


def test_what_is_received(keys: SrtpKeys) -> None:
    """Once: a replay is refused, and so are a changed packet, one with other keys, and one that is none."""
    receiver = SrtpReceiver(other_way(keys))
    session = theirs(keys, Policy.SSRC_ANY_OUTBOUND)
    protected = session.protect(rtp(1))
    for wanted in (len(rtp(1)), -1):
        memory = bytearray(protected)
        assert receiver.unprotect(memoryview(memory), len(memory)) == wanted
        assert wanted < 0 or memory[:wanted] == rtp(1)
    changed = bytearray(session.protect(rtp(2)))
    changed[13] ^= 1
    assert receiver.unprotect(changed, len(changed)) == -1
    foreign = SrtpReceiver(other_way(SrtpKeys(keys.profile, keys.receiving, keys.sending)))
    assert foreign.unprotect(bytearray(session.protect(rtp(3))), len(protected)) == -1
    rtcp = bytearray(session.protect_rtcp(RTCP))
    assert receiver.unprotect_rtcp(rtcp, len(rtcp)) == len(RTCP)
    assert rtcp[: len(RTCP)] == RTCP
    for size in range(30):
        assert receiver.unprotect(bytearray(b"\x80" * size), size) == -1
        assert receiver.unprotect_rtcp(bytearray(b"\x80" * size), size) == -1
    assert receiver.unprotect(bytearray(20), 21) == -1, "no size is believed that the memory does not have"
    assert receiver.refused == 2 + 61


def test_no_sequence_number_is_sent_twice(keys: SrtpKeys) -> None:
    """The keystream would be the same; a late one of the past is sent."""
    sender = SrtpSender(keys)
    assert sender.protect(room(rtp(2)), len(rtp(2))) > 0
    assert sender.protect(room(rtp(2, payload=b"another")), len(rtp(2))) == -1
    assert sender.protect(room(rtp(1)), len(rtp(1))) > 0
    assert sender.protect(room(b"\x80" * 8), 8) == -1
    assert sender.protect_rtcp(b"\x80" * 4) is None
    with pytest.raises(ValueError, match="no room"):
        sender.protect(bytearray(rtp(3)), len(rtp(3)))


def test_a_thousand_packets_may_be_reordered(keys: SrtpKeys) -> None:
    sender, receiver = SrtpSender(keys), SrtpReceiver(other_way(keys))
    packets = []
    for sequence in range(65_000, 66_000):
        memory = room(rtp(sequence & 0xFFFF))
        packets.append(memory[: sender.protect(memory, len(rtp(0)))])
    for packet in [packets[0], *reversed(packets[1:])]:
        assert receiver.unprotect(packet, len(packet)) == len(rtp(0))


def test_sources_are_bounded(keys: SrtpKeys) -> None:
    """Only genuine packets count."""
    receiver = SrtpReceiver(other_way(keys))
    for ssrc in range(MOST_SOURCES + 9):
        forged = bytearray(rtp(1, ssrc, bytes(30)))
        assert receiver.unprotect(forged, len(forged)) == -1
    session = theirs(keys, Policy.SSRC_ANY_OUTBOUND)
    taken = []
    for ssrc in range(MOST_SOURCES + 9):
        packet = bytearray(session.protect(rtp(1, ssrc)))
        taken.append(receiver.unprotect(packet, len(packet)) > 0)
    assert taken == [True] * MOST_SOURCES + [False] * 9
    again = bytearray(session.protect(rtp(2, 0)))
    assert receiver.unprotect(again, len(again)) > 0


def test_keys_are_split_as_the_rfc_says() -> None:
    """RFC 5764 §4.2: client key, server key, client salt, server salt."""
    profile = PROFILES[0]
    material = b"C" * 16 + b"S" * 16 + b"c" * 12 + b"s" * 12
    client = split_keys(profile, material, client=True)
    assert client == (profile, b"C" * 16 + b"c" * 12, b"S" * 16 + b"s" * 12)
    assert split_keys(profile, material, client=False) == other_way(client)
    assert "C" * 16 not in repr(client)
    with pytest.raises((ValueError, Error)):
        SrtpSender(SrtpKeys(profile, b"short", b"short"))
