"""What the firewall of this host does with packets of clients and peers, and the rules that let them in."""

import asyncio
import shlex
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Final

from cli.doctor.findings import HostFinding, not_checked, ok, wrong
from cli.doctor.host import Host
from cli.doctor.matching import FirstPacket
from cli.doctor.ruleset import ChainName, Judgement, PacketVerdict, Ruleset
from stun.constants import TransportProtocol

__all__ = ["Needed", "allowing", "firewall", "needed_ports"]

_OUTSIDE = "Another firewall in front (security groups of a cloud) cannot be seen from here"

_ELSEWHERE: Final = ("192.0.2.1", "2001:db8::1")
"""Addresses set aside for documentation: only the default route leads there, and nothing is sent."""


@dataclass(frozen=True, slots=True)
class Needed:
    """Ports that have to be open for clients or peers: ``udp`` or ``tcp``, the first and the last, and what for."""

    protocol: str
    first: int
    last: int
    purpose: str

    def written(self, between: str) -> str:
        """The ports as firewalls write them."""
        return str(self.first) if self.first == self.last else f"{self.first}{between}{self.last}"

    def __str__(self) -> str:
        """In words."""
        return f"{self.protocol} {self.written('-')} ({self.purpose})"


def needed_ports(host: Host) -> list[Needed]:
    """The ports of listeners that clients reach directly, of the relays and of the SFU; each once."""
    found = [
        Needed(
            "udp" if door.transport.port_space is TransportProtocol.UDP else "tcp",
            door.address.port,
            door.address.port,
            "clients",
        )
        for door in host.doors
        if not door.behind and not door.address.is_loopback
    ]
    config, relayed = host.config, host.config.relay.ports
    if found and host.relays:
        found.append(Needed("udp", relayed.first, relayed.last, "relays"))
    if config.serves_rooms and config.signaling.mode != "mesh" and config.media.ports:
        found.append(Needed("udp", config.media.ports[0], config.media.ports[-1], "media of the SFU"))
    return list(dict.fromkeys(found))


def allowing(
    host: Host, shut: Iterable[Needed], ruleset: Ruleset | None = None, chain: ChainName | None = None
) -> Iterator[str]:
    """The lines that let packets to these ports in, for the firewall that this host has; ``chain`` has dropped them."""
    ports = sorted(shut, key=lambda each: (each.protocol, each.first))
    if "ENABLED=yes" in _words_of(host, "ufw", "ufw.conf"):
        for each in ports:
            yield f"ufw allow {each.written(':')}/{each.protocol}"
        return
    if ruleset is not None and "firewalld" in ruleset.tables:
        for each in ports:
            yield f"firewall-cmd --permanent --add-port={each.written('-')}/{each.protocol}"
        yield "firewall-cmd --reload"
        return
    family, table, name = chain or ("inet", "filter", "input")
    for protocol in dict.fromkeys(each.protocol for each in ports):
        listed = ", ".join(each.written("-") for each in ports if each.protocol == protocol)
        where = shlex.join([family, table, name])
        yield f"nft insert rule {where} {protocol} dport '{{ {listed} }}' accept"


def _words_of(host: Host, *parts: str) -> list[str]:
    try:
        return host.etc.joinpath(*parts).read_text("utf-8", "replace").split()
    except OSError:
        return []


async def firewall(host: Host) -> list[HostFinding]:
    """Follow the rules of nftables (also those of iptables that it carries) for a packet to each port."""
    needed = await asyncio.to_thread(needed_ports, host)
    if not needed:
        return [not_checked("Nobody else reaches this server: its listeners are on loopback, or behind proxies.")]
    listed = ", ".join(map(str, needed))
    try:
        output = await host.run(["nft", "-j", "list", "ruleset"])
    except (OSError, TimeoutError):
        why = "the program nft is not here, or does not answer"
        return [_unknown(host, f"The rules of the firewall cannot be read: {why}. Ports to open: {listed}.", needed)]
    if output.code:
        said = output.err.decode("utf-8", "replace").strip().partition("\n")[0] or f"exit code {output.code}"
        return [
            not_checked(f"The rules of the firewall cannot be read: {said}.", "sudo meshturn doctor --only firewall")
        ]
    try:
        ruleset = Ruleset.parse(output.out or b'{"nftables": []}')
    except ValueError:
        return [_unknown(host, f"The rules of nftables cannot be understood. Ports to open: {listed}.", needed)]
    if (host.read("net", "ip_tables_names") or "").strip() and not ruleset.chains:
        return [_unknown(host, f"This host has rules of the old iptables. Ports to open: {listed}.", needed)]
    return await asyncio.to_thread(_judged, host, ruleset, needed)


def _unknown(host: Host, sentence: str, needed: list[Needed]) -> HostFinding:
    return not_checked(sentence, *allowing(host, needed))


def _judged(host: Host, ruleset: Ruleset, needed: list[Needed]) -> list[HostFinding]:
    judged = {each: _judgement(host, ruleset, each) for each in needed}
    found = []
    shut = [each for each, judgement in judged.items() if judgement.verdict is PacketVerdict.DROP]
    if shut:
        found.append(
            wrong(
                f"The firewall of this host drops {', '.join(map(str, shut))}.",
                "Clients and peers get no answer there.",
                *allowing(host, shut, ruleset, judged[shut[0]].chain),
            )
        )
    unclear = [each for each, judgement in judged.items() if judgement.verdict is PacketVerdict.UNKNOWN]
    if unclear:
        sentence = f"What the firewall does with {', '.join(map(str, unclear))} depends on rules that cannot be judged."
        found.append(not_checked(sentence, *allowing(host, unclear, ruleset)))
    fine = [each for each, judgement in judged.items() if judgement.verdict is PacketVerdict.ACCEPT]
    if fine:
        found.append(ok(f"The firewall of this host lets {', '.join(map(str, fine))} in. {_OUTSIDE}."))
    return found


def _judgement(host: Host, ruleset: Ruleset, needed: Needed) -> Judgement:
    """The worst that becomes of packets to these ports, at every port where the rules may change."""
    points = {needed.first, needed.last}
    points |= {port for each in ruleset.ports for port in (each - 1, each, each + 1)}
    clear, found = True, False
    for version, interface in _ways_in(host):
        for port in sorted(point for point in points if needed.first <= point <= needed.last):
            judgement = ruleset.judge(FirstPacket(version, needed.protocol, port, interface))
            if judgement.verdict is PacketVerdict.DROP:
                return judgement
            clear, found = clear and judgement.verdict is PacketVerdict.ACCEPT, True
    return Judgement(PacketVerdict.ACCEPT if clear and found else PacketVerdict.UNKNOWN)


def _ways_in(host: Host) -> list[tuple[int, str]]:
    """The IP versions of the listeners, with the interfaces that lead to the internet; without such, with all."""
    own = {door.address.ip for door in host.doors}
    outer = {host.route(ip_address(each).packed) for each in _ELSEWHERE} & own
    found = {
        (4 if len(ip) == 4 else 6, interface.name)
        for interface in host.interfaces()
        for ip in interface.addresses
        if ip in (outer or own) and not ip_address(ip).is_loopback
    }
    return sorted(found)
