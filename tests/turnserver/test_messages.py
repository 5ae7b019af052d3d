"""Messages over a socket pair: what is read is what was sent; limits in both directions."""

import asyncio
import socket
from collections.abc import Callable

from tests.support.sfu_people import until
from turnserver.framing import FrameError, encode
from turnserver.messages import MessageLink


class End:
    """A link and what has come of it."""

    def __init__(self, sock: socket.socket, receive: Callable[[int, bytes], None] | None = None, **more: int) -> None:
        self.heard: list[tuple[int, bytes]] = []
        self.ended: list[str] = []
        self.link = MessageLink(sock, receive or self._hear, self.ended.append, **more)

    def _hear(self, kind: int, payload: bytes) -> None:
        self.heard.append((kind, payload))


async def test_both_ways_and_large() -> None:
    one, other = map(End, socket.socketpair())
    large = bytes(range(256)) * 8000
    one.link.send(5, large)
    other.link.send(6)
    assert one.link.unread > 0
    await until(lambda: bool(one.heard and other.heard))
    assert (one.heard, other.heard) == ([(6, b"")], [(5, large)])
    assert one.link.unread == 0
    one.link.close()
    one.link.close()
    await until(lambda: bool(other.ended))
    assert (one.ended, other.ended) == ([], [""])
    other.link.send(1, b"late")
    one.link.send(1, b"late")


async def test_a_side_that_does_not_read() -> None:
    ours, theirs = socket.socketpair()
    end = End(ours, most_unread=100_000)
    for _ in range(1000):
        end.link.send(1, bytes(1000))
        assert end.link.unread <= 101_100
    assert end.ended == [], "never from inside of a call"
    await until(lambda: bool(end.ended))
    assert end.ended == ["it does not read what it is sent"]
    theirs.close()


async def test_nonsense_ends_the_link_once() -> None:
    ours, theirs = socket.socketpair()
    end = End(ours)
    theirs.send(encode(9, b"good") + bytes(4) + encode(9, b"not looked at"))
    await until(lambda: bool(end.ended))
    assert end.heard == [(9, b"good")]
    assert end.ended == ["it sent a message of 0 bytes"]
    theirs.close()
    await asyncio.sleep(0)
    assert len(end.ended) == 1


async def test_a_receiver_that_refuses() -> None:
    def refuse(kind: int, payload: bytes) -> None:
        raise FrameError("what it may not")

    ours, theirs = socket.socketpair()
    end = End(ours, refuse)
    theirs.send(encode(9, b""))
    await until(lambda: bool(end.ended))
    assert end.ended == ["it sent what it may not"]
    theirs.close()


async def test_a_link_that_is_closed_by_what_it_hears() -> None:
    heard = []

    def close(kind: int, payload: bytes) -> None:
        heard.append(kind)
        end.link.close()

    ours, theirs = socket.socketpair()
    end = End(ours, close)
    theirs.send(encode(1, b"") + encode(2, b""))
    await until(lambda: bool(heard))
    await asyncio.sleep(0)
    assert (heard, end.ended) == ([1], [])
    theirs.close()
