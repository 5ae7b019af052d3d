"""The pages: what is served, under which policy, and that nothing else can be had."""

import gzip
import re
from collections.abc import AsyncIterator

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer, make_mocked_request
from yarl import URL

from turnserver.reached import REACHED, Reached
from turnserver.signaling.edge.pages import ROOM, Asset, Pages, load_assets, new_room

ASSETS = {
    "call.html": Asset(b"<!doctype html><title>call</title>", "text/html", "one"),
    "app.js": Asset(b"export const x = '\xc3\xa4'", "text/javascript", "two"),
    "icon.svg": Asset(b"<svg/>", "image/svg+xml", "three"),
}

Client = TestClient[web.Request, web.Application]


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    app = web.Application()
    Pages(ASSETS).mount(app)
    async with TestClient(TestServer(app)) as found:
        yield found


async def test_the_call_page(client: Client) -> None:
    """The page of any room is one file, under a policy that allows the page's own files and socket only."""
    answer = await client.get("/call/my-room")
    assert answer.status == 200
    assert await answer.read() == ASSETS["call.html"].content
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    policy = dict(part.split(" ", 1) for part in answer.headers["Content-Security-Policy"].split("; "))
    assert policy["default-src"] == "'self'"
    assert policy["connect-src"] == f"'self' ws://{client.host}:{client.port} wss://{client.host}:{client.port}"
    assert policy["frame-ancestors"] == policy["base-uri"] == policy["object-src"] == "'none'"
    assert "unsafe" not in str(policy)
    assert answer.headers["X-Frame-Options"] == "DENY"
    assert "camera=(self)" in answer.headers["Permissions-Policy"]
    assert "geolocation=()" in answer.headers["Permissions-Policy"]


@pytest.mark.parametrize(
    ("reached", "sockets"),
    [
        (Reached("192.0.2.9", "https", "meet.example.org"), " wss://meet.example.org"),
        (Reached("192.0.2.9", "http", "meet.example.org"), " ws://meet.example.org wss://meet.example.org"),
        (
            Reached("192.0.2.9", "https", "meet.example.org", (8443,)),
            " wss://meet.example.org wss://meet.example.org:8443",
        ),
        (Reached("192.0.2.9", "https", "meet.example.org:444", (8443,)), " wss://meet.example.org:444"),
        (Reached("192.0.2.9", "https", "a; script-src *"), ""),
    ],
)
async def test_behind_a_proxy_the_policy_has_the_socket_that_the_page_opens(reached: Reached, sockets: str) -> None:
    """By the scheme and the host that the client uses: the page of a TLS-ending proxy connects with wss."""
    request = make_mocked_request("GET", "/call/x", match_info={"room": "x"})
    request[REACHED] = reached
    answer = await Pages(ASSETS).call(request)
    assert f"connect-src 'self'{sockets};" in answer.headers["Content-Security-Policy"]


async def test_a_host_that_is_none_is_not_repeated(client: Client) -> None:
    """A Host header cannot add words to the policy."""
    answer = await client.get("/call/x", headers={"Host": "a.example; script-src *"})
    assert "script-src" not in answer.headers["Content-Security-Policy"]
    assert "connect-src 'self';" in answer.headers["Content-Security-Policy"]


@pytest.mark.parametrize("room", ["-x", "%3Cscript%3E", "a%2Fb", "a b", "x" * 65, ".hidden", "%00", "ä"])
async def test_a_name_that_no_room_has(client: Client, room: str) -> None:
    """A page that says so, with a way on, and nothing of the name in it."""
    answer = await client.get(URL(f"/call/{room}", encoded=room.isascii() and " " not in room))
    text = await answer.text()
    assert answer.status == 404
    assert "No call can have this name" in text
    assert room not in text
    assert "<script>" not in text


async def test_assets_are_not_sent_twice(client: Client) -> None:
    """An entity tag for each: what a browser has is not sent again, and what has changed is at once."""
    answer = await client.get("/call-assets/app.js")
    assert (answer.status, await answer.text()) == (200, "export const x = 'ä'")
    assert answer.headers["Content-Type"] == "text/javascript; charset=utf-8"
    assert answer.headers["Cache-Control"] == "no-cache"
    again = await client.get("/call-assets/app.js", headers={"If-None-Match": answer.headers["ETag"]})
    assert (again.status, await again.read()) == (304, b"")
    assert again.headers["ETag"] == answer.headers["ETag"]
    other = await client.get("/call-assets/app.js", headers={"If-None-Match": '"older"'})
    assert other.status == 200


@pytest.mark.parametrize(
    "name",
    [
        "nothing.js",
        "texts",
        "texts/",
        "texts%2F..%2Fapp.js",
        "texts/xx.json",
        "..%2Fedge.py",
        "%2e%2e%2fedge.py",
        "call.html",
        "__init__.py",
        "",
    ],
)
async def test_nothing_else_can_be_had(client: Client, name: str) -> None:
    """What is not in the folder is not there, and the page has one place only, so that its policy goes with it."""
    answer = await client.get(URL(f"/call-assets/{name}", encoded=True))
    assert answer.status == 404


async def test_modules_for_pages_elsewhere() -> None:
    """Pages of the origins that are named may import the client, those of others may not."""
    for origins, origin, allowed in (
        ([], "https://app.example", None),
        (["https://app.example"], "https://app.example", "https://app.example"),
        (["https://app.example"], "https://evil.example", None),
        (["*"], "https://any.example", "*"),
    ):
        app = web.Application()
        Pages(ASSETS, origins).mount(app)
        async with TestClient(TestServer(app)) as client:
            answer = await client.get("/call-assets/app.js", headers={"Origin": origin})
            assert answer.headers.get("Access-Control-Allow-Origin") == allowed
            page = await client.get("/call/x", headers={"Origin": origin})
            assert page.headers["Vary"] == "Accept-Encoding, Accept-Language, Cookie"


@pytest.mark.parametrize(
    ("url", "header", "cookie", "code"),
    [
        ("/call/x", "de-AT, en;q=0.5", "", "de"),
        ("/call/x", "nl", "", "en"),
        ("/call/x?lang=ar", "de", "", "ar"),
        ("/call/x?lang=tlh", "de", "", "de"),
        ("/call/x?lang=ar", "de", "fr", "fr"),
        ("/call/x", "de", "tlh", "de"),
        ("/", "es", "", "es"),
        ("/", "es", "fr", "fr"),
        ("/?lang=de", "es", "fr", "de"),
        ("/call/-x?lang=ar", "", "", "ar"),
        ("/call-assets/none.js", "fr", "", "fr"),
    ],
)
async def test_the_language_of_a_page(url: str, header: str, cookie: str, code: str) -> None:
    """What was chosen, what the link says, what the browser prefers; caches are told what it depends on."""
    app = web.Application()
    Pages().mount(app)
    async with TestClient(TestServer(app)) as client:
        asked = {"Accept-Language": header, "Cookie": f"other=1; meshturn-language={cookie}"}
        answer = await client.get(url, headers=asked)
        text = await answer.text()
        assert f'<html lang="{code}" dir="{"rtl" if code == "ar" else "ltr"}">' in text
        assert answer.headers["Content-Language"] == code
        assert {"Accept-Language", "Cookie"} <= set(answer.headers["Vary"].split(", "))
        if "ETag" in answer.headers:
            again = await client.get(url, headers=asked | {"If-None-Match": answer.headers["ETag"]})
            assert (again.status, again.headers["Vary"]) == (304, answer.headers["Vary"])
            other = {"Cookie": f"meshturn-language={'fr' if code != 'fr' else 'de'}"}
            changed = await client.get("/call/x", headers=other | {"If-None-Match": answer.headers["ETag"]})
            assert changed.status == 200


async def test_a_language_is_chosen_on_the_start_page() -> None:
    """Its links name all others; what one of them names is chosen for the call, too."""
    app = web.Application()
    Pages().mount(app)
    async with TestClient(TestServer(app)) as client:
        text = await (await client.get("/", headers={"Accept-Language": "de"})).text()
        assert set(re.findall(r'<a href="/\?lang=([a-z]+)"', text)) == {"ar", "en", "es", "fr"}
        chosen = await client.get("/?lang=fr")
        assert chosen.cookies["meshturn-language"].value == "fr"
        assert '<html lang="fr"' in await (await client.get("/call/x", headers={"Accept-Language": "de"})).text()
        assert "meshturn-language" not in (await client.get("/?lang=<script>")).cookies


async def test_texts_for_who_changes_the_language() -> None:
    """All of them, those that are missing in English."""
    app = web.Application()
    files = {
        "texts/en.json": b'{"language.name": "English", "language.direction": "ltr", "a.b": "one", "a.c": "two"}',
        "texts/de.json": b'{"language.name": "Deutsch", "language.direction": "ltr", "a.b": "eins"}',
    }
    Pages({name: Asset.of(content, "application/json") for name, content in files.items()}).mount(app)
    async with TestClient(TestServer(app)) as client:
        found = await (await client.get("/call-assets/texts/de.json")).json()
        assert (found["language.name"], found["a.b"], found["a.c"]) == ("Deutsch", "eins", "two")


async def test_starting_a_call(client: Client) -> None:
    """The form leads to the room that it names, or to a new one."""
    landing = await client.get("/")
    text = await landing.text()
    assert landing.status == 200
    assert '<form action="/call" method="get">' in text
    assert "form-action 'self'" in landing.headers["Content-Security-Policy"]
    style = re.search(r"<style>(.*?)</style>", text, re.DOTALL)
    assert style is not None
    named = await client.get("/call", params={"room": " standup "}, allow_redirects=False)
    assert (named.status, named.headers["Location"]) == (303, "/call/standup")
    made = await client.get("/call", allow_redirects=False)
    again = await client.get("/call/", allow_redirects=False)
    assert made.headers["Location"] != again.headers["Location"]
    assert ROOM.fullmatch(made.headers["Location"].removeprefix("/call/"))
    wrong = await client.get("/call", params={"room": "//evil.example"}, allow_redirects=False)
    assert wrong.status == 404


async def test_where_calls_are_by_invitation() -> None:
    """Nobody is sent into a room that does not let anybody in."""
    app = web.Application()
    Pages(ASSETS, open=False).mount(app)
    async with TestClient(TestServer(app)) as client:
        text = await (await client.get("/")).text()
        assert "by invitation" in text
        assert "<form" not in text
        assert "<form" not in await (await client.get("/call/-x")).text()
        assert (await client.get("/call/x")).status == 200


async def test_other_options_while_running() -> None:
    """What a reload brings is said from then on."""
    app = web.Application()
    pages = Pages(ASSETS, open=False)
    pages.mount(app)
    pages.use(["https://app.example"], ["https://b.example"], open=True)
    async with TestClient(TestServer(app)) as client:
        assert "<form" in await (await client.get("/")).text()
        answer = await client.get("/call-assets/app.js", headers={"Origin": "https://app.example"})
        assert answer.headers["Access-Control-Allow-Origin"] == "https://app.example"
        answer = await client.get("/call/x")
        assert answer.headers["Content-Security-Policy"].endswith("frame-ancestors https://b.example")


async def test_the_icon(client: Client) -> None:
    """Where browsers look for it; without one there is nothing to complain of in the console."""
    assert (await client.get("/favicon.ico")).headers["Content-Type"] == "image/svg+xml"
    app = web.Application()
    Pages({}).mount(app)
    async with TestClient(TestServer(app)) as bare:
        assert (await bare.get("/favicon.ico")).status == 204
        assert (await bare.get("/call/x")).status == 404


def test_the_files_of_the_page() -> None:
    """What is in the package: the page and its modules, each with the type that browsers insist on."""
    assets = load_assets()
    assert assets["call.html"].media_type == "text/html"
    assert assets["signal.js"].media_type == "text/javascript"
    assert assets["call.css"].media_type == "text/css"
    assert assets["texts/en.json"].media_type == "application/json"
    assert len({asset.etag for asset in assets.values()}) == len(assets)


def test_names_of_rooms() -> None:
    """Readable, valid, and not the same twice."""
    names = {new_room() for _ in range(50)}
    assert len(names) == 50
    assert all(ROOM.fullmatch(name) and re.fullmatch(r"[a-z]{4}(-[a-z]{4}){2}", name) for name in names)
    assert new_room(bytes) == "aaaa-aaaa-aaaa"


# What goes over the wire


def modules(name: str, assets: dict[str, Asset], found: set[str]) -> set[str]:
    """A module of the page, and all that it imports."""
    if name not in found:
        found.add(name)
        for other in re.findall(r"from '\./([a-z]+\.js)'", assets[name].content.decode()):
            modules(other, assets, found)
    return found


def test_the_page_asks_for_all_modules_in_one_round() -> None:
    """Without it, a browser finds them one after the other, a round trip for each level of imports."""
    assets = load_assets()
    page = assets["call.html"].content.decode()
    preloaded = re.findall(r'<link rel="modulepreload" href="/call-assets/([a-z]+\.js)">', page)
    assert set(preloaded) == modules("app.js", assets, set()) - {"app.js"}
    assert len(preloaded) == len(set(preloaded))


async def test_the_lobby_needs_less_than_70_kb() -> None:
    """The page with its texts, its style, and every module, in gzip."""
    assets = load_assets()
    answer = await Pages(assets).call(make_mocked_request("GET", "/call/x", match_info={"room": "x"}))
    assert isinstance(answer.body, bytes)
    page = Asset.of(answer.body, "text/html")
    needed = {"call.css", "icon.svg"} | modules("app.js", assets, set())
    assert sum(len(each.zipped or each.content) for each in (page, *(assets[name] for name in needed))) < 70_000


@pytest.mark.parametrize(
    ("header", "zipped"),
    [
        ("gzip, deflate, br", True),
        ("br;q=1.0, GZIP;q=0.5", True),
        ("gzip;q=0", False),
        ("gzip; q=0.000", False),
        ("identity", False),
        ("x-gzipper", False),
        ("", False),
    ],
)
async def test_who_takes_gzip_gets_it(header: str, zipped: bool) -> None:
    """RFC 9110 §12.5.3. Each form has an entity tag of its own (§8.8.3), and caches know of both (§12.5.5)."""
    app = web.Application()
    content = b"export const x = 1;\n" * 100
    Pages({"app.js": Asset.of(content, "text/javascript")}, ["https://app.example"]).mount(app)
    async with TestClient(TestServer(app), auto_decompress=False) as client:
        asked = {"Accept-Encoding": header, "Origin": "https://app.example"}
        answer = await client.get("/call-assets/app.js", headers=asked)
        body = await answer.read()
        assert (answer.headers.get("Content-Encoding") == "gzip") is zipped
        assert (gzip.decompress(body) if zipped else body) == content
        assert (len(body) < len(content)) is zipped
        assert answer.headers["Vary"] == "Accept-Encoding, Origin"
        again = await client.get("/call-assets/app.js", headers=asked | {"If-None-Match": answer.headers["ETag"]})
        assert again.status == 304
        other = "identity" if zipped else "gzip"
        changed = {"Accept-Encoding": other, "If-None-Match": answer.headers["ETag"]}
        assert (await client.get("/call-assets/app.js", headers=changed)).status == 200


async def test_pages_that_may_show_a_call_in_a_frame() -> None:
    """CSP frame-ancestors; X-Frame-Options knows no list, so it is left out then."""
    for ancestors, policy, old in (
        ((), "frame-ancestors 'none'", "DENY"),
        (
            ("https://app.example", "https://b.example:8443"),
            "frame-ancestors https://app.example https://b.example:8443",
            None,
        ),
        (("*",), "frame-ancestors *", None),
    ):
        request = make_mocked_request("GET", "/call/x", match_info={"room": "x"})
        answer = await Pages(ASSETS, ancestors=ancestors).call(request)
        assert answer.headers["Content-Security-Policy"].endswith(policy)
        assert answer.headers.get("X-Frame-Options") == old
