"""What others see of a server's addresses: the probe from another machine, and the address in front of a NAT.

Two hosts with a cable between them; the server's has a firewall where a test says so.
"""

import asyncio
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cli.probe.report import Report
from cli.probe.runner import run_probe
from stun.client.authentication import Login
from stun.uri import StunUri
from tests.net.lab import ADDRESS, Lab, Nat
from tests.net.public_server import PORTS, PublicServer
from tests.support.netns import NetworkNamespace
from tests.support.process import wait_for_log
from tests.support.server import PASSWORD, USERNAME, TurnServerProcess
from tests.support.tools import require_tool

SERVER, CLIENT = "10.78.0.2", "10.78.0.9"
PORT = 3478
RELAYS = "26200-26299"
SHUT = f'iifname "cable" udp dport {RELAYS} drop'
REJECTED = f'iifname "cable" udp dport {RELAYS} reject'


class Pair:
    """The server's host and the client's."""

    def __init__(self) -> None:
        self.server, self.client = NetworkNamespace(), NetworkNamespace()

    def connect(self) -> None:
        """Lay the cable; what is not on it goes to the server's host."""
        self.server.ip(f"link add cable type veth peer name cable netns {self.client.name}")
        for host, address in ((self.server, SERVER), (self.client, CLIENT)):
            host.ip(f"addr add {address}/24 dev cable")
            host.ip("link set cable up")
        self.client.ip(f"route add default via {SERVER}")

    def firewall(self, rule: str) -> None:
        """Drop or reject what comes to the server's host."""
        rules = f"flush ruleset; table ip f {{ chain i {{ type filter hook input priority 0; {rule}; }}; }}"
        with self.server.entered():
            subprocess.run([require_tool("nft"), rules if rule else "flush ruleset"], check=True)


@pytest.fixture(scope="module")
def pair() -> Iterator[Pair]:
    """Two hosts for the tests of this module."""
    made = Pair()
    with made.server, made.client:
        made.connect()
        yield made


def probed(pair: Pair, directory: Path, rule: str = "", *, scheme: str = "udp", **options: Any) -> Report:
    """Probe a server with these options from the other host, through a firewall with this rule."""
    config = {
        "listeners": [{"transport": each, "address": SERVER, "port": PORT} for each in ("udp", "tcp")],
        "auth": {"users": {USERNAME: PASSWORD}},
        **options,
        "relay": {"ports": RELAYS, **options.get("relay", {})},
    }
    pair.firewall(rule)
    with pair.server.entered():
        server = TurnServerProcess(config, directory)
        server.start()
    try:
        with pair.client.entered():
            uri = StunUri.parse(f"turn:{SERVER}:{PORT}?transport={scheme}")
            return asyncio.run(run_probe(uri, Login(USERNAME, PASSWORD), 10.0))
    finally:
        server.stop()


def outside(report: Report) -> str:
    """What was said of the way from outside, with its hint."""
    (step,) = [step for step in report.steps if step.name == "outside"]
    return f"{step.sentence} {step.hint}"


ALLOWED = {"peers": {"allow": ["10.78.0.0/24"]}}
WRONG = {"relay": {"external": {SERVER: "198.51.99.5"}}}


def test_a_way_that_is_open(pair: Pair, tmp_path: Path) -> None:
    """The probe is a peer, and its datagrams come through and are answered; also over TCP."""
    for scheme in ("udp", "tcp"):
        report = probed(pair, tmp_path, scheme=scheme, **ALLOWED)
        assert report.ok, report.steps
        assert "3 of 3 datagrams" in outside(report)
        assert not report.local


@pytest.mark.parametrize("options", [ALLOWED, {}], ids=["a peer", "no peer"])
@pytest.mark.parametrize(("rule", "words"), [(SHUT, "firewall"), (REJECTED, "ICMP")], ids=["drop", "reject"])
def test_relay_ports_that_are_shut(pair: Pair, tmp_path: Path, rule: str, words: str, options: dict[str, Any]) -> None:
    """The kind: checks that stay inside the server cannot see firewalls. Whether or not this machine may be a peer."""
    report = probed(pair, tmp_path, rule, **options)
    assert not report.ok
    assert [step.name for step in report.steps if not step.ok] == ["outside"]
    assert words in outside(report)
    assert all(relayed.rpartition(":")[2] in outside(report) for relayed in report.relayed)


@pytest.mark.parametrize("options", [ALLOWED, {}], ids=["a peer", "no peer"])
def test_a_wrong_public_address(pair: Pair, tmp_path: Path, options: dict[str, Any]) -> None:
    """The kind: checks that stay inside the server cannot see NAT. The addresses are compared, too."""
    report = probed(pair, tmp_path, **options, **WRONG)
    assert [step.name for step in report.steps if not step.ok] == ["outside"]
    assert "198.51.99.5" in outside(report)
    assert "wrong public address" in outside(report)
    (compared,) = [step for step in report.steps if step.name == "addresses"]
    assert SERVER in compared.sentence


def test_a_machine_that_may_be_no_peer(pair: Pair, tmp_path: Path) -> None:
    """Private peers are refused by default; the closed port of a relay that is gone shows that the way is open."""
    report = probed(pair, tmp_path)
    assert report.ok, report.steps
    assert "403" in outside(report)
    assert report.steps[-1].name == "outside"


def test_the_address_in_front_of_a_nat(lab: Lab, server: PublicServer, tmp_path: Path) -> None:
    """``relay.external: auto``: what a STUN server in the public network sees is advertised."""
    host = lab.host("relay", Nat.PORT_PRESERVING)
    config = {
        "listeners": [{"transport": "udp", "address": host.address, "port": PORT}],
        "auth": {"users": {USERNAME: PASSWORD}},
        "relay": {"external": "auto", "stun_server": f"stun:{ADDRESS}:{PORTS['udp']}"},
    }
    with host.entered():
        behind = TurnServerProcess(config, tmp_path)
        behind.start()
    try:
        wait_for_log(behind, f"relaying from {host.address} (clients are told {host.gate.wan})")
    finally:
        behind.stop()
