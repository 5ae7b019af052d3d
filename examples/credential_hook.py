"""A credential hook: a program of one's own that the server asks, by HTTP, who somebody is (`auth.hook`).

It keeps keys instead of passwords, and answers nobody who does not have the secret: Standard Webhooks has libraries for
that in most languages, and it is a few lines by hand. When the program is down, the client gets 500 and may try again.
"""

import asyncio
import hashlib
import hmac
import json
import time
from base64 import b64decode, b64encode
from collections.abc import Mapping

from aiohttp import web

from meshturn import ClientOptions, Server, TurnClient
from meshturn.errors import ErrorResponse

REALM = "example.org"
SECRET = "whsec_c2l4dGVlbiBieXRlcyBvciBtb3Jl"  # noqa: S105  it opens nothing but this example
TOLERANCE = 300
"""Seconds that a request may be old, so that one that somebody has recorded is worth nothing later."""


def keys_of(name: str, password: str) -> dict[str, str]:
    """What is kept of a user (RFC 8489 §18.5.1). The realm is in it: keys of another server are worth nothing here."""
    text = f"{name}:{REALM}:{password}".encode()
    return {"md5": hashlib.md5(text, usedforsecurity=False).hexdigest(), "sha256": hashlib.sha256(text).hexdigest()}


USERS = {"alice": keys_of("alice", "wonderland")}
"""Rows of a database, in earnest."""


def is_genuine(headers: Mapping[str, str], body: bytes) -> bool:
    """Whether whoever asks has the secret, and asks now."""
    request_id, timestamp = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
    if not timestamp.isdecimal() or abs(time.time() - int(timestamp)) > TOLERANCE:
        return False
    key = b64decode(SECRET.removeprefix("whsec_"))
    digest = hmac.digest(key, f"{request_id}.{timestamp}.".encode() + body, "sha256")
    signature = b"v1," + b64encode(digest)
    return hmac.compare_digest(signature, headers.get("webhook-signature", "").encode())


async def answer(request: web.Request) -> web.Response:
    """200 with the keys of a user, 404 for one that there is not."""
    body = await request.read()
    if not is_genuine(request.headers, body):
        return web.Response(status=403)
    question = json.loads(body)
    keys = USERS.get(question["username"]) if question["realm"] == REALM else None
    return web.Response(status=404) if keys is None else web.json_response({"keys": keys})


async def attempt(server: Server, user: str, password: str) -> str:
    """What becomes of somebody who wants a relay."""
    _, address = server.snapshot().listening[0]
    options = ClientOptions(unsigned_errors=True)  # a 500 is not signed: the server has no key to do it with
    async with TurnClient(f"turn:{address}", user, password, options=options) as client:
        try:
            allocation = await client.allocate()
        except ErrorResponse as error:
            return str(error.code)
        return f"a relay on {allocation.address.host}"


async def main() -> None:
    """The program, and a server that asks it, until the program goes away."""
    app = web.Application()
    app.router.add_post("/turn", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    port = runner.addresses[0][1]
    options = {
        "realm": REALM,
        "listeners": [{"address": "127.0.0.1", "port": 0}],
        "auth": {"hook": {"url": f"http://127.0.0.1:{port}/turn", "secret": SECRET, "cache": 0}},
    }
    async with Server(options) as server:
        print("alice gets", await attempt(server, "alice", "wonderland"))
        print("alice with another password gets", await attempt(server, "alice", "guess"))
        print("mallory gets", await attempt(server, "mallory", "guess"))
        await runner.cleanup()
        print("without the program, alice gets", await attempt(server, "alice", "wonderland"))


if __name__ == "__main__":
    asyncio.run(main())
