"""Splices on real loopback connections: nothing lost, nothing piled up, ends carried over as ends."""

import asyncio
import contextlib
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.certificates import client_context, issue
from tests.support.tcp_pair import HOSTS, Peer, eventually, has_ipv6, received, stream_pair
from turnserver.relay.splice import CHUNK, StreamSplice
from turnserver.streams import ByteStream


class Joined:
    """A client and a peer, joined by a splice."""

    def __init__(self, client: Peer, peer: Peer, splice: StreamSplice, streams: tuple[ByteStream, ByteStream]) -> None:
        self.client = client
        self.peer = peer
        self.splice = splice
        self.streams = streams
        self.over = 0
        self.faults: list[Exception] = []

    @classmethod
    async def make(cls, host: str = "127.0.0.1", *, start: bool = True) -> "Joined":
        (near, client), (far, peer) = await stream_pair(host), await stream_pair(host)
        streams = ByteStream(near), ByteStream(far)
        joined = cls(client, peer, None, streams)  # type: ignore[arg-type]
        joined.splice = StreamSplice(*streams, joined.count, joined.faults.append)
        if start:
            joined.splice.start()
        return joined

    def count(self) -> None:
        self.over += 1

    def closed(self) -> bool:
        return all(stream.closed for stream in self.streams)

    def close(self) -> None:
        self.splice.close()
        self.client.close()
        self.peer.close()


@pytest.mark.parametrize("host", HOSTS)
async def test_bytes_go_both_ways_as_they_are(host: str) -> None:
    """RFC 6062 §5.4: what is received on either MUST be sent as it is on the other."""
    if ":" in host and not has_ipv6():
        pytest.skip("no IPv6 here")
    joined = await Joined.make(host)
    up, down = bytes(range(256)) * 4000, bytes(range(255, -1, -1)) * 4000
    received = await asyncio.gather(
        joined.client.send(up), joined.peer.send(down), joined.peer.read(len(up)), joined.client.read(len(down))
    )
    assert received[2:] == [up, down]
    assert (joined.splice.octets_to_peer, joined.splice.octets_to_client) == (len(up), len(down))
    joined.close()


async def test_what_was_sent_before_is_not_lost() -> None:
    """RFC 6062 §5.4: data received after the Connect and before the ConnectionBind, and bytes that were read along."""
    joined = await Joined.make(start=False)
    await joined.peer.send(b"early")
    await joined.client.send(b" bird")
    joined.streams[0].unread(b"early")
    joined.splice.start()
    assert await joined.client.read(5) == b"early"
    assert await joined.peer.read(10) == b"early bird"
    joined.close()


async def test_an_end_is_carried_over_and_the_other_way_goes_on() -> None:
    """RFC 6062 §5.5: half closed is not closed; when both have said all, both are closed and it is told once."""
    joined = await Joined.make()
    await joined.client.send(b"question")
    joined.client.finish()
    assert await joined.peer.read(100) == b"question"
    await joined.peer.send(b"answer" * 50_000)
    assert await joined.client.read(300_000) == b"answer" * 50_000
    assert joined.over == 0
    joined.peer.finish()
    assert await joined.client.ended()
    await eventually(lambda: joined.over)
    assert joined.closed()
    joined.splice.close()
    assert joined.over == 1
    joined.close()


@pytest.mark.parametrize("side", ["client", "peer"])
async def test_a_reset_closes_both(side: str) -> None:
    """RFC 6062 §5.5: when one side is gone the other is closed."""
    joined = await Joined.make()
    broken, other = (joined.client, joined.peer) if side == "client" else (joined.peer, joined.client)
    broken.reset()
    assert await other.ended()
    await eventually(joined.closed)
    assert joined.over == 1
    joined.close()


@pytest.mark.parametrize("side", ["client", "peer"])
async def test_writing_to_who_has_gone_closes_both(side: str) -> None:
    """One that closed without a word more is found out by the next byte for it."""
    joined = await Joined.make()
    gone, other = (joined.client, joined.peer) if side == "client" else (joined.peer, joined.client)
    gone.close()
    async with asyncio.timeout(90):
        while not joined.closed():
            try:
                await other.send(b"are you there?")
            except OSError:
                break
            await asyncio.sleep(0.001)
    await eventually(joined.closed)
    assert joined.over == 1
    joined.close()


@pytest.mark.parametrize("side", ["client", "peer"])
async def test_what_was_sent_before_a_failed_write_still_reaches_the_other(side: str) -> None:
    """The last words of one side come through, although sending to it fails before they are read."""
    joined = await Joined.make(start=False)
    gone, other = (joined.client, joined.peer) if side == "client" else (joined.peer, joined.client)
    words = b"last words " * 3_000
    await gone.send(words)
    await received(joined.streams[side == "peer"].fileno, len(words))
    await other.send(b"never read")
    gone.reset()
    joined.splice.start()
    assert await other.read(len(words)) == words
    assert await other.ended()
    await eventually(joined.closed)
    assert joined.over == 1
    assert joined.faults == []
    joined.close()


async def test_what_is_still_to_be_sent_survives_a_reset_of_its_source() -> None:
    """A chunk that the slow side has not taken is sent, although the side that it comes from has been reset."""
    joined = await Joined.make()
    words = 0
    for _ in range(50):
        words += joined.peer.stuff(2**22 - words)
        await asyncio.sleep(0.001)
    joined.peer.reset()
    await asyncio.sleep(0)
    assert len(await joined.client.read(words)) == joined.splice.octets_to_client
    assert await joined.client.ended()
    await eventually(joined.closed)
    joined.close()


async def test_who_does_not_read_makes_the_other_wait() -> None:
    """Rule 22: one chunk is held, no more; the rest waits in the kernel, and the sender with it. Nothing is lost."""
    joined = await Joined.make()
    sent = 0
    for _ in range(200):
        more = joined.peer.stuff()
        sent += more
        await asyncio.sleep(0.001)
    assert joined.peer.stuff() == 0, "somebody takes without end"
    way = joined.splice._down
    assert 0 < len(way._pending) <= CHUNK
    await joined.client.send(b"still there")
    assert await joined.peer.read(11) == b"still there"
    assert len(await joined.client.read(sent)) == sent
    assert not way._pending
    await joined.peer.send(b"!")
    assert await joined.client.read(1) == b"!"
    joined.close()


async def test_one_busy_direction_leaves_the_loop_to_others() -> None:
    """A burst is bounded: moving on is put behind whatever else is waiting, and is not asked for twice."""
    joined = await Joined.make(start=False)
    joined.peer.stuff(CHUNK * 40)
    order: list[str] = []
    joined.splice.start()
    seen = joined.splice.octets_to_client
    asyncio.get_running_loop().call_soon(order.append, "somebody else")
    await eventually(lambda: joined.splice.octets_to_client > seen)
    assert order == ["somebody else"]
    joined.close()


async def test_abandoned_is_half_closed_and_silent() -> None:
    """RFC 6062 §5.5: a side that closed altogether looks like one that may still be answered; silence tells."""
    joined = await Joined.make()
    assert not joined.splice.abandoned()
    assert not joined.splice.abandoned(), "not half closed, only idle"
    joined.client.finish()
    assert await joined.peer.ended()
    assert not joined.splice.abandoned(), "it may yet be answered"
    await joined.peer.send(b"answer")
    assert await joined.client.read(6) == b"answer"
    assert not joined.splice.abandoned(), "it has been answered"
    assert joined.splice.abandoned()
    joined.close()


async def under_tls(directory: Path) -> tuple[asyncio.StreamReader, asyncio.StreamWriter, Peer, Joined]:
    """A client under TLS (asyncio's own), spliced with a plain peer."""
    pair = issue(directory)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(pair.certificate, pair.key)
    near, outer = await stream_pair()
    stream = ByteStream(near)
    stream.start_tls(server)
    done: list[bool] = []
    stream.on_readable = lambda: done.append(True) if stream.handshake() else None
    stream.want_read(True)
    reader, writer = await asyncio.wait_for(
        asyncio.open_connection(sock=outer.sock, ssl=client_context(pair), server_hostname="localhost"), 10
    )
    await eventually(lambda: done)
    far, peer = await stream_pair()
    joined = Joined(outer, peer, None, (stream, ByteStream(far)))  # type: ignore[arg-type]
    joined.splice = StreamSplice(*joined.streams, joined.count, joined.faults.append)
    joined.splice.start()
    return reader, writer, peer, joined


async def test_a_client_under_tls(tmp_path: Path) -> None:
    """RFC 6062 §5.4 over TLS: the same, in amounts that fill every buffer; the last byte arrives before the end."""
    reader, writer, peer, joined = await under_tls(tmp_path)
    up, down = bytes(range(256)) * 8000, bytes(range(255, -1, -1)) * 8000
    writer.write(up)
    sending = asyncio.create_task(peer.send(down))
    assert await peer.read(len(up)) == up
    peer_done = asyncio.create_task(reader.readexactly(len(down)))
    await sending
    peer.finish()
    assert await asyncio.wait_for(peer_done, 10) == down
    assert await asyncio.wait_for(reader.read(), 10) == b""
    writer.close()
    assert await peer.ended()
    await eventually(joined.closed)
    assert joined.over == 1
    joined.close()


class TlsClient:
    """A TLS client driven by hand, since asyncio's cannot close one direction only."""

    def __init__(self, outer: Peer, context: ssl.SSLContext) -> None:
        self.outer = outer
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self.incoming, self.outgoing, server_hostname="localhost")

    async def _until_done(self, step: Callable[[], bytes | None]) -> bytes | None:
        """Repeat a step, sending what it wants sent and reading when it wants more."""
        while True:
            try:
                return step()
            except ssl.SSLWantReadError:
                await self.outer.send(self.outgoing.read())
                self.incoming.write(await asyncio.wait_for(self.outer.some(), 10))
            finally:
                await self.outer.send(self.outgoing.read())

    async def handshake(self) -> None:
        await self._until_done(self.tls.do_handshake)

    async def finish(self) -> None:
        """Say that nothing more will be sent: a close_notify (RFC 8446 §6.1)."""
        with contextlib.suppress(ssl.SSLError):
            self.tls.unwrap()
        await self.outer.send(self.outgoing.read())

    async def read(self, size: int) -> int:
        """Read that many bytes; fewer if the stream ends before."""
        got = 0
        while got < size:
            try:
                data = await self._until_done(lambda: self.tls.read(65536))
            except ssl.SSLZeroReturnError:
                break
            if not data:
                break
            got += len(data)
        return got


async def test_a_client_under_tls_that_has_said_all_still_hears_all(tmp_path: Path) -> None:
    """RFC 6062 §5.5 over TLS: a close_notify ends one direction; the other goes on to its last byte."""
    pair = issue(tmp_path)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(pair.certificate, pair.key)
    (near, outer), (far, peer) = await stream_pair(), await stream_pair()
    stream = ByteStream(near)
    stream.start_tls(server)
    done: list[bool] = []
    stream.on_readable = lambda: done.append(True) if stream.handshake() else None
    stream.want_read(True)
    client = TlsClient(outer, client_context(pair))
    await client.handshake()
    await eventually(lambda: done)
    joined = Joined(outer, peer, None, (stream, ByteStream(far)))  # type: ignore[arg-type]
    joined.splice = StreamSplice(*joined.streams, joined.count, joined.faults.append)
    joined.splice.start()
    await client.finish()
    assert await peer.ended()
    sent = 0
    for _ in range(200):
        sent += peer.stuff()
        await asyncio.sleep(0.001)
    peer.close()
    assert not stream.flushed
    assert await client.read(sent) == sent
    await eventually(joined.closed)
    assert joined.over == 1
    joined.close()


class Ended:
    """A stream that has said all, and is still sending what it took."""

    def __init__(self, *, flushed: bool) -> None:
        self.flushed = flushed
        self.closed = False
        self.wants: list[tuple[str, bool]] = []
        self.on_readable: Callable[[], None] | None = None
        self.on_writable: Callable[[], None] | None = None
        self.on_fault: Callable[[Exception], None] | None = None
        self.on_closed: list[Callable[[], None]] = []

    def recv(self, size: int) -> bytes:
        return b""

    def want_read(self, on: bool) -> None:
        self.wants.append(("read", on))

    def want_write(self, on: bool) -> None:
        self.wants.append(("write", on))

    def shutdown_write(self) -> None:
        self.wants.append(("shutdown", True))

    def close(self) -> None:
        self.closed = True


def fail(error: Exception) -> None:
    """Nothing unforeseen happens here."""
    raise error


async def test_what_a_stream_has_taken_is_sent_before_it_is_closed() -> None:
    """RFC 6062 §5.5: when both sides have said all, the last of it may still be on its way out (TLS keeps records)."""
    client, peer = Ended(flushed=False), Ended(flushed=True)
    over: list[bool] = []
    splice = StreamSplice(client, peer, lambda: over.append(True), fail)  # type: ignore[arg-type]
    splice.start()
    assert ("shutdown", True) in client.wants
    assert client.wants[-1] == ("write", True)
    assert (client.closed, peer.closed, over) == (False, False, [])
    client.flushed = True
    assert client.on_writable is not None
    client.on_writable()
    assert (client.closed, peer.closed, over) == (True, True, [True])


@pytest.mark.parametrize("method", ["recv", "send"])
@pytest.mark.parametrize("end", [0, 1])
async def test_what_nobody_foresaw_ends_a_splice(method: str, end: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both streams are closed, it is said once, and told as a fault; a system's error is none."""
    joined = await Joined.make()
    broken = joined.streams[end]
    original = getattr(ByteStream, method)

    def raising(stream: ByteStream, *arguments: Any) -> Any:
        if stream is broken:
            raise ZeroDivisionError("in a library")
        return original(stream, *arguments)

    monkeypatch.setattr(ByteStream, method, raising)
    await joined.client.send(b"x")
    await joined.peer.send(b"y")
    await eventually(joined.closed)
    assert joined.over == 1
    assert [type(fault) for fault in joined.faults] == [ZeroDivisionError]
    joined.close()


async def test_a_stream_that_closes_by_itself_takes_the_other_with_it() -> None:
    joined = await Joined.make()
    joined.streams[0].close()
    assert joined.closed()
    assert (joined.over, joined.faults) == (1, [])
    joined.close()
