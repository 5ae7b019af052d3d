"""Which packet of a publish connection belongs to what, and what the publisher is told."""

from collections.abc import Mapping

from tests.support.media_world import Encoder, Sink, entropy, header_of, voice
from turnserver.media.codecs import CODECS
from turnserver.media.facts import TrackSource
from turnserver.media.forwarder import SEND_TIME, Forwarder, StreamIdentity, send_time
from turnserver.media.negotiation import (
    ABS_SEND_TIME,
    AUDIO_LEVEL,
    FORMATS,
    MID,
    REPAIRED_RID,
    RID,
    TRANSPORT_CC,
    PublishedMedia,
)
from turnserver.media.publisher import FEEDBACK_INTERVAL, MOST_ROUTES, REPORT_INTERVAL, Publisher
from turnserver.media.rtcp import Nack, Pli, ReceiverReport, Remb, SenderReport, TransportFeedback
from turnserver.media.rtp import build_packet, find_extension
from turnserver.media.sdp import RtpStream
from turnserver.media.subscriber import Subscriber

IDS = {MID: 9, RID: 10, REPAIRED_RID: 11, ABS_SEND_TIME: 12, AUDIO_LEVEL: 13}


def audio(mid: str = "0", streams: tuple[RtpStream, ...] = (RtpStream(500),)) -> PublishedMedia:
    """A microphone whose SSRC is in the description."""
    return PublishedMedia(mid, "audio", FORMATS["opus"], None, IDS, (), streams, "s", "a", True)


def video(
    mid: str = "1",
    rids: tuple[str, ...] = (),
    streams: tuple[RtpStream, ...] = (),
    extensions: Mapping[str, int] = IDS,
    active: bool = True,
) -> PublishedMedia:
    """A camera, by rids or by SSRCs."""
    return PublishedMedia(mid, "video", FORMATS["vp8"], 97, extensions, rids, streams, "s", "v", active)


def receiver(publisher: Publisher, mid: str, rid: str) -> tuple[Forwarder, Sink]:
    """Somebody who gets a layer of a track."""
    sink = Sink()
    forwarder = Forwarder(
        Subscriber("bob", sink, entropy), CODECS["vp8"], StreamIdentity(7000, 96, 7001, 97), entropy(6)
    )
    publisher.tracks[mid].take(forwarder, rid, 0.0)
    return forwarder, sink


def give(publisher: Publisher, packets: list[bytearray], now: float = 0.0) -> list[bytearray]:
    """The publisher sends packets; what others are sent for them."""
    for each in packets:
        publisher.receive(each, len(each), header_of(each), now)
    owners = {forwarder.owner for track in publisher.tracks.values() for forwarder in track.targets}
    return [each.packet for owner in owners for each in owner.sink.take()]


def encoder(ssrc: int, **texts: str) -> Encoder:
    """An encoder whose packets carry ids."""
    made = Encoder(ssrc)
    names = {"mid": MID, "rid": RID}
    made.extensions = {IDS[names[name]]: text.encode() for name, text in texts.items()}
    made.extensions[IDS[ABS_SEND_TIME]] = bytes(3)
    return made


def test_streams_are_known_by_their_ssrcs_where_the_description_has_them() -> None:
    publisher = Publisher("alice", 0.0)
    begun, ended = publisher.describe([audio(), video(streams=(RtpStream(600, 601),))], {}, 0.0)
    assert [(track.source, track.name) for track in begun] == [("audio", "alice"), ("camera", "alice")]
    assert ended == []
    receiver(publisher, "1", "")
    assert len(give(publisher, Encoder(600).frame(key=True))) == 1
    assert give(publisher, Encoder(602).frame(key=True)) == [], "none of the SSRCs that were named"
    assert publisher.unknown == 1


def test_layers_are_known_by_the_ids_in_their_first_packets() -> None:
    """RFC 8852, RFC 9143 §9.2."""
    publisher = Publisher("alice", 0.0)
    publisher.describe([audio(), video(rids=("l", "h"))], {}, 0.0)
    named, unnamed = encoder(1, mid="1", rid="h"), Encoder(1)
    receiver(publisher, "1", "h")
    assert give(publisher, unnamed.frame(key=True)) == [], "late ids: Firefox sends them after a while"
    assert len(give(publisher, named.frame(key=True))) == 1
    unnamed.sequence = named.sequence
    assert len(give(publisher, unnamed.frame())) == 1
    assert give(publisher, encoder(2, mid="1", rid="x").frame(key=True)) == []
    assert give(publisher, encoder(3, mid="7", rid="l").frame(key=True)) == []
    assert set(publisher.tracks["1"].streams) == {"h"}


def test_ids_of_extensions_become_ours_and_others_are_not_passed_on() -> None:
    publisher = Publisher("alice", 0.0)
    publisher.describe([video(rids=("l",))], {}, 0.0)
    receiver(publisher, "1", "l")
    (out,) = give(publisher, encoder(1, mid="1", rid="l").frame(key=True), 1.5)
    found = find_extension(out, header_of(out), SEND_TIME)
    assert found is not None
    assert out[found[0] : found[0] + 3] == send_time(1.5)
    assert all(find_extension(out, header_of(out), number) is None for number in IDS.values())


def test_what_came_as_rtx_is_forwarded_as_what_it_repeats() -> None:
    """RFC 4588 §4."""
    publisher = Publisher("alice", 0.0)
    publisher.describe([video(rids=("l",))], {}, 0.0)
    receiver(publisher, "1", "l")
    source = encoder(1, mid="1", rid="l")
    give(publisher, source.frame(key=True))
    (lost,) = source.frame()
    give(publisher, source.frame())
    header = header_of(lost)
    payload = header.sequence.to_bytes(2, "big") + bytes(lost[header.payload :])
    rtx = build_packet(
        payload_type=97,
        sequence=3,
        timestamp=header.timestamp,
        ssrc=9,
        payload=payload,
        marker=True,
        extensions={IDS[MID]: b"1", IDS[REPAIRED_RID]: b"l"},
    )
    (out,) = give(publisher, [rtx])
    read = header_of(out)
    assert read.payload_type == 96
    assert out[read.payload :] == lost[header.payload :] or len(out) - read.payload == len(lost) - header.payload
    padding = build_packet(payload_type=97, sequence=4, timestamp=0, ssrc=9, padding=200)
    assert give(publisher, [padding]) == []


def test_what_is_missing_is_asked_for_and_so_are_keyframes() -> None:
    publisher = Publisher("alice", 0.0)
    publisher.describe([video(streams=(RtpStream(600, 601),))], {}, 0.0)
    source = Encoder(600)
    give(publisher, source.frame())
    lost = source.frame()
    give(publisher, source.frame())
    receiver(publisher, "1", "")
    told = publisher.feedback(0.5)
    assert [each.sequences for each in told if isinstance(each, Nack)] in (
        [[header_of(lost[0]).sequence]],
        [(header_of(lost[0]).sequence,)],
    )
    assert [each.media for each in told if isinstance(each, Pli)] == [600]
    assert publisher.tracks["1"].streams[""].nacks == 1


def test_reports_come_every_second_with_a_bitrate_for_whoever_estimates_nothing_itself() -> None:
    publisher = Publisher("alice", 0.0)
    publisher.describe([audio(), video(streams=(RtpStream(600, 601),))], {}, 0.0)
    give(publisher, [voice(1), *Encoder(600).frame(key=True)])
    assert publisher.feedback(REPORT_INTERVAL / 2) == []
    report, remb = publisher.feedback(REPORT_INTERVAL)
    assert isinstance(report, ReceiverReport)
    assert {block.ssrc for block in report.blocks} == {500, 600}
    assert isinstance(remb, Remb)
    assert tuple(remb.ssrcs) == (600,)


def test_arrivals_of_all_streams_are_told_to_whoever_numbers_them() -> None:
    """draft-holmer-rmcat-transport-wide-cc-extensions-01."""
    publisher = Publisher("alice", 0.0)
    publisher.describe([video(streams=(RtpStream(600, 601),), extensions={TRANSPORT_CC: 5})], {}, 0.0)
    source = Encoder(600)
    for number in (65534, 65535, 1):
        source.extensions = {5: number.to_bytes(2, "big")}
        give(publisher, source.frame(), 1.0 + number / 1e6)
    (feedback,) = [each for each in publisher.feedback(1.0 + FEEDBACK_INTERVAL) if isinstance(each, TransportFeedback)]
    assert feedback.media == 600, "Chromium ignores reports about SSRCs that it does not have"
    assert not [each for each in publisher.feedback(1.0 + 2 * FEEDBACK_INTERVAL) if isinstance(each, TransportFeedback)]
    assert not [each for each in publisher.feedback(9.0) if isinstance(each, Remb)]


def test_levels_of_the_microphone_are_read() -> None:
    publisher = Publisher("alice", 0.0)
    publisher.describe([audio()], {}, 0.0)
    give(publisher, [voice(1, level=33, level_id=13)])
    assert publisher.take_level() == 33
    assert publisher.take_level() is None


def test_sender_reports_reach_the_stream_that_they_are_about() -> None:
    publisher = Publisher("alice", 0.0)
    publisher.describe([video(streams=(RtpStream(600, 601),))], {}, 0.0)
    ours, other = SenderReport(600, 1, 2, 3, 4, ()), SenderReport(999, 1, 2, 3, 4, ())
    stream = publisher.tracks["1"].streams[""]
    assert publisher.reports([ours, other], 1.0) == [(stream, ours)]
    later = SenderReport(600, 5, 6, 7, 8, ())
    assert publisher.reports([ours] * 50 + [later], 2.0) == [(stream, later)], "each is sent on to everybody"


def test_sections_come_and_go_and_say_what_they_are() -> None:
    publisher = Publisher("alice", 0.0)
    publisher.describe([audio(), video()], {}, 0.0)
    camera = publisher.tracks["1"]
    sources: dict[str, TrackSource] = {"2": "screen", "3": "screen_audio", "0": "camera"}
    begun, ended = publisher.describe([audio(), video(), video("2"), audio("3", ())], sources, 1.0)
    assert [(track.source, track.name) for track in begun] == [
        ("screen", "alice.screen"),
        ("screen_audio", "alice.screen"),
    ]
    assert ended == []
    assert publisher.tracks["1"] is camera
    begun, ended = publisher.describe([audio(), video(active=False), video("2")], sources, 2.0)
    assert (begun, [track.source for track in ended]) == ([], ["camera", "screen_audio"])


def test_a_source_is_published_once() -> None:
    publisher = Publisher("alice", 0.0)
    begun, _ = publisher.describe([video("1"), video("2"), audio("3"), audio("4", ())], {}, 0.0)
    assert [track.mid for track in begun] == ["1", "3"]


def test_ssrcs_are_bounded() -> None:
    publisher = Publisher("alice", 0.0)
    publisher.describe([video(rids=("l",))], {}, 0.0)
    for ssrc in range(1000, 1000 + 3 * MOST_ROUTES):
        give(publisher, encoder(ssrc, mid="1", rid="l").frame(key=True))
    assert publisher.unknown == 2 * MOST_ROUTES


def test_what_a_publisher_may_leave_behind_is_bounded() -> None:
    """SSRCs that take each other's place: what was kept of the one before is forgotten, and it does not come back."""
    publisher = Publisher("alice", 0.0)
    publisher.describe([video(rids=("l",))], {}, 0.0)
    forwarder, _ = receiver(publisher, "1", "l")
    seen = []
    for ssrc in range(1000, 1000 + MOST_ROUTES):
        give(publisher, encoder(ssrc, mid="1", rid="l").frame(key=True, packets=20, size=1100), 1.0)
        seen.append(publisher.tracks["1"].streams["l"])
    assert len(set(seen)) == MOST_ROUTES
    kept = [sum(stream.cache.get(number) is not None for number in range(200)) for stream in seen]
    assert kept[:-1] == [0] * (MOST_ROUTES - 1)
    assert kept[-1] == 20
    assert len(publisher._routes) == 1
    before = publisher.unknown
    assert give(publisher, encoder(1000, mid="1", rid="l").frame(key=True), 1.0) == []
    assert publisher.unknown == before + 1
    assert publisher.tracks["1"].streams["l"] is seen[-1]
    assert forwarder.stream is seen[-1]


def test_after_a_description_a_browser_may_begin_anew() -> None:
    publisher = Publisher("alice", 0.0)
    for number in range(20):
        publisher.describe([video(rids=("l", "h"))], {}, 0.0)
        receiver(publisher, "1", "h")
        for rid in ("l", "h"):
            given = give(publisher, encoder(1000 + 2 * number + (rid == "h"), mid="1", rid=rid).frame(key=True))
        assert given
