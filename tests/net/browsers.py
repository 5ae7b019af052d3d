"""Chromium on a host of the laboratory, and what tests ask of a call page in it."""

import math
import struct
import time
import wave
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.net import scripts
from tests.net.lab import ADDRESS, Host
from tests.support.browser import ARGUMENTS, launched
from tests.support.call_page import PICTURES
from tests.support.signal_schema import validate_client, validate_server
from tests.support.tools import require_tool

if TYPE_CHECKING:
    from playwright.sync_api import Browser, ConsoleMessage, Page, Playwright, WebSocket

__all__ = ["SIZE", "SMALL", "TONES", "Participant", "browser_on", "tone_file"]

TONES = (997, 1499)
"""Hertz: what the first and the second browser say. Neither is a multiple of the other, or of the mains."""
RATE = 48_000
SIZE = {"width": 320, "height": 180, "fps": 15}
SMALL = {"width": 160, "height": 90, "fps": 10}
"""For rooms with more than two: two cores encode, decode and draw twelve of these pictures easily."""
PATIENCE = 90.0
"""Seconds until what a page is waited for counts as failed; never waited out in success."""
LOOK_AGAIN = 100
"""Milliseconds between two looks at a page."""
FRAMES = 15
"""Decoded pictures that show that somebody is seen."""
STEADY = 15
"""Pictures in a row, none of them late: more than can have been under way when something was taken away."""


def tone_file(directory: Path, frequency: int) -> Path:
    """A sound for ``--use-file-for-fake-audio-capture``: one second of a pure tone, which Chromium repeats.

    A whole number of periods, so that it has no clicks.
    """
    path = directory / f"tone{frequency}.wav"
    samples = (int(12_000 * math.sin(2 * math.pi * frequency * index / RATE)) for index in range(RATE))
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes(b"".join(struct.pack("<h", sample) for sample in samples))
    return path


@contextmanager
def browser_on(
    playwright: "Playwright", host: Host, directory: Path, tone: int, arguments: Sequence[str] = ()
) -> "Iterator[Browser]":
    """A browser on a host, whose microphone hears one tone; ``directory`` takes its script and its sound."""
    sound = f"--use-file-for-fake-audio-capture={tone_file(directory, tone)}"
    command = host.command(require_tool("chromium"))
    with launched(playwright.chromium, command, directory, [*ARGUMENTS, sound, *arguments]) as browser:
        yield browser


class Participant:
    """One call page. Whatever goes wrong in it is a problem for `check`; so is a frame that is not in the schema.

    ``expected`` are words of console errors that a test provokes: browsers report a lost network there by themselves.
    """

    def __init__(
        self, browser: "Browser", name: str, *, size: Mapping[str, int] = SIZE, expected: Sequence[str] = ()
    ) -> None:
        self.name = name
        self.size = size
        self.expected = list(expected)
        self.problems: list[str] = []
        self.said: list[str] = []
        self.sockets = 0
        self.restarts: list[tuple[str, int]] = []
        """Why it has asked for restarts of ICE, and how many sockets it had opened by then."""
        self.context = browser.new_context(ignore_https_errors=True, viewport={"width": 800, "height": 600})
        self.page: Page = self.context.new_page()
        self.page.set_default_timeout(PATIENCE * 1000)
        self.page.on("pageerror", lambda error: self.problems.append(f"pageerror: {error}"))
        self.page.on("console", self._console)
        self.page.on("websocket", self._websocket)

    def close(self) -> None:
        """Close the page, as somebody does who closes the window."""
        self.context.close()

    def check(self) -> None:
        """Nothing has gone wrong so far, and what the page and the server said was in the schema."""
        assert not self.problems, f"{self.name}'s page: " + "\n".join(self.problems)

    def open(self, room: str, *, token: str | None = None, host: str = ADDRESS) -> None:
        """Open the room's URL."""
        query = "&".join(f"{key}={value}" for key, value in self.size.items())
        fragment = f"#token={token}" if token else ""
        answer = self.page.goto(f"https://{host}/call/{room}?{query}{fragment}")
        assert answer is not None
        assert answer.status == 200

    def join(self, room: str, *, token: str | None = None) -> None:
        """Open the room's URL, give a name, and press the button."""
        self.open(room, token=token)
        self.page.get_by_test_id("name-input").fill(self.name)
        # By the keyboard: a mouse that is pressed where the button was, before the lobby grew, is released beside it.
        self.page.get_by_test_id("join-button").press("Enter")

    def ask(self, script: str, argument: Any = None) -> Any:
        """Run a script in the page."""
        return self.page.evaluate(script, argument)

    def wait(self, script: str, argument: Any = None, *, what: str, timeout: float = PATIENCE) -> Any:
        """Run a script again and again until what it answers is true; the answer."""
        give_up = time.monotonic() + timeout
        while not (answer := self.ask(script, argument)):
            if time.monotonic() > give_up:
                raise AssertionError(f"{self.name}: not within {timeout} s: {what}\n{self.state()}")
            self.page.wait_for_timeout(LOOK_AGAIN)
        return answer

    def picture(self, path: Path) -> None:
        """Keep what the page looks like, if pictures are wanted."""
        if PICTURES:
            path.parent.mkdir(exist_ok=True)
            self.page.screenshot(path=path)

    def state(self) -> str:
        """What there is to say about the page when it fails; a page that cannot be asked does not hide why."""
        try:
            state = self.ask(scripts.STATE)
        except Exception as error:  # Playwright's: the page is navigating, closed or has crashed
            state = f"the page does not answer: {error}"
        return f"{state}\nframes: {' '.join(self.said[-60:])}\nproblems: {self.problems}"

    @property
    def id(self) -> str:
        """The id that the server has given."""
        identity: str = self.ask("() => meshturn.mesh.you.id")
        return identity

    def peers(self) -> list[str]:
        """The ids of the others."""
        found: list[str] = self.ask("() => [...meshturn.mesh.peers.keys()]")
        return found

    def meet(self, count: int) -> list[str]:
        """Wait until there are ``count`` others, all of them connected; their ids."""
        self.wait(scripts.CONNECTED, count, what=f"{count} others are connected")
        return self.peers()

    def see(self, peer: str) -> None:
        """Wait until decoded pictures of a peer have grown by some."""
        before = self.ask(scripts.FRAMES_DECODED, peer)
        self.wait(
            scripts.MORE_FRAMES_DECODED, {"peer": peer, "more": before + FRAMES}, what=f"the picture of {peer} moves"
        )

    def hear(self, peer: str, frequency: int) -> None:
        """Wait until the loudest tone in a peer's sound is the one given, within a few hertz."""
        heard: dict[str, Any] = {}

        def listen() -> bool:
            heard.update(self.ask(scripts.LOUDEST_TONE, peer))
            return bool(heard["level"] > -70 and abs(heard["frequency"] - frequency) < 15)

        self.until(listen, lambda: f"{frequency} Hz from {peer}, not {heard}")

    def until(self, condition: Callable[[], bool], what: Callable[[], str], timeout: float = PATIENCE) -> None:
        """Look again and again until something is so, while pages go on."""
        give_up = time.monotonic() + timeout
        while not condition():
            assert time.monotonic() < give_up, f"{self.name}: not within {timeout} s: {what()}\n{self.state()}"
            self.page.wait_for_timeout(LOOK_AGAIN)

    def take(self, path: str, peer: str) -> None:
        """Wait until the page shows this path to a peer: ``direct`` or ``relay``. A call may begin on another one."""
        self.wait(scripts.SHOWS_PATH, {"peer": peer, "path": path}, what=f"the path to {peer} is {path}")

    def wait_for_sockets(self, count: int) -> None:
        """Wait until the page has opened so many WebSockets in all."""
        self.until(lambda: self.sockets >= count, lambda: f"{count} sockets, not {self.sockets}")

    # Gaps in the picture

    def watch(self) -> None:
        """From now on note when each picture of the other one is shown, there being only one other."""
        self.ask(scripts.WATCH)
        self.wait(scripts.FLOWING, {"since": 0, "frames": STEADY}, what="the picture moves")

    def mark(self) -> float:
        """Now, by the page's clock."""
        now: float = self.ask("() => performance.now()")
        return now

    def flows_after(self, mark: float) -> None:
        """Wait until the picture moves again after ``mark``."""
        self.wait(scripts.FLOWING, {"since": mark, "frames": STEADY}, what="the picture moves again")

    def gap_since(self, mark: float) -> float:
        """The longest time without a picture since then, in seconds."""
        longest: float = self.ask(scripts.LONGEST_GAP, mark)
        return longest / 1000

    # What goes wrong

    def _console(self, message: "ConsoleMessage") -> None:
        if message.type == "error" and not any(words in message.text for words in self.expected):
            self.problems.append(f"console: {message.text} ({message.location.get('url')})")

    def _websocket(self, socket: "WebSocket") -> None:
        self.sockets += 1
        socket.on("framesent", lambda frame: self._validate(frame, ">", validate_client))
        socket.on("framereceived", lambda frame: self._validate(frame, "<", validate_server))

    def _validate(self, frame: str | bytes, way: str, validate: Callable[[dict[str, Any]], None]) -> None:
        try:
            message = scripts.read_frame(frame)
            self.said.append(f"{time.time() % 1000:.3f}{way}{message.get('t')}")
            if way == ">" and message.get("t") == "restart":
                self.restarts.append((message["why"], self.sockets))
            validate(message)
        except Exception as error:  # Playwright would only print what a listener raises.
            self.problems.append(f"not in the schema: {str(frame)[:300]}: {error!r:.600}")
