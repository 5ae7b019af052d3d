"""TCP allocations: RFC 6062 §5."""

import asyncio
import secrets
from typing import Any

from cli.conform.bench import Bench
from cli.conform.client import KitClient
from cli.conform.findings import Wrong
from cli.conform.judge import affordable, error, needed, present, succeeded
from cli.conform.peers import TcpPeer
from cli.conform.registry import check
from cli.conform.wire import Draft, SeenMessage
from stun.attributes import (
    CHANNEL_NUMBER,
    CONNECTION_ID,
    DONT_FRAGMENT,
    EVEN_PORT,
    REQUESTED_TRANSPORT,
    RESERVATION_TOKEN,
    XOR_PEER_ADDRESS,
    AttributeType,
)
from stun.constants import CHANNEL_MIN, Method, TransportProtocol

__all__: list[str] = []

_TCP = (REQUESTED_TRANSPORT, int(TransportProtocol.TCP))


async def _relay(bench: Bench) -> KitClient:
    """A TCP allocation; the server may not have any (442)."""
    tester = await bench.client()
    reply = await tester.request(Method.ALLOCATE, _TCP)
    tester.took(reply)
    needed(reply.code != 442, "The server has no TCP allocations (442).")
    needed(reply.success and tester.relays, f"A TCP allocation was refused: error {reply.code}.")
    return tester


async def _connect(tester: KitClient, peer: TcpPeer) -> SeenMessage:
    return await tester.request(Method.CONNECT, (XOR_PEER_ADDRESS, peer.address))


async def _connected(bench: Bench) -> tuple[KitClient, TcpPeer, int]:
    tester = await _relay(bench)
    peer = await bench.tcp_peer(tester)
    reply = await _connect(tester, peer)
    needed(reply.code != 403, "The server forbids the peer (403).")
    number = reply.value(CONNECTION_ID)
    needed(reply.success and number is not None, f"Connect was refused: error {reply.code}.")
    return tester, peer, number or 0


async def _second(bench: Bench, control: KitClient) -> KitClient:
    """Another connection, with the nonce of the control connection (RFC 6062 §4.3)."""
    data = await bench.client()
    data.challenge = control.challenge
    return data


async def _data(bench: Bench, control: KitClient, number: int) -> KitClient:
    """A data connection, bound."""
    data = await _second(bench, control)
    draft = await data.draft(Method.CONNECTION_BIND, (CONNECTION_ID, number))
    data.stream.raw_after(draft.transaction_id)
    reply = await data.ask(draft)
    needed(reply.success, f"ConnectionBind was refused: error {reply.code}.")
    return data


@check("tcp-not-over-udp", only="udp")
async def not_over_udp(bench: Bench) -> None:
    tester = await bench.client()
    reply = await tester.request(Method.ALLOCATE, _TCP)
    tester.took(reply)
    error(reply, 400, 442)


@check("tcp-allocate", only="stream")
async def allocate(bench: Bench) -> None:
    tester = await bench.client()
    reply = await tester.request(Method.ALLOCATE, _TCP)
    tester.took(reply)
    needed(reply.code != 442, "The server has no TCP allocations (442).")
    succeeded(affordable(reply))


async def _refused_with(bench: Bench, spec: AttributeType[Any], value: object) -> None:
    await _relay(bench)
    tester = await bench.client()
    reply = await tester.request(Method.ALLOCATE, _TCP, (spec, value))
    tester.took(reply)
    error(reply, 400)


@check("tcp-dont-fragment", only="stream")
async def dont_fragment(bench: Bench) -> None:
    await _refused_with(bench, DONT_FRAGMENT, True)


@check("tcp-even-port", only="stream")
async def even_port(bench: Bench) -> None:
    await _refused_with(bench, EVEN_PORT, False)


@check("tcp-reservation", only="stream")
async def reservation(bench: Bench) -> None:
    await _refused_with(bench, RESERVATION_TOKEN, b"12345678")


@check("connect-success", only="stream")
async def connect(bench: Bench) -> None:
    tester = await _relay(bench)
    peer = await bench.tcp_peer(tester)
    reply = await _connect(tester, peer)
    needed(reply.code != 403, "The server forbids the peer (403).")
    present(succeeded(reply), CONNECTION_ID)


@check("connect-source", only="stream")
async def connect_source(bench: Bench) -> None:
    tester, peer, _ = await _connected(bench)
    accepted = await peer.accepted(bench.options.patience)
    if accepted is None:
        raise Wrong("Connect succeeded, and the peer has no connection.")
    port = accepted[1].get_extra_info("peername")[1]
    if port != tester.relay.port:
        raise Wrong(f"The connection comes from port {port}; the relayed address has port {tester.relay.port}.")


@check("connect-mismatch", only="stream")
async def connect_mismatch(bench: Bench) -> None:
    await _relay(bench)
    tester = await bench.client()
    error(await tester.request(Method.CONNECT, (XOR_PEER_ADDRESS, bench.target.address)), 437)


@check("connect-no-peer", only="stream")
async def connect_no_peer(bench: Bench) -> None:
    error(await (await _relay(bench)).request(Method.CONNECT), 400)


@check("connect-twice", only="stream")
async def connect_twice(bench: Bench) -> None:
    tester, peer, _ = await _connected(bench)
    error(await _connect(tester, peer), 446)


@check("connect-refused", only="stream")
async def connect_refused(bench: Bench) -> None:
    tester = await _relay(bench)
    peer = await bench.tcp_peer(tester)
    peer.stop_listening()
    reply = await _connect(tester, peer)
    needed(reply.code != 403, "The server forbids the peer (403).")
    error(reply, 447)


@check("connect-challenged", only="stream")
async def connect_challenged(bench: Bench) -> None:
    await _relay(bench)
    error(await (await bench.client()).ask(Draft(Method.CONNECT)), 401)


@check("connection-bind", only="stream")
async def bind(bench: Bench) -> None:
    control, _, number = await _connected(bench)
    data = await _second(bench, control)
    succeeded(await data.request(Method.CONNECTION_BIND, (CONNECTION_ID, number)))


@check("connection-bind-challenged", only="stream")
async def bind_challenged(bench: Bench) -> None:
    _, _, number = await _connected(bench)
    data = await bench.client()
    error(await data.ask(Draft(Method.CONNECTION_BIND).add(CONNECTION_ID, number)), 401)


@check("connection-bind-unknown", only="stream")
async def bind_unknown(bench: Bench) -> None:
    data = await _second(bench, await _relay(bench))
    error(await data.request(Method.CONNECTION_BIND, (CONNECTION_ID, 0x0BADCAFE)), 400)


@check("connection-bind-no-id", only="stream")
async def bind_no_id(bench: Bench) -> None:
    data = await _second(bench, await _relay(bench))
    error(await data.request(Method.CONNECTION_BIND), 400)


@check("connection-bind-twice", only="stream")
async def bind_twice(bench: Bench) -> None:
    control, _, number = await _connected(bench)
    await _data(bench, control, number)
    again = await _second(bench, control)
    reply = await again.request(Method.CONNECTION_BIND, (CONNECTION_ID, number))
    error(reply, 400)


@check("connection-data-to-peer", only="stream")
async def data_to_peer(bench: Bench) -> None:
    control, peer, number = await _connected(bench)
    data = await _data(bench, control, number)
    payload = secrets.token_bytes(3000)
    data.send(payload)
    accepted = await peer.accepted(bench.options.patience)
    needed(accepted, "The peer has no connection.")
    if accepted is not None and await _read(accepted[0], len(payload), bench) != payload:
        raise Wrong("What was sent on the data connection did not reach the peer as it was.")


@check("connection-data-to-client", only="stream")
async def data_to_client(bench: Bench) -> None:
    control, peer, number = await _connected(bench)
    data = await _data(bench, control, number)
    accepted = await peer.accepted(bench.options.patience)
    needed(accepted, "The peer has no connection.")
    payload = secrets.token_bytes(3000)
    if accepted is not None:
        accepted[1].write(payload)
    if await _raw(data, len(payload), bench) != payload:
        raise Wrong("What the peer sent did not reach the data connection as it was.")


@check("connection-early-data", only="stream")
async def early_data(bench: Bench) -> None:
    """What the peer sends before ConnectionBind is kept."""
    control, peer, number = await _connected(bench)
    accepted = await peer.accepted(bench.options.patience)
    needed(accepted, "The peer has no connection.")
    payload = secrets.token_bytes(500)
    if accepted is not None:
        accepted[1].write(payload)
    data = await _second(bench, control)
    draft = await data.draft(Method.CONNECTION_BIND, (CONNECTION_ID, number))
    data.stream.raw_after(draft.transaction_id)
    reply = await data.ask(draft)
    needed(reply.success, f"ConnectionBind was refused: error {reply.code}.")
    if await _raw(data, len(payload), bench) != payload:
        raise Wrong("What the peer had sent before ConnectionBind did not reach the client.")


@check("connection-attempt", only="stream")
async def attempt(bench: Bench) -> None:
    tester = await _relay(bench)
    peer = await bench.tcp_peer(tester)
    needed((await _connect(tester, peer)).code != 403, "The server forbids the peer (403).")
    await tester.permit(peer.address)
    try:
        _, writer = await peer.connect(tester.relay, bench.options.patience)
    except OSError as failure:
        raise Wrong(f"A peer with a permission cannot connect to the relayed address: {failure}.") from failure
    found = await tester.indication(Method.CONNECTION_ATTEMPT, bench.options.patience)
    if found is None:
        raise Wrong("A peer connected to the relayed address, and no ConnectionAttempt came.")
    present(found, CONNECTION_ID, XOR_PEER_ADDRESS)
    local = writer.get_extra_info("sockname")[1]
    address = found.value(XOR_PEER_ADDRESS)
    if address is None or address.port != local:
        raise Wrong(f"XOR-PEER-ADDRESS is {address}; the peer connected from port {local}.")


@check("connection-attempt-no-permission", only="stream")
async def attempt_no_permission(bench: Bench) -> None:
    tester = await _relay(bench)
    peer = await bench.tcp_peer(tester)
    try:
        reader, _ = await peer.connect(tester.relay, bench.options.patience)
        async with asyncio.timeout(bench.options.patience):
            closed = await reader.read(1) == b""
    except TimeoutError:
        closed = False
    except OSError:
        closed = True
    if not closed:
        raise Wrong("A peer without a permission connected, and its connection stays open.")


@check("tcp-no-channel", only="stream")
async def no_channel(bench: Bench) -> None:
    tester = await _relay(bench)
    peer = await bench.tcp_peer(tester)
    wanted = ((CHANNEL_NUMBER, CHANNEL_MIN), (XOR_PEER_ADDRESS, peer.address))
    reply = await tester.request(Method.CHANNEL_BIND, *wanted)
    if reply.success:
        raise Wrong("ChannelBind succeeded on a TCP allocation.")


@check("connect-udp-allocation", only="stream")
async def connect_on_udp(bench: Bench) -> None:
    await _relay(bench)
    tester = await bench.relay()
    peer = await bench.tcp_peer(tester)
    reply = await _connect(tester, peer)
    if reply.success:
        raise Wrong("Connect succeeded on a UDP allocation.")


async def _read(reader: asyncio.StreamReader, size: int, bench: Bench) -> bytes:
    try:
        async with asyncio.timeout(bench.options.patience):
            return await reader.readexactly(size)
    except (TimeoutError, OSError, asyncio.IncompleteReadError):
        return b""


async def _raw(data: KitClient, size: int, bench: Bench) -> bytes:
    """So many bytes of a data connection."""
    found = bytearray()
    while len(found) < size:
        piece = await data.pipe.frame(bench.options.patience)
        if piece is None:
            break
        found += piece
    return bytes(found)
