"""A byte stream as an asyncio transport: flow control both ways, half-closing, and every end."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from stun.address import Address
from tests.support.tcp_pair import Peer, eventually, received, stream_pair
from turnserver.http.transport import HIGH_WATER, StreamAdapter
from turnserver.proxies import Arrival
from turnserver.streams import ByteStream

CLIENT = Arrival(Address.parse("192.0.2.33", 44444))


class Recorder(asyncio.Protocol):
    """A protocol that remembers."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.data = b""
        self.lost: list[BaseException | None] = []
        self.keep_open = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.calls.append("made")

    def data_received(self, data: bytes) -> None:
        self.data += data

    def eof_received(self) -> bool:
        self.calls.append("eof")
        return self.keep_open

    def pause_writing(self) -> None:
        self.calls.append("pause")

    def resume_writing(self) -> None:
        self.calls.append("resume")

    def connection_lost(self, exc: BaseException | None) -> None:
        self.lost.append(exc)


Joined = tuple[StreamAdapter, Recorder, Peer]


@pytest.fixture
async def joined() -> AsyncIterator[Joined]:
    sock, peer = await stream_pair()
    protocol = Recorder()
    adapter = StreamAdapter(ByteStream(sock), protocol, CLIENT)
    adapter.start(b"what was read before ")
    yield adapter, protocol, peer
    adapter.abort()
    await eventually(lambda: protocol.lost)
    peer.close()


def stuff(adapter: StreamAdapter) -> int:
    """Write until more than the high mark has to wait; gives the bytes written."""
    written = 0
    while adapter.get_write_buffer_size() <= HIGH_WATER:
        adapter.write(bytes(100_000))
        written += 100_000
    return written


async def test_data_flows_both_ways(joined: Joined) -> None:
    adapter, protocol, peer = joined
    await peer.send(b"hello")
    await eventually(lambda: protocol.data == b"what was read before hello")
    adapter.write(b"one ")
    adapter.writelines([b"two ", bytearray(b"three "), memoryview(b"four")])
    adapter.write(b"")
    assert await peer.read(18) == b"one two three four"
    assert protocol.calls == ["made"]
    assert adapter.get_protocol() is protocol


async def test_the_facts_are_those_of_the_connection(joined: Joined) -> None:
    """The peer is who a PROXY header said; without TLS there is no context, and so no ``https``."""
    adapter, _, peer = joined
    assert adapter.get_extra_info("peername") == ("192.0.2.33", 44444)
    assert adapter.get_extra_info("sockname") == (peer.remote.host, peer.remote.port)
    assert adapter.get_extra_info("sslcontext") is None
    assert adapter.get_extra_info("socket", "none") == "none"


async def test_a_protocol_that_pauses_is_given_nothing(joined: Joined) -> None:
    """Back-pressure towards the client: its window closes."""
    adapter, protocol, peer = joined
    adapter.pause_reading()
    assert not adapter.is_reading()
    before = protocol.data
    peer.stuff()
    for _ in range(10):
        await asyncio.sleep(0)
    assert protocol.data == before
    adapter.resume_reading()
    assert adapter.is_reading()
    await eventually(lambda: len(protocol.data) > len(before))


async def test_a_protocol_that_writes_too_much_is_asked_to_pause(joined: Joined) -> None:
    """Back-pressure from the client: what waits is bounded by the high mark and one write."""
    adapter, protocol, peer = joined
    written = stuff(adapter)
    assert protocol.calls == ["made", "pause"]
    assert adapter.get_write_buffer_size() <= HIGH_WATER + 100_000
    data = await peer.read(written)
    assert len(data) == written
    await eventually(lambda: protocol.calls == ["made", "pause", "resume"])
    assert adapter.get_write_buffer_size() == 0


async def test_the_marks_can_be_moved(joined: Joined) -> None:
    adapter, protocol, _ = joined
    assert adapter.get_write_buffer_limits() == (16 * 1024, 64 * 1024)
    adapter.set_write_buffer_limits(high=2**30)
    stuff(adapter)
    assert protocol.calls == ["made"]
    adapter.set_write_buffer_limits(high=100, low=10)
    assert protocol.calls == ["made", "pause"]
    adapter.set_write_buffer_limits(low=2**20)
    assert adapter.get_write_buffer_limits() == (2**20, 2**22)
    assert protocol.calls == ["made", "pause", "resume"]
    with pytest.raises(ValueError, match="ordered"):
        adapter.set_write_buffer_limits(high=1, low=2)


async def test_closing_sends_what_waits(joined: Joined) -> None:
    adapter, protocol, peer = joined
    written = stuff(adapter)
    adapter.close()
    adapter.close()
    assert adapter.is_closing()
    adapter.write(b"too late")
    assert protocol.lost == []
    data = await peer.read(written + 100)
    assert len(data) == written
    await eventually(lambda: protocol.lost == [None])


async def test_aborting_does_not(joined: Joined) -> None:
    adapter, protocol, _ = joined
    stuff(adapter)
    adapter.abort()
    await eventually(lambda: protocol.lost == [None])
    assert adapter.get_write_buffer_size() == 0


async def test_half_closing(joined: Joined) -> None:
    adapter, protocol, peer = joined
    written = stuff(adapter)
    assert adapter.can_write_eof()
    adapter.write_eof()
    adapter.write_eof()
    adapter.write(b"too late")
    assert len(await peer.read(written + 100)) == written
    await peer.send(b"still heard")
    await eventually(lambda: protocol.data.endswith(b"still heard"))


async def test_half_closing_with_nothing_waiting(joined: Joined) -> None:
    adapter, _, peer = joined
    adapter.write_eof()
    assert await peer.read(1) == b""


@pytest.mark.parametrize("keep_open", [False, True])
async def test_the_clients_end(joined: Joined, keep_open: bool) -> None:
    """asyncio's contract: ``eof_received`` says whether the other direction stays open."""
    adapter, protocol, peer = joined
    protocol.keep_open = keep_open
    peer.finish()
    await eventually(lambda: "eof" in protocol.calls)
    if keep_open:
        adapter.write(b"answer")
        assert await peer.read(6) == b"answer"
        assert protocol.lost == []
    else:
        await eventually(lambda: protocol.lost == [None])


async def test_a_reset_is_told(joined: Joined) -> None:
    _, protocol, peer = joined
    peer.reset()
    await eventually(lambda: protocol.lost)
    assert isinstance(protocol.lost[0], ConnectionResetError)


async def test_a_reset_while_writing_is_told_once(joined: Joined) -> None:
    adapter, protocol, peer = joined
    stuff(adapter)
    peer.reset()
    await eventually(lambda: protocol.lost)
    adapter.write(b"x")
    await asyncio.sleep(0)
    assert len(protocol.lost) == 1


async def test_what_has_arrived_goes_to_the_protocol_before_a_failed_write_ends_it(joined: Joined) -> None:
    """A client's last message counts also when our write to it fails before it is read."""
    adapter, protocol, peer = joined
    adapter.pause_reading()
    await peer.send(b"last words " * 3_000)
    await received(adapter._stream.fileno, 33_000)
    peer.reset()
    adapter.resume_reading()
    adapter.write(b"answer")
    assert protocol.lost == []
    adapter.write(b"another")
    assert adapter.get_write_buffer_size() == 0
    await eventually(lambda: protocol.lost)
    assert protocol.data == b"what was read before " + b"last words " * 3_000
    assert isinstance(protocol.lost[0], OSError)


async def test_a_protocol_that_waits_for_room_is_let_go_when_writing_fails(joined: Joined) -> None:
    """Its writer must not hold up its reader."""
    adapter, protocol, peer = joined
    adapter.pause_reading()
    stuff(adapter)
    await peer.send(b"last words")
    await received(adapter._stream.fileno, 10)
    peer.reset()
    await eventually(lambda: protocol.calls[-1] == "resume")
    assert protocol.lost == []
    adapter.resume_reading()
    await eventually(lambda: protocol.lost)
    assert protocol.data.endswith(b"last words")


async def test_a_protocol_that_does_not_read_on_after_a_failed_write_is_not_waited_for() -> None:
    sock, peer = await stream_pair()
    protocol = Recorder()
    adapter = StreamAdapter(ByteStream(sock), protocol, CLIENT, stall_timeout=0.01)
    adapter.start()
    adapter.pause_reading()
    await peer.send(b"last words")
    await received(adapter._stream.fileno, 10)
    peer.reset()
    adapter.write(b"x")
    await eventually(lambda: protocol.lost)
    assert isinstance(protocol.lost[0], OSError)


async def test_a_protocol_that_fails_is_told_that_its_connection_is_lost(joined: Joined) -> None:
    """Nothing is left hanging when the HTTP parser has a bug."""
    adapter, protocol, peer = joined
    caught: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: caught.append(context))

    class Faulty(Recorder):
        def data_received(self, data: bytes) -> None:
            raise ZeroDivisionError

    faulty = Faulty()
    adapter.set_protocol(faulty)
    await peer.send(b"x")
    await eventually(lambda: faulty.lost)
    assert isinstance(caught[0]["exception"], ZeroDivisionError)
    protocol.lost.append(None)


async def test_another_protocol_may_take_over(joined: Joined) -> None:
    adapter, protocol, peer = joined
    other = Recorder()
    adapter.set_protocol(other)
    await peer.send(b"x")
    await eventually(lambda: other.data == b"x")
    with pytest.raises(TypeError):
        adapter.set_protocol(asyncio.DatagramProtocol())
    protocol.lost.append(None)


async def test_a_client_that_takes_nothing_is_disconnected(monkeypatch: pytest.MonkeyPatch) -> None:
    """The timer is made when something has to wait, and only then."""
    loop = asyncio.get_running_loop()
    sock, peer = await stream_pair()
    protocol = Recorder()
    adapter = StreamAdapter(ByteStream(sock), protocol, CLIENT, stall_timeout=30.0)
    adapter.start()
    timers: list[Any] = []

    class Handle:
        def cancel(self) -> None:
            timers.append("cancelled")

    def call_later(delay: float, callback: Any) -> Handle:
        timers.append((delay, callback))
        return Handle()

    with monkeypatch.context() as patch:
        patch.setattr(loop, "call_later", call_later)
        adapter.write(b"x")
        assert timers == []
        stuff(adapter)
    ((delay, callback),) = timers
    assert delay == 30.0
    callback()
    await eventually(lambda: protocol.lost)
    assert isinstance(protocol.lost[0], TimeoutError)
    peer.close()


async def test_sendfile_is_refused_as_aiohttp_understands(joined: Joined, tmp_path: Any) -> None:
    """It then reads the file itself; any other error would be the client's."""
    adapter, _, _ = joined
    path = tmp_path / "file"
    path.write_bytes(b"content")
    with path.open("rb") as file, pytest.raises(NotImplementedError):
        await asyncio.get_running_loop().sendfile(adapter, file)


async def test_the_listener_knows_when_the_connection_is_in_use(joined: Joined) -> None:
    """While a request is worked on and the client reads, or for as long as the application holds it."""
    adapter, _, peer = joined
    told: list[bool] = []
    adapter._stream.on_use = told.append
    adapter.work(True)
    adapter.work(False)
    assert told == [True, False]
    adapter.work(True)
    adapter.write(bytes(HIGH_WATER * 100))
    assert told[2:] == [True, False], "it is the client that is waited for"
    await peer.read(HIGH_WATER * 100)
    await eventually(lambda: told[4:] == [True])
    adapter.get_extra_info("hold")(False)
    adapter.get_extra_info("hold")(True)
    adapter.work(False)
    assert told[5:] == [False, True]
    adapter.hold(False)
    assert told[7:] == [False]
    assert adapter.get_extra_info("peername") == (CLIENT.client.host, CLIENT.client.port)
