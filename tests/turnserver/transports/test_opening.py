"""What becomes of a new connection: PROXY header, TLS, the first bytes; and everything that can be wrong with them."""

import asyncio
import contextlib
import logging
import ssl
from collections.abc import AsyncIterator
from ipaddress import ip_network
from pathlib import Path

import pytest
from OpenSSL import SSL

from stun.address import Address
from tests.support.certificates import client_context, issue
from tests.support.stream_world import BINDING, Gateway, StreamRig, TlsPeer, captured_log, channel_data, stun
from tests.support.tcp_pair import Peer, eventually
from turnserver.clients import ClientPolicy
from turnserver.core.types import ClientTransport
from turnserver.reasons import Reason
from turnserver.transports.certificates import CertificateSource
from turnserver.transports.crossed import Came

LOOPBACK = (ip_network("127.0.0.0/8"),)
BANNER = b"SSH-2.0-OpenSSH_9.2p1\r\n"
REQUEST = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"


@pytest.fixture
def source(tmp_path: Path) -> CertificateSource:
    pair = issue(tmp_path)
    return CertificateSource([(pair.certificate, pair.key)])


@pytest.fixture
async def plain() -> AsyncIterator[StreamRig]:
    async with StreamRig() as rig:
        yield rig


@pytest.fixture
async def secure(source: CertificateSource) -> AsyncIterator[StreamRig]:
    async with StreamRig(tls=source) as rig:
        yield rig


async def refused(rig: StreamRig, peer: Peer) -> bytes:
    """What a client is told before it is disconnected; the sink must have heard nothing."""
    answer = b""
    with contextlib.suppress(OSError):
        answer = await peer.read(10_000)
        peer.finish()
    await eventually(lambda: rig.transport.openings == 0)
    assert rig.transport.connections == 0
    assert rig.sink.frames == []
    assert rig.sink.gone == []
    assert rig.transport.counters.dropped >= 1
    return answer


# A plain port


async def test_a_client_on_tcp_is_known_by_its_connection(plain: StreamRig) -> None:
    """RFC 8656 §3.2: the 5-tuple; each connection has its own, also from the same address."""
    peer, client = await plain.client()
    assert client.transport is ClientTransport.TCP
    assert client.address == peer.address
    assert client.server == plain.transport.address
    assert client.listener == 7
    _, other = await plain.client()
    assert other.serial != client.serial


@pytest.mark.parametrize("size", [1, 7, 8, 19, 20])
async def test_the_first_message_may_come_in_any_pieces(plain: StreamRig, size: int) -> None:
    peer = await plain.connect()
    for at in range(0, len(BINDING), size):
        await peer.send(BINDING[at : at + size])
        await asyncio.sleep(0)
    await eventually(lambda: plain.sink.frames)
    assert plain.sink.bodies == [BINDING]


async def test_frames_that_follow_the_first_at_once_are_all_there(plain: StreamRig) -> None:
    peer = await plain.connect()
    await peer.send(BINDING + channel_data(0x4000, b"early") + BINDING[:10])
    await eventually(lambda: len(plain.sink.frames) == 2)
    await peer.send(BINDING[10:])
    await eventually(lambda: len(plain.sink.frames) == 3)
    assert plain.sink.bodies == [BINDING, channel_data(0x4000, b"early")[:9], BINDING]


async def test_http_on_a_turn_port_is_told_so(plain: StreamRig) -> None:
    """``GET `` would be a valid ChannelData header of 21,536 bytes; nobody is left waiting for them."""
    peer = await plain.connect()
    await peer.send(REQUEST)
    answer = await refused(plain, peer)
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert b"Connection: close" in head
    assert f"Content-Length: {len(body)}".encode() in head
    assert b"STUN and TURN" in body


@pytest.mark.parametrize(
    "garbage",
    [
        BANNER,
        b"\x16\x03\x01\x02\x00\x01\x00",
        channel_data(0x4000, b"hello"),
        b"\x80" * 100,
        b"\r\n\r\n",
        b"\x00\x01\x00\x03",
    ],
    ids=repr,
)
async def test_anything_else_is_closed_at_once(plain: StreamRig, garbage: bytes) -> None:
    """Rule 20: SSH banners, TLS on a plain port, ChannelData before any allocation, noise."""
    peer = await plain.connect()
    await peer.send(garbage)
    assert await refused(plain, peer) == b""


async def test_a_real_client_hello_on_a_plain_port_is_refused(plain: StreamRig) -> None:
    peer = await plain.connect()
    await peer.send(await TlsPeer(peer).hello())
    assert await refused(plain, peer) == b""


async def test_a_connection_that_ends_before_it_says_anything_is_nobody(plain: StreamRig) -> None:
    peer = await plain.connect()
    await eventually(lambda: plain.transport.openings == 1)
    peer.finish()
    await eventually(lambda: plain.transport.openings == 0)
    assert plain.transport.counters.dropped == 0


async def test_silence_is_closed_after_the_first_message_timeout(plain: StreamRig) -> None:
    """Rule 3: ten seconds for the first whole message; bytes alone do not buy more."""
    silent, slow, claiming = await plain.connect(), await plain.connect(), await plain.connect()
    await eventually(lambda: plain.transport.openings == 3)
    await claiming.send(stun(0x0001, bytes(4))[:2] + b"\xff\xec" + BINDING[4:])
    await eventually(lambda: plain.transport.openings == 2)
    for octet in BINDING[:9]:
        plain.pass_time(1)
        await slow.send(bytes((octet,)))
    assert plain.transport.connections + plain.transport.openings == 3
    plain.pass_time(2)
    for peer in (silent, slow, claiming):
        assert await peer.ended()
    assert plain.sink.frames == []


# TLS


async def test_a_client_under_tls(secure: StreamRig) -> None:
    """RFC 8656 §3.1: TURN over TLS over TCP."""
    tls = await secure.connect_tls(client_context(alpn=("stun.turn",)))
    client = await secure.introduce(tls)
    assert client.transport is ClientTransport.TLS
    assert tls.tls.selected_alpn_protocol() == "stun.turn"
    assert tls.tls.version() == "TLSv1.3"
    secure.transport.send(client, stun(0x0101))
    assert await tls.read(20) == stun(0x0101)


async def test_a_client_that_offers_nothing_by_alpn_is_served(secure: StreamRig) -> None:
    """Browsers do not offer ``stun.turn``."""
    tls = await secure.connect_tls()
    assert (await secure.introduce(tls)).transport is ClientTransport.TLS
    assert tls.tls.selected_alpn_protocol() is None


@pytest.mark.parametrize("offer", [("stun.nat-discovery",), ("h2",), ("http/1.1",), ("h2", "stun.nat-discovery")])
async def test_a_client_that_offers_none_of_ours_is_refused_cleanly(secure: StreamRig, offer: tuple[str, ...]) -> None:
    """RFC 7301 §3.2: no_application_protocol; RFC 7443: ``stun.nat-discovery`` is not for a TURN server."""
    peer = await secure.connect()
    with pytest.raises(ssl.SSLError, match=r"(?i)no.application.protocol"):
        await TlsPeer(peer, client_context(alpn=offer)).handshake()
    assert await refused(secure, peer) == b""


async def test_http_alpn_is_for_shared_ports(source: CertificateSource) -> None:
    """What is offered is what the port has."""
    gateway = Gateway()
    async with StreamRig(tls=source, http=gateway) as rig:
        tls = await rig.connect_tls(client_context(alpn=("h2", "http/1.1")))
        assert tls.tls.selected_alpn_protocol() == "http/1.1"
        with pytest.raises(ssl.SSLError, match=r"(?i)no.application.protocol"):
            await rig.connect_tls(client_context(alpn=("h2",)))


@pytest.mark.parametrize("size", [1, 5, 6, 50])
async def test_a_truncated_handshake_leaves_nothing(secure: StreamRig, size: int) -> None:
    peer = await secure.connect()
    await peer.send((await TlsPeer(peer).hello())[:size])
    peer.finish()
    await refused(secure, peer)


async def test_a_handshake_broken_off_half_way_leaves_nothing(secure: StreamRig) -> None:
    peer = await secure.connect()
    await peer.send(await TlsPeer(peer).hello())
    assert await peer.read(100)
    peer.reset()
    await eventually(lambda: secure.transport.openings == 0)
    assert secure.transport.connections == 0


async def test_a_client_hello_that_openssl_refuses(secure: StreamRig) -> None:
    """The alert is OpenSSL's; the connection is closed."""
    peer = await secure.connect()
    await peer.send(b"\x16\x03\x01\x00\x30\x01\x00\x00\x2c\x03\x03" + bytes(42))
    answer = await refused(secure, peer)
    assert answer[:1] == b"\x15"


async def test_a_handshake_may_come_byte_by_byte(secure: StreamRig) -> None:
    peer = await secure.connect()
    client = TlsPeer(peer)
    for octet in await client.hello():
        await peer.send(bytes((octet,)))
        await asyncio.sleep(0)
    await client.handshake()
    assert await secure.introduce(client)


async def test_a_slow_handshake_is_closed_after_its_timeout(secure: StreamRig) -> None:
    """Rule 3: ten seconds for the handshake, whatever comes in between."""
    silent, slow = await secure.connect(), await secure.connect()
    hello = await TlsPeer(slow).hello()
    await eventually(lambda: secure.transport.openings == 2)
    for octet in hello[:9]:
        await slow.send(bytes((octet,)))
        secure.pass_time(1)
    assert secure.transport.openings == 2
    secure.pass_time(1)
    assert await silent.ended()
    assert await slow.ended()


async def test_after_the_handshake_the_first_message_has_its_own_time(source: CertificateSource) -> None:
    async with StreamRig(tls=source, handshake_timeout=10.0, first_message_timeout=5.0) as rig:
        tls = await rig.connect_tls(client_context(version=ssl.TLSVersion.TLSv1_2))  # where the client is the last
        rig.pass_time(4)
        assert rig.transport.openings == 1
        rig.pass_time(1)
        assert rig.transport.openings == 0
        assert await tls.read(1) == b""


@pytest.mark.parametrize("garbage", [BANNER, BINDING, b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n", b"\x80"], ids=repr)
async def test_plain_text_on_a_tls_port_is_closed(secure: StreamRig, garbage: bytes) -> None:
    peer = await secure.connect()
    await peer.send(garbage)
    assert await refused(secure, peer) == b""


async def test_plain_http_on_a_tls_port_is_told_so(secure: StreamRig) -> None:
    peer = await secure.connect()
    for octet in REQUEST:
        await peer.send(bytes((octet,)))
        await asyncio.sleep(0)
    answer = await refused(secure, peer)
    assert answer.startswith(b"HTTP/1.1 400")
    assert b"TLS" in answer


async def test_garbage_under_tls_is_closed(secure: StreamRig) -> None:
    tls = await secure.connect_tls()
    await tls.send(BANNER)
    assert await tls.read(1) == b""
    await refused(secure, tls.peer)


async def test_renegotiation_is_refused(secure: StreamRig) -> None:
    """TLS 1.2 clients may ask for it at will, and each time it would cost us a handshake."""
    peer = await secure.connect()
    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    context.set_max_proto_version(SSL.TLS1_2_VERSION)
    tls = SSL.Connection(context, None)
    tls.set_connect_state()

    async def handshake() -> None:
        while True:
            try:
                tls.do_handshake()
            except SSL.WantReadError:
                with contextlib.suppress(SSL.WantReadError):
                    await peer.send(tls.bio_read(65536))
                tls.bio_write(await asyncio.get_running_loop().sock_recv(peer.sock, 65536))
            else:
                return

    await handshake()
    tls.renegotiate()
    with pytest.raises(SSL.Error, match="no renegotiation"):
        await handshake()


# A shared port


@pytest.mark.parametrize("secured", [False, True], ids=["plain", "tls"])
async def test_a_shared_port_tells_stun_and_http_apart(source: CertificateSource, secured: bool) -> None:
    """By the first bytes, with or without TLS, whatever was said by ALPN."""
    gateway = Gateway()
    async with StreamRig(tls=source if secured else None, http=gateway) as rig:
        for alpn in ((), ("http/1.1",), ("stun.turn",)):
            web = await rig.connect_tls(client_context(alpn=alpn)) if secured else await rig.connect()
            turn = await rig.connect_tls(client_context(alpn=alpn)) if secured else await rig.connect()
            await web.send(REQUEST)
            await rig.introduce(turn)
            await eventually(lambda: gateway.accepted)
            stream, first, client, secure = gateway.accepted.pop()
            assert first == REQUEST
            assert secure is secured
            assert (stream.tls is not None) is secured
            assert client == (web.peer if isinstance(web, TlsPeer) else web).address
            stream.close()
        assert rig.transport.openings == 0
        assert rig.transport.connections == 3


async def test_http_may_come_byte_by_byte() -> None:
    gateway = Gateway()
    async with StreamRig(http=gateway) as rig:
        peer = await rig.connect()
        for octet in b"POST ":
            assert gateway.accepted == []
            await peer.send(bytes((octet,)))
            await asyncio.sleep(0.001)
        await eventually(lambda: gateway.accepted)
        assert gateway.accepted[0][1] == b"POST "
        gateway.accepted[0][0].close()


async def test_ssh_on_a_shared_port_is_closed() -> None:
    async with StreamRig(http=Gateway()) as rig:
        peer = await rig.connect()
        await peer.send(BANNER)
        assert await refused(rig, peer) == b""


# TLS or not, as the client likes


@pytest.fixture
async def either(source: CertificateSource) -> AsyncIterator[StreamRig]:
    async with StreamRig(tls=source, auto=True, http=Gateway()) as rig:
        yield rig


async def test_the_first_byte_tells_tls_from_plain(either: StreamRig) -> None:
    """``tls: auto``: libnice's TLS mode, for one, speaks plain TURN to the port of a ``turns:`` URL."""
    plain = await either.introduce(await either.connect())
    secure = await either.introduce(await either.connect_tls(client_context(alpn=("stun.turn",))))
    assert (plain.transport, secure.transport) == (ClientTransport.TCP, ClientTransport.TLS)


@pytest.mark.parametrize("secured", [False, True], ids=["plain", "tls"])
async def test_http_too(either: StreamRig, secured: bool) -> None:
    web = await either.connect_tls() if secured else await either.connect()
    await web.send(REQUEST)
    gateway = either.transport.http
    assert isinstance(gateway, Gateway)
    await eventually(lambda: gateway.accepted)
    stream, first, _, secure = gateway.accepted.pop()
    assert (first, secure) == (REQUEST, secured)
    stream.close()


async def test_either_may_come_byte_by_byte(either: StreamRig) -> None:
    plain = await either.connect()
    for octet in BINDING:
        await plain.send(bytes((octet,)))
        await asyncio.sleep(0)
    await eventually(lambda: either.sink.frames)
    tls = TlsPeer(await either.connect())
    for octet in await tls.hello():
        await tls.peer.send(bytes((octet,)))
        await asyncio.sleep(0)
    await tls.handshake()
    assert (await either.introduce(tls)).transport is ClientTransport.TLS


@pytest.mark.parametrize("secured", [False, True], ids=["plain", "tls"])
async def test_either_may_come_through_a_proxy(source: CertificateSource, secured: bool) -> None:
    async with StreamRig(tls=source, auto=True, proxies=LOOPBACK) as rig:
        peer = await rig.connect()
        await peer.send(b"PROXY TCP4 192.0.2.33 192.0.2.2 44444 443\r\n")
        client = await rig.introduce(await TlsPeer(peer).handshake() if secured else peer)
        assert client.address == Address.parse("192.0.2.33", 44444)
        assert client.transport.secure is secured


@pytest.mark.parametrize("garbage", [BANNER, b"\x15\x03\x01\x00\x02\x02\x46", b"\x80" * 100], ids=repr)
async def test_what_is_neither_is_closed(either: StreamRig, garbage: bytes) -> None:
    peer = await either.connect()
    await peer.send(garbage)
    assert await refused(either, peer) == b""


async def test_who_says_nothing_is_closed_by_its_deadline(source: CertificateSource) -> None:
    """Ten seconds for the first byte, which says what it is; then as on any other listener."""
    async with StreamRig(tls=source, auto=True, handshake_timeout=3.0, first_message_timeout=5.0) as rig:
        silent, slow = await rig.connect(), await rig.connect()
        await eventually(lambda: rig.transport.openings == 2)
        await slow.send(BINDING[:4])
        await eventually(lambda: any(opening.deadline == rig.clock.now + 5 for opening in rig.transport._openings))
        rig.pass_time(4)
        assert await silent.ended()
        assert rig.transport.openings == 1
        rig.pass_time(2)
        assert await slow.ended()


# Who has come to the wrong listener


def lines_of(records: list[logging.LogRecord]) -> list[tuple[int, str, str]]:
    return [(record.levelno, record.getMessage(), record.__dict__["fields"]["listener"]) for record in records]


async def test_who_comes_to_the_wrong_listener_is_a_line_for_the_operator(source: CertificateSource) -> None:
    """TLS on a plain port, plain TURN and HTTP on one with TLS, HTTP on one without pages: all at info."""
    plain, secure = StreamRig(), StreamRig(tls=source)
    shared, plain_shared = StreamRig(tls=source, http=Gateway()), StreamRig(http=Gateway())
    hello = b"\x16\x03\x01\x02\x00\x01\x00"
    expected = [
        (plain, hello, Came.TLS),
        (plain, REQUEST, Came.HTTP),
        (secure, BINDING, Came.TURN),
        (secure, REQUEST, Came.HTTP),
        (shared, BINDING, Came.TURN),
        (shared, REQUEST, Came.PLAIN_HTTP),
        (plain_shared, hello, Came.TLS),
    ]
    with captured_log("meshturn.streams") as records:
        for rig, first, _ in expected:
            if rig.transport.address.port == 0:
                await rig.__aenter__()
            peer = await rig.connect()
            await peer.send(first)
            await refused(rig, peer)
        for rig in (plain, secure, shared, plain_shared):
            await rig.__aexit__()
    where = [f"{rig.transport.name} {rig.transport.address}" for rig, _, _ in expected]
    assert lines_of(records) == [
        (logging.INFO, came.value, name) for (_, _, came), name in zip(expected, where, strict=True)
    ]


async def test_https_on_a_turn_port_with_tls_is_such_a_line(secure: StreamRig) -> None:
    with captured_log("meshturn.streams") as records:
        tls = await secure.connect_tls()
        await tls.send(REQUEST)
        assert (await tls.read(1000)).startswith(b"HTTP/1.1 400")
    assert [record.getMessage() for record in records] == [Came.HTTP.value]


# What an operator can act on


async def test_what_only_a_client_or_a_proxy_sees_is_a_line_for_the_operator(source: CertificateSource) -> None:
    """The kind: a connection that just ends, for a proxy that is not configured, or a certificate that is refused."""
    header, strict = b"PROXY TCP4 192.0.2.33 192.0.2.2 44444 443\r\n", client_context()
    strict.verify_mode = ssl.CERT_REQUIRED
    with captured_log("meshturn.streams") as records:
        async with StreamRig() as rig, StreamRig(tls=source) as secure:
            for unaware in (rig, secure):
                peer = await unaware.connect()
                await peer.send(header + BINDING)
                await refused(unaware, peer)
            with pytest.raises(ssl.SSLCertVerificationError):
                await secure.connect_tls(strict)
            await eventually(lambda: secure.transport.openings == 0)
        async with StreamRig(proxies=LOOPBACK, header_required=True) as behind:
            for first in (BINDING, b"PROXY TCP4 nonsense\r\n"):
                peer = await behind.connect()
                await peer.send(first)
                await refused(behind, peer)
    told = [(record.levelno, record.__dict__["fields"]["cause"]) for record in records]
    assert told == [
        (logging.INFO, "proxy-header-unexpected"),
        (logging.INFO, "proxy-header-unexpected"),
        (logging.INFO, "tls-alert"),
        (logging.INFO, "proxy-header-missing"),
        (logging.INFO, "proxy-header-malformed"),
    ]
    assert records[2].__dict__["fields"]["why"] == "unknown ca"


async def test_who_is_too_slow_is_said_at_debug(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "meshturn.streams")
    async with StreamRig(first_message_timeout=5.0) as rig:
        peer = await rig.connect()
        await peer.send(BINDING[:4])
        await eventually(lambda: rig.transport.openings == 1)
        rig.pass_time(6)
        assert await peer.ended()
    (record,) = [record for record in caplog.records if record.getMessage() == "connection refused"]
    assert (record.levelno, record.__dict__["fields"]["cause"]) == (logging.DEBUG, "too-slow")


# Behind proxies


async def test_the_client_is_who_the_proxy_says(source: CertificateSource) -> None:
    """PROXY protocol: the address it gives is the client's everywhere; TLS comes after the header."""
    gateway = Gateway()
    for tls in (None, source):
        async with StreamRig(tls=tls, http=gateway, proxies=LOOPBACK) as rig:
            for request in (BINDING, REQUEST):
                peer = await rig.connect()
                await peer.send(b"PROXY TCP4 192.0.2.33 192.0.2.2 44444 443\r\n")
                end = peer if tls is None else await TlsPeer(peer).handshake()
                await end.send(request)
            await eventually(lambda: rig.sink.frames and gateway.accepted)
            assert rig.sink.frames[0][0].address == Address.parse("192.0.2.33", 44444)
            stream, _, client, _ = gateway.accepted.pop()
            assert client == Address.parse("192.0.2.33", 44444)
            stream.close()


async def test_version_2_and_the_first_message_in_one_piece() -> None:
    header = b"\r\n\r\n\0\r\nQUIT\n\x21\x21\x00\x24" + Address.parse("2001:db8::7", 0).ip * 2 + b"\x12\x34\x01\xbb"
    async with StreamRig(proxies=LOOPBACK) as rig:
        peer = await rig.connect()
        await peer.send(header + BINDING)
        await eventually(lambda: rig.sink.frames)
        assert rig.sink.frames[0][0].address == Address.parse("2001:db8::7", 0x1234)


async def test_a_proxy_that_speaks_for_itself_is_itself() -> None:
    """PROXY protocol §2.2: LOCAL is for health checks."""
    async with StreamRig(proxies=LOOPBACK) as rig:
        peer = await rig.connect()
        await peer.send(b"\r\n\r\n\0\r\nQUIT\n\x20\x00\x00\x00" + BINDING)
        await eventually(lambda: rig.sink.frames)
        assert rig.sink.frames[0][0].address == peer.address


async def test_what_a_proxy_says_of_tls_reaches_http() -> None:
    """PROXY protocol §2.2.5: whether the client speaks TLS with the proxy; the port is the one it has connected to."""
    addresses = bytes((192, 0, 2, 33, 192, 0, 2, 2)) + b"\x12\x34\x20\xfb"
    gateway = Gateway()
    async with StreamRig(http=gateway, proxies=LOOPBACK) as rig:
        for flags, secure in ((b"\x01", True), (b"\x00", False)):
            extensions = b"\x20\x00\x05" + flags + bytes(4)
            header = (
                b"\r\n\r\n\0\r\nQUIT\n\x21\x11" + (12 + len(extensions)).to_bytes(2, "big") + addresses + extensions
            )
            peer = await rig.connect()
            await peer.send(header + REQUEST)
            await eventually(lambda: gateway.arrivals)
            arrival = gateway.arrivals.pop()
            assert arrival[:4] == (Address.parse("192.0.2.33", 0x1234), secure, 8443, True)
            assert peer.address in arrival.proxies
            gateway.accepted.pop()[0].close()


@pytest.mark.parametrize("first", [BINDING, REQUEST, b"PROXY TCP9 1 2 3 4\r\n"], ids=repr)
async def test_where_the_header_is_required_nothing_is_served_without_it(first: bytes) -> None:
    async with StreamRig(http=Gateway(), proxies=LOOPBACK, header_required=True) as rig:
        peer = await rig.connect()
        await peer.send(first)
        assert await refused(rig, peer) == b""


async def test_a_trusted_proxy_may_send_a_header_or_none(source: CertificateSource) -> None:
    """One that is known from its HTTP headers has none to send; what begins as one does may go on as something else."""
    gateway = Gateway()
    for tls in (None, source):
        async with StreamRig(tls=tls, http=gateway, proxies=LOOPBACK) as rig:
            for request in (BINDING, REQUEST, b"POST / HTTP/1.1\r\n\r\n"):
                peer = await rig.connect()
                end = peer if tls is None else await TlsPeer(peer).handshake()
                for byte in request:
                    await end.send(bytes([byte]))
            await eventually(lambda: rig.sink.frames and len(gateway.accepted) == 2)
            assert rig.sink.frames[0][0].address.host == "127.0.0.1"
            assert all(arrival.proxied and arrival.secure is (tls is not None) for arrival in gateway.arrivals)
            gateway.arrivals.clear()
            while gateway.accepted:
                gateway.accepted.pop()[0].close()


async def test_a_header_that_is_wrong_is_never_taken_for_something_else() -> None:
    async with StreamRig(http=Gateway(), proxies=LOOPBACK) as rig:
        for first in (b"PROXY TCP9 1 2 3 4\r\n", b"\r\n\r\n\0\r\nQUIT\n\x41\x11\x00\x0c" + bytes(12)):
            peer = await rig.connect()
            await peer.send(first + BINDING)
            assert await refused(rig, peer) == b""


@pytest.mark.parametrize("networks", [(), (ip_network("192.0.2.0/24"), ip_network("2001:db8::/32"))])
async def test_from_anybody_else_the_header_is_garbage(networks: tuple[object, ...]) -> None:
    """Whoever may reach the port could else be anybody."""
    async with StreamRig(proxies=networks) as rig:
        peer = await rig.connect()
        await peer.send(b"PROXY TCP4 192.0.2.33 192.0.2.2 44444 443\r\n" + BINDING)
        assert await refused(rig, peer) == b""


async def test_a_header_that_does_not_come_is_waited_for_so_long() -> None:
    async with StreamRig(proxies=LOOPBACK, handshake_timeout=3.0, first_message_timeout=100.0) as rig:
        peer = await rig.connect()
        await peer.send(b"PROXY TCP4 ")
        await eventually(lambda: rig.transport.openings == 1)
        rig.pass_time(4)
        assert await peer.ended()


async def test_the_clients_behind_a_proxy_have_their_share_each() -> None:
    """The cap per address is on the address that counts as the client's, not on the proxy's."""
    async with StreamRig(proxies=LOOPBACK, connections_per_address=1) as rig:
        peers = []
        for host in ("192.0.2.1", "192.0.2.2", "192.0.2.1"):
            peers.append(await rig.connect())
            await peers[-1].send(f"PROXY TCP4 {host} 192.0.2.9 1000 443\r\n".encode() + BINDING)
        assert await peers[2].ended()
        await eventually(lambda: len(rig.sink.frames) == 2)
        assert [client.address.host for client, _ in rig.sink.frames] == ["192.0.2.1", "192.0.2.2"]


async def test_a_proxy_without_header_has_no_share_of_its_own() -> None:
    """Its connections are those of many clients: the limit of one client would stop all of them."""
    async with StreamRig(http=Gateway(), proxies=LOOPBACK, connections_per_address=1) as rig:
        for _ in range(3):
            await rig.client()
        assert rig.transport.connections == 3


async def test_who_is_told_why_has_a_moment_to_read_it(plain: StreamRig) -> None:
    """Closed at once, the kernel would take the answer back (RFC 9112 §9.6); the linger is short and bounded."""
    peer = await plain.connect()
    await peer.send(REQUEST)
    assert await peer.read(10_000)
    await peer.send(b"x" * 100_000)
    assert plain.transport.openings == 1
    plain.pass_time(3)
    assert plain.transport.openings == 0


async def test_a_client_behind_a_proxy_may_be_refused() -> None:
    """The client ACL is about the client that the PROXY header names, and not about the proxy."""
    async with StreamRig(proxies=LOOPBACK) as rig:
        rig.limiter.clients = ClientPolicy(deny=(ip_network("192.0.2.1"), ip_network("127.0.0.0/8")))
        peers = []
        for host in ("192.0.2.1", "192.0.2.2"):
            peers.append(await rig.connect())
            await peers[-1].send(f"PROXY TCP4 {host} 192.0.2.9 1000 443\r\n".encode() + BINDING)
        assert await peers[0].ended()
        await eventually(lambda: len(rig.sink.frames) == 1)
        assert rig.sink.frames[0][0].address.host == "192.0.2.2"
        assert rig.transport.refusals.counts == {Reason.CLIENT_DENIED: 1}
