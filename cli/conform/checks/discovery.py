"""NAT behavior discovery: RFC 5780 §6, §7."""

from cli.conform.bench import Bench
from cli.conform.client import KitClient
from cli.conform.findings import Untestable, Wrong
from cli.conform.judge import error, needed, present
from cli.conform.peers import UdpPeer
from cli.conform.registry import check
from cli.conform.wire import Draft, SeenMessage
from stun.address import Address
from stun.attributes import (
    CHANGE_REQUEST,
    MAPPED_ADDRESS,
    OTHER_ADDRESS,
    PADDING,
    RESPONSE_ORIGIN,
    RESPONSE_PORT,
    XOR_MAPPED_ADDRESS,
)
from stun.constants import Method

__all__: list[str] = []

_IP, _PORT = 4, 2


async def _told(bench: Bench) -> tuple[KitClient, SeenMessage]:
    tester = await bench.client()
    reply = await tester.ask(Draft(Method.BINDING))
    needed(reply.has(OTHER_ADDRESS), "The server offers no behavior discovery (there is no OTHER-ADDRESS).")
    return tester, reply


@check("discovery-change-zero", login=False, only="udp")
async def change_zero(bench: Bench) -> None:
    """A CHANGE-REQUEST without flags asks for nothing."""
    reply = await (await bench.client()).ask(Draft(Method.BINDING).add(CHANGE_REQUEST, 0))
    if not reply.success:
        error(reply, 420)


@check("discovery-not-half", login=False, only="udp")
async def not_half(bench: Bench) -> None:
    """A server that offers no discovery answers 420 to a change, and does not pretend."""
    tester = await bench.client()
    plain = await tester.ask(Draft(Method.BINDING))
    needed(not plain.has(OTHER_ADDRESS), "The server offers behavior discovery.")
    error(await tester.ask(Draft(Method.BINDING).add(CHANGE_REQUEST, _IP | _PORT)), 420)


@check("discovery-origin", login=False, only="udp")
async def origin(bench: Bench) -> None:
    _, reply = await _told(bench)
    present(reply, RESPONSE_ORIGIN)


@check("discovery-origin-right", login=False, only="udp")
async def origin_right(bench: Bench) -> None:
    _, reply = await _told(bench)
    found = reply.value(RESPONSE_ORIGIN)
    needed(found is not None, "There is no RESPONSE-ORIGIN.")
    if found is not None and bench.target.address.is_loopback and found != bench.target.address:
        raise Wrong(f"RESPONSE-ORIGIN is {found}; the answer came from {bench.target.address}.")


@check("discovery-other", login=False, only="udp")
async def other(bench: Bench) -> None:
    _, reply = await _told(bench)
    found, own = reply.value(OTHER_ADDRESS), reply.value(RESPONSE_ORIGIN)
    if found is None:
        raise Wrong("OTHER-ADDRESS cannot be read.")
    if own is not None and (found.ip == own.ip or found.port == own.port):
        raise Wrong(f"OTHER-ADDRESS is {found}; address and port differ both from those of {own}.")


@check("discovery-mapped-both", login=False, only="udp")
async def mapped_both(bench: Bench) -> None:
    _, reply = await _told(bench)
    present(reply, XOR_MAPPED_ADDRESS, MAPPED_ADDRESS)


async def _changed(bench: Bench, flags: int) -> tuple[Address, Address, Address, SeenMessage]:
    """Where an answer to a CHANGE-REQUEST comes from; also the server's own and other address."""
    _, told = await _told(bench)
    own, elsewhere = bench.target.address, told.value(OTHER_ADDRESS)
    assert elsewhere is not None
    peer = await UdpPeer.open(bench.peer_host(own), bench.journal)
    try:
        draft = Draft(Method.BINDING).add(CHANGE_REQUEST, flags)
        for _ in range(4):
            peer.send(draft.encode(), own)
            arrival = await peer.arrival(bench.options.patience / 4)
            reply = None if arrival is None else SeenMessage.read(arrival[0])
            if arrival is not None and reply is not None and reply.transaction_id == draft.transaction_id:
                return arrival[1], own, elsewhere, reply
    finally:
        peer.close()
    if not own.is_loopback:
        raise Untestable("No answer came from the other address; a NAT or a firewall may keep it out.")
    raise Wrong("No answer came from the address that CHANGE-REQUEST asked for.")


async def _comes_from(bench: Bench, flags: int) -> None:
    source, own, elsewhere, _ = await _changed(bench, flags)
    wanted = Address((elsewhere if flags & _IP else own).ip, (elsewhere if flags & _PORT else own).port)
    if source != wanted:
        raise Wrong(f"The answer came from {source}; {wanted} was asked for.")


@check("discovery-change-both", login=False, only="udp")
async def change_both(bench: Bench) -> None:
    await _comes_from(bench, _IP | _PORT)


@check("discovery-change-port", login=False, only="udp")
async def change_port(bench: Bench) -> None:
    await _comes_from(bench, _PORT)


@check("discovery-change-ip", login=False, only="udp")
async def change_ip(bench: Bench) -> None:
    await _comes_from(bench, _IP)


@check("discovery-change-origin", login=False, only="udp")
async def change_origin(bench: Bench) -> None:
    source, _, _, reply = await _changed(bench, _IP | _PORT)
    present(reply, RESPONSE_ORIGIN)
    told = reply.value(RESPONSE_ORIGIN)
    if told != source and bench.target.address.is_loopback:
        raise Wrong(f"RESPONSE-ORIGIN is {told}; the answer came from {source}.")


@check("discovery-response-port", login=False, only="udp")
async def response_port(bench: Bench) -> None:
    tester, _ = await _told(bench)
    peer = await UdpPeer.open(bench.peer_host(bench.target.address), bench.journal)
    try:
        draft = Draft(Method.BINDING).add(RESPONSE_PORT, peer.address.port)
        for _ in range(4):
            tester.send(draft.encode())
            arrival = await peer.arrival(bench.options.patience / 4)
            reply = None if arrival is None else SeenMessage.read(arrival[0])
            if reply is not None and reply.transaction_id == draft.transaction_id:
                return
            refused = tester.answers_waiting(draft.transaction_id)
            if refused:
                raise Wrong(f"RESPONSE-PORT was not obeyed: error {refused[0].code}.")
    finally:
        peer.close()
    if not bench.target.address.is_loopback:
        raise Untestable("No answer came to the other port; a NAT or a firewall may keep it out.")
    raise Wrong("No answer came to the port in RESPONSE-PORT.")


@check("discovery-padding", login=False, only="udp")
async def padding(bench: Bench) -> None:
    tester, _ = await _told(bench)
    reply = await tester.ask(Draft(Method.BINDING).add(PADDING, bytes(64)))
    if not reply.success:
        error(reply, 420)
        needed(False, "The server does not pad (420).")
    present(reply, PADDING)


@check("discovery-padding-port", login=False, only="udp")
async def padding_port(bench: Bench) -> None:
    tester, _ = await _told(bench)
    first = await tester.ask(Draft(Method.BINDING).add(PADDING, bytes(64)))
    needed(first.success, "The server does not pad.")
    error(await tester.ask(Draft(Method.BINDING).add(PADDING, bytes(64)).add(RESPONSE_PORT, 9)), 400)
