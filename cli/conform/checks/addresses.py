"""Address families: RFC 8656 §7.2, RFC 6156 §4 as RFC 8656 has it now."""

import secrets

from cli.conform.bench import Bench
from cli.conform.client import KitClient
from cli.conform.findings import Wrong
from cli.conform.judge import affordable, error, needed, succeeded
from cli.conform.registry import check
from cli.conform.wire import SeenMessage
from stun.address import Address
from stun.attributes import (
    ADDITIONAL_ADDRESS_FAMILY,
    CHANNEL_NUMBER,
    LIFETIME,
    REQUESTED_ADDRESS_FAMILY,
    REQUESTED_TRANSPORT,
    XOR_MAPPED_ADDRESS,
    XOR_PEER_ADDRESS,
)
from stun.constants import CHANNEL_MIN, AddressFamily, Method, TransportProtocol

__all__: list[str] = []

_UDP = (REQUESTED_TRANSPORT, int(TransportProtocol.UDP))
_OTHER = {
    AddressFamily.IPV4: Address.parse("2001:db8::1", 9),
    AddressFamily.IPV6: Address.parse("192.0.2.1", 9),
}
"""An address of documentation of the other family."""


async def _family(bench: Bench, family: AddressFamily) -> tuple[KitClient, SeenMessage]:
    tester = await bench.client()
    reply = affordable(await tester.request(Method.ALLOCATE, _UDP, (REQUESTED_ADDRESS_FAMILY, int(family))))
    tester.took(reply)
    return tester, reply


@check("family-default")
async def default(bench: Bench) -> None:
    tester = await bench.relay()
    if tester.relay.family is not AddressFamily.IPV4:
        _, reply = await _family(bench, AddressFamily.IPV4)
        if reply.success:
            raise Wrong("An Allocate without a family got an IPv6 address from a server that has IPv4.")
        raise Wrong("An Allocate without a family got an IPv6 address; a server without IPv4 answers 440.")


@check("family-ipv4")
async def ipv4(bench: Bench) -> None:
    tester, reply = await _family(bench, AddressFamily.IPV4)
    if not reply.success:
        error(reply, 440)
        needed(False, "The server relays no IPv4 (440).")
    needed(tester.relays, "There is no relayed address.")
    if {each.family for each in tester.relays} != {AddressFamily.IPV4}:
        raise Wrong("IPv4 was asked for, and the relayed address is another.")


@check("family-ipv6")
async def ipv6(bench: Bench) -> None:
    tester, reply = await _family(bench, AddressFamily.IPV6)
    if not reply.success:
        error(reply, 440)
        needed(False, "The server relays no IPv6 (440).")
    needed(tester.relays, "There is no relayed address.")
    if {each.family for each in tester.relays} != {AddressFamily.IPV6}:
        raise Wrong("IPv6 was asked for, and the relayed address is another.")


@check("mapped-not-embedded")
async def not_embedded(bench: Bench) -> None:
    """An IPv4 client is shown a plain IPv4 address, never one in ::ffff:0:0/96."""
    tester = await bench.client()
    reply = await tester.request(Method.ALLOCATE, _UDP)
    tester.took(reply)
    octets = reply.octets(XOR_MAPPED_ADDRESS)
    needed(octets, "There is no XOR-MAPPED-ADDRESS.")
    if bench.target.address.family is AddressFamily.IPV4 and octets is not None and octets[1:2] != b"\x01":
        raise Wrong("XOR-MAPPED-ADDRESS is of IPv6, and the client uses IPv4.")


@check("permission-family")
async def permission_family(bench: Bench) -> None:
    tester = await bench.relay()
    other = _OTHER[tester.relay.family]
    error(await tester.request(Method.CREATE_PERMISSION, (XOR_PEER_ADDRESS, other)), 443)


@check("channel-family")
async def channel_family(bench: Bench) -> None:
    tester = await bench.relay()
    other = _OTHER[tester.relay.family]
    reply = await tester.request(Method.CHANNEL_BIND, (CHANNEL_NUMBER, CHANNEL_MIN), (XOR_PEER_ADDRESS, other))
    error(reply, 443)


@check("refresh-family")
async def refresh_family(bench: Bench) -> None:
    tester = await bench.relay()
    other = _OTHER[tester.relay.family].family
    error(await tester.request(Method.REFRESH, (LIFETIME, 600), (REQUESTED_ADDRESS_FAMILY, int(other))), 443)


@check("refresh-family-right")
async def refresh_family_right(bench: Bench) -> None:
    tester = await bench.relay()
    wanted = (REQUESTED_ADDRESS_FAMILY, int(tester.relay.family))
    reply = await tester.request(Method.REFRESH, (LIFETIME, 600), wanted)
    if not reply.success:
        raise Wrong(f"A Refresh of the family that the allocation has got error {reply.code}.")


@check("dual-half")
async def dual_half(bench: Bench) -> None:
    """A Refresh with 0 and a family deletes one relay of two, and the other goes on."""
    tester = await bench.client()
    reply = await tester.request(Method.ALLOCATE, _UDP, (ADDITIONAL_ADDRESS_FAMILY, int(AddressFamily.IPV6)))
    tester.took(reply)
    needed(len(tester.relays) == 2, "There are no two relays.")
    second = (REQUESTED_ADDRESS_FAMILY, int(AddressFamily.IPV6))
    succeeded(await tester.request(Method.REFRESH, (LIFETIME, 0), second))
    if (await tester.request(Method.REFRESH, (LIFETIME, 600), second)).success:
        raise Wrong("After a Refresh with 0 of the IPv6 relay, this relay can still be refreshed.")
    succeeded(await tester.request(Method.REFRESH, (LIFETIME, 600)))


@check("ipv6-relays")
async def ipv6_relays(bench: Bench) -> None:
    """Both ways, in indications, over an IPv6 relay."""
    tester, reply = await _family(bench, AddressFamily.IPV6)
    needed(reply.success and tester.relays, "The server relays no IPv6.")
    peer = await bench.udp_peer(tester)
    await tester.permit(peer.address)
    payload = secrets.token_bytes(20)
    if await bench.to_peer(lambda: tester.indicate(peer.address, payload), peer, payload) is None:
        raise Wrong("A Send indication over an IPv6 relay did not reach the peer.")
    if not await bench.to_client(peer, tester, payload[::-1]):
        raise Wrong("A datagram of an IPv6 peer did not reach the client.")
