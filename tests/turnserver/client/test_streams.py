"""Tracks of one participant that go on over connections."""

from fractions import Fraction

import pytest
from aiortc.mediastreams import MediaStreamError
from av import AudioFrame, VideoFrame

from turnserver.client.streams import Incomings, IncomingTrack


def picture(pts: int) -> VideoFrame:
    frame = VideoFrame(16, 16)
    frame.pts, frame.time_base = pts, Fraction(1, 90_000)
    return frame


def sound(pts: int) -> AudioFrame:
    frame = AudioFrame(format="s16", layout="mono", samples=960)
    frame.pts, frame.time_base, frame.sample_rate = pts, Fraction(1, 48_000), 48_000
    return frame


async def test_a_track_is_the_same_every_time() -> None:
    """Whether anything has come or not, and for each source another one, of the right kind."""
    incoming = Incomings()
    tracks = {source: incoming.track(source) for source in ("audio", "camera", "screen", "screen_audio")}
    assert all(incoming.track(source) is track for source, track in tracks.items())
    assert [track.kind for track in tracks.values()] == ["audio", "video", "video", "audio"]
    incoming.take("camera", "a", picture(0))
    assert incoming.track("camera") is tracks["camera"]


async def test_time_goes_on_over_connections() -> None:
    """Whatever the time stamps of the next connection are: less, far more, or those of a clock that was set."""
    incoming = Incomings()
    track = incoming.track("camera")
    times = []
    for origin, pts in (("a", 90_000), ("a", 96_000), ("b", 50), ("b", 6050), ("a", 10**12), ("a", 5), ("a", 5)):
        incoming.take("camera", origin, picture(pts))
        times.append((await track.recv()).pts)
    assert times == [90_000, 96_000, 102_000, 108_000, 114_000, 120_000, 126_000]


async def test_a_pause_is_believed() -> None:
    """Somebody who was silent for some seconds has been so; the clock of another source does not matter."""
    incoming = Incomings()
    track = incoming.track("audio")
    for pts in (960, 1920, 240_000):
        incoming.take("camera", "a", picture(7))
        incoming.take("audio", "a", sound(pts))
    assert [(await track.recv()).pts for _ in range(3)] == [960, 1920, 240_000]


def test_frames_of_the_wrong_kind() -> None:
    """A section that carries something else than its offer has said."""
    incoming = Incomings()
    assert not incoming.take("audio", "a", picture(0))
    assert not incoming.take("screen", "a", sound(0))
    assert incoming.take("screen_audio", "a", sound(0))


async def test_frames_do_not_pile_up() -> None:
    """Who does not read misses the oldest."""
    incoming = Incomings()
    track = incoming.track("audio")
    for number in range(1000):
        incoming.take("audio", "a", sound(960 * number))
    assert track._frames.qsize() == 16
    assert (await track.recv()).pts == 960 * (1000 - 16)


async def test_the_end() -> None:
    """What has come is read first. Who waits is told, and so is who asks later."""
    incoming = Incomings()
    track = incoming.track("audio")
    incoming.take("audio", "a", sound(0))
    incoming.close()
    await track.recv()
    with pytest.raises(MediaStreamError):
        await track.recv()
    with pytest.raises(MediaStreamError):
        await track.recv()
    with pytest.raises(MediaStreamError):
        await incoming.track("camera").recv()
    full = IncomingTrack("audio")
    for number in range(100):
        full.put(sound(number))
    full.put(None)
    for _ in range(15):
        await full.recv()
    with pytest.raises(MediaStreamError):
        await full.recv()
