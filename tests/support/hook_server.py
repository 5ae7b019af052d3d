"""A credential hook's other side, on a real socket: answers as the test says and remembers who asked what, and when."""

import asyncio
import hmac
import json
import time
from base64 import b64decode, b64encode
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Any, Final, Self

from aiohttp import web

from auth.keys import user_hash
from turnserver.config import HookConfig

__all__ = ["SECRET", "Back", "until"]

SECRET: Final = "the secret of the hook"

PASSWORDS: Final = {"alice": "wonderland", "bob": "builder"}

Answer = Callable[[dict[str, Any]], Awaitable[web.StreamResponse]]


async def until(condition: Callable[[], object]) -> None:
    """Wait for something to become true; fails after 20 seconds."""
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.001)


class Back:
    """A program that knows users; an async context manager.

    ``asked`` are the questions, ``most`` is how many were open at once at most. ``answer`` can be replaced. While
    ``held`` is set to a fresh event, answers wait for it.
    """

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.open = 0
        self.most = 0
        self.held: asyncio.Event | None = None
        self.answer: Answer = self.known
        self.port = 0
        self._runner: web.AppRunner | None = None

    async def __aenter__(self) -> Self:
        """Serve."""
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Stop."""
        await self.stop()

    async def start(self) -> None:
        """Listen; on the same port as before, if there was one."""
        app = web.Application()
        app.router.add_post("/turn", self._handle)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1, handler_cancellation=True)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self.port, reuse_address=True)
        await site.start()
        self.port = site._server.sockets[0].getsockname()[1]  # type: ignore[union-attr]

    async def stop(self) -> None:
        """Close every connection."""
        if self._runner is not None:
            if self.held is not None:
                self.held.set()
            await self._runner.cleanup()
            self._runner = None

    @property
    def url(self) -> str:
        """Where it is asked."""
        return f"http://127.0.0.1:{self.port}/turn"

    def config(self, **options: Any) -> HookConfig:
        """The section of the configuration that leads here."""
        return HookConfig.model_validate({"url": self.url, "secret": SECRET, **options})

    @property
    def names(self) -> list[str]:
        """Who was asked for."""
        return [question.get("username", "") for question in self.asked]

    async def known(self, question: dict[str, Any]) -> web.StreamResponse:
        """The users that there are; by hash, too."""
        for name, password in PASSWORDS.items():
            if question.get("username") == name:
                return web.json_response({"password": password})
            if question.get("userhash") == user_hash(name, question["realm"]).hex():
                return web.json_response({"password": password, "username": name})
        return web.Response(status=404)

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        self.headers.append(dict(request.headers))
        assert signed_by(SECRET, request.headers, body), "not signed by the secret"
        assert abs(int(request.headers["webhook-timestamp"]) - time.time()) < 300
        question = json.loads(body)
        self.asked.append(question)
        self.open += 1
        self.most = max(self.most, self.open)
        try:
            if self.held is not None:
                await self.held.wait()
            return await self.answer(question)
        finally:
            self.open -= 1


def signed_by(secret: str, headers: Any, body: bytes) -> bool:
    """Standard Webhooks, written down a second time: the signature is that of id, time and body."""
    key = b64decode(secret[6:]) if secret.startswith("whsec_") else secret.encode()
    signed = b".".join((headers["webhook-id"].encode(), headers["webhook-timestamp"].encode(), body))
    expected = b"v1," + b64encode(hmac.new(key, signed, "sha256").digest())
    return hmac.compare_digest(expected, headers["webhook-signature"].encode())
