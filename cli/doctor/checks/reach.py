"""How the host itself reaches its public address (hairpinning), and whether clients can come by IPv6."""

import asyncio
from ipaddress import ip_address

from cli.doctor.findings import HostFinding, not_checked, ok, warning, wrong
from cli.doctor.host import Host, ServedSocket
from stun.address import Address
from stun.uri import StunUri
from turnserver.relay_advice import is_private

__all__ = ["hairpin", "ipv6"]

_ELSEWHERE = ip_address("2001:db8::1").packed
"""An address set aside for documentation: only the default route leads there, and nothing is sent."""


async def hairpin(host: Host) -> list[HostFinding]:
    """Ask the server at its public address from behind the same NAT (RFC 4787 §6)."""
    pairs: dict[bytes, bytes] = {}
    for door in host.doors:
        if not door.address.is_loopback:
            pairs[door.address.ip] = host.public(door.address.ip)
    translated = {own: public for own, public in pairs.items() if own != public}
    if not translated:
        if host.config.relay.external.asked or any(map(is_private, pairs)):
            return [
                not_checked(
                    "The public address is not known from the configuration.", "relay: {external: PUBLIC_ADDRESS}"
                )
            ]
        return [ok("The server has its public addresses itself: there is no NAT in front of it.")]
    found = await asyncio.gather(*(_through(host, own, public) for own, public in translated.items()))
    return list(found)


async def _through(host: Host, own: bytes, public: bytes) -> HostFinding:
    own_text, public_text = Address(own, 0).host, Address(public, 0).host
    doors = [door for door in host.doors if door.address.ip == own and not door.behind]
    if not doors:
        return not_checked(f"No listener on {own_text} is reached directly.")
    door = min(doors, key=_order)
    here = await host.probe(door.uri)
    if here.reflexive is None:
        return not_checked(f"The server does not answer at {door}, so its public address was not tried.")
    uri = StunUri(door.uri.scheme, public_text, door.address.port, door.uri.transport)
    report = await host.probe(uri)
    if report.reflexive is not None:
        return ok(
            f"The NAT hairpins: this host reaches the server at {public_text}, and is seen as {report.reflexive}."
        )
    return warning(
        f"This host does not reach the server at its public address, {door.uri.protocol} {public_text} port "
        f"{door.address.port}: the NAT does not hairpin, or does not forward that port.",
        "Clients and peers in the same network as the server are given the public address. Calls between relays of "
        "this server do not need it.",
        f"NAME. IN A {own_text}    # in the DNS of the own network (split DNS); or let the NAT hairpin",
    )


def _order(door: ServedSocket) -> int:
    return ["udp", "tcp", "tls", "dtls"].index(door.uri.protocol)


async def ipv6(host: Host) -> list[HostFinding]:
    """Whether the host has IPv6, and the server uses it."""
    own = [ip for each in host.interfaces() for ip in each.addresses if len(ip) == 16]
    outer = [ip for ip in own if not ip_address(ip).is_loopback]
    public = [ip for ip in outer if not is_private(ip)]
    if public:
        return [_usable(host, Address(public[0], 0).host)]
    if 16 in host.family_sizes and not outer:
        sentence = "Listeners are on IPv6, and this host has no IPv6 address."
        return [wrong(sentence, "They cannot be opened.", "ip -6 address    # and bring the interface up")]
    if outer:
        return [ok("This host has private IPv6 addresses only: clients come by IPv4.")]
    return [ok("This host has no IPv6, and no listener is on it. Clients with IPv6 alone do not reach it.")]


def _usable(host: Host, shown: str) -> HostFinding:
    """What a host with a public IPv6 address makes of it."""
    if 16 not in host.family_sizes:
        return warning(
            f"This host has the IPv6 address {shown}, and no listener is on IPv6.",
            "Clients of networks with IPv6 alone come through a translator (NAT64), or not at all.",
            "listeners: [{transport: udp, address: '::'}]",
        )
    if host.route(_ELSEWHERE) is None:
        return wrong(
            f"This host has the IPv6 address {shown}, and no route to the internet over IPv6.",
            "Answers to clients that come by IPv6 cannot be sent.",
            "ip -6 route add default via ROUTER",
        )
    if not any(len(pair.bound) == 16 and not ip_address(pair.bound).is_loopback for pair in host.relays):
        return warning(
            f"Listeners are on IPv6 ({shown}), and nothing is relayed from an IPv6 address.",
            "Peers with IPv6 alone cannot be reached (440).",
            f"relay: {{addresses: ['{shown}']}}",
        )
    return ok(f"Clients and peers can come by IPv6, as far as this host knows: {shown}, with a route.")
