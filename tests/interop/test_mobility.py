"""Mobility (RFC 8016) end to end against the real server: from every transport and family to every other."""

import asyncio
from collections.abc import Iterator, Mapping
from itertools import permutations
from typing import NamedTuple

import pytest

from bench.servers import LOGIN, Coturn
from stun import attributes as attr
from stun.address import Address
from stun.client.authentication import Login
from stun.constants import Method
from tests.support.certificates import client_context, issue
from tests.support.peer import UdpPeer
from tests.support.process import wait_until
from tests.support.server import PASSWORD, USERNAME, TurnServerProcess, loopback_config, stream_listeners
from tests.support.tools import require_tool
from tests.support.turn_client import ChannelMessage, TurnClient, TurnRefused
from tests.support.uclient import MESSAGES, Scenario, assert_all_returned, echo_server, run_uclient
from turnserver.turnclient.client import TurnClient as AsyncTurnClient

CHANNEL = 0x4001
WAYS = ("udp", "tcp", "tls")


LIMIT = 60.0
"""Seconds for what the server does at once."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TurnServerProcess]:
    """A server with mobility, and listeners of every kind."""
    pair = issue(tmp_path_factory.mktemp("certificate"))
    listeners = stream_listeners(http=False)
    dtls = {"transport": "dtls", "address": "127.0.0.1", "port": listeners[0]["port"] + 2}
    config = loopback_config(
        listeners=[*listeners, dtls],
        relay={"addresses": ["127.0.0.1"], "mobility": True, "legacy_channels": True},
        tls={"certificates": [pair.config]},
    )
    with TurnServerProcess(config, tmp_path_factory.mktemp("server")) as running:
        yield running


def connect(server: TurnServerProcess, way: str, host: str = "127.0.0.1") -> TurnClient:
    """A client with the ordinary credentials."""
    ways = {"udp": TurnClient.udp, "tcp": TurnClient.tcp, "tls": TurnClient.tls}
    return ways[way](host, server.ports[way], USERNAME, PASSWORD)


def allocate(client: TurnClient, peer: UdpPeer) -> tuple[bytes, int]:
    """The ticket, and the port of the relay."""
    answer = client.request(Method.ALLOCATE, (attr.REQUESTED_TRANSPORT, 17), (attr.MOBILITY_TICKET, b""))
    client.channel_bind(CHANNEL, peer.address)
    ticket, relayed = answer.first(attr.MOBILITY_TICKET), answer.first(attr.XOR_RELAYED_ADDRESS)
    assert ticket is not None
    assert relayed is not None
    return ticket, relayed.port


def relays(client: TurnClient, peer: UdpPeer, port: int, *, through: bytes) -> None:
    """Data goes both ways, from and to the same relayed address as ever."""
    client.send_channel(CHANNEL, through)
    data, relayed = peer.receive()
    assert (data, relayed.port) == (through, port)
    peer.send(b"back " + through, relayed)
    assert client.receive() == ChannelMessage(CHANNEL, b"back " + through)


@pytest.mark.parametrize(("before", "after"), [("udp", "udp"), *permutations(WAYS, 2), ("tcp", "tcp")])
def test_an_allocation_moves(before: str, after: str, server: TurnServerProcess) -> None:
    """RFC 8016 §3.2.2: the old 5-tuple serves until the first data on the new one; the peer notices nothing."""
    with connect(server, before) as old, connect(server, after) as new, UdpPeer("127.0.0.1") as peer:
        ticket, port = allocate(old, peer)
        relays(old, peer, port, through=b"before")
        fresh = new.request(Method.REFRESH, (attr.MOBILITY_TICKET, ticket)).first(attr.MOBILITY_TICKET)
        assert fresh not in (None, ticket)
        relays(old, peer, port, through=b"between")
        relays(new, peer, port, through=b"after")
        relays(new, peer, port, through=b"and on")
        if before == "udp":
            with pytest.raises(TurnRefused) as refusal:
                old.refresh()
            assert refusal.value.code == 437
        else:
            with pytest.raises(EOFError):
                old.wire.receive(LIMIT)


def test_a_client_moves_between_families(server: TurnServerProcess, ipv6: None) -> None:
    """RFC 8016 §3.1.2: a roaming client may change families; the relay stays an IPv4 one."""
    with connect(server, "udp") as old, connect(server, "udp", "::1") as new, UdpPeer("127.0.0.1") as peer:
        ticket, port = allocate(old, peer)
        relays(old, peer, port, through=b"IPv4")
        new.request(Method.REFRESH, (attr.MOBILITY_TICKET, ticket))
        relays(new, peer, port, through=b"IPv6")


def test_an_old_connection_that_breaks_is_the_confirmation(server: TurnServerProcess) -> None:
    """RFC 8016 §3.2.2: after it, peers are heard on the new 5-tuple, although nothing was sent there yet."""
    with connect(server, "tcp") as old, connect(server, "udp") as new, UdpPeer("127.0.0.1") as peer:
        ticket, port = allocate(old, peer)
        relays(old, peer, port, through=b"before")
        new.request(Method.REFRESH, (attr.MOBILITY_TICKET, ticket))
        moved = server.log.count("allocation moved")
        old.close()
        wait_until(lambda: server.log.count("allocation moved") > moved, "the allocation moves")
        peer.send(b"from the peer", Address.parse("127.0.0.1", port))
        assert new.receive() == ChannelMessage(CHANNEL, b"from the peer")


def test_coturns_client_moves(server: TurnServerProcess) -> None:
    """``turnutils_uclient -M`` allocates, comes back from another port with its ticket, and gets everything there."""
    moved = server.log.count("allocation moved")
    with echo_server() as port:
        outcome = run_uclient(server, Scenario("-M -c", 1), port, "-u", USERNAME, "-w", PASSWORD)
    assert_all_returned(outcome, MESSAGES)
    assert server.log.count("allocation moved") == moved + 1


class MobileCoturn(Coturn):
    """coturn with mobility."""

    def command(self) -> list[str]:
        """The command line, with its option for it."""
        return [*super().command(), "--mobility"]


@pytest.fixture(scope="module")
def coturn() -> Iterator[MobileCoturn]:
    """Debian's coturn."""
    require_tool("turnserver")
    with MobileCoturn(None) as running:
        yield running


class Target(NamedTuple):
    """A server for our client."""

    ports: Mapping[str, int]
    login: Login


@pytest.fixture(params=["meshturn", "coturn"])
def target(request: pytest.FixtureRequest) -> Target:
    """Each of the two servers."""
    if request.param == "meshturn":
        return Target(request.getfixturevalue("server").ports, Login(USERNAME, PASSWORD))
    running: MobileCoturn = request.getfixturevalue("coturn")
    ports = {transport: running.address(transport)[1] for transport in WAYS}
    return Target(ports, Login(LOGIN.username, LOGIN.password))


def uri(ports: Mapping[str, int], transport: str) -> str:
    """Where a server is."""
    schemes = {"tls": ("turns", "tcp"), "dtls": ("turns", "udp")}
    scheme, query = schemes.get(transport, ("turn", transport))
    return f"{scheme}:127.0.0.1:{ports[transport]}?transport={query}"


async def there_and_back(client: AsyncTurnClient, peer: UdpPeer, data: bytes) -> int:
    """Data to the peer and back; the port of the relay."""
    loop = asyncio.get_running_loop()
    client.send(peer.address, data)
    received, relayed = await loop.run_in_executor(None, peer.receive)
    assert received == data
    peer.send(data + b" back", relayed)
    async with asyncio.timeout(LIMIT):
        assert (await client.receive()).data == data + b" back"
    return relayed.port


async def test_our_client_moves(target: Target) -> None:
    """RFC 8016: with both servers, from the same relay, before it and after it."""
    with UdpPeer("127.0.0.1") as peer:
        client = AsyncTurnClient(uri(target.ports, "udp"), login=target.login)
        async with client:
            assert (await client.allocate(mobile=True)).mobile
            await client.bind_channel(peer.address)
            port = await there_and_back(client, peer, b"before")
            await client.move()
            assert await there_and_back(client, peer, b"after") == port
            assert await there_and_back(client, peer, b"and on") == port


@pytest.mark.parametrize(
    ("before", "after"), [("udp", "tcp"), ("tls", "udp"), ("tcp", "tls"), ("udp", "dtls"), ("dtls", "tls")]
)
async def test_our_client_moves_to_another_transport(before: str, after: str, server: TurnServerProcess) -> None:
    """RFC 8016: there and back and there again."""
    with UdpPeer("127.0.0.1") as peer:
        client = AsyncTurnClient(uri(server.ports, before), USERNAME, PASSWORD, tls=client_context())
        async with client:
            await client.allocate(mobile=True)
            await client.bind_channel(peer.address)
            port = await there_and_back(client, peer, b"before")
            for transport in (after, before, after):
                await client.move(uri(server.ports, transport))
                assert await there_and_back(client, peer, b"then") == port
