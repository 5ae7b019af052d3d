"""The start page and the call page: ``/``, ``/call``, ``/call/{room}`` and ``/call-assets/{file}``.

Each is in the language that was chosen (a cookie, which the page sets), that a link names (``?lang=de``), or that the
browser prefers (Accept-Language).

All files are read once, when the server starts, from the package's own ``page`` folder; no other file is served.
The pages load nothing from other sites, and their content security policy forbids it.
"""

import base64
import gzip
import hashlib
import html
import json
import re
import secrets
from collections.abc import Callable, Collection, Mapping
from importlib import resources
from typing import Final, NamedTuple

from aiohttp import web

from turnserver import signaling
from turnserver.signaling.edge.languages import (
    ENGLISH,
    Language,
    languages_of,
    looked_up,
    named_in,
    negotiated,
    translated,
)
from turnserver.signaling.edge.origins import host_of, is_named, reached_by

__all__ = ["ROOM", "Asset", "Pages", "load_assets", "new_room"]

ROOM: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
"""The pattern of room names."""

_PORT: Final = re.compile(r":[0-9]+$")

_TYPES: Final = {
    "css": "text/css",
    "html": "text/html",
    "ico": "image/vnd.microsoft.icon",
    "js": "text/javascript",
    "json": "application/json",
    "png": "image/png",
    "svg": "image/svg+xml",
    "webmanifest": "application/manifest+json",
    "woff2": "font/woff2",
}

_PAGE: Final = "call.html"
_ICON: Final = "icon.svg"
_MAIN: Final = "app.js"
_IMPORT: Final = re.compile(r"from '\./([a-z]+\.js)'")

_PERMISSIONS: Final = ", ".join(
    [
        *(
            f"{name}=(self)"
            for name in (
                "autoplay",
                "camera",
                "display-capture",
                "fullscreen",
                "microphone",
                "picture-in-picture",
                "screen-wake-lock",
                "speaker-selection",
            )
        ),
        *(f"{name}=()" for name in ("geolocation", "payment", "publickey-credentials-get", "usb")),
    ]
)

_CHOICE: Final = "meshturn-language"
"""The cookie with the language that the user has chosen."""

_REMEMBERED: Final = 365 * 86_400

_VARY: Final = "Accept-Language, Cookie"

_ROOM_LETTERS: Final = "abcdefghjkmnpqrstuvwxyz"
"""Without i, l and o, which can be mistaken for digits."""


class Asset(NamedTuple):
    """One file of the page, with its media type and its entity tag (RFC 9110 §8.8.3).

    ``zipped`` is its content in gzip (RFC 1952); empty if that is no smaller.
    """

    content: bytes
    media_type: str
    etag: str
    zipped: bytes = b""

    @classmethod
    def of(cls, content: bytes, media_type: str) -> "Asset":
        """An asset with this content; the same content has the same tag, and the same bytes in gzip."""
        zipped = gzip.compress(content, mtime=0)
        etag = hashlib.sha256(content).hexdigest()[:32]
        return cls(content, media_type, etag, zipped if len(zipped) < len(content) else b"")


def load_assets() -> dict[str, Asset]:
    """The files of the page, by name; the texts in each language are ``texts/LANGUAGE.json``."""
    found = {}
    page = resources.files(signaling) / "page"
    for folder, prefix in ((page, ""), (page / "texts", "texts/")):
        for entry in folder.iterdir():
            kind = entry.name.rpartition(".")[2]
            if kind in _TYPES and entry.is_file():
                found[prefix + entry.name] = Asset.of(entry.read_bytes(), _TYPES[kind])
    return found


def new_room(entropy: Callable[[int], bytes] = secrets.token_bytes) -> str:
    """A room name that cannot be guessed but is easy to read aloud: three groups of four letters, 54 bits."""
    letters = [_ROOM_LETTERS[int.from_bytes(entropy(4)) % len(_ROOM_LETTERS)] for _ in range(12)]
    return "-".join("".join(letters[at : at + 4]) for at in (0, 4, 8))


class Pages:
    """The handlers; ``assets`` are the files of the page, whose modules pages of ``origins`` may import.

    Pages of the origins in ``ancestors`` may show the call page in a frame. If rooms are ``open``, the start page
    offers to start a call; otherwise it says that an invitation is needed.
    """

    def __init__(
        self,
        assets: Mapping[str, Asset] | None = None,
        origins: Collection[str] = (),
        ancestors: Collection[str] = (),
        *,
        open: bool = True,
    ) -> None:
        self._assets = dict(load_assets() if assets is None else assets)
        languages = languages_of({name: asset.content for name, asset in self._assets.items()})
        self._languages = languages or languages_of({name: asset.content for name, asset in load_assets().items()})
        self._calls = self._in_all_languages()
        for code, language in languages.items():
            texts = json.dumps(language.texts, ensure_ascii=False, separators=(",", ":"))
            self._assets[f"texts/{code}.json"] = Asset.of(texts.encode(), _TYPES["json"])
        self.use(origins, ancestors, open=open)

    def use(self, origins: Collection[str], ancestors: Collection[str], *, open: bool) -> None:
        """Use other options from now on."""
        self._origins = frozenset(origins)
        self._ancestors = tuple(ancestors)
        self._open = open

    def mount(self, app: web.Application) -> None:
        """Add the routes."""
        app.router.add_get("/", self.landing)
        app.router.add_get("/call", self.begin)
        app.router.add_get("/call/", self.begin)
        app.router.add_get("/call/{room}", self.call)
        app.router.add_get("/call-assets/{file:.+}", self.asset)
        app.router.add_get("/favicon.ico", self.icon)

    async def landing(self, request: web.Request) -> web.Response:
        """The start page. A language that its URL names is chosen from then on."""
        chosen = looked_up(self._languages, request.query.get("lang", "")[:64])
        language = self._languages[chosen] if chosen is not None else self._language(request)
        body = _about(language) + (_form(language) if self._open else _invited(language)) + _for_programs(language)
        response = self._own_page(language, "meshturn", body + self._choice(language), 200)
        if chosen is not None:
            response.set_cookie(
                _CHOICE, chosen, max_age=_REMEMBERED, samesite="Lax", secure=reached_by(request).scheme == "https"
            )
        return response

    async def begin(self, request: web.Request) -> web.Response:
        """Redirect to the room that was asked for, or to a new one."""
        room = request.query.get("room", "").strip() or new_room()
        if not ROOM.fullmatch(room):
            return self._no_such_name(request)
        raise web.HTTPSeeOther(f"/call/{room}", headers={"Cache-Control": "no-store"})

    async def call(self, request: web.Request) -> web.Response:
        """The call page, which reads the room's name from its own URL."""
        language = self._language(request)
        page = self._calls.get(language.code)
        if page is None or not ROOM.fullmatch(request.match_info["room"]):
            return self._no_such_name(request)
        response = _answer(request, page)
        response.headers["Content-Security-Policy"] = _policy(request, self._ancestors)
        response.headers["Permissions-Policy"] = _PERMISSIONS
        if not self._ancestors:
            response.headers["X-Frame-Options"] = "DENY"
        response.headers["Cross-Origin-Opener-Policy"] = "same-origin"
        response.headers["Vary"] += f", {_VARY}"
        response.headers["Content-Language"] = language.code
        return response

    async def asset(self, request: web.Request) -> web.Response:
        """One file of the page."""
        found = self._assets.get(request.match_info["file"])
        if found is None or found.media_type == "text/html":
            language = self._language(request)
            return self._own_page(language, language.say("landing.not_found"), _no_such_file(language), 404)
        response = _answer(request, found)
        for name, value in self._cors(request).items():
            before = f"{response.headers[name]}, " if name in response.headers else ""
            response.headers[name] = before + value
        return response

    async def icon(self, request: web.Request) -> web.Response:
        """The icon, at the path where browsers look by default."""
        found = self._assets.get(_ICON)
        return web.Response(status=204) if found is None else _answer(request, found)

    def _language(self, request: web.Request) -> Language:
        """What the user has chosen; else what the link says; else what the browser prefers."""
        for wish in (request.cookies.get(_CHOICE, ""), request.query.get("lang", "")):
            if (found := looked_up(self._languages, wish[:64])) is not None:
                return self._languages[found]
        header = ",".join(request.headers.getall("Accept-Language", ()))
        return self._languages[negotiated(self._languages, header)]

    def _in_all_languages(self) -> dict[str, Asset]:
        """The call page by language."""
        page = self._assets.get(_PAGE)
        if page is None:
            return {}
        text = page.content.decode()
        scripts = "".join(self._assets[name].content.decode() for name in self._at_first(_MAIN, set()))
        keys = named_in(scripts, self._languages[ENGLISH].texts)
        return {
            code: Asset.of(translated(text, language, self._languages, keys).encode(), page.media_type)
            for code, language in self._languages.items()
        }

    def _at_first(self, name: str, found: set[str]) -> set[str]:
        """A module, and all that it imports: what a browser loads before the lobby can be used."""
        if name in self._assets and name not in found:
            found.add(name)
            for other in _IMPORT.findall(self._assets[name].content.decode()):
                self._at_first(other, found)
        return found

    def _no_such_name(self, request: web.Request) -> web.Response:
        language = self._language(request)
        title = f"{language.say('landing.no_such_call')} – meshturn"
        body = _no_such_name(language) + (_form(language) if self._open else "")
        return self._own_page(language, title, body, 404)

    def _choice(self, language: Language) -> str:
        """The other languages, each in its own words."""
        links = (
            f'<a href="/?lang={code}" hreflang="{code}" lang="{code}" dir="auto">{html.escape(other.name)}</a>'
            for code, other in self._languages.items()
            if code != language.code
        )
        return f'\n<nav aria-label="{html.escape(language.say("language.choice"))}">{" ".join(links)}</nav>'

    def _own_page(self, language: Language, title: str, body: str, status: int) -> web.Response:
        headers = {"Content-Security-Policy": _OWN_POLICY, "Content-Language": language.code, "Vary": _VARY}
        page = _document(language, title, body)
        return web.Response(text=page, status=status, content_type="text/html", headers=headers)

    def _cors(self, request: web.Request) -> dict[str, str]:
        """Browsers import modules from another origin only with its consent by CORS (HTML §8.1.4.2)."""
        if "*" in self._origins:
            return {"Access-Control-Allow-Origin": "*"}
        if not self._origins:
            return {}
        origin = request.headers.get("Origin", "")
        allowed = {"Access-Control-Allow-Origin": origin} if is_named(origin, self._origins) else {}
        return {"Vary": "Origin", **allowed}


def _answer(request: web.Request, asset: Asset) -> web.Response:
    """The file, or 304. Browsers have to revalidate every time, so that no tab mixes files of two versions."""
    zipped = bool(asset.zipped) and _takes_gzip(request.headers.get("Accept-Encoding", ""))
    etag = f"{asset.etag}-gzip" if zipped else asset.etag
    headers = {"ETag": f'"{etag}"', "Cache-Control": "no-cache", "Vary": "Accept-Encoding"}
    if any(tag.value == etag for tag in request.if_none_match or ()):
        return web.Response(status=304, headers=headers)
    if zipped:
        headers["Content-Encoding"] = "gzip"
    charset = "utf-8" if asset.media_type.startswith("text/") else None
    body = asset.zipped if zipped else asset.content
    return web.Response(body=body, content_type=asset.media_type, charset=charset, headers=headers)


def _takes_gzip(header: str) -> bool:
    """Whether a client takes gzip (RFC 9110 §12.5.3). A weight of zero refuses it."""
    for entry in header.lower().split(","):
        coding, _, weight = (part.strip() for part in entry.partition(";"))
        if coding == "gzip":
            return not re.fullmatch(r"q\s*=\s*0(\.0*)?", weight)
    return False


def _policy(request: web.Request, ancestors: Collection[str]) -> str:
    """The content security policy of the call page; pages of the origins in ``ancestors`` may show it in a frame.

    ``'self'`` covers WebSockets in current browsers; Safari before 15.4 needs the socket's origin by name. Without TLS
    here, ``wss`` is named too: a proxy that does not say so may have ended it.
    """
    reached = reached_by(request)
    schemes = ("wss",) if reached.scheme == "https" else ("ws", "wss")
    hosts = [reached.host] if host_of(reached.host) is not None else []
    hosts += [f"{host}:{port}" for host in hosts for port in reached.ports if not _PORT.search(host)]
    framing = " ".join(ancestors) or "'none'"
    socket = "".join(f" {scheme}://{host}" for host in hosts for scheme in schemes)
    return (
        "default-src 'self'; "
        f"connect-src 'self'{socket}; "
        "img-src 'self' blob: data:; "
        "media-src 'self' blob: data:; "
        "object-src 'none'; "
        "base-uri 'none'; "
        "form-action 'self'; "
        f"frame-ancestors {framing}"
    )


_STYLE: Final = (
    ":root{color-scheme:light dark;--ground:#f4f5f2;--surface:#fff;--text:#1b211e;--muted:#545e58;--edge:#767f79;"
    "--accent:#0b6e5f;--strong:#085548;--on:#fff;--code:#e4e8e3}"
    "@media(prefers-color-scheme:dark){:root{--ground:#101413;--surface:#191f1d;--text:#e9eeeb;--muted:#a9b4ae;"
    "--edge:#8a958f;--accent:#63d2bb;--strong:#8be2d0;--on:#05231d;--code:#222a27}}"
    "body{font:1rem/1.5 system-ui,-apple-system,'Segoe UI',Roboto,'Noto Sans','DejaVu Sans',sans-serif;margin:0;"
    "min-height:100vh;display:grid;place-items:center;padding:1rem;box-sizing:border-box;color:var(--text);"
    "background:var(--ground)}"
    "main{max-width:34rem;width:100%;box-sizing:border-box;padding:2rem;border-radius:16px;background:var(--surface);"
    "box-shadow:0 1px 2px rgb(20 30 26/8%),0 8px 24px rgb(20 30 26/8%);overflow-wrap:anywhere}"
    "h1{font-size:clamp(1.5rem,1.2rem + 1.5vw,2.25rem);line-height:1.2;font-weight:650;margin:0 0 1rem}"
    "a{color:var(--accent)}code{background:var(--code);padding:.1em .3em;border-radius:6px}"
    "form{display:flex;flex-wrap:wrap;gap:.75rem;align-items:end;margin:1.5rem 0 .75rem}"
    "label{display:block;flex:1 1 14rem;font-size:.875rem;font-weight:600}"
    "input,button{font:inherit;min-height:48px;box-sizing:border-box;border-radius:12px;padding:0 .9rem}"
    "input{width:100%;margin-top:.25rem;border:1px solid var(--edge);background:var(--surface);color:inherit;"
    "font-size:1rem;font-weight:400}button{border:0;background:var(--accent);color:var(--on);font-weight:600;cursor:pointer}"
    "button:hover{background:var(--strong)}#room-help,.small{color:var(--muted);font-size:.875rem}"
    "nav{display:flex;flex-wrap:wrap;gap:0 1rem;margin-top:1rem}nav a{min-height:44px;display:flex;align-items:center}"
    "input:focus-visible,button:focus-visible,a:focus-visible{outline:3px solid var(--accent);outline-offset:2px}"
)


def _document(language: Language, title: str, body: str) -> str:
    return f"""<!doctype html>
<html lang="{language.code}" dir="{language.direction}">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{html.escape(title)}</title>
<style>{_STYLE}</style>
</head>
<body>
<main>
{body}
</main>
</body>
</html>
"""


def _form(language: Language) -> str:
    say = language.markup
    return f"""<form action="/call" method="get">
<label for="room">{say("landing.room")} <input id="room" name="room" maxlength="64" autocomplete="off" dir="auto"
 autocapitalize="none" spellcheck="false" pattern="[A-Za-z0-9][A-Za-z0-9._\\-]*" aria-describedby="room-help"></label>
<button type="submit">{say("landing.start")}</button>
</form>
<p id="room-help">{say("landing.room_help")}</p>"""


def _about(language: Language) -> str:
    return f"<h1>meshturn</h1>\n<p>{language.markup('landing.about')}</p>\n"


def _invited(language: Language) -> str:
    command = '<code dir="ltr">meshturn rooms token</code>'
    return f"<p>{language.markup('landing.by_invitation', command=command)}</p>\n"


def _for_programs(language: Language) -> str:
    said = language.markup("landing.for_programs", path='<code dir="ltr">/healthz</code>')
    return f'\n<p class="small">{said}</p>'


def _no_such_name(language: Language) -> str:
    say = language.markup
    return f"<h1>{say('landing.no_such_name')}</h1>\n<p>{say('landing.no_such_name_hint')}</p>\n"


def _no_such_file(language: Language) -> str:
    say = language.markup
    return f"<h1>{say('landing.not_found')}</h1>\n<p>{say('landing.no_such_file')}</p>"


_OWN_POLICY: Final = (
    "default-src 'none'; "
    f"style-src 'sha256-{base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()}'; "
    "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
