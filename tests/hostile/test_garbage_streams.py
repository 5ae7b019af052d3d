"""Streams that speak something else, or nothing that makes sense: closed at once, and nobody else notices."""

import random
import re
import secrets
import socket
import ssl
import struct
import subprocess
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from stun.attributes import XOR_MAPPED_ADDRESS
from stun.constants import Method
from stun.message import Message
from tests.support.certificates import client_context
from tests.support.process import open_files, wait_for_log, wait_until
from tests.support.server import PASSWORD, USERNAME, TurnServerProcess, free_port
from tests.support.stream_wire import StreamWire, open_tcp, open_tls, read_to_end
from tests.support.tools import require_tool
from tests.support.turn_client import TurnClient

BINDING_REQUEST = bytes.fromhex("000100002112a442") + bytes(12)
HTTP = b"GET /turn HTTP/1.1\r\nHost: example.org\r\n\r\n"
SSH = b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n"


def client_hello(version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3, alpn: tuple[str, ...] = ()) -> bytes:
    """The first flight of a TLS client."""
    outgoing = ssl.MemoryBIO()
    context = client_context(version=version, alpn=alpn)
    with pytest.raises(ssl.SSLWantReadError):
        context.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname="localhost").do_handshake()
    return outgoing.read()


GARBAGE = {
    "zeroes": bytes(64),
    "ones": b"\xff" * 64,
    "rtp": b"\x80\x60" + bytes(62),
    "dtls": b"\x16\xfe\xfd" + bytes(61),
    "text": b"hello, is anybody there?\r\n",
    "http": HTTP,
    "http-connect": b"CONNECT example.org:443 HTTP/1.1\r\nHost: example.org:443\r\n\r\n",
    "http2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "smtp": b"EHLO example.org\r\n",
    "ssh": SSH,
    "tls-1.2": client_hello(ssl.TLSVersion.TLSv1_2),
    "tls-1.3": client_hello(),
    "stun-without-cookie": b"\x00\x01\x00\x00" + bytes(16),
    "proxy-1": b"PROXY TCP4 192.0.2.1 192.0.2.2 1111 3478\r\n" + BINDING_REQUEST,
    "proxy-2": b"\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c" + bytes(12) + BINDING_REQUEST,
}
"""What is not TURN; channel data is not among it, for a channel may simply not be bound any more."""


def is_alive(server: TurnServerProcess) -> bool:
    """Whether new clients on plain and on TLS ports are served."""
    for make, transport in ((TurnClient.tcp, "tcp"), (TurnClient.tls, "tls"), (TurnClient.tls, "shared")):
        with make("127.0.0.1", server.ports[transport], USERNAME, PASSWORD) as client:
            client.allocate()
    return True


@pytest.mark.parametrize("name", GARBAGE)
def test_garbage_on_a_plain_turn_port(name: str, patient_server: TurnServerProcess) -> None:
    """RFC 8656 §3.1, rule 20: what is neither STUN nor ChannelData is closed at once; HTTP may hear why."""
    with open_tcp("127.0.0.1", patient_server.ports["tcp"]) as sock:
        sock.sendall(GARBAGE[name])
        answer = read_to_end(sock)
    assert answer == b"" or (name.startswith("http") and answer.startswith(b"HTTP/1.1 400 "))
    assert is_alive(patient_server)


@pytest.mark.parametrize("name", GARBAGE)
@pytest.mark.parametrize("transport", ["tls", "shared"])
def test_garbage_under_tls(transport: str, name: str, patient_server: TurnServerProcess) -> None:
    """Rule 20: under TLS too; on the shared port HTTP gets an answer, and nothing else does."""
    with open_tls("127.0.0.1", patient_server.ports[transport]) as sock:
        sock.sendall(GARBAGE[name])
        if transport == "shared" and name.startswith("http"):
            assert re.match(rb"HTTP/1\.[01] 4\d\d ", sock.recv(100))
        else:
            answer = read_to_end(sock)
            assert answer == b"" or (name.startswith("http") and answer.startswith(b"HTTP/1.1 400 "))
    assert is_alive(patient_server)


@pytest.mark.parametrize("name", [name for name in GARBAGE if not name.startswith("tls")])
@pytest.mark.parametrize("transport", ["tls", "shared"])
def test_garbage_instead_of_tls(transport: str, name: str, patient_server: TurnServerProcess) -> None:
    """Rule 3: no TLS, no service: an alert, or in the clear why not, and the end."""
    with open_tcp("127.0.0.1", patient_server.ports[transport]) as sock:
        sock.sendall(GARBAGE[name])
        answer = read_to_end(sock)
    assert answer == b"" or answer[:2] == b"\x15\x03" or answer.startswith(b"HTTP/1.1 400 ")
    assert is_alive(patient_server)


@pytest.mark.parametrize("transport", ["tcp", "tls"])
def test_garbage_after_an_allocation_ends_it(transport: str, patient_server: TurnServerProcess) -> None:
    """RFC 8656 §3.1, rule 22: a stream that is out of step cannot be read on; its allocation ends with it."""
    make = {"tcp": TurnClient.tcp, "tls": TurnClient.tls}[transport]
    with make("127.0.0.1", patient_server.ports[transport], USERNAME, PASSWORD) as client:
        client.allocate()
        assert isinstance(client.wire, StreamWire)
        client.wire.send(b"\xff\xff\xff\xff")
        assert read_to_end(client.wire.socket) == b""
        wait_for_log(patient_server, "allocation ended", f"client={client.wire.local} ", "reason=client-gone")


def test_random_streams(patient_server: TurnServerProcess) -> None:
    """Rule 20: whatever comes, the server lives, and each connection ends when its client does."""
    chance = random.Random(6062)
    files = open_files(patient_server)
    beginnings = [b"", BINDING_REQUEST, b"\x40\x00\x00\x04", b"GET ", b"\x16\x03\x01", b"PROXY ", b"\x00\x03\x00\x08"]
    for transport in ("tcp", "plain", "tls", "shared"):
        for _ in range(100):
            with open_tcp("127.0.0.1", patient_server.ports[transport]) as sock:
                sock.sendall(chance.choice(beginnings) + chance.randbytes(chance.randrange(1, 300)))
                if chance.random() < 0.5:
                    # Reset instead of closing.
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    wait_until(lambda: open_files(patient_server) <= files + 2, "the end of the connections")
    assert is_alive(patient_server)


# TLS


def test_tls_renegotiation_is_refused(patient_server: TurnServerProcess) -> None:
    """RFC 9325 §3.5, RFC 8446 §4.1.2: no renegotiation, with which one connection could cost many handshakes."""
    openssl = require_tool("openssl")
    target = f"127.0.0.1:{patient_server.ports['tls']}"
    command = [openssl, "s_client", "-tls1_2", "-legacy_renegotiation", "-connect", target]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write("R\n")
        process.stdin.flush()
        output = process.stdout.read()  # to the end, which the client makes when it is refused
    assert "RENEGOTIATING" in output
    assert "no renegotiation" in output
    assert is_alive(patient_server)


def truncations(hello: bytes) -> Iterator[bytes]:
    """The beginnings of a first flight: each of the first bytes, and then some."""
    for size in [*range(1, 12), *range(12, len(hello), 29), len(hello) - 1, len(hello)]:
        yield hello[:size]


@pytest.mark.parametrize("transport", ["tls", "shared"])
@pytest.mark.parametrize("end", ["fin", "reset"])
def test_truncated_handshakes(transport: str, end: str, patient_server: TurnServerProcess) -> None:
    """Rule 3: a client may leave at any byte of its handshake; nothing of it stays."""
    files = open_files(patient_server)
    for beginning in truncations(client_hello(alpn=("stun.turn",))):
        with open_tcp("127.0.0.1", patient_server.ports[transport]) as sock:
            sock.sendall(beginning)
            if end == "fin":
                sock.shutdown(socket.SHUT_WR)
                read_to_end(sock)
            else:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    wait_until(lambda: open_files(patient_server) <= files + 2, "the end of the connections")
    assert is_alive(patient_server)


@pytest.mark.parametrize("transport", ["tls", "shared"])
def test_handshakes_that_stall(transport: str, turn_server: TurnServerProcess) -> None:
    """Rule 3: a handshake has its time, wherever in it the client falls silent."""
    stalled = []
    for beginning in truncations(client_hello()):
        sock = open_tcp("127.0.0.1", turn_server.ports[transport])
        sock.sendall(beginning)
        stalled.append(sock)
    for sock in stalled:
        with sock:
            read_to_end(sock)
    assert is_alive(turn_server)


def test_old_versions_of_tls_are_refused(patient_server: TurnServerProcess) -> None:
    """RFC 8996: TLS 1.1 and before are answered with an alert."""
    context = client_context()
    context.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises(ssl.SSLError, match=r"(?i)protocol.version"):
        open_tls("127.0.0.1", patient_server.ports["tls"], context)


# The PROXY protocol


def mapped_address(sock: socket.socket) -> str:
    """What a Binding request over a new connection learns."""
    sock.sendall(BINDING_REQUEST[:8] + secrets.token_bytes(12))
    frame = StreamWire(sock).receive(10)
    assert frame is not None
    message = Message.decode(frame)
    assert message.method == Method.BINDING
    mapped = message.first(XOR_MAPPED_ADDRESS)
    assert mapped is not None
    return str(mapped)


@pytest.fixture(scope="module")
def proxied_server(serve_all: Callable[..., TurnServerProcess]) -> TurnServerProcess:
    """A server that believes 127.0.0.2 what it says of its clients."""
    port = free_port(3)
    listeners: list[dict[str, Any]] = [{"transport": "udp", "address": "127.0.0.1", "port": port}]
    for place, transport in enumerate(("tcp", "tls", "shared")):
        proxied = {
            "address": "127.0.0.1",
            "port": port + place,
            "proxies": ["127.0.0.2/32"],
            "proxy_protocol": "required",
        }
        listeners.append({"transport": transport} | proxied)
    return serve_all(listeners, handshake_timeout=1)


HEADERS = {
    "v1": b"PROXY TCP4 192.0.2.7 192.0.2.2 4711 3478\r\n",
    "v2": b"\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c\xc0\x00\x02\x07\xc0\x00\x02\x02\x12\x67\x0d\x96",
}


@pytest.mark.parametrize("version", HEADERS)
def test_a_proxy_speaks_for_its_clients(version: str, proxied_server: TurnServerProcess) -> None:
    """The PROXY protocol §2: the address in the header is the client's, in plain and before TLS."""
    with open_tcp("127.0.0.1", proxied_server.ports["tcp"], source="127.0.0.2") as sock:
        sock.sendall(HEADERS[version])
        assert mapped_address(sock) == "192.0.2.7:4711"
    with open_tcp("127.0.0.1", proxied_server.ports["tls"], source="127.0.0.2") as sock:
        sock.sendall(HEADERS[version])
        with client_context().wrap_socket(sock, server_hostname="localhost") as secured:
            assert mapped_address(secured) == "192.0.2.7:4711"


@pytest.mark.parametrize("transport", ["tcp", "tls", "shared"])
@pytest.mark.parametrize("version", HEADERS)
def test_a_proxy_header_from_somebody_else(version: str, transport: str, proxied_server: TurnServerProcess) -> None:
    """The PROXY protocol §2, "must not be guessed": from anywhere else it is garbage, and the client is itself."""
    with open_tcp("127.0.0.1", proxied_server.ports[transport], source="127.0.0.3") as sock:
        sock.sendall(HEADERS[version] + BINDING_REQUEST)
        answer = read_to_end(sock)
        assert answer == b"" or answer[:2] == b"\x15\x03"
    with open_tcp("127.0.0.1", proxied_server.ports["tcp"], source="127.0.0.3") as sock:
        assert mapped_address(sock).startswith("127.0.0.3:")


@pytest.mark.parametrize(
    "header",
    [
        BINDING_REQUEST,
        b"PROXY TCP4 192.0.2.7 192.0.2.2 4711",
        b"PROXY TCP4 999.0.2.7 192.0.2.2 4711 3478\r\n",
        b"PROXY TCP4 192.0.2.7 192.0.2.2 4711 3478 " + b"x" * 200,
        b"PROXY TCP9 192.0.2.7 192.0.2.2 4711 3478\r\n",
        b"\r\n\r\n\x00\r\nQUIT\n\x21\x11\xff\xff" + bytes(4000),
        b"\r\n\r\n\x00\r\nQUIT\n\x31\x11\x00\x0c" + bytes(12),
    ],
    ids=["none", "unfinished", "bad-address", "too-long", "bad-family", "too-long-2", "bad-version"],
)
def test_a_proxy_has_to_say_who_it_is_for(header: bytes, proxied_server: TurnServerProcess) -> None:
    """The PROXY protocol §2: where it is required, it has to be there, whole and right, or nothing is served."""
    with open_tcp("127.0.0.1", proxied_server.ports["tcp"], source="127.0.0.2") as sock:
        sock.sendall(header)
        assert read_to_end(sock) == b""
