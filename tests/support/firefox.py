"""Headless Firefox (Debian's ESR) driven by Playwright over WebDriver BiDi, inside a network namespace.

Playwright expects a Firefox that is newer, and that listens where Playwright itself runs. This module is also a program
that Playwright starts in the place of Firefox: it starts Firefox in the namespace, listens outside, and passes on what
both say. It answers itself the commands in `UNKNOWN`, which Firefox ESR does not have.
"""

import asyncio
import json
import os
import re
import shlex
import socket
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import aiohttp
from aiohttp import web

from tests.support.browser import START
from tests.support.netns import NetworkNamespace
from tests.support.tools import require_tool

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Playwright

__all__ = ["PREFERENCES", "UNKNOWN", "firefox_in"]

UNKNOWN = frozenset({"emulation.setMediaFeaturesOverride"})
"""Commands of Playwright 1.65 that Firefox 153 does not know. Without them a page looks as the browser likes it."""

PREFERENCES: dict[str, str | float | bool] = {
    "media.navigator.streams.fake": True,
    "media.navigator.permission.disabled": True,  # cameras, microphones and screens without a question
    "media.peerconnection.ice.obfuscate_host_addresses": False,  # nobody answers mDNS in a namespace
    "media.autoplay.default": 0,
    "dom.events.testing.asyncClipboard": True,  # the clipboard without a question
    "dom.ipc.processCount": 1,
    "dom.ipc.processPrelaunch.enabled": False,
    "gfx.webrender.software": True,
    # There is nobody outside: what asks there only writes errors.
    "app.update.disabledForTesting": True,
    "browser.newtabpage.enabled": False,
    "browser.region.network.url": "",
    "datareporting.policy.dataSubmissionEnabled": False,
    "extensions.systemAddon.update.enabled": False,
    "network.captive-portal-service.enabled": False,
    "network.connectivity-service.enabled": False,
    "services.settings.server": "data:,#remote-settings-dummy/v1",
    "toolkit.telemetry.enabled": False,
}
"""In addition to those that Firefox has whenever it is driven from outside."""

_LISTENING = re.compile(rb"WebDriver BiDi listening on (ws://\S+)")
_ROOT = Path(__file__).resolve().parents[2]


@contextmanager
def firefox_in(inside: NetworkNamespace, playwright: "Playwright", directory: Path) -> "Iterator[Browser]":
    """A browser in a namespace; ``directory`` is its home, and takes the script that starts it there."""
    command = [sys.executable, "-m", __name__, inside.name, require_tool("firefox-esr")]
    wrapper = directory / "firefox"
    wrapper.write_text(f'#!/bin/sh\ncd {shlex.quote(str(_ROOT))}\nexec {shlex.join(command)} "$@"\n')
    wrapper.chmod(0o700)
    browser = playwright.firefox.launch(
        channel="moz-firefox",  # Mozilla's own Firefox, not the one that Playwright has changed
        executable_path=str(wrapper),
        firefox_user_prefs=PREFERENCES,
        env=os.environ | {"HOME": str(directory)},
        timeout=START * 1000,
    )
    try:
        yield browser
    finally:
        browser.close()


async def _passed_on(listener: socket.socket, command: Sequence[str]) -> None:
    """Run Firefox until it ends, and pass on what is said to the listener and what it answers."""
    firefox = await asyncio.create_subprocess_exec(*command, stderr=asyncio.subprocess.PIPE)
    assert firefox.stderr is not None
    async with aiohttp.ClientSession() as session:
        serving: web.AppRunner | None = None
        async for line in firefox.stderr:
            found = _LISTENING.search(line)
            if found is not None and serving is None:
                serving = await _serve(listener, session, found[1].decode())
                here = listener.getsockname()[1]
                sys.stderr.buffer.write(f"WebDriver BiDi listening on ws://127.0.0.1:{here}\n".encode())
            else:
                sys.stderr.buffer.write(line)
            sys.stderr.buffer.flush()
        if serving is not None:
            await serving.cleanup()
    await firefox.wait()


async def _serve(listener: socket.socket, session: aiohttp.ClientSession, url: str) -> web.AppRunner:
    async def connected(request: web.Request) -> web.WebSocketResponse:
        outside = web.WebSocketResponse(max_msg_size=0, compress=False)
        await outside.prepare(request)
        async with session.ws_connect(f"{url}{request.path}", max_msg_size=0) as within:
            answering = asyncio.create_task(_answers(within, outside))
            async for message in outside:
                asked = json.loads(message.data)
                if asked["method"] in UNKNOWN:
                    await outside.send_json({"type": "success", "id": asked["id"], "result": {}})
                else:
                    await within.send_str(message.data)
            answering.cancel()
        return outside

    application = web.Application()
    application.router.add_get("/{path:.*}", connected)
    runner = web.AppRunner(application)
    await runner.setup()
    await web.SockSite(runner, listener).start()
    return runner


async def _answers(within: aiohttp.ClientWebSocketResponse, outside: web.WebSocketResponse) -> None:
    async for message in within:
        await outside.send_str(message.data)
    await outside.close()


if __name__ == "__main__":
    name, *firefox_command = sys.argv[1:]
    with socket.create_server(("127.0.0.1", 0)) as outside_socket, NetworkNamespace(name).entered():
        asyncio.run(_passed_on(outside_socket, firefox_command))
