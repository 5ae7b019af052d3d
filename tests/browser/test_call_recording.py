"""The recording of a call: what is in it, who is told, and what is saved whatever happens; in real Chromium."""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import av
import pytest

from tests.support.browser import ORIGIN
from tests.support.call_page import SMALL, CallPage, call_page

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = pytest.mark.usefixtures("server")

WIDE = {"width": 1280, "height": 800}


@pytest.fixture(scope="module")
def signaling() -> dict[str, Any]:
    """Rooms that are open to everybody."""
    return {"open": True}


def url(room: str) -> str:
    return f"{ORIGIN}/call/{room}{SMALL}"


ON_DISK = """
async () => {
  const look = async () => {
    const folder = await (await navigator.storage.getDirectory()).getDirectoryHandle('recordings');
    const found = [];
    for await (const entry of folder.entries()) found.push(entry);
    const [, latest] = found.sort(([one], [other]) => (one < other ? -1 : 1)).at(-1);
    for await (const file of latest.values()) if ((await file.getFile()).size > 0) return true;
    return false;
  };
  return look().catch((error) => {
    if (error.name === 'NotFoundError') return false; // not there yet, or gone between two looks
    throw error;
  });
}
"""
"""Whether a piece of the latest recording is on the disk, which lasts when the page dies."""


def recorded(file: Path, until: float) -> dict[str, float]:
    """What is in a recording: lengths in seconds, how colorful the last picture is, how loud it is before and after.

    The length that players show is that of what is in it.
    """
    with av.open(str(file)) as container:
        pictures = sounds = 0
        ends = {"video": 0.0, "audio": 0.0}
        loud = {"before": 0.0, "after": 0.0}
        last = None
        for frame in container.decode(video=0, audio=0):
            if isinstance(frame, av.VideoFrame):
                pictures += 1
                ends["video"] = float(frame.time or 0)
                last = frame
            else:
                sounds += 1
                ends["audio"] = float(frame.time or 0)
                samples = memoryview(bytes(frame.planes[0])).cast("f" if "flt" in frame.format.name else "h")
                level = max((abs(each) for each in samples), default=0) / (1 if "flt" in frame.format.name else 32768)
                where = "before" if ends["audio"] < until else "after"
                loud[where] = max(loud[where], float(level))
        assert container.duration is not None
        assert abs(container.duration / av.time_base - max(ends.values())) < 0.5, (container.duration, ends)
    assert last is not None
    image = last.to_image().convert("HSV")  # type: ignore[no-untyped-call]
    left, right = image.crop((300, 200, 500, 500)), image.crop((1150, 305, 1260, 375))
    vivid = [sum(each.getchannel("S").histogram()[100:]) / (each.width * each.height) for each in (left, right)]
    return {"pictures": pictures, "sounds": sounds, **ends, **loud, "left": vivid[0], "right": vivid[1]}


def seconds(page: CallPage) -> float:
    """The clock of the recording."""
    found = re.match(r"(\d+):(\d+)", page.page.inner_text(".recorder-time"))
    assert found is not None
    return int(found[1]) * 60 + int(found[2])


def record(page: CallPage) -> None:
    page.click("more-button")
    page.click("record-button")
    page.answer("record")
    page.see("recorder")


def clock_at(page: CallPage, least: float) -> None:
    """Wait until the recording is that long."""
    page.until(
        "(least) => { const [, m, s] = /(\\d+):(\\d+)/.exec(document.querySelector('.recorder-time').textContent);"
        " return Number(m) * 60 + Number(s) >= least; }",
        least,
    )


def test_a_recording_has_all_pictures_and_voices_and_everybody_is_told(browser: "Browser", tmp_path: Path) -> None:
    """First Ann alone is to be heard, then Ben alone, who records; what a page that dies has recorded is offered."""
    with call_page(browser, viewport=WIDE) as ben, call_page(browser) as ann, call_page(browser) as cyd:
        ben.enter(url("record"), "Ben")
        ann.enter(url("record"), "Ann")
        ben.connected()
        ben.frames(5)
        ben.page.hover("[data-testid=tile]")
        ben.page.locator("[aria-label='Keep Ann large']").click()
        ben.click("mic-button")
        record(ben)
        ann.told("Ben is recording the call.")
        ann.see("recorded")
        ann.page.wait_for_selector("[aria-label='Ben, microphone off, recording']")
        clock_at(ben, 2)
        ann.click("mic-button")
        ben.until("[...meshturn.mesh.peers.values()][0].info.media.a === 0")
        ben.click("mic-button")
        switched = seconds(ben)
        cyd.enter(url("record"), "Cyd")
        cyd.told("Ben is recording the call.")
        cyd.see("recorded")
        cyd.click("leave-button")
        ben.connected()
        clock_at(ben, switched + 2)
        with ben.page.expect_download() as download:
            clock = ben.page.evaluate(STOP)  # read and pressed at once: on a busy machine a click takes seconds
        length = int(clock[0]) * 60 + int(clock[1])
        assert re.fullmatch(r"meshturn-record-\d{4}-\d\d-\d\d-\d{4}\.webm", download.value.suggested_filename)
        ann.told("Ben does not record any more.")
        ann.page.wait_for_selector("[data-testid=recorded]", state="detached")
        file = tmp_path / "call.webm"
        download.value.save_as(file)
        found = recorded(file, switched)
        assert found["pictures"] > 10, found
        for kind in ("video", "audio"):
            assert length / 2 < found[kind] < length + 4, (found, "on a busy machine the last pictures come late")
        assert found["before"] > 0.01, (found, "Ann's voice")
        assert found["after"] > 0.01, (found, "one's own")
        assert found["left"] > 0.1, (found, "Ann's picture; what is no picture has no color")
        assert found["right"] > 0.1, (found, "one's own, in the strip")
        # Leaving saves.
        record(ben)
        clock_at(ben, 3)
        with ben.page.expect_download() as download:
            ben.click("leave-button")
        download.value.save_as(file)
        assert recorded(file, 0)["pictures"] > 3
        # A disk that is full ends it, and loses nothing.
        ben.click("again-button")
        ben.see("lobby")
        ben.join("Ben")
        quota = ben.page.context.new_cdp_session(ben.page)
        record(ben)
        clock_at(ben, 5)
        ben.until("JSON.parse(localStorage.getItem('meshturn.recordings')).some(({saved}) => !saved)")
        quota.send("Storage.overrideQuotaForOrigin", {"origin": ORIGIN, "quotaSize": 1000})
        with ben.page.expect_download() as download:
            pass
        download.value.save_as(file)
        assert recorded(file, 0)["video"] > 3
        quota.send("Storage.overrideQuotaForOrigin", {"origin": ORIGIN})
        # So does a page that dies: the others see that it records no more, and the next page has what there was.
        record(ben)
        ann.see("recorded")
        clock_at(ben, 3)
        ben.until(ON_DISK)
        later = ben.another_tab()
        ben.page.close()
        ann.page.wait_for_selector("[data-testid=recorded]", state="detached")
        later.open(url("record"))
        later.join("Ben")
        later.see("ask-dialog")
        with later.page.expect_download() as download:
            later.answer("save")
        download.value.save_as(file)
        assert recorded(file, 0)["pictures"] > 3
        assert later.faults == []


STOP = """
() => {
  const [, minutes, seconds] = /(\\d+):(\\d+)/.exec(document.querySelector('.recorder-time').textContent);
  document.querySelector('[data-testid=recorder-stop]').click();
  return [minutes, seconds];
}
"""
