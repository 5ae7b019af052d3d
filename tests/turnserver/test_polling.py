"""Pollers: one for each loop, and streams that take long leave the loop to others (more in ``test_streams.py``)."""

import asyncio
import select

import pytest

from tests.support.tcp_pair import eventually, stream_pair
from turnserver.polling import READ, WRITE, poller_of


class Watched:
    """A stream, as far as a poller knows one."""

    def __init__(self, fileno: int) -> None:
        self.fileno = fileno
        self.events: list[int] = []

    def ready(self, events: int) -> None:
        self.events.append(events)


@pytest.mark.parametrize("kind", ["epoll", "loop"])
async def test_a_stream_is_told_of_what_it_watches_for(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Level-triggered, until it watches for something else or for nothing; unknown streams are no error."""
    if kind == "loop":
        monkeypatch.delattr(select, "epoll")
    sock, peer = await stream_pair()
    poller = poller_of(asyncio.get_running_loop())
    assert poller is poller_of(asyncio.get_running_loop())
    watched = Watched(sock.fileno())
    poller.set(watched, READ)
    await peer.send(b"x")
    await eventually(lambda: watched.events.count(READ) > 1)
    poller.set(watched, WRITE)
    await eventually(lambda: WRITE in watched.events)
    poller.set(watched, 0)
    poller.set(watched, 0)
    told = len(watched.events)
    for _ in range(10):
        await asyncio.sleep(0)
    assert len(watched.events) == told
    sock.close()
    peer.close()
