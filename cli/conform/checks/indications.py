"""Send and Data indications: RFC 8656 §11."""

import secrets
from functools import partial

from cli.conform.bench import Bench
from cli.conform.client import KitClient
from cli.conform.findings import Wrong
from cli.conform.judge import needed, no_answer
from cli.conform.peers import UdpPeer
from cli.conform.registry import check
from cli.conform.wire import Draft, SeenMessage
from stun.attributes import DATA, DONT_FRAGMENT, ICMP, LIFETIME, REQUESTED_TRANSPORT, XOR_PEER_ADDRESS
from stun.constants import MessageClass, Method, TransportProtocol

__all__: list[str] = []


async def _permitted(bench: Bench) -> tuple[KitClient, UdpPeer]:
    tester = await bench.relay()
    peer = await bench.udp_peer(tester)
    await tester.permit(peer.address)
    return tester, peer


async def _never(bench: Bench, tester: KitClient, peer: UdpPeer, draft: Draft, mark: bytes) -> None:
    """What is sent must not reach the peer; an ordinary indication after it does."""
    no_answer(await tester.reaction(draft.encode()))
    late = secrets.token_bytes(31)
    for _ in range(4):
        tester.indicate(peer.address, late)
        while (arrival := await peer.arrival(bench.options.patience / 4)) is not None:
            if mark in arrival[0] or not arrival[0]:
                raise Wrong(f"The peer got a datagram of {len(arrival[0])} bytes.")
            if arrival[0] == late:
                return
    needed(False, "An ordinary Send indication does not arrive either.")


@check("send-relayed")
async def relayed(bench: Bench) -> None:
    tester, peer = await _permitted(bench)
    payload = secrets.token_bytes(100)
    if await bench.to_peer(lambda: tester.indicate(peer.address, payload), peer, payload) is None:
        raise Wrong("The data of a Send indication did not reach the peer.")


@check("send-source")
async def source(bench: Bench) -> None:
    tester, peer = await _permitted(bench)
    payload = secrets.token_bytes(100)
    found = await bench.to_peer(lambda: tester.indicate(peer.address, payload), peer, payload)
    needed(found, "The data of a Send indication did not reach the peer.")
    if found is not None and tester.relay.is_loopback and found != tester.relay:
        raise Wrong(f"The peer got it from {found}; the relayed address is {tester.relay}.")
    if found is not None and found.port != tester.relay.port:
        raise Wrong(f"The peer got it from port {found.port}; the relayed address has port {tester.relay.port}.")


@check("send-empty")
async def empty(bench: Bench) -> None:
    tester, peer = await _permitted(bench)
    if await bench.to_peer(lambda: tester.indicate(peer.address, b""), peer, b"") is None:
        raise Wrong("A Send indication with empty DATA did not reach the peer as an empty datagram.")


@check("send-lengths")
async def lengths(bench: Bench) -> None:
    tester, peer = await _permitted(bench)
    for size in (1, 2, 3, 5, 1200):
        payload = secrets.token_bytes(size)
        if await bench.to_peer(partial(tester.indicate, peer.address, payload), peer, payload) is None:
            raise Wrong(f"DATA of {size} bytes did not reach the peer as {size} bytes.")


@check("send-no-data")
async def no_data(bench: Bench) -> None:
    tester, peer = await _permitted(bench)
    draft = Draft(Method.SEND, MessageClass.INDICATION).add(XOR_PEER_ADDRESS, peer.address)
    await _never(bench, tester, peer, draft, b"never")


@check("send-no-peer")
async def no_peer(bench: Bench) -> None:
    tester, peer = await _permitted(bench)
    mark = secrets.token_bytes(20)
    await _never(bench, tester, peer, Draft(Method.SEND, MessageClass.INDICATION).add(DATA, mark), mark)


@check("send-unknown-attribute")
async def unknown_attribute(bench: Bench) -> None:
    tester, peer = await _permitted(bench)
    mark = secrets.token_bytes(20)
    draft = Draft(Method.SEND, MessageClass.INDICATION).add(XOR_PEER_ADDRESS, peer.address).add(DATA, mark)
    await _never(bench, tester, peer, draft.append((0x7FFE, b"1234")), mark)


@check("send-optional-attribute")
async def optional_attribute(bench: Bench) -> None:
    tester, peer = await _permitted(bench)
    payload = secrets.token_bytes(40)
    extra = ((0xBFFE, b"12345"),)
    if await bench.to_peer(lambda: tester.indicate(peer.address, payload, extra=extra), peer, payload) is None:
        raise Wrong("A Send indication with an unknown comprehension-optional attribute was not relayed.")


@check("send-no-allocation")
async def no_allocation(bench: Bench) -> None:
    first, peer = await _permitted(bench)
    stranger = await bench.client()
    mark = secrets.token_bytes(20)
    draft = Draft(Method.SEND, MessageClass.INDICATION).add(XOR_PEER_ADDRESS, peer.address).add(DATA, mark)
    no_answer(await stranger.reaction(draft.encode()))
    late = secrets.token_bytes(31)
    for _ in range(4):
        first.indicate(peer.address, late)
        while (arrival := await peer.arrival(bench.options.patience / 4)) is not None:
            if arrival[0] == mark:
                raise Wrong("A Send indication of a client without an allocation was relayed.")
            if arrival[0] == late:
                return


@check("send-after-delete")
async def after_delete(bench: Bench) -> None:
    tester, peer = await _permitted(bench)
    await tester.prepare("A Refresh with lifetime 0", Method.REFRESH, (LIFETIME, 0))
    mark = secrets.token_bytes(20)
    tester.indicate(peer.address, mark)
    await tester.settled()
    arrival = await peer.arrival(0.05)
    if arrival is not None and arrival[0] == mark:
        raise Wrong("A Send indication was relayed after the allocation had been deleted.")


@check("send-request")
async def send_request(bench: Bench) -> None:
    """Send and Data are indications only: as a request, neither is carried out."""
    tester, peer = await _permitted(bench)
    mark = secrets.token_bytes(20)
    draft = await tester.draft(Method.SEND, (XOR_PEER_ADDRESS, peer.address), (DATA, mark))
    reply = await tester.reaction(draft.encode())
    arrival = await peer.arrival(0.05)
    if (reply is not None and reply.success) or (arrival is not None and arrival[0] == mark):
        raise Wrong("A Send request was carried out.")


@check("send-dont-fragment")
async def dont_fragment(bench: Bench) -> None:
    tester = await bench.client()
    wanted = ((REQUESTED_TRANSPORT, int(TransportProtocol.UDP)), (DONT_FRAGMENT, True))
    reply = await tester.request(Method.ALLOCATE, *wanted)
    tester.took(reply)
    needed(reply.success and tester.relays, "The server does not have DONT-FRAGMENT.")
    peer = await bench.udp_peer(tester)
    await tester.permit(peer.address)
    payload = secrets.token_bytes(40)
    extra = ((DONT_FRAGMENT.number, b""),)
    if await bench.to_peer(lambda: tester.indicate(peer.address, payload, extra=extra), peer, payload) is None:
        raise Wrong("Allocate took DONT-FRAGMENT, and a Send indication with it was not relayed.")


async def _data(bench: Bench, payload: bytes) -> tuple[SeenMessage, KitClient, UdpPeer]:
    tester, peer = await _permitted(bench)
    for _ in range(4):
        peer.send(payload, tester.relay)
        while (found := await tester.indication(Method.DATA, bench.options.patience / 4)) is not None:
            if found.octets(DATA) == payload or len(payload) == 0:
                return found, tester, peer
    raise Wrong(f"A datagram of {len(payload)} bytes from the peer brought no Data indication with these bytes.")


@check("data-indication")
async def data(bench: Bench) -> None:
    for size in (1, 333):
        await _data(bench, secrets.token_bytes(size))


@check("data-peer-address")
async def data_peer(bench: Bench) -> None:
    found, _, peer = await _data(bench, secrets.token_bytes(30))
    address = found.value(XOR_PEER_ADDRESS)
    if address != peer.address:
        raise Wrong(f"XOR-PEER-ADDRESS is {address}; the peer is {peer.address}.")


@check("data-empty")
async def data_empty(bench: Bench) -> None:
    found, _, _ = await _data(bench, b"")
    if found.octets(DATA) != b"":
        raise Wrong("An empty datagram of a peer did not bring a Data indication with empty DATA.")


@check("data-well-formed")
async def data_well_formed(bench: Bench) -> None:
    found, _, _ = await _data(bench, secrets.token_bytes(13))
    if found.fault:
        raise Wrong(f"The Data indication is not well formed: {found.fault}.")
    strange = [each.type for each in found.attributes if each.type < 0x8000 and each.type not in (0x12, 0x13)]
    if strange:
        raise Wrong(f"The Data indication has the comprehension-required attribute 0x{strange[0]:04x}.")


@check("data-transactions-differ")
async def transactions_differ(bench: Bench) -> None:
    first, tester, peer = await _data(bench, secrets.token_bytes(13))
    for _ in range(4):
        peer.send(secrets.token_bytes(14), tester.relay)
        second = await tester.indication(Method.DATA, bench.options.patience / 4)
        if second is not None:
            if second.transaction_id == first.transaction_id:
                raise Wrong("Two Data indications have the same transaction id.")
            return
    needed(False, "A second datagram did not arrive.")


@check("icmp-told")
async def icmp(bench: Bench) -> None:
    tester, peer = await _permitted(bench)
    closed = peer.address
    peer.close()
    for _ in range(4):
        tester.indicate(closed, b"to nobody")
        found = await tester.indication(Method.DATA, bench.options.patience / 4)
        if found is not None and found.has(ICMP):
            return
    raise Wrong("A Send indication to a closed port brought no Data indication with ICMP.")


@check("hairpin")
async def hairpin(bench: Bench) -> None:
    """From one relay of the server to another, and back."""
    first, second = await bench.relay(), await bench.relay()
    await first.permit(second.relay)
    await second.permit(first.relay)
    payload = secrets.token_bytes(33)

    async def receive(seconds: float) -> bool:
        item = await second.relayed(seconds)
        return item is not None and item.payload == payload

    if not await bench.through(lambda: first.indicate(second.relay, payload), receive):
        raise Wrong("A datagram from one relay to another of the same server did not arrive.")
