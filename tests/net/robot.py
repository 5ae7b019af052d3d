"""The Python client as somebody in a call: on a host of the laboratory, in a thread with an event loop of its own."""

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from threading import Event, Thread
from types import TracebackType
from typing import Self, TypeVar

from tests.net.lab import ADDRESS, Host
from tests.support.certificates import client_context
from tests.support.mesh import Member, member

__all__ = ["Robot"]

PATIENCE = 90.0
"""Seconds until a participant that has not joined counts as failed."""

T = TypeVar("T")


class Robot:
    """A participant who sends a tone and a moving picture; a context manager that joins and leaves."""

    def __init__(self, host: Host, room: str, name: str = "Robot") -> None:
        self._host = host
        self._room = room
        self._name = name
        self._tls: ssl.SSLContext = client_context()
        self._joined = Event()
        self._problem: BaseException | None = None
        self._thread = Thread(target=self._live, name="robot", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._joined.wait(PATIENCE), "the robot has not joined"
        if self._problem is not None:
            raise self._problem
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._leave.set)
        self._thread.join(PATIENCE)
        if error is None and self._problem is not None:
            raise self._problem

    def ask(self, question: Callable[[Member], Awaitable[T]]) -> "Future[T]":
        """Have something done in the robot's own loop."""

        async def answer() -> T:
            return await question(self._member)

        return asyncio.run_coroutine_threadsafe(answer(), self._loop)

    def _live(self) -> None:
        try:
            # A thread's sockets, and those of threads that it starts, are made where it is.
            with self._host.entered():
                asyncio.run(self._take_part())
        except BaseException as error:
            self._problem = error
        finally:
            self._joined.set()

    async def _take_part(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._leave = asyncio.Event()
        async with member(f"https://{ADDRESS}", self._room, name=self._name, tls=self._tls) as self._member:
            self._joined.set()
            await self._leave.wait()
