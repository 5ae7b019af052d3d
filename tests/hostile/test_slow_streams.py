"""Streams that are slow on purpose: they cost the server little, and other clients nothing."""

import socket
from collections.abc import Callable

import pytest

from stun.address import Address
from stun.constants import ErrorCode
from tests.support.peer import UdpPeer
from tests.support.process import open_files, resident_bytes, wait_for_log, wait_until
from tests.support.server import PASSWORD, USERNAME, TurnServerProcess
from tests.support.stream_wire import StreamWire, open_tcp, open_tls, read_to_end
from tests.support.turn_client import ChannelMessage, TurnClient, TurnRefused

CHANNEL = 0x4ABC
MEBIBYTE = 2**20
BINDING_REQUEST = bytes.fromhex("000100002112a442") + bytes(12)
FLOOD = 100_000_000
DATAGRAM = 1400
BURST = 32
"""Datagrams that are sent before a look at another client: fewer than a socket's buffer holds."""


def open_stream(server: TurnServerProcess, transport: str, *, receive_buffer: int | None = None) -> socket.socket:
    """A connection to a listener, its handshake done if there is one."""
    port = server.ports[transport]
    if transport in ("tls", "shared"):
        return open_tls("127.0.0.1", port)
    return open_tcp("127.0.0.1", port, receive_buffer=receive_buffer)


def connect(server: TurnServerProcess, transport: str, *, receive_buffer: int | None = None) -> TurnClient:
    """A client with the ordinary credentials."""
    wire = StreamWire(open_stream(server, transport, receive_buffer=receive_buffer))
    return TurnClient(wire, USERNAME, PASSWORD)


def assert_served(server: TurnServerProcess) -> None:
    """A new client on every transport gets an allocation and its data."""
    for transport in ("udp", "tcp", "tls"):
        make = {"udp": TurnClient.udp, "tcp": TurnClient.tcp, "tls": TurnClient.tls}[transport]
        with make("127.0.0.1", server.ports[transport], USERNAME, PASSWORD) as client, UdpPeer() as peer:
            client.allocate()
            client.channel_bind(CHANNEL, peer.address)
            assert_echoed(client, peer, b"to an ordinary client")


def assert_echoed(client: TurnClient, peer: UdpPeer, message: bytes) -> None:
    """A message goes to the peer and back."""
    client.send_channel(CHANNEL, message)
    assert peer.echo() == message
    assert client.receive() == ChannelMessage(CHANNEL, message)


class ByteByByte(StreamWire):
    """Sends every byte by itself: a segment, and under TLS a record, for each."""

    def send(self, frame: bytes) -> None:
        """Send a frame."""
        for place in range(len(frame)):
            super().send(frame[place : place + 1])


@pytest.mark.parametrize("transport", ["tcp", "tls", "shared", "plain"])
def test_one_byte_at_a_time(transport: str, patient_server: TurnServerProcess) -> None:
    """RFC 8656 §3.1: a stream has no message boundaries; whatever the pieces, the frames are the same."""
    wire = ByteByByte(open_stream(patient_server, transport))
    with TurnClient(wire, USERNAME, PASSWORD) as client, UdpPeer() as peer:
        relayed = client.allocate().address
        client.channel_bind(CHANNEL, peer.address)
        for size in (0, 1, 2, 3, 101):
            assert_echoed(client, peer, bytes(range(size)))
        client.send(peer.address, b"by indication")
        assert peer.receive() == (b"by indication", relayed)


def test_one_byte_at_a_time_never_to_the_end(turn_server: TurnServerProcess) -> None:
    """Rule 3: the first message has to be whole in time; single bytes buy no more of it."""
    with open_tcp("127.0.0.1", turn_server.ports["tcp"]) as sock:
        sock.sendall(BINDING_REQUEST[:19])
        assert read_to_end(sock) == b""


@pytest.mark.parametrize("transport", ["tcp", "tls"])
def test_a_claim_of_64_kib_that_is_not_kept(transport: str, turn_server: TurnServerProcess) -> None:
    """RFC 8656 §3.1, rules 3, 22: a stranger whose first message never ends is closed in time."""
    claim = b"\x00\x01\xff\x00" + BINDING_REQUEST[4:] + bytes(1000)
    with open_stream(turn_server, transport) as sock:
        sock.sendall(claim)
        assert read_to_end(sock) == b""
    assert_served(turn_server)


def test_claims_of_64_kib_by_many_allocations_hold_no_more_than_was_sent(turn_server: TurnServerProcess) -> None:
    """Rule 22: what a frame claims to be is not set aside for it; whoever has an allocation may take its time."""
    clients = [connect(turn_server, "tcp") for _ in range(100)]
    try:
        with UdpPeer() as peer:
            for client in clients:
                client.allocate()
            clients[0].channel_bind(CHANNEL, peer.address)
            before = resident_bytes(turn_server)
            payload = bytes(number % 253 for number in range(60_000))
            for client in clients:
                client.wire.send(CHANNEL.to_bytes(2, "big") + len(payload).to_bytes(2, "big") + payload[:100])
            assert_served(turn_server)
            assert resident_bytes(turn_server) - before < 3 * MEBIBYTE
            clients[0].wire.send(payload[100:])
            assert peer.receive()[0] == payload
            assert_echoed(clients[0], peer, b"and the stream goes on")
    finally:
        for client in clients:
            client.close()


@pytest.mark.parametrize("frame", [b"\x00\x01\xff\xfc" + BINDING_REQUEST[4:], b"\x00\x01\x00\x03"])
def test_a_claim_beyond_every_frame_is_refused_at_once(frame: bytes, patient_server: TurnServerProcess) -> None:
    """RFC 8489 §5, rule 22: longer than 64 KiB + 4, or no whole words: nothing to wait for."""
    with open_tcp("127.0.0.1", patient_server.ports["tcp"]) as sock:
        sock.sendall(frame)
        assert read_to_end(sock) == b""


def flood(peer: UdpPeer, relayed: Address, others: Callable[[], None]) -> None:
    """100 MB of datagrams to a relay, with a look at the other clients after every burst."""
    target = (relayed.host, relayed.port)
    payload = bytes(DATAGRAM - 4)
    for number in range(FLOOD // DATAGRAM):
        peer.socket.sendto(number.to_bytes(4, "big") + payload, target)
        if number % BURST == 0:
            others()


@pytest.mark.parametrize("transport", ["tcp", "tls"])
def test_a_client_that_never_reads(transport: str, serve: Callable[..., TurnServerProcess]) -> None:
    """Rule 22: the queue is bounded and the newest media is dropped, whole frames and never an answer.

    100 MB come for a client that reads nothing. The server's memory stays as it is, other clients get theirs, and when
    the client reads at last it finds what was queued first, whole and in order, and the answer to its last request.
    """
    server = serve(stall_timeout=600)
    with (
        connect(server, transport, receive_buffer=16_384) as deaf,
        UdpPeer() as sender,
        connect(server, "tls") as streaming,
        TurnClient.udp("127.0.0.1", server.port, USERNAME, PASSWORD) as other,
        UdpPeer() as peer,
    ):
        relayed = deaf.allocate().address
        deaf.channel_bind(CHANNEL, sender.address)
        for client in (streaming, other):
            client.allocate()
            client.channel_bind(CHANNEL, peer.address)
            assert_echoed(client, peer, b"before")
        before = resident_bytes(server)
        largest = 0

        def look() -> None:
            nonlocal largest
            for client in (streaming, other):
                assert_echoed(client, peer, b"meanwhile")
            largest = max(largest, resident_bytes(server))

        flood(sender, relayed, look)
        assert largest - before < 4 * MEBIBYTE
        got = read_what_was_kept(deaf)
        assert got == sorted(set(got))
        assert got[0] == 0
        assert len(got) * DATAGRAM < FLOOD / 10
        assert deaf.refresh() > 0
        name = str(deaf.wire.local)
    assert not wait_for_log(server, "allocation ended", f"client={name} ").endswith("dropped=0")


def read_what_was_kept(client: TurnClient) -> list[int]:
    """Ask for something and read all data that comes before the answer; the numbers of its datagrams."""
    client.refresh()
    numbers = []
    while True:
        try:
            message = client.receive(timeout=0)
        except TimeoutError:
            return numbers
        assert isinstance(message, ChannelMessage)
        assert len(message.data) == DATAGRAM
        numbers.append(int.from_bytes(message.data[:4], "big"))


def test_a_client_that_never_reads_is_disconnected(turn_server: TurnServerProcess) -> None:
    """Rule 22: a queue that does not move for `limits.stall_timeout` ends the connection, and so its allocation."""
    with connect(turn_server, "tcp", receive_buffer=16_384) as deaf, UdpPeer() as sender:
        relayed = deaf.allocate().address
        deaf.channel_bind(CHANNEL, sender.address)

        def ended() -> bool:
            for _ in range(BURST):
                sender.socket.sendto(bytes(DATAGRAM), (relayed.host, relayed.port))
            line = f"allocation ended client={deaf.wire.local} "
            return line in turn_server.log

        wait_until(ended, "the end of the allocation")
    assert_served(turn_server)


def ask_again_and_again(sock: socket.socket) -> None:
    """20 MB of Binding requests, whose answers nobody reads."""
    for _ in range(20_000):
        sock.sendall(BINDING_REQUEST * 50)


def test_requests_without_reading_the_answers(patient_server: TurnServerProcess) -> None:
    """Rule 22: answers are not dropped, so a client that piles them up has to go; memory stays flat."""
    before = resident_bytes(patient_server)
    with (
        open_tcp("127.0.0.1", patient_server.ports["tcp"], receive_buffer=16_384) as sock,
        pytest.raises(ConnectionError),
    ):
        ask_again_and_again(sock)
    assert resident_bytes(patient_server) - before < 4 * MEBIBYTE
    assert_served(patient_server)


@pytest.mark.parametrize("transport", ["tcp", "tls", "shared"])
def test_a_thousand_idle_connections(transport: str, serve: Callable[..., TurnServerProcess]) -> None:
    """Rule 3: a thousand that say nothing cost some kilobytes each, delay nobody and are gone after their time."""
    server = serve(first_message_timeout=3, handshake_timeout=3)
    files, before = open_files(server), resident_bytes(server)
    idle = [
        open_tcp("127.0.0.1", server.ports[transport], source=f"127.0.1.{number % 250 + 1}") for number in range(1000)
    ]
    try:
        assert_served(server)
        assert resident_bytes(server) - before < 1000 * 16 * 1024
        for sock in idle:
            assert read_to_end(sock, timeout=90) == b""
    finally:
        for sock in idle:
            sock.close()
    wait_until(lambda: open_files(server) <= files + 4, "the descriptors of the idle connections")
    assert_served(server)


def test_idle_after_the_first_message(turn_server: TurnServerProcess) -> None:
    """Rule 3: without an allocation a connection that has fallen silent is closed; with one it stays."""
    with (
        open_tcp("127.0.0.1", turn_server.ports["tcp"]) as stranger,
        connect(turn_server, "tcp") as client,
        UdpPeer() as peer,
    ):
        client.allocate()
        client.channel_bind(CHANNEL, peer.address)
        stranger.sendall(BINDING_REQUEST)
        answer = read_to_end(stranger, timeout=90)
        assert answer[:2] == b"\x01\x01"
        assert_echoed(client, peer, b"silent for as long as the stranger")


def test_connections_of_one_address_are_limited(serve: Callable[..., TurnServerProcess]) -> None:
    """Rule 3: one address gets so many connections, another one its own; a place that is freed can be had again."""
    server = serve(connections_per_address=20)
    port = server.ports["tcp"]
    held = [open_tcp("127.0.0.1", port, source="127.0.0.7") for _ in range(20)]
    try:
        for sock in held:
            sock.sendall(BINDING_REQUEST)
            assert sock.recv(100)[:2] == b"\x01\x01"
        with open_tcp("127.0.0.1", port, source="127.0.0.7") as refused:
            assert read_to_end(refused) == b""
        with open_tcp("127.0.0.1", port, source="127.0.0.8") as another:
            another.sendall(BINDING_REQUEST)
            assert another.recv(100)[:2] == b"\x01\x01"
        held.pop().close()
        wait_until(lambda: is_served(port, "127.0.0.7"), "the place that was freed")
    finally:
        for sock in held:
            sock.close()


def is_served(port: int, source: str) -> bool:
    """Whether a Binding request over a new connection from an address is answered."""
    with open_tcp("127.0.0.1", port, source=source) as sock:
        try:
            sock.sendall(BINDING_REQUEST)
            return sock.recv(100)[:2] == b"\x01\x01"
        except ConnectionError:
            return False


def test_quota_holds_for_streams(serve: Callable[..., TurnServerProcess]) -> None:
    """RFC 8656 §7.2, rule 25: a user's quota is one for all transports, and an allocation ends with its connection."""
    server = serve(allocations_per_user=2)
    with connect(server, "tcp") as first, connect(server, "tls") as second, connect(server, "shared") as third:
        first.allocate()
        second.allocate()
        with pytest.raises(TurnRefused) as refusal:
            third.allocate()
        assert refusal.value.code == ErrorCode.ALLOCATION_QUOTA_REACHED
        first.close()

        def has_room() -> bool:
            try:
                third.allocate()
            except TurnRefused:
                return False
            return True

        wait_until(has_room, "the place of the connection that was closed")
