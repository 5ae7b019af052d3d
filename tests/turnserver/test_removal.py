"""A reload that removes users or secrets: what becomes of their allocations, and what the log says of it."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import pairwise
from typing import Any

import pytest

from auth.ephemeral import SharedSecret, mint
from auth.source import Chain, CredentialSource, StaticUsers
from auth.types import Credential
from stun.address import Address
from stun.constants import TransportProtocol
from tests.support.signal_wire import Participant
from tests.support.turn_client import TurnClient, TurnRefused
from turnserver.config import Config
from turnserver.core.events import AllocationEnded, EndReason
from turnserver.observers.recorder import Recorder
from turnserver.removal import SLICE, remove_withdrawn
from turnserver.server import Server

OLD, NEW = "the old shared secret of this test", "the new shared secret of this test"
KNOWN, OTHER = Address.parse("127.0.0.2", 9), Address.parse("127.0.0.3", 9)


def options(**auth: Any) -> dict[str, Any]:
    return {
        "listeners": [{"transport": kind, "address": "127.0.0.1", "port": 0} for kind in ("udp", "tcp")],
        "auth": {"users": {"alice": "wonderland", "bob": "builder"}, "shared_secrets": [OLD], **auth},
        "peers": {"allow": ["127.0.0.0/8"]},
    }


def login(user: str) -> tuple[str, str]:
    """A password of the configuration, or a credential made with the old secret."""
    passwords = {"alice": "wonderland", "bob": "builder"}
    return (
        (user, passwords[user]) if user in passwords else mint(SharedSecret(OLD.encode()), user, int(time.time()) + 600)
    )


@asynccontextmanager
async def connected(server: Server, user: str, *, stream: bool = False) -> AsyncIterator[TurnClient]:
    """A client with an allocation, a permission for `KNOWN` and a channel to it."""
    address = server.snapshot().listeners[int(stream)].address
    connect = TurnClient.tcp if stream else TurnClient.udp
    with await asyncio.to_thread(connect, address.host, address.port, *login(user)) as client:
        await asyncio.to_thread(client.allocate)
        await asyncio.to_thread(client.channel_bind, 0x4000, KNOWN)
        yield client


async def refused(call: Any, *arguments: Any) -> int:
    """The code with which a request is refused; 0 if it is not."""
    try:
        await asyncio.to_thread(call, *arguments)
    except TurnRefused as error:
        return error.code
    return 0


def said(caplog: pytest.LogCaptureFixture) -> dict[str, tuple[int, dict[str, Any]]]:
    """The first line of each kind, with its level and fields."""
    return {
        record.getMessage(): (record.levelno, record.__dict__["fields"])
        for record in reversed(caplog.records)
        if "on_removal" in record.__dict__.get("fields", {})
    }


REMOVED: dict[str, tuple[dict[str, Any], str]] = {
    "user": ({"users": {"bob": "builder"}}, "user removed"),
    "key": ({"users": {"alice": {"key": "00" * 16}, "bob": "builder"}}, "user has another password"),
    "password": ({"users": {"alice": "another password", "bob": "builder"}}, "user has another password"),
    "secret": ({"shared_secrets": [NEW]}, "shared secret removed"),
    "source": ({"sources": ["shared_secrets"]}, "user removed"),
}


@pytest.mark.parametrize("stream", [False, True], ids=["udp", "tcp"])
@pytest.mark.parametrize("what", REMOVED)
async def test_what_has_been_removed_runs_out(what: str, stream: bool, caplog: pytest.LogCaptureFixture) -> None:
    """By default: no refresh and nothing new, what there is goes on, it can be deleted, and the log counts it."""
    changed, message = REMOVED[what]
    user = "carol" if what == "secret" else "alice"
    async with Server(options()) as server, connected(server, user, stream=stream) as client:
        await server.reload(options(**changed))
        level, fields = said(caplog)[message]
        assert level == logging.WARNING
        assert (fields["allocations"], fields["on_removal"]) == (1, "expire")
        assert OLD not in caplog.text
        assert await refused(client.refresh) == 401
        assert await refused(client.create_permission, OTHER) == 403
        assert await refused(client.channel_bind, 0x4001, OTHER) == 403
        assert await refused(client.create_permission, KNOWN) == 0
        assert await refused(client.channel_bind, 0x4000, KNOWN) == 0
        assert len(server.snapshot().allocations) == 1
        assert await refused(client.refresh, 0) == 0
        assert server.snapshot().allocations == ()
        assert await refused(client.allocate) == 401


async def test_who_is_left_goes_on() -> None:
    async with Server(options()) as server, connected(server, "bob") as client:
        await server.reload(options(users={"bob": "builder"}, shared_secrets=[OLD, NEW]))
        assert await refused(client.refresh) == 0
        assert await refused(client.create_permission, OTHER) == 0


async def test_who_comes_back_goes_on_again() -> None:
    """A reload by mistake can be undone by another."""
    async with Server(options()) as server, connected(server, "alice") as client:
        await server.reload(options(users={"bob": "builder"}))
        assert await refused(client.refresh) == 401
        await server.reload(options())
        assert await refused(client.refresh) == 0
        assert await refused(client.create_permission, OTHER) == 0


@pytest.mark.parametrize("stream", [False, True], ids=["udp", "tcp"])
async def test_end_ends_it_at_once(stream: bool, caplog: pytest.LogCaptureFixture) -> None:
    """Also what a former reload has only let run out; others are not touched."""
    recorder = Recorder()
    async with Server(options(), observers=[recorder]) as server, connected(server, "bob") as other:
        async with connected(server, "alice", stream=stream), connected(server, "carol"):
            await server.reload(options(users={"bob": "builder"}))
            assert len(server.snapshot().allocations) == 3
            await server.reload(options(users={"bob": "builder"}, shared_secrets=[NEW], on_removal="end"))
            ended = [each.event for each in recorder.events if isinstance(each.event, AllocationEnded)]
            assert sorted((event.user_id, event.reason) for event in ended) == [
                ("alice", EndReason.CREDENTIAL_REMOVED),
                ("carol", EndReason.CREDENTIAL_REMOVED),
            ]
            assert len(server.snapshot().allocations) == 1
            assert said(caplog)["shared secret removed"][1]["on_removal"] == "end"
        assert await refused(other.refresh) == 0


async def test_keep_only_says_it(caplog: pytest.LogCaptureFixture) -> None:
    async with Server(options()) as server, connected(server, "alice") as client:
        await server.reload(options(users={"bob": "builder"}, on_removal="keep"))
        assert said(caplog)["user removed"][1] == {"user": "alice", "allocations": 1, "on_removal": "keep"}
        assert await refused(client.refresh) == 0
        assert await refused(client.create_permission, OTHER) == 0
        await server.reload(options(users={"bob": "builder"}, on_removal="expire"))
        assert await refused(client.refresh) == 401


async def test_a_connection_to_a_peer_is_new_too() -> None:
    """RFC 6062: no Connect with a credential that has been removed."""
    async with Server(options()) as server:
        address = server.snapshot().listeners[1].address
        with await asyncio.to_thread(TurnClient.tcp, address.host, address.port, *login("alice")) as client:
            await asyncio.to_thread(lambda: client.allocate(protocol=TransportProtocol.TCP))
            await server.reload(options(users={"bob": "builder"}))
            assert await refused(client.connect_peer, KNOWN) == 403


async def test_participants_of_rooms_are_not_cut_off_by_a_new_secret() -> None:
    """Their credentials are the server's own; they have been given new ones, and a call must not end with a secret."""
    rooms = {
        "listeners": [
            {"address": "127.0.0.1", "port": 0},
            {"transport": "shared", "tls": False, "address": "127.0.0.1", "port": 0},
        ],
        "signaling": {"open": True},
        "peers": {"allow": ["127.0.0.0/8"]},
    }
    async with Server({**rooms, "auth": {"shared_secrets": [OLD]}}) as server:
        udp, http = (each.address for each in server.snapshot().listeners)
        async with Participant(f"http://127.0.0.1:{http.port}/v1/ws") as person:
            given = (await person.join("tea"))["ice"]["servers"][0]
            names = given["username"], given["credential"]
            with TurnClient.udp(udp.host, udp.port, *names) as client:
                async with connected(server, "carol") as stranger:
                    await asyncio.to_thread(client.allocate)
                    await server.reload({**rooms, "auth": {"shared_secrets": [NEW]}})
                    assert await refused(client.refresh) == 0
                    assert await refused(stranger.refresh) == 401
                    await server.reload({**rooms, "auth": {"shared_secrets": [OLD], "on_removal": "end"}})
                    await server.reload({**rooms, "auth": {"shared_secrets": [NEW], "on_removal": "end"}})
                    assert server.snapshot().allocations == ()


class Holder:
    """Many credentials in use."""

    def __init__(self, count: int) -> None:
        self.removed: list[str] = []
        self.credentials = {StaticUsers({f"u{n}": "p"}).find(f"u{n}", "r", 0.0)[0]: False for n in range(count)}

    def credentials_in_use(self) -> dict[Credential, bool]:
        return self.credentials

    def credential_removed(self, credential: Credential) -> int:
        self.removed.append(credential.user_id)
        return 1

    def credential_restored(self, credential: Credential) -> None:
        raise AssertionError("none has been removed before")


async def test_it_is_done_in_slices(caplog: pytest.LogCaptureFixture) -> None:
    """No more than `SLICE` credentials are judged per turn of the loop, and the log has few lines."""
    count = 5 * SLICE
    users = {f"u{number}": "p" for number in range(count)}
    sources: tuple[CredentialSource, CredentialSource] = Chain([StaticUsers(users)]), Chain([])
    configs = [Config.model_validate({"auth": {"users": each}}) for each in (users, {})]
    holder = Holder(count)
    seen = [0]
    work = asyncio.create_task(
        remove_withdrawn(holder, (configs[0], sources[0]), (configs[1], sources[1]), kept=(), wall=lambda: 0.0)
    )
    while not work.done():
        await asyncio.sleep(0)
        seen.append(len(holder.removed))
    await work
    assert seen[-1] == count
    assert max(later - earlier for earlier, later in pairwise(seen)) <= SLICE
    counts = [record.__dict__["fields"]["allocations"] for record in caplog.records]
    assert len(counts) <= 21
    assert sum(counts) == count


async def test_a_source_that_cannot_say_removes_nothing() -> None:
    class Unsure(CredentialSource):
        def find(self, username: str, realm: str, wall: float) -> tuple[Credential, ...]:
            return ()

    holder = Holder(3)
    config = Config()
    await remove_withdrawn(holder, (config, Unsure()), (config, Unsure()), kept=(), wall=lambda: 0.0)
    assert holder.removed == []


async def test_a_source_that_raises_removes_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """The reload is done, the fault is counted, and no allocation is taken for that of a removed user."""

    def fail(*_: object) -> bool:
        raise ZeroDivisionError

    async with Server(options()) as server, connected(server, "alice") as client:
        monkeypatch.setattr(StaticUsers, "holds", fail)
        await server.reload(options(users={"bob": "builder"}))
        assert set(server.snapshot().faults) == {"credentials.users"}
        assert await refused(client.refresh) == 0
