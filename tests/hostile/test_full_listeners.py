"""Strangers take every connection, over every transport; whoever comes next is served, and what stands goes on.

The limits are lowered; with the defaults it takes 10,000 connections from 50 addresses and one Binding a minute.
"""

import socket
from collections.abc import Iterator

import aiohttp
import pytest

from tests.support.certificates import CertificatePair, client_context, issue
from tests.support.peer import UdpPeer
from tests.support.process import wait_for_log
from tests.support.server import PASSWORD, USERNAME, TurnServerProcess, loopback_config, stream_listeners
from tests.support.signal_wire import Participant
from tests.support.stream_wire import StreamWire, open_tcp, open_tls
from tests.support.turn_client import ChannelMessage, TurnClient

BINDING = bytes.fromhex("000100002112a442") + bytes(12)
CONNECTIONS = 60
PER_ADDRESS = 10
CHANNEL = 0x4ABC


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TurnServerProcess]:
    pair: CertificatePair = issue(tmp_path_factory.mktemp("certificate"))
    config = loopback_config(
        listeners=stream_listeners(),
        tls={"certificates": [pair.config]},
        signaling={"open": True},
        limits={"connections": CONNECTIONS, "connections_per_address": PER_ADDRESS},
    )
    with TurnServerProcess(config, tmp_path_factory.mktemp("server")) as running:
        yield running


class Crowd:
    """Strangers who hold connections: each has sent what it is told to, and waits."""

    def __init__(self, server: TurnServerProcess) -> None:
        self.server = server
        self.held: list[socket.socket] = []

    def __enter__(self) -> "Crowd":
        return self

    def __exit__(self, *_: object) -> None:
        for sock in self.held:
            sock.close()

    def come(self, transport: str, *, source: str, message: bytes, answered: bool) -> None:
        """One more connection; with ``answered`` its message has been handled when this returns."""
        sock: socket.socket = open_tcp("127.0.0.1", self.server.ports[transport], source=source)
        self.held.append(sock)
        if transport in ("tls", "shared") and message:
            sock = client_context().wrap_socket(sock, server_hostname="localhost")
            self.held[-1] = sock
        if message:
            sock.sendall(message)
        if answered:
            assert sock.recv(1)

    def fill(self, transport: str, message: bytes, *, answered: bool) -> None:
        """More connections than there is room for, each address with as many as it may have."""
        for number in range(CONNECTIONS + PER_ADDRESS):
            try:
                self.come(transport, source=f"127.0.1.{1 + number // PER_ADDRESS}", message=message, answered=answered)
            except OSError:  # turned away: that address has as many as it may have
                continue

    def bind_again(self) -> None:
        """Each sends another Binding, as an attacker does once a minute."""
        for sock in self.held:
            try:
                sock.sendall(BINDING)
            except OSError:
                continue


ATTACKS = {
    "tcp, nothing sent": ("tcp", b"", False),
    "tcp, a Binding": ("tcp", BINDING, True),
    "tls, no handshake": ("tls", b"", False),
    "tls, a Binding": ("tls", BINDING, True),
    "https, half a request": ("shared", b"GET / HT", False),
    "http, kept alive": ("plain", b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n", True),
    "http, half a body": ("plain", b"POST /v1/tokens HTTP/1.1\r\nHost: x\r\nContent-Length: 99\r\n\r\n{", False),
}


@pytest.mark.parametrize("attack", ATTACKS)
async def test_everybody_else_is_served(server: TurnServerProcess, attack: str) -> None:
    """A client over TCP, TLS and UDP, a page and a room, while strangers hold every connection."""
    transport, message, answered = ATTACKS[attack]
    room = f"quiet-{list(ATTACKS).index(attack)}"
    url = f"ws://127.0.0.1:{server.ports['plain']}/v1/ws"
    with (
        TurnClient.tcp("127.0.0.1", server.ports["tcp"], USERNAME, PASSWORD) as before,
        UdpPeer() as peer,
        Crowd(server) as crowd,
    ):
        before.allocate()
        before.channel_bind(CHANNEL, peer.address)
        async with Participant(url, source="127.0.0.9") as ann:
            await ann.join(room, "Ann")
            crowd.fill(transport, message, answered=answered)
            crowd.bind_again()
            for opened in (open_tcp("127.0.0.1", server.ports["tcp"]), open_tls("127.0.0.1", server.ports["tls"])):
                with TurnClient(StreamWire(opened), USERNAME, PASSWORD) as client:
                    client.allocate()
                    client.channel_bind(CHANNEL, peer.address)
                    echoed(client, peer, b"to a newcomer")
            async with (
                aiohttp.ClientSession() as session,
                session.get(f"https://127.0.0.1:{server.ports['shared']}/healthz", ssl=client_context()) as response,
            ):
                assert response.status == 200
            async with Participant(url, source="127.0.0.8") as bob:
                await bob.join(room, "Bob")
                await bob.send(t="msg", data={"text": "hello"})
                await ann.until(lambda frame: frame["t"] == "msg" and frame["data"] == {"text": "hello"})
        echoed(before, peer, b"to one that was there")
    wait_for_log(server, "idle connection closed to make room")


def echoed(client: TurnClient, peer: UdpPeer, message: bytes) -> None:
    client.send_channel(CHANNEL, message)
    assert peer.echo() == message
    assert client.receive() == ChannelMessage(CHANNEL, message)


def test_whoever_has_an_allocation_is_never_closed_for_another(server: TurnServerProcess) -> None:
    """When all connections are those of allocations, the newcomer is refused, and the line says by which limit."""
    with Crowd(server) as crowd:
        clients = []
        for number in range(CONNECTIONS):
            sock = open_tcp("127.0.0.1", server.ports["tcp"], source=f"127.0.2.{1 + number // PER_ADDRESS}")
            crowd.held.append(sock)
            clients.append(TurnClient(StreamWire(sock), USERNAME, PASSWORD))
            clients[-1].allocate()
        late = open_tcp("127.0.0.1", server.ports["tcp"])
        crowd.held.append(late)
        assert closed(late)
        for client in clients:
            assert client.refresh() > 0
    wait_for_log(server, "too many connections")


def closed(sock: socket.socket) -> bool:
    try:
        return sock.recv(1) == b""
    except ConnectionResetError:
        return True
