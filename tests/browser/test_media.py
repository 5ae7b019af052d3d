"""Chromium and Firefox publish to the media tier on one port, and see and hear themselves on a second connection."""

import os
import time
from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING, Any

import pytest

from stun.address import Address
from tests.support.browser import ADDRESS, ARGUMENTS, command_in, launched
from tests.support.firefox import firefox_in
from tests.support.media_loop import LoopServer, Mirror, loop_server
from tests.support.media_peer import identity
from tests.support.netns import NetworkNamespace
from turnserver.media.codecs import CODECS
from turnserver.media.facts import TrackSource
from turnserver.media.ice import make_credentials
from turnserver.media.negotiation import offer_to_subscriber, read_subscriber
from turnserver.media.sdp import LocalTransport, read_description
from turnserver.media.subscriber import MOST_SECTIONS, Subscriber
from turnserver.media.track import PublishedTrack
from turnserver.signaling.protocol.fields import MAX_SDP

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

ORIGIN = "http://localhost:8000/"
"""A secure context without a server: the test answers what is asked of it."""

PUBLISH = """
async ({simulcast}) => {
  const constraints = {audio: true, video: {width: 640, height: 360, frameRate: 15}};
  const stream = window.stream = await navigator.mediaDevices.getUserMedia(constraints);
  const pc = window.publish = new RTCPeerConnection();
  pc.addTransceiver(stream.getAudioTracks()[0], {direction: "sendonly", streams: [stream]});
  const layers = simulcast ? [{rid: "l", scaleResolutionDownBy: 2}, {rid: "h"}] : undefined;
  pc.addTransceiver(stream.getVideoTracks()[0], {direction: "sendonly", streams: [stream], sendEncodings: layers});
  pc.createDataChannel("unwanted");
  await pc.setLocalDescription();
  return pc.localDescription.sdp;
}
"""
SUBSCRIBE = """
async ({answer, offer}) => {
  await publish.setRemoteDescription({type: "answer", sdp: answer});
  const pc = window.subscribe = new RTCPeerConnection();
  pc.addEventListener("track", event => {
    const shown = document.createElement("video");
    shown.muted = true;
    shown.autoplay = true;
    shown.srcObject = event.streams[0];
    document.body.append(shown);
    window.streamId = event.streams[0].id;
  });
  await pc.setRemoteDescription({type: "offer", sdp: offer});
  await pc.setLocalDescription();
  return pc.localDescription.sdp;
}
"""
RECEIVED = """
async () => {
  const found = {audio: 0, video: 0, cipher: null, ports: [], stream: window.streamId};
  for (const pc of [publish, subscribe]) {
    const stats = [...(await pc.getStats()).values()];
    for (const report of stats) {
      if (report.type === "inbound-rtp" && report.kind === "video") found.video = report.framesDecoded ?? 0;
      if (report.type === "inbound-rtp" && report.kind === "audio") found.audio = report.packetsReceived ?? 0;
      if (report.type === "transport") found.cipher = report.srtpCipher ?? null;
      if (report.type === "remote-candidate") found.ports.push(report.port);
    }
  }
  return found;
}
"""
RESTART = """
async () => {
  publish.restartIce();
  await publish.setLocalDescription();
  return publish.localDescription.sdp;
}
"""
ANSWER = """
async (sdp) => {
  const pc = new RTCPeerConnection();
  await pc.setRemoteDescription({type: "offer", sdp});
  await pc.setLocalDescription();
  const answer = pc.localDescription.sdp;
  pc.close();
  return answer;
}
"""


@pytest.fixture(scope="module")
def faults() -> list[str]:
    return []


@pytest.fixture(scope="module")
def server(inside: NetworkNamespace, faults: list[str]) -> Iterator[LoopServer]:
    with inside.entered():
        serving = loop_server([Address.parse(ADDRESS, 0)], faults)
        made = serving.__enter__()
    yield made
    serving.__exit__(None, None, None)


@pytest.fixture(scope="module", params=["chromium", "firefox"])
def browser(
    request: pytest.FixtureRequest, inside: NetworkNamespace, tmp_path_factory: pytest.TempPathFactory
) -> "Iterator[Browser]":
    sync_api = pytest.importorskip("playwright.sync_api")
    home = tmp_path_factory.mktemp(request.param)
    with sync_api.sync_playwright() as playwright:
        if request.param == "chromium":
            opened = launched(playwright.chromium, command_in(inside), home, ARGUMENTS)
        else:
            opened = firefox_in(inside, playwright, home)
        with opened as running:
            yield running


@pytest.fixture
def page(browser: "Browser") -> "Iterator[Page]":
    context = browser.new_context()
    made = context.new_page()
    made.route(
        "**/*", lambda route: route.fulfill(body="<!doctype html><title>media</title>", content_type="text/html")
    )
    made.goto(ORIGIN)
    yield made
    context.close()


def met(page: "Page", server: LoopServer, *, simulcast: bool, **choices: Any) -> Mirror:
    """Both connections of a page, with their descriptions exchanged."""
    sdp = page.evaluate(PUBLISH, {"simulcast": simulcast})
    mirror, answer, offer = server.do(lambda: server.engine.join(sdp, **choices))
    ours = page.evaluate(SUBSCRIBE, {"answer": answer, "offer": offer})
    server.do(lambda: server.engine.answered(mirror, ours))
    return mirror


def until_received(page: "Page", mirror: Mirror, more: int = 10) -> dict[str, Any]:
    """Wait until so many more frames have been decoded, and sound has come."""
    first = page.evaluate(RECEIVED)
    limit = time.monotonic() + 120
    while True:
        found: dict[str, Any] = page.evaluate(RECEIVED)
        if found["video"] >= first["video"] + more and found["audio"] >= first["audio"] + more:
            return found
        assert time.monotonic() < limit, (found, mirror.failures, mirror.seen)
        page.wait_for_timeout(100)


@pytest.mark.parametrize("encoding", ["vp8", "h264"])
def test_a_browser_sees_and_hears_itself(page: "Page", server: LoopServer, faults: list[str], encoding: str) -> None:
    """With AES-GCM, on one port, under the id that the offer gave; the data channel is not taken."""
    known = page.evaluate("() => RTCRtpReceiver.getCapabilities('video').codecs.map(({mimeType}) => mimeType)")
    if f"video/{encoding}" not in {each.lower() for each in known}:
        pytest.skip(f"this browser has no {encoding}, but {sorted(set(known))}")
    mirror = met(page, server, simulcast=False, encodings=("opus", encoding))
    found = until_received(page, mirror)
    assert mirror.profiles == ["SRTP_AEAD_AES_128_GCM"] * 2
    assert found["cipher"] in {None, "AEAD_AES_128_GCM", "SRTP_AEAD_AES_128_GCM"}
    assert found["stream"] == "me"
    assert set(found["ports"]) <= {server.edge.addresses[0].port}
    assert {media.format.encoding for media in mirror.media} == {"opus", encoding}
    assert mirror.failures == []
    assert faults == []


def test_simulcast_by_rids(page: "Page", server: LoopServer, faults: list[str]) -> None:
    """Two layers arrive with their rids, and one of them can be watched."""
    mirror = met(page, server, simulcast=True, transport_cc=False)
    assert mirror.media[1].rids == ("l", "h")
    until_received(page, mirror)
    limit = time.monotonic() + 120
    while mirror.rids != {"l", "h"}:
        assert time.monotonic() < limit, mirror.rids
        page.wait_for_timeout(100)
    assert faults == []


def test_an_ice_restart_does_not_disturb(page: "Page", server: LoopServer, faults: list[str]) -> None:
    """The page offers again with other credentials; media goes on."""
    mirror = met(page, server, simulcast=False)
    until_received(page, mirror)
    offer = page.evaluate(RESTART)
    answer = server.do(lambda: server.engine.again(mirror, offer))
    page.evaluate("async sdp => publish.setRemoteDescription({type: 'answer', sdp})", answer)
    until_received(page, mirror)
    assert mirror.publish.state == "connected"
    assert mirror.failures == []
    assert faults == []


def test_a_browser_answers_on_its_path(page: "Page", server: LoopServer) -> None:
    """It answers the Binding requests of a lite agent: without that, nobody could move to another network."""
    server.engine.challenges = True
    try:
        mirror = met(page, server, simulcast=False)
    finally:
        server.engine.challenges = False
    until_received(page, mirror, 3)
    for each in (mirror.publish, mirror.subscribe):
        assert each.selected is not None
        assert each.paths[each.selected].proven


def test_a_browser_answers_the_longest_offer(page: "Page") -> None:
    """Sound and pictures of 29 others, and some screens: it takes all, in an answer that fits, too."""
    subscriber = Subscriber("me", NoSink(), os.urandom)
    for number in range(29):
        sources: tuple[TrackSource, ...] = ("audio", "camera", "screen", "screen_audio")
        for source in sources[: 4 if number < 5 else 3 if number < 13 else 2]:
            codec = CODECS["opus" if "audio" in source else "vp8"]
            subscriber.add(PublishedTrack(f"{number:010}", source, codec, "0", now=0.0))
    addresses = [Address.parse(ADDRESS, 3480), Address.parse("2001:db8::1", 3480)]
    transport = LocalTransport(make_credentials(os.urandom), identity().fingerprint, addresses, "actpass", 1, 1)
    offer = offer_to_subscriber(subscriber.offer(), transport)
    answer = page.evaluate(ANSWER, offer)
    assert len(subscriber.slots) == MOST_SECTIONS
    assert len(offer) <= MAX_SDP
    assert len(answer) <= MAX_SDP
    taken = read_subscriber(read_description(answer))
    assert len(taken) == MOST_SECTIONS
    assert all(each.active for each in taken)


class NoSink:
    """Nothing is sent."""

    def send_rtp(self, packet: bytearray, size: int, *, audio: bool = False) -> bool:
        """Nothing."""
        return False

    def send_rtcp(self, packet: bytes) -> bool:
        """Nothing."""
        return False

    def pace(self, bits: float) -> None:
        """Nothing."""

    def purge(self, ssrcs: Collection[int]) -> None:
        """Nothing."""


def test_a_page_that_goes_is_noticed(page: "Page", server: LoopServer) -> None:
    mirror = met(page, server, simulcast=False)
    until_received(page, mirror, 3)
    page.evaluate("() => publish.close()")
    limit = time.monotonic() + 120
    while mirror.publish.state != "ended":
        assert time.monotonic() < limit
        page.wait_for_timeout(50)
