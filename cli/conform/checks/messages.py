"""Malformed messages and other protocols: RFC 8489 §5, §6.3, RFC 7983 §7."""

import secrets

from cli.conform.bench import Bench
from cli.conform.client import KitClient
from cli.conform.findings import Wrong
from cli.conform.judge import needed, no_answer
from cli.conform.registry import check
from cli.conform.wire import FINGERPRINT_SEAL, Draft
from stun.attributes import SOFTWARE
from stun.constants import HEADER_LENGTH, Method

__all__: list[str] = []


async def _silence(bench: Bench, data: bytes) -> None:
    no_answer(await (await bench.client()).reaction(data))


def _request() -> bytes:
    return Draft(Method.BINDING).add(SOFTWARE, "meshturn conform").encode()


@check("malformed-cookie", login=False, only="stream")
async def cookie(bench: Bench) -> None:
    await _silence(bench, Draft(Method.BINDING, cookie=0x12345678).encode())


@check("malformed-top-bits", login=False, only="udp")
async def top_bits(bench: Bench) -> None:
    data = _request()
    await _silence(bench, bytes((data[0] | 0x80,)) + data[1:])


@check("malformed-length-odd", login=False)
async def length_odd(bench: Bench) -> None:
    data = _request()
    await _silence(bench, data[:2] + (len(data) - HEADER_LENGTH - 1).to_bytes(2, "big") + data[4:])


@check("malformed-length-short", login=False, only="udp")
async def length_short(bench: Bench) -> None:
    data = _request()
    await _silence(bench, data[:2] + bytes(2) + data[4:])


@check("malformed-length-long", login=False, only="udp")
async def length_long(bench: Bench) -> None:
    data = _request()
    await _silence(bench, data[:2] + (len(data) - HEADER_LENGTH + 4).to_bytes(2, "big") + data[4:])


@check("malformed-attribute-long", login=False)
async def attribute_long(bench: Bench) -> None:
    data = bytearray(_request())
    data[HEADER_LENGTH + 2 : HEADER_LENGTH + 4] = (200).to_bytes(2, "big")
    reply = await (await bench.client()).reaction(bytes(data))
    if reply is not None and reply.success:
        raise Wrong("A request whose attribute ends behind the message got a success response.")


@check("malformed-header-cut", login=False, only="udp")
async def header_cut(bench: Bench) -> None:
    tester = await bench.client()
    tester.send(_request()[:19])
    await _still_there(tester)


@check("malformed-empty", login=False, only="udp")
async def empty(bench: Bench) -> None:
    tester = await bench.client()
    tester.send(b"")
    await _still_there(tester)


@check("fingerprint-then-more", login=False)
async def fingerprint_then_more(bench: Bench) -> None:
    draft = Draft(Method.BINDING).append(FINGERPRINT_SEAL).add(SOFTWARE, "behind")
    reply = await (await bench.client()).reaction(draft.encode())
    if reply is not None and reply.success:
        raise Wrong("A request with an attribute behind FINGERPRINT got a success response.")


@check("demultiplex-others", login=False, only="udp")
async def others(bench: Bench) -> None:
    """RFC 7983: DTLS, RTP and the rest are not STUN; nothing is answered to them but by a server of DTLS."""
    tester = await bench.client()
    for first in (4, 15, 64, 79, 128, 191, 192, 255):
        tester.send(bytes((first, 0)) + secrets.token_bytes(30))
    needed(await tester.settled(), "The server is gone.")
    frame = tester.pipe.waiting()
    if frame is not None:
        raise Wrong(f"A datagram of another protocol was answered with {len(frame)} bytes.")


@check("garbage", login=False)
async def garbage(bench: Bench) -> None:
    """Twenty messages with random attributes leave the server answering; on streams each has a connection."""
    for _ in range(3 if bench.reliable else 1):
        tester = await bench.client()
        for _ in range(1 if bench.reliable else 20):
            draft = Draft(Method.ALLOCATE)
            for _ in range(3):
                draft.append((secrets.randbelow(0x40), secrets.token_bytes(secrets.randbelow(24))))
            tester.send(draft.encode())
        await tester.settled()
    await _still_there(await bench.client())


@check("largest-request", login=False)
async def largest(bench: Bench) -> None:
    draft = Draft(Method.BINDING).append((0xBFFE, bytes(1180)))
    if await (await bench.client()).attempt(draft) is None:
        raise Wrong("A Binding request of 1204 bytes was not answered.")


async def _still_there(tester: KitClient) -> None:
    if await tester.attempt(Draft(Method.BINDING)) is None:
        raise Wrong("After it, the server answers nothing to this client.")
