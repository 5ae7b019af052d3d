"""A server whose users are known elsewhere: through the hook, over real sockets, while things go wrong."""

import asyncio
import logging
import socket
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from auth.source import CredentialSource, Nobody
from auth.types import Answer
from meshturn import ClientOptions, TurnClient
from meshturn.errors import ErrorResponse
from stun import attributes as a
from stun.address import Address
from stun.constants import Method
from stun.message import Message
from tests.support.core_world import ScriptedClient, World, code_of
from tests.support.hook_server import PASSWORDS, SECRET, Back, until
from turnserver.core.events import LookupFailed
from turnserver.observers.recorder import Recorder
from turnserver.server import Server

REALM = "example.org"
LISTENERS = [{"address": "127.0.0.1", "port": 0}]

HEARS_ALL = ClientOptions(unsigned_errors=True)
"""A 500 is not signed: the server has no key to do it with. Strict clients ignore it and ask again."""


@pytest.fixture
async def back() -> AsyncIterator[Back]:
    async with Back() as back:
        yield back


def options(back: Back, **auth: Any) -> dict[str, Any]:
    hook = {"url": back.url, "secret": SECRET, "cache": 60}
    return {
        "realm": REALM,
        "listeners": LISTENERS,
        "auth": {"hook": hook, **auth},
        "observers": ["log", "recorder"],
    }


def address_of(server: Server) -> Address:
    return server.snapshot().listening[0][1]


async def attempt(server: Server, user: str, password: str, options: ClientOptions = HEARS_ALL) -> int:
    """The code that somebody gets who wants a relay; 0 for a relay."""
    async with TurnClient(f"turn:{address_of(server)}", user, password, options=options) as client:
        try:
            await client.allocate()
        except ErrorResponse as error:
            return int(error.code)
        return 0


def failures(server: Server) -> list[str]:
    recorder = server.observers["recorder"]
    assert isinstance(recorder, Recorder)
    return [entry.event.reason for entry in recorder.events if isinstance(entry.event, LookupFailed)]


async def test_users_are_known_elsewhere(back: Back) -> None:
    """Rule 1: found, wrong password, not found; a refresh asks nobody."""
    async with Server(options(back)) as server:
        async with TurnClient(f"turn:{address_of(server)}", "alice", PASSWORDS["alice"]) as client:
            await client.allocate()
            assert await client.refresh() == 600
            (held,) = server.snapshot().allocations
            assert held.user_id == "alice"
        assert await attempt(server, "alice", "guess") == 401
        assert await attempt(server, "mallory", "guess") == 401
    assert back.names == ["alice", "mallory"]


async def test_an_outage_is_no_wrong_password(back: Back, caplog: pytest.LogCaptureFixture) -> None:
    """RFC 8489 §14.8: 500; whoever looks at the log is told why, and no secret; users of other sources get in."""
    async with Server(options(back, users={"carol": "static"})) as server:
        await back.stop()
        with caplog.at_level(logging.DEBUG, "meshturn"):
            assert await attempt(server, "alice", PASSWORDS["alice"]) == 500
        assert await attempt(server, "carol", "static") == 0
        await back.start()
        assert await attempt(server, "alice", PASSWORDS["alice"]) == 0
        (reason,) = failures(server)
        assert server.snapshot().failed_lookups == 1
        assert reason.startswith("hook: ")
        (line,) = [record for record in caplog.records if record.message == "credentials unavailable"]
        assert line.levelno == logging.WARNING
        fields: dict[str, Any] = line.__dict__["fields"]
        assert (fields["user"], fields["why"]) == ("alice", reason)
    for hidden in (SECRET, *PASSWORDS.values()):
        assert hidden not in caplog.text


async def test_a_mistyped_url_is_in_the_log(back: Back, caplog: pytest.LogCaptureFixture) -> None:
    """To clients everybody is unknown; the operator is told the status and the URL, and no secret."""
    wrong = back.url.replace("/turn", "/trun")
    async with Server(options(back, hook={"url": wrong, "secret": SECRET})) as server:
        assert await attempt(server, "alice", PASSWORDS["alice"]) == 401
        assert await attempt(server, "bob", PASSWORDS["bob"]) == 401
    lines = [record for record in caplog.records if record.message == "credential hook has not known any user yet"]
    (line,) = lines
    assert line.levelno == logging.WARNING
    fields: dict[str, Any] = line.__dict__["fields"]
    assert (fields["status"], fields["url"]) == (404, wrong)
    for hidden in (SECRET, *PASSWORDS.values()):
        assert hidden not in caplog.text


async def test_a_short_outage_costs_a_strict_client_nothing(back: Back) -> None:
    """RFC 8489 §6.2.1, §9.2.5: it ignores what is not signed and asks again; each time the hook is asked anew."""
    async with Server(options(back)) as server:
        await back.stop()
        task = asyncio.create_task(attempt(server, "alice", PASSWORDS["alice"], ClientOptions()))
        await until(lambda: failures(server))
        assert not task.done()
        await back.start()
        assert await task == 0


async def test_a_user_who_is_revoked_is_asked_for_anew(back: Back) -> None:
    """Rule 24: what was remembered is forgotten, and what the hook says does not count before the revocation ends."""
    async with Server(options(back)) as server:
        async with TurnClient(f"turn:{address_of(server)}", "alice", PASSWORDS["alice"]) as client:
            await client.allocate()
            wall = server._clock().wall
            assert server.revoke("alice", wall + 3600) == 1
        assert await attempt(server, "alice", PASSWORDS["alice"]) == 401
        assert await attempt(server, "bob", PASSWORDS["bob"]) == 0
    assert back.names == ["alice", "alice", "bob"]


async def test_a_reload_asks_the_new_hook_what_the_old_one_has_not_answered(back: Back) -> None:
    """Nobody gets 500 for it; what was remembered is forgotten, and the connections to the old one are closed."""
    async with Back() as other, Server(options(back)) as server:
        assert await attempt(server, "bob", PASSWORDS["bob"]) == 0
        back.held = asyncio.Event()
        task = asyncio.create_task(attempt(server, "alice", PASSWORDS["alice"]))
        await until(lambda: back.open)
        assert (await server.reload(options(other))).taken == ("auth.hook.url",)
        assert await task == 0
        await until(lambda: back.open == 0)
        assert await attempt(server, "bob", PASSWORDS["bob"]) == 0
        assert failures(server) == []
        assert other.names == ["alice", "bob"]
        assert (await server.reload(options(other))).taken == ()
        assert await attempt(server, "bob", PASSWORDS["bob"]) == 0
        assert other.names == ["alice", "bob", "bob"], "reading the same again empties the memory, too"


async def test_stopping_does_not_wait_for_the_hook(back: Back) -> None:
    """What is under way ends, and so do its connections."""
    server = Server(options(back))
    await server.start()
    back.held = asyncio.Event()
    task = asyncio.create_task(attempt(server, "alice", PASSWORDS["alice"], ClientOptions()))
    await until(lambda: back.open)
    async with asyncio.timeout(30):
        await server.stop()
    await until(lambda: back.open == 0)
    task.cancel()
    await asyncio.wait([task])


class Strangers:
    """Many clients from many addresses, each with names of its own."""

    def __init__(self, server: Address, addresses: int) -> None:
        self.server = server
        self.sockets = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(addresses)]
        for number, each in enumerate(self.sockets):
            each.bind((f"127.0.1.{number + 1}", 0))
            each.setblocking(False)
        self.codes: dict[bytes, int] = {}

    async def ask(self, number: int, names: int) -> None:
        """From one address: a challenge, and then as many requests as there are names, all at once."""
        loop, sock = asyncio.get_running_loop(), self.sockets[number]
        script = ScriptedClient(World(), Address.parse(*sock.getsockname()), password="guess")
        to = (self.server.host, self.server.port)
        await loop.sock_sendto(sock, script.build(Method.ALLOCATE, [(a.REQUESTED_TRANSPORT, 17)], signed=False), to)
        script.nonce = Message.decode(await loop.sock_recv(sock, 2048)).first(a.NONCE)
        for name in range(names):
            script.user = f"stranger {number} {name}"
            await loop.sock_sendto(sock, script.build(Method.ALLOCATE, [(a.REQUESTED_TRANSPORT, 17)]), to)
        for _ in range(names):
            answer = Message.decode(await loop.sock_recv(sock, 2048))
            self.codes[answer.transaction_id] = code_of(answer)

    def close(self) -> None:
        for each in self.sockets:
            each.close()


async def test_a_thousand_strangers_are_no_thousand_requests(back: Back) -> None:
    """Rule 3: each is answered, at no time are more than so many asked for, and users get in meanwhile."""
    wanted = options(back)
    wanted["auth"]["hook"] |= {"connections": 4, "timeout": 4}
    async with Server(wanted) as server:
        strangers = Strangers(address_of(server), 20)
        try:
            async with asyncio.timeout(120):
                await asyncio.gather(*(strangers.ask(number, 50) for number in range(20)))
        finally:
            strangers.close()
        assert len(strangers.codes) == 1000
        assert set(strangers.codes.values()) <= {401, 500}
        assert 401 in strangers.codes.values()
        assert 1 <= back.most <= 4
        assert server.snapshot().limits.pending_lookups.used == 0
        assert await attempt(server, "alice", PASSWORDS["alice"]) == 0


# Sources that a program brings along


class Raising(Nobody):
    """Raises whatever is asked of it."""

    @property
    def anonymous(self) -> bool:
        raise ZeroDivisionError

    def find(self, username: str, realm: str, wall: float) -> Answer:
        raise ZeroDivisionError

    def find_by_hash(self, userhash: bytes, realm: str, wall: float) -> Answer:
        raise ZeroDivisionError

    def forget(self, user_id: str) -> None:
        raise ZeroDivisionError


@pytest.mark.parametrize("make", [Raising, Nobody])
async def test_a_source_of_the_program(make: Callable[[], CredentialSource]) -> None:
    """It is asked instead of what the configuration says; its faults are noted as its own, and the server goes on."""
    source = make()
    wanted: dict[str, Any] = {"listeners": LISTENERS, "auth": {"users": {"alice": "wonderland"}}}
    async with Server(wanted, credentials=source) as server:
        raises = isinstance(source, Raising)
        assert await attempt(server, "alice", "wonderland") == (500 if raises else 401)
        server.revoke("alice")
        await server.reload(wanted)
        assert await attempt(server, "alice", "wonderland") == (500 if raises else 401)
        assert set(server.snapshot().faults) == ({"credentials.program"} if raises else set())


async def test_whoever_made_a_source_closes_it() -> None:
    """The server does not: it may be needed again."""

    class Counted(Nobody):
        __slots__ = ("closed",)

        def __init__(self) -> None:
            self.closed = 0

        async def close(self) -> None:
            self.closed += 1

    source = Counted()
    async with Server({"listeners": LISTENERS}, credentials=source) as server:
        await server.reload({"listeners": LISTENERS})
    assert source.closed == 0
