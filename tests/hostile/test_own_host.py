"""A user who wants to reach what else listens on the relay's own host, by the relay's own address (rule 16)."""

import asyncio
import socket
from collections.abc import Callable
from typing import Any

import pytest

from stun.address import Address
from stun.constants import TransportProtocol
from tests.support.turn_client import TurnClient, TurnRefused
from turnserver.server import Server

LOGIN = ("alice", "secret")


def config(**options: Any) -> dict[str, Any]:
    """A server whose relays are on 127.0.0.1; no peer is allowed that is not by default."""
    return {
        "listeners": [
            {"address": "127.0.0.1", "port": 0},
            {"transport": "tcp", "address": "127.0.0.1", "port": 0},
        ],
        "auth": {"users": {"alice": "secret"}},
        **options,
    }


def service(kind: socket.SocketKind) -> socket.socket:
    """Something else on this host, on a port that a relay might have, for which the firewall is no obstacle."""
    found = socket.socket(socket.AF_INET, kind)
    for port in range(49152, 65536):
        try:
            found.bind(("0.0.0.0", port))
        except OSError:
            continue
        if kind is socket.SOCK_STREAM:
            found.listen()
        found.settimeout(0.5)
        return found
    raise AssertionError("no port is free")


def code(act: Callable[[], object]) -> int:
    with pytest.raises(TurnRefused) as refused:
        act()
    return refused.value.code


def attack_with_datagrams(server: Address) -> None:
    with (
        service(socket.SOCK_DGRAM) as victim,
        TurnClient.udp(server.host, server.port, *LOGIN) as client,
        TurnClient.udp(server.host, server.port, *LOGIN) as friend,
    ):
        own, other = client.allocate().relayed[0], friend.allocate().relayed[0]
        peer = Address(own.ip, victim.getsockname()[1])
        client.create_permission(peer)
        client.send(peer, b"secret, please")
        assert code(lambda: client.channel_bind(0x4000, peer)) == 403
        with pytest.raises(TimeoutError):
            victim.recv(100)
        victim.sendto(b"the answer", (own.host, own.port))

        friend.create_permission(own)
        client.channel_bind(0x4001, other)
        client.send_channel(0x4001, b"hello, friend")
        assert friend.receive().data == b"hello, friend"
        friend.send(own, b"hello")
        assert client.receive().data == b"hello", "and not the answer of the other service, which came before"


async def test_datagrams_reach_relays_and_nothing_else_of_the_host() -> None:
    """By Send and ChannelBind, and what comes from there."""
    async with Server(config()) as server:
        await asyncio.to_thread(attack_with_datagrams, server.snapshot().listening[0][1])


def attack_with_connections(server: Address) -> None:
    with (
        service(socket.SOCK_STREAM) as victim,
        TurnClient.tcp(server.host, server.port, *LOGIN) as client,
        TurnClient.tcp(server.host, server.port, *LOGIN) as friend,
        TurnClient.tcp(server.host, server.port, *LOGIN) as datagrams,
    ):
        own = client.allocate(protocol=TransportProtocol.TCP).relayed[0]
        other = friend.allocate(protocol=TransportProtocol.TCP).relayed[0]
        unlike = datagrams.allocate().relayed[0]
        for port in (victim.getsockname()[1], unlike.port):
            assert code(lambda port=port: client.connect_peer(Address(own.ip, port))) == 403  # type: ignore[misc]
        with pytest.raises(TimeoutError):
            victim.accept()
        friend.create_permission(own)
        assert client.connect_peer(other)


async def test_connections_reach_relays_and_nothing_else_of_the_host() -> None:
    """RFC 6062 §5.2: nor the port of a UDP relay, where something else may have the TCP port."""
    async with Server(config()) as server:
        await asyncio.to_thread(attack_with_connections, server.snapshot().listening[1][1])


def attack_on_listeners(server: Address, spelling: str) -> None:
    with TurnClient.tcp(server.host, server.port, *LOGIN) as client:
        client.allocate(protocol=TransportProtocol.TCP)
        assert code(lambda: client.connect_peer(Address.parse(spelling, server.port))) == 403


@pytest.mark.parametrize("spelling", ["0.0.0.0", "127.0.0.1"])
@pytest.mark.parametrize("listening", ["127.0.0.1", "0.0.0.0"])
async def test_listeners_are_out_of_reach_although_everything_is_allowed(listening: str, spelling: str) -> None:
    """By the unspecified address, which the system takes for this host."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    options = config(peers={"allow": ["0.0.0.0/0", "::/0"]}, relay={"addresses": ["127.0.0.1"]})
    options["listeners"] = [{"transport": "tcp", "address": listening, "port": port}]
    async with Server(options):
        await asyncio.to_thread(attack_on_listeners, Address.parse("127.0.0.1", port), spelling)
