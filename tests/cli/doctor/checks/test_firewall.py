"""What the firewall lets in, by rules as nft writes them. `tests/net/test_doctor.py` has nft itself."""

import json
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from cli.doctor.checks.firewall import Needed, allowing, firewall, needed_ports
from cli.doctor.findings import Severity
from cli.doctor.host import Host, Interface, Output
from cli.doctor.ruleset import Ruleset

Make = Callable[..., Host]
OWN = bytes((192, 0, 2, 1))
INTERFACES = [Interface("lo", (bytes((127, 0, 0, 1)),)), Interface("eth0", (OWN,))]
OPTIONS: dict[str, Any] = {
    "listeners": [
        {"transport": "udp", "address": "192.0.2.1"},
        {"transport": "tcp", "address": "192.0.2.1"},
        {"transport": "udp", "address": "127.0.0.1", "port": 9999},
        {"transport": "shared", "tls": False, "address": "192.0.2.1", "port": 80, "proxies": ["10.0.0.0/8"]},
    ],
}
CHAIN = {"family": "inet", "table": "filter", "name": "input", "type": "filter", "hook": "input", "prio": 0}
SHUT = [{"chain": {**CHAIN, "policy": "drop"}}]


def accept(protocol: str, right: Any) -> dict[str, Any]:
    match = {"op": "==", "left": {"payload": {"protocol": protocol, "field": "dport"}}, "right": right}
    about = {"family": "inet", "table": "filter", "chain": "input"}
    return {"rule": {**about, "expr": [{"match": match}, {"accept": None}]}}


def nft(*entries: Any, code: int = 0, err: bytes = b"") -> Callable[..., Any]:
    async def run(arguments: Sequence[str]) -> Output:
        assert list(arguments) == ["nft", "-j", "list", "ruleset"]
        return Output(code, json.dumps({"nftables": list(entries)}).encode(), err)

    return run


def host_with(make: Make, *entries: Any, **more: Any) -> Host:
    return make(OPTIONS, interfaces=lambda: INTERFACES, run=nft(*entries), **more)


def test_which_ports(make: Make) -> None:
    """Those that others reach directly; with an SFU that has ports of its own, these, too."""
    assert list(map(str, needed_ports(host_with(make)))) == [
        "udp 3478 (clients)",
        "tcp 3478 (clients)",
        "udp 49152-65535 (relays)",
    ]
    rooms = {"signaling": {"mode": "sfu"}, "media": {"port": 7000, "processes": 2}}
    listeners = [{"transport": "shared", "tls": False, "address": "192.0.2.1", "port": 8080}]
    found = needed_ports(make({"listeners": listeners, **rooms}))
    assert Needed("udp", 7000, 7001, "media of the SFU") in found


async def test_no_rules(make: Make) -> None:
    """Everything is let in, as far as this host knows."""
    (found,) = await firewall(host_with(make))
    assert (found.grade, "cannot be seen from here" in found.what) == (Severity.OK, True)


async def test_shut(make: Make) -> None:
    """A rule to paste for each protocol, into the chain that drops."""
    (found,) = await firewall(host_with(make, *SHUT))
    assert found.grade is Severity.WRONG
    assert found.mend == (
        "nft insert rule inet filter input tcp dport '{ 3478 }' accept",
        "nft insert rule inet filter input udp dport '{ 3478, 49152-65535 }' accept",
    )


async def test_a_part_of_the_relays(make: Make) -> None:
    """Kind: a range of ports in the firewall that is shorter than that of the relays."""
    rules = [*SHUT, accept("udp", {"set": [3478, {"range": [49152, 60000]}]}), accept("tcp", 3478)]
    shut, fine = await firewall(host_with(make, *rules))
    assert (shut.grade, fine.grade) == (Severity.WRONG, Severity.OK)
    assert shut.what == "The firewall of this host drops udp 49152-65535 (relays)."
    rules[1] = accept("udp", {"set": [3478, {"range": [49152, 65535]}]})
    assert [each.grade for each in await firewall(host_with(make, *rules))] == [Severity.OK]


async def test_rules_that_cannot_be_judged(make: Make) -> None:
    """Those of ufw are iptables inside: not checked, with the lines that would be right."""
    rule = {"family": "inet", "table": "filter", "chain": "input", "expr": [{"xt": None}, {"accept": None}]}
    host = host_with(make, *SHUT, {"rule": rule})
    (host.etc / "ufw").mkdir(parents=True)
    (host.etc / "ufw" / "ufw.conf").write_text("# ufw\nENABLED=yes\nLOGLEVEL=low\n")
    (found,) = await firewall(host)
    assert found.grade is Severity.NOT_CHECKED
    assert found.mend == ("ufw allow 3478/tcp", "ufw allow 3478/udp", "ufw allow 49152:65535/udp")


def test_firewalld(make: Make) -> None:
    """It would throw rules of others away."""
    ruleset = Ruleset.parse(json.dumps({"nftables": [{"chain": {**CHAIN, "table": "firewalld"}}]}).encode())
    lines = list(allowing(host_with(make), [Needed("udp", 3478, 3478, "clients")], ruleset))
    assert lines == ["firewall-cmd --permanent --add-port=3478/udp", "firewall-cmd --reload"]


def test_names_are_quoted(make: Make) -> None:
    """Kind: a chain with a name that a shell would read."""
    lines = allowing(host_with(make), [Needed("udp", 1, 1, "x")], None, ("inet", "a;b", "c d"))
    assert next(iter(lines)).startswith("nft insert rule inet 'a;b' 'c d' udp dport")


@pytest.mark.parametrize(
    ("output", "words"),
    [
        (Output(1, b"", b"Operation not permitted (you must be root)\n"), "you must be root"),
        (Output(0, b"not json", b""), "cannot be understood"),
    ],
)
async def test_no_answer_from_nft(make: Make, output: Output, words: str) -> None:
    """Without root, or with another nft: not checked, and never fine."""

    async def run(arguments: Sequence[str]) -> Output:
        return output

    (found,) = await firewall(make(OPTIONS, interfaces=lambda: INTERFACES, run=run))
    assert (found.grade, words in found.what) == (Severity.NOT_CHECKED, True)


async def test_no_nft(make: Make) -> None:
    """The ports are listed all the same."""

    async def run(arguments: Sequence[str]) -> Output:
        raise FileNotFoundError(2, "No such file")

    (found,) = await firewall(make(OPTIONS, interfaces=lambda: INTERFACES, run=run))
    assert (found.grade, "udp 49152-65535 (relays)" in found.what) == (Severity.NOT_CHECKED, True)


async def test_old_iptables(make: Make) -> None:
    """Its rules are not among those of nft."""
    host = host_with(make)
    (host.proc / "net").mkdir()
    (host.proc / "net" / "ip_tables_names").write_text("filter\n")
    (found,) = await firewall(host)
    assert (found.grade, "old iptables" in found.what) == (Severity.NOT_CHECKED, True)


async def test_nobody_else_comes(make: Make) -> None:
    """Loopback needs no firewall."""
    (found,) = await firewall(make({"listeners": [{"transport": "udp", "address": "127.0.0.1"}]}))
    assert found.grade is Severity.NOT_CHECKED


async def test_the_interface_of_the_internet(make: Make) -> None:
    """What is dropped on the bridge of a container engine does not matter."""
    bridge = bytes((192, 0, 2, 9))
    listeners = [{"transport": "udp", "address": f"192.0.2.{each}"} for each in (1, 9)]
    left = {"meta": {"key": "iifname"}}
    expr = [{"match": {"op": "==", "left": left, "right": "eth0"}}, {"accept": None}]
    rule = {"rule": {"family": "inet", "table": "filter", "chain": "input", "expr": expr}}
    both = [*INTERFACES, Interface("docker0", (bridge,))]
    facts: dict[str, Any] = {"interfaces": lambda: both, "run": nft(*SHUT, rule)}
    host = make({"listeners": listeners}, **facts, route=lambda towards: OWN if len(towards) == 4 else None)
    assert [each.grade for each in await firewall(host)] == [Severity.OK]
    host = make({"listeners": listeners}, **facts)
    assert [each.grade for each in await firewall(host)] == [Severity.WRONG]
