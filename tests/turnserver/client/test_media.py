"""The tone is a tone, the picture moves, the echo is bounded, and the meters see it; with time turned by hand."""

import asyncio
import itertools

import pytest
from aiortc.mediastreams import MediaStreamError
from av import AudioFrame, VideoFrame

from turnserver.client.media import (
    SAMPLE_RATE,
    TONE,
    Echo,
    EchoTrack,
    Listen,
    PictureTrack,
    Received,
    TestMedia,
    ToneTrack,
    tone_share,
)


class Clock:
    """A clock that pauses move."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now

    async def pause(self, seconds: float) -> None:
        self.now += seconds


async def test_the_tone() -> None:
    """997 Hz and nothing else, a quarter of full scale, without a break where the second starts again."""
    clock = Clock()
    track = ToneTrack(clock=clock, pause=clock.pause)
    frames = [await track.recv() for _ in range(101)]
    assert clock.now == pytest.approx(102.0)
    for frame in (frames[0], frames[49], frames[50], frames[100]):
        loudness, share = tone_share(frame)
        assert loudness == pytest.approx(0.25 / 2**0.5, rel=0.02)
        assert share > 0.99
    assert [frame.pts for frame in frames[:3]] == [0, 960, 1920]
    sound = b"".join(bytes(frame.planes[0])[:1920] for frame in frames)
    samples = memoryview(sound).cast("h")
    assert max(abs(after - before) for before, after in itertools.pairwise(samples)) < 1100
    assert tone_share(frames[0], 500)[1] < 0.01


async def test_the_picture() -> None:
    """Every frame is another one; the clock of RTP goes by the frame's number."""
    clock = Clock()
    track = PictureTrack(66, 50, 10, clock=clock, pause=clock.pause)
    frames = [await track.recv() for _ in range(4)]
    assert clock.now == pytest.approx(100.3)
    assert [(frame.width, frame.height, frame.format.name) for frame in frames] == [(66, 50, "yuv420p")] * 4
    assert [frame.pts for frame in frames] == [0, 9000, 18000, 27000]
    assert len({bytes(frame.planes[0]) for frame in frames}) == 4
    rows = bytes(frames[0].planes[0])
    assert (rows[0], rows[65]) == (16, 16 + 219 * 65 // 66)


async def test_time_that_was_missed_is_skipped() -> None:
    """After a long stop there is no rush of old frames."""
    clock = Clock()
    track = ToneTrack(clock=clock, pause=clock.pause)
    await track.recv()
    clock.now += 10
    assert (await track.recv()).pts == 10 * SAMPLE_RATE
    assert (await track.recv()).pts == 10 * SAMPLE_RATE + 960


@pytest.mark.parametrize("track", ["tone", "picture", "echo"])
async def test_a_stopped_track(track: str) -> None:
    """Ends as aiortc expects it."""
    made = {"tone": ToneTrack, "picture": PictureTrack, "echo": lambda: EchoTrack("audio")}[track]()
    made.stop()
    with pytest.raises(MediaStreamError):
        await made.recv()


async def test_echo() -> None:
    """What comes in goes out, by kind; of too much, the oldest is dropped."""
    echo = Echo()
    echo.incoming(VideoFrame(16, 16))
    audio, video = echo.outgoing()
    assert (audio.kind, video.kind) == ("audio", "video")
    pictures = [VideoFrame(16, 16) for _ in range(20)]
    sound = AudioFrame(samples=960)
    echo.incoming(sound)
    for picture in pictures:
        echo.incoming(picture)
    assert await audio.recv() is sound
    assert [await video.recv() for _ in range(8)] == pictures[-8:]
    waiting = asyncio.ensure_future(video.recv())
    await asyncio.sleep(0)
    assert not waiting.done()
    waiting.cancel()


def test_plans() -> None:
    """One sends a tone and a picture, the other nothing."""
    assert [track.kind for track in TestMedia().outgoing()] == ["audio", "video"]
    assert Listen().outgoing() == []


async def test_meters() -> None:
    """Frames are counted, and sound is measured now and then."""
    clock = Clock()
    tone, picture = ToneTrack(clock=clock, pause=clock.pause), PictureTrack(32, 18)
    received = Received()
    for _ in range(11):
        received.take(await tone.recv())
    received.take(await picture.recv())
    assert (received.audio, received.video, received.width, received.height) == (11, 1, 32, 18)
    assert received.tone > 0.99
    other = ToneTrack(450, clock=clock, pause=clock.pause)
    for _ in range(10):
        received.take(await other.recv())
    assert received.tone < 0.1


def test_silence_and_strange_formats() -> None:
    """No tone, and no exception."""
    silent = AudioFrame(format="s16", layout="stereo", samples=960)
    silent.sample_rate = SAMPLE_RATE
    for plane in silent.planes:
        plane.update(bytes(plane.buffer_size))
    assert tone_share(silent) == (0.0, 0.0)
    assert tone_share(AudioFrame(format="fltp", layout="mono", samples=10), TONE) == (0.0, 0.0)
