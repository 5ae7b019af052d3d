"""Signaling under attack: bounded memory, a clear error for whoever did it, and nothing for anybody else to notice."""

import asyncio
import contextlib
import json
import os
import random
import struct
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import jwt
import pytest

from tests.support.process import resident_bytes
from tests.support.server import SHARED_SECRET, TurnServerProcess, free_port, loopback_config
from tests.support.signal_wire import PROTOCOL, Closed, Participant, signaling_listeners

MEBIBYTE = 2**20
KEY = "a key for room tokens, long enough"
SDP = "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\n"


def start(directory: Path, **signaling: Any) -> TurnServerProcess:
    config = loopback_config(
        listeners=signaling_listeners(free_port()),
        signaling={"open": True, "sockets_per_address": 5000, **signaling},
        limits={"connections_per_address": 5000},
        log={"level": "debug"},
    )
    return TurnServerProcess(config, directory)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TurnServerProcess]:
    """One server for the module, whose limits per address are out of the way."""
    with start(tmp_path_factory.mktemp("server")) as running:
        yield running


def url(server: TurnServerProcess) -> str:
    return f"ws://127.0.0.1:{server.port}/v1/ws"


@asynccontextmanager
async def bystanders(server: TurnServerProcess) -> AsyncIterator[tuple[Participant, Participant]]:
    """Two people in a room of their own, whose messages come through before, and after, whatever happens meanwhile."""
    room = f"quiet-{random.getrandbits(40)}"
    async with Participant(url(server), source="127.0.0.9") as ann, Participant(url(server), source="127.0.0.9") as bob:
        await ann.join(room, "Ann")
        await bob.join(room, "Bob")
        await assert_talking(ann, bob)
        yield ann, bob
        await assert_talking(ann, bob)


async def assert_talking(ann: Participant, bob: Participant) -> None:
    """A message each way, in time."""
    text = f"{random.getrandbits(64)}"
    for one, other in ((ann, bob), (bob, ann)):
        await one.send(t="msg", data={"text": text})
        found = await other.until(lambda frame: frame["t"] == "msg" and frame["data"] == {"text": text})
        assert found["from"] == one.id


def hostile_frames(seed: int) -> Iterator[str]:
    """JSON that is nearly right, JSON that is not, and no JSON."""
    pick = random.Random(seed)
    good = [
        {"t": "hello", "id": "1", "v": 1},
        {"t": "join", "id": "2", "room": "x", "name": "n"},
        {"t": "desc", "n": 1, "to": "aaaaaaaaaa", "pc": "12345678", "desc": {"type": "offer", "sdp": SDP}},
        {"t": "cand", "n": 1, "to": "aaaaaaaaaa", "pc": "12345678", "list": [None]},
        {"t": "ping", "ts": 1, "ack": 0},
        {"t": "mod", "id": "3", "n": 1, "op": "kick", "to": "aaaaaaaaaa"},
        {"t": "msg", "n": 2, "data": {}},
        {"t": "update", "n": 1, "media": {"a": 1}},
        {"t": "diag", "id": "4", "to": "aaaaaaaaaa", "states": [], "cands": {}, "errors": []},
    ]
    strange: list[Any] = [
        None, True, -1, 0, 2**63, 1e308, -0.0, "", "x" * 5000, "\x00", "\ud800", "\u202e", [], {}, [[]], {"t": "t"},
        [None] * 2000, "__proto__", "../../etc/passwd", "<script>", "\r\nlevel=error",
    ]  # fmt: skip
    while True:
        frame = dict(pick.choice(good))
        for _ in range(pick.randrange(1, 4)):
            frame[pick.choice([*frame, "seq", "from", "ack", "resume", "token"])] = pick.choice(strange)
        text = json.dumps(frame)
        yield text
        at = pick.randrange(len(text))
        yield text[:at]
        yield text[:at] + pick.choice(['"', "{", "\x7f", "NaN", "[" * 500, "1" * 5000]) + text[at:]
    yield ""


async def test_fuzzed_frames(server: TurnServerProcess) -> None:
    """§1: what is wrong gets an error with a code, five of them end the connection with 4400, and that is all."""
    frames = hostile_frames(20261122)
    ends: list[int | None] = []
    codes: set[str] = set()
    async with bystanders(server):
        for _ in range(60):
            async with Participant(url(server)) as fuzzer:
                with contextlib.suppress(ConnectionError):
                    for _ in range(12):
                        await fuzzer.socket.send_str(next(frames))
                    for _ in range(5):
                        await fuzzer.socket.send_str("{")
                ends.append((await fuzzer.closed()).code)
                codes |= {frame["code"] for frame in fuzzer.kept if frame["t"] == "error"}
    assert set(ends) <= {4400, 4401, 4426}
    assert 4400 in ends
    assert {"bad_json", "bad_message"} <= codes
    assert "internal" not in codes
    assert "Traceback" not in server.log


async def test_binary_frames(server: TurnServerProcess) -> None:
    """The protocol is text: each binary frame is a bad one."""
    async with bystanders(server), Participant(url(server)) as client:
        await client.hello()
        for _ in range(5):
            await client.socket.send_bytes(os.urandom(100))
        assert (await client.closed()).code == 4400
        assert next(frame["code"] for frame in client.kept if frame["t"] == "error") == "bad_message"


async def test_oversize(server: TurnServerProcess) -> None:
    """Frames over 64 KiB and SDP over 56 KiB are refused with a word; what nobody should send is not even read."""
    async with bystanders(server), Participant(url(server)) as big, Participant(url(server)) as other:
        await big.join("sizes")
        await other.join("sizes")
        await big.socket.send_str(json.dumps({"t": "msg", "n": 1, "data": "x" * 70_000}))
        assert (await big.until("error"))["code"] == "too_large"
        offer = {"type": "offer", "sdp": SDP + "a=" + "x" * 60_000}
        answer = await big.request(t="desc", to=other.id, pc="12345678", desc=offer)
        assert answer["code"] in {"too_large", "bad_message"}
        await big.send(t="msg", data={"still": "here"})
        assert (await other.until("msg"))["data"] == {"still": "here"}
        with contextlib.suppress(ConnectionError):
            await big.socket.send_str("x" * MEBIBYTE)
        assert (await big.closed()).code == 1009
        assert not [frame for frame in other.kept if frame["t"] == "desc"]


async def test_a_flood_of_frames(server: TurnServerProcess) -> None:
    """30 messages a second, 120 at once: beyond it there is `rate_limited` with a time, and nobody else is slower."""
    async with bystanders(server) as (ann, bob), Participant(url(server)) as flooder:
        await flooder.join("flood")
        before = resident_bytes(server)
        for number in range(3000):
            await flooder.send(t="msg", data=number)
        await assert_talking(ann, bob)
        error = await flooder.until("error")
        assert error["code"] == "rate_limited"
        assert error["retry"] > 0
        assert resident_bytes(server) - before < 20 * MEBIBYTE
        await flooder.send(t="bye")


async def test_a_forged_sender(server: TurnServerProcess) -> None:
    """`from` is set by the server, whatever a client writes there."""
    async with AsyncExitStack() as stack:
        ann, bob, eve = [await stack.enter_async_context(Participant(url(server))) for _ in range(3)]
        for each in (ann, bob, eve):
            await each.join("forgery")
        await eve.send(t="msg", to=bob.id, data="hello", **{"from": ann.id})
        assert (await bob.until("msg"))["from"] == eve.id
        offer = {"type": "offer", "sdp": SDP}
        await eve.send(t="desc", to=bob.id, pc="12345678", desc=offer, **{"from": ann.id})
        found = await bob.until("desc")
        assert (found["from"], found["desc"]) == (eve.id, offer)


async def test_across_rooms(server: TurnServerProcess) -> None:
    """Nobody is reached from another room, and nobody learns that the id is one."""
    async with Participant(url(server)) as eve, bystanders(server) as (ann, bob):
        await eve.join("elsewhere")
        candidates = {"pc": "12345678", "list": [None]}
        for target in (ann.id, "aaaaaaaaaa", eve.id[::-1]):
            answers = [
                await eve.request(t="desc", to=target, pc="12345678", desc={"type": "offer", "sdp": SDP}),
                await eve.request(t="cand", to=target, **candidates),
                await eve.request(t="msg", to=target, data=1),
                await eve.request(t="reset", to=target, pc="12345678", why="x"),
                await eve.request(t="restart", to=target, why="user"),
            ]
            assert {answer["code"] for answer in answers} == {"no_such_peer"}
        await assert_talking(ann, bob)
        assert not [frame for frame in [*ann.kept, *bob.kept] if frame.get("from") == eve.id]


def token(**claims: Any) -> str:
    base = {"aud": "meshturn", "room": "vault", "role": "member", "exp": int(time.time()) + 600}
    return jwt.encode({**base, **claims}, KEY, "HS256")


async def test_tokens(tmp_path: Path) -> None:
    """Replayed, expired, early, for another room, signed by another, unsigned, none: none gets in, each learns why."""
    none = jwt.encode({"aud": "meshturn", "room": "vault", "exp": int(time.time()) + 600}, "", "none")
    with start(tmp_path, open=False, key=KEY) as server:
        once = token(once=True, jti="one")
        async with Participant(url(server)) as first:
            assert (await first.hello(once))["t"] == "hello_ok"
            assert (await first.join("vault"))["t"] == "joined"
            for replayed in (once, token(exp=1), token(nbf=time.time() + 900), jwt.encode({}, "x" * 32), none, "x.y.z"):
                async with Participant(url(server), source="127.0.0.3") as thief:
                    answer = await thief.hello(replayed)
                    assert answer["code"] in {"bad_token", "token_expired", "token_not_yet"}, answer
                    assert (await thief.closed()).code == 4401
            async with Participant(url(server), source="127.0.0.4") as nobody:
                assert (await nobody.hello())["code"] == "auth_required"
                assert (await nobody.closed()).code == 4401
            async with Participant(url(server), source="127.0.0.4") as other:
                await other.hello(token())
                assert (await other.join("another"))["code"] == "forbidden"
            assert (await first.request(t="peek", room="vault"))["count"] == 1
        assert once not in server.log
        assert KEY not in server.log
        assert SHARED_SECRET not in server.log


async def test_guessing_tokens(tmp_path: Path) -> None:
    """Ten wrong ones from one address, and it is not listened to any more; from elsewhere a right one is as good."""
    with start(tmp_path, open=False, key=KEY) as server:
        codes = []
        for guess in range(12):
            try:
                async with Participant(url(server), source="127.0.0.3") as guesser:
                    answer = await guesser.hello(f"x.y.{guess}")
                    codes.append(answer["code"])
            except (Closed, aiohttp.WSServerHandshakeError):
                codes.append("closed")
        assert codes[:10] == ["bad_token"] * 10
        assert "bad_token" not in codes[10:]
        async with Participant(url(server), source="127.0.0.4") as guest:
            assert (await guest.hello(token()))["t"] == "hello_ok"


async def test_200_sockets_from_one_address(tmp_path: Path) -> None:
    """Twenty stay, the others are told why they cannot, and the next address is served as if nothing had happened."""
    with start(tmp_path, sockets_per_address=20) as server:
        async with bystanders(server), AsyncExitStack() as stack:
            before = resident_bytes(server)
            sockets = [await stack.enter_async_context(Participant(url(server))) for _ in range(200)]
            welcomed = 0
            for socket in sockets:
                first = await socket.receive()
                if first["t"] == "welcome":
                    welcomed += 1
                    continue
                assert first["code"] == "rate_limited", first
                assert (await socket.closed()).code == 4429
            assert welcomed == 20
            assert resident_bytes(server) - before < 30 * MEBIBYTE


async def test_one_that_never_reads(server: TurnServerProcess) -> None:
    """Its queue has an end: it is cut off, may come back for its session, and the others do not wait for it."""
    async with AsyncExitStack() as stack:
        ann, bob, sleeper = [await stack.enter_async_context(Participant(url(server))) for _ in range(3)]
        for each in (ann, bob, sleeper):
            await each.join("sleepers")
        assert sleeper.socket._response.connection is not None
        transport = sleeper.socket._response.connection.transport
        assert isinstance(transport, asyncio.Transport)
        transport.pause_reading()
        before = resident_bytes(server)
        offer = {"type": "offer", "sdp": SDP + "a=" + "x" * 50_000}
        sent = 0
        gap = None
        async with asyncio.timeout(60):
            while gap is None:
                for each in (ann, bob):
                    await each.send(t="desc", to=sleeper.id, pc="12345678", desc=offer)
                    sent += 1
                await assert_talking(ann, bob)
                gap = next((frame for frame in ann.kept if frame["t"] == "peer_gap"), None)
                ann.kept[:] = [frame for frame in ann.kept if frame["t"] != "error"]
        assert gap["id"] == sleeper.id
        assert resident_bytes(server) - before < 20 * MEBIBYTE
        await assert_talking(ann, bob)


async def raw(server: TurnServerProcess, **headers: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A connection on which the handshake has been sent and answered by hand."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    wanted = {
        "Host": f"127.0.0.1:{server.port}",
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "A" * 22 + "==",
        "Sec-WebSocket-Protocol": PROTOCOL,
        **{name.replace("_", "-"): value for name, value in headers.items()},
    }
    head = "".join(f"{name}: {value}\r\n" for name, value in wanted.items())
    writer.write(f"GET /v1/ws HTTP/1.1\r\n{head}\r\n".encode())
    return reader, writer


def masked(first: int, payload: bytes = b"") -> bytes:
    """One frame of a client, masked with zeroes."""
    assert len(payload) < 65536
    size = bytes([0x80 | len(payload)]) if len(payload) < 126 else b"\xfe" + struct.pack("!H", len(payload))
    return bytes([first]) + size + bytes(4) + payload


async def close_code(reader: asyncio.StreamReader) -> int:
    """The code of the Close frame that ends what the server sends."""
    async with asyncio.timeout(90):
        while True:
            first, size = await reader.readexactly(2)
            length = size if size < 126 else struct.unpack("!H", await reader.readexactly(2))[0]
            payload = await reader.readexactly(length)
            if first == 0x88:
                return int(struct.unpack("!H", payload[:2])[0])


async def test_a_deflate_bomb(server: TurnServerProcess) -> None:
    """RFC 7692: compression is not agreed to, and a frame that is compressed all the same is a protocol error."""
    offer = "permessage-deflate; client_max_window_bits"
    async with bystanders(server):
        reader, writer = await raw(server, Sec_WebSocket_Extensions=offer)
        head = await reader.readuntil(b"\r\n\r\n")
        assert b" 101 " in head
        assert b"extensions" not in head.lower()
        writer.write(masked(0xC1, b"\x00" * 1000))
        assert await close_code(reader) == 1002
        writer.close()


async def test_a_flood_of_pings(server: TurnServerProcess) -> None:
    """Pings and empty fragments cost something too: too many end the connection, also of one that never reads."""
    async with bystanders(server) as (ann, bob):
        reader, writer = await raw(server)
        await reader.readuntil(b"\r\n\r\n")
        writer.write(masked(0x89) * 500)
        assert await close_code(reader) == 4429
        writer.close()
        before = resident_bytes(server)
        _, deaf = await raw(server)
        transport = deaf.transport
        transport.pause_reading()
        with contextlib.suppress(ConnectionError):
            for _ in range(50):
                deaf.write(masked(0x89, b"x" * 125) * 1000)
                await asyncio.sleep(0)
        await assert_talking(ann, bob)
        assert resident_bytes(server) - before < 20 * MEBIBYTE
        transport.abort()


async def test_a_flood_from_a_stranger_that_never_reads(server: TurnServerProcess) -> None:
    """Answers do not pile up before there is a session, either: what is not read of a flood costs nothing."""
    async with bystanders(server) as (ann, bob):
        before = resident_bytes(server)
        _, deaf = await raw(server)
        transport = deaf.transport
        transport.pause_reading()
        deaf.write(masked(0x81, b'{"t":"ping","ts":1}') * 100_000)
        for _ in range(20):
            await assert_talking(ann, bob)
        assert resident_bytes(server) - before < 10 * MEBIBYTE
        transport.abort()


async def test_fragments_that_do_not_end(server: TurnServerProcess) -> None:
    """RFC 6455 §5.4: a message in pieces is held to the same size as one in one."""
    async with bystanders(server):
        reader, writer = await raw(server)
        await reader.readuntil(b"\r\n\r\n")
        before = resident_bytes(server)
        writer.write(masked(0x01, b"x"))
        with contextlib.suppress(ConnectionError):
            for _ in range(64):
                writer.write(masked(0x00, b"x" * 65_000))
                await writer.drain()
            await reader.read()
        assert resident_bytes(server) - before < 20 * MEBIBYTE
        writer.close()


async def test_heads_that_do_not_end(server: TurnServerProcess) -> None:
    """Two hundred requests that never become one: the next is served at once."""
    async with bystanders(server), AsyncExitStack() as stack:
        for _ in range(200):
            _, writer = await asyncio.open_connection("127.0.0.1", server.port)
            stack.callback(writer.close)
            writer.write(b"GET /v1/ws HTTP/1.1\r\nHost: x\r\nX-Slow: ")
        async with Participant(url(server)) as late:
            assert (await late.join("late"))["t"] == "joined"


@pytest.mark.parametrize(
    ("options", "status"),
    [
        ({"headers": {"Origin": "https://evil.example"}}, 403),
        ({"headers": {"Origin": "null"}}, 403),
        ({"protocols": ("graphql-ws",)}, 400),
        ({"protocols": ()}, 400),
    ],
)
async def test_handshakes_that_are_refused(server: TurnServerProcess, options: dict[str, Any], status: int) -> None:
    """A page of another origin, and a program that speaks something else, are told at the door."""
    with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
        async with Participant(url(server), **options):
            pass
    assert caught.value.status == status


async def test_hostile_text_in_the_log(server: TurnServerProcess) -> None:
    """A name with a line break, a colour and an arrow that turns text round leaves one plain line."""
    name = "x\r\n2026 error forged \x1b[31m\u202e"
    async with Participant(url(server)) as client:
        answer = await client.join("logs", name)
        assert answer["t"] in {"joined", "error"}
        await client.send(t="bye")
        await client.closed()
    assert "\x1b" not in server.log
    assert "\u202e" not in server.log
    assert not [line for line in server.log.splitlines() if line.startswith("2026 error forged")]
