"""Clients of RFC 3489, which have no magic cookie: RFC 8489 §12, RFC 5389 §12.2."""

import secrets

from cli.conform.bench import Bench
from cli.conform.client import KitClient
from cli.conform.findings import Wrong
from cli.conform.judge import needed
from cli.conform.registry import check
from cli.conform.wire import Draft, SeenMessage
from stun.address import Address
from stun.attributes import MAPPED_ADDRESS, RESPONSE_ADDRESS, XOR_MAPPED_ADDRESS
from stun.constants import Method

__all__: list[str] = []


async def _ask(bench: Bench, *items: tuple[int, bytes]) -> tuple[SeenMessage, KitClient, Draft]:
    """A Binding request of RFC 3489; a server may not answer these."""
    tester = await bench.client()
    draft = Draft(Method.BINDING, cookie=secrets.randbits(31) | 1).append(*items)
    reply = await tester.reaction(draft.encode())
    needed(reply is not None, "The server does not answer clients of RFC 3489.")
    assert reply is not None
    return reply, tester, draft


@check("classic-answered", login=False, only="udp")
async def answered(bench: Bench) -> None:
    tester = await bench.client()
    draft = Draft(Method.BINDING, cookie=secrets.randbits(31) | 1)
    if await tester.reaction(draft.encode()) is None:
        raise Wrong("A Binding request without the magic cookie was not answered.")


@check("classic-transaction", login=False, only="udp")
async def transaction(bench: Bench) -> None:
    reply, _, draft = await _ask(bench)
    if reply.raw[4:20] != draft.encode()[4:20]:
        raise Wrong("The answer does not have all sixteen bytes of the transaction id.")


@check("classic-mapped", login=False, only="udp")
async def mapped(bench: Bench) -> None:
    reply, tester, _ = await _ask(bench)
    needed(reply.success, "There was an error response.")
    address = reply.value(MAPPED_ADDRESS)
    if address is None:
        raise Wrong("The answer has no MAPPED-ADDRESS that can be read.")
    if bench.target.address.is_loopback and address != tester.pipe.local:
        raise Wrong(f"MAPPED-ADDRESS is {address}; the request came from {tester.pipe.local}.")


@check("classic-no-xor", login=False, only="udp")
async def no_xor(bench: Bench) -> None:
    reply, _, _ = await _ask(bench)
    if reply.has(XOR_MAPPED_ADDRESS):
        raise Wrong("The answer has XOR-MAPPED-ADDRESS, which such a client does not know.")


@check("classic-response-address", login=False, only="udp")
async def response_address(bench: Bench) -> None:
    """Another host must not be sent anything on a stranger's demand."""
    victim = await bench.client()
    elsewhere: Address = victim.pipe.local
    tester = await bench.client()
    draft = Draft(Method.BINDING, cookie=secrets.randbits(31) | 1).add(RESPONSE_ADDRESS, elsewhere)
    await tester.reaction(draft.encode())
    await victim.settled()
    if victim.answers_waiting(draft.transaction_id):
        raise Wrong("The answer went to the address in RESPONSE-ADDRESS.")
