"""A call of Debian's Firefox ESR that the server records: its timestamps, and a picture whose size changes."""

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import av
import pytest

from tests.support.browser import ORIGIN, serving_calls
from tests.support.call_crowd import routed
from tests.support.call_links import Link
from tests.support.call_page import call_page
from tests.support.netns import NetworkNamespace
from tests.support.process import wait_until
from tests.support.recorded import manifest_of, packets_of, probe
from tests.support.server import TurnServerProcess
from tests.support.tools import require_tool

if TYPE_CHECKING:
    from playwright.sync_api import Browser

PEER = ".tile[data-kind=peer] video"
SIZE = "?width=320&height=240&fps=15"

HALVED = """
async () => {
  const sender = meshturn.mesh.sfu.sending.getSenders().find(({track}) => track?.kind === 'video');
  const wanted = sender.getParameters();
  for (const each of wanted.encodings) each.scaleResolutionDownBy = 2 * (each.scaleResolutionDownBy ?? 1);
  await sender.setParameters(wanted);
}
"""
"""Has the picture sent in half its size."""

HEIGHT = "(height) => document.querySelector('.tile[data-kind=peer] video').videoHeight === height"


@pytest.fixture(scope="module", autouse=True)
def server(
    inside: NetworkNamespace, tmp_path_factory: pytest.TempPathFactory, directory: Path, recordings: Path
) -> Iterator[TurnServerProcess]:
    """A server that records, all of whose rooms go through its SFU."""
    media = {"recordings": str(recordings), "recordings_reserve": 0}
    with serving_calls(inside, tmp_path_factory, directory, media=media, open=True, mode="sfu") as process:
        yield process


def test_what_firefox_sends_is_recorded(browsers: "tuple[Browser, Browser]", link: Link, recordings: Path) -> None:
    """All of it plays, picture and sound are as long, and both sizes of the picture are in the file."""
    require_tool("ffprobe")
    firefox, chromium = browsers
    with call_page(firefox, schema=False, permissions=None) as ann, call_page(chromium) as ben:
        ben.enter(link("film", "--role", "host").replace("#", f"{SIZE}#"), "Ben")
        ann.open(f"{ORIGIN}/call/film{SIZE}")
        ann.join("Ann")
        for page in (ann, ben):
            routed(page, 1, "sfu")
        ben.frames(10, PEER)
        before = ben.page.evaluate("() => document.querySelector('.tile[data-kind=peer] video').videoHeight")
        ben.click("people-button")
        ben.click("server-record")
        ben.answer("start")
        ann.see("server-recorded")
        ben.page.keyboard.press("Escape")
        ben.frames(45, PEER)
        ann.page.evaluate(HALVED)
        ben.until(HEIGHT, before // 2)
        ben.frames(45, PEER)
        ben.click("server-recorded-stop")
        ann.page.wait_for_selector("[data-testid=server-recorded]", state="hidden")
        ben.frames(5, PEER)
    wait_until(lambda: bool(manifest_of(recordings).get("end")), "the end of the recording", 120)
    manifest = manifest_of(recordings)
    assert (manifest["end"], manifest["lost"]) == ("stopped", 0)
    (directory,) = recordings.iterdir()
    files = [each for each in manifest["files"] if each["name"] == "Ann"]
    frames, heights = 0, set()
    for each in files:  # more than one where the machine is so busy that the picture comes late
        path = directory / each["file"]
        found = probe(path)
        assert found["errors"] == ""
        streams = {stream["codec_type"]: stream["codec_name"] for stream in found["streams"]}
        assert streams.items() <= {"audio": "opus", "video": "vp8"}.items()
        if "video" in streams:
            with av.open(str(path)) as container:
                decoded = [frame.height for frame in container.decode(video=0)]
            frames, heights = frames + len(decoded), heights | set(decoded)
    assert frames >= 80
    assert {before, before // 2} <= heights
    # Wherever its timestamps begin, and however they go on when the size changes: both streams end with the recording.
    last = max(files, key=lambda each: each["offset"])
    for kind in ("audio", "video"):
        times = packets_of(directory / last["file"], kind)
        assert all(later > earlier for earlier, later in itertools.pairwise(times))
        assert last["offset"] + times[-1] == pytest.approx(manifest["duration"], abs=2.5)
