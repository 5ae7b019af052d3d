"""Headless Chromium (Debian's) driven by Playwright, inside a network namespace of its own."""

import os
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.netns import NetworkNamespace
from tests.support.tools import require_tool

if TYPE_CHECKING:
    from playwright.sync_api import Browser

__all__ = ["ADDRESS", "ARGUMENTS", "browser_in", "network"]

ADDRESS = "203.0.113.1"
"""The host's address in its namespace: Chromium leaves loopback out when it looks for networks."""

ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--use-fake-device-for-media-stream=fps=15",
    "--use-fake-ui-for-media-stream",
    "--ignore-certificate-errors",  # makes turns: accept a self-signed certificate, too
    "--autoplay-policy=no-user-gesture-required",
]


@contextmanager
def network() -> Iterator[NetworkNamespace]:
    """A namespace with one host in it, at `ADDRESS`, which has a default route as hosts do."""
    with NetworkNamespace() as inside:
        inside.ip("link add host0 type veth peer name wire0")
        inside.ip(f"addr add {ADDRESS}/24 dev host0")
        inside.ip("link set host0 up")
        inside.ip("link set wire0 up")
        inside.ip("route add default via 203.0.113.254")
        yield inside


@contextmanager
def browser_in(inside: NetworkNamespace, directory: Path, *more: str) -> "Iterator[Browser]":
    """A browser in a namespace, with ``more`` arguments; ``directory`` takes the script that starts it there."""
    sync_api = pytest.importorskip("playwright.sync_api")
    command = [require_tool("ip"), "netns", "exec", inside.name, require_tool("chromium")]
    wrapper = directory / "chromium"
    wrapper.write_text(f'#!/bin/sh\nexec {shlex.join(command)} "$@"\n')
    wrapper.chmod(0o700)
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=str(wrapper), args=[*ARGUMENTS, *more], env=os.environ | {"HOME": str(directory)}
        )
        try:
            yield browser
        finally:
            browser.close()
