"""A participant whose media come one way or the other; its connection of its own has `test_connection.py`."""

import asyncio
from collections.abc import AsyncIterator
from fractions import Fraction

import pytest
from aiortc import RTCPeerConnection
from aiortc.mediastreams import MediaStreamError
from av import AudioFrame, VideoFrame
from av.frame import Frame

from turnserver.client.errors import SignalError
from turnserver.client.ice import IceChoice
from turnserver.client.media import Listen
from turnserver.client.pair import Pair, PairState
from turnserver.client.state import PairTiming
from turnserver.signaling.protocol.base import ClientMessage
from turnserver.signaling.protocol.fields import Media, Peer


class Link:
    """A room in which nothing is answered."""

    def __init__(self) -> None:
        self.changes = 0

    def send(self, message: ClientMessage) -> None: ...

    def ice(self) -> IceChoice:
        return IceChoice()

    def new_id(self) -> str:
        return "x"

    async def fresh_ice(self, peer: str, why: str) -> None: ...

    def ready(self) -> bool:
        return True

    def changed(self, pair: Pair) -> None:
        self.changes += 1

    def message(self, pair: Pair, data: str | bytes) -> None: ...


class Shared:
    """Connections with an SFU."""

    def __init__(self) -> None:
        self.state = PairState.CONNECTED
        self.rebuilds = 3
        self.pc: RTCPeerConnection | None = None
        self.ice = IceChoice()
        self.restarts: list[str] = []

    def restart(self, why: str = "user") -> None:
        self.restarts.append(why)

    async def traffic(self) -> tuple[int, int]:
        return 5, 7


class Ear(Listen):
    """Keeps what comes in."""

    def __init__(self) -> None:
        self.frames: list[Frame] = []

    def incoming(self, frame: Frame) -> None:
        self.frames.append(frame)


class Stage:
    """A pair, and what it is for."""

    def __init__(self) -> None:
        self.link, self.plan, self.sfu = Link(), Ear(), Shared()
        who = Peer(
            id="bobbbbbbbb",
            name="Bob",
            meta={},
            media=Media(a=1, v=1),
            role="member",
            since=1,
            polite=True,
            start=False,
        )
        self.pair = Pair(who, self.link, self.plan, PairTiming(offer_wait=3600, connect=3600), way="sfu")


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    made = Stage()
    yield made
    await made.pair.close()


def picture(pts: int, width: int = 16) -> VideoFrame:
    frame = VideoFrame(width, 16)
    frame.pts, frame.time_base = pts, Fraction(1, 90_000)
    return frame


def sound(pts: int) -> AudioFrame:
    frame = AudioFrame(format="s16", layout="mono", samples=960)
    frame.pts, frame.time_base, frame.sample_rate = pts, Fraction(1, 48_000), 48_000
    frame.planes[0].update(bytes(frame.planes[0].buffer_size))
    return frame


async def test_only_what_is_shown_is_taken(stage: Stage) -> None:
    """What comes the other way is known to decode, and goes nowhere; then it does, in the same track."""
    pair = stage.pair
    track = pair.track("camera")
    pair.take("mesh", "camera", "a", picture(90_000, 32))
    assert not pair.decodes("mesh")
    pair.take("mesh", "audio", "a", sound(0))
    assert pair.decodes("mesh")
    assert not pair.decodes("sfu")
    assert (pair.received.video, stage.plan.frames) == (0, [])
    pair.take("sfu", "camera", "b", picture(7))
    pair.show("mesh")
    pair.take("mesh", "camera", "a", picture(96_000, 32))
    pair.take("sfu", "camera", "b", picture(6007))
    frames = [await track.recv() for _ in range(2)]
    assert [(frame.pts, frame.width) for frame in frames if isinstance(frame, VideoFrame)] == [(7, 16), (6007, 32)]
    assert stage.plan.frames == frames
    assert (pair.received.video, pair.received.width) == (2, 32)


async def test_what_decodes_depends_on_what_is_sent(stage: Stage) -> None:
    """Somebody who sends nothing has nothing to decode; connections that are gone have decoded nothing."""
    pair = stage.pair
    pair.take("sfu", "audio", "a", sound(0))
    assert not pair.decodes("sfu")
    pair.media = Media(a=1)
    assert pair.decodes("sfu")
    pair.through(stage.sfu)
    assert not pair.decodes("sfu")
    pair.media = Media()
    assert pair.decodes("sfu")


async def test_a_frame_that_is_something_else(stage: Stage) -> None:
    """Sound in a section for pictures is not counted as one."""
    stage.pair.take("sfu", "camera", "a", sound(0))
    assert (stage.pair.received.audio, stage.plan.frames) == (0, [])


async def test_both_ways_exist_at_once(stage: Stage) -> None:
    """The state, restarts and reports are those of the way that is shown."""
    pair = stage.pair
    assert pair.state is PairState.CONNECTING
    pair.restart()
    pair.through(stage.sfu)
    assert (pair.state, pair.rebuilds) == (PairState.CONNECTED, 3)
    pair.connect()
    pair.connect()
    pair.restart("failed")
    assert stage.sfu.restarts == ["failed"]
    report = await pair.report()
    assert (report.way, report.bytes_sent, report.bytes_received) == ("sfu", 5, 7)
    pair.show("mesh")
    pair.show("mesh")
    assert stage.link.changes == 1
    assert (pair.state, pair.rebuilds) == (PairState.CONNECTING, 0)
    assert pair.state_of("sfu") is PairState.CONNECTED
    await pair.disconnect()
    with pytest.raises(SignalError, match="not_connected"):
        pair.send("")
    assert not pair.channel_open


async def test_the_end(stage: Stage) -> None:
    """Its tracks end with it, and it does not come back."""
    pair = stage.pair
    track = pair.track("audio")
    waiting = asyncio.create_task(track.recv())
    await pair.close()
    with pytest.raises(MediaStreamError):
        await waiting
    pair.connect()
    pair.take("sfu", "audio", "a", sound(0))
    assert (pair.state, pair.received.audio) == (PairState.CLOSED, 0)
    await pair.close()
