"""Other people's clients, as users that a program knows which the server asks: coturn's test client, and aioice."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aioice
import pytest
from aioice.ice import TransportPolicy
from aioice.stun import TransactionFailed
from aioice.turn import create_turn_endpoint

from tests.support.hook_server import PASSWORDS, SECRET, Back
from tests.support.server import TurnServerProcess, loopback_config
from tests.support.uclient import MESSAGES, Scenario, assert_all_returned, echo_server, run_uclient

TIMEOUT = 120


@asynccontextmanager
async def serving(folder: Path, back: Back) -> AsyncIterator[TurnServerProcess]:
    """The server in a process of its own, with no users of its own."""
    hook = {"url": back.url, "secret": SECRET}
    config = loopback_config(auth={"hook": hook})
    config["relay"]["legacy_channels"] = True  # coturn's client needs it
    server = TurnServerProcess(config, folder)
    await asyncio.to_thread(server.__enter__)
    try:
        yield server
    finally:
        await asyncio.to_thread(server.__exit__, None, None, None)


async def test_uclient(tmp_path: Path) -> None:
    """RFC 8489 §9.2: right and wrong passwords of users whom only the hook knows."""
    async with Back() as back, serving(tmp_path, back) as server:
        with echo_server() as port:
            right = await asyncio.to_thread(
                run_uclient, server, Scenario("-c", 1), port, "-u", "alice", "-w", PASSWORDS["alice"]
            )
            wrong = await asyncio.to_thread(run_uclient, server, Scenario("-c", 1), port, "-u", "alice", "-w", "guess")
    assert_all_returned(right, MESSAGES)
    assert wrong.code != 0, wrong.output
    assert set(back.names) == {"alice"}


async def test_aioice(tmp_path: Path) -> None:
    """A connection over two relays, of two users; and one who is not known."""
    async with Back() as back, serving(tmp_path, back) as server, asyncio.timeout(TIMEOUT):
        one, other = (
            aioice.Connection(
                ice_controlling=name == "alice",
                turn_server=("127.0.0.1", server.port),
                turn_username=name,
                turn_password=PASSWORDS[name],
                transport_policy=TransportPolicy.RELAY,
                use_ipv6=False,
            )
            for name in ("alice", "bob")
        )
        try:
            for local, remote in ((one, other), (other, one)):
                await local.gather_candidates()
                for candidate in [*local.local_candidates, None]:
                    await remote.add_remote_candidate(candidate)
                remote.remote_username, remote.remote_password = local.local_username, local.local_password
            await asyncio.gather(one.connect(), other.connect())
            await one.send(b"there")
            assert await other.recv() == b"there"
        finally:
            await asyncio.gather(one.close(), other.close())
        with pytest.raises(TransactionFailed, match=r"\(401 - "):
            await create_turn_endpoint(
                asyncio.DatagramProtocol, server_addr=("127.0.0.1", server.port), username="mallory", password="guess"
            )
    assert sorted(set(back.names)) == ["alice", "bob", "mallory"]
