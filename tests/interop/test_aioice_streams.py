"""aioice over TCP and TLS: ICE between relays, and payloads of every size around the padding of ChannelData."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import aioice
import pytest
from aioice.ice import TransportPolicy
from aioice.stun import TransactionFailed
from aioice.turn import TurnTransport, create_turn_endpoint

from stun.address import Address
from tests.support.certificates import CertificatePair, client_context, issue
from tests.support.peer import UdpPeer
from tests.support.server import PASSWORD, USERNAME, TurnServerProcess, loopback_config, stream_listeners

TIMEOUT = 90
"""Seconds until something that has not come about counts as failed."""
TRANSPORTS = ["tcp", "tls", "shared", "plain"]
SIZES = [*range(9), 100, 101, 102, 103, 1199, 1400, 1401, 4095, 16_384, 16_389, 40_001]
"""Bytes of a payload: every remainder of 4, nothing at all, more than one TLS record, nearly what UDP can carry."""
MESSAGES = 200


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> CertificatePair:
    """The server's certificate."""
    return issue(tmp_path_factory.mktemp("certificate"))


@pytest.fixture(scope="module")
def turn_server(tmp_path_factory: pytest.TempPathFactory, certificate: CertificatePair) -> Iterator[TurnServerProcess]:
    """The server with every kind of listener."""
    config = loopback_config(listeners=stream_listeners(), tls={"certificates": [certificate.config]})
    with TurnServerProcess(config, tmp_path_factory.mktemp("server")) as server:
        yield server


class Collector(asyncio.DatagramProtocol):
    """Puts every datagram into a queue."""

    def __init__(self) -> None:
        self.received: asyncio.Queue[bytes] = asyncio.Queue()

    def datagram_received(self, data: bytes, addr: Any) -> None:
        """Queue the datagram."""
        self.received.put_nowait(data)


def tls_for(transport: str, certificate: CertificatePair) -> ssl.SSLContext | None:
    """A context that verifies the server, for the listeners with TLS."""
    return client_context(certificate) if transport in ("tls", "shared") else None


async def endpoint(
    server: TurnServerProcess, transport: str, certificate: CertificatePair, password: str = PASSWORD
) -> tuple[TurnTransport, Collector]:
    """An allocation of aioice's own client."""
    return await create_turn_endpoint(
        Collector,
        server_addr=("127.0.0.1", server.ports[transport]),
        username=USERNAME,
        password=password,
        ssl=tls_for(transport, certificate),
        transport="tcp",
    )


@asynccontextmanager
async def bound(
    server: TurnServerProcess, transport: str, certificate: CertificatePair
) -> AsyncIterator[tuple[TurnTransport, Collector, UdpPeer, Address]]:
    """An allocation with a channel to a peer: aioice's transport, what comes to it, the peer, the relayed address."""
    turn, client = await endpoint(server, transport, certificate)
    with UdpPeer() as peer:
        peer.socket.setblocking(False)
        try:
            async with asyncio.timeout(TIMEOUT):
                turn.sendto(b"to bind the channel", (peer.address.host, peer.address.port))
                await arrivals(peer, 1)
                yield turn, client, peer, Address.parse(*turn.get_extra_info("sockname"))
        finally:
            turn.close()


async def arrivals(peer: UdpPeer, count: int) -> list[bytes]:
    """The next ``count`` datagrams that come to a peer."""
    loop = asyncio.get_running_loop()
    return [await loop.sock_recv(peer.socket, 65_536) for _ in range(count)]


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_payloads_of_every_size_come_back(
    transport: str, turn_server: TurnServerProcess, certificate: CertificatePair
) -> None:
    """RFC 8656 §12.5, rule 19: the length excludes the padding; an empty payload is an empty datagram."""
    async with bound(turn_server, transport, certificate) as (turn, client, peer, relayed):
        for size in SIZES:
            message = bytes(number % 251 for number in range(size))
            turn.sendto(message, (peer.address.host, peer.address.port))
            assert await arrivals(peer, 1) == [message]
            peer.socket.sendto(message, (relayed.host, relayed.port))
            assert await client.received.get() == message


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_a_burst_keeps_its_order(
    transport: str, turn_server: TurnServerProcess, certificate: CertificatePair
) -> None:
    """RFC 8656 §3.1: many frames in one piece of the stream are told apart; none is lost, and they stay in order."""
    messages = [b"%04d" % number + bytes(number % 61) for number in range(MESSAGES)]
    async with bound(turn_server, transport, certificate) as (turn, client, peer, relayed):
        for start in range(0, MESSAGES, 50):  # no more at once than the sockets of both sides hold
            part = messages[start : start + 50]
            for message in part:
                turn.sendto(message, (peer.address.host, peer.address.port))
            assert await arrivals(peer, len(part)) == part
            for message in part:
                peer.socket.sendto(message, (relayed.host, relayed.port))
            assert [await client.received.get() for _ in part] == part


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_wrong_password_is_refused(
    transport: str, turn_server: TurnServerProcess, certificate: CertificatePair
) -> None:
    """RFC 8489 §9.2.4: over streams too, wrong integrity is answered with 401."""
    async with asyncio.timeout(TIMEOUT):
        with pytest.raises(TransactionFailed, match=r"\(401 - "):
            await endpoint(turn_server, transport, certificate, password=PASSWORD + "!")


def ice_connection(
    server: TurnServerProcess, transport: str, certificate: CertificatePair, *, controlling: bool
) -> aioice.Connection:
    """An ICE agent that gathers relayed candidates only; `udp` is one of the transports."""
    return aioice.Connection(
        ice_controlling=controlling,
        turn_server=("127.0.0.1", server.ports[transport]),
        turn_username=USERNAME,
        turn_password=PASSWORD,
        turn_ssl=tls_for(transport, certificate) or False,
        turn_transport="udp" if transport == "udp" else "tcp",
        transport_policy=TransportPolicy.RELAY,
        use_ipv6=False,
    )


async def introduce(one: aioice.Connection, other: aioice.Connection) -> None:
    """Hand each side the other's candidates and connect them."""
    for local, remote in ((one, other), (other, one)):
        await local.gather_candidates()
        assert [candidate.type for candidate in local.local_candidates] == ["relay"]
        for candidate in local.local_candidates:
            await remote.add_remote_candidate(candidate)
        await remote.add_remote_candidate(None)
        remote.remote_username = local.local_username
        remote.remote_password = local.local_password
    await asyncio.gather(one.connect(), other.connect())


@pytest.mark.parametrize(
    ("first", "second"), [("tcp", "tcp"), ("tls", "tls"), ("shared", "shared"), ("udp", "tls"), ("tcp", "shared")]
)
async def test_ice_between_two_relays(
    first: str, second: str, turn_server: TurnServerProcess, certificate: CertificatePair
) -> None:
    """RFC 8656 §§3.1, 12: a pair of agents, each on its own transport, exchanges messages of growing size."""
    one = ice_connection(turn_server, first, certificate, controlling=True)
    other = ice_connection(turn_server, second, certificate, controlling=False)
    try:
        async with asyncio.timeout(TIMEOUT):
            await introduce(one, other)
            for sender, receiver in ((one, other), (other, one)):
                for number in range(MESSAGES):
                    message = b"%d " % number + bytes(number * 5)
                    await sender.send(message)
                    assert await receiver.recv() == message
    finally:
        await asyncio.gather(one.close(), other.close())
