"""The laboratory does what it says, shown without a browser; and so does the server for hosts behind NATs."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import aioice
import pytest

from stun.address import Address
from tests.net.lab import ADDRESS, REFLECTOR, Firewall, Host, Lab, Nat, NotAsClaimed
from tests.net.public_server import PORTS, PublicServer
from tests.net.reflector import TCP_PORTS, UDP_PORTS, Connecting, Probe
from tests.support.netns import NetworkNamespace
from tests.support.process import wait_until
from tests.support.server import PASSWORD, USERNAME
from tests.support.turn_client import ChannelMessage, TurnClient

pytestmark = pytest.mark.lab

ROOT = Path(__file__).resolve().parents[2]
TIMEOUT = 90
"""Seconds until what has not come about counts as failed."""
nats = pytest.mark.parametrize("nat", list(Nat))


@pytest.fixture
def other_lab() -> Iterator[Lab]:
    """A laboratory of the test's own, beside the common one."""
    with Lab() as built:
        yield built


def wire(kind: str) -> Callable[..., TurnClient]:
    """How to make a client over one transport."""
    make: Callable[..., TurnClient] = {"udp": TurnClient.udp, "tcp": TurnClient.tcp, "shared": TurnClient.tls}[kind]
    return make


def turn_client(host: Host, kind: str = "udp") -> TurnClient:
    """A client of the public server on a host."""
    with host.entered():
        return wire(kind)(ADDRESS, PORTS[kind], USERNAME, PASSWORD)


@nats
@pytest.mark.parametrize("firewall", list(Firewall))
def test_every_kind_of_host(lab: Lab, nat: Nat, firewall: Firewall) -> None:
    """RFC 4787 §§4.1, 5: mapping and filtering are as claimed, and what is blocked is blocked: proven by `Lab.host`."""
    host = lab.host(f"{nat}-{firewall}", nat, firewall)
    assert host.address.startswith("198.51.100." if nat is Nat.NONE else "10.")
    assert (host.gate.nat, host.gate.firewall) == (nat, firewall)


@pytest.mark.parametrize(
    ("claimed", "rule"),
    [
        (Nat.SYMMETRIC, 'oifname "wan" masquerade'),
        (Nat.PORT_PRESERVING, 'oifname "wan" masquerade fully-random'),
        (Nat.NONE, 'oifname "wan" masquerade'),
    ],
)
def test_the_proof_sees_through_a_false_claim(lab: Lab, claimed: Nat, rule: str) -> None:
    """A NAT that is not of its kind is found out, whichever it is instead."""
    host = lab.host("liar", claimed)
    host.gate.nft(f"flush chain ip nat post\nadd rule ip nat post {rule}")
    subprocess.run(host.command("true"), check=True)
    with pytest.raises(NotAsClaimed):
        host.prove()


def test_the_proof_sees_a_nat_that_lets_strangers_in(lab: Lab) -> None:
    """RFC 4787 §5: a NAT that keeps ports but filters nothing is not taken for one that does."""
    host = lab.host("sieve", Nat.PORT_PRESERVING)
    host.gate.nft(
        f"add rule ip nat post accept\nadd chain ip nat pre {{ type nat hook prerouting priority dstnat; }}\n"
        f'add rule ip nat pre iifname "wan" udp dport 1024-65535 counter dnat to {host.address}\n'
        'insert rule ip fw forwarded iifname "wan" counter name strangers accept'
    )
    with pytest.raises(NotAsClaimed, match="stranger"):
        host.prove()


@pytest.mark.parametrize("firewall", [Firewall.NO_UDP, Firewall.ONLY_443])
def test_the_proof_sees_a_hole_in_the_wall(lab: Lab, firewall: Firewall) -> None:
    """A firewall that counts, but lets pass, is found out."""
    host = lab.host("hole", Nat.SYMMETRIC, firewall)
    host.gate.nft("flush chain ip fw wall\nadd rule ip fw wall counter name blocked")
    with pytest.raises(NotAsClaimed, match="passes"):
        host.prove()


@nats
def test_rules_change_under_a_running_flow(lab: Lab, server: PublicServer, nat: Nat) -> None:
    """A firewall that closes stops what is already flowing, both ways; one that opens lets it go on."""
    host = lab.host("changing", nat)
    with turn_client(host) as client:
        client.allocate()
        host.block(Firewall.NO_UDP)
        before = host.gate.count("blocked")
        client.send_channel(0x4000, b"lost")
        wait_until(lambda: host.gate.count("blocked") > before, "what flowed before is blocked")
        host.block(Firewall.OPEN)
        assert client.refresh() > 0


def test_rebinding(lab: Lab, server: PublicServer) -> None:
    """RFC 8656 §2: a new mapping is a new 5-tuple, to which the server knows no allocation."""
    for nat in (Nat.SYMMETRIC, Nat.PORT_PRESERVING):
        host = lab.host("rebinding", nat)
        with turn_client(host) as client:
            before = client.binding()
            host.rebind()
            after = client.binding()
            assert before != after
            host.prove()
    with pytest.raises(NotAsClaimed, match="still"):
        lab.host("fixed", Nat.NONE).rebind()


def test_moving(lab: Lab, server: PublicServer) -> None:
    """A move changes the host's address at the same gate, and the public one, too, at another gate."""
    host = lab.host("moving")
    first = host.address
    host.move()
    host.prove()
    second = host.address
    assert first != second
    gate = lab.gate(Nat.PORT_PRESERVING)
    host.move(gate)
    host.prove()
    with turn_client(host) as client:
        assert client.binding().host == gate.wan


def test_a_link_that_goes_and_comes_back(lab: Lab, server: PublicServer) -> None:
    """Without a carrier nothing passes; with it, the same socket has its mapping again."""
    host = lab.host("linked")
    with turn_client(host) as client:
        before = client.binding()
        host.link(up=False)
        shown = subprocess.run(host.command("ip", "link", "show", "up"), capture_output=True, text=True, check=True)
        assert "NO-CARRIER" in shown.stdout
        with host.entered(), Connecting(REFLECTOR, TCP_PORTS[0]) as attempt:
            assert not attempt.succeeds(0.3)
        host.link(up=True)
        assert client.binding() == before
    host.prove()


def test_networks_keep_their_address(lab: Lab) -> None:
    """Whoever has talked to the public network, or to a gate, still reaches it after others have been connected."""

    def hardware(inside: NetworkNamespace, bridge: str) -> str:
        with inside.entered():
            command = ["ip", "-json", "link", "show", bridge]
            shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        return str(json.loads(shown)[0]["address"])

    host = lab.host("first")
    before = hardware(lab.public, "net"), hardware(host.gate.inside, "lan")
    for number in range(4):
        lab.host(f"later-{number}")
        host.move()
    assert (hardware(lab.public, "net"), hardware(host.gate.inside, "lan")) == before
    host.prove()


def test_commands_run_on_their_host(lab: Lab) -> None:
    """A program, a thread and a block of code each see the host's address."""
    host = lab.host("busy")
    shown = subprocess.run(host.command("ip", "-4", "addr"), capture_output=True, text=True, check=True).stdout
    assert f"inet {host.address}/24" in shown

    def own() -> str:
        with turn_client(host) as client:
            return client.wire.local.host

    assert host.call(own) == host.address


@pytest.mark.parametrize("kind", PORTS)
def test_relaying_between_hosts_that_cannot_meet(lab: Lab, server: PublicServer, kind: str) -> None:
    """RFC 8656 §2: two hosts behind symmetric NATs reach each other relay to relay, over every transport."""
    walls = {"udp": Firewall.OPEN, "tcp": Firewall.NO_UDP, "shared": Firewall.ONLY_443}
    ann, bob = (lab.host(name, Nat.SYMMETRIC, walls[kind]) for name in ("ann", "bob"))
    with turn_client(ann, kind) as one, turn_client(bob, kind) as other:
        relays: list[Address] = [client.allocate().address for client in (one, other)]
        assert {relay.host for relay in relays} == {ADDRESS}
        one.channel_bind(0x4000, relays[1])
        other.channel_bind(0x4000, relays[0])
        one.send_channel(0x4000, b"there")
        assert other.receive() == ChannelMessage(0x4000, b"there")
        other.send_channel(0x4000, b"back")
        assert one.receive() == ChannelMessage(0x4000, b"back")


async def introduce(one: aioice.Connection, other: aioice.Connection, hosts: tuple[Host, Host]) -> None:
    """Gather each side's candidates on its host, hand them to the other, and connect."""
    for local, remote, host in ((one, other, hosts[0]), (other, one, hosts[1])):
        # Sockets stay where they are made, and gathering makes all of them.
        with host.entered():
            await local.gather_candidates()
        for candidate in local.local_candidates:
            await remote.add_remote_candidate(candidate)
        await remote.add_remote_candidate(None)
        remote.remote_username, remote.remote_password = local.local_username, local.local_password
    await asyncio.gather(one.connect(), other.connect())


@pytest.mark.parametrize(
    ("nat", "turn", "path"),
    [
        (Nat.NONE, False, {"host"}),
        (Nat.PORT_PRESERVING, False, {"srflx", "prflx"}),
        (Nat.SYMMETRIC, True, {"relay"}),
    ],
)
async def test_aioice_finds_the_path_that_there_is(
    lab: Lab, server: PublicServer, nat: Nat, turn: bool, path: set[str]
) -> None:
    """RFC 8445: hosts in public meet directly, NATs that keep ports are punched, symmetric ones need the relay."""
    hosts = (lab.host("ann", nat), lab.host("bob", nat))
    address = (ADDRESS, PORTS["udp"])
    one, other = (
        aioice.Connection(
            ice_controlling=controlling,
            stun_server=address,
            turn_server=address if turn else None,
            turn_username=USERNAME,
            turn_password=PASSWORD,
            use_ipv6=False,
        )
        for controlling in (True, False)
    )
    try:
        async with asyncio.timeout(TIMEOUT):
            await introduce(one, other, hosts)
            for sender, receiver in ((one, other), (other, one)):
                await sender.send(b"hello")
                assert await receiver.recv() == b"hello"
        pair = one._nominated[1]
        assert {pair.local_candidate.type, pair.remote_candidate.type} & path
    finally:
        await asyncio.gather(one.close(), other.close())


@pytest.mark.parametrize("nat", [Nat.PORT_PRESERVING, Nat.SYMMETRIC])
def test_hole_punching(lab: Lab, nat: Nat) -> None:
    """RFC 5128 §3.3: hosts that send to each other's mapped address meet, unless both their NATs are symmetric."""
    ann, bob = lab.host("ann", nat), lab.host("bob", nat)
    with ann.entered():
        one = Probe(REFLECTOR)
    with bob.entered():
        other = Probe(REFLECTOR)
    with one, other:
        strangers = [host.gate.count("strangers") for host in (ann, bob)]
        there, back = (probe.mapped(UDP_PORTS[0]) for probe in (one, other))
        one.send(b"to bob", back)
        other.send(b"to ann", there)
        one.send(b"to bob again", back)
        if nat is Nat.SYMMETRIC:
            wait_until(lambda: ann.gate.count("strangers") > strangers[0], "Bob's datagram is dropped")
            wait_until(lambda: bob.gate.count("strangers") > strangers[1], "Ann's datagram is dropped")
            assert (one.receive(0), other.receive(0)) == (None, None)
        else:
            assert one.receive(TIMEOUT) == b"to ann"
            assert other.receive(TIMEOUT) == b"to bob again"


def namespaces(of: str) -> list[str]:
    """The namespaces that there are with ``of`` in their names."""
    return [path.name for path in Path("/run/netns").iterdir() if of in path.name]


def test_two_laboratories_at_once(lab: Lab, other_lab: Lab) -> None:
    """Runs side by side are strangers to each other, even with hosts of the same names."""
    assert lab.public.name != other_lab.public.name
    assert lab.host("twin").inside.name != other_lab.host("twin").inside.name


def test_nothing_is_left() -> None:
    """At the end namespaces and processes in them are gone."""
    with Lab() as built:
        host = built.host("leaver")
        lingering = subprocess.Popen(host.command("sleep", "1000"))
        prefix = built.public.name.removesuffix("1-public")
        assert len(namespaces(prefix)) == 3
    assert namespaces(prefix) == []
    assert lingering.wait(TIMEOUT) == -signal.SIGKILL


CRASHER = """
import select, sys, subprocess
from tests.net.lab import Lab
with Lab() as lab:
    host = lab.host("victim")
    lingering = subprocess.Popen(host.command("sleep", "1000"))
    print(lab.public.name.removesuffix("1-public"), lingering.pid, flush=True)
    while not select.select([sys.stdin], [], [], 0.1)[0]:
        pass  # a signal that comes just before a read without end would wait as long as that
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL, signal.SIGINT])
def test_nothing_is_left_by_a_run_that_dies(lab: Lab, number: signal.Signals) -> None:
    """However a run ends, its namespaces and what runs in them end, too."""
    dying = subprocess.Popen(
        [sys.executable, "-c", CRASHER],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    with dying:
        assert dying.stdout is not None
        prefix, lingering = dying.stdout.readline().split()
        assert len(namespaces(prefix)) == 3
        dying.send_signal(number)
        dying.wait(TIMEOUT)
    wait_until(lambda: not namespaces(prefix), "the namespaces are gone")
    wait_until(lambda: not Path(f"/proc/{lingering}").exists(), "the process is gone")


def test_leftovers_of_dead_runs_are_removed(lab: Lab) -> None:
    """What even the shell that cleans up has left behind goes when the next laboratory is built; live ones stay."""
    ended = subprocess.Popen(["true"])
    ended.wait()
    stale = f"mtlab-{ended.pid}-1-1-1-public"
    subprocess.run(["ip", "netns", "add", stale], check=True)
    with Lab():
        assert namespaces(stale) == []
        assert namespaces(lab.public.name) == [lab.public.name]
