"""The page's `webm.js` in headless Chromium: recordings get a length and cues; what is none stays as it is."""

import base64
import io
import random
import struct
from fractions import Fraction
from typing import TYPE_CHECKING

import av
import pytest

from tests.support.signal_lab import LabPage

if TYPE_CHECKING:
    from av.container import InputContainer

FINISH = """
async (files) => {
  const {finished} = await import('/call-assets/webm.js');
  const made = [];
  for (const file of files) {
    const given = new Blob([Uint8Array.from(atob(file), (each) => each.charCodeAt(0))], {type: 'video/webm'});
    const blob = await finished(given);
    const bytes = new Uint8Array(await blob.arrayBuffer());
    let text = '';
    for (const byte of bytes) text += String.fromCharCode(byte);
    made.push([blob.type, btoa(text)]);
  }
  return made;
}
"""
EBML, SEGMENT, CLUSTER, CUES = (bytes.fromhex(each) for each in ("1a45dfa3", "18538067", "1f43b675", "1c53bb6b"))
UNKNOWN = bytes.fromhex("01ffffffffffffff")
SECONDS = 12
RATE = 10
KEY_EVERY = 20
PRE_SKIP = 10
"""Milliseconds by which what libav says of Opus is earlier than what the file says (its CodecDelay)."""


class Pipe(io.BytesIO):
    """What a muxer cannot go back in, as a browser does not: it leaves sizes, length and cues out."""

    def seekable(self) -> bool:
        return False

    seek = None  # type: ignore[assignment]


def made(target: io.BytesIO, **options: str) -> bytes:
    """A film of noise with a key picture every two seconds, and silence."""
    noise = random.Random(1)
    with av.open(target, "w", format="webm", options=options) as film:
        video = film.add_stream("libvpx", rate=RATE, options={"g": str(KEY_EVERY), "deadline": "realtime"})
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        audio = film.add_stream("libopus", rate=48_000, layout="mono")
        for number in range(SECONDS * RATE):
            picture = av.VideoFrame(64, 48, "yuv420p")
            for plane in picture.planes:
                plane.update(noise.randbytes(plane.buffer_size))
            picture.pts, picture.time_base = number, Fraction(1, RATE)
            film.mux(video.encode(picture))
            sound = av.AudioFrame(format="s16", layout="mono", samples=48_000 // RATE)
            sound.planes[0].update(bytes(sound.planes[0].buffer_size))
            sound.sample_rate, sound.pts, sound.time_base = 48_000, number * 48_000 // RATE, Fraction(1, 48_000)
            film.mux(audio.encode(sound))
        film.mux(video.encode())
        film.mux(audio.encode())
    return target.getvalue()


@pytest.fixture(scope="module")
def recording() -> bytes:
    """As browsers make it."""
    return made(Pipe(), live="1")


def finish(page: LabPage, *files: bytes) -> list[bytes]:
    found = page.run(FINISH, [base64.b64encode(file).decode() for file in files])
    assert {kind for kind, _ in found} == {"video/webm"}
    return [base64.b64decode(file) for _, file in found]


def opened(file: bytes) -> "InputContainer":
    return av.open(io.BytesIO(file))


def packets(file: bytes) -> list[tuple[int, int | None, bytes]]:
    """All that is in a film."""
    with opened(file) as film:
        return [(each.stream_index, each.pts, bytes(each)) for each in film.demux() if each.size]


def element(name: bytes, body: bytes) -> bytes:
    return name + struct.pack(">Q", len(body) | 1 << 56) + body


def test_a_recording_gets_a_length_and_cues_and_nothing_else_changes(ann: LabPage, recording: bytes) -> None:
    with opened(recording) as film:
        assert film.duration is None, "the recording is as browsers make them"
    (done,) = finish(ann, recording)
    assert packets(done) == packets(recording)
    assert done[done.index(CLUSTER) :] == recording[recording.index(CLUSTER) :]
    with opened(done) as film:
        assert film.duration is not None
        last = max(pts for _, pts, _ in packets(recording) if pts is not None)
        assert abs(film.duration / 1000 - last) < PRE_SKIP
    # Cues (RFC 9559 §5.1.5): each is at a key picture, and says where its cluster is.
    content = done.index(SEGMENT) + 12
    cues = done[done.index(CUES) : done.index(CLUSTER)]
    times = [struct.unpack(">Q", part[8:16])[0] for part in cues.split(b"\xb3\x01")[1:] for part in [b"\x01" + part]]
    places = [struct.unpack(">Q", part[7:15])[0] for part in cues.split(b"\xf1\x01")[1:]]
    with opened(done) as film:
        keys = [each.pts for each in film.demux(video=0) if each.is_keyframe]
    assert times == keys
    assert len(keys) == SECONDS * RATE / KEY_EVERY
    assert all(done[content + place : content + place + 4] == CLUSTER for place in places)
    assert len(places) == len(times)


def test_what_was_cut_off_has_the_length_of_what_there_is(ann: LabPage, recording: bytes) -> None:
    """A page that dies: anywhere, also within a header."""
    first = recording.index(CLUSTER)
    cuts = [*range(first + 30, first + 60), *random.Random(7).sample(range(first + 60, len(recording)), 20)]
    for cut, done in zip(cuts, finish(ann, *(recording[:cut] for cut in cuts)), strict=True):
        whole = packets(recording[:cut])
        assert packets(done) == whole
        with opened(done) as film:
            assert film.duration is not None or len(whole) == 1, cut


def test_what_is_no_recording_stays_as_it_is(ann: LabPage, recording: bytes) -> None:
    """Nothing, noise, other files, elements of sizes that cannot be, and films that have all of it."""
    header = recording[: recording.index(SEGMENT)]
    start = header + SEGMENT + UNKNOWN
    files = [
        b"",
        b"\0" * 1000,
        random.Random(3).randbytes(100_000),
        recording[: recording.index(CLUSTER)],
        start + element(bytes.fromhex("1549a966"), b"\xff" * 20) + CLUSTER + UNKNOWN + b"\xe7\x81\0",
        start + bytes.fromhex("1549a966") + UNKNOWN + CLUSTER + UNKNOWN,
        start + element(b"\xec", b"\0" * (2 << 20)) + recording[recording.index(CLUSTER) :],
        start + b"\xec\x80" * 1_000_000,
        start + b"\x83" + struct.pack(">Q", (1 << 56) + (1 << 52)),
        made(io.BytesIO()),
    ]
    assert finish(ann, *files) == files
