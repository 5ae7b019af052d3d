"""Session descriptions: whatever is read is answered with a description that is read as the same."""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from stun.address import Address
from turnserver.media.dtls import Fingerprint
from turnserver.media.ice import IceCredentials
from turnserver.media.negotiation import OfferedMedia, answer_publisher, offer_to_subscriber, read_subscriber
from turnserver.media.sdp import LocalTransport, RtpStream, SdpError, read_description

__all__ = ["MAX_LENGTH", "WORDS", "run", "seeds"]

MAX_LENGTH = 8000
WORDS = (
    b"\r\na=mid:",
    b"\r\nm=video 9 UDP/TLS/RTP/SAVPF 96",
    b"\r\na=rtpmap:96 VP8/90000",
    b"\r\na=fmtp:97 apt=96",
    b"\r\na=rtcp-fb:* nack",
    b"\r\na=extmap:1 urn:",
    b"\r\na=simulcast:send l;~h,m",
    b"\r\na=rid:l send",
    b"\r\na=ssrc-group:FID 1 2",
    b"\r\na=ssrc:1 cname:c",
    b"\r\na=bundle-only",
    b"\r\na=rtcp-mux",
    b"\r\na=setup:actpass",
)
_DESCRIPTIONS = Path(__file__).parents[2] / "turnserver" / "media" / "descriptions"
_TRANSPORT = LocalTransport(
    IceCredentials("abcd1234", "p" * 24),
    Fingerprint("sha-256", bytes(32)),
    (Address(b"\x7f\0\0\1", 9),),
    "passive",
    1,
    1,
)


def seeds() -> Iterator[bytes]:
    """An offer of Chromium, its sections alone, and an offer and an answer of ours."""
    chromium = (_DESCRIPTIONS / "chromium.sdp").read_bytes()
    yield chromium
    session, *sections = chromium.split(b"m=")
    for section in sections:
        yield session + b"m=" + section
    yield answer_publisher(read_description(chromium.decode()), _TRANSPORT)[0].encode()
    offered = [
        OfferedMedia("0", "opus", RtpStream(1), "a", "b", "c"),
        OfferedMedia("1", "vp8", RtpStream(2, 3), "", "", ""),
    ]
    yield offer_to_subscriber(offered, _TRANSPORT).encode()


def run(data: bytes) -> None:
    """Only `SdpError` is raised; an answer has the sections of its offer, and nobody else's lines."""
    text = data.decode("utf-8", "replace")
    with suppress(SdpError):
        offer = read_description(text)
        read_subscriber(offer)
        answer, published = answer_publisher(offer, _TRANSPORT)
        lines = answer.split("\r\n")
        assert lines[-1] == ""
        assert all(line[1:2] == "=" and line.isprintable() for line in lines[:-1])
        assert sum(line.startswith("m=") for line in lines) == len(offer.media)
        assert len(answer) < 4 * len(text) + 2000 * (1 + len(offer.media))
        if published:
            again = read_description(answer)
            assert [each.mid for each in again.media] == [each.mid for each in offer.media]
            assert [each.mid for each in again.media if not each.rejected] == [each.mid for each in published]
            assert again.credentials == _TRANSPORT.credentials
