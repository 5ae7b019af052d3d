"""One port for everything, the server started as it always is: STUN, TURN and HTTP, told apart by the first bytes."""

import http.client
import json
import socket
import ssl
from collections.abc import Iterator

import pytest

from stun.address import Address
from tests.support.certificates import CertificatePair, client_context, issue
from tests.support.peer import UdpPeer
from tests.support.server import PASSWORD, USERNAME, TurnServerProcess, loopback_config, stream_listeners
from tests.support.stream_wire import StreamWire, open_tcp, open_tls
from tests.support.turn_client import ChannelMessage, TurnClient

CHANNEL = 0x4000
TIMEOUT = 90.0


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


def http_client(server: TurnServerProcess, transport: str, certificate: CertificatePair) -> http.client.HTTPConnection:
    """A connection of the standard library's client to one of the shared ports."""
    port = server.ports[transport]
    if transport == "plain":
        return http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT)
    return http.client.HTTPSConnection("127.0.0.1", port, timeout=TIMEOUT, context=client_context(certificate))


@pytest.mark.parametrize("transport", ["shared", "plain"])
def test_http_and_turn_side_by_side(
    transport: str, turn_server: TurnServerProcess, certificate: CertificatePair
) -> None:
    """RFC 8656 §3.1: while a client relays by a port the same port answers HTTP, several requests on one connection."""
    make = TurnClient.tls if transport == "shared" else TurnClient.tcp
    web = http_client(turn_server, transport, certificate)
    with make("127.0.0.1", turn_server.ports[transport], USERNAME, PASSWORD) as client, UdpPeer() as peer:
        client.allocate()
        client.channel_bind(CHANNEL, peer.address)
        for path, kind in (("/healthz", "application/json"), ("/", "text/html"), ("/nothing", "text/plain")):
            web.request("GET", path)
            response = web.getresponse()
            body = response.read()
            assert response.status == (404 if path == "/nothing" else 200)
            assert response.headers.get_content_type() == kind
            assert "default-src 'none'" in response.headers["Content-Security-Policy"]
            if path == "/healthz":
                assert json.loads(body)["status"] == "ok"
            client.send_channel(CHANNEL, b"meanwhile")
            assert peer.echo() == b"meanwhile"
            assert client.receive() == ChannelMessage(CHANNEL, b"meanwhile")
    web.close()


@pytest.mark.parametrize("alpn", [(), ("stun.turn",), ("http/1.1",), ("h2", "http/1.1")], ids=str)
@pytest.mark.parametrize("name", ["localhost", None])
def test_neither_alpn_nor_sni_decides(alpn: tuple[str, ...], name: str | None, turn_server: TurnServerProcess) -> None:
    """RFC 7443 §4: clients may leave both out, or say the other thing; the first bytes tell what is spoken."""
    context = client_context(alpn=alpn)
    for speaks_http in (True, False):
        with (
            open_tcp("127.0.0.1", turn_server.ports["shared"]) as plain,
            context.wrap_socket(plain, server_hostname=name) as sock,
        ):
            if speaks_http:
                sock.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
                assert sock.recv(1000).startswith(b"HTTP/1.1 200 ")
            else:
                assert TurnClient(StreamWire(sock)).binding() == address_of(sock)


def address_of(sock: socket.socket) -> Address:
    """The socket's own address."""
    host, port = sock.getsockname()[:2]
    return Address.parse(host, port)


def test_the_first_bytes_may_come_one_by_one(turn_server: TurnServerProcess) -> None:
    """RFC 8656 §3.1: what it is may take some segments to show, and records under TLS."""
    for opened in (
        open_tcp("127.0.0.1", turn_server.ports["plain"]),
        open_tls("127.0.0.1", turn_server.ports["shared"]),
    ):
        with opened as sock:
            for byte in b"HEAD /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n":
                sock.sendall(bytes((byte,)))
            assert sock.recv(1000).startswith(b"HTTP/1.1 200 ")


def test_session_resumption(turn_server: TurnServerProcess, certificate: CertificatePair) -> None:
    """RFC 8446 §2.2, RFC 5077: clients that come again by a session they had are served like any other."""
    context = client_context(certificate, version=ssl.TLSVersion.TLSv1_2)
    session = None
    for _ in range(3):
        with (
            open_tcp("127.0.0.1", turn_server.ports["shared"]) as plain,
            context.wrap_socket(plain, server_hostname="localhost", session=session) as sock,
        ):
            assert TurnClient(StreamWire(sock)).binding() == address_of(sock)
            session = sock.session
