"""The source that asks a program of the operator's by HTTP: `docs/credential-hook.md` has the protocol.

Strangers choose the names that are asked for, so everything has a bound. A name is asked for once, however many wait
for it. So many requests are under way, the others wait their turn, and all of it has one timeout. Answers are
remembered for a while, those about unknown names in a table of their own, so that made-up names cannot push out the
users who are there.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from cachetools import TTLCache

from auth.source import CredentialSource
from auth.types import PENDING, Answer, Credential, LateAnswer, Unavailable
from turnserver.credentials.hook_client import HookClient, HookReply, Unreachable
from turnserver.credentials.hook_messages import InvalidReply, Question, is_username, read_reply
from turnserver.credentials.settings import HookSection
from turnserver.credentials.signature import signing_key

__all__ = ["HookSource"]

MAX_REMEMBERED: Final = 10_000
"""Answers that are remembered, of users and of unknown names each; the least recently used is forgotten first."""

_FOUND: Final = 200
_UNKNOWN: Final = 404


@dataclass(eq=False)
class _Flight:
    """A question that is being asked, and how many wait for the answer."""

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
            raise ValueError("a hook has a URL and a secret")
        self._settings = settings
        key = signing_key(secret.get_secret_value())
        self._client = HookClient(settings.url, key, settings.connections, wall)
        self._slots = asyncio.Semaphore(settings.connections)
        self._flights: dict[Question, _Flight] = {}
        self._found: TTLCache[Question, Credential] = TTLCache(MAX_REMEMBERED, settings.cache, clock)
        self._unknown: TTLCache[Question, None] = TTLCache(MAX_REMEMBERED, settings.cache_unknown, clock)
        self._generation = 0

    @classmethod
    def from_config(cls, settings: HookSection, *, clock: Callable[[], float] = time.monotonic) -> "HookSource":
        """The source of a configuration. Raises ValueError if that has no URL or no secret."""
        return cls(settings, clock=clock)

    def __repr__(self) -> str:
        """Count what is remembered; show nothing of it."""
        return f"HookSource({len(self._found)} users remembered)"

    @property
    def anonymous(self) -> bool:
        """Whether the hook finds users by hash, as the configuration says."""
        return self._settings.userhash

    def find(self, username: str, realm: str, wall: float) -> Answer:
        """What is remembered of a user, nothing for a name that nobody can have, or ``PENDING``."""
        return self._remembered(Question(username, b"", realm), wall) if is_username(username) else ()

    def find_by_hash(self, userhash: bytes, realm: str, wall: float) -> Answer:
        """The same by hash; nothing unless the hook finds users by hash."""
        return self._remembered(Question("", bytes(userhash), realm), wall) if self.anonymous else ()

    async def ask(self, username: str, realm: str, wall: float) -> LateAnswer:
        """What the hook says."""
        return await self._asked(Question(username, b"", realm))

    async def ask_by_hash(self, userhash: bytes, realm: str, wall: float) -> LateAnswer:
        """What the hook says."""
        return await self._asked(Question("", bytes(userhash), realm))

    def forget(self, user_id: str) -> None:
        """Ask again when the user comes back; an answer that is on its way is not remembered."""
        self._generation += 1
        for question in [question for question, found in self._found.items() if found.user_id == user_id]:
            self._found.pop(question, None)

    async def close(self) -> None:
        """Close the connections; who waits for an answer is told that there is none."""
        for flight in list(self._flights.values()):
            if flight.task is not None:
                flight.task.cancel()
            _settle(flight, Unavailable("hook: it is not asked any more"))
        self._flights.clear()
        self._found.clear()
        self._unknown.clear()
        await self._client.close()

    def _remembered(self, question: Question, wall: float) -> Answer:
        found = self._found.get(question)
        if found is not None:
            if not _is_over(found, wall):
                return (found,)
            del self._found[question]  # there may be a new one by now
        return () if question in self._unknown else PENDING

    async def _asked(self, question: Question) -> LateAnswer:
        """Wait for the answer, together with others who want to know the same."""
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
                # Nobody wants to know any more. A request that was sent goes on: cut off, it would be work for the hook
                # that does not count as one of so many.
                flight.task.cancel()
                self._land(question, flight)

    async def _fly(self, question: Question, flight: _Flight) -> None:
        try:
            answer = await self._in_time(question, flight)
        except Exception as error:
            # Nobody foresaw it: whoever waits is to see it, and note it as a fault.
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
                return _answer(await self._client.post(question.encode()), question)
        except TimeoutError:
            if flight.sent:
                return Unavailable(f"hook: no answer within {timeout} seconds")
            return Unavailable(f"hook: no turn within {timeout} seconds, too many requests are under way")
        except Unreachable as error:
            return Unavailable(f"hook: {error}")

    def _remember(self, question: Question, answer: LateAnswer, flight: _Flight) -> None:
        """Remember what was said, unless users have been revoked since the question."""
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
        return Unavailable(f"hook: it answers {reply.status}")
    try:
        return (read_reply(reply.body, question),)
    except InvalidReply as error:
        return Unavailable(f"hook: its answer is not understood ({error})")
