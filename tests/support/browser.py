"""Headless Chromium (Debian's) driven by Playwright, inside a network namespace of its own."""

import fcntl
import os
import shlex
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.certificates import issue
from tests.support.netns import NetworkNamespace
from tests.support.server import REALM, SHARED_SECRET, TurnServerProcess
from tests.support.tools import require_tool

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserType

__all__ = [
    "ADDRESS",
    "ARGUMENTS",
    "ORIGIN",
    "browser_in",
    "command_in",
    "launched",
    "network",
    "serving_calls",
    "started_once",
]

ADDRESS = "203.0.113.1"
"""The host's address in its namespace: Chromium leaves loopback out when it looks for networks."""

ORIGIN = f"https://{ADDRESS}"
"""Of the call pages that `serving_calls` serves."""

WAYS = (("udp", 3478), ("shared", 443))
"""Listeners of a server with a call page, and their ports."""

ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--use-fake-device-for-media-stream=fps=15",
    "--use-fake-ui-for-media-stream",
    "--ignore-certificate-errors",  # makes turns: accept a self-signed certificate, too
    "--autoplay-policy=no-user-gesture-required",
]

NOT_WANTED = ("WebUIOmniboxPopup", "WebUIOmniboxAimPopup")
"""Features of Chromium that are switched off: the suggestions below an address bar are two pages more in every window,
loaded before anybody types, and cost two thirds of opening one.
"""

WRAPPER = """#!/bin/sh
for each do
    shift
    case $each in --disable-features=*) each=$each,{features} ;; esac
    set -- "$@" "$each"
done
exec {command} "$@"
"""
"""Starts the browser. Of several lists of features the last one counts, and Playwright has one of its own."""

START = 240
"""Seconds until a browser that has not started counts as failed; Playwright's own limit is 30."""


def started_once(factory: pytest.TempPathFactory) -> None:
    """See that Chromium has been started, and has ended, once in this run, by whichever of its workers.

    The first start reads some hundred megabytes from the disk, and is no part of any test.
    """
    mine = factory.getbasetemp()
    shared = mine.parent if "PYTEST_XDIST_WORKER" in os.environ else mine
    with (shared / "chromium.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if lock.tell():
            return
        home = factory.mktemp("chromium")
        command = [require_tool("chromium"), "--headless", *ARGUMENTS, f"--user-data-dir={home}"]
        subprocess.run(
            [*command, "--dump-dom", "about:blank"],
            env=os.environ | {"HOME": str(home)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=START,
            check=True,
        )
        lock.write("started\n")


@contextmanager
def network() -> Iterator[NetworkNamespace]:
    """A namespace with one host in it, at `ADDRESS`, which has a default route as hosts do."""
    with NetworkNamespace() as inside:
        inside.ip("link add host0 type veth peer name wire0")
        # An IPv6 address of its own would be complete a second later: Chromium then sees another network, and gives up
        # what it is loading (ERR_NETWORK_CHANGED).
        for interface in ("host0", "wire0"):
            inside.ip(f"link set {interface} addrgenmode none")
        inside.ip(f"addr add {ADDRESS}/24 dev host0")
        inside.ip("link set host0 up")
        inside.ip("link set wire0 up")
        inside.ip("route add default via 203.0.113.254")
        yield inside


@contextmanager
def serving_calls(
    inside: NetworkNamespace,
    factory: pytest.TempPathFactory,
    directory: Path | None = None,
    ways: Sequence[tuple[str, int]] = WAYS,
    *,
    media: Mapping[str, Any] | None = None,
    **signaling: Any,
) -> Iterator[TurnServerProcess]:
    """A server in a namespace, with the call page and TURN; its configuration is in ``directory``."""
    config = {
        "realm": REALM,
        "listeners": [{"transport": way, "address": ADDRESS, "port": port} for way, port in ways],
        "auth": {"shared_secrets": [SHARED_SECRET]},
        "tls": {"certificates": [issue(factory.mktemp("certificate")).config]},
        "signaling": signaling,
        "media": dict(media or {}),
    }
    with inside.entered():
        process = TurnServerProcess(config, directory or factory.mktemp("server"))
        process.start()
    try:
        yield process
        process.stop()
    finally:
        process.kill()


@contextmanager
def browser_in(inside: NetworkNamespace, directory: Path, *more: str) -> "Iterator[Browser]":
    """A browser in a namespace, with ``more`` arguments; ``directory`` takes the script that starts it there."""
    sync_api = pytest.importorskip("playwright.sync_api")
    with (
        sync_api.sync_playwright() as playwright,
        launched(playwright.chromium, command_in(inside), directory, [*ARGUMENTS, *more]) as browser,
    ):
        yield browser


def command_in(inside: NetworkNamespace) -> list[str]:
    """The command line that starts Chromium in a namespace."""
    return [require_tool("ip"), "netns", "exec", inside.name, require_tool("chromium")]


@contextmanager
def launched(
    kind: "BrowserType", command: Sequence[str], directory: Path, arguments: Sequence[str]
) -> "Iterator[Browser]":
    """A browser that ``command`` starts; ``directory`` is its home, and takes a script for Playwright."""
    wrapper = directory / "chromium"
    wrapper.write_text(WRAPPER.format(features=",".join(NOT_WANTED), command=shlex.join(command)))
    wrapper.chmod(0o700)
    home = {"HOME": str(directory)}
    browser = kind.launch(executable_path=str(wrapper), args=[*arguments], env=os.environ | home, timeout=START * 1000)
    try:
        yield browser
    finally:
        browser.close()
