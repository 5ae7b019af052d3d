"""The default page at ``/``: it says what this server is, and loads nothing from other hosts."""

import base64
import hashlib
from typing import Final

from aiohttp import web

__all__ = ["landing"]

_STYLE: Final = (
    "body{font:1.05rem/1.6 system-ui,sans-serif;max-width:38rem;margin:12vh auto;padding:0 1.5rem;"
    "color:#1b1f24;background:#fff}h1{font-size:1.6rem}code{background:#eef0f2;padding:.1em .3em;border-radius:.25em}"
    "@media(prefers-color-scheme:dark){body{color:#e6e8ea;background:#15181c}code{background:#262b31}}"
)

_PAGE: Final = f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>meshturn</title>
<style>{_STYLE}</style>
</head>
<body>
<main>
<h1>meshturn</h1>
<p>This is a STUN and TURN server. It helps browsers and other programs to reach each other when networks stand between
them, and it speaks to those programs on this very port.</p>
<p>There is nothing here for people to look at. Monitoring finds its answer at <code>/healthz</code>.</p>
</main>
</body>
</html>
"""

_STYLE_HASH: Final = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
_POLICY: Final = (
    f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


async def landing(request: web.Request) -> web.Response:
    """The page itself."""
    return web.Response(text=_PAGE, content_type="text/html", headers={"Content-Security-Policy": _POLICY})
