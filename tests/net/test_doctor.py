"""``meshturn doctor`` as an operator runs it: on hosts with a real firewall, behind real NATs, with a real server."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from stun.client.nat.findings import Dependence
from tests.net.lab import Host, Lab, Nat
from tests.net.nats import NatRules, nat_host
from tests.support.certificates import issue
from tests.support.server import PASSWORD, USERNAME, TurnServerProcess
from tests.support.tools import require_tool
from turnserver.signaling.edge.key_file import KeyFile, new_key
from turnserver.signaling.edge.scopes import Scope

ROOT = Path(__file__).resolve().parents[2]
LIMIT = 120
"""Seconds for a command; never waited out in success."""
PORT = 3478
RELAYS = (26200, 26299)
OPEN = """
flush ruleset
table inet filter {
    set clients { type inet_service; elements = { 3478, 443 } }
    chain input {
        type filter hook input priority filter; policy drop;
        ct state vmap { established : accept, related : accept, invalid : drop }
        iifname "lo" accept
        meta l4proto { icmp, icmpv6 } accept
        tcp dport 22 ip saddr 203.0.113.0/24 accept
        tcp dport @clients accept
        udp dport 3478 accept
        udp dport 26200-26299 jump relays
    }
    chain relays { counter accept; }
}
"""


def options(address: str, **more: Any) -> dict[str, Any]:
    return {
        "listeners": [{"transport": each, "address": address, "port": PORT} for each in ("udp", "tcp")],
        "auth": {"users": {USERNAME: PASSWORD}},
        **more,
        "relay": {"ports": f"{RELAYS[0]}-{RELAYS[1]}", **more.get("relay", {})},
    }


@contextmanager
def serving(host: Host, config: dict[str, Any], directory: Path) -> Iterator[None]:
    server = TurnServerProcess(config, directory)
    with host.entered():
        server.start()
    try:
        yield
    finally:
        server.stop()


def examined(
    host: Host, config: dict[str, Any], directory: Path, *checks: str, more: tuple[str, ...] = ()
) -> dict[str, list[dict[str, Any]]]:
    """What the command finds on a host: the findings by what was checked."""
    path = directory / "examined.yml"
    path.touch(mode=0o600)
    path.write_text(yaml.safe_dump(config))
    only = [word for check in checks for word in ("--only", check)]
    command = ("-m", "meshturn", "doctor", "-c", str(path), "--json", "--timeout", "4")
    line = host.command(sys.executable, *command, *only, *more)
    done = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, check=False, timeout=LIMIT)
    assert done.returncode in {0, 1}, done.stderr
    found: dict[str, list[dict[str, Any]]] = json.loads(done.stdout)["checks"]
    return found


def grades(findings: list[dict[str, Any]]) -> list[str]:
    return [each["grade"] for each in findings]


def rules(host: Host, script: str) -> None:
    host.lab.nft(host.inside, script)


@pytest.fixture(scope="module")
def public(lab: Lab) -> Host:
    """A host with a public address."""
    require_tool("nft")
    return lab.host("public", Nat.NONE)


def test_a_firewall_that_is_right(public: Host, tmp_path: Path) -> None:
    """Everything that a usual ruleset has is followed: maps of verdicts, sets, jumps."""
    rules(public, OPEN)
    (found,) = examined(public, options(public.address), tmp_path, "firewall")["firewall"]
    assert found["grade"] == "ok", found


@pytest.mark.parametrize(
    ("removed", "dropped"),
    [
        ("udp dport 3478 accept", "udp 3478 (clients)"),
        ("tcp dport @clients accept", "tcp 3478 (clients)"),
        ("udp dport 26200-26299 jump relays", "udp 26200-26299 (relays)"),
    ],
)
def test_a_closed_port(public: Host, tmp_path: Path, removed: str, dropped: str) -> None:
    """It is found, and the line that is given opens it."""
    rules(public, OPEN.replace(removed, ""))
    config = options(public.address)
    found, *_ = examined(public, config, tmp_path, "firewall")["firewall"]
    assert (found["grade"], found["what"]) == ("wrong", f"The firewall of this host drops {dropped}.")
    for line in found["mend"]:
        subprocess.run(public.command("/bin/sh", "-c", line), check=True)
    assert grades(examined(public, config, tmp_path, "firewall")["firewall"]) == ["ok"]


def test_a_server_that_does_not_run(public: Host, tmp_path: Path) -> None:
    """And the same when it does."""
    rules(public, "flush ruleset")
    config = options(public.address)
    found = examined(public, config, tmp_path, "ports")["ports"]
    assert set(grades(found)) == {"wrong"}
    with serving(public, config, tmp_path):
        assert grades(examined(public, config, tmp_path, "ports")["ports"]) == ["ok"]


def test_strict_reverse_path(public: Host, tmp_path: Path) -> None:
    """Two interfaces, one of them strict; the line that is given ends that."""
    public.inside.ip("link add second type veth peer name abyss")
    public.inside.ip("addr add 198.51.101.9/24 dev second")
    public.inside.ip("link set second up")
    public.inside.set("net.ipv4.conf.all.rp_filter", "0")
    public.inside.set("net.ipv4.conf.second.rp_filter", "1")
    config = options(public.address)
    (found,) = examined(public, config, tmp_path, "rp_filter")["rp_filter"]
    assert (found["grade"], "strict on second" in found["what"]) == ("warning", True)
    assert found["mend"][0] == "sysctl -w net.ipv4.conf.second.rp_filter=2"
    public.inside.set("net.ipv4.conf.second.rp_filter", "2")
    assert grades(examined(public, config, tmp_path, "rp_filter")["rp_filter"]) == ["ok"]


def test_the_table_of_connections(public: Host, tmp_path: Path) -> None:
    """The kernel's own numbers: a table that is smaller than what the limits may need."""
    limits = {"allocations": 1_000_000}
    (found,) = examined(public, options(public.address, limits=limits), tmp_path, "conntrack")["conntrack"]
    assert (found["grade"], "may need 2010000" in found["what"]) == ("warning", True)


def forwarded(lab: Lab, name: str, *, hairpin: bool) -> Host:
    """A host behind a NAT that forwards the server's ports to it, also from inside if it hairpins."""
    host = nat_host(
        lab, name, NatRules(Dependence.ENDPOINT_INDEPENDENT, Dependence.ADDRESS_AND_PORT_DEPENDENT, hairpin)
    )
    ports = f"{{ {PORT}, {RELAYS[0]}-{RELAYS[1]} }}"
    what = f"ip daddr {host.gate.wan} meta l4proto {{ tcp, udp }} th dport {ports}"
    host.gate.nft(f"add rule ip nat pre {what} dnat to {host.address}")
    return host


@pytest.mark.parametrize("hairpin", [True, False], ids=["hairpins", "does not"])
def test_behind_a_nat(lab: Lab, tmp_path: Path, hairpin: bool) -> None:
    """The NAT forwards the ports; from inside, its public address is a way to the server only if it hairpins."""
    host = forwarded(lab, "hairpin" if hairpin else "plain", hairpin=hairpin)
    config = options(host.address, relay={"external": {host.address: host.gate.wan}})
    with serving(host, config, tmp_path):
        found = examined(host, config, tmp_path, "hairpin", "ports", "addresses")
    assert grades(found["ports"]) == ["ok"]
    assert found["addresses"][0]["grade"] == "ok"
    assert grades(found["hairpin"]) == ["ok" if hairpin else "warning"]


def test_a_public_address_that_is_not_configured(lab: Lab, tmp_path: Path) -> None:
    """The commonest mistake; and a wrong one, which a STUN server in the public network shows."""
    host = forwarded(lab, "unknown", hairpin=False)
    found = examined(host, options(host.address), tmp_path, "addresses")["addresses"]
    assert grades(found) == ["wrong", "not checked"]
    outside = lab.host("stun", Nat.NONE)
    stun = {"stun_server": f"stun:{outside.address}:{PORT}"}
    with serving(outside, options(outside.address), tmp_path):
        told = {"external": {host.address: "192.0.2.66"}}
        config = options(host.address, relay={**told, **stun})
        found = examined(host, config, tmp_path, "addresses")["addresses"]
        assert grades(found) == ["ok", "wrong"]
        assert found[1]["mend"] == [f"relay: {{external: {host.gate.wan}}}"]
        config = options(host.address, relay={"external": "auto", **stun})
        assert grades(examined(host, config, tmp_path, "addresses")["addresses"]) == ["ok"]


@pytest.fixture(scope="module")
def other(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path, Path]]:
    """Another meshturn in the public network: its URL, a file with a key of the scope probe, and its certificate."""
    directory = tmp_path_factory.mktemp("other")
    host = lab.host("other", Nat.NONE)
    pair = issue(directory, "other", addresses=(host.address,))
    made, secret = new_key("doctor", frozenset({Scope.PROBE}), os.urandom, 0)
    KeyFile(directory / "keys.json").change(lambda present: [*present, made])
    key = directory / "key"
    key.touch(mode=0o600)
    key.write_text(secret + "\n")
    config = {
        "listeners": [{"transport": "shared", "address": host.address, "port": 443}],
        "tls": {"certificates": [pair.config]},
        "auth": {"users": {USERNAME: PASSWORD}},
        "signaling": {"keys_file": str(directory / "keys.json")},
    }
    with serving(host, config, directory):
        yield f"https://{host.address}", key, pair.certificate


def seen(host: Host, config: dict[str, Any], directory: Path, other: tuple[str, Path, Path]) -> list[dict[str, Any]]:
    url, key, certificate = other
    more = ("--from", url, "--from-key-file", str(key), "--ca-file", str(certificate))
    return examined(host, config, directory, "outside", more=more)["outside"]


def test_from_elsewhere(lab: Lab, tmp_path: Path, other: tuple[str, Path, Path]) -> None:
    """Behind a NAT that forwards what it should: the public address, the listeners and both ends of the relay ports."""
    host = forwarded(lab, "seen", hairpin=False)
    config = options(host.address, relay={"external": {host.address: host.gate.wan}})
    with serving(host, config, tmp_path):
        found = seen(host, config, tmp_path, other)
    assert len(found) == 2, found
    address, ports = found
    assert (address["grade"], host.gate.wan in address["what"]) == ("ok", True)
    assert ports == {
        "grade": "ok",
        "what": f"Reached from elsewhere: udp {PORT}, tcp {PORT}, udp {RELAYS[0]}, udp {RELAYS[1]}.",
        "why": None,
        "mend": [],
    }


def test_from_elsewhere_with_mistakes(lab: Lab, tmp_path: Path, other: tuple[str, Path, Path]) -> None:
    """A wrong public address, a port that the NAT does not forward to, and a server that does not run over TCP."""
    host = forwarded(lab, "unseen", hairpin=False)
    host.gate.nft(f"insert rule ip fw forwarded udp dport {RELAYS[1]} drop")
    config = options(host.address, relay={"external": {host.address: "192.0.2.66"}})
    running = {**config, "listeners": config["listeners"][:1]}
    with serving(host, running, tmp_path):
        found = seen(host, config, tmp_path, other)
    assert grades(found) == ["wrong", "wrong", "wrong", "ok"]
    assert f"seen from elsewhere as {host.gate.wan}, and clients are told 192.0.2.66" in found[0]["what"]
    assert f"tcp {host.gate.wan} port {PORT} is not reached" in found[1]["what"]
    assert f"udp {host.gate.wan} port {RELAYS[1]} is not reached" in found[2]["what"]
    assert any("26200-26299" in line for line in found[2]["mend"])


def test_a_key_without_the_scope(lab: Lab, tmp_path: Path, other: tuple[str, Path, Path], public: Host) -> None:
    """Nothing is probed, and that is not fine."""
    url, _, certificate = other
    wrong = tmp_path / "wrong"
    wrong.write_text("mtk_wrong\n")
    (found,) = seen(public, options(public.address), tmp_path, (url, wrong, certificate))
    assert (found["grade"], "bad_key" in found["what"]) == ("not checked", True)
