"""The page at ``/``."""

import base64
import hashlib
import re

from aiohttp import web
from aiohttp.test_utils import make_mocked_request

from turnserver.http.landing import landing


async def page() -> web.Response:
    return await landing(make_mocked_request("GET", "/"))


async def test_the_policy_lets_nothing_in_but_the_pages_own_style() -> None:
    """A strict Content-Security-Policy: no scripts, no third party, no frames; and the style's hash is right."""
    response = await page()
    policy = response.headers["Content-Security-Policy"]
    text = response.text or ""
    (style,) = re.findall(r"<style>(.*?)</style>", text, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert f"style-src 'sha256-{digest}'" in policy
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy


async def test_it_loads_nothing_and_links_nowhere() -> None:
    text = (await page()).text or ""
    assert not re.search(r"https?:|src=|href=|<script", text)
    assert text.startswith("<!doctype html>")
    assert '<html lang="en">' in text
