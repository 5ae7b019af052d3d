"""Ends of calls with GStreamer's webrtcbin on hosts of the laboratory; what runs there is `tests.support.webrtcbin`."""

import json
import re
import subprocess
from functools import cache
from pathlib import Path
from threading import Thread
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

import pytest

from tests.net.lab import Host
from tests.support.process import wait_until
from tests.support.server import PASSWORD, USERNAME

__all__ = ["WebRtcEnd", "call", "require_webrtcbin"]

PYTHON = "/usr/bin/python3"
"""Debian's own: GStreamer's bindings are for no other."""
SCRIPT = Path(__file__).with_name("webrtcbin.py")
PACKAGES = "gstreamer1.0-nice gstreamer1.0-plugins-bad gir1.2-gst-plugins-bad-1.0 python3-gi"
LIMIT = 60.0


@cache
def _missing() -> str:
    """What is missing for webrtcbin; empty if nothing is."""
    try:
        done = subprocess.run([PYTHON, str(SCRIPT)], capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        return str(error)
    return done.stderr.strip().rpartition("\n")[2] if done.returncode else ""


def require_webrtcbin() -> None:
    """Skip the test where there is no webrtcbin."""
    missing = _missing()
    if missing:
        pytest.skip(f"webrtcbin with libnice is not installed ({missing}): apt-get install {PACKAGES}")


class WebRtcEnd:
    """One end of a call on ``host``; a context manager.

    ``url`` is that of the TURN server (RFC 7065). ``candidates`` are the kinds of those in a description.
    """

    def __init__(self, host: Host, url: str) -> None:
        scheme, _, rest = url.partition(":")
        # GStreamer wants the form of a web address, with the credential in front.
        turn = f"{scheme}://{quote(USERNAME, safe='')}:{quote(PASSWORD, safe='')}@{rest}"
        self._command = host.command(PYTHON, str(SCRIPT), turn)
        self._reports: list[dict[str, Any]] = []

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        self._reader = Thread(target=self._read, daemon=True)
        self._reader.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(LIMIT)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._reader.join(LIMIT)
        if error is not None:
            error.add_note(f"webrtcbin: {self._reports}")

    def offer(self) -> str:
        """The description of a call that begins here."""
        self._do("offer")
        return str(self._waited("description"))

    def answer(self, offer: str) -> str:
        """The description that answers one."""
        self._do("answer", sdp=offer)
        return str(self._waited("description"))

    def accept(self, answer: str) -> None:
        """Take the other end's answer."""
        self._do("accept", sdp=answer)

    def says(self, text: str, to: "WebRtcEnd") -> bool:
        """Whether a text arrives at the other end."""
        self._waited("open")
        self._do("send", text=text)
        return bool(to._waited("heard") == text)

    @staticmethod
    def candidates(description: str) -> set[str]:
        """The kinds of candidates (RFC 8839 §5.1) in a description."""
        return set(re.findall(r"a=candidate:.* typ (\w+)", description))

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._reports.append(json.loads(line))

    def _do(self, what: str, **more: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"do": what, **more}) + "\n")
        self._process.stdin.flush()

    def _waited(self, what: str) -> object:
        """The first report of a kind."""

        def found() -> list[object]:
            assert {"state": "failed"} not in self._reports, f"the connection has failed: {self._reports}"
            return [each[what] for each in list(self._reports) if what in each]

        wait_until(lambda: bool(found()), f"webrtcbin reports {what}", LIMIT)
        return found()[0]


def call(one: WebRtcEnd, other: WebRtcEnd) -> None:
    """Have a call between two ends, and words both ways."""
    offer = one.offer()
    answer = other.answer(offer)
    one.accept(answer)
    for description in (offer, answer):
        assert "relay" in WebRtcEnd.candidates(description), description
    assert one.says("hello", other)
    assert other.says("hello yourself", one)
