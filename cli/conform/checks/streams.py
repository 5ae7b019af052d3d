"""TCP and TLS: RFC 8656 §3.1, §12.5, RFC 8489 §6.2.2, RFC 7443."""

import secrets
from typing import Final

from cli.conform.bench import Bench
from cli.conform.findings import Untestable, Wrong
from cli.conform.judge import needed, succeeded
from cli.conform.pipes import StreamPipe
from cli.conform.registry import check
from cli.conform.wire import Draft
from cli.probe.outside import open_outside
from stun.attributes import CHANNEL_NUMBER, SOFTWARE, XOR_PEER_ADDRESS
from stun.constants import CHANNEL_MIN, Method

__all__: list[str] = []


@check("stream-split", login=False, only="stream")
async def split(bench: Bench) -> None:
    tester = await bench.client()
    data = Draft(Method.BINDING).add(SOFTWARE, "meshturn conform").encode()
    for at in range(0, len(data), 3):
        tester.pipe.send(data[at : at + 3])
    if await tester.attempt(Draft(Method.BINDING)) is None or not tester.answers_waiting(data[8:20]):
        raise Wrong("A request that came in pieces was not answered.")


@check("stream-joined", login=False, only="stream")
async def joined(bench: Bench) -> None:
    tester = await bench.client()
    drafts = [Draft(Method.BINDING) for _ in range(4)]
    tester.send(b"".join(each.encode() for each in drafts))
    await tester.settled()
    missing = [each for each in drafts if not tester.answers_waiting(each.transaction_id)]
    if missing:
        raise Wrong(f"Of four requests in one segment, {len(missing)} were not answered.")


@check("stream-order", login=False, only="stream")
async def order(bench: Bench) -> None:
    tester = await bench.client()
    for _ in range(3):
        succeeded(await tester.ask(Draft(Method.BINDING)))


_SHARES: Final = (64, 32, 16, 8, 4, 2)
"""Parts of the patience between two looks: a relay may be open for a moment longer than its connection."""


@check("stream-close-ends", only="stream")
async def close_ends(bench: Bench) -> None:
    """Its relay is closed then, and the server's system says so to a peer, by ICMP."""
    tester = await bench.relay()
    relay = tester.relay
    try:
        outside = await open_outside(relay)
    except OSError as error:
        raise Untestable(f"This machine has no way to the relayed address {relay.host}: {error.strerror}.") from error
    try:
        await tester.pipe.close()
        for part in _SHARES:
            outside.send(b"meshturn conform")
            await outside.incoming(bench.options.patience / part)
            if outside.refused:
                return
    finally:
        await outside.close()
    needed(relay.is_loopback, "A firewall may keep the ICMP error out that tells of a closed relay.")
    raise Wrong("After the end of its connection, the relay is still open.")


@check("stream-channel-padded", only="stream")
async def padded(bench: Bench) -> None:
    """Without padding, what comes behind would be read at the wrong place."""
    tester = await bench.relay()
    peer = await bench.udp_peer(tester)
    reply = await tester.request(Method.CHANNEL_BIND, (CHANNEL_NUMBER, CHANNEL_MIN), (XOR_PEER_ADDRESS, peer.address))
    needed(reply.success, "ChannelBind was refused.")
    for size in (1, 2, 3, 5):
        if not await bench.to_client(peer, tester, secrets.token_bytes(size), by=CHANNEL_MIN) or tester.pipe.ended:
            raise Wrong(f"After ChannelData of {size} bytes the stream is no sequence of frames any more.")
    if await tester.attempt(Draft(Method.BINDING)) is None:
        raise Wrong("After ChannelData of odd lengths the stream is no sequence of frames any more.")


@check("stream-channel-unpadded-length", only="stream")
async def unpadded_length(bench: Bench) -> None:
    """The length field does not count the padding, so the peer gets none."""
    tester = await bench.relay()
    peer = await bench.udp_peer(tester)
    reply = await tester.request(Method.CHANNEL_BIND, (CHANNEL_NUMBER, CHANNEL_MIN), (XOR_PEER_ADDRESS, peer.address))
    needed(reply.success, "ChannelBind was refused.")
    for size in (1, 2, 3, 5):
        payload = secrets.token_bytes(size)
        tester.send_channel(CHANNEL_MIN, payload)
        arrival = await peer.arrival(bench.options.patience)
        needed(arrival is not None, "ChannelData does not arrive.")
        if arrival is not None and arrival[0] != payload:
            raise Wrong(f"ChannelData of {size} bytes reached the peer as {len(arrival[0])} bytes.")


@check("stream-large", only="stream")
async def large(bench: Bench) -> None:
    tester = await bench.relay()
    peer = await bench.udp_peer(tester)
    await tester.permit(peer.address)
    payload = secrets.token_bytes(8000)
    if await bench.to_peer(lambda: tester.indicate(peer.address, payload), peer, payload) is None:
        needed(tester.relay.is_loopback, "A datagram of 8000 bytes may be lost on the way.")
        raise Wrong("A Send indication with 8000 bytes was not relayed.")


@check("tls-version", login=False, only="tls")
async def version(bench: Bench) -> None:
    pipe = (await bench.client()).pipe
    assert isinstance(pipe, StreamPipe)
    found = pipe.tls.version()
    if found not in ("TLSv1.2", "TLSv1.3"):
        raise Wrong(f"The server agreed to {found}.")


@check("tls-alpn", login=False, only="tls")
async def alpn(bench: Bench) -> None:
    pipe = (await bench.client()).pipe
    assert isinstance(pipe, StreamPipe)
    chosen = pipe.tls.selected_alpn_protocol()
    if chosen is None:
        raise Wrong("The client offered stun.turn by ALPN, and the server selected nothing.")


@check("tls-cipher", login=False, only="tls")
async def cipher(bench: Bench) -> None:
    pipe = (await bench.client()).pipe
    assert isinstance(pipe, StreamPipe)
    name, _, bits = pipe.tls.cipher()
    if bits < 128 or "NULL" in name or "RC4" in name:
        raise Wrong(f"The server chose the cipher {name} with {bits} bits.")
