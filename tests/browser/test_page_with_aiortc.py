"""The call page in Chromium and the Python client in one room: media and data both ways, through the relay."""

import asyncio
import itertools
import wave
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import pytest

from tests.support.aside import Aside
from tests.support.browser import ORIGIN, browser_in, serving_calls
from tests.support.call_page import SMALL, CallPage, call_page
from tests.support.certificates import client_context
from tests.support.mesh import Member, connected, watch_frames
from tests.support.netns import NetworkNamespace
from tests.support.server import TurnServerProcess
from turnserver.client.media import TONE, Listen, TestMedia, ToneTrack
from turnserver.client.mesh import MeshClient
from turnserver.client.pair import Pair, PairState
from turnserver.client.session import SignalClient

if TYPE_CHECKING:
    from playwright.sync_api import Browser

__all__ = ["watch_frames"]

pytestmark = pytest.mark.usefixtures("watch_frames")

WAYS = (("udp", 3478), ("tcp", 3478), ("shared", 443))
_Result = TypeVar("_Result")

THE_PEER = "[...globalThis.meshturn.mesh.peers.values()][0]"

HEARD = """
async (tone) => {
  const peer = [...globalThis.meshturn.mesh.peers.values()][0];
  const context = new AudioContext();
  await context.resume();
  const analyser = new AnalyserNode(context, {fftSize: 8192});
  const track = peer.pc.getReceivers().find((each) => each.track.kind === 'audio').track;
  context.createMediaStreamSource(new MediaStream([track])).connect(analyser);
  const bins = new Float32Array(analyser.frequencyBinCount);
  let heard = 0;
  for (let round = 0; round < 150 && Math.abs(heard - tone) > 15; round += 1) {  // glitches pass
    await new Promise((resolve) => setTimeout(resolve, 200));
    analyser.getFloatFrequencyData(bins);
    const loudest = bins.reduce((best, value, index) => (value > bins[best] ? index : best), 0);
    if (bins[loudest] > -50) heard = loudest * context.sampleRate / analyser.fftSize;
  }
  return heard;
}
"""
"""The frequency that is loudest of what comes from the other participant, once anything does."""

KEEP_DATA = """
() => {
  globalThis.heard = [];
  globalThis.meshturn.mesh.addEventListener('data', ({detail}) => globalThis.heard.push(detail.data));
}
"""


class Guest:
    """The Python participant, used from another thread."""

    def __init__(self, aside: Aside, member: Member) -> None:
        self._aside = aside
        self.member = member

    @property
    def pair(self) -> Pair:
        [pair] = self.member.pairs
        return pair

    def connection(self) -> str:
        """The id of its present connection."""
        found = self.pair._connection
        assert found is not None
        return found._pc_id

    def until(self, condition: Callable[[], bool]) -> None:
        self._aside.run(self.member.until(condition))

    def call(self, function: Callable[[], _Result]) -> _Result:
        async def inner() -> _Result:
            return function()

        return self._aside.run(inner())

    def report(self) -> Any:
        return self._aside.run(self.pair.report())

    def flows(self, *, tone: bool = False) -> None:
        """Wait until sound and picture come in, from now on."""
        got = self.pair.received
        audio, video = got.audio + 50, got.video + 10
        self.until(lambda: got.audio > audio and got.video > video and (not tone or got.tone > 0.5))


@pytest.fixture(scope="module")
def aside(inside: NetworkNamespace) -> Iterator[Aside]:
    """Where the Python participant lives."""
    made = Aside(inside)
    yield made
    made.close()


@pytest.fixture(scope="module", autouse=True)
def server(inside: NetworkNamespace, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TurnServerProcess]:
    """A server whose rooms are open to everybody, and whose calls are relayed."""
    with serving_calls(inside, tmp_path_factory, ways=WAYS, open=True, policy="relay") as process:
        yield process


def write_tone(path: Path) -> Path:
    """Ten seconds of the test tone, for the browser's microphone."""

    async def second() -> bytes:
        now = 0.0

        async def pause(seconds: float) -> None:
            nonlocal now
            now += seconds

        track = ToneTrack(clock=lambda: now, pause=pause)
        return b"".join([bytes((await track.recv()).planes[0])[:1920] for _ in range(50)])

    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(48_000)
        file.writeframes(asyncio.run(second()) * 10)
    return path


@pytest.fixture(scope="module")
def browser(inside: NetworkNamespace, tmp_path_factory: pytest.TempPathFactory) -> "Iterator[Browser]":
    """A browser whose microphone hears the test tone."""
    tone = write_tone(tmp_path_factory.mktemp("tone") / "tone.wav")
    argument = f"--use-file-for-fake-audio-capture={tone}"
    with browser_in(inside, tmp_path_factory.mktemp("browser"), argument) as running:
        yield running


TRIES = 500
"""Ids are drawn at random; one in 32 at least is on the wanted side of the page's."""

EXTREMES = "2z"
"""What the lowest and the highest ids of a base32 alphabet begin with."""


@contextmanager
def guest(aside: Aside, room: str, *, against: str, polite: bool | None, plan: Any = TestMedia) -> Iterator[Guest]:
    """A Python participant with an id above (polite) or below that of the page."""
    stack = AsyncExitStack()

    async def enter() -> Member:
        for _ in range(TRIES):
            signal = SignalClient(ORIGIN, tls=client_context())
            await signal.open()
            if polite is None or (signal.id > against) is polite:
                break
            await signal.bye()
        else:
            raise AssertionError(f"no id of {TRIES} is on that side of {against}")
        mesh = MeshClient(signal, plan=plan, tls=client_context())
        stack.push_async_callback(signal.bye)
        stack.push_async_callback(mesh.close)
        member = Member(signal, mesh)
        await mesh.join(room, name="Python")
        return member

    try:
        yield Guest(aside, aside.run(enter()))
    finally:
        aside.run(stack.aclose())


def open_page(page: CallPage, room: str) -> str:
    """Go to the lobby; the participant's id, which leaves room for others above and below."""
    for _ in range(TRIES):
        page.open(f"{ORIGIN}/call/{room}{SMALL}")
        page.until("Boolean(globalThis.meshturn?.signal.you)")
        identity = str(page.page.evaluate("globalThis.meshturn.signal.you.id"))
        if identity[0] not in EXTREMES:
            break
        page.page.evaluate("globalThis.meshturn.signal.bye()")  # otherwise a reload has the same session
    else:
        raise AssertionError(f"no id of {TRIES} is in the middle")
    page.page.evaluate(KEEP_DATA)
    return identity


def talk(page: CallPage, other: Guest) -> None:
    """Both are connected, and media and data go both ways."""
    page.connected()
    other.until(connected(other.member, others=1))
    other.flows(tone=True)
    page.frames(15)
    assert page.page.evaluate(HEARD, TONE) == pytest.approx(TONE, abs=15)
    other.call(lambda: other.pair.send("from Python"))
    page.until("globalThis.heard.includes('from Python')")
    page.page.evaluate(f"{THE_PEER}.send('from the page')")
    other.until(lambda: "from the page" in other.member.data())


@pytest.mark.parametrize(("page_first", "polite"), list(itertools.product([True, False], [True, False])))
def test_a_call(browser: "Browser", aside: Aside, page_first: bool, polite: bool) -> None:
    """Signaling §1: whoever starts, and whoever is polite; relayed, as both ends and the server's table say."""
    room = f"call-{page_first}-{polite}"
    with call_page(browser) as page:
        identity = open_page(page, room)
        if page_first:
            page.join("Ann")
        with guest(aside, room, against=identity, polite=polite) as other:
            if not page_first:
                page.join("Ann")
            talk(page, other)
            report = other.report()
            assert (report.name, report.path, report.state) == ("Ann", "relay", PairState.CONNECTED)
            assert (report.received.width, report.received.height) == (320, 180)
            assert report.rebuilds == 0
            assert page.page.evaluate(f"{THE_PEER}.rebuilds") == 0
            other.until(lambda: other.member.mesh.server_paths[identity].path == "relay")
            page.until("[...globalThis.meshturn.mesh.serverPaths.values()][0]?.path === 'relay'")
        page.until("document.querySelectorAll('[data-testid=tile]').length === 0")


@pytest.mark.parametrize("polite", [True, False])
@pytest.mark.parametrize("who", ["page", "python", "both"])
def test_restarts(browser: "Browser", aside: Aside, who: str, polite: bool) -> None:
    """An ICE restart of the browser's, a rebuild of ours, and both at once: media come back, and data."""
    room = f"restart-{who}-{polite}"
    with call_page(browser) as page:
        identity = open_page(page, room)
        page.join("Ann")
        with guest(aside, room, against=identity, polite=polite) as other:
            talk(page, other)
            before = other.call(other.connection)
            if who in {"page", "both"}:
                page.page.evaluate(f"void {THE_PEER}.restart('user')")
            if who in {"python", "both"}:
                other.call(other.pair.restart)
            other.until(lambda: other.connection() != before)
            page.page.evaluate(KEEP_DATA)
            talk(page, other)


def test_a_screen_comes_and_goes(browser: "Browser", aside: Aside) -> None:
    """A second stream in mid-call is a negotiation that aiortc can take part in; nothing else stops."""
    with call_page(browser) as page:
        identity = open_page(page, "screen")
        page.join("Ann")
        with guest(aside, "screen", against=identity, polite=None) as other:
            talk(page, other)
            page.click("screen-button")
            other.until(lambda: other.pair.received.width > 320)
            page.click("screen-button")
            other.flows()
            page.frames(15)
            assert other.report().rebuilds == 0


def test_one_who_only_listens(browser: "Browser", aside: Aside) -> None:
    """A participant without tracks: the page shows it, and it hears and sees the page."""
    with call_page(browser) as page:
        identity = open_page(page, "listen")
        page.join("Ann")
        with guest(aside, "listen", against=identity, polite=None, plan=Listen) as other:
            page.connected()
            other.flows(tone=True)
