"""Debian's Firefox ESR, Chromium and the Python client (aiortc) in one room that goes through the server's SFU."""

from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack, contextmanager
from typing import TYPE_CHECKING

import pytest

from tests.support.aside import Aside
from tests.support.browser import ORIGIN, serving_calls
from tests.support.call_page import TINY, CallPage, call_page
from tests.support.certificates import client_context
from tests.support.mesh import Member, watch_frames
from tests.support.netns import NetworkNamespace
from tests.support.server import TurnServerProcess
from turnserver.client.media import TestMedia
from turnserver.client.mesh import MeshClient
from turnserver.client.pair import PairState
from turnserver.client.session import SignalClient

if TYPE_CHECKING:
    from playwright.sync_api import Browser

__all__ = ["watch_frames"]

pytestmark = pytest.mark.usefixtures("watch_frames")


HEARD = """
async (id) => {
  const peer = meshturn.mesh.peers.get(id);
  for (const report of (await peer.pc.getStats()).values()) {
    if (report.type === 'inbound-rtp' && report.mid === peer.microphoneMid) return report.totalAudioEnergy > 1e-4;
  }
  return false;
}
"""
"""Whether somebody was to be heard: the browsers' microphones beep once a second, and Python's is a tone.

A headless Firefox without a sound card has no `AudioContext` that runs.
"""


@pytest.fixture(scope="module", autouse=True)
def server(inside: NetworkNamespace, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TurnServerProcess]:
    """A server all of whose rooms go through its SFU."""
    with serving_calls(inside, tmp_path_factory, open=True, mode="sfu") as process:
        yield process


@contextmanager
def python(inside: NetworkNamespace, room: str) -> "Iterator[tuple[Aside, Member]]":
    """The Python participant."""
    aside, stack = Aside(inside), AsyncExitStack()

    async def enter() -> Member:
        signal = SignalClient(ORIGIN, tls=client_context())
        await stack.enter_async_context(signal)
        mesh = MeshClient(signal, plan=lambda: TestMedia(160, 96, 10), tls=client_context())
        stack.push_async_callback(mesh.close)
        member = Member(signal, mesh)
        await mesh.join(room, name="Python")
        return member

    try:
        yield aside, aside.run(enter())
    finally:
        aside.run(stack.aclose())
        aside.close()


def sees_and_hears(page: CallPage, count: int) -> None:
    """Wait until a page shows so many others whose pictures move, and hears each of them."""
    page.connected(count)
    ids = page.page.evaluate("() => [...meshturn.mesh.peers.keys()]")
    assert len(ids) == count
    for identity in ids:
        page.until(HEARD, identity)
        page.frames(5, f".tile[data-peer='{identity}'] video")


def loud(member: Member, count: int) -> Callable[[], bool]:
    """Whether so many others have been heard and seen by the Python client."""
    loudest: dict[str, float] = {}

    def look() -> bool:
        for pair in member.pairs:
            loudest[pair.id] = max(loudest.get(pair.id, 0.0), pair.received.loudness)
        heard = [pair for pair in member.pairs if loudest[pair.id] > 0.005 and pair.received.video > 10]
        return len(heard) == count and all(pair.state is PairState.CONNECTED for pair in heard)

    return look


def test_three_programs_see_and_hear_each_other(browsers: "tuple[Browser, Browser]", inside: NetworkNamespace) -> None:
    """Six ways, each decoded and loud; two connections each with the SFU, and none with each other."""
    firefox, chromium = browsers
    with (
        call_page(firefox, schema=False, permissions=None) as ann,
        call_page(chromium) as ben,
        python(inside, "mixed") as (aside, member),
    ):
        for page, name in ((ann, "Ann"), (ben, "Ben")):
            page.open(f"{ORIGIN}/call/mixed{TINY}")
            page.join(name)
        aside.run(member.until(loud(member, 2)))
        for page in (ann, ben):
            sees_and_hears(page, 2)
            states = "() => [meshturn.mesh.sfu.sending, meshturn.mesh.sfu.pc].map((pc) => pc.connectionState)"
            assert page.page.evaluate(states) == ["connected", "connected"]
            assert page.page.evaluate("() => [...meshturn.mesh.peers.values()].map(({way}) => way)") == ["sfu", "sfu"]
        assert {pair.name: pair.way for pair in member.pairs} == {"Ann": "sfu", "Ben": "sfu"}
        assert member.mesh.sfu is not None
        assert member.mesh.sfu.errors == []
        assert [frame["t"] for page in (ann, ben) for frame in page.received if frame["t"] == "error"] == []
