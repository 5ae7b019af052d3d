"""Guards a source: in a chain, a source that raises must not hide the users of the other sources."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from auth.source import CredentialSource
from auth.types import Answer, Credential, LateAnswer, Pending, Unavailable
from turnserver.faults import RAISED, Faults, is_cancelled

__all__ = ["Guarded"]

CLOSE_TIME: Final = 2.0
"""Seconds for a source to close, so that it cannot prevent the server from stopping."""


class Guarded(CredentialSource):
    """Wraps another source, under its name in the configuration.

    An exception is recorded in ``faults`` under ``credentials.<name>``, and the source counts as unavailable.
    An invalid return value is treated in the same way.
    """

    __slots__ = ("_faults", "_name", "_source")

    def __init__(self, name: str, source: CredentialSource, faults: Faults) -> None:
        self._name = name
        self._source = source
        self._faults = faults

    def __repr__(self) -> str:
        """Name the source."""
        return f"Guarded({self._name}, {self._source!r})"

    @property
    def anonymous(self) -> bool:
        """The source's answer; False if it raises."""
        try:
            return bool(self._source.anonymous)
        except RAISED as error:
            self._note(error)
            return False

    def find(self, username: str, realm: str, wall: float) -> Answer:
        """What the source says."""
        return self._found(lambda: self._source.find(username, realm, wall))

    def find_by_hash(self, userhash: bytes, realm: str, wall: float) -> Answer:
        """What the source says."""
        return self._found(lambda: self._source.find_by_hash(userhash, realm, wall))

    async def ask(self, username: str, realm: str, wall: float) -> LateAnswer:
        """What the source says."""
        return await self._asked(lambda: self._source.ask(username, realm, wall))

    async def ask_by_hash(self, userhash: bytes, realm: str, wall: float) -> LateAnswer:
        """What the source says."""
        return await self._asked(lambda: self._source.ask_by_hash(userhash, realm, wall))

    def holds(self, credential: Credential, wall: float) -> bool | None:
        """What the source says; None if it raises, or says something else."""
        try:
            found = self._source.holds(credential, wall)
            return found if found is None else bool(found)
        except RAISED as error:
            self._note(error)
            return None

    def misread(self, username: str) -> str:
        """What the source says; nothing if it raises."""
        try:
            return str(self._source.misread(username))
        except RAISED as error:
            self._note(error)
            return ""

    def forget(self, user_id: str) -> None:
        """Tell the source."""
        try:
            self._source.forget(user_id)
        except RAISED as error:
            self._note(error)

    async def close(self) -> None:
        """Close the source; one that does not finish in time is abandoned."""
        try:
            async with asyncio.timeout(CLOSE_TIME):
                await self._source.close()
        except RAISED as error:
            if is_cancelled(error):
                raise
            self._note(error)

    def _found(self, find: Callable[[], Answer]) -> Answer:
        try:
            answer = find()
            return answer if isinstance(answer, Pending) else _settled(answer)
        except RAISED as error:
            return self._note(error)

    async def _asked(self, ask: Callable[[], Awaitable[LateAnswer]]) -> LateAnswer:
        try:
            return _settled(await ask())
        except RAISED as error:
            if is_cancelled(error):
                raise  # the answer is not wanted any more
            return self._note(error)  # also if what the source waited for was cancelled

    def _note(self, error: BaseException) -> Unavailable:
        self._faults.note(f"credentials.{self._name}", error)
        return Unavailable(f"{self._name}: {type(error).__qualname__}")


def _settled(answer: LateAnswer) -> LateAnswer:
    """An answer that can be iterated more than once; raises TypeError for other values."""
    if isinstance(answer, Unavailable):
        return answer
    found = tuple(answer)
    for each in found:
        if not isinstance(each, Credential):
            raise TypeError(f"a credential source answers with credentials, not with {type(each).__name__}")
    return found
