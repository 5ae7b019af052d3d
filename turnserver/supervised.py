"""The side of a child process: what `turnserver.supervisor` starts begins here, and ends with its parent.

Its parent's end of the socket pair is the one thing that it is for: once that is closed, it ends. It ends with its
parent also if it is busy (``PR_SET_PDEATHSIG``, where the system has it). Signals that are meant for a whole group of
processes (Ctrl-C, a service manager's SIGTERM) are the parent's to answer.
"""

import asyncio
import ctypes
import faulthandler
import gc
import json
import logging
import os
import signal
import socket
import sys
import traceback
from collections.abc import Callable, Sequence
from typing import Any, Final

from turnserver.errors import ServerError
from turnserver.framing import FrameError
from turnserver.messages import MessageLink

__all__ = ["ALIVE", "FAULT", "FIRST_KIND", "READY", "Parent", "RemoteFault", "attach", "read_fault"]

READY: Final = 1
"""The child takes messages, and does its work."""
ALIVE: Final = 2
"""It has nothing to say."""
FAULT: Final = 3
"""It has caught exceptions: the part, how many, and the last one's traceback."""
FIRST_KIND: Final = 16
"""Kinds from here on belong to what a child does."""

_BEAT: Final = 1.0
"""Seconds between two signs of life."""

_MOST_TEXT: Final = 8192
"""Characters of a traceback."""

_LEFT_TO_PARENT: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
_PR_SET_PDEATHSIG: Final = 1


class RemoteFault(ServerError):
    """An exception in a child process; its text is the traceback there."""


def read_fault(payload: bytes) -> tuple[str, int, str]:
    """Part, number and traceback of a `FAULT`. Raises `turnserver.framing.FrameError` for anything else."""
    try:
        part, times, text = json.loads(payload)
    except (ValueError, TypeError, RecursionError) as error:
        raise FrameError("a fault that cannot be read") from error
    if not (isinstance(part, str) and isinstance(times, int) and isinstance(text, str)) or times < 1:
        raise FrameError("a fault that cannot be read")
    known = part if part.isascii() and part.replace(".", "").isalpha() and len(part) <= 32 else "process"
    return known, min(times, 1_000_000), text[:_MOST_TEXT]


def attach(arguments: Sequence[str]) -> socket.socket:
    """Become a child: ``arguments`` are the number of its end of the socket pair, and its parent's process id.

    Raises SystemExit if the parent has ended in the meantime.
    """
    descriptor, parent = map(int, arguments)
    for number in _LEFT_TO_PARENT:
        signal.signal(number, signal.SIG_IGN)
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        raise SystemExit("the parent has ended")
    faulthandler.enable()
    logging.basicConfig(level=logging.WARNING, format="%(name)s: %(message)s", stream=sys.stderr)
    return socket.socket(fileno=descriptor)


class Parent:
    """What a child knows of its parent; made on the running loop.

    ``receive`` gets kind and payload of each message, and may raise `turnserver.framing.FrameError`.
    """

    def __init__(self, sock: socket.socket, receive: Callable[[int, bytes], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._gone: asyncio.Future[str] = self._loop.create_future()
        self._link = MessageLink(sock, receive, self._ended)
        self._faults: dict[str, tuple[int, str]] = {}
        self._beat = self._loop.call_later(_BEAT, self._live)

    @property
    def unread(self) -> int:
        """Bytes that wait for the parent."""
        return self._link.unread

    def ready(self) -> None:
        """Say that the work has begun. Objects of the start are left out of later garbage collections."""
        gc.collect()
        gc.freeze()
        self._link.send(READY)

    def send(self, kind: int, payload: bytes) -> None:
        """Send a message."""
        self._link.send(kind, payload)

    def tell(self, kind: int, *fields: Any) -> None:
        """Send a message whose payload is JSON."""
        self._link.send(kind, json.dumps(fields, separators=(",", ":")).encode())

    def fault(self, part: str, error: BaseException) -> None:
        """An exception was caught, and its effect contained. They are told once a second, with one traceback each."""
        count, _ = self._faults.get(part, (0, ""))
        text = "".join(traceback.format_exception(error))[-_MOST_TEXT:] if not count else self._faults[part][1]
        self._faults[part] = count + 1, text

    async def over(self) -> str:
        """Wait for the end of the parent, or of its interest; returns why, empty if that is all there is to say."""
        return await self._gone

    def _ended(self, why: str) -> None:
        self._beat.cancel()
        if not self._gone.done():
            self._gone.set_result(why)

    def _live(self) -> None:
        self._beat = self._loop.call_later(_BEAT, self._live)
        for part, (count, text) in self._faults.items():
            self.tell(FAULT, part, count, text)
        self._faults.clear()
        self._link.send(ALIVE)
