"""The kit's client against a real server, and against one that says nothing."""

from pathlib import Path

import pytest

from cli.conform.bench import Bench, KitOptions
from cli.conform.client import SHA1, SHA256, Challenge
from cli.conform.findings import Untestable, Wrong
from cli.conform.wire import Draft
from stun.attributes import LIFETIME, REQUESTED_TRANSPORT
from stun.constants import MessageClass, Method
from tests.support.conformance import LOGIN, PATIENCE, kit_server

UDP = (REQUESTED_TRANSPORT, 17)


async def test_the_life_of_an_allocation(tmp_path: Path) -> None:
    async with kit_server(tmp_path, ["udp"], hosts=["127.0.0.1"]) as (server, (target,)):
        bench = Bench(target, KitOptions(LOGIN, PATIENCE))
        client = await bench.client()
        assert (await client.challenged()).modes == (SHA1, SHA256)
        await client.allocate()
        assert client.relay.host == "127.0.0.1"
        assert client.lifetime == 600
        assert (await client.request(Method.REFRESH, (LIFETIME, 700))).value(LIFETIME) == 700
        assert len(server.snapshot().allocations) == 1
        await bench.close()
        assert not server.snapshot().allocations
        ways = [each.way for each in bench.journal.exchanges]
        assert ways[:2] == ["→ server", "← server"]


async def test_what_prepares_a_test_is_no_failure_of_the_server(tmp_path: Path) -> None:
    async with kit_server(tmp_path, ["udp"], hosts=["127.0.0.1"]) as (_, (target,)):
        bench = Bench(target, KitOptions(LOGIN, PATIENCE))
        client = await bench.client()
        with pytest.raises(Untestable, match="A Refresh is needed, and was refused: error 437"):
            await client.prepare("A Refresh", Method.REFRESH)
        await bench.close()


async def test_silence_is_known_by_what_is_answered_after_it(tmp_path: Path) -> None:
    async with kit_server(tmp_path, ["udp"], hosts=["127.0.0.1"]) as (_, (target,)):
        bench = Bench(target, KitOptions(LOGIN, PATIENCE))
        client = await bench.client()
        assert await client.reaction(Draft(Method.BINDING, MessageClass.INDICATION).encode()) is None
        found = await client.reaction(Draft(Method.BINDING).encode())
        assert found is not None
        assert found.success
        await bench.close()


async def test_no_answer_and_no_credentials(tmp_path: Path) -> None:
    async with kit_server(tmp_path, ["udp"], hosts=["127.0.0.1"]) as (_, (target,)):
        bench = Bench(target, KitOptions(None, 0.3))
        client = await bench.client()
        with pytest.raises(Wrong, match=r"No answer came: nothing in 0\.3 s"):
            await client.ask(Draft(Method.BINDING, MessageClass.INDICATION))
        with pytest.raises(Untestable, match="--user"):
            await client.draft(Method.ALLOCATE, UDP)
        await bench.close()


def test_which_integrity_a_challenge_offers() -> None:
    assert Challenge("a", b"n", None).modes == (SHA1,)
    assert Challenge("a", b"n", bytes.fromhex("00010000")).modes == (SHA1,)
    assert Challenge("a", b"n", bytes.fromhex("0001000000020000")).modes == (SHA1, SHA256)
    assert Challenge("a", b"n", b"\0").modes == (SHA1,)
