"""Data connections of TCP relays, against servers of a few lines; real ones: `tests/interop/test_turnclient.py`."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from stun.address import Address
from stun.attributes import CONNECTION_ID
from stun.client.errors import ErrorResponse, NoAnswer, ServerUnreachable
from stun.client.requests import RequestOptions
from stun.constants import Method
from stun.message import Message
from tests.support.client_world import LOGIN, Script
from tests.support.handler_server import Handler, serving
from turnserver.turnclient.peers import PeerStreams

TIMEOUT = 90.0


@asynccontextmanager
async def streams_to(handler: Handler, options: RequestOptions | None = None) -> AsyncIterator[PeerStreams]:
    async with serving(handler) as address:
        yield PeerStreams("127.0.0.1", address, None, login=LOGIN, patience=TIMEOUT, options=options)


async def request_of(reader: asyncio.StreamReader) -> Message:
    header = await reader.readexactly(20)
    return Message.decode(header + await reader.readexactly(int.from_bytes(header[2:4], "big")))


async def test_the_stream_begins_behind_the_answer() -> None:
    """RFC 6062 §4.3: challenged and answered; not a byte of the peer's is lost or taken for a frame."""
    script, asked = Script(), []

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await request_of(reader))
        writer.write(script.challenge(asked[0]))
        asked.append(await request_of(reader))
        writer.write(script.success(asked[1]) + b"SSH-2.0 of the peer")
        writer.write(await reader.readexactly(5))

    async with streams_to(handler) as streams:
        stream = await streams.bind(7, None)
        stream.writer.write(b"hello")
        assert await stream.reader.read(100) == b"SSH-2.0 of the peer"
        assert await stream.reader.readexactly(5) == b"hello"
        stream.writer.close()
    assert [each.method for each in asked] == [Method.CONNECTION_BIND] * 2
    assert asked[1].first(CONNECTION_ID) == 7


async def test_a_refusal_is_an_error() -> None:
    """RFC 6062 §5.4: 400 where there is no such connection any more."""
    script = Script()

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(script.challenge(await request_of(reader)))
        writer.write(script.error(await request_of(reader), 400))
        await reader.read()

    async with streams_to(handler) as streams:
        with pytest.raises(ErrorResponse, match="400"):
            await streams.bind(7, None)


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (b"", "closed the data connection"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "not a STUN message"),
        (b"\x01\x0b\xff\xfc" + bytes(16), "not a STUN message"),
        (b"\x01\x0b\0\0" + bytes(16), "not a STUN message"),
        (b"\x01", "closed the data connection"),
    ],
)
async def test_what_is_no_answer(said: bytes, words: str) -> None:
    """Rule 22: nor is a length waited for that no answer has."""

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request_of(reader)
        writer.write(said)

    async with streams_to(handler) as streams:
        with pytest.raises(ServerUnreachable, match=words):
            await streams.bind(7, None)


async def test_silence_ends() -> None:
    """RFC 8489 §6.2.2."""

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async with streams_to(handler, RequestOptions(ti=0.05)) as streams:
        with pytest.raises(NoAnswer):
            await streams.bind(7, None)


async def test_nobody_takes_the_connection() -> None:
    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None: ...

    async with streams_to(handler) as streams:
        pass
    with pytest.raises(ServerUnreachable, match="Nothing listens there"):
        await streams.bind(7, None)


async def test_a_connection_that_does_not_come(monkeypatch: pytest.MonkeyPatch) -> None:
    async def never(*_: object) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(asyncio.get_running_loop(), "sock_connect", never)
    streams = PeerStreams("127.0.0.1", Address.parse("127.0.0.1", 9), None, login=LOGIN, patience=0.01)
    with pytest.raises(ServerUnreachable, match=r"No second connection to 127\.0\.0\.1:9 within 0\.01 s"):
        await streams.bind(7, None)
