"""The addresses that clients and peers are told, and the one that a STUN server outside sees."""

from collections.abc import Iterator
from ipaddress import ip_address

from cli.doctor.findings import HostFinding, not_checked, ok, warning, wrong
from cli.doctor.host import Host
from stun.address import Address
from stun.uri import StunUri
from turnserver.external import absent_addresses
from turnserver.net import has_address
from turnserver.relay_advice import is_private, relay_advice

__all__ = ["addresses", "seen_outside"]

_PEERS = "Peers send to the address that clients are told: with one that they cannot reach, calls over the relay fail."


async def addresses(host: Host) -> list[HostFinding]:
    """Addresses of the configuration that the host does not have, what clients are told, and what is seen outside."""
    relay = host.config.relay
    found = [
        wrong(
            f"relay.external maps {own}, which is not an address of this host.",
            "The server does not start.",
            "ip -brief address    # and give one of these, or the public address alone: relay: {external: ADDRESS}",
        )
        for own in absent_addresses(relay.external)
    ]
    own_ips = dict.fromkeys([*(door.address.ip for door in host.doors), *(each.bound for each in host.relays)])
    found += [
        wrong(
            f"{Address(ip, 0).host} is not an address of this host.",
            "Nothing can listen or relay there.",
            "ip -brief address    # and give one of these under listeners or relay.addresses",
        )
        for ip in own_ips
        if not has_address(ip)
    ]
    if not host.relays:
        return [
            *found,
            wrong(
                "There is no address to relay from.",
                "Every Allocate is refused.",
                "listeners: [{transport: udp, address: 0.0.0.0}]",
            ),
        ]
    asked = relay.external.asked
    # A private address beside a public one is another way for some; without one, nobody outside has any.
    nobody = all(is_private(pair.external) or ip_address(pair.external).is_loopback for pair in host.relays)
    found += [
        (wrong if nobody else warning)(sentence, _PEERS, "relay: {external: PUBLIC_ADDRESS}")
        for sentence in relay_advice(host.relays, relay.default_family, relay.external, asked=asked)
    ]
    if not asked and not found:
        found += list(_told(host))
    return [*found, *await seen_outside(host)]


def _told(host: Host) -> Iterator[HostFinding]:
    for pair in host.relays:
        bound, told = Address(pair.bound, 0).host, Address(pair.external, 0).host
        if ip_address(pair.external).is_loopback:
            yield warning(
                f"Relays are on {told}: only programs on this host reach them.",
                _PEERS,
                "listeners: [{transport: udp, address: 0.0.0.0}]",
            )
        else:
            yield ok(f"Relays are on {bound}" + (f", and clients are told {told}." if bound != told else "."))


async def seen_outside(host: Host) -> list[HostFinding]:
    """What ``relay.stun_server`` says of this host, beside what clients are told; nothing is asked of anybody else."""
    relay = host.config.relay
    if not relay.stun_server:
        behind = any(is_private(pair.bound) for pair in host.relays)
        if not behind:
            return []
        return [
            not_checked(
                "Which public address the NAT in front has is not known from here: relay.stun_server is empty.",
                "relay: {stun_server: 'stun:STUN_SERVER'}",
            )
        ]
    report = await host.probe(StunUri.parse(relay.stun_server))
    if report.reflexive is None:
        why = report.steps[-1].sentence if report.steps else "no answer"
        grade = wrong if relay.external.asked else warning
        return [
            grade(
                f"The STUN server {relay.stun_server} does not answer: {why}",
                "Without it, relay.external: auto has no public address to tell clients.",
                "relay: {external: PUBLIC_ADDRESS}",
            )
        ]
    seen = report.reflexive.rpartition(":")[0].strip("[]")
    told = [Address(pair.external, 0).host for pair in host.relays]
    if relay.external.asked or seen in told:
        return [ok(f"{relay.stun_server} sees this host as {seen}.")]
    alike = [each for each in told if (":" in each) == (":" in seen)]
    if not alike:
        return [ok(f"{relay.stun_server} sees this host as {seen}; there are no relays of that family.")]
    return [
        wrong(
            f"{relay.stun_server} sees this host as {seen}, and clients are told {' and '.join(alike)}.",
            _PEERS,
            f"relay: {{external: {_quoted(seen)}}}",
        )
    ]


def _quoted(host: str) -> str:
    return f"'{host}'" if ":" in host else host
