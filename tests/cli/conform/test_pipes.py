"""Connections frame by frame, against sockets of the test."""

import asyncio
import socket

from cli.conform.pipes import TRANSPORTS, StreamPipe
from cli.conform.wire import Draft
from stun.constants import MessageClass, Method
from tests.support.conformance import server_at

LIMIT = 20.0


async def test_datagrams_also_empty_ones() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        server.setblocking(False)
        pipe = await TRANSPORTS["udp"](server_at("udp", *server.getsockname()))
        try:
            loop = asyncio.get_running_loop()
            for data in (b"", b"abc"):
                pipe.send(data)
                found, source = await asyncio.wait_for(loop.sock_recvfrom(server, 100), LIMIT)
                assert (found, source[1]) == (data, pipe.local.port)
                server.sendto(data, source)
                assert await pipe.frame(LIMIT) == data
            assert pipe.waiting() is None
        finally:
            await pipe.close()


async def served(*pieces: bytes) -> StreamPipe:
    """A stream whose other end has sent these bytes and closed."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    pipe = await TRANSPORTS["tcp"](server_at("tcp", *server.sockets[0].getsockname()))
    assert isinstance(pipe, StreamPipe)
    server.close()
    return pipe


async def test_frames_of_a_stream_and_its_end() -> None:
    first, second = Draft(Method.BINDING).encode(), b"\x40\x00\0\x01a\0\0\0"
    pipe = await served(first[:7], first[7:] + second)
    assert await pipe.frame(LIMIT) == first
    assert await pipe.frame(LIMIT) == b"\x40\x00\0\x01a"
    assert await pipe.frame(LIMIT) is None
    assert pipe.ended == "it closed the connection"
    await pipe.close()


async def test_what_is_no_frame_ends_it() -> None:
    pipe = await served(b"\xff\xff nothing of ours")
    assert await pipe.frame(LIMIT) is None
    assert "neither STUN nor ChannelData" in pipe.ended
    await pipe.close()


async def test_bytes_behind_an_answer() -> None:
    """RFC 6062 §4.3: what stands behind the answer to ConnectionBind is the peer's."""
    pipe: StreamPipe
    answer = Draft(Method.CONNECTION_BIND, MessageClass.SUCCESS)
    go = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await go.wait()
        writer.write(answer.encode() + b"raw \xff")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    opened = await TRANSPORTS["tcp"](server_at("tcp", *server.sockets[0].getsockname()))
    assert isinstance(opened, StreamPipe)
    pipe = opened
    pipe.raw_after(answer.transaction_id)
    go.set()
    assert await pipe.frame(LIMIT) == answer.encode()
    assert await pipe.frame(LIMIT) == b"raw \xff"
    await pipe.close()
    server.close()
