"""What is agreed on with Chromium and aiortc."""

import pytest

from tests.turnserver.media.test_sdp import CHROMIUM, TRANSPORT, altered
from turnserver.media.negotiation import (
    ABS_SEND_TIME,
    AUDIO_LEVEL,
    ENCODINGS,
    EXTENSION_IDS,
    FORMATS,
    MID,
    RID,
    RTX_TYPES,
    TRANSPORT_CC,
    OfferedMedia,
    answer_publisher,
    offer_to_subscriber,
    read_subscriber,
)
from turnserver.media.sdp import RtpStream, read_description


def test_the_answer_to_chromium() -> None:
    """Sound with its levels, VP8 with RTX in two layers, and no data channel."""
    text, (audio, video) = answer_publisher(read_description(CHROMIUM), TRANSPORT, transport_cc=False)
    assert (audio.format.payload_type, audio.rtx) == (111, None)
    assert audio.extensions == {AUDIO_LEVEL: 1, ABS_SEND_TIME: 2, MID: 4}
    assert audio.streams == (RtpStream(526533568),)
    assert (video.format.encoding, video.format.payload_type, video.rtx) == ("vp8", 96, 97)
    assert video.rids == ("l", "h")
    assert video.extensions[RID] == 10
    assert video.active
    answer = read_description(text)
    assert [(each.mid, each.direction, each.rejected) for each in answer.media] == [
        ("0", "recvonly", False),
        ("1", "recvonly", False),
        ("2", "inactive", True),
    ]
    assert "usedtx=1" in answer.media[0].formats[0].parameters
    assert answer.media[1].rids == ("l", "h")
    assert answer.media[1].formats[0].feedback == ("goog-remb", "ccm fir", "nack", "nack pli")
    assert [each.encoding for each in answer.media[1].formats] == ["vp8", "rtx"]
    assert answer.media[0].reduced_size


def test_what_may_be_asked_for() -> None:
    """Transport-wide feedback; redundant sound (RFC 2198) is never agreed on, although it is offered."""
    offer = read_description(CHROMIUM)
    assert "red" in {each.encoding for each in offer.media[0].formats}
    text, (_, video) = answer_publisher(offer, TRANSPORT)
    assert video.extensions[TRANSPORT_CC] == 3
    answer = read_description(text)
    assert [each.encoding for each in answer.media[0].formats] == ["opus"]
    assert answer.media[1].formats[0].feedback == ("transport-cc", "ccm fir", "nack", "nack pli")
    without, _ = answer_publisher(read_description(altered(TRANSPORT_CC, "urn:unknown")), TRANSPORT)
    assert "goog-remb" in read_description(without).media[1].formats[0].feedback


@pytest.mark.parametrize(("encoding", "payload_type"), [("vp8", 96), ("vp9", 98), ("h264", 108), ("av1", 45)])
def test_every_codec_of_chromium(encoding: str, payload_type: int) -> None:
    """Of the many forms of H.264 and VP9, the one that everybody decodes.

    AV1 without the extension for its layers: nobody renumbers its pictures when a receiver changes to another stream.
    """
    offer = read_description(CHROMIUM)
    _, (audio, video) = answer_publisher(offer, TRANSPORT, encodings=("opus", encoding))
    assert video.format.payload_type == payload_type
    assert not any("dependency-descriptor" in uri for uri in video.extensions)
    assert audio.format.encoding == "opus"


def test_what_nobody_could_be_sent_is_rejected() -> None:
    text, published = answer_publisher(
        read_description(altered("VP8/90000", "VPX/90000")), TRANSPORT, encodings=("vp8",)
    )
    assert published == ()
    numbers = (
        96,
        97,
        102,
        103,
        104,
        107,
        108,
        109,
        114,
        115,
        116,
        117,
        39,
        40,
        45,
        46,
        98,
        99,
        100,
        101,
        118,
        119,
        120,
    )
    assert "a=group" not in text
    assert [each for each in text.split("\r\n") if each.startswith("m=")] == [
        "m=audio 0 UDP/TLS/RTP/SAVPF 111 63 9 0 8 13 110 126",
        f"m=video 0 UDP/TLS/RTP/SAVPF {' '.join(map(str, numbers))}",
        "m=application 0 UDP/DTLS/SCTP webrtc-datachannel",
    ]


def test_one_who_only_receives_here_sends_nothing() -> None:
    text, published = answer_publisher(read_description(altered("^a=sendonly", "a=recvonly")), TRANSPORT)
    assert [each.active for each in published] == [False, False]
    assert text.count("a=inactive") == 3


def test_the_offer_to_a_subscriber() -> None:
    """The same types and ids for everybody; an ended section keeps its place and says nothing else."""
    media = [
        OfferedMedia("0", "opus", RtpStream(1), "anna", "anna-a", "anna"),
        OfferedMedia("1", "vp8", RtpStream(2, 3), "anna", "anna-v", "anna"),
        OfferedMedia("2", "av1", RtpStream(4, 5), "anna.screen", "anna-s", "anna", active=False),
    ]
    offer = read_description(offer_to_subscriber(media, TRANSPORT))
    audio, video, screen = offer.media
    assert [each.payload_type for each in audio.formats] == [111]
    assert {uri: number for number, uri in audio.extensions} == {AUDIO_LEVEL: 1, ABS_SEND_TIME: 2}
    assert video.streams == (RtpStream(2, 3),)
    assert (video.stream_id, video.track_id, video.cname) == ("anna", "anna-v", "anna")
    assert (screen.direction, screen.streams, screen.stream_id) == ("inactive", (), "")
    assert screen.extensions == ((EXTENSION_IDS[ABS_SEND_TIME], ABS_SEND_TIME),)
    with_cc = read_description(offer_to_subscriber(media, TRANSPORT, transport_cc=True))
    assert all(each.extension(TRANSPORT_CC) == EXTENSION_IDS[TRANSPORT_CC] for each in with_cc.media)


def test_payload_types_are_told_apart_on_one_connection() -> None:
    numbers = [*(each.payload_type for each in FORMATS.values()), *RTX_TYPES.values()]
    assert len(set(numbers)) == len(numbers)
    assert set(ENCODINGS) <= set(FORMATS)


def test_what_a_subscriber_takes() -> None:
    answer = read_description(
        offer_to_subscriber([OfferedMedia("0", "vp8", RtpStream(2, 3), "a", "b", "c")], TRANSPORT).replace(
            "a=sendonly", "a=recvonly"
        )
    )
    (taken,) = read_subscriber(answer)
    assert (taken.mid, taken.active, taken.rtx) == ("0", True, True)
    assert taken.extensions == {ABS_SEND_TIME: 2}
    refused = read_description(CHROMIUM)
    assert [each.active for each in read_subscriber(refused)] == [False, False, False]
