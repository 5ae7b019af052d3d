"""TCP relays (RFC 6062) end to end against the real server: over TCP and TLS, both families, with hostile ends too."""

import hashlib
import random
import socket
import threading
from collections.abc import Callable, Iterator

import pytest

from stun.address import Address
from stun.constants import AddressFamily, ErrorCode, TransportProtocol
from tests.support.certificates import issue
from tests.support.peer import UdpPeer
from tests.support.process import open_files, resident_bytes, wait_until
from tests.support.server import PASSWORD, USERNAME, TurnServerProcess, free_port, loopback_config, stream_listeners
from tests.support.stream_wire import read_to_end
from tests.support.turn_client import ConnectionAttempt, TurnClient, TurnRefused

TIMEOUT = 90.0
MEBIBYTE = 2**20
LOOPBACK = {AddressFamily.IPV4: "127.0.0.1", AddressFamily.IPV6: "::1"}


@pytest.fixture(scope="module")
def turn_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TurnServerProcess]:
    """The server with every kind of listener."""
    pair = issue(tmp_path_factory.mktemp("certificate"))
    config = loopback_config(
        listeners=stream_listeners(),
        tls={"certificates": [pair.config]},
        limits={"allocations_per_user": 100, "tcp_connections_per_allocation": 4},
    )
    with TurnServerProcess(config, tmp_path_factory.mktemp("server")) as server:
        yield server


def connect(server: TurnServerProcess, transport: str = "tcp", host: str = "127.0.0.1") -> TurnClient:
    """A client with the ordinary credentials."""
    make = TurnClient.tls if transport in ("tls", "shared") else TurnClient.tcp
    return make(host, server.ports[transport], USERNAME, PASSWORD)


class TcpPeer:
    """A listening TCP socket at the far end; a context manager."""

    def __init__(self, host: str = "127.0.0.1") -> None:
        self.socket = socket.create_server((host, 0), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
        self.socket.settimeout(TIMEOUT)
        bound = self.socket.getsockname()
        self.address = Address.parse(bound[0], bound[1])

    def __enter__(self) -> "TcpPeer":
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def accept(self) -> tuple[socket.socket, Address]:
        """The next connection, and whom it is from."""
        connection, source = self.socket.accept()
        connection.settimeout(TIMEOUT)
        return connection, Address.parse(source[0], source[1])


def join(server: TurnServerProcess, number: int, transport: str = "tcp") -> tuple[TurnClient, socket.socket, bytes]:
    """A new connection, bound to a peer's: its owner, its socket, and the bytes that came with the answer."""
    client = connect(server, transport)
    sock, first = client.bind_connection(number)
    sock.settimeout(TIMEOUT)
    return client, sock, first


def exchange(sock: socket.socket, other: socket.socket, message: bytes, first: bytes = b"") -> None:
    """A message there and back, byte for byte."""
    sock.sendall(message)
    assert receive(other, len(message)) == message
    other.sendall(message[::-1])
    assert receive(sock, len(message), first) == message[::-1]


def receive(sock: socket.socket, size: int, first: bytes = b"") -> bytes:
    """Exactly so many bytes."""
    data = bytearray(first)
    while len(data) < size:
        piece = sock.recv(min(size - len(data), 65_536))
        assert piece, "the stream has ended early"
        data += piece
    return bytes(data)


@pytest.mark.parametrize("family", list(AddressFamily), ids=lambda family: family.name.lower())
@pytest.mark.parametrize("transport", ["tcp", "tls", "shared", "plain"])
def test_connect_to_a_peer(transport: str, family: AddressFamily, turn_server: TurnServerProcess, ipv6: None) -> None:
    """RFC 6062 §§4.3, 5.2, 5.4: Connect, then ConnectionBind on a second connection, then bytes both ways.

    The peer sees the relayed address. The end of the peer's direction arrives, and the other direction goes on.
    """
    host = LOOPBACK[family]
    with connect(turn_server, transport, host) as client, TcpPeer(host) as peer:
        relayed = client.allocate(protocol=TransportProtocol.TCP, family=family).address
        number = client.connect_peer(peer.address)
        far, source = peer.accept()
        with far:
            assert source == relayed
            far.sendall(b"said before anybody listened")
            owner, near, first = join(turn_server, number, transport)
            with owner:
                greeting = b"said before anybody listened"
                assert receive(near, len(greeting), first) == greeting
                exchange(near, far, random.Random(6062).randbytes(300_000))
                far.shutdown(socket.SHUT_WR)
                assert near.recv(1) == b""
                if transport in ("tcp", "plain"):
                    near.sendall(b"and yet it moves")
                    assert receive(far, 16) == b"and yet it moves"


@pytest.mark.parametrize("transport", ["tcp", "tls"])
def test_the_end_of_the_clients_direction_is_carried(transport: str, turn_server: TurnServerProcess) -> None:
    """RFC 6062 §5.5: when the client has ended its direction the peer sees it, after the last byte."""
    with connect(turn_server, transport) as client, TcpPeer() as peer:
        client.allocate(protocol=TransportProtocol.TCP)
        number = client.connect_peer(peer.address)
        far, _ = peer.accept()
        owner, near, _ = join(turn_server, number, transport)
        with owner, far:
            near.sendall(b"the last words")
            if transport == "tcp":
                near.shutdown(socket.SHUT_WR)
                assert read_to_end(far) == b"the last words"
                far.sendall(b"not mine")
                assert receive(near, 8) == b"not mine"
            else:
                near.close()
                assert read_to_end(far) == b"the last words"


@pytest.mark.parametrize("transport", ["tcp", "tls"])
def test_a_peer_connects(transport: str, turn_server: TurnServerProcess) -> None:
    """RFC 6062 §§4.4, 5.3: with a permission a peer's connection is announced; without one it is closed."""
    with connect(turn_server, transport) as client:
        relayed = client.allocate(protocol=TransportProtocol.TCP).address
        with socket.create_connection((relayed.host, relayed.port), TIMEOUT) as stranger:
            assert read_to_end(stranger) == b""
        client.create_permission(Address.parse("127.0.0.1", 0))
        with socket.create_connection((relayed.host, relayed.port), TIMEOUT) as far:
            attempt = client.receive()
            assert attempt == ConnectionAttempt(Address.parse(*far.getsockname()), attempt.connection)
            owner, near, first = join(turn_server, attempt.connection, transport)
            with owner:
                exchange(far, near, b"hello", first)


def test_relay_to_relay(turn_server: TurnServerProcess) -> None:
    """RFC 6062 §5.2, rule 16: between two relays of one server, neither of which is a listener of it."""
    with connect(turn_server) as one, connect(turn_server, "tls") as other:
        first = one.allocate(protocol=TransportProtocol.TCP).address
        second = other.allocate(protocol=TransportProtocol.TCP).address
        one.create_permission(second)
        other.create_permission(first)
        number = one.connect_peer(second)
        attempt = other.receive()
        assert isinstance(attempt, ConnectionAttempt)
        assert attempt.peer == first
        owner, near, _ = join(turn_server, number)
        with owner:
            other_owner, far, _ = join(turn_server, attempt.connection, "tls")
            with other_owner:
                exchange(near, far, random.Random(1).randbytes(100_000))


def refuses(address: Address) -> bool:
    """Whether nobody listens there."""
    try:
        socket.create_connection((address.host, address.port), TIMEOUT).close()
    except ConnectionRefusedError:
        return True
    return False


def refusal_of(act: Callable[[], object]) -> int:
    """The code that a request is refused with."""
    with pytest.raises(TurnRefused) as refusal:
        act()
    return refusal.value.code


def test_refusals(turn_server: TurnServerProcess) -> None:
    """RFC 6062 §§5.1, 5.2, 5.4: 446 for a second connection to a peer, 447 where nobody listens, 400, 403, 437, 508."""
    with connect(turn_server) as client, TcpPeer() as peer, UdpPeer() as closed:
        client.allocate(protocol=TransportProtocol.TCP)
        number = client.connect_peer(peer.address)
        assert refusal_of(lambda: client.connect_peer(peer.address)) == ErrorCode.CONNECTION_ALREADY_EXISTS
        assert refusal_of(lambda: client.connect_peer(closed.address)) == ErrorCode.CONNECTION_TIMEOUT_OR_FAILURE
        listener = Address.parse("127.0.0.1", turn_server.ports["tls"])
        assert refusal_of(lambda: client.connect_peer(listener)) == ErrorCode.FORBIDDEN
        assert refusal_of(lambda: client.connect_peer(Address.parse("192.168.7.7", 80))) == ErrorCode.FORBIDDEN
        assert refusal_of(lambda: join(turn_server, number ^ 1)) == ErrorCode.BAD_REQUEST
        with TcpPeer() as second, TcpPeer() as third, TcpPeer() as fourth, TcpPeer() as fifth:
            for each in (second, third, fourth):
                client.connect_peer(each.address)
            assert refusal_of(lambda: client.connect_peer(fifth.address)) == ErrorCode.INSUFFICIENT_CAPACITY
    with connect(turn_server) as client:
        client.allocate()
        assert refusal_of(lambda: client.connect_peer(peer.address)) == ErrorCode.ALLOCATION_MISMATCH
    with TurnClient.udp("127.0.0.1", turn_server.port, USERNAME, PASSWORD) as client:
        assert refusal_of(lambda: client.allocate(protocol=TransportProtocol.TCP)) in (
            ErrorCode.BAD_REQUEST,
            ErrorCode.UNSUPPORTED_TRANSPORT_PROTOCOL,
        )


def test_somebody_elses_connection_is_not_to_be_had(start_server: Callable[..., TurnServerProcess]) -> None:
    """RFC 6062 §5.4: only the user of the allocation may bind its connections; its owner still can afterwards."""
    server = start_server(
        listeners=[{"transport": "tcp", "address": "127.0.0.1", "port": free_port()}],
        auth={"users": {USERNAME: PASSWORD, "mallory": PASSWORD}},
    )
    with connect(server) as client, TcpPeer() as peer:
        client.allocate(protocol=TransportProtocol.TCP)
        number = client.connect_peer(peer.address)
        far, _ = peer.accept()
        with far, TurnClient.tcp("127.0.0.1", server.ports["tcp"], "mallory", PASSWORD) as mallory:
            assert refusal_of(lambda: mallory.bind_connection(number)) == ErrorCode.WRONG_CREDENTIALS
            owner, near, first = join(server, number)
            with owner:
                exchange(near, far, b"mine", first)


def test_the_end_of_an_allocation_closes_everything(turn_server: TurnServerProcess) -> None:
    """RFC 6062 §5.5: the control connection's end takes data connections and peers' with it, and no file stays."""
    files = open_files(turn_server)
    with TcpPeer() as bound_peer, TcpPeer() as waiting_peer:
        client = connect(turn_server)
        relayed = client.allocate(protocol=TransportProtocol.TCP).address
        number = client.connect_peer(bound_peer.address)
        client.connect_peer(waiting_peer.address)
        far, _ = bound_peer.accept()
        waiting, _ = waiting_peer.accept()
        owner, near, _ = join(turn_server, number)
        with far, waiting, owner:
            client.close()
            for sock in (near, far, waiting):
                assert read_to_end(sock) == b""
        wait_until(lambda: refuses(relayed), "the end of the relay")
    wait_until(lambda: open_files(turn_server) <= files, "every descriptor given back")


@pytest.mark.parametrize("transport", ["tcp", "tls"])
@pytest.mark.parametrize("direction", ["to-the-client", "to-the-peer"])
def test_back_pressure(transport: str, direction: str, turn_server: TurnServerProcess) -> None:
    """RFC 6062 §5.5: whoever does not read stops whoever sends; the server holds little, and no byte is lost.

    Until then the sender gets no further than the sockets' buffers; afterwards 24 MB arrive as they were sent.
    """
    payload = random.Random(24).randbytes(24 * MEBIBYTE)
    with connect(turn_server) as client, TcpPeer() as peer:
        client.allocate(protocol=TransportProtocol.TCP)
        number = client.connect_peer(peer.address)
        far, _ = peer.accept()
        owner, near, _ = join(turn_server, number, transport)
        with owner, far:
            source, sink = (far, near) if direction == "to-the-client" else (near, far)
            before = resident_bytes(turn_server)
            sent = send_until_it_stalls(source, payload)
            assert sent < len(payload)
            assert resident_bytes(turn_server) - before < 2 * MEBIBYTE
            client.refresh()
            source.settimeout(TIMEOUT)
            rest = threading.Thread(target=source.sendall, args=(payload[sent:],))
            rest.start()
            got = receive(sink, len(payload))
            rest.join()
            assert hashlib.sha256(got).digest() == hashlib.sha256(payload).digest()


def send_until_it_stalls(source: socket.socket, payload: bytes) -> int:
    """Send until nothing more is taken for half a second; how much was."""
    source.settimeout(0.5)
    sent = 0
    view = memoryview(payload)
    while sent < len(payload):
        try:
            sent += source.send(view[sent : sent + 16_384])
        except TimeoutError:
            break
    return sent
