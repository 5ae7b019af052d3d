"""Byte streams over real loopback sockets, plain and under TLS, with `ssl` itself at the other end."""

import asyncio
import errno
import select
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from stun.address import Address
from tests.support.certificates import client_context, issue
from tests.support.stream_world import TlsPeer
from tests.support.tcp_pair import Peer, eventually, has_ipv6, received, stream_pair
from turnserver import polling
from turnserver.streams import ByteStream, bind_tcp
from turnserver.transports.certificates import CIPHERS

Pair = tuple[ByteStream, Peer]


@pytest.fixture(scope="module")
def server_context(tmp_path_factory: pytest.TempPathFactory) -> ssl.SSLContext:
    pair = issue(tmp_path_factory.mktemp("certificates"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.options |= ssl.OP_NO_RENEGOTIATION
    context.set_ciphers(CIPHERS)
    context.load_cert_chain(pair.certificate, pair.key)
    return context


@pytest.fixture(params=["epoll", "loop"])
def poller(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Both ways of waiting: the private epoll, and what there is without one."""
    if request.param == "loop":
        monkeypatch.delattr(select, "epoll")
    return str(request.param)


@pytest.fixture
async def pair(poller: str) -> AsyncIterator[Pair]:
    sock, peer = await stream_pair()
    stream = ByteStream(sock)
    yield stream, peer
    stream.close()
    peer.close()


class Reader:
    """An owner that keeps what it reads."""

    def __init__(self, stream: ByteStream, size: int = 65536) -> None:
        self.stream = stream
        self.size = size
        self.data = b""
        self.calls = 0
        self.ended = False
        self.error: OSError | None = None
        stream.on_readable = self.read
        stream.want_read(True)

    def read(self) -> None:
        self.calls += 1
        try:
            data = self.stream.recv(self.size)
        except OSError as error:
            self.error = error
            self.stream.want_read(False)
            return
        if data:
            self.data += data
        elif data is not None:
            self.ended = True
            self.stream.want_read(False)


async def secured(pair: Pair, server: ssl.SSLContext, client: ssl.SSLContext | None = None) -> TlsPeer:
    """Take both ends through a TLS handshake."""
    stream, peer = pair
    stream.start_tls(server)
    done: list[bool] = []

    def carry_on() -> None:
        if stream.handshake():
            done.append(True)
            stream.want_read(False)

    stream.on_readable = carry_on
    stream.want_read(True)
    tls = await TlsPeer(peer, client).handshake()
    await eventually(lambda: done)
    return tls


async def test_what_one_end_sends_the_other_reads(pair: Pair) -> None:
    stream, peer = pair
    reader = Reader(stream)
    await peer.send(b"hello")
    await eventually(lambda: reader.data == b"hello")
    assert stream.send(b"and back") == 8
    assert await peer.read(8) == b"and back"
    assert stream.peer == peer.address
    assert stream.local == peer.remote
    assert stream.tls is None


async def test_nagle_is_off_and_keep_alive_on(pair: Pair) -> None:
    """Rule 22: small packets leave at once; a host that has vanished is found out."""
    sock = socket.fromfd(pair[0].fileno, socket.AF_INET, socket.SOCK_STREAM)
    with sock:
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT) == 128 * 1024


async def test_nothing_now_is_not_the_end(pair: Pair) -> None:
    stream, peer = pair
    assert stream.recv(10) is None
    peer.finish()
    reader = Reader(stream)
    await eventually(lambda: reader.ended)
    assert reader.data == b""


async def test_nobody_is_called_who_does_not_want_to_be(pair: Pair) -> None:
    """Back-pressure: what is not read stays in the kernel, and the sender's window closes."""
    stream, peer = pair
    reader = Reader(stream)
    stream.want_read(False)
    peer.stuff()
    for _ in range(5):
        await asyncio.sleep(0)
    assert reader.calls == 0
    stream.want_read(True)
    await eventually(lambda: reader.data)


async def test_a_full_stream_takes_nothing_until_there_is_room(pair: Pair) -> None:
    stream, peer = pair
    sent = fill(stream)
    assert stream.send(b"x") == 0
    room: list[bool] = []
    stream.on_writable = lambda: room.append(True)
    stream.want_write(True)
    assert len(await peer.read(sent)) == sent
    await eventually(lambda: room)
    stream.want_write(False)


def fill(stream: ByteStream) -> int:
    sent, block = 0, bytes(65536)
    while taken := stream.send(block):
        sent += taken
    return sent


async def test_what_is_put_back_comes_first_and_is_announced(pair: Pair) -> None:
    """Bytes that wait inside raise no event of the kernel's, so the stream announces them itself."""
    stream, peer = pair
    stream.unread(b"world")
    stream.unread(b"hello ")
    reader = Reader(stream, size=4)
    await eventually(lambda: reader.data == b"hello world")
    assert reader.calls == 3
    await peer.send(b"!")
    await eventually(lambda: reader.data == b"hello world!")


async def test_last_words_are_sent_before_anything_else(pair: Pair) -> None:
    """What `push` takes goes out in full, in order, also if the kernel has no room for it now."""
    stream, peer = pair
    sent = fill(stream)
    stream.push(b"a" * 100_000)
    assert not stream.flushed
    assert stream.send(b"b") == 0
    stream.shutdown_write()
    data = await peer.read(sent + 200_000)
    assert data[sent:] == b"a" * 100_000
    assert stream.flushed


async def test_a_half_close_leaves_the_other_direction_open(pair: Pair) -> None:
    """RFC 6062 §5.5 wants it carried over."""
    stream, peer = pair
    stream.shutdown_write()
    stream.shutdown_write()
    assert await peer.read(1) == b""
    reader = Reader(stream)
    await peer.send(b"still here")
    await eventually(lambda: reader.data == b"still here")


async def test_a_reset_is_an_error_to_the_reader(pair: Pair) -> None:
    stream, peer = pair
    reader = Reader(stream)
    peer.reset()
    await eventually(lambda: reader.error)
    assert isinstance(reader.error, ConnectionResetError)


async def test_closing_is_told_once(pair: Pair) -> None:
    stream, peer = pair
    told: list[str] = []
    stream.on_closed += [lambda: told.append("first"), lambda: told.append("second")]
    stream.close()
    stream.close()
    stream.shutdown_write()
    stream.want_read(True)
    stream.want_write(True)
    assert stream.closed
    assert told == ["first", "second"]
    assert await peer.ended()


async def test_a_callback_that_fails_closes_its_stream_and_no_other(pair: Pair) -> None:
    """A fault in one connection's handling must not stop the loop, spin it, or take others down."""
    stream, peer = pair
    other_sock, other_peer = await stream_pair()
    other = ByteStream(other_sock)
    reader = Reader(other)
    caught: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: caught.append(context))

    def fail() -> None:
        raise ZeroDivisionError

    stream.on_readable = fail
    stream.want_read(True)
    await peer.send(b"x")
    await other_peer.send(b"y")
    await eventually(lambda: reader.data == b"y" and stream.closed)
    assert [type(context["exception"]) for context in caught] == [ZeroDivisionError]
    other.close()
    other_peer.close()


async def test_streams_that_take_long_do_not_hold_up_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    """A flood of handshakes must not stop the media: after a share of the turn, the rest waits for the next one."""
    monkeypatch.setattr(polling, "_TURN", -1.0)  # every stream takes too long
    pairs = [await stream_pair() for _ in range(3)]
    readers = [Reader(ByteStream(sock)) for sock, _ in pairs]
    for _, peer in pairs:
        await peer.send(b"x")
    served: list[int] = []

    def look() -> None:
        served.append(sum(1 for reader in readers if reader.data))
        if served[-1] < 3:
            asyncio.get_running_loop().call_soon(look)

    look()
    await eventually(lambda: served[-1] == 3)
    assert {1, 2} <= set(served)
    for reader in readers:
        reader.stream.close()
    for _, peer in pairs:
        peer.close()


async def test_the_loop_is_left_as_it_was(pair: Pair) -> None:
    """When the last stream has gone, nothing of the poller stays in the loop, and a next one starts it anew."""
    stream, _ = pair
    Reader(stream)
    stream.close()
    sock, other = await stream_pair()
    again = ByteStream(sock)
    reader = Reader(again)
    await other.send(b"x")
    await eventually(lambda: reader.data == b"x")
    again.close()
    other.close()


async def test_a_write_error_reaches_an_owner_that_only_reads(pair: Pair) -> None:
    """What was pushed cannot be sent any more: the owner finds the stream at its end."""
    stream, peer = pair
    fill(stream)
    stream.push(b"x" * 1000)
    reader = Reader(stream)
    peer.reset()
    await eventually(lambda: reader.ended or reader.error)


async def test_a_write_error_closes_a_stream_that_nobody_watches(pair: Pair) -> None:
    stream, peer = pair
    fill(stream)
    stream.push(b"x" * 1000)
    peer.reset()
    await eventually(lambda: stream.closed)


@pytest.mark.parametrize("encrypted", [False, True])
async def test_what_arrived_is_read_to_its_end_when_sending_fails_first(
    pair: Pair, server_context: ssl.SSLContext, encrypted: bool
) -> None:
    """Last words: the other end has spoken, and closed without reading ours. It takes several reads."""
    stream, peer = pair
    words = bytes(range(256)) * 120
    if encrypted:
        tls = await secured(pair, server_context)
        await tls.send(words)
    else:
        await peer.send(words)
    await received(stream.fileno, len(words))
    peer.reset()
    with pytest.raises(OSError):  # noqa: PT011 - the kernel says one of two things
        stream.send(b"x")
    with pytest.raises(ConnectionResetError):
        stream.send(b"x")
    reader = Reader(stream, 4096)
    await eventually(lambda: reader.ended)
    assert reader.data == words
    assert stream.flushed


@pytest.mark.parametrize("encrypted", [False, True])
async def test_what_arrived_is_read_when_the_rest_of_an_earlier_write_fails(
    pair: Pair, server_context: ssl.SSLContext, encrypted: bool
) -> None:
    """The same where the stream itself finds out, while it sends what it had kept."""
    stream, peer = pair
    tls = await secured(pair, server_context) if encrypted else None
    fill(stream)
    stream.push(b"x" * 1000)
    words = b"bye" * 10_000
    stream.want_read(False)
    await (peer if tls is None else tls).send(words)
    await received(stream.fileno, len(words))
    peer.reset()
    reader = Reader(stream)
    await eventually(lambda: reader.ended or reader.error)
    assert reader.data == words


async def test_a_live_sender_cannot_be_read_from_for_ever_after_a_failure(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only what the receive buffer can hold has arrived before; whoever goes on sending is not listened to."""
    stream, peer = pair
    stream._break()
    bound = stream._sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)
    reader = Reader(stream, 4096)
    while not reader.ended:
        peer.stuff(65536)
        await asyncio.sleep(0)
    assert len(reader.data) <= bound


# TLS


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_tls_carries_data_both_ways(pair: Pair, server_context: ssl.SSLContext, version: ssl.TLSVersion) -> None:
    stream, _ = pair
    tls = await secured(pair, server_context, client_context(version=version))
    reader = Reader(stream)
    block = bytes(range(256)) * 400
    await tls.send(block)
    await eventually(lambda: reader.data == block)
    sent = 0
    while sent < len(block):
        sent += stream.send(memoryview(block)[sent:])
    assert await tls.read(len(block)) == block
    assert stream.tls is not None
    assert stream.tls.version() == version.name.replace("_", ".")


async def test_many_records_are_one_read(pair: Pair, server_context: ssl.SSLContext) -> None:
    """What makes TLS cheap: packets that came together are decrypted together."""
    stream, peer = pair
    tls = await secured(pair, server_context)
    records = b"".join(tls.records(b"%03d" % number) for number in range(100))
    await peer.send(records)
    reader = Reader(stream)
    await eventually(lambda: len(reader.data) == 300)
    assert reader.data == b"".join(b"%03d" % number for number in range(100))
    assert reader.calls <= 2


async def test_records_may_come_byte_by_byte(pair: Pair, server_context: ssl.SSLContext) -> None:
    stream, peer = pair
    tls = await secured(pair, server_context)
    reader = Reader(stream)
    for octet in tls.records(b"hello"):
        await peer.send(bytes((octet,)))
        await asyncio.sleep(0)
    await eventually(lambda: reader.data == b"hello")


async def test_a_small_reader_gets_everything(pair: Pair, server_context: ssl.SSLContext) -> None:
    """Plaintext that waits inside raises no event of the kernel's; it is announced all the same."""
    stream, _ = pair
    tls = await secured(pair, server_context)
    await tls.send(bytes(1000))
    reader = Reader(stream, size=10)
    await eventually(lambda: len(reader.data) == 1000)
    assert reader.calls >= 100


async def test_data_that_came_with_the_handshake_is_not_forgotten(pair: Pair, server_context: ssl.SSLContext) -> None:
    """TLS 1.3: a client's first data follows its Finished, often in the same packet (RFC 8446 §2)."""
    stream, peer = pair
    stream.start_tls(server_context)
    steps: list[bool] = []
    reader: list[Reader] = []

    def carry_on() -> None:
        steps.append(stream.handshake())
        if steps[-1]:
            reader.append(Reader(stream))

    stream.on_readable = carry_on
    stream.want_read(True)
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = client_context(version=ssl.TLSVersion.TLSv1_3).wrap_bio(incoming, outgoing, server_hostname="localhost")
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    await peer.send(outgoing.read())
    while True:
        incoming.write(await asyncio.get_running_loop().sock_recv(peer.sock, 65536))
        try:
            client.do_handshake()
        except ssl.SSLWantReadError:
            continue
        break
    client.write(b"early")
    await peer.send(outgoing.read())
    await eventually(lambda: reader and reader[0].data == b"early")


async def test_a_close_notify_is_the_end_also_without_a_fin(pair: Pair, server_context: ssl.SSLContext) -> None:
    """RFC 8446 §6.1: and what came before it is read first."""
    stream, peer = pair
    tls = await secured(pair, server_context)
    await peer.send(tls.records(b"the last"))
    await tls.bye()
    reader = Reader(stream)
    await eventually(lambda: reader.ended)
    assert reader.data == b"the last"


async def test_an_end_without_close_notify_is_an_end(pair: Pair, server_context: ssl.SSLContext) -> None:
    """TURN frames have lengths, so truncation hides nothing; browsers just close."""
    stream, peer = pair
    tls = await secured(pair, server_context)
    await tls.send(b"data")
    peer.finish()
    reader = Reader(stream)
    await eventually(lambda: reader.ended)
    assert reader.data == b"data"


async def test_half_close_under_tls(pair: Pair, server_context: ssl.SSLContext) -> None:
    """RFC 8446 §6.1: close_notify ends one direction only; what was not read yet survives it."""
    stream, _ = pair
    tls = await secured(pair, server_context)
    await tls.send(b"before ")
    await asyncio.sleep(0)
    assert stream.send(b"bye") == 3
    stream.shutdown_write()
    assert await tls.read(10) == b"bye"
    await tls.send(b"after")
    reader = Reader(stream)
    await eventually(lambda: reader.data == b"before after")


async def test_a_full_tls_stream_keeps_what_it_took(pair: Pair, server_context: ssl.SSLContext) -> None:
    """A record once made must go out whole: what the kernel does not take is kept, and no more is taken."""
    stream, _ = pair
    tls = await secured(pair, server_context)
    sent = fill(stream)
    assert not stream.flushed
    assert stream.send(b"x") == 0
    stream.push(b"y" * 70_000)
    assert await tls.read(sent + 70_000) == bytes(sent) + b"y" * 70_000
    await eventually(lambda: stream.flushed)


async def test_garbage_instead_of_a_record_is_an_error(pair: Pair, server_context: ssl.SSLContext) -> None:
    stream, peer = pair
    tls = await secured(pair, server_context)
    reader = Reader(stream)
    await peer.send(b"\x17\x03\x03\x00\x20" + bytes(32))
    await eventually(lambda: reader.error)
    with pytest.raises(ssl.SSLError, match=r"(?i)alert"):
        await tls.read(1)


async def test_what_came_before_the_garbage_is_read(pair: Pair, server_context: ssl.SSLContext) -> None:
    stream, peer = pair
    tls = await secured(pair, server_context)
    reader = Reader(stream)
    await peer.send(tls.records(b"good") + b"\x17\x03\x03\x00\x20" + bytes(32))
    await eventually(lambda: reader.ended or reader.error)
    assert reader.data == b"good"


async def test_a_handshake_that_fails_says_why(pair: Pair, server_context: ssl.SSLContext) -> None:
    """RFC 8446 §6.2: the alert is sent before the error is raised. Here: no cipher in common."""
    stream, peer = pair
    stream.start_tls(server_context)
    client = client_context(version=ssl.TLSVersion.TLSv1_2)
    client.set_ciphers("AES128-SHA")
    errors = handshake_errors(stream)
    with pytest.raises(ssl.SSLError, match=r"(?i)alert handshake failure"):
        await TlsPeer(peer, client).handshake()
    await eventually(lambda: errors)
    assert isinstance(errors[0], ssl.SSLError)


@pytest.mark.parametrize("sent", [0, 1, 5, 6, 100])
async def test_a_truncated_handshake_is_an_error(pair: Pair, server_context: ssl.SSLContext, sent: int) -> None:
    stream, peer = pair
    stream.start_tls(server_context)
    errors = handshake_errors(stream)
    await peer.send((await TlsPeer(peer).hello())[:sent])
    peer.finish()
    await eventually(lambda: errors)
    assert isinstance(errors[0], OSError)


def handshake_errors(stream: ByteStream) -> list[OSError]:
    errors: list[OSError] = []

    def carry_on() -> None:
        try:
            stream.handshake()
        except OSError as error:
            errors.append(error)
            stream.close()

    stream.on_readable = carry_on
    stream.want_read(True)
    return errors


async def test_a_stream_can_be_the_client(pair: Pair, server_context: ssl.SSLContext) -> None:
    """The same class opens connections: the handshake begins without anything to read."""
    stream, peer = pair
    far = ByteStream(peer.sock.dup())
    far.start_tls(server_context)
    stream.start_tls(client_context(), server_side=False, server_hostname="localhost")
    done: list[bool] = []

    def step(which: ByteStream) -> Callable[[], None]:
        def carry_on() -> None:
            if which.handshake():
                done.append(True)
                which.want_read(False)

        return carry_on

    stream.on_readable, far.on_readable = step(stream), step(far)
    far.want_read(True)
    stream.want_read(True)
    assert not stream.handshake()
    await eventually(lambda: len(done) == 2)
    assert stream.send(b"hello") == 5
    reader = Reader(far)
    await eventually(lambda: reader.data == b"hello")
    far.close()


async def test_tls_begins_with_what_was_read_before_it(pair: Pair, server_context: ssl.SSLContext) -> None:
    """A ClientHello that was looked at is put back (RFC 7301 is why it is looked at)."""
    stream, peer = pair
    reader = Reader(stream)
    client = TlsPeer(peer)
    handshake = asyncio.create_task(client.handshake())
    await eventually(lambda: reader.data)
    stream.unread(reader.data)
    stream.start_tls(server_context)
    errors = handshake_errors(stream)
    assert not stream.handshake()
    await handshake
    assert errors == []
    assert stream.tls is not None


async def test_alerts_that_nobody_reads_do_not_pile_up(pair: Pair, server_context: ssl.SSLContext) -> None:
    """A TLS 1.2 client that asks for renegotiation again and again, and reads none of the refusals, is cut off."""
    stream, _ = pair
    await secured(pair, server_context)
    fill(stream)
    for _ in range(6):
        stream.push(bytes(65536))
    with pytest.raises(ConnectionAbortedError) as caught:
        stream.push(bytes(2 * 65536))
    assert caught.value.errno == errno.ECONNABORTED


# Listening


async def test_a_listener_takes_an_address_that_closed_connections_still_hold() -> None:
    """A restart must not wait for TIME_WAIT to pass."""
    first = bind_tcp(Address.parse("127.0.0.1", 0))
    port = first.getsockname()[1]
    client = socket.create_connection(("127.0.0.1", port))
    accepted, _ = first.accept()
    first.close()
    accepted.close()
    client.close()
    bind_tcp(Address.parse("127.0.0.1", port)).close()


async def test_a_port_in_use_is_an_error() -> None:
    first = bind_tcp(Address.parse("127.0.0.1", 0))
    with pytest.raises(OSError, match=r"(?i)in use"):
        bind_tcp(Address.parse("127.0.0.1", first.getsockname()[1]))
    first.close()


async def test_a_port_may_be_shared_on_purpose() -> None:
    """One listener per worker, and a connection from a relay's own port: SO_REUSEPORT."""
    first = bind_tcp(Address.parse("127.0.0.1", 0), reuse_port=True)
    port = first.getsockname()[1]
    second = bind_tcp(Address.parse("127.0.0.1", port), reuse_port=True, backlog=None)
    assert second.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN) == 0
    first.close()
    second.close()


@pytest.mark.skipif(not has_ipv6(), reason="no IPv6 here")
async def test_an_ipv6_listener_takes_no_ipv4() -> None:
    """Rule 23: two sockets."""
    sock = bind_tcp(Address.parse("::", 0))
    assert sock.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY) == 1
    assert not sock.getblocking()
    sock.close()
