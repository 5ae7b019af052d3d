"""The hook as a source, against a program on a real socket: late, wrong, slow, gone, and asked by a crowd."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web

from auth.keys import long_term_keys, user_hash
from auth.types import PENDING, Credential, LateAnswer, Unavailable
from tests.support.clock import Clock
from tests.support.hook_server import SECRET, Back, until
from turnserver.config import HookConfig
from turnserver.credentials import hook as module
from turnserver.credentials.hook import HookSource

REALM = "example.org"
WALL = 1_700_000_000.0
ALICE = Credential("alice", REALM, "alice", long_term_keys("alice", REALM, "wonderland"))


@pytest.fixture
async def back() -> AsyncIterator[Back]:
    async with Back() as back:
        yield back


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def source(back: Back, clock: Clock) -> AsyncIterator[HookSource]:
    source = HookSource(back.config(), clock=clock)
    yield source
    await source.close()


@asynccontextmanager
async def opened(settings: HookConfig, **options: Any) -> AsyncIterator[HookSource]:
    source = HookSource(settings, **options)
    try:
        yield source
    finally:
        await source.close()


async def ask(source: HookSource, name: str, wall: float = WALL) -> LateAnswer:
    """As the server does it: what is known, or what is said when it is asked."""
    answer = source.find(name, REALM, wall)
    return await source.ask(name, REALM, wall) if answer is PENDING else answer


async def test_found_and_not_found(back: Back, source: HookSource) -> None:
    """RFC 8489 §9.2.4: the two answers that a program has."""
    assert await ask(source, "alice") == (ALICE,)
    assert await ask(source, "mallory") == ()
    assert back.asked == [{"username": "alice", "realm": REALM}, {"username": "mallory", "realm": REALM}]


def complaints(caplog: pytest.LogCaptureFixture) -> list[dict[str, Any]]:
    """Fields of the lines about a hook that has known nobody; they are taken out."""
    found = [record.__dict__["fields"] for record in caplog.records if "not known any user" in record.getMessage()]
    caplog.clear()
    return found


async def test_a_mistyped_url_shows_in_the_log(back: Back, clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    """The web server answers 404 for the path, as the hook does for a user; at most a line every ten minutes."""
    url = f"http://127.0.0.1:{back.port}/trun"
    async with opened(back.config(url=f"{url}?token=hush"), clock=clock) as source:
        for name in ("alice", "bob", "carol"):
            assert await ask(source, name) == ()
        assert back.asked == []
        assert SECRET not in caplog.text
        assert "hush" not in caplog.text
        (fields,) = complaints(caplog)
        assert (fields["status"], fields["url"]) == (404, url)
        assert "auth.hook.url" in fields["hint"]
        clock.now += module.NOBODY_KNOWN_INTERVAL - 1
        assert await ask(source, "alice") == ()
        assert complaints(caplog) == []
        clock.now += 1
        assert await ask(source, "bob") == ()
        assert len(complaints(caplog)) == 1


async def test_a_hook_that_has_known_somebody_may_know_others_not(
    source: HookSource, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    """The URL is right then, and names that are not there are everyday."""
    assert await ask(source, "alice") == (ALICE,)
    for name in ("mallory", "trudy"):
        assert await ask(source, name) == ()
        clock.now += module.NOBODY_KNOWN_INTERVAL
    assert complaints(caplog) == []


async def test_the_back_end_keeps_no_passwords(back: Back, source: HookSource) -> None:
    """Keys instead; a user id and an end."""

    async def keys(question: dict[str, Any]) -> web.StreamResponse:
        hexadecimal = {name: ALICE.keys[number].hex() for name, number in (("md5", 1), ("sha256", 2))}
        return web.json_response({"keys": hexadecimal, "user": "customer 7", "expires": WALL + 60})

    back.answer = keys
    assert await ask(source, "alice") == (Credential("alice", REALM, "customer 7", ALICE.keys, WALL + 60),)


async def test_by_hash(back: Back) -> None:
    """RFC 8489 §14.4: if the program says that it can."""
    digest = user_hash("alice", REALM)
    async with opened(back.config(userhash=True)) as source:
        assert source.anonymous
        assert source.find_by_hash(digest, REALM, WALL) is PENDING
        assert await source.ask_by_hash(digest, REALM, WALL) == (ALICE,)
        assert source.find_by_hash(digest, REALM, WALL) == (ALICE,)
        assert await source.ask_by_hash(bytes(32), REALM, WALL) == ()
        assert source.find_by_hash(bytes(32), REALM, WALL) == ()
    assert back.asked == [{"userhash": digest.hex(), "realm": REALM}, {"userhash": "00" * 32, "realm": REALM}]
    async with opened(back.config()) as source:
        assert not source.anonymous
        assert source.find_by_hash(digest, REALM, WALL) == ()


@pytest.mark.parametrize("name", ["", "a\x00", "\ud800", "a" * 509, "\u00e9" * 300])
async def test_a_name_that_nobody_can_have_is_not_asked_for(back: Back, source: HookSource, name: str) -> None:
    """Rule 24: names are hostile text."""
    assert source.find(name, REALM, WALL) == ()
    assert back.asked == []


@pytest.mark.parametrize(
    "name", ['"}, {"username": "alice"', "../alice", "alice?admin=1", "\u202ealice", "a" * 508, "\U0001f600"]
)
async def test_other_names_arrive_as_they_are(back: Back, source: HookSource, name: str) -> None:
    """In JSON, never in the URL, so that they cannot mean anything else; U+202E is no part of a name (RFC 8264)."""
    assert await ask(source, name) == ()
    assert back.names == ([] if "\u202e" in name else [name])


# What is no answer


async def answers(back: Back, response: Callable[[], web.StreamResponse]) -> None:
    async def say(question: dict[str, Any]) -> web.StreamResponse:
        return response()

    back.answer = say


@pytest.mark.parametrize("status", [204, 301, 400, 401, 403, 405, 410, 429, 500, 502, 503])
async def test_every_other_status_is_an_outage(back: Back, source: HookSource, status: int) -> None:
    """RFC 8489 §14.8: 401 would have people change passwords that are right. And it is not remembered."""
    await answers(back, lambda: web.Response(status=status))
    assert await ask(source, "alice") == Unavailable(f"hook: the response has status {status}")
    back.answer = back.known
    assert await ask(source, "alice") == (ALICE,)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "not valid (json)"),
        (b"<html>hush</html>", "not valid (json)"),
        (b'{"password": 7}', "not valid (password)"),
        (b'{"password": "hush", "expires": "never"}', "not valid (expires)"),
        (b'"hush"' * 10_000, "longer than 16384 bytes"),
    ],
)
async def test_garbage_is_an_outage(back: Back, source: HookSource, body: bytes, reason: str) -> None:
    await answers(back, lambda: web.Response(body=body))
    answer = await ask(source, "alice")
    assert isinstance(answer, Unavailable)
    assert answer.reason.startswith("hook: the response is ")
    assert reason in answer.reason
    assert "hush" not in answer.reason


async def test_nobody_listens(back: Back, source: HookSource) -> None:
    """The reason is said in the system's words; and when it is back, so are its users."""
    await back.stop()
    answer = await ask(source, "alice")
    assert isinstance(answer, Unavailable)
    assert "Connect" in answer.reason
    await back.start()
    assert await ask(source, "alice") == (ALICE,)


async def test_a_bug_is_seen_by_whoever_waits(source: HookSource, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is a fault there, and nothing stays of it."""

    def fail(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(module, "_answer", fail)
    with pytest.raises(ZeroDivisionError):
        await ask(source, "alice")
    monkeypatch.undo()
    assert await ask(source, "alice") == (ALICE,)


# Time


async def test_an_answer_that_takes_too_long(back: Back) -> None:
    """The client is told to try again, and the connection is given up with its request."""
    back.held = asyncio.Event()
    async with opened(back.config(timeout=1)) as source:
        assert await ask(source, "alice") == Unavailable("hook: no answer within 1 seconds")
        await until(lambda: back.open == 0)
        back.held = None
        assert await ask(source, "alice") == (ALICE,)


async def test_an_answer_that_trickles() -> None:
    """A byte now and then is no sign of life: the timeout is for the whole of it."""

    async def trickle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
        try:
            while True:
                writer.write(b" ")
                await writer.drain()
                await asyncio.sleep(0.05)
        except ConnectionError:
            gone.set()

    gone = asyncio.Event()
    server = await asyncio.start_server(trickle, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    async with opened(HookConfig.model_validate({"url": url, "secret": SECRET, "timeout": 1})) as source:
        assert await ask(source, "alice") == Unavailable("hook: no answer within 1 seconds")
        async with asyncio.timeout(20):
            await gone.wait()
    server.close()


async def test_who_has_no_turn_in_time(back: Back) -> None:
    """Waiting for a turn is part of the timeout; what had no turn was never asked."""
    async with opened(back.config(timeout=1, connections=1)) as source:
        async with source._slots:
            answer = await ask(source, "bob")
        assert answer == Unavailable("hook: not sent within 1 seconds, too many requests are pending")
        assert await ask(source, "alice") == (ALICE,)
    assert back.names == ["alice"]


# What is remembered


async def test_answers_are_good_for_a_while(back: Back, source: HookSource, clock: Clock) -> None:
    """A minute for users, five seconds for nobody; a new user does not wait longer."""
    for name in ("alice", "mallory"):
        await ask(source, name)
        await ask(source, name)
    assert back.names == ["alice", "mallory"]
    clock.now += 5
    assert source.find("alice", REALM, WALL) == (ALICE,)
    assert source.find("mallory", REALM, WALL) is PENDING
    clock.now += 55
    assert source.find("alice", REALM, WALL) is PENDING


async def test_nothing_need_be_remembered(back: Back) -> None:
    async with opened(back.config(cache=0, cache_unknown=0)) as source:
        for name in ("alice", "alice", "mallory", "mallory"):
            await ask(source, name)
    assert back.names == ["alice", "alice", "mallory", "mallory"]


async def test_realms_are_told_apart(back: Back, source: HookSource) -> None:
    """A key is good in one realm."""
    assert await ask(source, "alice") == (ALICE,)
    assert source.find("alice", "example.net", WALL) is PENDING


async def test_what_has_ended_is_asked_for_anew(back: Back, source: HookSource) -> None:
    """A credential that was renewed is good at once, not when the old one is forgotten."""
    ends = WALL + 10

    async def ending(question: dict[str, Any]) -> web.StreamResponse:
        return web.json_response({"password": "wonderland", "expires": ends})

    back.answer = ending
    assert await ask(source, "alice")
    ends = WALL + 1000
    assert source.find("alice", REALM, WALL + 9) is not PENDING
    answer = await ask(source, "alice", WALL + 10)
    assert not isinstance(answer, Unavailable)
    assert [credential.expires_at for credential in answer] == [WALL + 1000]
    assert len(back.asked) == 2


async def test_a_new_user_is_known_when_the_old_answer_is_over(back: Back, source: HookSource, clock: Clock) -> None:
    """And the other way round: who is deleted is not known any more."""
    await answers(back, lambda: web.Response(status=404))
    assert await ask(source, "alice") == ()
    back.answer = back.known
    clock.now += 5
    assert await ask(source, "alice") == (ALICE,)
    assert source.find("alice", REALM, WALL) == (ALICE,)
    await answers(back, lambda: web.Response(status=404))
    clock.now += 60
    assert await ask(source, "alice") == ()
    assert source.find("alice", REALM, WALL) == ()


async def test_made_up_names_do_not_push_out_users(back: Back, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both tables are bounded, each by itself."""
    monkeypatch.setattr(module, "MAX_REMEMBERED", 5)
    async with opened(back.config(), clock=clock) as source:
        await ask(source, "alice")
        for number in range(20):
            await ask(source, f"stranger {number}")
        assert source.find("alice", REALM, WALL) == (ALICE,)
        assert source.find("stranger 19", REALM, WALL) == ()
        assert source.find("stranger 0", REALM, WALL) is PENDING
        assert (len(source._found), len(source._unknown)) == (1, 5)


async def test_a_revoked_user_is_asked_for_anew(back: Back, source: HookSource) -> None:
    """By user id; nobody else is forgotten."""

    async def with_user(question: dict[str, Any]) -> web.StreamResponse:
        return web.json_response({"password": "p", "user": f"customer {question['username']}"})

    back.answer = with_user
    await ask(source, "alice")
    await ask(source, "bob")
    source.forget("customer alice")
    source.forget("bob")
    assert source.find("alice", REALM, WALL) is PENDING
    assert source.find("bob", REALM, WALL) is not PENDING


async def test_an_answer_from_before_a_revocation_is_not_remembered(back: Back, source: HookSource) -> None:
    """It was on its way: good for whoever waits, who is checked for revocation, and for nobody after that."""
    back.held = asyncio.Event()
    task = asyncio.create_task(ask(source, "alice"))
    await until(lambda: back.open)
    source.forget("alice")
    back.held.set()
    assert await task == (ALICE,)
    assert source.find("alice", REALM, WALL) is PENDING


# A crowd


async def gather(waiting: list[Awaitable[LateAnswer]]) -> list[LateAnswer]:
    async with asyncio.timeout(60):
        return await asyncio.gather(*waiting)


async def test_one_name_is_asked_for_once(back: Back, source: HookSource) -> None:
    """However many wait for it: a user with many clients, or a client that asks again and again."""
    back.held = asyncio.Event()
    tasks = [asyncio.create_task(ask(source, "alice")) for _ in range(100)]
    await until(lambda: back.open)
    back.held.set()
    assert await gather(list(tasks)) == [(ALICE,)] * 100
    assert back.names == ["alice"]


async def test_strangers_do_not_make_a_crowd(back: Back) -> None:
    """A thousand made-up names at once are at no time more than so many requests; everybody gets an answer."""
    async with opened(back.config(connections=8, timeout=4)) as source:
        found = await gather([ask(source, f"stranger {number}") for number in range(1000)] + [ask(source, "alice")])
    assert 1 <= back.most <= 8
    settled = [answer for answer in found if not isinstance(answer, Unavailable)]
    unasked = [answer for answer in found if isinstance(answer, Unavailable)]
    assert all("not sent" in answer.reason or "no answer" in answer.reason for answer in unasked)
    assert len(back.asked) >= len(settled)
    assert source._flights == {}


async def test_nobody_is_asked_on_behalf_of_those_who_have_gone(back: Back) -> None:
    """What waits for its turn is given up with whoever wanted it; what is under way ends by itself, and counts."""
    back.held = asyncio.Event()
    async with opened(back.config(connections=1)) as source:
        first = asyncio.create_task(ask(source, "alice"))
        await until(lambda: back.open)
        queued = [asyncio.create_task(ask(source, f"stranger {number}")) for number in range(100)]
        await until(lambda: len(source._flights) == 101)
        for task in [first, *queued]:
            task.cancel()
        await asyncio.wait([first, *queued])
        assert len(source._flights) == 1
        back.held.set()
        await until(lambda: not source._flights)
        assert back.names == ["alice"]
        assert source.find("alice", REALM, WALL) == (ALICE,), "the answer came, and is not lost"


async def test_one_of_several_goes(back: Back, source: HookSource) -> None:
    """The others are answered."""
    back.held = asyncio.Event()
    leaver, stayer = asyncio.create_task(ask(source, "alice")), asyncio.create_task(ask(source, "alice"))
    await until(lambda: back.open)
    leaver.cancel()
    await asyncio.wait([leaver])
    back.held.set()
    assert await stayer == (ALICE,)


async def test_closing_ends_what_waits(back: Back, source: HookSource) -> None:
    """Who waits is told so, the connections are closed, and nothing is remembered."""
    await ask(source, "bob")
    back.held = asyncio.Event()
    task = asyncio.create_task(ask(source, "alice"))
    await until(lambda: back.open)
    await source.close()
    assert await task == Unavailable("hook: the source is closed")
    await until(lambda: back.open == 0)
    assert source.find("bob", REALM, WALL) is PENDING
    await source.close()


# Secrets


async def test_nothing_is_shown(back: Back, source: HookSource) -> None:
    """Rule 24: neither the secret nor what was answered."""
    await ask(source, "alice")
    shown = repr(source) + repr(source.find("alice", REALM, WALL)) + repr(back.config())
    assert shown.startswith("HookSource(1 users remembered)")
    for hidden in ("wonderland", SECRET, ALICE.keys[1].hex(), repr(ALICE.keys[1])):
        assert hidden not in shown
    assert SECRET not in json.dumps(back.headers)


def test_a_hook_needs_a_url_and_a_secret() -> None:
    with pytest.raises(ValueError, match="URL and a secret"):
        HookSource(HookConfig())
