"""Microphone, camera, speaker and keyboard on the call page: trying them, switches, who speaks; in real Chromium."""

import json
import math
import wave
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.browser import ARGUMENTS, ORIGIN, command_in, launched
from tests.support.call_page import SMALL, CallPage, call_page
from tests.support.netns import NetworkNamespace

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = pytest.mark.usefixtures("server")

PHONE = {"viewport": {"width": 320, "height": 640}, "has_touch": True, "is_mobile": True}
GRANTED = ["camera", "microphone", "screen-wake-lock"]


@pytest.fixture(scope="module")
def signaling() -> dict[str, Any]:
    """Rooms that are open to everybody."""
    return {"open": True}


@pytest.fixture(scope="module")
def browser(inside: NetworkNamespace, tmp_path_factory: pytest.TempPathFactory) -> "Iterator[Browser]":
    """Two cameras, whose driver can blur the background (an experiment of Chromium on Linux); and somebody speaks."""
    directory = tmp_path_factory.mktemp("browser")
    more = [
        "--use-fake-device-for-media-stream=fps=15,device-count=2",
        "--enable-experimental-web-platform-features",
        f"--use-file-for-fake-audio-capture={voice(directory / 'voice.wav')}",
    ]
    arguments = [each for each in ARGUMENTS if each != "--ignore-certificate-errors"]
    sync_api = pytest.importorskip("playwright.sync_api")
    with (
        sync_api.sync_playwright() as playwright,
        launched(playwright.chromium, command_in(inside), directory, [*arguments, *more]) as running,
    ):
        yield running


def voice(path: Path) -> Path:
    """Something like speech, which noise suppression lets through: harmonics in syllables, then as long a silence."""
    rate, seconds = 16_000, 2
    samples = array("h")
    for index in range(rate * seconds):
        at = index / rate
        harmonics = sum(math.sin(2 * math.pi * 140 * each * at) / each for each in range(1, 9))
        samples.append(round(8000 * math.sin(4 * math.pi * at) ** 2 * harmonics))
    samples.extend([0] * rate * seconds)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(samples.tobytes())
    return path


def url(room: str) -> str:
    return f"{ORIGIN}/call/{room}{SMALL}"


def joined(page: CallPage, room: str, name: str) -> CallPage:
    """In the call, with microphone and camera."""
    page.open(url(room))
    page.page.wait_for_selector("[data-testid=lobby-mic-button][aria-pressed=true]")
    page.join(name)
    return page


def toast(page: CallPage, text: str) -> None:
    """Wait until a line says so, for everybody to see."""
    page.page.wait_for_selector(f".toasts .toast:has-text({json.dumps(text)})", state="visible")


# The lobby

PLAYED = """
() => {
  globalThis.played = [];
  const play = HTMLMediaElement.prototype.play;
  const made = URL.createObjectURL;
  const blobs = new Map();
  URL.createObjectURL = (blob) => {
    const url = made(blob);
    blobs.set(url, blob);
    return url;
  };
  HTMLMediaElement.prototype.play = function () {
    if (blobs.has(this.src)) {
      const sound = {blob: blobs.get(this.src), sink: this.sinkId, over: false};
      played.push(sound);
      this.addEventListener('pause', () => { sound.over = true; });
      this.addEventListener('ended', () => { sound.over = true; });
    }
    return play.call(this);
  };
}
"""
"""Keep what is played; it is played all the same."""

LOUDNESS = """
async (index) => {
  const context = new OfflineAudioContext(1, 1, 48000);
  const sound = await context.decodeAudioData(await played[index].blob.arrayBuffer());
  return [sound.duration, sound.getChannelData(0).reduce((most, each) => Math.max(most, Math.abs(each)), 0)];
}
"""


def test_microphone_and_speaker_can_be_tried_before_the_call(browser: "Browser") -> None:
    """One hears oneself on the speaker that is chosen; the level goes on; joining stops it all."""
    with call_page(browser, **PHONE) as ann:
        ann.page.add_init_script(f"({PLAYED})()")
        ann.open(url("tried"))
        ann.until("document.querySelectorAll('[data-testid=speaker-select] option').length >= 2")
        ann.page.click("#lobby-devices summary")
        ann.page.select_option("[data-testid=speaker-select]", index=1)
        speaker = ann.page.input_value("[data-testid=speaker-select]")

        ann.page.wait_for_selector("[data-testid=lobby-mic-button][aria-pressed=true]")
        ann.click("lobby-mic-button")
        ann.click("mic-test")
        toast(ann, "Switch the microphone on to test it.")
        assert ann.page.get_attribute("[data-testid=mic-test]", "data-state") == "idle"
        ann.click("lobby-mic-button")
        ann.click("mic-test")
        ann.see("mic-test", state="recording")
        ann.until("document.querySelector('#level').value > 0.01")
        ann.see("mic-test", state="playing")
        ann.see("mic-test", state="idle")
        duration, loudest = ann.page.evaluate(LOUDNESS, 0)
        assert duration > 1
        assert loudest > 0.05

        ann.click("speaker-test")
        ann.see("speaker-test", state="playing")
        ann.see("speaker-test", state="idle")
        duration, loudest = ann.page.evaluate(LOUDNESS, 1)
        assert duration > 1
        assert 0.1 < loudest < 1  # to be heard, and not clipped
        assert ann.page.evaluate("played.map(({sink}) => sink)") == [speaker, speaker]

        assert ann.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        heights = (
            "[...document.querySelectorAll('#lobby button, #lobby .switch')]"
            ".filter((each) => each.checkVisibility()).map((each) => each.offsetHeight)"
        )
        assert min(ann.page.evaluate(heights)) >= 44

        ann.click("mic-test")
        ann.see("mic-test", state="recording")
        ann.click("mic-test")
        ann.see("mic-test", state="idle")
        ann.click("mic-test")
        ann.see("mic-test", state="recording")
        ann.join("Ann")
        ann.page.wait_for_selector("[data-testid=mic-test][data-state=idle]", state="attached")
        assert ann.page.evaluate("played.length") == 2  # what was stopped is not played
        assert ann.page.evaluate("meshturn.devices.audio.readyState") == "live"


def test_devices_that_another_program_has_are_said_to_be_in_use(browser: "Browser") -> None:
    with call_page(browser) as ann:
        ann.page.add_init_script(
            "navigator.mediaDevices.getUserMedia = () => Promise.reject(new DOMException('busy', 'NotReadableError'))"
        )
        ann.open(url("busy"))
        ann.see("device-problem")
        assert ann.text("device-problem").startswith("The camera and the microphone are in use by another program")


def test_a_certificate_that_nobody_has_signed_is_no_failure(browser: "Browser") -> None:
    """As that of `meshturn up`: the browser takes no relay over TLS from it, but the other ways work."""
    with call_page(browser) as ann:
        ann.open(url("unsigned"))
        ann.page.wait_for_selector("#net-check[data-done]", state="attached")
        assert ann.text("net-summary") == "The network is good for calls"
        results = "[...document.querySelectorAll('#net-check li')].map((each) => each.dataset.result)"
        assert ann.page.evaluate(results) == ["ok", "spare"]
        assert "Relay over TLS: not from here, and not needed" in (ann.page.text_content("#net-check") or "")


# What is done to sound and picture


def test_noise_suppression_echo_and_gain_are_switched_at_once_and_remembered(browser: "Browser") -> None:
    """The switches show what the track really has; the others hear the new track without a negotiation."""
    setting = "(name) => meshturn.devices.audio.getSettings()[name]"
    with call_page(browser) as ann:
        joined(ann, "music", "Ann")
        ann.click("more-button")
        ann.click("settings-button")
        for name in ("noiseSuppression", "echoCancellation", "autoGainControl"):
            assert ann.page.evaluate(setting, name) is True
            assert ann.page.is_checked(f"[data-testid={name}]")
            ann.page.uncheck(f"[data-testid={name}]")
            ann.until(f"() => ({setting})({json.dumps(name)}) === false")
        ann.until(
            "document.querySelector('[data-testid=self-tile] video').srcObject.getAudioTracks()[0]"
            " === meshturn.devices.audio"
        )
        ann.page.check("#call-preferences [data-testid=echoCancellation]")
        ann.until(f"() => ({setting})('echoCancellation') === true")
        ann.page.keyboard.press("Escape")
        ann.click("leave-button")
        ann.see("error-page", code="left")
        ann.open(url("music"))
        ann.until("meshturn.devices.audio !== null")
        assert [ann.page.evaluate(setting, name) for name in ("noiseSuppression", "echoCancellation")] == [False, True]
        ann.page.click("#lobby-devices summary")
        ann.page.wait_for_selector("[data-testid=noiseSuppression]")
        assert not ann.page.is_checked("[data-testid=noiseSuppression]")


def test_the_background_is_blurred_where_the_camera_can(browser: "Browser") -> None:
    """And is still blurred when the camera has been off, and in the next call."""
    blurred = "() => meshturn.devices.video?.getSettings().backgroundBlur"
    with call_page(browser) as ann:
        joined(ann, "blur", "Ann")
        assert ann.page.evaluate(blurred) is False
        ann.click("more-button")
        ann.click("settings-button")
        ann.page.check("[data-testid=backgroundBlur]")
        ann.until(blurred)
        ann.page.reload()
        ann.see("self-tile")
        ann.until(blurred)


TELEPHONE = """
() => {
  const ways = {fake_device_0: 'user', fake_device_1: 'environment'};
  const get = MediaStreamTrack.prototype.getSettings;
  MediaStreamTrack.prototype.getSettings = function () {
    return {...get.call(this), ...(this.kind === 'video' && {facingMode: ways[this.label]})};
  };
  InputDeviceInfo.prototype.getCapabilities = function () { return {facingMode: [ways[this.label]].filter(Boolean)}; };
  const open = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
  navigator.mediaDevices.getUserMedia = async ({audio, video}) => {
    const wanted = video?.facingMode?.exact;
    if (wanted === undefined) return open({audio, video});
    const found = (await navigator.mediaDevices.enumerateDevices()).find(({label}) => ways[label] === wanted);
    return open({audio, video: {...video, facingMode: undefined, deviceId: {exact: found.deviceId}}});
  };
}
"""
"""Chromium's fake cameras look nowhere: the first looks at the user, and the second away."""


def test_the_other_camera_of_a_telephone(browser: "Browser") -> None:
    """In the lobby and in the call; only the one that looks at the user is as in a mirror; it is remembered."""
    label = "meshturn.devices.video.label"
    with call_page(browser, **PHONE) as ann, call_page(browser) as ben:
        ann.page.add_init_script(f"({TELEPHONE})()")
        ann.open(url("flip"))
        ann.see("lobby-flip")
        assert ann.page.evaluate(label) == "fake_device_0"
        assert ann.page.locator("#preview.mirrored").count() == 1
        ann.click("lobby-flip")
        ann.until(f"{label} === 'fake_device_1'")
        ann.page.wait_for_selector("#preview:not(.mirrored)")
        ann.frames(3, "#preview")
        ann.join("Ann")
        ben.open(url("flip"))
        ben.join("Ben")
        ben.connected()
        ann.page.wait_for_selector("[data-testid=self-tile] video:not(.mirrored)")
        descriptions = len([frame for frame in ann.sent if frame["t"] == "desc"])
        ann.click("more-button")
        ann.click("flip-button")
        ann.until(f"{label} === 'fake_device_0'")
        ann.page.wait_for_selector("[data-testid=self-tile] video.mirrored")
        ben.frames(5)
        assert len([frame for frame in ann.sent if frame["t"] == "desc"]) == descriptions
        assert ann.page.evaluate(
            "localStorage.getItem('meshturn.videoinput') === meshturn.devices.current('videoinput')"
        )


# The call


def test_who_speaks_has_a_frame_oneself_included_and_talking_while_muted_is_noticed(browser: "Browser") -> None:
    """While muted a copy of the microphone's track is listened to; what is sent to the others stays silent."""
    frames = """(selector) => new Promise((resolve) => {
      const seen = new Set();
      new MutationObserver(() => {
        seen.add(document.querySelector(selector).hasAttribute('data-speaking'));
        if (seen.size === 2) resolve(true);
      }).observe(document.querySelector(selector), {attributeFilter: ['data-speaking']});
    })"""
    with call_page(browser) as ann, call_page(browser) as ben:
        joined(ann, "speaking", "Ann")
        joined(ben, "speaking", "Ben")
        ann.connected()
        for testid in ("self-tile", "tile"):
            assert ann.page.evaluate(frames, f"[data-testid={testid}]")  # it comes and goes
        ann.click("mic-button")
        toast(ann, "Hold space to talk.")
        toast(ann, "You are muted. Press Ctrl + D to be heard. Hold space to talk.")
        ann.page.wait_for_selector("[data-testid=self-tile]:not([data-speaking])")
        ben.page.wait_for_selector("[data-testid=tile]:not([data-speaking])")
        senders = (
            "[...meshturn.mesh.peers.values()][0].pc.getSenders()"
            ".map(({track}) => track).filter((track) => track?.kind === 'audio')"
        )
        assert ann.page.evaluate(f"{senders}.every((track) => track === meshturn.devices.audio && !track.enabled)")


TRACKS = """
() => {
  globalThis.copies = [];
  const clone = MediaStreamTrack.prototype.clone;
  MediaStreamTrack.prototype.clone = function () {
    const copy = clone.call(this);
    copies.push(copy);
    return copy;
  };
}
"""


LATER = """
() => {
  const open = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
  navigator.mediaDevices.getUserMedia = async (wish) => {
    await new Promise((resolve) => { globalThis.go = resolve; });
    return open(wish);
  };
}
"""


def test_nothing_is_listened_to_when_the_microphone_is_off_or_nobody_wants_it(browser: "Browser") -> None:
    with call_page(browser) as ann:
        ann.page.add_init_script(f"({TRACKS})()")
        joined(ann, "copies", "Ann")
        ann.until("copies.length === 1")
        ann.click("mic-button")
        ann.until("copies[0].enabled && !meshturn.devices.audio.enabled")
        ann.click("more-button")
        ann.click("settings-button")
        ann.page.uncheck("[data-testid=listens]")
        ann.until("!copies[0].enabled")
        ann.page.reload()  # muted as before: the microphone is not opened at all
        ann.see("self-tile")
        assert ann.page.evaluate("[meshturn.devices.audio, copies.length]") == [None, 0]

        ann.page.evaluate(f"({LATER})()")
        ann.page.keyboard.down(" ")
        ann.until("globalThis.go !== undefined")
        ann.page.keyboard.up(" ")
        ann.page.evaluate("go()")  # it opens when the space bar is up again
        ann.until("meshturn.devices.audio !== null")
        assert ann.page.evaluate("[meshturn.devices.audio.enabled, meshturn.devices.microphoneOn]") == [False, False]
        ann.click("mic-button")
        ann.until("copies.length === 1 && copies[0].enabled")
        ann.click("leave-button")
        ann.see("error-page", code="left")
        ann.until("copies[0].readyState === 'ended'")


def test_the_space_bar_talks_as_long_as_it_is_held(browser: "Browser") -> None:
    """Not where it has a meaning of its own, nor while another window has the keyboard; and it can be switched off."""
    on, off = ('[data-testid=mic-button][aria-pressed="true"]', '[data-testid=mic-button][aria-pressed="false"]')
    with call_page(browser) as ann, call_page(browser) as ben:
        joined(ann, "space", "Ann")
        joined(ben, "space", "Ben")
        ben.connected()
        keyboard = ann.page.keyboard
        ann.click("mic-button")  # which has the focus now, by the mouse: the bar does not press it
        ben.page.wait_for_selector("[data-testid=tile][aria-label^='Ann, microphone off']")
        keyboard.down(" ")
        keyboard.down(" ")  # as a key that repeats
        ben.page.wait_for_selector("[data-testid=tile][aria-label^='Ann, microphone on']")
        assert ann.page.evaluate("meshturn.devices.audio.enabled")
        keyboard.up(" ")
        ben.page.wait_for_selector("[data-testid=tile][aria-label^='Ann, microphone off']")
        ann.page.wait_for_selector(off)
        for lost in ("dispatchEvent(new Event('blur'))", "document.dispatchEvent(new Event('visibilitychange'))"):
            keyboard.down(" ")
            ann.page.wait_for_selector(on)
            ann.page.evaluate(lost)
            ann.page.wait_for_selector(off)
            keyboard.up(" ")
            assert not ann.page.evaluate("meshturn.devices.microphoneOn")

        ann.click("chat-button")
        ann.page.focus("[data-testid=chat-text]")
        keyboard.press(" ")
        assert ann.page.input_value("[data-testid=chat-text]") == " "
        keyboard.down(" ")
        assert not ann.page.evaluate("meshturn.devices.microphoneOn")
        keyboard.up(" ")
        ann.page.focus("#call-room")
        keyboard.press("Tab")
        ann.page.focus("[data-testid=mic-button]")
        keyboard.press(" ")  # reached by the keyboard, it is a button
        ann.page.wait_for_selector(on)
        keyboard.press(" ")
        ann.page.wait_for_selector(off)

        ann.click("more-button")
        ann.click("keys-button")
        assert "Talk as long as it is held" in ann.page.inner_text("#keys-dialog")
        keyboard.press("Escape")
        ann.click("more-button")
        ann.click("settings-button")
        ann.page.uncheck("[data-testid=talkKey]")
        keyboard.press("Escape")
        ann.page.focus("#call-room")
        keyboard.down(" ")
        assert not ann.page.evaluate("meshturn.devices.microphoneOn")
        keyboard.up(" ")


SYSTEM = """
() => {
  globalThis.locks = [];
  const request = navigator.wakeLock.request.bind(navigator.wakeLock);
  navigator.wakeLock.request = async (type) => {
    const lock = await request(type);
    locks.push(lock);
    return lock;
  };
  globalThis.keys = {};
  const handle = navigator.mediaSession.setActionHandler.bind(navigator.mediaSession);
  navigator.mediaSession.setActionHandler = (action, does) => {
    keys[action] = does;
    handle(action, does);
  };
  globalThis.told = {};
  for (const name of ['setMicrophoneActive', 'setCameraActive']) {
    const tell = navigator.mediaSession[name].bind(navigator.mediaSession);
    navigator.mediaSession[name] = (on) => {
      told[name] = on;
      return tell(on);
    };
  }
}
"""
"""Keep what the page asks of the system, which gets it all the same."""


def test_the_screen_stays_on_and_the_keys_of_a_headset_work(browser: "Browser") -> None:
    with call_page(browser, permissions=GRANTED) as ann:
        ann.page.add_init_script(f"({SYSTEM})()")
        joined(ann, "system", "Ann")
        ann.until("locks.length === 1 && !locks[0].released")
        ann.page.evaluate("locks[0].release()")  # as browsers do when the page is hidden
        ann.page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
        ann.until("locks.length === 2 && !locks[1].released")
        assert ann.page.evaluate("navigator.mediaSession.metadata.title") == "system"
        assert ann.page.evaluate("told") == {"setMicrophoneActive": True, "setCameraActive": True}
        ann.page.evaluate("keys.togglemicrophone()")
        ann.page.wait_for_selector('[data-testid=mic-button][aria-pressed="false"]')
        ann.page.evaluate("keys.togglecamera()")
        ann.page.wait_for_selector('[data-testid=cam-button][aria-pressed="false"]')
        assert ann.page.evaluate("told") == {"setMicrophoneActive": False, "setCameraActive": False}
        ann.page.evaluate("keys.hangup()")
        ann.see("error-page", code="left")
        ann.until("locks.every((lock) => lock.released)")
        assert ann.page.evaluate("keys") == {"togglemicrophone": None, "togglecamera": None, "hangup": None}


WITHOUT = """
() => {
  Object.defineProperty(navigator, 'mediaSession', {value: undefined});
  delete HTMLMediaElement.prototype.setSinkId;
  const get = MediaStreamTrack.prototype.getCapabilities;
  MediaStreamTrack.prototype.getCapabilities = function () {
    const names = ['backgroundBlur', 'noiseSuppression', 'echoCancellation', 'autoGainControl'];
    const never = Object.fromEntries(names.map((name) => [name, [false]]));
    return {...get.call(this), ...never};
  };
}
"""


def test_what_a_browser_does_not_have_is_not_offered(browser: "Browser") -> None:
    """Nothing is said, and nothing fails; nor where the screen may not be kept on, as here."""
    with call_page(browser) as ann:
        ann.page.add_init_script(f"({WITHOUT})()")
        joined(ann, "without", "Ann")
        ann.click("more-button")
        assert ann.page.is_hidden("[data-testid=flip-button]")
        ann.click("settings-button")
        ann.see("speaker-test")
        switches = ("backgroundBlur", "noiseSuppression", "echoCancellation", "autoGainControl")
        for testid in (*switches, "speaker-choose", "call-speaker-select"):
            assert not ann.page.is_visible(f"[data-testid={testid}]"), testid
        assert "For music" not in ann.page.inner_text("#call-preferences")
