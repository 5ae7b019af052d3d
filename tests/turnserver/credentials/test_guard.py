"""What a source raises stays its own."""

import asyncio
import logging
from collections.abc import Callable
from typing import Any

import pytest

from auth.source import CredentialSource, StaticUsers
from auth.types import PENDING, Answer, Credential, LateAnswer, Unavailable
from turnserver.credentials import guard
from turnserver.credentials.guard import Guarded
from turnserver.faults import Faults

REALM = "example.org"
USERS = StaticUsers({"alice": "wonderland"})
FOUND = USERS.find("alice", REALM, 0.0)
HASH = bytes(32)
DOWN = Unavailable("the database is down")


class Doing(CredentialSource):
    """Does the same whatever is asked of it."""

    def __init__(self, does: Callable[[], Any]) -> None:
        self.does = does

    @property
    def anonymous(self) -> bool:
        return bool(self.does())

    def find(self, username: str, realm: str, wall: float) -> Answer:
        return self.does()

    def find_by_hash(self, userhash: bytes, realm: str, wall: float) -> Answer:
        return self.does()

    async def ask(self, username: str, realm: str, wall: float) -> LateAnswer:
        return self.does()

    async def ask_by_hash(self, userhash: bytes, realm: str, wall: float) -> LateAnswer:
        return self.does()

    def forget(self, user_id: str) -> None:
        self.does()

    async def close(self) -> None:
        self.does()


def fail() -> None:
    raise ZeroDivisionError("hush")


@pytest.mark.parametrize(
    ("say", "answer"),
    [(lambda: FOUND, FOUND), (lambda: (), ()), (lambda: DOWN, DOWN), (lambda: list(FOUND), FOUND)],
    ids=["one", "none", "down", "list"],
)
async def test_what_a_source_says_is_passed_on(say: Callable[[], Any], answer: LateAnswer) -> None:
    """As something that stays as it is."""
    guarded = Guarded("a", Doing(say), Faults())
    assert guarded.find("alice", REALM, 0.0) == guarded.find_by_hash(HASH, REALM, 0.0) == answer
    assert await guarded.ask("alice", REALM, 0.0) == await guarded.ask_by_hash(HASH, REALM, 0.0) == answer


async def test_every_call_that_raises_is_unavailable(caplog: pytest.LogCaptureFixture) -> None:
    """Counted each time, logged with the cause, and nothing of its text is passed on."""
    faults = Faults()
    guarded = Guarded("ldap", Doing(fail), faults)
    unavailable = Unavailable("ldap: ZeroDivisionError")
    with caplog.at_level(logging.ERROR, "meshturn"):
        assert guarded.anonymous is False
        assert guarded.find("alice", REALM, 0.0) == unavailable
        assert guarded.find_by_hash(HASH, REALM, 0.0) == unavailable
        assert await guarded.ask("alice", REALM, 0.0) == unavailable
        assert await guarded.ask_by_hash(HASH, REALM, 0.0) == unavailable
        guarded.forget("alice")
        await guarded.close()
    assert faults.counts == {"credentials.ldap": 7}
    assert caplog.records[0].exc_info is not None


@pytest.mark.parametrize(
    "nonsense",
    [None, 7, object(), "alice", {"alice": "wonderland"}, (*FOUND, None)],
    ids=["None", "number", "object", "text", "mapping", "no credential"],
)
async def test_what_is_no_answer_is_a_fault(nonsense: object) -> None:
    faults = Faults()
    guarded = Guarded("ldap", Doing(lambda: nonsense), faults)
    assert guarded.find("alice", REALM, 0.0) == Unavailable("ldap: TypeError")
    assert await guarded.ask("alice", REALM, 0.0) == Unavailable("ldap: TypeError")
    assert faults.counts == {"credentials.ldap": 2}


async def test_pending_is_for_now_and_not_for_later() -> None:
    """Asked, a source has to say something."""
    guarded = Guarded("ldap", Doing(lambda: PENDING), Faults())
    assert guarded.find("alice", REALM, 0.0) is PENDING
    assert isinstance(await guarded.ask("alice", REALM, 0.0), Unavailable)


async def test_who_is_not_waited_for_any_more_is_cancelled() -> None:
    """That is no fault."""

    class Slow(Doing):
        async def ask(self, username: str, realm: str, wall: float) -> LateAnswer:
            return await asyncio.get_running_loop().create_future()

    faults = Faults()
    task = asyncio.create_task(Guarded("ldap", Slow(fail), faults).ask("alice", REALM, 0.0))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert faults.counts == {}


async def test_a_cancelled_future_of_the_source_itself_is_a_fault() -> None:
    """Nobody has cancelled the look-up: without an answer, its client would wait until the deadline."""

    def result_of_a_cancelled_future() -> Any:
        future = asyncio.get_running_loop().create_future()
        future.cancel()
        return future.result()

    faults = Faults()
    guarded = Guarded("ldap", Doing(result_of_a_cancelled_future), faults)
    assert guarded.find("alice", REALM, 0.0) == Unavailable("ldap: CancelledError")
    assert await guarded.ask("alice", REALM, 0.0) == Unavailable("ldap: CancelledError")
    assert faults.counts == {"credentials.ldap": 2}


async def test_closing_comes_to_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """A source must not keep the server from stopping."""

    class Clinging(Doing):
        async def close(self) -> None:
            await asyncio.get_running_loop().create_future()

    monkeypatch.setattr(guard, "CLOSE_TIME", 0.01)
    faults = Faults()
    await Guarded("ldap", Clinging(fail), faults).close()
    assert faults.counts == {"credentials.ldap": 1}


def test_it_names_the_source() -> None:
    assert repr(Guarded("users", USERS, Faults())) == "Guarded(users, StaticUsers(1 users))"


@pytest.mark.parametrize(("says", "is_held"), [(True, True), (False, False), (None, None), (fail, None)])
def test_whether_a_source_holds_a_credential(says: Any, is_held: bool | None) -> None:
    """One that raises does not say, so no allocation is taken for that of a removed user."""

    class Holding(Doing):
        def holds(self, credential: Credential, wall: float) -> bool | None:
            return self.does()

    faults = Faults()
    guarded = Guarded("broken", Holding(says if callable(says) else lambda: says), faults)
    assert guarded.holds(FOUND[0], 0.0) is is_held
    assert dict(faults.counts) == ({"credentials.broken": 1} if says is fail else {})
