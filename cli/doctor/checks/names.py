"""The DNS: do the names of the server lead to it, and do SRV records name ports that it has."""

from collections.abc import Iterable, Iterator
from ipaddress import ip_address

from cli.doctor.findings import HostFinding, not_checked, ok, warning, wrong
from cli.doctor.host import Host
from cli.doctor.names import NoResolver, SrvRecord
from turnserver.core.types import IpAddress
from turnserver.relay_advice import is_private
from turnserver.signaling.edge.ice import valid_host
from turnserver.text import one_line

__all__ = ["SERVICES", "dns", "srv"]

SERVICES = {
    "_stun._udp": ("udp",),
    "_stun._tcp": ("tcp",),
    "_stuns._tcp": ("tls",),
    "_turn._udp": ("udp",),
    "_turn._tcp": ("tcp",),
    "_turns._tcp": ("tls",),
    "_turns._udp": ("dtls",),
}
"""The services of RFC 8489 §8 and RFC 5928 §3, and what is spoken there."""

_MOST_NAMES = 8


async def dns(host: Host) -> list[HostFinding]:
    """Look up every name of the server; its addresses have to be those that clients reach it by."""
    if not host.names:
        return [not_checked("The configuration has no name of this server: neither signaling.urls nor a certificate.")]
    found: list[HostFinding] = []
    for name in host.names[:_MOST_NAMES]:
        try:
            addresses = await host.resolver.addresses(name)
        except NoResolver as error:
            found.append(not_checked(f"{name} cannot be looked up: {error}.", f"dig {name} A {name} AAAA"))
            continue
        found += _leads_here(host, name, addresses)
    return found


def _leads_here(host: Host, name: str, addresses: list[IpAddress]) -> Iterator[HostFinding]:
    expected = _public(host)
    if not addresses:
        yield wrong(
            f"{name} has no address in the DNS.",
            "Clients that are given this name find no server.",
            *(_record(name, each) for each in expected if not is_private(each.packed)),
        )
        return
    listed = ", ".join(map(str, addresses))
    strange = [each for each in addresses if each not in expected]
    proxied = [door for door in host.doors if door.behind]
    if not strange:
        yield ok(f"{name} leads here: {listed}.")
    elif host.config.relay.external.asked or (expected and all(is_private(each.packed) for each in expected)):
        yield not_checked(
            f"{name} leads to {listed}; whether that is this server is not known from its configuration.",
            "relay: {external: PUBLIC_ADDRESS}",
        )
    elif proxied:
        yield warning(
            f"{name} leads to {listed}, and not all of these are this server's.",
            "That is right for the proxy in front of it; clients over UDP do not come through it.",
        )
    else:
        yield wrong(
            f"{name} leads to {', '.join(map(str, strange))}, which is not an address of this server.",
            "Clients that take that address reach another host, or none.",
            *(_record(name, each) for each in expected),
        )
    versions = {each.version for each in addresses}
    if 6 in versions and 16 not in host.family_sizes and host.doors:
        yield wrong(
            f"{name} has an IPv6 address (AAAA), and no listener is on IPv6.",
            "Clients try IPv6 first and wait for it in vain.",
            "listeners: [{transport: udp, address: '::'}]",
        )


def _public(host: Host) -> list[IpAddress]:
    """The addresses that clients reach this server by, loopback left out."""
    own = dict.fromkeys(host.public(door.address.ip) for door in host.doors if not door.address.is_loopback)
    return [ip_address(each) for each in own]


def _record(name: str, address: IpAddress) -> str:
    return f"{name}. IN {'A' if address.version == 4 else 'AAAA'} {address}"


async def srv(host: Host) -> list[HostFinding]:
    """SRV records of the server's names and of its realm, if that is a domain; browsers do not use them."""
    realm = host.config.realm
    domains = [*host.names[:_MOST_NAMES], *([realm.lower()] if _is_domain(realm) else [])]
    found: list[HostFinding] = []
    for domain in dict.fromkeys(domains):
        try:
            records = {service: await host.resolver.services(f"{service}.{domain}") for service in SERVICES}
        except NoResolver as error:
            found.append(
                not_checked(f"SRV records of {domain} cannot be looked up: {error}.", f"dig _turn._udp.{domain} SRV")
            )
            continue
        found += list(_records(host, domain, records))
    return found or [not_checked("The configuration has no domain: neither a name in signaling.urls nor a realm.")]


def _is_domain(realm: str) -> bool:
    return "." in realm and valid_host(realm) == realm.lower() and not realm.replace(".", "").isdigit()


def _records(host: Host, domain: str, records: dict[str, list[SrvRecord]]) -> Iterator[HostFinding]:
    if not any(records.values()):
        yield ok(f"{domain} has no SRV records for STUN or TURN. Browsers do not use them.")
        return
    for service, entries in records.items():
        for entry in entries:
            yield _judged(host, f"{service}.{domain}", entry, SERVICES[service])


def _judged(host: Host, name: str, entry: SrvRecord, spoken: Iterable[str]) -> HostFinding:
    target, ports = one_line(entry.target, 100), _ports(host, spoken)
    if entry.target == ".":
        return ok(f"{name} says that there is no such service.")
    if entry.port in ports:
        return ok(f"{name} leads to {target}:{entry.port}, a port of this server.")
    own = entry.target.lower() in host.names
    better = [f"{name}. IN SRV 0 0 {port} {target}." for port in sorted(ports)]
    sentence = f"{name} leads to {target}:{entry.port}, and this server has no listener of that kind on that port."
    why = "Clients that resolve the domain by RFC 5928 get no answer."
    if own or not host.names:
        return wrong(sentence, why, *(better or [f"{name}. IN SRV 0 0 0 ."]))
    return warning(sentence, why + " That is right if the record is another server's.", *better)


def _ports(host: Host, spoken: Iterable[str]) -> set[int]:
    return {door.address.port for door in host.doors if door.uri.protocol in spoken}
