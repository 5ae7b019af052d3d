"""Connects a sans-IO client with a link, in the running loop: passes input and output, and keeps one timer."""

import asyncio
from collections.abc import Callable
from typing import Any, TypeVar

from stun.client.core import ClientCore
from stun.client.errors import RequestCancelled, ServerUnreachable
from stun.client.events import ClientEvent, RequestDone
from stun.client.requests import ClientRequest
from turnserver.turnclient.links import Link

__all__ = ["Driver"]

T = TypeVar("T")


class Driver:
    """Drives a `ClientCore` over a `Link`.

    ``on_event`` receives all events of the core except the ends of requests, for which `ask` waits; ``on_trouble``
    receives the errors of the link. Both are called in the loop; their exceptions go to its exception handler.
    """

    def __init__(
        self,
        core: ClientCore,
        link: Link,
        on_event: Callable[[ClientEvent], None],
        on_trouble: Callable[[ServerUnreachable], None] | None = None,
    ) -> None:
        self.core = core
        self.link = link
        self._on_event = on_event
        self._on_trouble = on_trouble
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._waiting: dict[ClientRequest[Any], asyncio.Future[None]] = {}
        self._closed = False
        self._ended: ServerUnreachable | None = None
        link.start(self)

    def now(self) -> float:
        """The loop's clock, which is the core's ``now``."""
        return self._loop.time()

    async def ask(self, begin: Callable[[float], ClientRequest[T]]) -> ClientRequest[T]:
        """Begin a request and wait until it is done; ``begin`` takes the time. Cancelling the wait cancels the request.

        Raises `ServerUnreachable` if the link has ended, and the exceptions of ``begin``.
        """
        if self._ended is not None:
            raise self._ended
        request = begin(self.now())
        future = self._loop.create_future()
        self._waiting[request] = future
        self.flush()
        try:
            await future
        except asyncio.CancelledError:
            self._waiting.pop(request, None)
            if not request.done:
                self.core.cancel(request, self.now())
                self.flush()
            raise
        return request

    def flush(self) -> None:
        """Process the core's output and set the timer; to be called after every call of the core."""
        for frame in self.core.frames():
            self.link.send(frame)
        for event in self.core.events():
            if isinstance(event, RequestDone):
                future = self._waiting.pop(event.request, None)
                if future is not None and not future.done():
                    future.set_result(None)
            else:
                self._tell(self._on_event, event)
        self._set_timer()

    async def close(self, why: str = "The client was closed.") -> None:
        """Stop, abandon pending requests, and close the link."""
        self._closed = True
        self.core.unreachable(RequestCancelled(why), self.now())
        self.flush()
        await self.link.close()

    # From the link

    def frame_received(self, frame: bytes) -> None:
        """A whole frame from the server."""
        self.core.receive(frame, self.now())
        self.flush()

    def link_troubled(self, error: ServerUnreachable) -> None:
        """RFC 8489 §6.2.1: a hard error of the network fails pending requests."""
        self.core.unreachable(error, self.now())
        self._trouble(error)

    def link_ended(self, error: ServerUnreachable) -> None:
        """RFC 8656 §3.1: the allocation ends with its connection."""
        self._ended = error
        self.core.lost(error, self.now())
        self._trouble(error)

    def _trouble(self, error: ServerUnreachable) -> None:
        if self._on_trouble is not None:
            self._tell(self._on_trouble, error)
        self.flush()

    def _tell(self, listener: Callable[[Any], None], what: object) -> None:
        try:
            listener(what)
        except (Exception, asyncio.CancelledError) as error:  # an exception in a listener must not stop the client
            self._loop.call_exception_handler({"message": "a TURN client's listener failed", "exception": error})

    def _set_timer(self) -> None:
        """A timer that is too early is kept: it finds nothing to do, and is set again."""
        deadline = None if self._closed or self._ended is not None else self.core.deadline()
        if self._timer is not None:
            if deadline is not None and self._timer.when() <= deadline:
                return
            self._timer.cancel()
            self._timer = None
        if deadline is not None:
            self._timer = self._loop.call_at(deadline, self._expire)

    def _expire(self) -> None:
        self._timer = None
        self.core.expire(self.now())
        self.flush()
