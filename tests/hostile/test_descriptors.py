"""A user, or strangers, try to take every file that the process may open: 508 in time, and the others are served.

The processes here have very few; the budget is derived from what they really have.
"""

import os
import resource
import socket
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from stun.address import Address
from stun.constants import TransportProtocol
from tests.support.peer import UdpPeer
from tests.support.process import open_files, wait_for_log
from tests.support.server import TurnServerProcess, loopback_config, stream_listeners
from tests.support.stream_wire import open_tcp
from tests.support.turn_client import ChannelMessage, TurnClient, TurnRefused
from turnserver.server import Server

FILES = 160
USERS = {"alice": "secret", "bob": "hunter2", "carol": "trustno1"}
CHANNEL = 0x4ABC


class PoorServer(TurnServerProcess):
    """A server whose process may have few files open, and cannot raise that."""

    command = ("sh", "-c", f'ulimit -n {FILES}; exec "$0" -m meshturn serve -c "$1"', sys.executable)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[TurnServerProcess]:
    config = loopback_config(
        listeners=[listener for listener in stream_listeners(http=False) if listener["transport"] != "tls"],
        auth={"users": USERS},
        limits={"allocations_per_user": 1000, "connections_per_address": 1000, "tcp_connections_per_allocation": 100},
    )
    with PoorServer(config, tmp_path) as running:
        yield running


def tcp_client(server: TurnServerProcess, user: str) -> TurnClient:
    return TurnClient.tcp("127.0.0.1", server.ports["tcp"], user, USERS[user])


def udp_client(server: TurnServerProcess, user: str) -> TurnClient:
    return TurnClient.udp("127.0.0.1", server.ports["udp"], user, USERS[user])


def assert_relays(client: TurnClient, peer: UdpPeer, message: bytes) -> None:
    client.send_channel(CHANNEL, message)
    assert peer.echo() == message
    assert client.receive() == ChannelMessage(CHANNEL, message)


def test_connections_with_peers(server: TurnServerProcess) -> None:
    """RFC 6062: one user with allocations and connections within every quota, until there are no more."""
    with ExitStack() as stack:
        udp_peer = stack.enter_context(UdpPeer())
        before = stack.enter_context(udp_client(server, "bob"))
        before.allocate()
        before.channel_bind(CHANNEL, udp_peer.address)
        refused: set[tuple[int, str]] = set()
        numbers = []
        owner = stack.enter_context(tcp_client(server, "alice"))
        owner.allocate(protocol=TransportProtocol.TCP)
        sources = [f"127.0.0.{last}" for last in range(1, FILES)]
        for host in sources:
            listener = stack.enter_context(socket.socket())
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((host, 0))
            listener.listen()
            try:
                numbers.append(owner.connect_peer(Address.parse(host, listener.getsockname()[1])))
            except TurnRefused as error:
                refused.add((error.code, error.reason))
        assert len(numbers) > FILES // 4
        assert refused == {(508, "Insufficient Capacity (user-descriptors)")}
        with pytest.raises(TurnRefused, match="508"):
            stack.enter_context(tcp_client(server, "alice")).allocate(protocol=TransportProtocol.TCP)
        assert open_files(server) < FILES
        assert_relays(before, udp_peer, b"to one that was there")
        with udp_client(server, "bob") as udp, tcp_client(server, "carol") as tcp:
            for client in (udp, tcp):
                client.allocate()
                client.channel_bind(CHANNEL, udp_peer.address)
                assert_relays(client, udp_peer, b"to a newcomer")
        assert owner.refresh() > 0
    wait_for_log(server, "request refused", "code=508", "cause=user-descriptors")
    assert "cannot accept connections" not in server.log


def connect_all(owner: TurnClient, listeners: list[socket.socket]) -> Iterator[int]:
    """The numbers of connections with as many peers as there may be."""
    for listener in listeners:
        try:
            yield owner.connect_peer(Address.parse(*listener.getsockname()))
        except TurnRefused:
            return


def test_data_connections(server: TurnServerProcess) -> None:
    """RFC 6062: one user claims every connection with a peer by one of its own; they are the user's as well."""
    with ExitStack() as stack:
        udp_peer = stack.enter_context(UdpPeer())
        listeners = [stack.enter_context(socket.create_server((f"127.0.0.{last}", 0))) for last in range(1, FILES)]
        owner = stack.enter_context(tcp_client(server, "alice"))
        owner.allocate(protocol=TransportProtocol.TCP)
        numbers = list(connect_all(owner, listeners))
        assert 0 < len(numbers) < len(listeners)
        for number in numbers:
            stack.enter_context(tcp_client(server, "alice").bind_connection(number)[0])
        with pytest.raises(TurnRefused, match="user-descriptors"):
            owner.connect_peer(Address.parse(*listeners[-1].getsockname()))
        for user in ("bob", "carol"):
            for client in (
                stack.enter_context(udp_client(server, user)),
                stack.enter_context(tcp_client(server, user)),
            ):
                client.allocate()
                client.channel_bind(CHANNEL, udp_peer.address)
                assert_relays(client, udp_peer, b"to a newcomer")
        assert owner.refresh() > 0


def test_allocations(server: TurnServerProcess) -> None:
    """One user with as many allocations as there are files: another one still gets an allocation."""
    with ExitStack() as stack:
        held = []
        reasons = set()
        for _ in range(FILES):
            client = stack.enter_context(udp_client(server, "alice"))
            try:
                client.allocate()
                held.append(client)
            except TurnRefused as error:
                reasons.add((error.code, error.reason))
        assert reasons == {(508, "Insufficient Capacity (user-descriptors)")}
        held.pop().refresh(0)
        stack.enter_context(udp_client(server, "alice")).allocate()
        for user in ("bob", "carol"):
            stack.enter_context(udp_client(server, user)).allocate()
            stack.enter_context(tcp_client(server, user)).allocate()
        for client in held:
            assert client.refresh() > 0
        assert open_files(server) < FILES


def test_strangers_connections(server: TurnServerProcess) -> None:
    """They take half at most, and idle ones make room: users of UDP and of TCP get their allocations."""
    with ExitStack() as stack:
        for _ in range(FILES):
            stack.enter_context(open_tcp("127.0.0.1", server.ports["tcp"], source="127.0.0.7"))
        wait_for_log(server, "idle connection closed to make room", "limit=RLIMIT_NOFILE")
        for _ in range(5):
            stack.enter_context(udp_client(server, "alice")).allocate()
            stack.enter_context(tcp_client(server, "bob")).allocate()
        assert open_files(server) < FILES
    assert "cannot accept connections" not in server.log


def test_the_start_says_what_is_missing(server: TurnServerProcess) -> None:
    """The limits of the configuration ask for more than the process may have."""
    line = wait_for_log(server, "fewer open files than limits.allocations and limits.connections need")
    assert f"have={FILES}" in line


async def test_in_a_program_that_embeds_a_server() -> None:
    """The program's own limit counts, with what the program has open already; ``files`` may say less."""
    options = {"listeners": [{"transport": "udp", "address": "127.0.0.1", "port": 0}], "auth": {"users": USERS}}
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    held = [os.open(os.devnull, os.O_RDONLY) for _ in range(20)]
    try:
        async with Server(options) as server:
            allowed = server.snapshot().limits.descriptors.allowed
            assert 0 < allowed < soft - len(held)
            await server.reload(options)
            assert server.snapshot().limits.descriptors.allowed == allowed
        async with Server(options, files=10) as server:
            assert server.snapshot().limits.descriptors.allowed == 0
    finally:
        for descriptor in held:
            os.close(descriptor)
