"""The child process of the SFU: an engine that is asked by messages, and reports by messages. Run with ``-m``.

Its parent sends `START` with the sockets, which are inherited, and then a `CALL` for everything that rooms ask, and a
`MOVE` when clients reach the sockets by other addresses. It gets a `FACT` for everything that the engine reports, and a
`VIEW` of each room once a second.
"""

import asyncio
import json
import os
import socket
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from stun.address import Address
from turnserver.framing import LARGEST, FrameError
from turnserver.media.facts import MediaFact
from turnserver.media.host import EngineHost
from turnserver.media.stats import MediaRoomView
from turnserver.recordings.owner import RecordingOptions
from turnserver.supervised import FIRST_KIND, Parent, attach

__all__ = ["CALL", "FACT", "MOVE", "NICE", "START", "VIEW", "Worker", "main"]

START: Final = FIRST_KIND
"""To the child, as JSON: for each socket, its descriptor, and address and port by which clients reach it; and the
fields of `turnserver.recordings.owner.RecordingOptions`."""
CALL: Final = FIRST_KIND + 1
"""To the child, as JSON: a name out of `turnserver.media.host.CALLS`, and the arguments."""
FACT: Final = FIRST_KIND + 2
"""From the child, as JSON: the name of a fact, and its fields."""
VIEW: Final = FIRST_KIND + 3
"""From the child: the name of a room, a zero byte, and its view as JSON."""
MOVE: Final = FIRST_KIND + 4
"""To the child, as JSON: for each socket, the address and port by which clients reach it from now on."""

NICE: Final = 5
"""Added to the nice value of the server's: where there are not enough cores for both, relaying has three quarters of
one, since each packet of TURN is waited for by somebody who has no other way."""

_VIEWS: Final = 1.0
"""Seconds between two views of a room."""

_BUSY: Final = 1024 * 1024
"""Bytes that wait for a parent which does not need views as well."""


class Worker:
    """What a child does; made on the running loop. ``sock`` is its end of the socket pair."""

    def __init__(self, sock: socket.socket) -> None:
        self._host: EngineHost | None = None
        self._parent = Parent(sock, self._receive)
        self._loop = asyncio.get_running_loop()
        self._views: Iterator[MediaRoomView] = iter(())

    async def run(self) -> str:
        """Work until the parent ends it; returns why, empty if it just did."""
        try:
            return await self._parent.over()
        finally:
            if self._host is not None:
                self._host.close()

    def _receive(self, kind: int, payload: bytes) -> None:
        try:
            found = json.loads(payload)
            if kind == START and self._host is None:
                self._start(*found)
            elif kind == CALL and self._host is not None:
                call, *arguments = found
                self._host.ask(call, arguments)
            elif kind == MOVE and self._host is not None:
                self._host.move([Address.parse(host, port) for host, port in found])
            else:
                raise FrameError(f"a message of kind {kind}")
        except (ValueError, TypeError, RecursionError) as error:
            raise FrameError(f"a message of kind {kind} that cannot be read: {error}") from error

    def _start(self, sockets: Sequence[tuple[int, str, int]], recordings: tuple[str | None, int, int]) -> None:
        opened = [socket.socket(fileno=descriptor) for descriptor, _, _ in sockets]
        public = [Address.parse(host, port) for _, host, port in sockets]
        directory, most, reserve = recordings
        options = RecordingOptions(None if directory is None else Path(directory), most, reserve)
        self._host = EngineHost(opened, public, options, self._tell, fault=self._parent.fault)
        self._parent.ready()
        self._loop.call_later(_VIEWS, self._look)

    def _tell(self, fact: MediaFact) -> None:
        self._parent.tell(FACT, type(fact).__name__, *fact)

    def _look(self) -> None:
        """Take the views of all rooms; they are sent one in each turn, since each may be large."""
        if self._host is not None and self._parent.unread < _BUSY:
            self._views = iter(self._host.rooms())
        self._show()

    def _show(self) -> None:
        view = next(self._views, None)
        if view is None:
            self._loop.call_later(_VIEWS, self._look)
            return
        payload = view.room.encode() + b"\0" + json.dumps(view, separators=(",", ":")).encode()
        if len(payload) < LARGEST:
            self._parent.send(VIEW, payload)
        self._loop.call_soon(self._show)


async def _work(sock: socket.socket) -> str:
    return await Worker(sock).run()


def main(arguments: Sequence[str]) -> Any:
    """Be a child of the SFU until the parent ends it; returns the exit status, or why it went wrong."""
    sock = attach(arguments)
    os.nice(NICE)
    return asyncio.run(_work(sock)) or 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
