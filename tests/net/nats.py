"""NATs of every mapping and filtering behavior of RFC 4787, made of nftables, for the laboratory.

    host = nat_host(lab, "ann", Dependence.ADDRESS_DEPENDENT, Dependence.ENDPOINT_INDEPENDENT)

How they map:

- endpoint-independent: ``snat`` keeps the host's port for every destination;
- address-dependent: each server address has a public address of the NAT of its own (RFC 4787 §4.1 calls that arbitrary
  pooling), and the port is kept;
- address and port-dependent: ``snat`` draws a port for each connection.

How they filter: an outgoing packet enters its mapping into a set, by its public address and port, and by the part of
the destination that the filter depends on. What comes in goes to where the set says. Whatever is in no set is left to
connection tracking, which filters by address and port.
"""

from dataclasses import dataclass
from pathlib import Path

from stun.client.nat.findings import Dependence
from tests.net.discovery_servers import enable_ipv6
from tests.net.lab import Gate, Host, Lab, Nat

__all__ = ["NatRules", "nat66_host", "nat_host"]

_SPARE = 100
"""The second public address of a NAT is so much higher than the first."""

_KEYS = {
    Dependence.ENDPOINT_INDEPENDENT: ("", "", ""),
    Dependence.ADDRESS_DEPENDENT: (" . {address}", " . {ip} daddr", " . {ip} saddr"),
}
"""What the filter depends on beside the public address and port: its type, and where it is in what goes out or in."""


@dataclass(frozen=True)
class NatRules:
    """What a NAT does; ``servers`` are the addresses that address-dependent mapping tells apart.

    ``drops`` are further matches of packets that are dropped on the way out, and ``drops_in`` on the way in.
    """

    mapping: Dependence | None
    filtering: Dependence
    hairpin: bool = False
    servers: tuple[str, ...] = ()
    drops: tuple[str, ...] = ()
    drops_in: tuple[str, ...] = ()
    family: str = "ip"

    def script(self, wan: str, spare: str, inside: str) -> str:
        """For nft; ``wan`` and ``spare`` are public addresses of the NAT, ``inside`` is that of the host."""
        return "\n".join(["flush ruleset", self._translation(wan, spare, inside), self._filter()])

    def _translation(self, wan: str, spare: str, inside: str) -> str:
        ip, address = self.family, "ipv4_addr" if self.family == "ip" else "ipv6_addr"
        snat = {
            None: "",
            Dependence.ENDPOINT_INDEPENDENT: f"snat to {wan}",
            Dependence.ADDRESS_AND_PORT_DEPENDENT: f"snat to {wan} fully-random",
            Dependence.ADDRESS_DEPENDENT: f"snat to {ip} daddr map {{ {self._pool(wan, spare)} }}",
        }[self.mapping]
        key, out, back = (part.format(ip=ip, address=address) for part in _KEYS.get(self.filtering, ("", "", "")))
        learns = self.filtering in _KEYS and self.mapping is not None
        if ip == "ip":
            kind = f"{address} . inet_service{key} : {address} . inet_service"
            learn = f"update @known {{ ip saddr . th sport{out} : ct original ip saddr . ct original proto-src }}"
            find = f"dnat ip addr . port to ip daddr . th dport{back} map @known"
        else:
            # nft has no room for two IPv6 addresses in one rule: a NAT has one public address, and one host behind it.
            kind = f"inet_service{key} : inet_service"
            learn = f"update @known {{ th sport{out} : ct original proto-src }}"
            find = f"dnat ip6 to {inside} : th dport{back} map @known"
        return f"""
table {ip} nat {{
    map known {{
        type {kind}
        size 4096
        flags dynamic
        timeout 10m
    }}
    chain pre {{
        type nat hook prerouting priority dstnat;
        {"" if self.hairpin else 'iifname "lan" accept'}
        {f"meta l4proto {{ tcp, udp }} {find}" if learns else ""}
    }}
    chain post {{
        type nat hook postrouting priority srcnat;
        {f'oifname "wan" {snat}' if snat else ""}
        {f'iifname "lan" oifname "lan" ct status dnat snat to {wan}' if self.hairpin else ""}
    }}
    chain learned {{
        type filter hook postrouting priority srcnat + 10;
        {f'oifname "wan" ct direction original meta l4proto {{ tcp, udp }} {learn}' if learns else ""}
    }}
}}"""

    def _filter(self) -> str:
        dropped = "\n        ".join(
            [f'iifname "lan" {each} drop' for each in self.drops]
            + [f'iifname "wan" {each} drop' for each in self.drops_in]
        )
        # Without translation nothing is known, and the filter is a firewall's.
        strangers = "accept" if self.mapping is None and self.filtering is Dependence.ENDPOINT_INDEPENDENT else "drop"
        return f"""
table {self.family} raw {{
    chain early {{
        type filter hook prerouting priority -450;
        {dropped}
    }}
}}
table {self.family} fw {{
    chain forwarded {{
        type filter hook forward priority filter;
        iifname "lan" accept
        ct state established,related accept
        ct status dnat accept
        {strangers}
    }}
    chain incoming {{
        type filter hook input priority filter;
        iifname "wan" meta l4proto {{ tcp, udp }} drop
    }}
}}"""

    def _pool(self, wan: str, spare: str) -> str:
        return ", ".join(f"{server} : {(wan, spare)[place % 2]}" for place, server in enumerate(self.servers))


def nat_host(lab: Lab, name: str, rules: NatRules) -> Host:
    """A host behind a gate that does as ``rules`` say."""
    gate = lab.gate(Nat.NONE if rules.mapping is None else Nat.PORT_PRESERVING)
    head, _, last = gate.wan.rpartition(".")
    spare = f"{head}.{int(last) + _SPARE}"
    gate.inside.ip(f"addr add {spare}/24 dev wan")
    host = Host(lab, name, gate)
    _route_what_hairpins(gate)
    gate.nft(rules.script(gate.wan, spare, host.address))
    return host


def nat66_host(lab: Lab, name: str, rules: NatRules) -> tuple[Host, str]:
    """The same over IPv6, and the host's address; ``mapping`` None is a router with a firewall."""
    gate = lab.gate(Nat.PORT_PRESERVING)
    host = Host(lab, name, gate)
    number = int(gate.wan.rpartition(".")[2])
    wan, spare, inside = f"2001:db8:ffff::{number:x}:1", f"2001:db8:ffff::{number:x}:2", f"2001:db8:{number:x}:"
    enable_ipv6(gate.inside, "wan", "lan")
    enable_ipv6(host.inside, "eth0")
    for address in (wan, spare):
        gate.inside.ip(f"addr add {address}/64 dev wan nodad")
    gate.inside.ip(f"addr add {inside}:1/64 dev lan nodad")
    gate.inside.set("net.ipv6.conf.all.forwarding", "1")
    host.inside.ip(f"addr add {inside}:2/64 dev eth0 nodad")
    host.inside.ip(f"route add default via {inside}:1")
    if rules.mapping is None:
        lab.public.ip(f"route add {inside}:/64 via {wan}")
    _route_what_hairpins(gate)
    gate.nft(rules.script(wan, spare, f"{inside}:2"))
    return host, f"{inside}:2"


def _route_what_hairpins(gate: Gate) -> None:
    """Otherwise it is switched by the bridge, which sends nothing back to where it is from."""
    for version in ("ip", "ip6"):
        switch = f"net.bridge.bridge-nf-call-{version}tables"
        if Path("/proc/sys", *switch.split(".")).exists():
            gate.inside.set(switch, "0")
