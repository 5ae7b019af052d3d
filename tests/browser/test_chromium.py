"""Headless Chromium against the real server: calls that can only be relayed, by the port that serves it all."""

import asyncio
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

from tests.support.browser import ADDRESS
from tests.support.certificates import CertificatePair, client_context, issue
from tests.support.netns import NetworkNamespace
from tests.support.process import wait_for_log
from tests.support.server import PASSWORD, REALM, USERNAME
from tests.support.shared_server import SharedServerProcess

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page


PORTS = {"udp": 3478, "tcp": 3478, "tls": 5349, "shared": 443, "plain": 80}
PATIENCE = 90_000
"""Milliseconds until what a page waits for counts as failed."""

URLS = {
    "turns-on-the-shared-port": (f"turns:{ADDRESS}:443?transport=tcp", "tls"),
    "turns-on-a-port-of-its-own": (f"turns:{ADDRESS}:5349?transport=tcp", "tls"),
    "turn-over-tcp": (f"turn:{ADDRESS}:3478?transport=tcp", "tcp"),
    "turn-over-udp": (f"turn:{ADDRESS}:3478?transport=udp", "udp"),
}

MAKE_CALL = """
async ({urls, username, credential}) => {
  const pc = window.pc = new RTCPeerConnection({
    iceServers: [{urls, username, credential}], iceTransportPolicy: "relay",
  });
  window.failures = [];
  pc.addEventListener("icecandidateerror", event => window.failures.push(`${event.errorCode} ${event.errorText}`));
  pc.addEventListener("track", event => { document.querySelector("video").srcObject = event.streams[0]; });
  const video = {width: 320, height: 180, frameRate: 15};
  const stream = await navigator.mediaDevices.getUserMedia({audio: true, video});
  for (const track of stream.getTracks()) pc.addTrack(track, stream);
}
"""
DESCRIBE = """
async ({type, remote}) => {
  if (remote) await pc.setRemoteDescription(remote);
  if (type === null) return null;
  await pc.setLocalDescription();
  while (pc.iceGatheringState !== "complete") {
    await new Promise(resolve => pc.addEventListener("icegatheringstatechange", resolve, {once: true}));
  }
  return {type: pc.localDescription.type, sdp: pc.localDescription.sdp};
}
"""
FRAMES_DECODED = """
async (more) => {
  const decoded = async () => {
    for (const report of (await pc.getStats()).values()) {
      if (report.type === "inbound-rtp" && report.kind === "video") return report.framesDecoded ?? 0;
    }
    return 0;
  };
  const first = await decoded();
  for (;;) {
    const now = await decoded();
    if (now >= first + more) return [first, now];
    await new Promise(resolve => setTimeout(resolve, 100));
  }
}
"""
CHOSEN_PAIR = """
async () => {
  const stats = await pc.getStats();
  const transport = [...stats.values()].find(report => report.type === "transport");
  const pair = stats.get(transport.selectedCandidatePairId);
  const local = stats.get(pair.localCandidateId), remote = stats.get(pair.remoteCandidateId);
  return {local: local.candidateType, remote: remote.candidateType, protocol: local.relayProtocol, url: local.url,
          state: pc.connectionState, dtls: transport.dtlsState};
}
"""
WEB_SOCKET = """
async (url) => {
  const socket = new WebSocket(url, "echo");
  const heard = [];
  await new Promise((resolve, reject) => {
    socket.onopen = () => { for (const text of ["one", "two", "x".repeat(70000)]) socket.send(text); };
    socket.onmessage = event => { heard.push(event.data.length); if (heard.length === 3) socket.close(1000); };
    socket.onclose = event => event.code === 1000 ? resolve() : reject(new Error(`closed with ${event.code}`));
  });
  return heard;
}
"""


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> CertificatePair:
    """The server's certificate, which nobody has signed."""
    return issue(tmp_path_factory.mktemp("certificate"))


@pytest.fixture(scope="module")
def server(
    inside: NetworkNamespace, certificate: CertificatePair, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[SharedServerProcess]:
    """The server on the ordinary ports; its peers are only what they are by default."""
    kinds: list[dict[str, Any]] = [
        {"transport": "udp"},
        {"transport": "tcp"},
        {"transport": "tls"},
        {"transport": "shared"},
        {"transport": "shared", "tls": False},
    ]
    ports = list(PORTS.values())
    config = {
        "realm": REALM,
        "listeners": [kind | {"address": ADDRESS, "port": port} for kind, port in zip(kinds, ports, strict=True)],
        "auth": {"users": {USERNAME: PASSWORD}},
        "tls": {"certificates": [certificate.config]},
    }
    with inside.entered():
        process = SharedServerProcess(config, tmp_path_factory.mktemp("server"))
        process.start()
    try:
        yield process
        process.stop()
    finally:
        process.kill()


@pytest.fixture
def pages(browser: "Browser", server: SharedServerProcess) -> "Iterator[tuple[Page, Page]]":
    """Two pages, strangers to each other, served by the shared port."""
    contexts = [browser.new_context(ignore_https_errors=True) for _ in range(2)]
    try:
        opened = [context.new_page() for context in contexts]
        for page in opened:
            page.set_default_timeout(PATIENCE)
            assert page.goto(f"https://{ADDRESS}/page") is not None
        yield opened[0], opened[1]
    finally:
        for context in contexts:
            context.close()


def call(caller: "Page", callee: "Page", url: str) -> None:
    """Offer and answer, each with every candidate in it; the descriptions cross by way of this process."""
    for page in (caller, callee):
        page.evaluate(MAKE_CALL, {"urls": url, "username": USERNAME, "credential": PASSWORD})
    offer = caller.evaluate(DESCRIBE, {"type": "offer", "remote": None})
    assert " typ relay " in offer["sdp"], caller.evaluate("window.failures")
    assert " typ host " not in offer["sdp"]
    answer = callee.evaluate(DESCRIBE, {"type": "answer", "remote": offer})
    assert " typ relay " in answer["sdp"], callee.evaluate("window.failures")
    caller.evaluate(DESCRIBE, {"type": None, "remote": answer})


def hear_the_shared_port(inside: NetworkNamespace, certificate: CertificatePair) -> dict[str, Any]:
    """HTTPS, plain HTTP and a WebSocket from outside the browser, over new connections to the ports."""
    context = client_context()

    async def ask() -> dict[str, Any]:
        async with aiohttp.ClientSession() as session:
            async with session.get(f"https://{ADDRESS}/healthz", ssl=context) as response:
                assert response.status == 200
                health: dict[str, Any] = json.loads(await response.text())
            async with session.get(f"http://{ADDRESS}/healthz") as response:
                assert response.status == 200
            async with session.ws_connect(f"wss://{ADDRESS}/echo", ssl=context, protocols=("echo",)) as websocket:
                for message in (b"", b"hello", bytes(200_000)):
                    await websocket.send_bytes(message)
                    assert await websocket.receive_bytes(timeout=90) == message
            return health

    def ask_inside() -> dict[str, Any]:
        with inside.entered():
            return asyncio.run(ask())

    # In a thread of its own, because Playwright's loop runs in this one.
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(ask_inside).result()


@pytest.mark.parametrize("kind", URLS)
def test_a_call_through_the_relay(
    kind: str,
    pages: "tuple[Page, Page]",
    server: SharedServerProcess,
    inside: NetworkNamespace,
    certificate: CertificatePair,
) -> None:
    """RFC 8656 §3.1, RFC 8829: video and sound flow both ways, relayed at both ends, over the transport of the URL."""
    url, protocol = URLS[kind]
    caller, callee = pages
    call(caller, callee, url)
    for page in pages:
        first, now = page.evaluate(FRAMES_DECODED, 15)
        assert now >= first + 15
    health = hear_the_shared_port(inside, certificate)
    assert health["status"] == "ok"
    for page in pages:
        assert page.evaluate(WEB_SOCKET, f"wss://{ADDRESS}/echo") == [3, 3, 70_000]
        first, now = page.evaluate(FRAMES_DECODED, 15)
        assert now >= first + 15
        pair = page.evaluate(CHOSEN_PAIR)
        assert pair["local"] == "relay" or pair["remote"] == "relay"
        assert (pair["state"], pair["dtls"]) == ("connected", "connected")
        if pair["local"] == "relay":
            assert pair["protocol"] == protocol
            assert pair["url"] == url
    assert "relay" in {page.evaluate(CHOSEN_PAIR)["local"] for page in pages}
    wait_for_log(server, "allocation opened", f"transport={protocol} ", f"user={USERNAME}")


def test_wrong_credentials(pages: "tuple[Page, Page]") -> None:
    """RFC 8489 §9.2.4: a browser with a wrong password hears 401 and has no candidate."""
    page, _ = pages
    page.evaluate(MAKE_CALL, {"urls": URLS["turns-on-the-shared-port"][0], "username": USERNAME, "credential": "wrong"})
    offer = page.evaluate(DESCRIBE, {"type": "offer", "remote": None})
    assert "a=candidate:" not in offer["sdp"]
    assert any(failure.startswith("401 ") for failure in page.evaluate("window.failures"))
