"""The admin page: ``/admin`` and ``/admin-assets/{file}``. It has no secret; whatever it shows comes from the API.

The page is the same for everybody, and asks for an admin key. Its policy allows only its own files, no inline script
and no frame, and browsers refuse to make markup of a text in it (Trusted Types). Without an admin key in the
configuration nobody could use it, so that the answer is 404 then.
"""

from collections.abc import Callable
from importlib import resources
from typing import Final

from aiohttp import web

from turnserver import signaling

__all__ = ["AdminPage", "load_admin_assets"]

_TYPES: Final = {"css": "text/css", "html": "text/html", "js": "text/javascript"}
_PAGE: Final = "admin.html"

_HEADERS: Final = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


def load_admin_assets() -> dict[str, tuple[bytes, str]]:
    """The files of the page by name, each with its media type."""
    found = {}
    for entry in (resources.files(signaling) / "adminpage").iterdir():
        kind = entry.name.rpartition(".")[2]
        if kind in _TYPES and entry.is_file():
            found[entry.name] = (entry.read_bytes(), _TYPES[kind])
    return found


class AdminPage:
    """The handlers. ``enabled`` says whether there is a key that could be used with the page, at each request."""

    def __init__(self, enabled: Callable[[], bool]) -> None:
        self._enabled = enabled
        self._assets = load_admin_assets()

    def mount(self, app: web.Application) -> None:
        """Add the routes, before the application starts."""
        app.router.add_get("/admin", self.page)
        app.router.add_get("/admin-assets/{file}", self.asset)

    async def page(self, request: web.Request) -> web.Response:
        """The page."""
        return self._answer(_PAGE)

    async def asset(self, request: web.Request) -> web.Response:
        """One of its files."""
        name = request.match_info["file"]
        return self._answer("" if name == _PAGE else name)

    def _answer(self, name: str) -> web.Response:
        content, media_type = self._assets.get(name, (b"", ""))
        if not media_type or not self._enabled():
            return web.Response(status=404, text="There is no such page here.\n", headers=_HEADERS)
        return web.Response(body=content, content_type=media_type, charset="utf-8", headers=_HEADERS)
