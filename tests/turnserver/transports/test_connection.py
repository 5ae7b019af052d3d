"""Frames in and out of one connection: how they are cut, where they go, and what is dropped."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stun.address import Address
from stun.framing import StreamFramer
from tests.support.certificates import issue
from tests.support.stream_world import (
    ANSWER,
    BINDING,
    Clock,
    RecordingHop,
    RecordingSink,
    StreamRig,
    TlsPeer,
    channel_data,
    stun,
)
from tests.support.tcp_pair import Peer, eventually, received
from turnserver.core.types import ClientTransport, FiveTuple
from turnserver.transports.certificates import CertificateSource
from turnserver.transports.connection import StreamConnection

DATA = stun(0x0017, bytes(100))
CHANNEL = 0x4001


@pytest.fixture
async def rig() -> AsyncIterator[StreamRig]:
    async with StreamRig(send_queue=10_000) as rig:
        yield rig


async def joined(rig: StreamRig) -> tuple[Peer, FiveTuple, StreamConnection]:
    peer, client = await rig.client()
    connection = rig.transport.path(client)
    assert connection is not None
    rig.sink.frames.clear()
    return peer, client, connection


def stuff(connection: StreamConnection) -> int:
    """Fill the client's socket until the queue stands; gives the frames of 1,000 bytes that were taken."""
    frame = channel_data(CHANNEL, bytes(996))
    taken = 0
    while connection.send(frame):
        taken += 1
        connection.flush()
    return taken


# From the client


async def test_channel_data_with_a_live_hop_goes_straight_to_its_peer(rig: StreamRig) -> None:
    """RFC 8656 §12.5: without the padding, and without the core."""
    peer, _, connection = await joined(rig)
    hop = connection.channels[CHANNEL] = RecordingHop()
    for payload in (b"hello", b"", b"four", bytes(1200)):
        await peer.send(channel_data(CHANNEL, payload))
        await eventually(lambda payload=payload: hop.payloads and hop.payloads[-1] == payload)  # type: ignore[misc]
    assert rig.sink.frames == []
    assert rig.transport.counters.packets_in == 5
    assert rig.transport.counters.bytes_in == len(BINDING) + 12 + 4 + 8 + 1204


async def test_frames_that_came_together_go_on_together(rig: StreamRig) -> None:
    """One call for a run of one size to one peer; order is kept across sizes and channels."""
    peer, _, connection = await joined(rig)
    hop = connection.channels[CHANNEL] = RecordingHop()
    other = connection.channels[CHANNEL + 1] = RecordingHop()
    frames = [channel_data(CHANNEL, b"%04d" % number) for number in range(5)]
    frames += [channel_data(CHANNEL, b"longer"), channel_data(CHANNEL + 1, b"other!"), channel_data(CHANNEL, b"last")]
    await peer.send(b"".join(frames))
    await eventually(lambda: len(hop.payloads) == 7)
    assert hop.payloads == [*(b"%04d" % number for number in range(5)), b"longer", b"last"]
    assert hop.runs == [5, 1, 1]
    assert other.payloads == [b"other!"]


async def test_channel_data_without_a_live_hop_goes_to_the_core(rig: StreamRig) -> None:
    """Rules 9 and 19: the core decides, about dead channels and about 0x5000 to 0x7FFF (RFC 5766) alike."""
    peer, client, connection = await joined(rig)
    connection.channels[CHANNEL] = RecordingHop(expires=rig.clock.now)
    frames = [channel_data(number, b"12345") for number in (CHANNEL, 0x4FFF, 0x5000, 0x7FFF)]
    await peer.send(b"".join(frames))
    await eventually(lambda: len(rig.sink.frames) == 4)
    assert rig.sink.frames == [(client, frame[:9]) for frame in frames]


async def test_a_frame_for_the_core_does_not_overtake_media(rig: StreamRig) -> None:
    """A Refresh that ends the allocation must find what was sent before it already sent on."""
    peer, _, connection = await joined(rig)
    hop = connection.channels[CHANNEL] = RecordingHop()
    seen: list[int] = []
    rig.sink.on_frame = lambda client, frame: seen.append(len(hop.payloads))
    await peer.send(channel_data(CHANNEL, b"1") * 3 + BINDING + channel_data(CHANNEL, b"1"))
    await eventually(lambda: len(hop.payloads) == 4)
    assert seen == [3]


async def test_one_byte_at_a_time(rig: StreamRig) -> None:
    """RFC 8656 §3.1: a stream may be chopped up in any way."""
    peer, _, connection = await joined(rig)
    hop = connection.channels[CHANNEL] = RecordingHop()
    for octet in BINDING + channel_data(CHANNEL, b"hello") + stun(0x0001, bytes(8)):
        await peer.send(bytes((octet,)))
        await asyncio.sleep(0)
    await eventually(lambda: len(rig.sink.frames) == 2)
    assert rig.sink.bodies == [BINDING, stun(0x0001, bytes(8))]
    assert hop.payloads == [b"hello"]


@pytest.mark.parametrize(
    "garbage",
    [
        b"\x80",
        b"\xff\xff\xff\xff",
        b"\x16\x03\x01",
        b"\x00\x01\x00\x01",
        b"\x00\x01\x00\x00\x21\x12\xa4\x43",
        b"\x00\x01\xff\xfc\x21\x12\xa4\x42",
        b"\x00\x01\xff\xf4",
        b"\x0a",
    ],
    ids=repr,
)
async def test_garbage_closes_at_the_first_impossible_byte(rig: StreamRig, garbage: bytes) -> None:
    """Rule 20 on a stream: there is no way to find the next frame. What came whole before it is used."""
    peer, client, _ = await joined(rig)
    await peer.send(BINDING + garbage)
    assert await peer.ended()
    await eventually(lambda: rig.sink.gone)
    assert rig.sink.bodies == [BINDING]
    assert rig.sink.gone == [client]
    assert rig.transport.counters.dropped == 1


async def test_garbage_in_pieces_closes_as_early(rig: StreamRig) -> None:
    """A header that announces much, and then a wrong cookie: nobody waits for the rest."""
    peer, client, _ = await joined(rig)
    await peer.send(BINDING + b"\x00\x01\xff\x00")
    await eventually(lambda: rig.sink.frames)
    await peer.send(b"\x21\x13")
    assert await peer.ended()
    await eventually(lambda: rig.sink.gone)
    assert rig.sink.gone == [client]
    assert rig.transport.counters.dropped == 1


async def test_the_longest_frame_is_taken(rig: StreamRig) -> None:
    """Rule 22: 64 KiB and 4 bytes, the padding included."""
    peer, _, connection = await joined(rig)
    hop = connection.channels[CHANNEL] = RecordingHop()
    await peer.send(channel_data(CHANNEL, b"x" * 65535))
    await eventually(lambda: hop.payloads)
    assert hop.payloads == [b"x" * 65535]


async def test_when_the_sink_closes_the_connection_nothing_more_is_read(rig: StreamRig) -> None:
    peer, client, connection = await joined(rig)
    hop = connection.channels[CHANNEL] = RecordingHop()
    rig.sink.on_frame = lambda client, frame: rig.transport.close_client(client)
    await peer.send(BINDING + channel_data(CHANNEL, b"late") + BINDING)
    assert await peer.ended()
    await eventually(lambda: rig.sink.gone)
    assert rig.sink.bodies == [BINDING]
    assert hop.payloads == []
    assert rig.sink.gone == [client]
    assert not connection.send(ANSWER)
    assert not connection.send_run([ANSWER])


class Host:
    """A transport, as far as a connection needs one that is only read from."""

    def __init__(self) -> None:
        self.sink = RecordingSink()
        self.packets_in = self.bytes_in = self.packets_out = self.bytes_out = 0
        self.dropped = 0
        self.send_queue = 1000
        self.idle_timeout = self.stall_timeout = 10.0

    def flush_soon(self, connection: StreamConnection) -> None:
        raise AssertionError

    def close_soon(self, connection: StreamConnection) -> None:
        raise AssertionError

    def count_dropped(self) -> None:
        self.dropped += 1


class Stream:
    """A stream that gives what it is told to give."""

    def __init__(self) -> None:
        self.data = b""
        self.closed = False

    def recv(self, size: int) -> bytes:
        return self.data

    def close(self) -> None:
        self.closed = True


frames = st.lists(
    st.binary(max_size=70).map(lambda payload: channel_data(CHANNEL, payload))
    | st.binary(max_size=70).map(lambda payload: channel_data(0x4100, payload))
    | st.integers(0, 5).map(lambda words: stun(0x0001, bytes(4 * words))),
    max_size=12,
)


@given(frames, st.lists(st.integers(1, 200), max_size=20), st.binary(max_size=6))
def test_however_it_is_chopped_up_the_frames_are_those_of_the_framer(
    sent: list[bytes], cuts: list[int], tail: bytes
) -> None:
    """`stun.framing.StreamFramer` is the definition; the connection reads the same frames in place."""
    host, stream, hop = Host(), Stream(), RecordingHop()
    client = FiveTuple(ClientTransport.TCP, Address.parse("192.0.2.1", 1), Address.parse("192.0.2.2", 2), 0, 1)
    connection = StreamConnection(host, stream, client, host, Clock())  # type: ignore[arg-type]
    connection.channels[CHANNEL] = hop
    data = b"".join(sent)
    expected = StreamFramer().feed(data)
    data += tail if tail[:1] < b"\x04" else b""
    at = 0
    for cut in [*cuts, len(data)]:
        stream.data = data[at : at + cut]
        at += cut
        if stream.data and not stream.closed:
            connection.read()
    straight = [frame[4:] for frame in expected if frame[:2] == b"\x40\x01"]
    assert hop.payloads == straight
    assert host.sink.bodies[: len(expected) - len(straight)] == [f for f in expected if f[:2] != b"\x40\x01"]
    if not tail:
        assert host.packets_in == len(expected)
        assert host.bytes_in == len(data)


# To the client


async def test_what_is_sent_in_one_turn_leaves_in_one_piece(rig: StreamRig, monkeypatch: pytest.MonkeyPatch) -> None:
    """One system call for all that a wake-up brought: that is most of what a stream costs."""
    peer, _, connection = await joined(rig)
    stream = connection.stream
    assert stream is not None
    pieces: list[int] = []
    send = type(stream).send

    def counted(self: object, data: bytes) -> int:
        pieces.append(len(data))
        return send(stream, data)

    monkeypatch.setattr(type(stream), "send", counted)
    assert connection.send(ANSWER)
    assert connection.send_run([channel_data(CHANNEL, b"12345678")] * 3)
    assert connection.send(ANSWER, 0xB8)
    total = 2 * len(ANSWER) + 3 * 12
    assert await peer.read(total) == ANSWER + channel_data(CHANNEL, b"12345678") * 3 + ANSWER
    assert pieces == [total]
    assert rig.transport.counters.packets_out == 5
    assert rig.transport.counters.bytes_out == total


async def test_what_is_lent_is_copied_before_it_waits(rig: StreamRig) -> None:
    """RFC 8656 §12.7: a packet stays where it was received for the time of the call only; the next overwrites it."""
    peer, _, connection = await joined(rig)
    wanted = [channel_data(CHANNEL, bytes([number]) * 8) for number in range(5)]
    place = bytearray(12)
    for data in wanted[:3]:
        place[:] = data
        assert connection.send(memoryview(place))
    places = [bytearray(data) for data in wanted[3:]]
    assert connection.send_run([memoryview(each) for each in places])
    for each in (place, *places):
        each[:] = bytes(12)
    assert await peer.read(60) == b"".join(wanted)


async def test_a_client_that_does_not_read_loses_the_newest_media(rig: StreamRig) -> None:
    """Rule 22: the queue is bounded; no frame is cut; what was queued first arrives first."""
    peer, _, connection = await joined(rig)
    taken = stuff(connection)
    assert connection.queued <= 10_000
    assert not connection.send(channel_data(CHANNEL, bytes(996)))
    assert not connection.send(DATA * 10)
    assert not connection.send_run([channel_data(CHANNEL, b"late")] * 300)
    assert rig.transport.counters.dropped >= 2
    data = await peer.read(taken * 1000)
    assert data == channel_data(CHANNEL, bytes(996)) * taken
    await eventually(lambda: connection.queued == 0)
    assert connection.send(ANSWER)
    assert await peer.read(len(ANSWER)) == ANSWER


async def test_answers_are_kept_when_media_is_dropped(rig: StreamRig) -> None:
    """A lost answer on a stream is never asked for again (RFC 8489 §6.2.2), so it must not be the one to go."""
    peer, _, connection = await joined(rig)
    taken = stuff(connection)
    assert connection.send(ANSWER)
    assert connection.send(stun(0x001C))
    assert not connection.send(DATA * 10)
    data = await peer.read(taken * 1000 + 2 * len(ANSWER))
    assert data[taken * 1000 :] == ANSWER + stun(0x001C)


async def test_a_client_that_asks_and_asks_and_never_reads_is_disconnected(rig: StreamRig) -> None:
    """Even answers have a bound."""
    _, client, connection = await joined(rig)
    stuff(connection)
    answer = stun(0x0101, bytes(1000))
    sent = 0
    while connection.send(answer):
        sent += 1
        assert connection.queued < 10_000 + 64 * 1024
    assert sent > 50
    await eventually(lambda: rig.sink.gone == [client])


async def test_empty_frames_fill_the_queue_too(rig: StreamRig) -> None:
    """What a frame costs in memory is counted, not only its bytes."""
    _, _, connection = await joined(rig)
    stuff(connection)
    connection.take_queue()
    taken = 0
    while connection.send(channel_data(CHANNEL, b"")):
        taken += 1
    assert taken < 10_000 / 48


async def test_a_client_that_takes_nothing_is_disconnected_in_the_end(rig: StreamRig) -> None:
    """`limits.stall_timeout`: thirty seconds in which not one byte could be sent."""
    _, client, connection = await joined(rig)
    connection.keep(True)
    stuff(connection)
    rig.pass_time(29)
    assert rig.transport.connections == 1
    rig.pass_time(2)
    await eventually(lambda: rig.sink.gone == [client])


async def test_a_slow_client_that_takes_something_stays(rig: StreamRig) -> None:
    peer, _, connection = await joined(rig)
    connection.keep(True)
    taken = stuff(connection)
    rig.pass_time(29)
    assert await peer.read(taken * 1000 // 2)
    await eventually(lambda: connection.queued < 9_000)
    rig.pass_time(29)
    assert rig.transport.connections == 1


async def test_a_client_that_goes_while_we_send_is_gone_once(rig: StreamRig) -> None:
    peer, client, connection = await joined(rig)
    peer.reset()
    for _ in range(3):
        connection.send(ANSWER)
        connection.flush()
    await eventually(lambda: rig.sink.gone)
    connection.flush()
    connection.read()
    assert rig.sink.gone == [client]
    assert rig.transport.path(client) is None


# The end


@pytest.mark.parametrize("encrypted", [False, True])
async def test_frames_that_have_arrived_count_when_a_write_fails_first(tmp_path: Path, encrypted: bool) -> None:
    """The last frames of a client (a Refresh with lifetime 0, media) are handled, and only then it is gone."""
    pair = issue(tmp_path)
    tls = CertificateSource([(pair.certificate, pair.key)]) if encrypted else None
    async with StreamRig(tls=tls) as rig:
        peer = await rig.connect()
        client = await TlsPeer(peer).handshake() if encrypted else peer
        connection = rig.transport.path(await rig.introduce(client))
        assert connection is not None
        hop = connection.channels[CHANNEL] = RecordingHop()
        frames = [channel_data(CHANNEL, bytes(1000)) for _ in range(30)]
        assert connection.stream is not None
        connection.stream.want_read(False)
        await client.send(b"".join(frames) + stun(0x0004, number=9))
        await received(connection.stream.fileno, 30_000)
        peer.reset()
        connection.stream.want_read(True)
        for _ in range(3):
            connection.send(ANSWER)
            connection.flush()
        assert rig.sink.gone == []
        assert not connection.send(ANSWER), "nothing is queued for who cannot be reached"
        await eventually(lambda: rig.sink.gone)
        assert len(hop.payloads) == 30
        assert rig.sink.bodies[-1] == stun(0x0004, number=9)
        assert rig.sink.faults == []


# A pause


@pytest.mark.parametrize("split", [1, 2, 5, 1030, 1050])
async def test_media_that_waited_in_a_stream_is_dropped_and_requests_are_not(rig: StreamRig, split: int) -> None:
    """Wherever a frame has been cut by the read before; what comes after the stream was empty is media again."""
    peer, _, connection = await joined(rig)
    assert connection.stream is not None
    hop = connection.channels[CHANNEL] = RecordingHop()
    data = channel_data(CHANNEL, bytes(1023)) + stun(0x0016, bytes(8)) + stun(0x0004) + channel_data(CHANNEL, b"old")
    await peer.send(data[:split])
    await eventually(lambda: len(connection._partial) == split or rig.sink.frames or hop.payloads)
    seen = len(hop.payloads)
    connection.stream.want_read(False)
    await peer.send(data[split:])
    await received(connection.stream.fileno, len(data) - split)
    rig.transport.paused(True)
    connection.stream.want_read(True)
    await eventually(lambda: rig.sink.frames)
    assert rig.sink.bodies == [stun(0x0004)]
    await peer.send(channel_data(CHANNEL, b"new"))
    await eventually(lambda: hop.payloads[-1:] == [b"new"])
    assert hop.payloads[seen:] == [b"new"]
    assert rig.transport.counters.dropped == 3 - seen
    rig.transport.paused(True)
    rig.transport.paused(False)
    await peer.send(channel_data(CHANNEL, b"newer"))
    await eventually(lambda: hop.payloads[-1:] == [b"newer"])
    peer.finish()
    await eventually(lambda: rig.sink.gone)
    rig.transport.paused(True)
