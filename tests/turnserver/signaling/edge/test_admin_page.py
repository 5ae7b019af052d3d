"""The admin page as it is served: nothing in it to know, nothing else to be had, and a policy without exceptions."""

import re
from collections.abc import AsyncIterator

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from turnserver.signaling.edge.admin_page import AdminPage, load_admin_assets

Client = TestClient[web.Request, web.Application]


@pytest.fixture
def enabled() -> list[bool]:
    """Whether there is a key: the last one counts."""
    return [True]


@pytest.fixture
async def client(enabled: list[bool]) -> AsyncIterator[Client]:
    app = web.Application()
    AdminPage(lambda: enabled[-1]).mount(app)
    async with TestClient(TestServer(app)) as found:
        yield found


async def test_every_file_has_the_whole_policy(client: Client) -> None:
    """Not kept, not framed, no inline script or style, nothing from elsewhere."""
    paths = ["/admin", *(f"/admin-assets/{name}" for name in load_admin_assets() if name != "admin.html")]
    for path in paths:
        answer = await client.get(path)
        assert answer.status == 200, path
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.headers["X-Frame-Options"] == "DENY"
        policy = dict(part.split(" ", 1) for part in answer.headers["Content-Security-Policy"].split("; "))
        assert policy["default-src"] == policy["frame-ancestors"] == policy["base-uri"] == "'none'"
        assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
        assert "unsafe" not in str(policy)


async def test_the_page_loads_its_own_files_only() -> None:
    """All that it names is there, and there is nothing inline for a policy to refuse."""
    assets = {name: content.decode() for name, (content, _) in load_admin_assets().items()}
    page = assets["admin.html"]
    assert '<html lang="en">' in page
    assert not re.search(r"<script(?![^>]*src=)|<style|\sstyle=|\son[a-z]+=", page)
    named = set(re.findall(r'(?:href|src)="/([a-z-]+/[^"]+)"', page))
    assert named == {"admin-assets/admin.css", "admin-assets/admin.js", "call-assets/icon.svg"}
    scripts = {name: text for name, text in assets.items() if name.endswith(".js")}
    imported = {other for text in scripts.values() for other in re.findall(r"from '\./([a-z]+\.js)'", text)}
    assert imported | {"admin.js"} == set(scripts)
    for name, text in scripts.items():
        assert not re.search(
            r"innerHTML|outerHTML|insertAdjacent|document\.write|eval\(|localStorage|sessionStorage|indexedDB|document\.cookie",
            text,
        ), name


@pytest.mark.parametrize("path", ["/admin-assets/admin.html", "/admin-assets/none.js", "/admin-assets/..%2Fapp.js"])
async def test_nothing_else_can_be_had(client: Client, path: str) -> None:
    """Neither a file of another page nor the page under another name."""
    assert (await client.get(path)).status == 404


async def test_without_a_key_that_could_be_used_there_is_no_page(client: Client, enabled: list[bool]) -> None:
    """Keys may come and go while the server runs."""
    enabled.append(False)
    for path in ("/admin", "/admin-assets/admin.js"):
        answer = await client.get(path)
        assert (answer.status, answer.headers["Cache-Control"]) == (404, "no-store")
    enabled.append(True)
    assert (await client.get("/admin")).status == 200
