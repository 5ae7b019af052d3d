"""aiortc publishes to the media tier, and sees and hears itself."""

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest
from aiortc import RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import AudioStreamTrack, MediaStreamTrack, VideoStreamTrack

from stun.address import Address
from tests.support.media_loop import LoopEngine, Mirror
from turnserver.media.edge import MediaEdge

LOOPBACK = (Address.parse("127.0.0.1", 0),)


async def until(condition: Callable[[], bool]) -> None:
    """Wait for something that is certain to happen."""
    async with asyncio.timeout(120):
        while not condition():
            await asyncio.sleep(0.01)


@pytest.fixture
async def engine() -> AsyncIterator[LoopEngine]:
    """An engine with its socket; nothing goes wrong in it."""
    made = LoopEngine()
    faults: list[BaseException] = []
    edge = MediaEdge(made, fault=lambda _, error: faults.append(error))
    edge.bind(LOOPBACK)
    made.candidates = edge.addresses
    edge.serve()
    yield made
    edge.close()
    assert faults == []


async def publishing(
    engine: LoopEngine, *tracks: MediaStreamTrack
) -> tuple[RTCPeerConnection, RTCPeerConnection, Mirror]:
    """aiortc's two connections, with their descriptions exchanged."""
    publish, subscribe = RTCPeerConnection(), RTCPeerConnection()
    for track in tracks:
        publish.addTrack(track)
    await publish.setLocalDescription(await publish.createOffer())
    mirror, answer, offer = engine.join(publish.localDescription.sdp)
    await publish.setRemoteDescription(RTCSessionDescription(answer, "answer"))
    await subscribe.setRemoteDescription(RTCSessionDescription(offer, "offer"))
    await subscribe.setLocalDescription(await subscribe.createAnswer())
    engine.answered(mirror, subscribe.localDescription.sdp)
    return publish, subscribe, mirror


async def test_aiortc_sees_and_hears_itself(engine: LoopEngine) -> None:
    """Over one port, with AES-GCM; frames are decoded, and the end is noticed."""
    publish, subscribe, mirror = await publishing(engine, AudioStreamTrack(), VideoStreamTrack())
    tracks = [receiver.track for receiver in subscribe.getReceivers()]
    assert sorted(track.kind for track in tracks) == ["audio", "video"]
    async with asyncio.timeout(120):
        for track in tracks:
            frames = [await track.recv() for _ in range(10)]
            assert len({frame.pts for frame in frames}) == 10
    assert mirror.profiles == ["SRTP_AEAD_AES_128_GCM"] * 2
    await publish.close()
    await until(lambda: mirror.publish.state == "ended")
    await subscribe.close()
    assert mirror.failures == []


async def test_aiortc_answers_on_its_path(engine: LoopEngine) -> None:
    """A full agent answers the Binding requests of a lite one, which proves where it is (RFC 8445 §7.3)."""
    engine.challenges = True
    publish, subscribe, mirror = await publishing(engine, AudioStreamTrack())
    await until(lambda: len(mirror.profiles) == 2)
    for each in (mirror.publish, mirror.subscribe):
        assert each.selected is not None
        assert each.paths[each.selected].proven
    await publish.close()
    await subscribe.close()


async def test_aiortc_with_another_certificate(engine: LoopEngine) -> None:
    """Than that of its description: no media, and the reason."""
    publish = RTCPeerConnection()
    publish.addTrack(AudioStreamTrack())
    await publish.setLocalDescription(await publish.createOffer())
    sdp = publish.localDescription.sdp
    lines = [
        each if "a=fingerprint" not in each else each[:-2] + ("00" if each[-2:] != "00" else "11")
        for each in sdp.split("\r\n")
    ]
    mirror, answer, _ = engine.join("\r\n".join(lines))
    await publish.setRemoteDescription(RTCSessionDescription(answer, "answer"))
    await until(lambda: bool(mirror.failures))
    assert mirror.failures[0].reason == "certificate"
    assert mirror.seen == {}
    await publish.close()
