"""A call that the server records: a host begins and ends it in the page, everybody sees it, and the file plays."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.browser import ORIGIN, serving_calls
from tests.support.call_crowd import routed
from tests.support.call_links import Link
from tests.support.call_page import call_page
from tests.support.netns import NetworkNamespace
from tests.support.recorded import probe
from tests.support.server import TurnServerProcess
from tests.support.tools import require_tool

if TYPE_CHECKING:
    from playwright.sync_api import Browser

PEER = ".tile[data-kind=peer] video"
"""The picture of somebody else."""


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the server keeps recordings."""
    return tmp_path_factory.mktemp("recordings") / "all"


@pytest.fixture(scope="module", autouse=True)
def server(
    inside: NetworkNamespace, tmp_path_factory: pytest.TempPathFactory, directory: Path, recordings: Path
) -> Iterator[TurnServerProcess]:
    """A server that records; its rooms are meshes as long as they are small."""
    media = {"recordings": str(recordings), "recordings_reserve": 0}
    with serving_calls(inside, tmp_path_factory, directory, media=media, open=True, mode="auto") as process:
        yield process


def manifest(recordings: Path) -> dict[str, Any]:
    """The manifest of the only recording, once it is complete."""
    until = time.monotonic() + 120
    while time.monotonic() < until:
        found = [json.loads(path.read_text()) for path in recordings.glob("*/manifest.json")]
        if found and found[0]["end"]:
            return found[0]
        time.sleep(0.2)
    raise AssertionError("the recording does not end")


def test_a_host_records_the_call_at_the_server_and_all_are_told(
    browser: "Browser", link: Link, recordings: Path
) -> None:
    require_tool("ffprobe")
    with call_page(browser) as ann, call_page(browser) as ben:
        ann.enter(link("film", "--role", "host"), "Ann")
        ben.enter(f"{ORIGIN}/call/film?width=320&height=240&fps=15", "Ben")
        ann.connected()
        ben.click("people-button")
        assert not ben.page.locator("[data-testid=server-record]").is_visible()
        ben.page.keyboard.press("Escape")
        ann.click("people-button")
        ann.click("server-record")
        ann.answer("start")
        ben.see("server-recorded")
        assert ben.text("server-recorded").startswith("Ann has the server record this call, since ")
        assert ben.page.locator("[data-testid=server-recorded-stop]").count() == 0
        routed(ann, 1, "sfu")
        routed(ben, 1, "sfu")
        ben.frames(60, PEER)
        ann.page.keyboard.press("Escape")
        assert ann.text("server-recorded").startswith("You have the server record this call, since ")
        ann.click("server-recorded-stop")
        ben.told("The server does not record the call any more.")
        ben.page.wait_for_selector("[data-testid=server-recorded]", state="hidden")
        ben.frames(5, PEER)
    found = manifest(recordings)
    assert (found["room"], found["end"]) == ("film", "stopped")
    assert {each["name"] for each in found["files"]} == {"Ann", "Ben"}
    (directory,) = recordings.iterdir()
    for each in found["files"]:
        streams = {stream["codec_type"]: stream for stream in probe(directory / each["file"])["streams"]}
        assert streams["audio"]["codec_name"] == "opus"
        assert int(streams["video"]["nb_read_frames"]) > 30
