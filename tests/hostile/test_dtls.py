"""Floods of DTLS: hellos, half handshakes, noise. They cost the server little, and other clients nothing."""

import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack, suppress

import pytest
from OpenSSL import SSL

from stun.address import Address
from tests.hostile.conftest import Serve
from tests.support.dtls_world import client_dtls, records_of
from tests.support.peer import UdpPeer
from tests.support.process import open_files, resident_bytes, wait_until
from tests.support.server import PASSWORD, USERNAME, TurnServerProcess, free_port
from tests.support.turn_client import ChannelMessage, TurnClient

CHANNEL = 0x4ABC
MEBIBYTE = 2**20
HELLOS = 4000
HALVES = 200
"""Handshakes under way at once."""
PER_HALF = 150 * 1024
"""Bytes that one may cost, of which OpenSSL's own are 60 KB. It is twice as much if nothing is kept from OpenSSL."""
HEADER = 13


class DtlsWire:
    """A client by hand, with a socket of its own, for `TurnClient`; every wait is bounded."""

    reliable = False

    def __init__(self, port: int, source: str = "127.0.0.1") -> None:
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.settimeout(90)
        self.sock.bind((source, 0))
        self.sock.connect(("127.0.0.1", port))
        self.tls = SSL.Connection(client_dtls(), None)
        self.tls.set_connect_state()
        self.tls.set_ciphertext_mtu(1200)

    def half(self) -> "DtlsWire":
        """Until the server has answered the cookie, and waits for the rest."""
        for _ in range(2):
            self._step()
            self.answer = self.sock.recv(65536)
            self.tls.bio_write(self.answer)
        assert self.answer[HEADER] == 2, "a ServerHello"
        return self

    def whole(self) -> "DtlsWire":
        """All of the handshake."""
        while not self._step():
            self.tls.bio_write(self.sock.recv(65536))
        return self

    def _step(self) -> bool:
        """Go on; True when it is done."""
        done = False
        with suppress(SSL.WantReadError):
            self.tls.do_handshake()
            done = True
        for record in self._waiting():
            self.sock.send(record)
            self.sent = record
        return done

    def is_over(self) -> bool:
        """Whether the server has forgotten a half handshake: the same ClientHello then begins another one."""
        random_at = slice(HEADER + 12 + 2, HEADER + 12 + 2 + 32)
        self.sock.send(self.sent)
        self.sock.settimeout(0.2)
        with suppress(TimeoutError):
            while True:
                if self.sock.recv(65536)[random_at] != self.answer[random_at]:
                    return True
        return False

    def _waiting(self) -> Iterator[bytes]:
        with suppress(SSL.WantReadError):
            while True:
                yield from records_of(self.tls.bio_read(65536))

    @property
    def local(self) -> Address:
        """The client's own transport address."""
        return Address.parse(*self.sock.getsockname())

    def send(self, frame: bytes) -> None:
        """Send one frame."""
        self.tls.send(frame)
        for record in self._waiting():
            self.sock.send(record)

    def receive(self, timeout: float) -> bytes | None:
        """The next frame, or None if none came within ``timeout`` seconds."""
        self.sock.settimeout(max(timeout, 0.001))
        with suppress(TimeoutError):
            self.tls.bio_write(self.sock.recv(65536))
            return self.tls.recv(65536)
        return None

    def close(self) -> None:
        """Close the socket."""
        self.sock.close()


@pytest.fixture(scope="module")
def turn_server(serve_all: Serve) -> TurnServerProcess:
    """With UDP and DTLS; a handshake has two seconds."""
    first = free_port(2)
    listeners = [
        {"transport": "udp", "address": "127.0.0.1", "port": first},
        {"transport": "dtls", "address": "127.0.0.1", "port": first + 1},
    ]
    return serve_all(listeners, handshake_timeout=2, connections=HALVES + 50)


@pytest.fixture
def client(turn_server: TurnServerProcess) -> Iterator[TurnClient]:
    """An ordinary client over DTLS, with an allocation."""
    wire = DtlsWire(turn_server.ports["dtls"]).whole()
    with TurnClient(wire, USERNAME, PASSWORD) as made:
        made.allocate()
        yield made


def assert_echoed(client: TurnClient, peer: UdpPeer) -> None:
    """A message goes to the peer and back."""
    message = os.urandom(100)
    client.send_channel(CHANNEL, message)
    assert peer.echo() == message
    assert client.receive() == ChannelMessage(CHANNEL, message)


def test_hellos_without_a_cookie_cost_nothing(turn_server: TurnServerProcess, client: TurnClient) -> None:
    """RFC 7350 §4.6: from thousands of addresses; no descriptor, no session, no memory that stays."""
    port = turn_server.ports["dtls"]
    files = open_files(turn_server)
    with UdpPeer() as peer:
        client.channel_bind(CHANNEL, peer.address)
        before = 0
        for round_number in range(2):
            if round_number:
                before = resident_bytes(turn_server)
            for number in range(HELLOS // 2):
                wire = DtlsWire(port, f"127.{2 + round_number}.{number // 250}.{1 + number % 250}")
                wire._step()
                assert wire.sock.recv(2048)[HEADER] == 3, "a HelloVerifyRequest"
                wire.close()
            assert_echoed(client, peer)
        assert resident_bytes(turn_server) - before < MEBIBYTE
    assert open_files(turn_server) == files


def test_half_handshakes_are_bounded_and_end(turn_server: TurnServerProcess, client: TurnClient) -> None:
    """Rule 3: each with fragments of huge messages and records of the next epoch; after two seconds they are gone."""
    port = turn_server.ports["dtls"]
    before = resident_bytes(turn_server)
    grown = []
    with UdpPeer() as peer:
        client.channel_bind(CHANNEL, peer.address)
        for _ in range(2):
            with ExitStack() as stack:
                wires = []
                for number in range(HALVES):
                    wire = DtlsWire(port, f"127.9.0.{1 + number % 250}").half()
                    wires.append(wire)
                    stack.callback(wire.close)
                    for sequence in range(5, 45):
                        wire.sock.send(_huge(sequence))
                        wire.sock.send(_early(sequence))
                assert_echoed(client, peer)
                grown.append(resident_bytes(turn_server) - before)
                wait_until(wires[-1].is_over, "the last handshake is over")
    assert grown[0] < HALVES * PER_HALF
    assert grown[1] < grown[0] + 8 * MEBIBYTE, "the memory is used again"


def _huge(sequence: int) -> bytes:
    """The first bytes of a handshake message of 90 KB."""
    message = b"\x0b" + (90_000).to_bytes(3, "big") + (sequence % 10 + 2).to_bytes(2, "big") + bytes(3)
    message += (8).to_bytes(3, "big") + bytes(8)
    return b"\x16\xfe\xfd\0\0" + sequence.to_bytes(6, "big") + len(message).to_bytes(2, "big") + message


def _early(sequence: int) -> bytes:
    """A record that nobody can decrypt yet, or ever."""
    return b"\x17\xfe\xfd\0\1" + sequence.to_bytes(6, "big") + b"\0\x20" + os.urandom(32)


def test_noise_in_the_name_of_a_client_does_it_no_harm(turn_server: TurnServerProcess, client: TurnClient) -> None:
    """RFC 6347 §4.1.2.7: from its very address and port, between its own records."""
    assert isinstance(client.wire, DtlsWire)
    sock = client.wire.sock
    with UdpPeer() as peer:
        client.channel_bind(CHANNEL, peer.address)
        for number in range(300):
            for kind in (20, 21, 22, 23, 24, 63):
                head = bytes((kind,)) + b"\xfe\xfd" + bytes((0, number % 3)) + number.to_bytes(6, "big")
                body = os.urandom(number % 90)
                sock.send(head + len(body).to_bytes(2, "big") + body)
            sock.send(os.urandom(number))
            if number % 50 == 0:
                assert_echoed(client, peer)
        assert_echoed(client, peer)
