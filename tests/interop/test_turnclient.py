"""Our TURN client against servers on real sockets: this project's, and Debian's coturn."""

import asyncio
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from bench.servers import HOST, LOGIN, Coturn
from stun.address import Address
from stun.attributes import ALTERNATE_SERVER
from stun.client.authentication import Login
from stun.client.errors import ErrorResponse, NoAllocation, ServerUnreachable
from stun.client.events import PeerError
from stun.constants import AddressFamily, Method, TransportProtocol
from tests.support.certificates import client_context, issue
from tests.support.peer import UdpPeer, refused_address
from tests.support.server import PASSWORD, USERNAME, TurnServerProcess, loopback_config, stream_listeners
from tests.support.tools import require_tool
from turnserver.turnclient.client import TurnClient

TIMEOUT = 90.0
TRANSPORTS = ("udp", "tcp", "tls")
STREAMS = ("tcp", "tls")


class Target(NamedTuple):
    """A server to try the client on."""

    name: str
    ports: dict[str, int]
    login: Login
    tls: ssl.SSLContext

    def client(self, transport: str, **more: Any) -> TurnClient:
        scheme, query = ("turns", "tcp") if transport == "tls" else ("turn", transport)
        more.setdefault("login", self.login)
        return TurnClient(f"{scheme}:127.0.0.1:{self.ports[transport]}?transport={query}", tls=self.tls, **more)


@pytest.fixture(scope="module")
def meshturn(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    pair = issue(tmp_path_factory.mktemp("certificate"))
    config = loopback_config(listeners=stream_listeners(), tls={"certificates": [pair.config]})
    with TurnServerProcess(config, tmp_path_factory.mktemp("server")) as server:
        yield Target("meshturn", dict(server.ports), Login(USERNAME, PASSWORD), client_context(pair))


@pytest.fixture(scope="module")
def coturn() -> Iterator[Target]:
    require_tool("turnserver")
    with Coturn(None) as server:
        ports = {transport: server.address(transport)[1] for transport in TRANSPORTS}
        yield Target("coturn", ports, Login(LOGIN.username, LOGIN.password), client_context())


@pytest.fixture(params=["meshturn", "coturn"])
def target(request: pytest.FixtureRequest) -> Target:
    """Each server in turn."""
    found: Target = request.getfixturevalue(request.param)
    return found


async def there_and_back(client: TurnClient, peer: UdpPeer, data: bytes) -> bytes:
    """Through the relay to a peer that sends everything back."""
    client.send(peer.address, data)
    await asyncio.to_thread(peer.echo)
    async with asyncio.timeout(TIMEOUT):
        return (await client.receive()).data


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_a_whole_visit(target: Target, transport: str) -> None:
    """RFC 8656: everything that a client does, in order; given back at the end, so that it can be had again."""
    with UdpPeer() as peer:
        async with target.client(transport) as client:
            mapped = await client.binding()
            assert mapped.host == "127.0.0.1"
            allocation = await client.allocate(lifetime=1200)
            assert allocation.mapped == mapped
            assert allocation.lifetime == 1200
            await client.create_permission(peer.address)
            for size in (1, 160, 1200):
                assert await there_and_back(client, peer, bytes(range(1, 1 + size % 250)) * 3) is not None
            number = await client.bind_channel(peer.address)
            for data in (b"x", b"odd", b"even", bytes(1200)):
                assert await there_and_back(client, peer, data) == data
            assert await client.bind_channel(peer.address) == number
            assert await client.refresh() > 0
        async with target.client(transport) as client:
            await client.allocate()


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_many_requests_at_once(target: Target, transport: str) -> None:
    """RFC 8489 §6.2: answers come in any order, and each finds its request."""
    async with target.client(transport) as client:
        await client.allocate()
        peers = [Address.parse("127.0.0.1", port) for port in range(20_000, 20_020)]
        numbers = await asyncio.gather(*(client.bind_channel(peer) for peer in peers))
        assert sorted(numbers) == list(range(0x4000, 0x4014))


async def test_a_reserved_port(target: Target) -> None:
    """RFC 8656 §7.2: EVEN-PORT with the R bit, and RESERVATION-TOKEN."""
    async with target.client("udp") as client, target.client("udp") as other:
        first = await client.allocate(even_port=True)
        assert first.reservation is not None
        second = await other.allocate(reservation=first.reservation)
        assert first.address.port % 2 == 0
        assert second.address.port == first.address.port + 1


async def test_a_wrong_password(target: Target) -> None:
    """RFC 8489 §9.2.5: refused once more, and that is the answer."""
    async with target.client("udp", login=Login(target.login.username, "wrong")) as client:
        with pytest.raises(ErrorResponse) as caught:
            await client.allocate()
        assert caught.value.code == 401


async def test_the_mechanism_is_the_servers(target: Target) -> None:
    """RFC 8489 §9.2.5: SHA-256 where it is offered, which coturn 4.6 does not; RFC 5389 for who wants that."""
    async with target.client("udp") as client:
        await client.allocate()
        session = client._core.session
        assert session is not None
        assert (session.chosen is not None and session.chosen.number == 2) is (target.name == "meshturn")
    old = Login(target.login.username, target.login.password, rfc5389=True)
    async with target.client("udp", login=old) as client:
        await client.allocate()


@pytest.mark.parametrize("transport", STREAMS)
async def test_a_connection_to_a_peer(target: Target, transport: str) -> None:
    """RFC 6062 §4.3: Connect, and a second connection that becomes the peer's stream."""
    with socket.create_server((HOST, 0)) as listening:
        listening.settimeout(TIMEOUT)
        async with target.client(transport) as client:
            await client.allocate(protocol=TransportProtocol.TCP)
            peer = Address.parse(*listening.getsockname())
            await client.create_permission(peer)
            async with asyncio.timeout(TIMEOUT):
                reader, writer = await client.connect_peer(peer)
                far, _ = await asyncio.to_thread(listening.accept)
                with far:
                    far.settimeout(TIMEOUT)
                    writer.write(b"hello" * 1000)
                    await writer.drain()
                    assert await asyncio.to_thread(_exactly, far, 5000) == b"hello" * 1000
                    await asyncio.to_thread(far.sendall, b"back" * 1000)
                    assert await reader.readexactly(4000) == b"back" * 1000
                writer.close()


@pytest.mark.parametrize("transport", STREAMS)
async def test_a_peer_that_connects(target: Target, transport: str) -> None:
    """RFC 6062 §4.4: ConnectionAttempt, and a second connection for it."""
    async with target.client(transport) as client:
        allocation = await client.allocate(protocol=TransportProtocol.TCP)
        await client.create_permission((HOST, 1))
        far = await asyncio.to_thread(socket.create_connection, tuple_of(allocation.address), TIMEOUT)
        with far:
            async with asyncio.timeout(TIMEOUT):
                peer, reader, writer = await client.accept()
                assert peer == Address.parse(*far.getsockname())
                await asyncio.to_thread(far.sendall, b"knock")
                assert await reader.readexactly(5) == b"knock"
                writer.write(b"come in")
                assert await asyncio.to_thread(_exactly, far, 7) == b"come in"
                writer.close()


async def test_a_peer_that_takes_no_connection(meshturn: Target) -> None:
    """RFC 6062 §5.2: 447."""
    async with meshturn.client("tcp") as client:
        await client.allocate(protocol=TransportProtocol.TCP)
        with pytest.raises(ErrorResponse, match="447"):
            await client.connect_peer(refused_address())


async def test_errors_of_peers(meshturn: Target) -> None:
    """RFC 8656 §11.5: an ICMP error comes as an event."""
    told: asyncio.Queue[Any] = asyncio.Queue()
    async with meshturn.client("udp", on_event=told.put_nowait) as client:
        await client.allocate()
        gone = refused_address()
        await client.create_permission(gone)
        client.send(gone, b"anybody?")
        async with asyncio.timeout(TIMEOUT):
            event = await told.get()
        assert isinstance(event, PeerError)
        assert (event.peer, event.icmp.type, event.icmp.code) == (gone, 3, 3)


@pytest.mark.parametrize("family", [AddressFamily.IPV4, AddressFamily.IPV6])
async def test_both_families(meshturn: Target, ipv6: None, family: AddressFamily) -> None:
    """RFC 8656 §7: relayed addresses of the family asked for, and of both in a dual allocation."""
    async with meshturn.client("udp") as client:
        assert (await client.allocate(family=family)).address.family is family
    async with meshturn.client("udp") as client:
        both = await client.allocate(additional_family=AddressFamily.IPV6)
        assert [address.family for address in both.relayed] == [AddressFamily.IPV4, AddressFamily.IPV6]


async def test_the_server_goes(tmp_path_factory: pytest.TempPathFactory) -> None:
    """RFC 8656 §3.1: over a stream the end of the connection is the end of the allocation."""
    config = loopback_config(listeners=[entry for entry in stream_listeners(http=False) if entry["transport"] == "tcp"])
    directory: Path = tmp_path_factory.mktemp("server")
    with TurnServerProcess(config, directory) as server:
        uri = f"turn:127.0.0.1:{server.ports['tcp']}?transport=tcp"
        async with TurnClient(uri, USERNAME, PASSWORD) as client:
            await client.allocate()
            await asyncio.to_thread(server.stop)
            async with asyncio.timeout(TIMEOUT):
                with pytest.raises(NoAllocation):
                    await client.receive()
            assert client.allocation is None
            with pytest.raises(ServerUnreachable):
                await client.binding()


async def test_an_untrusted_certificate(meshturn: Target) -> None:
    """RFC 8489 §6.2.3: nothing is sent to who cannot be trusted."""
    uri = f"turns:127.0.0.1:{meshturn.ports['tls']}"
    with pytest.raises(ServerUnreachable):
        async with TurnClient(uri, login=meshturn.login):
            pass


async def test_a_question_of_ones_own(coturn: Target) -> None:
    """Any request, and the answer as it came, signed or not."""
    async with coturn.client("udp") as client:
        await client.allocate()
        answer = await client.request(Method.REFRESH)
        assert answer.is_success
        assert answer.signed
        assert not answer.message.has(ALTERNATE_SERVER)


def tuple_of(address: Address) -> tuple[str, int]:
    return address.host, address.port


def _exactly(sock: socket.socket, size: int) -> bytes:
    data = bytearray()
    while len(data) < size:
        piece = sock.recv(size - len(data))
        assert piece, "the stream has ended early"
        data += piece
    return bytes(data)
