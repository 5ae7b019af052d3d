"""What testers' own tools say of a NAT through us, and through coturn (RFC 3489, RFC 5780), in the laboratory.

Debian's `stun` and pystun3 are clients of RFC 3489, coturn's `turnutils_natdiscovery` and `turnutils_stunclient` of RFC
5780. All run at the same time, each from its own sockets.
"""

import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.net.discovery_servers import COTURNS, LIMIT, OURS, PORTS, discovery_servers
from tests.net.lab import Host, Lab, Nat
from tests.support.process import wait_until
from tests.support.tools import require_tool

pytestmark = pytest.mark.net

SERVERS = {"meshturn": OURS, "coturn": COTURNS}

VERDICTS = {
    "stun": {
        Nat.NONE: "Primary: Open",
        Nat.PORT_PRESERVING: "Primary: Independent Mapping, Port Dependent Filter, preserves ports, no hairpin",
        Nat.SYMMETRIC: "Primary: Dependent Mapping, random port, no hairpin",
    },
    "pystun3": {Nat.NONE: "Open Internet", Nat.PORT_PRESERVING: "Restric Port NAT", Nat.SYMMETRIC: "Symmetric NAT"},
    "mapping": {
        Nat.NONE: "No NAT! (Endpoint Independent Mapping)",
        Nat.PORT_PRESERVING: "NAT with Endpoint Independent Mapping!",
        Nat.SYMMETRIC: "NAT with Address and Port Dependent Mapping!",
    },
    "filtering": {
        Nat.NONE: "NAT with Endpoint Independent Filtering!",
        Nat.PORT_PRESERVING: "NAT with Address and Port Dependent Filtering!",
        Nat.SYMMETRIC: "NAT with Address and Port Dependent Filtering!",
    },
}
"""What each tool says of each kind of NAT; these filter by address and port."""

PYSTUN3 = """
import stun, sys
server, address, port = sys.argv[1:]
print(stun.get_ip_info(source_ip=address, source_port=int(port), stun_host=server, stun_port=3478)[0])
"""
SOURCE_PORTS = {OURS[0]: "54320", COTURNS[0]: "54321"}
"""pystun3 shares a port with whoever else has it, and so its answers."""


def command(tool: str, host: Host, server: str, pystun3: Path) -> list[str]:
    match tool:
        case "stun":
            return [require_tool("stun"), server]
        case "pystun3":
            return [
                "env",
                f"PYTHONPATH={pystun3}",
                sys.executable,
                "-c",
                PYSTUN3,
                server,
                host.address,
                SOURCE_PORTS[server],
            ]
        case "mapping":
            return [require_tool("turnutils_natdiscovery"), "-m", "-L", host.address, server]
        case "filtering":
            return [require_tool("turnutils_natdiscovery"), "-f", "-L", host.address, server]
        case _:
            # It waits for ever for an answer that a NAT filters.
            return [
                require_tool("timeout"),
                "5",
                require_tool("turnutils_stunclient"),
                "-f",
                "-L",
                host.address,
                server,
            ]


def run(tool: str, host: Host, server: str, pystun3: Path) -> str:
    line = host.command(*command(tool, host, server, pystun3))
    ended = subprocess.run(line, capture_output=True, text=True, timeout=LIMIT, check=False, cwd=pystun3)
    return ended.stdout + ended.stderr


@pytest.fixture(scope="module")
def servers(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    for tool in ("stun", "turnserver", "turnutils_natdiscovery", "turnutils_stunclient"):
        require_tool(tool)
    directory = tmp_path_factory.mktemp("servers")
    with discovery_servers(lab, directory):
        prober = lab.host("prober", Nat.NONE)
        wait_until(lambda: "reflexive" in run("stunclient", prober, COTURNS[0], directory), "coturn answers", LIMIT)
        yield


@pytest.fixture(scope="module")
def pystun3(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with pystun3, whose package has the name of one of ours."""
    folder = tmp_path_factory.mktemp("pystun3")
    line = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(folder), "pystun3"]
    subprocess.run(line, check=True, env=os.environ | {"PIP_DISABLE_PIP_VERSION_CHECK": "1"}, timeout=LIMIT)
    return folder


Outputs = Mapping[tuple[str, Nat, str], Future[str]]


@pytest.fixture(scope="module")
def outputs(lab: Lab, servers: None, pystun3: Path) -> Iterator[Outputs]:
    """What every tool says of every NAT, by every server."""
    hosts = {nat: lab.host(f"behind-{nat}", nat) for nat in Nat}
    with ThreadPoolExecutor(40) as pool:
        yield {
            (tool, nat, name): pool.submit(run, tool, hosts[nat], addresses[0], pystun3)
            for tool in (*VERDICTS, "stunclient")
            for nat in Nat
            for name, addresses in SERVERS.items()
        }


@pytest.mark.parametrize("nat", Nat)
@pytest.mark.parametrize("tool", VERDICTS)
def test_the_verdict_is_right_and_is_coturns(tool: str, nat: Nat, outputs: Outputs) -> None:
    """RFC 3489 §10.1, RFC 5780 §4: each tool comes to the same end at both servers."""
    wanted = VERDICTS[tool][nat]
    for server in SERVERS:
        assert wanted in outputs[tool, nat, server].result(), server


@pytest.mark.parametrize("nat", Nat)
def test_every_answer_names_its_origin(nat: Nat, outputs: Outputs) -> None:
    """`turnutils_stunclient -f`: from where each answer came, and the other address."""
    found = {server: outputs["stunclient", nat, server].result() for server in SERVERS}
    origins = {server: re.findall(r"(?:origin|Other addr): : ([\d.]+:\d+)", text) for server, text in found.items()}
    renamed = [origin.replace(COTURNS[0], OURS[0]).replace(COTURNS[1], OURS[1]) for origin in origins["coturn"]]
    assert origins["meshturn"] == renamed
    assert f"{OURS[1]}:{PORTS[1]}" in origins["meshturn"]
