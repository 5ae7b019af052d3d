"""What a check works with."""

from pathlib import Path

import pytest

from cli.conform.bench import Bench, KitOptions, local_address
from cli.conform.findings import Untestable
from cli.conform.pipes import Subject
from cli.probe.security import Trust
from stun.address import Address
from tests.support.conformance import LOGIN, PATIENCE, kit_server, server_at


async def test_as_many_allocations_as_allowed(tmp_path: Path) -> None:
    async with kit_server(tmp_path, ["udp"], hosts=["127.0.0.1"]) as (server, (target,)):
        bench = Bench(target, KitOptions(LOGIN, PATIENCE, most=2))
        await bench.relay()
        await bench.relay()
        with pytest.raises(Untestable, match="more than 2 allocations at once"):
            await bench.relay()
        assert len(server.snapshot().allocations) == 2
        await bench.close()
        assert not server.snapshot().allocations


async def test_a_peer_that_the_server_forbids(tmp_path: Path) -> None:
    async with kit_server(tmp_path, ["udp"], hosts=["127.0.0.1"], peers={}) as (_, (target,)):
        options = KitOptions(LOGIN, PATIENCE)
        bench = Bench(target, options)
        client = await bench.relay()
        for _ in range(2):
            with pytest.raises(Untestable, match=r"forbids the peer 127.0.0.1 \(403\)"):
                await bench.udp_peer(client)
        assert len(options.reachable) == 1, "it is asked once"
        await bench.close()


async def test_an_address_for_peers(tmp_path: Path) -> None:
    async with kit_server(tmp_path, ["udp"], hosts=["127.0.0.1"]) as (_, (target,)):
        bench = Bench(target, KitOptions(LOGIN, PATIENCE, peers=(Address.parse("127.0.0.3", 0),)))
        client = await bench.relay()
        peer = await bench.udp_peer(client)
        assert peer.address.host == "127.0.0.3"
        await bench.close()


async def test_no_server(tmp_path: Path) -> None:
    async with kit_server(tmp_path, ["tcp"], hosts=["127.0.0.1"]) as (_, (target,)):
        pass
    with pytest.raises(Untestable, match="no connection to the server"):
        await Bench(target, KitOptions(LOGIN, PATIENCE)).client()


async def test_a_connection_that_is_not_made_has_a_reason(tmp_path: Path) -> None:
    """In words, not OpenSSL's; also where an exception has none."""
    async with kit_server(tmp_path, ["tcp", "tls"], hosts=["127.0.0.1"]) as (_, (plain, secure)):
        strange = Subject(secure.uri, secure.address, Trust())
        with pytest.raises(Untestable, match=r"^There is no connection to the server: [A-Z][^_]*\.$"):
            await Bench(strange, KitOptions(LOGIN, PATIENCE)).client()
        nowhere = server_at("udp", "255.255.255.255", plain.address.port)
        with pytest.raises(Untestable, match=r"^There is no connection to the server: [A-Z][a-z ]*\.$"):
            await Bench(nowhere, KitOptions(LOGIN, PATIENCE)).client()
        deaf = Subject(secure.uri, plain.address, secure.trust)
        with pytest.raises(Untestable, match=r"it was not made in 0\.5 s\.$"):
            await Bench(deaf, KitOptions(LOGIN, 0.5)).client()


def test_the_way_to_a_relay() -> None:
    assert local_address(Address.parse("127.0.0.1", 9)) == "127.0.0.1"
