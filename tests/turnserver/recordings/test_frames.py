"""Frames out of packets: of real encoders, with losses, and of whatever else may come."""

import io
import random
from collections.abc import Iterable, Sequence

import av
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.media_packets import encoded
from turnserver.media.rtp import build_packet, read_header
from turnserver.recordings.frames import Frame, Frames, picture_size
from turnserver.recordings.ordering import Arrived

ENCODERS = {"vp8": "libvpx", "vp9": "libvpx-vp9", "h264": "libx264", "av1": "libsvtav1"}


def arrived(packets: Iterable[bytes]) -> list[Arrived]:
    found = []
    for number, packet in enumerate(packets):
        header = read_header(packet, len(packet))
        assert header is not None
        found.append(Arrived(packet, header, float(number), 0))
    return found


def frames_of(codec: str, packets: Sequence[Arrived]) -> tuple[list[Frame], Frames]:
    made = Frames(codec)
    return [frame for packet in packets for frame in made.push(packet)], made


def decoded(codec: str, frames: Iterable[Frame]) -> int:
    """How many pictures a decoder makes of them, without an error."""
    context = av.CodecContext.create({"av1": "libdav1d"}.get(codec, codec), "r")
    context.options = {"err_detect": "explode"}
    pictures = [picture for frame in frames for picture in context.decode(av.Packet(frame.data))]
    return len(pictures + context.decode(None))


@pytest.fixture(scope="module", params=ENCODERS)
def stream(request: pytest.FixtureRequest) -> tuple[str, list[Arrived]]:
    return request.param, arrived(encoded(ENCODERS[request.param]))


def test_every_frame_can_be_decoded(stream: tuple[str, list[Arrived]]) -> None:
    codec, packets = stream
    frames, made = frames_of(codec, packets)
    assert len(frames) == decoded(codec, frames) == 12
    assert (frames[0].keyframe, made.waits, made.missed) == (True, False, 0)
    assert [frame.timestamp for frame in frames] == sorted({packet.header.timestamp for packet in packets})


def test_after_a_loss_nothing_comes_until_a_keyframe(stream: tuple[str, list[Arrived]]) -> None:
    codec, packets = stream
    whole, _ = frames_of(codec, packets)
    lost = next(n for n, packet in enumerate(packets) if packet.header.timestamp == whole[2].timestamp)
    packets = [*packets[:lost], packets[lost + 1]._replace(lost=1), *packets[lost + 2 :]]
    frames, made = frames_of(codec, packets)
    assert whole[2].timestamp not in {frame.timestamp for frame in frames}
    again = next(frame for frame in whole[3:] if frame.keyframe)
    assert [frame.data for frame in frames] == [
        frame.data for frame in whole if frame in whole[:2] or frame.timestamp >= again.timestamp
    ]
    assert made.missed == len({packet.header.timestamp for packet in packets}) - len(frames)
    assert decoded(codec, frames) == len(frames)


def test_a_stream_in_its_middle_waits_for_a_keyframe(stream: tuple[str, list[Arrived]]) -> None:
    codec, packets = stream
    whole, _ = frames_of(codec, packets)
    if whole[1].keyframe:
        return  # this encoder has only such
    frames, made = frames_of(codec, [each for each in packets if each.header.timestamp > whole[0].timestamp])
    assert frames[0].keyframe
    assert made.missed == 12 - len(frames) - 1


def test_the_size_of_a_picture() -> None:
    (first, *_), _ = frames_of("vp8", arrived(encoded("libvpx", size=(320, 180), frames=2)))
    assert picture_size("vp8", first.data) == (320, 180)
    assert picture_size("vp8", b"\x01" * 20) == picture_size("h264", first.data) == (0, 0)
    assert io.BytesIO(first.data).read(3)[0] & 1 == 0


def test_sound_is_what_it_is() -> None:
    packets = [
        bytes(build_packet(payload_type=96, sequence=n, timestamp=n * 960, ssrc=1, payload=payload))
        for n, payload in enumerate((b"one", b"", b"three"))
    ]
    frames, made = frames_of("opus", arrived(packets))
    assert [(frame.data, frame.timestamp, frame.keyframe) for frame in frames] == [
        (b"one", 0, True),
        (b"three", 1920, True),
    ]
    assert not made.waits


@given(st.sampled_from(sorted(ENCODERS)), st.lists(st.tuples(st.binary(max_size=60), st.booleans()), max_size=12))
def test_whatever_comes_is_a_frame_or_none(codec: str, payloads: list[tuple[bytes, bool]]) -> None:
    packets = [
        bytes(build_packet(payload_type=96, sequence=n, timestamp=n // 3, ssrc=1, payload=payload, marker=marker))
        for n, (payload, marker) in enumerate(payloads)
    ]
    frames_of(codec, arrived(packets))


@pytest.mark.parametrize("codec", sorted(ENCODERS))
def test_packets_that_were_tampered_with(codec: str) -> None:
    """Bytes of real packets changed at random: frames or none, and never an exception."""
    chance = random.Random(codec)
    packets = encoded(ENCODERS[codec])
    for _ in range(60):
        changed = [bytearray(packet) for packet in packets]
        for packet in chance.sample(changed, 8):
            at = chance.randrange(12, min(len(packet), 40))
            packet[at] = chance.randrange(256)
            del packet[chance.randrange(at, len(packet) + 1) :]
        frames_of(codec, arrived(bytes(packet) for packet in changed))
