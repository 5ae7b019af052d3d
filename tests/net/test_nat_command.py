"""``meshturn nat`` behind NATs of every kind, by meshturn and by coturn (RFC 5780).

Every discovery runs at the same time, each in its own namespace. What is silent costs the patience; what answers has as
long.
"""

import asyncio
import itertools
import json
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from cli.exit_codes import ExitCode
from cli.nat.report import Way
from cli.nat.runner import Wishes, run_nat
from stun.address import Address
from stun.client.nat.findings import Dependence, Findings, Trial
from stun.constants import AddressFamily
from stun.uri import StunUri
from tests.net.discovery_servers import COTURNS, COTURNS_V6, LIMIT, OURS, OURS_V6, PORTS, discovery_servers
from tests.net.lab import REFLECTOR, Host, Lab, Nat
from tests.net.nats import NatRules, nat66_host, nat_host
from tests.net.reflector import Reflector
from tests.support.process import wait_until
from tests.support.tools import require_tool

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 4.0
"""Seconds for each answer: four transmissions, on a busy machine, too."""
LIFETIME = 2
"""Seconds after which one NAT forgets."""

INDEPENDENT, ADDRESS, BOTH = Dependence
FRAGMENTS = "ip frag-off & 0x3fff != 0"
PLAIN = (REFLECTOR, "203.0.113.7")
"""Servers without RFC 5780."""
SERVERS = {"meshturn": OURS, "coturn": COTURNS}
SERVERS_V6 = {"meshturn": OURS_V6, "coturn": COTURNS_V6}
KINDS = list(itertools.product(Dependence, Dependence))
FIREWALLS = [INDEPENDENT, BOTH]
"""What a firewall without translation can be made to filter by."""

both_servers = pytest.mark.parametrize("server", SERVERS)

Key = tuple[Any, ...]
Command = subprocess.CompletedProcess[str]


def discover(*servers: str, local: str | None = None, **wishes: Any) -> list[Way]:
    targets = [StunUri.parse(f"stun:[{each}]" if each.count(":") > 1 else f"stun:{each}") for each in servers]
    own = None if local is None else Address.parse(local, 0)
    return asyncio.run(run_nat(Wishes(targets, patience=PATIENCE, local=own, **wishes), lambda _: None)).ways


class Hosts:
    """The hosts, and what has been found out on each."""

    def __init__(self, lab: Lab, pool: ThreadPoolExecutor) -> None:
        self.lab = lab
        self.pool = pool
        self.hosts: dict[Key, Host] = {}
        self.found: dict[Key, Future[list[Way]]] = {}
        self.commands: dict[str, Future[Command]] = {}

    def ask(self, key: Key, host: Host, *servers: str, **wishes: Any) -> None:
        self.found[key] = self.pool.submit(host.call, discover, *servers, **wishes)

    def run(self, name: str, host: Host, *arguments: str) -> None:
        """Run the command itself."""
        line = host.command(sys.executable, "-m", "meshturn", "nat", *arguments)
        self.commands[name] = self.pool.submit(
            subprocess.run, line, cwd=ROOT, capture_output=True, text=True, check=False, timeout=LIMIT
        )

    def result(self, *key: Any) -> Findings:
        (way,) = self.found[key].result(LIMIT)
        assert way.found is not None, way.trouble
        return way.found


@pytest.fixture(scope="module")
def hosts(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hosts]:
    for tool in ("turnserver", "nft", "conntrack"):
        require_tool(tool)
    with ExitStack() as stack:
        pool = stack.enter_context(ThreadPoolExecutor(80))
        stack.enter_context(discovery_servers(lab, tmp_path_factory.mktemp("servers"), ipv6=True, tcp=True))
        lab.public.ip(f"addr add {PLAIN[1]}/24 dev net")
        with lab.public.entered():
            stack.callback(Reflector(PLAIN[1]).close)
        made = Hosts(lab, pool)
        prober = lab.host("prober", Nat.NONE)
        for server in COTURNS[0], COTURNS_V6[0]:
            wait_until(lambda at=server: is_there(lab, at), "coturn answers", LIMIT)  # type: ignore[misc]
        for each in lifetimes, kinds_of_nat, families_and_transports, further_tests:
            each(made, prober)
        yield made


def is_there(lab: Lab, server: str) -> bool:
    with lab.public.entered():
        line = [require_tool("turnutils_stunclient"), server]
        done = subprocess.run(line, capture_output=True, text=True, check=False, timeout=LIMIT)
    return "reflexive" in done.stdout + done.stderr


def kinds_of_nat(made: Hosts, prober: Host) -> None:
    """Nine NATs, of which those that filter nothing hairpin, and two firewalls."""
    for mapping, filtering in [*KINDS, *((None, each) for each in FIREWALLS)]:
        name = f"{mapping or 'none'}-{filtering}".replace(" ", "-").replace("dependent", "d").replace("endpoint", "e")
        rules = NatRules(mapping, filtering, hairpin=filtering is INDEPENDENT, servers=(*OURS, *COTURNS, *PLAIN))
        host = made.hosts[mapping, filtering] = nat_host(made.lab, name, rules)
        for server, addresses in SERVERS.items():
            made.ask((mapping, filtering, server), host, addresses[0])


def families_and_transports(made: Hosts, prober: Host) -> None:
    """IPv6 behind a firewall and behind two kinds of NAT66; TCP behind two NATs."""
    for mapping, filtering in ((None, BOTH), (INDEPENDENT, BOTH), (BOTH, INDEPENDENT)):
        rules = NatRules(mapping, filtering, hairpin=filtering is INDEPENDENT, family="ip6")
        host, _ = nat66_host(made.lab, f"v6-{'none' if mapping is None else mapping.name[:3].lower()}", rules)
        for server, addresses in SERVERS_V6.items():
            made.ask(("v6", mapping, server), host, addresses[0], families=[AddressFamily.IPV6])
    for kind in (INDEPENDENT, INDEPENDENT), (ADDRESS, INDEPENDENT), (BOTH, BOTH):
        places = [f"{ip}:{port}" for ip, port in itertools.product(OURS, PORTS)]
        made.ask(("tcp", kind[0], "meshturn"), made.hosts[kind], *places, transports=("tcp",))
        made.ask(("tcp", kind[0], "coturn"), made.hosts[kind], COTURNS[0], transports=("tcp",))


def lifetimes(made: Hosts, prober: Host) -> None:
    """These take longest, so they begin first."""
    forgetful = nat_host(made.lab, "forgetful", NatRules(INDEPENDENT, BOTH))
    for timer in ("udp_timeout", "udp_timeout_stream"):
        forgetful.gate.inside.set(f"net.netfilter.nf_conntrack_{timer}", str(LIFETIME))
    for server, addresses in SERVERS.items():
        made.ask(("lifetime", server), forgetful, addresses[0], lifetime=3.0)
        made.ask(("long lifetime", server), prober, addresses[0], lifetime=2.0)


def further_tests(made: Hosts, prober: Host) -> None:
    """Plain servers, blocked UDP, lost fragments."""
    for kind in KINDS:
        made.ask(("plain", *kind), made.hosts[kind], *PLAIN)
    blocked = nat_host(made.lab, "blocked", NatRules(INDEPENDENT, BOTH, drops=("meta l4proto udp",)))
    made.ask(("blocked",), blocked, OURS[0], COTURNS[0])
    made.run("people", made.hosts[BOTH, BOTH], f"stun:{OURS[0]}", "--timeout", "2")
    made.run("programs", blocked, f"stun:{OURS[0]}", "--timeout", "0.5", "--json")
    for direction, drops in (("out", {"drops": (FRAGMENTS,)}), ("in", {"drops_in": (FRAGMENTS,)})):
        host = nat_host(made.lab, f"no-fragments-{direction}", NatRules(INDEPENDENT, BOTH, **drops))
        for server, addresses in SERVERS.items():
            made.ask(("fragments", direction, server), host, addresses[0])


@both_servers
@pytest.mark.parametrize(("mapping", "filtering"), KINDS)
def test_every_nat(hosts: Hosts, mapping: Dependence, filtering: Dependence, server: str) -> None:
    """RFC 4787 §4.1, §5, §6: mapping, filtering, hairpinning; fragments pass, and nothing is rewritten."""
    found = hosts.result(mapping, filtering, server)
    assert found.translated
    assert found.port_preserved is (mapping is not BOTH)
    assert (found.mapping.decided, found.filtering.decided) == (mapping, filtering)
    assert found.hairpinning.decided is (Trial.YES if filtering is INDEPENDENT else Trial.NO)
    assert (found.fragments.decided, found.rewriting.decided) == (Trial.YES, Trial.NO)


@both_servers
@pytest.mark.parametrize("filtering", FIREWALLS)
def test_no_nat(hosts: Hosts, filtering: Dependence, server: str) -> None:
    """RFC 5780 §4.3, §4.4: a public address, and a firewall or none."""
    found = hosts.result(None, filtering, server)
    assert (found.translated, found.mapping.decided, found.filtering.decided) == (False, INDEPENDENT, filtering)
    assert found.hairpinning.why == "there is no NAT"


@both_servers
@pytest.mark.parametrize(
    ("mapping", "filtering"),
    [(None, BOTH), (INDEPENDENT, BOTH), (BOTH, INDEPENDENT)],
    ids=["none", "nat66", "nat66-open"],
)
def test_ipv6(hosts: Hosts, mapping: Dependence | None, filtering: Dependence, server: str) -> None:
    """The same over IPv6: a firewall, and two kinds of NAT66."""
    found = hosts.result("v6", mapping, server)
    assert found.local is not None
    assert found.local.family is AddressFamily.IPV6
    assert found.translated is (mapping is not None)
    assert (found.mapping.decided, found.filtering.decided) == (mapping or INDEPENDENT, filtering)
    assert found.fragments.decided is Trial.YES


@both_servers
@pytest.mark.parametrize("mapping", list(Dependence))
def test_over_tcp(hosts: Hosts, mapping: Dependence, server: str) -> None:
    """RFC 5780 §3.1, §3.4: meshturn is four plain servers over TCP, coturn has OTHER-ADDRESS there, too."""
    found = hosts.result("tcp", mapping, server)
    assert (found.translated, found.mapping.decided) == (True, mapping)
    assert found.hairpinning.decided is (Trial.NO if mapping is BOTH else Trial.YES)
    assert "may not open a connection" in found.filtering.why


@pytest.mark.parametrize(("mapping", "filtering"), KINDS)
def test_two_plain_servers(hosts: Hosts, mapping: Dependence, filtering: Dependence) -> None:
    """Whether the mapping depends on the destination, and what cannot be said."""
    found = hosts.result("plain", mapping, filtering)
    assert found.mapping.possible == ((mapping,) if mapping is INDEPENDENT else (ADDRESS, BOTH))
    assert found.filtering.why.startswith("no server offers RFC 5780")


def test_udp_is_blocked(hosts: Hosts) -> None:
    """RFC 5780 §4.2: no verdicts."""
    found = hosts.result("blocked")
    assert not found.answered
    assert [server.why for server in found.servers] == ["no answer to 4 transmissions"] * 2


@both_servers
@pytest.mark.parametrize("direction", ["out", "in"])
def test_fragments_are_dropped(hosts: Hosts, direction: str, server: str) -> None:
    """RFC 5780 §3.5: coturn pads its answers by itself, so that it tells the directions apart."""
    found = hosts.result("fragments", direction, server)
    assert (found.fragments.decided, found.mapping.decided) == (Trial.NO, INDEPENDENT)
    own = "this host sends do not arrive; those of answers do" if direction == "out" else "which it pads by itself"
    assert (own if server == "coturn" else "or those of the answers") in found.fragments.why


@both_servers
def test_lifetimes(hosts: Hosts, server: str) -> None:
    """RFC 5780 §4.6: the bounds are on both sides of what the NAT's kernel has been told."""
    found = hosts.result("lifetime", server).lifetime
    assert found.lower is not None, found.why
    assert found.upper is not None
    assert 0 < found.lower <= LIFETIME <= found.upper
    found = hosts.result("long lifetime", server).lifetime
    assert found.lower is not None, found.why
    assert (found.upper, found.lower >= 2) == (None, True)


def test_the_command(hosts: Hosts) -> None:
    """As people run it, and as programs do; blocked UDP is exit code 1."""
    shown, failed = hosts.commands["people"].result(LIMIT), hosts.commands["programs"].result(LIMIT)
    assert "address and port-dependent mapping" in shown.stdout
    assert "A direct connection to another host behind such a NAT fails: a TURN server is needed." in shown.stdout
    assert (shown.returncode, failed.returncode) == (ExitCode.OK, ExitCode.FAILED)
    assert json.loads(failed.stdout)["results"][0]["conclusion"].startswith("UDP to these servers does not pass")
