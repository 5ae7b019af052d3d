"""The SFU's engine on a real socket in a thread of its own, for browsers that are driven from this one."""

import asyncio
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TypeVar

from stun.address import Address
from tests.support.media_peer import identity
from turnserver.media.edge import MediaEdge
from turnserver.media.engine import EmbeddedEngine
from turnserver.media.facts import AnswerReady, MediaFact, OfferReady, TrackSource
from turnserver.media.router import Wish
from turnserver.media.stats import MediaPeerView

__all__ = ["EngineServer", "engine_server"]

ROOM = "r"

_Result = TypeVar("_Result")


class EngineServer:
    """An engine with one room that is open; made by `engine_server`. ``faults`` takes what goes wrong."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.facts: list[MediaFact] = []
        self.faults: list[str] = []
        self.engine = EmbeddedEngine(identity(), (), os.urandom, self.facts.append)
        self.edge = MediaEdge(self.engine, fault=lambda part, error: self.faults.append(f"{part}: {error!r}"))
        self._loop = loop

    def do(self, step: Callable[[float], _Result]) -> _Result:
        """Do something in the thread of the engine, at the present time, and send what comes of it."""

        async def there() -> _Result:
            done = step(time.monotonic())
            self.edge.flush()
            return done

        return asyncio.run_coroutine_threadsafe(there(), self._loop).result(60)

    def join(self, peer: str) -> None:
        """Somebody joins."""
        self.do(lambda now: self.engine.join(ROOM, peer, peer, now=now))

    def publish(self, peer: str, sdp: str, sources: Mapping[str, TrackSource] | None = None) -> str:
        """The answer to what somebody offers to send."""
        self.do(lambda now: self.engine.offer(ROOM, peer, "p1", sdp, sources or {}, now=now))
        return self._taken(AnswerReady, peer).sdp

    def offered(self, peer: str) -> OfferReady:
        """What somebody is offered, which has to be there."""
        return self._taken(OfferReady, peer)

    def answer(self, offer: OfferReady, sdp: str) -> None:
        """Somebody takes what it was offered."""
        self.do(lambda now: self.engine.answer(ROOM, offer.peer, offer.pc, sdp, now=now))

    def choose(self, peer: str, height: int) -> None:
        """Somebody shows everything in tiles of this height."""
        wishes: list[Wish] = []
        self.do(lambda now: self.engine.choose(ROOM, peer, None, height, wishes, now=now))

    def view(self, peer: str) -> MediaPeerView:
        """What statistics say of somebody."""
        (room,) = self.do(self.engine.rooms)
        return next(each for each in room.peers if each.peer == peer)

    def _taken(self, kind: "type[_Fact]", peer: str) -> "_Fact":
        found = next(fact for fact in self.facts if isinstance(fact, kind) and fact.peer == peer)
        self.facts.remove(found)
        return found


_Fact = TypeVar("_Fact", AnswerReady, OfferReady)


@contextmanager
def engine_server(addresses: Sequence[Address]) -> Iterator[EngineServer]:
    """A server on these addresses, bound in the network namespace of the caller."""
    loop = asyncio.new_event_loop()
    server = EngineServer(loop)
    server.edge.bind(addresses)
    server.engine.addresses = server.edge.addresses
    server.engine.open(ROOM, 1, now=time.monotonic())
    thread = threading.Thread(target=loop.run_forever)
    thread.start()

    async def serve() -> None:
        server.edge.serve()

    async def close() -> None:
        server.edge.close()

    asyncio.run_coroutine_threadsafe(serve(), loop).result(60)
    try:
        yield server
    finally:
        asyncio.run_coroutine_threadsafe(close(), loop).result(60)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(60)
        loop.close()
