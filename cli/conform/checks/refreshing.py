"""Refresh, and whose allocation it is: RFC 8656 §5, §8.2."""

from cli.conform.bench import Bench
from cli.conform.client import KitClient
from cli.conform.findings import Wrong
from cli.conform.judge import error, needed, present, succeeded
from cli.conform.registry import check
from cli.conform.wire import SeenMessage
from stun.attributes import LIFETIME, XOR_PEER_ADDRESS
from stun.constants import Method

__all__: list[str] = []


async def _refresh(tester: KitClient, lifetime: int | None) -> SeenMessage:
    return await tester.request(Method.REFRESH, *(() if lifetime is None else ((LIFETIME, lifetime),)))


async def _granted(bench: Bench, lifetime: int | None) -> int:
    reply = await _refresh(await bench.relay(), lifetime)
    needed(reply.success and reply.value(LIFETIME) is not None, "Refresh was refused, or told no LIFETIME.")
    return reply.value(LIFETIME) or 0


@check("refresh-success", modes=True)
async def success(bench: Bench) -> None:
    succeeded(await _refresh(await bench.relay(), 600))


@check("refresh-lifetime-told")
async def told(bench: Bench) -> None:
    reply = await _refresh(await bench.relay(), 600)
    needed(reply.success, "Refresh was refused.")
    present(reply, LIFETIME)


@check("refresh-lifetime-default")
async def default(bench: Bench) -> None:
    lifetime = await _granted(bench, None)
    if lifetime < 600:
        raise Wrong(f"A Refresh without LIFETIME granted {lifetime} s; the default is 600 s.")


@check("refresh-lifetime-short")
async def short(bench: Bench) -> None:
    lifetime = await _granted(bench, 60)
    if lifetime < 600:
        raise Wrong(f"60 s were asked for and {lifetime} s granted; less than the default is not granted.")


@check("refresh-lifetime-long")
async def long(bench: Bench) -> None:
    lifetime = await _granted(bench, 0xFFFFFFFF)
    if lifetime > 86400:
        raise Wrong(f"A lifetime of {lifetime} s was granted; there has to be a maximum.")


@check("refresh-zero")
async def zero(bench: Bench) -> None:
    reply = succeeded(await _refresh(await bench.relay(), 0))
    lifetime = reply.value(LIFETIME)
    if lifetime:
        raise Wrong(f"A Refresh with 0 was answered with a lifetime of {lifetime} s.")


@check("refresh-zero-told")
async def zero_told(bench: Bench) -> None:
    reply = await _refresh(await bench.relay(), 0)
    needed(reply.success, "Refresh was refused.")
    present(reply, LIFETIME)


@check("refresh-zero-deletes")
async def zero_deletes(bench: Bench) -> None:
    tester = await bench.relay()
    needed((await _refresh(tester, 0)).success, "Refresh was refused.")
    reply = await _refresh(tester, 600)
    if reply.success:
        raise Wrong("A Refresh with 0 left the allocation alive.")


@check("refresh-zero-repeated")
async def zero_repeated(bench: Bench) -> None:
    """The answer may have been lost: the same request again is no error."""
    tester = await bench.relay()
    data = (await tester.draft(Method.REFRESH, (LIFETIME, 0))).encode()
    needed((await tester.ask(data)).success, "Refresh was refused.")
    reply = await tester.ask(data)
    if not reply.success:
        error(reply, 437)


@check("refresh-mismatch")
async def mismatch(bench: Bench) -> None:
    error(await _refresh(await bench.client(), 600), 437)


@check("refresh-mismatch-zero")
async def mismatch_zero(bench: Bench) -> None:
    error(await _refresh(await bench.client(), 0), 437)


@check("refresh-malformed")
async def malformed(bench: Bench) -> None:
    tester = await bench.relay()
    reply = await tester.request(Method.REFRESH, extra=((LIFETIME.number, b"\x01"),))
    error(reply, 400)


@check("refresh-keeps-relay")
async def keeps_relay(bench: Bench) -> None:
    tester = await bench.relay()
    needed((await _refresh(tester, 600)).success, "Refresh was refused.")
    peer = await bench.udp_peer(tester)
    await tester.permit(peer.address)
    if not await bench.to_client(peer, tester, b"meshturn conform, after a Refresh"):
        raise Wrong("After a Refresh, datagrams of a peer do not reach the client.")


@check("five-tuple-apart")
async def apart(bench: Bench) -> None:
    """Another socket of the same user has nothing of the first one's allocation."""
    await bench.relay()
    other = await bench.client()
    error(await _refresh(other, 600), 437)


@check("permission-mismatch")
async def permission_mismatch(bench: Bench) -> None:
    tester = await bench.client()
    peer = bench.target.address
    error(await tester.request(Method.CREATE_PERMISSION, (XOR_PEER_ADDRESS, peer)), 437)
