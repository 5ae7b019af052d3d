"""Sockets from the service manager: looked at, matched with listeners, and used by them."""

import asyncio
import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from stun.address import Address
from stun.constants import TransportProtocol
from tests.support.turn_client import TurnClient
from turnserver.errors import StartupError
from turnserver.net import from_sockaddr
from turnserver.passed import NO_SOCKETS, PassedSocket, PassedSockets, passed_sockets
from turnserver.server import Server

TCP, UDP = TransportProtocol.TCP, TransportProtocol.UDP


class Opened:
    """Sockets as a service manager opens them."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack

    def stream(self, host: str = "127.0.0.1", *, v6only: int = 1, backlog: int | None = 16) -> socket.socket:
        sock = self._socket(host, socket.SOCK_STREAM, v6only)
        if backlog is not None:
            sock.listen(backlog)
        return sock

    def datagrams(self, host: str = "127.0.0.1") -> socket.socket:
        return self._socket(host, socket.SOCK_DGRAM, 1)

    def _socket(self, host: str, kind: socket.SocketKind, v6only: int) -> socket.socket:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        sock = self._stack.enter_context(socket.socket(family, kind))
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, v6only)
        sock.bind((host, 0))
        return sock


@pytest.fixture
def opened() -> Iterator[Opened]:
    with ExitStack() as stack:
        yield Opened(stack)


def passed(*socks: socket.socket) -> PassedSockets:
    """As `passed_sockets` makes them, of duplicates."""
    return PassedSockets(PassedSocket.of(sock.dup(), f"number {index}") for index, sock in enumerate(socks))


def address_of(sock: socket.socket) -> Address:
    return from_sockaddr(sock.getsockname())


def test_a_socket_is_looked_at(opened: Opened) -> None:
    sock = opened.stream()
    sock.set_inheritable(True)
    found = PassedSocket.of(sock, "https")
    assert (found.name, found.protocol, found.address) == ("https", TCP, address_of(sock))
    assert not sock.get_inheritable(), "no child is to have it"
    assert not sock.getblocking()
    assert str(found) == f"The passed socket https (TCP {address_of(sock)})"


def test_what_no_listener_could_use_is_refused(opened: Opened) -> None:
    """With a sentence, and what to write into the socket unit."""
    with pytest.raises(StartupError, match="x does not listen for connections") as caught:
        PassedSocket.of(opened.stream(backlog=None), "x")
    assert "Accept=no" in caught.value.hint
    with pytest.raises(StartupError, match="x is for datagrams to any address") as caught:
        PassedSocket.of(opened.datagrams("0.0.0.0"), "x")
    assert "ListenDatagram=" in caught.value.hint
    one, other = socket.socketpair()
    with one, other, pytest.raises(StartupError, match="x is not for TCP or UDP") as caught:
        PassedSocket.of(one, "x")
    assert "ListenStream=" in caught.value.hint


def test_a_socket_for_both_families_is_refused(opened: Opened, ipv6: None) -> None:
    """Its IPv4 clients would have IPv6 addresses."""
    with pytest.raises(StartupError, match="x is for IPv4 and IPv6 at once") as caught:
        PassedSocket.of(opened.stream("::", v6only=0), "x")
    assert "BindIPv6Only=ipv6-only" in caught.value.hint
    assert PassedSocket.of(opened.stream("::"), "x").is_wildcard


def test_each_belongs_to_a_listener(opened: Opened) -> None:
    stream, datagrams, wildcard = opened.stream(), opened.datagrams(), opened.stream("0.0.0.0")
    sockets = passed(stream, datagrams, wildcard)
    assert len(sockets) == 3
    here, there, everywhere = map(address_of, (stream, datagrams, wildcard))
    any4 = bytes(4)
    sockets.insist([(TCP, here), (UDP, there), (TCP, everywhere)])
    sockets.insist([(TCP, Address(any4, here.port)), (UDP, Address(any4, there.port)), (TCP, everywhere)])
    wrong = [
        [(UDP, here), (UDP, there), (TCP, everywhere)],
        [(TCP, Address(here.ip, here.port ^ 1)), (UDP, there), (TCP, everywhere)],
        [(TCP, Address(bytes(16), here.port)), (UDP, there), (TCP, everywhere)],
        [(TCP, here), (UDP, there), (TCP, Address(here.ip, everywhere.port))],
        [],
    ]
    for listeners in wrong:
        with pytest.raises(StartupError, match="belongs to no listener"):
            sockets.insist(listeners)
    with pytest.raises(StartupError) as caught:
        passed(stream).insist([(TCP, Address(here.ip, 443))])
    assert str(caught.value) == (
        f"The passed socket number 0 (TCP {here}) belongs to no listener: listeners has 127.0.0.1:443 for TCP."
    )
    assert f"ListenStream={here}" in caught.value.hint
    sockets.close()


def test_a_listener_gets_the_socket_of_its_address_again_and_again(opened: Opened) -> None:
    """Its address may go and come back."""
    stream, datagrams = opened.stream(), opened.datagrams()
    sockets = passed(stream, datagrams)
    for _ in range(2):
        taken = sockets.stream(address_of(stream), socket.socket.close)
        assert taken is not None
        assert taken[0].getsockname() == stream.getsockname()
        assert not taken[0].get_inheritable()
        taken[0].close()
        found = sockets.datagrams(address_of(datagrams))
        assert found is not None
        assert found.getsockname() == datagrams.getsockname()
        found.close()
    elsewhere = Address.parse("127.0.0.2", address_of(stream).port)
    assert sockets.stream(elsewhere, socket.socket.close) is None
    sockets.close()


def test_of_a_wildcard_each_listener_gets_the_connections_to_its_address(opened: Opened) -> None:
    """Whoever of them accepts a connection. One to an address that nobody has is closed."""
    wildcard = opened.stream("0.0.0.0")
    port = address_of(wildcard).port
    sockets = passed(wildcard)
    got: dict[str, list[socket.socket]] = {"127.0.0.1": [], "127.0.0.2": []}
    taken = [sockets.stream(Address.parse(host, port), got[host].append) for host in got]
    with ExitStack() as stack:
        for host in ("127.0.0.2", "127.0.0.1", "127.0.0.3", "127.0.0.2"):
            client = stack.enter_context(socket.create_connection((host, port)))
            for each in taken:
                assert each is not None
                stack.callback(each[0].close)
            first = taken[0]
            assert first is not None
            connection, _ = wildcard.accept()
            first[1](connection)
            if host == "127.0.0.3":
                client.settimeout(60)
                assert client.recv(1) == b"", "closed"
        assert [sock.getsockname()[0] for socks in got.values() for sock in socks] == [
            "127.0.0.1",
            "127.0.0.2",
            "127.0.0.2",
        ]
        sockets.leave(Address.parse("127.0.0.1", port))
        stack.enter_context(socket.create_connection(("127.0.0.1", port)))
        connection, _ = wildcard.accept()
        assert taken[1] is not None
        taken[1][1](connection)
        assert connection.fileno() == -1
        for sock in (sock for socks in got.values() for sock in socks):
            sock.close()
    sockets.close()


def test_a_socket_of_one_address_goes_before_a_wildcard(opened: Opened) -> None:
    """As the kernel has it."""
    wildcard = opened.stream("0.0.0.0")
    with socket.socket() as exact:
        exact.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        sockets = PassedSockets(
            [
                PassedSocket("all", TCP, address_of(wildcard), wildcard),
                PassedSocket("one", TCP, Address.parse("127.0.0.1", address_of(wildcard).port), exact),
            ]
        )
        taken = sockets.stream(Address.parse("127.0.0.1", address_of(wildcard).port), socket.socket.close)
        assert taken is not None
        assert os.fstat(taken[0].fileno()).st_ino == os.fstat(exact.fileno()).st_ino
        taken[0].close()


def test_the_environment_of_another_process_means_nothing() -> None:
    """The variables go all the same: no child is to find them."""
    environ = {"LISTEN_PID": "1", "LISTEN_FDS": "1", "LISTEN_FDNAMES": "https", "HOME": "/"}
    assert passed_sockets(environ, 2) is NO_SOCKETS
    assert environ == {"HOME": "/"}
    assert passed_sockets({}, 2) is NO_SOCKETS


@pytest.mark.parametrize("count", ["", "x", "-1", "1025", "٣", "9" * 400])
def test_a_number_that_is_none_is_refused(count: str) -> None:
    with pytest.raises(StartupError, match="LISTEN_FDS"):
        passed_sockets({"LISTEN_PID": "7", "LISTEN_FDS": count}, 7)


def test_no_socket_at_all_may_be_passed() -> None:
    assert len(passed_sockets({"LISTEN_PID": "7", "LISTEN_FDS": "0"}, 7)) == 0


async def test_a_server_serves_on_what_was_passed(opened: Opened) -> None:
    """Over TCP and UDP, on the sockets themselves: a port that is in use could not be bound again."""
    stream, datagrams = opened.stream(), opened.datagrams()
    sockets = passed(stream, datagrams)
    listeners = [
        {"transport": "tcp", "address": "127.0.0.1", "port": address_of(stream).port},
        {"transport": "udp", "address": "127.0.0.1", "port": address_of(datagrams).port},
    ]
    config = {"listeners": listeners, "auth": {"users": {"alice": "wonderland"}}}
    async with Server(config, passed=sockets):
        for make, sock in ((TurnClient.tcp, stream), (TurnClient.udp, datagrams)):
            with make(*sock.getsockname(), "alice", "wonderland") as client:
                await asyncio.to_thread(client.allocate)
    with socket.create_connection(stream.getsockname()):
        pass  # it waits in the service manager's socket for the next server
    sockets.close()


async def test_a_wildcard_serves_a_wildcard_listener(opened: Opened) -> None:
    """With the address that each client has connected to as that of the listener."""
    wildcard = opened.stream("0.0.0.0")
    port = address_of(wildcard).port
    sockets = passed(wildcard)
    config = {
        "listeners": [{"transport": "tcp", "address": "0.0.0.0", "port": port}],
        "auth": {"users": {"alice": "wonderland"}},
    }
    async with Server(config, passed=sockets) as server:
        listening = {address.host for _, address in server.snapshot().listening}
        assert "127.0.0.1" in listening
        for host in sorted(listening):
            with TurnClient.tcp(host, port, "alice", "wonderland") as client:
                await asyncio.to_thread(client.allocate)
                (allocation,) = server.snapshot().allocations
                assert allocation.client.server.host == host
                await asyncio.to_thread(client.refresh, 0)
    sockets.close()


async def test_a_socket_that_nobody_uses_is_an_error(opened: Opened) -> None:
    stream = opened.stream()
    sockets = passed(stream)
    with pytest.raises(StartupError, match="belongs to no listener"):
        await Server({"listeners": [{"address": "127.0.0.1", "port": 0}]}, passed=sockets).start()
    sockets.close()
