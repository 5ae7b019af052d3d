"""Mobility: RFC 8016 §3. A server may not have it; then it ignores the attribute, or answers 405."""

import secrets

from cli.conform.bench import Bench
from cli.conform.client import KitClient
from cli.conform.findings import Wrong
from cli.conform.judge import affordable, error, needed, present, succeeded
from cli.conform.registry import check
from cli.conform.wire import SeenMessage
from stun.attributes import LIFETIME, MOBILITY_TICKET, REQUESTED_TRANSPORT
from stun.constants import Method, TransportProtocol

__all__: list[str] = []

_UDP = (REQUESTED_TRANSPORT, int(TransportProtocol.UDP))


async def _asked(bench: Bench, ticket: bytes = b"") -> tuple[KitClient, SeenMessage]:
    tester = await bench.client()
    reply = await tester.request(Method.ALLOCATE, _UDP, (MOBILITY_TICKET, ticket))
    tester.took(reply)
    return tester, reply


async def _mobile(bench: Bench) -> tuple[KitClient, bytes]:
    """An allocation with a ticket."""
    tester, reply = await _asked(bench)
    needed(reply.has(MOBILITY_TICKET), "The server does not offer mobility.")
    return tester, reply.octets(MOBILITY_TICKET) or b""


async def _move(bench: Bench, ticket: bytes) -> tuple[KitClient, SeenMessage]:
    """A Refresh with a ticket from another 5-tuple."""
    other = await bench.client()
    reply = await other.request(Method.REFRESH, (LIFETIME, 600), (MOBILITY_TICKET, ticket))
    other.allocated = reply.success
    return other, reply


@check("mobility-asked")
async def asked(bench: Bench) -> None:
    _, reply = await _asked(bench)
    if not affordable(reply).success:
        error(reply, 405)


@check("mobility-unasked")
async def unasked(bench: Bench) -> None:
    await _mobile(bench)
    tester = await bench.client()
    reply = await tester.request(Method.ALLOCATE, _UDP)
    tester.took(reply)
    if reply.has(MOBILITY_TICKET):
        raise Wrong("The answer has MOBILITY-TICKET, which was not asked for.")


@check("mobility-not-empty")
async def not_empty(bench: Bench) -> None:
    await _mobile(bench)
    _, reply = await _asked(bench, b"12345678")
    error(reply, 400)


@check("mobility-moves")
async def moves(bench: Bench) -> None:
    _, ticket = await _mobile(bench)
    _, reply = await _move(bench, ticket)
    succeeded(reply)


@check("mobility-new-ticket")
async def new_ticket(bench: Bench) -> None:
    _, ticket = await _mobile(bench)
    _, reply = await _move(bench, ticket)
    needed(reply.success, "The allocation did not move.")
    present(reply, MOBILITY_TICKET)
    if reply.octets(MOBILITY_TICKET) == ticket:
        raise Wrong("The answer has the same ticket again.")


@check("mobility-relay-moves")
async def relay_moves(bench: Bench) -> None:
    """After the first data of the client from its new address, its peers' data comes there."""
    tester, ticket = await _mobile(bench)
    peer = await bench.udp_peer(tester)
    await tester.permit(peer.address)
    other, reply = await _move(bench, ticket)
    needed(reply.success, "The allocation did not move.")
    other.relays = tester.relays
    payload = secrets.token_bytes(30)
    if await bench.to_peer(lambda: other.indicate(peer.address, payload), peer, payload) is None:
        raise Wrong("A Send indication from the new address was not relayed.")
    if not await bench.to_client(peer, other, payload[::-1]):
        raise Wrong("A datagram of the peer did not reach the client at its new address.")


@check("mobility-forged")
async def forged(bench: Bench) -> None:
    _, ticket = await _mobile(bench)
    _, reply = await _move(bench, ticket[:-1] + bytes((ticket[-1] ^ 1,)))
    error(reply, 400)
