"""Permissions: RFC 8656 §9, §10."""

import secrets

from cli.conform.bench import Bench
from cli.conform.client import KitClient
from cli.conform.findings import Wrong
from cli.conform.judge import error, needed, succeeded
from cli.conform.peers import UdpPeer
from cli.conform.registry import check
from stun.address import Address
from stun.attributes import LIFETIME, REQUESTED_TRANSPORT, XOR_PEER_ADDRESS
from stun.constants import Method, TransportProtocol

__all__: list[str] = []


async def _peer(bench: Bench) -> tuple[KitClient, UdpPeer]:
    tester = await bench.relay()
    return tester, await bench.udp_peer(tester)


@check("permission-success", modes=True)
async def success(bench: Bench) -> None:
    tester, peer = await _peer(bench)
    succeeded(await tester.request(Method.CREATE_PERMISSION, (XOR_PEER_ADDRESS, peer.address)))


@check("permission-no-peer")
async def no_peer(bench: Bench) -> None:
    error(await (await bench.relay()).request(Method.CREATE_PERMISSION), 400)


@check("permission-malformed")
async def malformed(bench: Bench) -> None:
    tester = await bench.relay()
    reply = await tester.request(Method.CREATE_PERMISSION, extra=((XOR_PEER_ADDRESS.number, b"\0\x01\0"),))
    error(reply, 400)


@check("permission-several")
async def several(bench: Bench) -> None:
    tester, peer = await _peer(bench)
    twice = [(XOR_PEER_ADDRESS, peer.address), (XOR_PEER_ADDRESS, Address(peer.address.ip, 9))]
    succeeded(await tester.request(Method.CREATE_PERMISSION, *twice))


@check("permission-again")
async def again(bench: Bench) -> None:
    tester, peer = await _peer(bench)
    await tester.permit(peer.address)
    succeeded(await tester.request(Method.CREATE_PERMISSION, (XOR_PEER_ADDRESS, peer.address)))


@check("permission-lets-in")
async def lets_in(bench: Bench) -> None:
    tester, peer = await _peer(bench)
    await tester.permit(peer.address)
    if not await bench.to_client(peer, tester, secrets.token_bytes(30)):
        raise Wrong("A datagram of a peer with a permission did not reach the client in a Data indication.")


@check("permission-any-port")
async def any_port(bench: Bench) -> None:
    tester, peer = await _peer(bench)
    await tester.permit(Address(peer.address.ip, 1))
    if not await bench.to_client(peer, tester, secrets.token_bytes(30)):
        raise Wrong("A permission for a peer's address at port 1 did not let in what came from another port.")


@check("permission-needed-in")
async def needed_in(bench: Bench) -> None:
    tester, peer = await _peer(bench)
    early, late = secrets.token_bytes(30), secrets.token_bytes(31)
    peer.send(early, tester.relay)
    await tester.settled()
    await tester.permit(peer.address)
    clock_limit = bench.options.patience
    for _ in range(4):
        peer.send(late, tester.relay)
        while (item := await tester.relayed(clock_limit / 4)) is not None:
            if item.payload == early:
                raise Wrong("A datagram of a peer without a permission reached the client.")
            if item.payload == late:
                return
    needed(False, "With a permission nothing arrives either.")


@check("permission-needed-out")
async def needed_out(bench: Bench) -> None:
    tester, peer = await _peer(bench)
    early, late = secrets.token_bytes(30), secrets.token_bytes(31)
    tester.indicate(peer.address, early)
    await tester.settled()
    await tester.permit(peer.address)
    for _ in range(4):
        tester.indicate(peer.address, late)
        while (arrival := await peer.arrival(bench.options.patience / 4)) is not None:
            if arrival[0] == early:
                raise Wrong("A Send indication to a peer without a permission was relayed.")
            if arrival[0] == late:
                return
    needed(False, "With a permission nothing arrives either.")


@check("permission-own-allocation")
async def own_allocation(bench: Bench) -> None:
    """A permission of one allocation opens nothing of another."""
    first, peer = await _peer(bench)
    second = await bench.relay()
    await first.permit(peer.address)
    early, late = secrets.token_bytes(30), secrets.token_bytes(31)
    peer.send(early, second.relay)
    await second.settled()
    await second.permit(peer.address)
    for _ in range(4):
        peer.send(late, second.relay)
        while (item := await second.relayed(bench.options.patience / 4)) is not None:
            if item.payload == early:
                raise Wrong("A permission of one allocation let a peer in at another.")
            if item.payload == late:
                return
    needed(False, "With a permission nothing arrives either.")


@check("permission-ends-with-allocation")
async def ends(bench: Bench) -> None:
    tester, peer = await _peer(bench)
    await tester.permit(peer.address)
    await tester.prepare("A Refresh with lifetime 0", Method.REFRESH, (LIFETIME, 0))
    await tester.allocate()
    early, late = secrets.token_bytes(30), secrets.token_bytes(31)
    peer.send(early, tester.relay)
    await tester.settled()
    await tester.permit(peer.address)
    for _ in range(4):
        peer.send(late, tester.relay)
        while (item := await tester.relayed(bench.options.patience / 4)) is not None:
            if item.payload == early:
                raise Wrong("A permission outlived its allocation.")
            if item.payload == late:
                return
    needed(False, "With a permission nothing arrives either.")


@check("peer-own-listener")
async def own_listener(bench: Bench) -> None:
    """The server's own port is no peer: what is sent there does not come back as a peer's answer."""
    tester = await bench.relay()
    target = bench.target.address
    needed(target.family is tester.relay.family, "The relay has another family than the server's address.")
    reply = await tester.request(Method.CREATE_PERMISSION, (XOR_PEER_ADDRESS, target))
    if not reply.success:
        error(reply, 403)
        return
    from_us = secrets.token_bytes(12)
    request = bytes.fromhex("000100002112a442") + from_us
    peer = await bench.udp_peer(tester)
    await tester.permit(peer.address)
    tester.indicate(target, request)
    await tester.settled()
    for number in range(3):  # an answer would have to come before these
        mark = bytes((number,)) * 20
        for _ in range(4):
            peer.send(mark, tester.relay)
            while (item := await tester.relayed(bench.options.patience / 4)) is not None and item.payload != mark:
                if from_us in item.payload:
                    raise Wrong("The relay reached the server's own listener, which answered.")
            if item is not None:
                break


@check("peer-any-address")
async def any_address(bench: Bench) -> None:
    tester = await bench.relay()
    any_host = "0.0.0.0" if len(tester.relay.ip) == 4 else "::"
    reply = await tester.request(Method.CREATE_PERMISSION, (XOR_PEER_ADDRESS, Address.parse(any_host, 9)))
    error(reply, 403)


@check("peer-multicast")
async def multicast(bench: Bench) -> None:
    tester = await bench.relay()
    group = "224.0.0.251" if len(tester.relay.ip) == 4 else "ff02::fb"
    error(await tester.request(Method.CREATE_PERMISSION, (XOR_PEER_ADDRESS, Address.parse(group, 5353))), 403)


@check("peer-loopback")
async def loopback(bench: Bench) -> None:
    tester = await bench.relay()
    needed(not tester.relay.is_loopback, "The relay itself is on loopback.")
    host = "127.0.0.1" if len(tester.relay.ip) == 4 else "::1"
    error(await tester.request(Method.CREATE_PERMISSION, (XOR_PEER_ADDRESS, Address.parse(host, 9))), 403)


@check("permission-transport")
async def transport(bench: Bench) -> None:
    """An attribute that has no meaning here but is known to TURN does not make the request fail with 400."""
    tester, peer = await _peer(bench)
    known = (REQUESTED_TRANSPORT, int(TransportProtocol.UDP))
    reply = await tester.request(Method.CREATE_PERMISSION, (XOR_PEER_ADDRESS, peer.address), known)
    if not reply.success:
        error(reply, 420)
