"""The source that asks a program of the operator by HTTP: `docs/credential-hook.md` describes the protocol.

Any client can cause look-ups of any name, so everything is bounded. Concurrent look-ups of a name share one request.
The number of concurrent requests is limited, other requests wait, and one timeout covers both the wait and the request.
Answers are cached. Unknown names have a separate cache, so that invented names cannot displace existing users.

A web server answers 404 for a path that it does not have, too, so a mistyped URL makes every user unknown. Until the
hook has known a user, the log says so from time to time.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit

from cachetools import TTLCache

from auth.source import CredentialSource
from auth.types import PENDING, Answer, Credential, LateAnswer, Unavailable
from turnserver.credentials.hook_client import HookClient, HookReply, Unreachable
from turnserver.credentials.hook_messages import InvalidReply, Question, is_username, read_reply
from turnserver.credentials.settings import HookSection
from turnserver.credentials.signature import signing_key

__all__ = ["HookSource"]

MAX_REMEMBERED: Final = 10_000
"""Capacity of each cache, that of users and that of unknown names; the least recently used entry is dropped first."""

NOBODY_KNOWN_INTERVAL: Final = 600.0
"""Seconds between log lines about a hook that has not known any user yet."""

_logger = logging.getLogger("meshturn.credentials")

_FOUND: Final = 200
_UNKNOWN: Final = 404


@dataclass(eq=False)
class _Flight:
    """A question under way, and the number of callers that wait for the answer."""

    answer: asyncio.Future[LateAnswer]
    generation: int
    task: asyncio.Task[None] | None = None
    waiting: int = 0
    sent: bool = field(default=False)


class HookSource(CredentialSource):
    """Asks the hook at ``settings.url``. ``clock`` gives monotonic seconds, ``wall`` Unix time."""

    def __init__(
        self,
        settings: HookSection,
        *,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        secret = settings.secret
        if not settings.url or secret is None:
            raise ValueError("a hook needs a URL and a secret")
        self._settings = settings
        key = signing_key(secret.get_secret_value())
        self._client = HookClient(settings.url, key, settings.connections, wall)
        self._slots = asyncio.Semaphore(settings.connections)
        self._flights: dict[Question, _Flight] = {}
        self._found: TTLCache[Question, Credential] = TTLCache(MAX_REMEMBERED, settings.cache, clock)
        self._unknown: TTLCache[Question, None] = TTLCache(MAX_REMEMBERED, settings.cache_unknown, clock)
        self._generation = 0
        self._clock = clock
        self._known = False
        """Whether the hook has known a user: then the URL is the hook's."""
        self._speak_at = clock()
        """When to log again (monotonic seconds) that it has known none."""

    @classmethod
    def from_config(cls, settings: HookSection, *, clock: Callable[[], float] = time.monotonic) -> "HookSource":
        """The source of a configuration. Raises ValueError if the URL or the secret is missing."""
        return cls(settings, clock=clock)

    def __repr__(self) -> str:
        """Show the number of cached answers, but no content."""
        return f"HookSource({len(self._found)} users remembered)"

    @property
    def anonymous(self) -> bool:
        """Whether the hook finds users by hash, as the configuration says."""
        return self._settings.userhash

    def find(self, username: str, realm: str, wall: float) -> Answer:
        """The cached answer about a user, an empty answer for an invalid username, or ``PENDING``."""
        return self._remembered(Question(username, b"", realm), wall) if is_username(username) else ()

    def find_by_hash(self, userhash: bytes, realm: str, wall: float) -> Answer:
        """The same by hash; an empty answer unless the hook finds users by hash."""
        return self._remembered(Question("", bytes(userhash), realm), wall) if self.anonymous else ()

    async def ask(self, username: str, realm: str, wall: float) -> LateAnswer:
        """What the hook says."""
        return await self._asked(Question(username, b"", realm))

    async def ask_by_hash(self, userhash: bytes, realm: str, wall: float) -> LateAnswer:
        """What the hook says."""
        return await self._asked(Question("", bytes(userhash), realm))

    def forget(self, user_id: str) -> None:
        """Drop the cached answer about the user; an answer to a request under way is not cached."""
        self._generation += 1
        for question in [question for question, found in self._found.items() if found.user_id == user_id]:
            self._found.pop(question, None)

    async def close(self) -> None:
        """Close the connections; pending look-ups end as unavailable."""
        for flight in list(self._flights.values()):
            if flight.task is not None:
                flight.task.cancel()
            _settle(flight, Unavailable("hook: the source is closed"))
        self._flights.clear()
        self._found.clear()
        self._unknown.clear()
        await self._client.close()

    def _remembered(self, question: Question, wall: float) -> Answer:
        found = self._found.get(question)
        if found is not None:
            if not _is_over(found, wall):
                return (found,)
            del self._found[question]  # the hook may have a new one
        return () if question in self._unknown else PENDING

    async def _asked(self, question: Question) -> LateAnswer:
        """Wait for the answer; concurrent look-ups of the same question share one request."""
        flight = self._flights.get(question)
        if flight is None:
            flight = _Flight(asyncio.get_running_loop().create_future(), self._generation)
            flight.task = asyncio.create_task(self._fly(question, flight))
            self._flights[question] = flight
        flight.waiting += 1
        try:
            return await asyncio.shield(flight.answer)
        finally:
            flight.waiting -= 1
            if not flight.waiting and not flight.sent and flight.task is not None:
                # No caller waits any more. A request that was sent is not cancelled: the hook would still work on it,
                # and it would no longer count against the limit of concurrent requests.
                flight.task.cancel()
                self._land(question, flight)

    async def _fly(self, question: Question, flight: _Flight) -> None:
        try:
            answer = await self._in_time(question, flight)
        except Exception as error:
            # An unexpected exception is raised in the waiting callers, which record it as a fault.
            self._land(question, flight)
            if flight.waiting and not flight.answer.done():
                flight.answer.set_exception(error)
            return
        self._remember(question, answer, flight)
        self._land(question, flight)
        _settle(flight, answer)

    def _land(self, question: Question, flight: _Flight) -> None:
        if self._flights.get(question) is flight:
            del self._flights[question]

    async def _in_time(self, question: Question, flight: _Flight) -> LateAnswer:
        timeout = self._settings.timeout
        try:
            async with asyncio.timeout(timeout), self._slots:
                flight.sent = True
                reply = await self._client.post(question.encode())
                self._judge_url(reply)
                return _answer(reply, question)
        except TimeoutError:
            if flight.sent:
                return Unavailable(f"hook: no answer within {timeout} seconds")
            return Unavailable(f"hook: not sent within {timeout} seconds, too many requests are pending")
        except Unreachable as error:
            return Unavailable(f"hook: {error}")

    def _judge_url(self, reply: HookReply) -> None:
        """Log a 404 while no user has ever been known: it may be that of a web server without the hook's path."""
        self._known = self._known or reply.status == _FOUND
        now = self._clock()
        if self._known or reply.status != _UNKNOWN or now < self._speak_at:
            return
        self._speak_at = now + NOBODY_KNOWN_INTERVAL
        fields = {
            "status": reply.status,
            "url": urlsplit(self._settings.url)._replace(query="").geturl(),
            "hint": "check auth.hook.url: a web server answers 404 for a wrong path, too",
        }
        _logger.warning("credential hook has not known any user yet", extra={"fields": fields})

    def _remember(self, question: Question, answer: LateAnswer, flight: _Flight) -> None:
        """Cache the answer, unless users have been revoked since the question."""
        if isinstance(answer, Unavailable) or flight.generation != self._generation:
            return
        for found in answer:
            self._unknown.pop(question, None)
            self._found[question] = found
        if not answer:
            self._found.pop(question, None)
            self._unknown[question] = None


def _settle(flight: _Flight, answer: LateAnswer) -> None:
    if not flight.answer.done():
        flight.answer.set_result(answer)


def _is_over(found: Credential, wall: float) -> bool:
    return found.expires_at is not None and found.expires_at <= wall


def _answer(reply: HookReply, question: Question) -> Sequence[Credential] | Unavailable:
    if reply.status == _UNKNOWN:
        return ()
    if reply.status != _FOUND:
        return Unavailable(f"hook: the response has status {reply.status}")
    try:
        return (read_reply(reply.body, question),)
    except InvalidReply as error:
        return Unavailable(f"hook: the response is not valid ({error})")
