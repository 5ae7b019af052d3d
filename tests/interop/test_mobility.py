"""Mobility (RFC 8016) end to end against the real server: from every transport and family to every other."""

from collections.abc import Iterator
from itertools import permutations

import pytest

from stun import attributes as attr
from stun.address import Address
from stun.constants import Method
from tests.support.certificates import issue
from tests.support.peer import UdpPeer
from tests.support.process import wait_until
from tests.support.server import PASSWORD, USERNAME, TurnServerProcess, loopback_config, stream_listeners
from tests.support.turn_client import ChannelMessage, TurnClient, TurnRefused

CHANNEL = 0x4001
WAYS = ("udp", "tcp", "tls")


LIMIT = 60.0
"""Seconds for what the server does at once."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TurnServerProcess]:
    """A server with mobility, and listeners of every kind."""
    pair = issue(tmp_path_factory.mktemp("certificate"))
    config = loopback_config(
        listeners=stream_listeners(http=False),
        relay={"addresses": ["127.0.0.1"], "mobility": True},
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
