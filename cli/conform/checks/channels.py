"""ChannelBind and ChannelData: RFC 8656 §12."""

import secrets
from functools import partial

from cli.conform.bench import Bench
from cli.conform.client import KitClient
from cli.conform.findings import Wrong
from cli.conform.judge import error, needed, succeeded
from cli.conform.peers import UdpPeer
from cli.conform.registry import check
from cli.conform.wire import Draft, SeenMessage
from stun.address import Address
from stun.attributes import CHANNEL_NUMBER, LIFETIME, XOR_PEER_ADDRESS
from stun.constants import CHANNEL_MAX, CHANNEL_MIN, Method

__all__: list[str] = []

_NUMBER = CHANNEL_MIN + 7


async def _bind(tester: KitClient, number: int, peer: Address) -> SeenMessage:
    return await tester.request(Method.CHANNEL_BIND, (CHANNEL_NUMBER, number), (XOR_PEER_ADDRESS, peer))


async def _peer(bench: Bench) -> tuple[KitClient, UdpPeer]:
    tester = await bench.relay()
    return tester, await bench.udp_peer(tester)


async def _bound(bench: Bench, number: int = _NUMBER) -> tuple[KitClient, UdpPeer]:
    tester, peer = await _peer(bench)
    reply = await _bind(tester, number, peer.address)
    needed(reply.success, f"ChannelBind was refused: error {reply.code}.")
    return tester, peer


@check("channel-success", modes=True)
async def success(bench: Bench) -> None:
    tester, peer = await _peer(bench)
    succeeded(await _bind(tester, _NUMBER, peer.address))


@check("channel-mismatch")
async def mismatch(bench: Bench) -> None:
    tester = await bench.client()
    error(await _bind(tester, _NUMBER, bench.target.address), 437)


@check("channel-no-number")
async def no_number(bench: Bench) -> None:
    tester, peer = await _peer(bench)
    error(await tester.request(Method.CHANNEL_BIND, (XOR_PEER_ADDRESS, peer.address)), 400)


@check("channel-no-peer")
async def no_peer(bench: Bench) -> None:
    error(await (await bench.relay()).request(Method.CHANNEL_BIND, (CHANNEL_NUMBER, _NUMBER)), 400)


async def _number_refused(bench: Bench, number: int) -> None:
    tester, peer = await _peer(bench)
    error(await _bind(tester, number, peer.address), 400)


@check("channel-below")
async def below(bench: Bench) -> None:
    await _number_refused(bench, CHANNEL_MIN - 1)


@check("channel-zero")
async def zero(bench: Bench) -> None:
    await _number_refused(bench, 0)


@check("channel-above")
async def above(bench: Bench) -> None:
    await _number_refused(bench, CHANNEL_MAX + 1)


@check("channel-rtp-range")
async def rtp_range(bench: Bench) -> None:
    await _number_refused(bench, 0x8000)


@check("channel-first")
async def first(bench: Bench) -> None:
    tester, peer = await _peer(bench)
    succeeded(await _bind(tester, CHANNEL_MIN, peer.address))


@check("channel-last")
async def last(bench: Bench) -> None:
    tester, peer = await _peer(bench)
    succeeded(await _bind(tester, CHANNEL_MAX, peer.address))


@check("channel-reserved-bits")
async def reserved_bits(bench: Bench) -> None:
    """RFFU is ignored."""
    tester, peer = await _peer(bench)
    value = _NUMBER.to_bytes(2, "big") + b"\xff\xff"
    extra = ((CHANNEL_NUMBER.number, value),)
    succeeded(await tester.request(Method.CHANNEL_BIND, (XOR_PEER_ADDRESS, peer.address), extra=extra))


@check("channel-again")
async def again(bench: Bench) -> None:
    tester, peer = await _bound(bench)
    succeeded(await _bind(tester, _NUMBER, peer.address))


@check("channel-second-peer")
async def second_peer(bench: Bench) -> None:
    tester, peer = await _bound(bench)
    error(await _bind(tester, _NUMBER, Address(peer.address.ip, peer.address.port ^ 1)), 400)


@check("channel-second-number")
async def second_number(bench: Bench) -> None:
    tester, peer = await _bound(bench)
    error(await _bind(tester, _NUMBER + 1, peer.address), 400)


@check("channel-refused-harmless")
async def refused_harmless(bench: Bench) -> None:
    """A binding that is refused changes nothing about the one that there is."""
    tester, peer = await _bound(bench)
    reply = await _bind(tester, _NUMBER, Address(peer.address.ip, peer.address.port ^ 1))
    needed(not reply.success, "The second binding was not refused.")
    payload = secrets.token_bytes(30)
    if await bench.to_peer(lambda: tester.send_channel(_NUMBER, payload), peer, payload) is None:
        raise Wrong("After a binding of another peer was refused, the channel leads nowhere.")


@check("channel-to-peer")
async def to_peer(bench: Bench) -> None:
    tester, peer = await _bound(bench)
    payload = secrets.token_bytes(100)
    found = await bench.to_peer(lambda: tester.send_channel(_NUMBER, payload), peer, payload)
    if found is None:
        raise Wrong("ChannelData did not reach the channel's peer.")
    if found.port != tester.relay.port:
        raise Wrong(f"The peer got it from port {found.port}; the relayed address has port {tester.relay.port}.")


@check("channel-to-client")
async def to_client(bench: Bench) -> None:
    tester, peer = await _bound(bench)
    if not await bench.to_client(peer, tester, secrets.token_bytes(100), by=_NUMBER):
        raise Wrong(
            "A datagram of the channel's peer did not reach the client as ChannelData with the channel's number."
        )


@check("channel-lengths-to-peer")
async def lengths_to_peer(bench: Bench) -> None:
    tester, peer = await _bound(bench)
    for size in (1, 2, 3, 4, 5, 1200):
        payload = secrets.token_bytes(size)
        if await bench.to_peer(partial(tester.send_channel, _NUMBER, payload), peer, payload) is None:
            raise Wrong(f"ChannelData of {size} bytes did not reach the peer as {size} bytes.")


@check("channel-lengths-to-client")
async def lengths_to_client(bench: Bench) -> None:
    tester, peer = await _bound(bench)
    for size in (1, 2, 3, 4, 5, 1200):
        if not await bench.to_client(peer, tester, secrets.token_bytes(size), by=_NUMBER):
            raise Wrong(f"A datagram of {size} bytes did not reach the client as ChannelData of {size} bytes.")


@check("channel-empty-to-peer")
async def empty_to_peer(bench: Bench) -> None:
    tester, peer = await _bound(bench)
    if await bench.to_peer(lambda: tester.send_channel(_NUMBER, b""), peer, b"") is None:
        raise Wrong("Empty ChannelData did not reach the peer as an empty datagram.")


@check("channel-empty-to-client")
async def empty_to_client(bench: Bench) -> None:
    tester, peer = await _bound(bench)
    if not await bench.to_client(peer, tester, b"", by=_NUMBER):
        raise Wrong("An empty datagram of the peer did not reach the client as ChannelData of length 0.")


@check("channel-other-port")
async def other_port(bench: Bench) -> None:
    """Another port of the peer's address has the permission but not the channel."""
    tester, _ = await _bound(bench)
    other = await bench.udp_peer(tester)
    payload = secrets.token_bytes(30)
    clock_left = bench.options.patience
    for _ in range(4):
        other.send(payload, tester.relay)
        while (item := await tester.relayed(clock_left / 4)) is not None:
            if item.payload == payload:
                if item.channel is not None:
                    raise Wrong("What came from another port of the peer was sent by the peer's channel.")
                return
    raise Wrong("What came from another port of the channel's peer did not reach the client (it has the permission).")


@check("channel-send-too")
async def send_too(bench: Bench) -> None:
    """A channel does not end Send indications."""
    tester, peer = await _bound(bench)
    payload = secrets.token_bytes(30)
    if await bench.to_peer(lambda: tester.indicate(peer.address, payload), peer, payload) is None:
        raise Wrong("A Send indication to the peer of a channel was not relayed.")


@check("channel-two")
async def two(bench: Bench) -> None:
    tester, first_peer = await _bound(bench)
    second_peer_ = await bench.udp_peer(tester)
    needed((await _bind(tester, _NUMBER + 1, second_peer_.address)).success, "A second channel was refused.")
    one, other = secrets.token_bytes(30), secrets.token_bytes(31)
    if await bench.to_peer(lambda: tester.send_channel(_NUMBER, one), first_peer, one) is None:
        raise Wrong("With two channels, the first one's data does not reach its peer.")
    if await bench.to_peer(lambda: tester.send_channel(_NUMBER + 1, other), second_peer_, other) is None:
        raise Wrong("With two channels, the second one's data does not reach its peer.")


async def _dropped(bench: Bench, tester: KitClient, peer: UdpPeer, frame: bytes, mark: bytes) -> None:
    """A frame must not reach the peer; good ChannelData after it does."""
    tester.send(frame)
    needed(await tester.settled(), "The server closed the connection, which it may do.")
    late = secrets.token_bytes(32)
    for _ in range(4):
        tester.send_channel(_NUMBER, late)
        while (arrival := await peer.arrival(bench.options.patience / 4)) is not None:
            if mark in arrival[0]:
                raise Wrong("It was relayed to the peer.")
            if arrival[0] == late:
                return
    needed(False, "Ordinary ChannelData does not arrive either.")


@check("channel-unbound")
async def unbound(bench: Bench) -> None:
    tester, peer = await _bound(bench)
    mark = secrets.token_bytes(32)
    await _dropped(bench, tester, peer, (_NUMBER + 9).to_bytes(2, "big") + b"\0\x20" + mark, mark)


@check("channel-reserved-number")
async def reserved_number(bench: Bench) -> None:
    tester, peer = await _bound(bench)
    mark = secrets.token_bytes(32)
    await _dropped(bench, tester, peer, b"\x50\x00\0\x20" + mark, mark)


@check("channel-length-beyond", only="udp")
async def length_beyond(bench: Bench) -> None:
    tester, peer = await _bound(bench)
    mark = secrets.token_bytes(32)
    await _dropped(bench, tester, peer, _NUMBER.to_bytes(2, "big") + b"\0\x40" + mark, mark)


@check("channel-trailing", only="udp")
async def trailing(bench: Bench) -> None:
    """On UDP, padding is allowed and is not relayed."""
    tester, peer = await _bound(bench)
    payload = secrets.token_bytes(30)
    frame = _NUMBER.to_bytes(2, "big") + b"\0\x1e" + payload + b"\0\0"
    if await bench.to_peer(lambda: tester.send(frame), peer, payload) is None:
        raise Wrong("ChannelData with padding did not reach the peer without it.")


@check("channel-not-others")
async def not_others(bench: Bench) -> None:
    """A channel belongs to its 5-tuple."""
    tester, peer = await _bound(bench)
    stranger = await bench.client()
    mark = secrets.token_bytes(32)
    stranger.send_channel(_NUMBER, mark)
    await stranger.settled()
    late = secrets.token_bytes(33)
    for _ in range(4):
        tester.send_channel(_NUMBER, late)
        while (arrival := await peer.arrival(bench.options.patience / 4)) is not None:
            if arrival[0] == mark:
                raise Wrong("ChannelData of another client was relayed by this client's channel.")
            if arrival[0] == late:
                return
    needed(False, "Ordinary ChannelData does not arrive.")


@check("channel-ends-with-allocation")
async def ends(bench: Bench) -> None:
    tester, peer = await _bound(bench)
    await tester.prepare("A Refresh with lifetime 0", Method.REFRESH, (LIFETIME, 0))
    await tester.allocate()
    mark = secrets.token_bytes(32)
    tester.send_channel(_NUMBER, mark)
    await tester.settled()
    arrival = await peer.arrival(0.05)
    if arrival is not None and arrival[0] == mark:
        raise Wrong("A channel outlived its allocation.")


@check("channel-permits")
async def permits(bench: Bench) -> None:
    tester, _ = await _bound(bench)
    other = await bench.udp_peer(tester)
    payload = secrets.token_bytes(30)
    if await bench.to_peer(lambda: tester.indicate(other.address, payload), other, payload) is None:
        raise Wrong("ChannelBind gave no permission for the peer's address.")


@check("channel-peer-multicast")
async def multicast(bench: Bench) -> None:
    tester = await bench.relay()
    group = "224.0.0.251" if len(tester.relay.ip) == 4 else "ff02::fb"
    error(await _bind(tester, _NUMBER, Address.parse(group, 5353)), 403)


@check("channel-peer-any")
async def any_address(bench: Bench) -> None:
    tester = await bench.relay()
    host = "0.0.0.0" if len(tester.relay.ip) == 4 else "::"
    error(await _bind(tester, _NUMBER, Address.parse(host, 9)), 403)


@check("channel-order")
async def order(bench: Bench) -> None:
    """In the order in which they were sent, when one after the other arrives."""
    tester, peer = await _bound(bench)
    for number in range(5):
        payload = bytes((number,)) * 40
        if await bench.to_peer(partial(tester.send_channel, _NUMBER, payload), peer, payload) is None:
            raise Wrong(f"Of five ChannelData messages, number {number + 1} did not arrive.")


@check("channel-still-stun")
async def still_stun(bench: Bench) -> None:
    tester, _ = await _bound(bench)
    await tester.ask(Draft(Method.BINDING))
