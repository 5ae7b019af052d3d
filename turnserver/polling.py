"""Waiting for many byte streams at once: one private ``epoll`` per event loop, or the loop itself.

All streams of a loop are in one private ``epoll``, whose descriptor is the only one that the loop watches, as with the
relay sockets (see `turnserver.relay.sockets`): a wake-up costs the same for any number of streams. Without ``epoll``
the loop watches each stream. One turn serves streams for a few milliseconds at most, because a TLS handshake takes one,
and a flood of handshakes must not delay the packets of others.
"""

import asyncio
import select
import time
import weakref
from typing import Final, Protocol

__all__ = ["READ", "WRITE", "Polled", "Poller", "poller_of"]

READ: Final = 1  # EPOLLIN
WRITE: Final = 4  # EPOLLOUT

_POLL_SIZE: Final = 128
_TURN: Final = 0.005
"""Seconds of one turn of the loop after which the remaining streams wait for the next turn."""


class Polled(Protocol):
    """A stream, as a poller sees it."""

    fileno: int

    def ready(self, events: int) -> None:
        """Handle events of the poller."""


class Poller(Protocol):
    """Tells streams of their events."""

    def set(self, stream: Polled, events: int) -> None:
        """Watch for these events on a stream; 0 for none at all."""


class _EpollPoller:
    """All streams of one loop; it has an ``epoll``, watched by the loop, only while there are streams."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._streams: dict[int, Polled] = {}
        self._epoll: select.epoll | None = None
        self._waiting: list[tuple[int, int]] = []

    def set(self, stream: Polled, events: int) -> None:
        """Watch for these events on a stream; 0 for none at all."""
        fd = stream.fileno
        known = fd in self._streams
        if not events:
            if known:
                self._drop(fd)
            return
        if self._epoll is None:
            self._epoll = select.epoll()
            self._loop.add_reader(self._epoll.fileno(), self._dispatch)
        if known:
            self._epoll.modify(fd, events)
        else:
            self._epoll.register(fd, events)
            self._streams[fd] = stream

    def _drop(self, fd: int) -> None:
        del self._streams[fd]
        if self._epoll is None:
            return
        self._epoll.unregister(fd)
        if not self._streams:
            self._loop.remove_reader(self._epoll.fileno())
            self._epoll.close()
            self._epoll = None

    def _dispatch(self) -> None:
        """One turn. Streams that were not served come first in the next turn; a stale event does no harm."""
        if self._epoll is None:
            return
        found = self._waiting or self._epoll.poll(0, _POLL_SIZE)
        self._waiting = []
        streams = self._streams
        late = time.monotonic() + _TURN
        for number, (fd, events) in enumerate(found, 1):
            stream = streams.get(fd)
            if stream is not None:
                stream.ready(events)
            if time.monotonic() > late:
                self._waiting = found[number:]
                return


class _LoopPoller:
    """The same without ``epoll``: the loop watches each stream."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._events: dict[int, int] = {}

    def set(self, stream: Polled, events: int) -> None:
        """Watch for these events on a stream; 0 for none at all."""
        fd = stream.fileno
        changed = self._events.pop(fd, 0) ^ events
        if events:
            self._events[fd] = events
        if changed & READ:
            if events & READ:
                self._loop.add_reader(fd, stream.ready, READ)
            else:
                self._loop.remove_reader(fd)
        if changed & WRITE:
            if events & WRITE:
                self._loop.add_writer(fd, stream.ready, WRITE)
            else:
                self._loop.remove_writer(fd)


_pollers: Final[weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, Poller]] = weakref.WeakKeyDictionary()


def poller_of(loop: asyncio.AbstractEventLoop) -> Poller:
    """The poller of a loop, made when it is first needed."""
    poller = _pollers.get(loop)
    if poller is None:
        poller = _pollers[loop] = _EpollPoller(loop) if hasattr(select, "epoll") else _LoopPoller(loop)
    return poller
