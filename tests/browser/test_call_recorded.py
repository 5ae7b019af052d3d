"""A call that the server records: a host begins and ends it in the page, everybody sees it, and the file plays."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.browser import ORIGIN, serving_calls
from tests.support.call_crowd import routed
from tests.support.call_links import Link
from tests.support.call_page import call_page
from tests.support.netns import NetworkNamespace
from tests.support.process import wait_until
from tests.support.recorded import manifest_of, probe
from tests.support.server import TurnServerProcess
from tests.support.tools import require_tool

if TYPE_CHECKING:
    from playwright.sync_api import Browser

PEER = ".tile[data-kind=peer] video"
"""The picture of somebody else."""


@pytest.fixture(scope="module", autouse=True)
def server(
    inside: NetworkNamespace, tmp_path_factory: pytest.TempPathFactory, directory: Path, recordings: Path
) -> Iterator[TurnServerProcess]:
    """A server that records; its rooms are meshes as long as they are small."""
    media = {"recordings": str(recordings), "recordings_reserve": 0}
    with serving_calls(inside, tmp_path_factory, directory, media=media, open=True, mode="auto") as process:
        yield process


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
    wait_until(lambda: bool(manifest_of(recordings).get("end")), "the end of the recording", 120)
    found = manifest_of(recordings)
    assert (found["room"], found["end"]) == ("film", "stopped")
    assert {each["name"] for each in found["files"]} == {"Ann", "Ben"}
    (directory,) = recordings.iterdir()
    for each in found["files"]:
        streams = {stream["codec_type"]: stream for stream in probe(directory / each["file"])["streams"]}
        assert streams["audio"]["codec_name"] == "opus"
        assert int(streams["video"]["nb_read_frames"]) > 30
