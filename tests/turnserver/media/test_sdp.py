"""Descriptions of Chromium and aiortc, and such as nobody should send."""

import random
import re
from pathlib import Path

import pytest
from aiortc import RTCPeerConnection
from aiortc.sdp import SessionDescription as AiortcDescription

from stun.address import Address
from turnserver.media.dtls import Fingerprint
from turnserver.media.ice import IceCredentials
from turnserver.media.sdp import (
    MAX_DESCRIPTION,
    MOST_SECTIONS,
    LocalTransport,
    MediaDescription,
    PayloadFormat,
    RtpStream,
    SdpError,
    read_description,
    write_description,
)

CHROMIUM = (Path(__file__).parent / "descriptions" / "chromium.sdp").read_text(encoding="utf-8")
TRANSPORT = LocalTransport(
    IceCredentials("abcd1234", "p" * 24),
    Fingerprint("sha-256", bytes(range(32))),
    (Address.parse("192.0.2.7", 5000), Address.parse("2001:db8::7", 5000)),
    "passive",
    17,
    1,
)


def test_chromium() -> None:
    """Sound, simulcast and a data channel, as Chromium 156 offers them."""
    offer = read_description(CHROMIUM)
    assert offer.credentials == IceCredentials("W0o8", "4GdikQHLWJJFIrcg9TfAqNg3")
    assert [each.algorithm for each in offer.fingerprints] == ["sha-256"]
    assert offer.fingerprints[0].value[:3] == b"\xfe\x9b\x63"
    assert offer.setup == "actpass"
    assert offer.our_role == "server"
    audio, video, data = offer.media
    assert (audio.kind, audio.mid, audio.direction) == ("audio", "0", "sendonly")
    assert audio.formats[0] == PayloadFormat(111, "opus", 48000, 2, "minptime=10;useinbandfec=1", ("transport-cc",))
    assert audio.formats[1].encoding == "red"
    assert audio.streams == (RtpStream(526533568),)
    assert audio.stream_id == "e06016ee-294a-45db-a20f-b236bff04caf"
    assert audio.cname == "tY9JvTmmrLE80eIW"
    assert audio.extension("urn:ietf:params:rtp-hdrext:ssrc-audio-level") == 1
    assert audio.extension("urn:3gpp:video-orientation") == 0
    assert video.rids == ("l", "h")
    assert video.streams == ()
    assert video.formats[1].parameter("apt") == "96"
    assert "nack pli" in video.formats[0].feedback
    assert data.kind is None
    assert data.head == ("application", "UDP/DTLS/SCTP webrtc-datachannel")


async def test_aiortc() -> None:
    """RTX by SSRC, and three fingerprints."""
    pc = RTCPeerConnection()
    pc.addTransceiver("audio")
    pc.addTransceiver("video")
    await pc.setLocalDescription(await pc.createOffer())
    text = pc.localDescription.sdp
    await pc.close()
    offer = read_description(text)
    assert [each.kind for each in offer.media] == ["audio", "video"]
    assert [each.algorithm for each in offer.fingerprints] == ["sha-256", "sha-384", "sha-512"]
    pair = re.search(r"a=ssrc-group:FID (\d+) (\d+)", text)
    assert pair is not None
    assert offer.media[1].streams == (RtpStream(int(pair[1]), int(pair[2])),)


def written() -> list[MediaDescription]:
    vp8 = PayloadFormat(96, "vp8", 90000, 1, "", ("nack", "nack pli"))
    rtx = PayloadFormat(97, "rtx", 90000, 1, "apt=96")
    opus = PayloadFormat(111, "opus", 48000, 2, "useinbandfec=1")
    return [
        MediaDescription("audio", "0", "sendonly", (opus,), ((1, "urn:x"),), (), (RtpStream(5),), "s", "t", "c"),
        MediaDescription(None, "1", "inactive", rejected=True, head=("application", "UDP/DTLS/SCTP {0.kind}")),
        MediaDescription(
            "video", "2", "sendonly", (vp8, rtx), (), (), (RtpStream(7, 8),), "s", "v", "c", reduced_size=True
        ),
        MediaDescription("video", "3", "inactive", (vp8,)),
    ]


def test_what_is_written_is_read_as_the_same() -> None:
    """By this module, and by aiortc. What was rejected keeps its place and its protocol."""
    text = write_description(written(), TRANSPORT)
    assert "m=application 0 UDP/DTLS/SCTP {0.kind}\r\n" in text
    again = read_description(text)
    assert again.lite
    assert again.credentials == TRANSPORT.credentials
    assert again.fingerprints == (TRANSPORT.fingerprint,)
    assert again.our_role == "client"
    for before, after in zip(written(), again.media, strict=True):
        assert after.rejected == before.rejected
        if not before.rejected:
            compared = ("kind", "mid", "direction", "formats", "extensions", "streams", "stream_id", "reduced_size")
            assert [getattr(after, name) for name in compared] == [getattr(before, name) for name in compared]
    theirs = AiortcDescription.parse(text)
    assert [each.kind for each in theirs.media] == ["audio", "application", "video", "video"]
    assert [each.ip for each in theirs.media[0].ice_candidates] == ["192.0.2.7", "2001:db8::7"]
    assert theirs.media[0].dtls.fingerprints[0].value == str(TRANSPORT.fingerprint).partition(" ")[2]
    assert theirs.media[2].ssrc_group[0].items == [7, 8]


def test_simulcast_both_ways() -> None:
    vp8 = PayloadFormat(96, "vp8", 90000)
    for direction, way in (("recvonly", "recv"), ("sendonly", "send")):
        text = write_description([MediaDescription("video", "0", direction, (vp8,), rids=("l", "h"))], TRANSPORT)
        assert f"a=simulcast:{way} l;h\r\n" in text
        assert read_description(text).media[0].rids == ("l", "h")


def altered(pattern: str, replacement: str) -> str:
    text, count = re.subn(pattern, replacement, CHROMIUM, flags=re.MULTILINE)
    assert count
    return text


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "v=0"),
        ("v=1\r\n", "v=0"),
        ("v=0\r\ns=-\r\n", "no media section"),
        ("v=0\r\n" + "x" * MAX_DESCRIPTION, "too long"),
        ("v=0\r\n" + "\n" * 20_000, "too many lines"),
        ("v=0\r\n" + "m=audio 9 UDP/TLS/RTP/SAVPF 0\r\na=mid:0\r\n" * (MOST_SECTIONS + 1), "media sections"),
        (altered("^a=mid:1", "a=mid:0"), "a mid twice"),
        (altered("^a=mid:1", "a=mid:a b"), "without a mid"),
        (altered("^a=mid:1", "a=mid:" + "m" * 300), "without a mid"),
        (altered("^a=group.*", "a=group:BUNDLE 0 2"), "outside of BUNDLE"),
        (altered("^a=rtcp-mux", "a=rtcp-no"), "without rtcp-mux"),
        (altered("^a=group:.*", "a=group:"), "BUNDLE"),
        (altered("^a=ice-pwd:.*", "a=ice-pwd:short"), "credentials that are none"),
        (altered("^a=ice-ufrag:.*", "a=ice-ufrag:a:bc"), "credentials that are none"),
        (altered("^a=ice-ufrag:.*", "a=none"), "no ICE credentials"),
        (altered("^a=fingerprint:sha-256", "a=fingerprint:sha-1"), "no fingerprint"),
        (altered("^a=fingerprint:sha-256 FE:", "a=fingerprint:sha-256 XE:"), "a fingerprint that is none"),
        (altered("^a=setup:actpass", "a=setup:holdconn"), "no a=setup"),
        (altered("^a=rtpmap:111 opus/48000/2", "a=rtpmap:111 opus/99999999/2"), "out of range"),
        (altered("^a=extmap:1 ", "a=extmap:99999 "), "out of range"),
        (altered("^a=ssrc:526533568 ", "a=ssrc:4294967296 "), "out of range"),
        (altered("^a=rid:l send", "\n".join(f"a=rid:r{n} send" for n in range(17))), "more than 16 a=rid"),
        (altered("^a=fmtp:111 .*", "a=fmtp:111 " + "x" * 2000), "too long"),
        (altered("^a=fmtp:111 ", "a=fmtp:111 \x1b"), "not text"),
        (altered("^a=msid:.*", "a=msid:" + "s" * 300 + " t"), "a=msid"),
        (altered("^a=mid:1", "nonsense"), "a line that is none"),
    ],
    ids=lambda part: part[:24] if len(part) < 40 else "text",
)
def test_what_cannot_be_used(text: str, reason: str) -> None:
    with pytest.raises(SdpError, match=re.escape(reason)):
        read_description(text)


def test_any_damage_is_an_error_of_ours_or_harmless() -> None:
    """Bytes of an offer are changed, left out and repeated; what is still read can be written again."""
    choose = random.Random(5)
    read = 0
    for _ in range(800):
        text = list(CHROMIUM)
        for _ in range(choose.randrange(1, 6)):
            at = choose.randrange(len(text))
            text[at : at + choose.randrange(3)] = choose.choices("\r\n: ;=a0{}\x00é~,/", k=choose.randrange(3))
        try:
            offer = read_description("".join(text))
        except SdpError:
            continue
        read += 1
        again = write_description([each for each in offer.media if each.kind is not None], TRANSPORT)
        assert all(line[1:2] == "=" for line in again.split("\r\n")[:-1])
    assert read > 80


def test_candidates_are_where_clients_look_for_them_and_nowhere_else() -> None:
    """RFC 9143 §7.1.3: in the first section that is not rejected; aiortc looks in the last one."""
    sections = [
        MediaDescription(
            "audio", str(number), "sendonly", (PayloadFormat(111, "opus", 48_000, 2),), rejected=number in {0, 5}
        )
        for number in range(6)
    ]
    written = write_description(sections, TRANSPORT).split("\r\nm=")[1:]
    assert ["a=candidate" in each for each in written] == [False, True, False, False, True, False]
