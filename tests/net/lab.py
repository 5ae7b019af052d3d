"""A laboratory of hosts behind NATs, made of network namespaces and nftables.

::

    with Lab() as lab:
        ann = lab.host("ann", Nat.SYMMETRIC)
        bob = lab.host("bob", Nat.PORT_PRESERVING, Firewall.NO_UDP)
        with lab.public.entered():
            server.start()                       # at 203.0.113.1
        subprocess.run(ann.command("ping", "-c1", lab.address))

Every host has a gate of its own between itself and the public network, which does what its kind of NAT does, and is
handed out only after `Host.prove` has seen it do so::

    ann 10.1.0.2 ── 10.1.0.1 gate 203.0.113.11 ──┬── 203.0.113.1 public (the server; 203.0.113.2 the reflector)
    bob 10.2.0.2 ── 10.2.0.1 gate 203.0.113.12 ──┤
    eve 198.51.100.2 ── .1 gate 203.0.113.13 ────┘  a public host: its gate translates nothing

All that is made in a laboratory, and every process that was started in it, ends with it: a small shell outside holds
the list and works it off when the pipe to it closes, which happens even to a process that is killed.
"""

import itertools
import os
import re
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from enum import StrEnum
from ipaddress import IPv4Network
from pathlib import Path
from types import TracebackType
from typing import ParamSpec, Self, TypeVar

import pytest

from tests.net.reflector import TCP_PORTS, UDP_PORTS, Connecting, Mapping, Probe, Reflector
from tests.support.netns import NetworkNamespace
from tests.support.process import wait_until
from tests.support.tools import require_tool

__all__ = ["ADDRESS", "REFLECTOR", "Firewall", "Gate", "Host", "Lab", "Nat", "NotAsClaimed"]

ADDRESS = "203.0.113.1"
"""Where servers are put."""
REFLECTOR = "203.0.113.2"
BRIDGE = "02:00:00:00:00:01"
"""The hardware address of every bridge, each being in a network of its own. One that is given none takes the lowest of
its ports: with the next cable it may change, and whoever has talked to it before goes on sending to the old one until
the neighbour's entry is given up, some twenty seconds later."""
GATES = 89
"""How many the address plan has room for."""

P = ParamSpec("P")
T = TypeVar("T")


class NotAsClaimed(AssertionError):
    """A host's way to the world is not of the kind that it was to be."""


class Nat(StrEnum):
    """What a gate does to the addresses of what it forwards (RFC 4787 §§4.1, 5).

    Both NATs filter by address and port. ``SYMMETRIC`` takes a new port for every destination, so that nobody can be
    told where to send to; ``PORT_PRESERVING`` keeps the host's own port for all of them. ``NONE`` is a plain router,
    and lets everybody in.
    """

    NONE = "none"
    PORT_PRESERVING = "port-preserving"
    SYMMETRIC = "symmetric"


class Firewall(StrEnum):
    """What a gate drops, silently, of connections that exist as of new ones."""

    OPEN = "open"
    NO_UDP = "no-udp"
    ONLY_443 = "only-443"
    """Nothing goes but TCP to port 443."""
    CLOSED = "closed"


DROPS = {
    Firewall.OPEN: [],
    Firewall.NO_UDP: ["meta l4proto udp"],
    Firewall.ONLY_443: ["meta l4proto != tcp", 'iifname "lan" tcp dport != 443'],
    Firewall.CLOSED: ["meta l4proto != icmp"],
}
TRANSLATIONS = {
    Nat.NONE: "",
    Nat.PORT_PRESERVING: 'oifname "wan" masquerade',
    Nat.SYMMETRIC: 'oifname "wan" masquerade fully-random',
}
STRANGERS = {
    Nat.NONE: "accept",
    Nat.PORT_PRESERVING: "counter name strangers drop",
    Nat.SYMMETRIC: "counter name strangers drop",
}
RULES = """
table ip nat {{
    chain post {{
        type nat hook postrouting priority srcnat;
        {translation}
    }}
}}
table ip fw {{
    counter blocked {{ }}
    counter strangers {{ }}
    chain wall {{ }}
    chain forwarded {{
        type filter hook forward priority filter;
        jump wall
        iifname "lan" accept
        ct state established,related accept
        {strangers}
    }}
    chain incoming {{
        type filter hook input priority filter;
        iifname "wan" meta l4proto udp {strangers}
    }}
}}
"""
"""``incoming`` keeps a datagram that is for none of the gate's mappings from making one."""

REAPER = """
owner=$1 ip=$2
while read -r name; do names="$names $name"; done
for name in $names; do
    [ -e "/run/netns/$name" ] || continue
    for pid in $("$ip" netns pids "$name"); do [ "$pid" = "$owner" ] || kill -9 "$pid"; done
    "$ip" netns del "$name"
done
"""
NOT_HERE = ("Operation not permitted", "Operation not supported", "No such file or directory")
"""What nft says where the privileges for it are lacking, or the kernel's part of it."""
NAME = re.compile(r"mtlab-(\d+)-(\d+)-\d+-\d+-[a-z0-9-]+")

_labs = itertools.count(1)


class Gate:
    """The router between hosts and the public network: addresses, NAT and firewall.

    ``wan`` is its public address, ``lan`` that by which those behind it know it, in ``network``.
    """

    def __init__(self, lab: "Lab", number: int, nat: Nat) -> None:
        self.nat = nat
        self.firewall = Firewall.OPEN
        self.lab = lab
        self.wan = f"203.0.113.{10 + number}"
        self.network = lab.public_network() if nat is Nat.NONE else IPv4Network(f"10.{number}.0.0/24")
        self._addresses = map(str, self.network.hosts())
        self._ports = itertools.count(1)
        self.lan = next(self._addresses)
        self.inside = lab.namespace("gate")
        lab.attach(self.inside, "wan", lab.public, f"gate{number}", bridge="net")
        for line in (
            f"addr add {self.wan}/24 dev wan",
            "route add default via " + ADDRESS,
            f"link add lan address {BRIDGE} type bridge",
            f"addr add {self.lan}/{self.network.prefixlen} dev lan",
            "link set lan up",
        ):
            self.inside.ip(line)
        if nat is Nat.NONE:
            lab.public.ip(f"route add {self.network} via {self.wan}")
        self.inside.forward()
        self.nft(RULES.format(translation=TRANSLATIONS[nat], strangers=STRANGERS[nat]))

    def nft(self, script: str) -> str:
        """Run an nft script inside and hand back what it prints."""
        return self.lab.nft(self.inside, script)

    def count(self, name: str) -> int:
        """How many packets a counter has seen: what the firewall ``blocked``, or came from ``strangers``."""
        listed = re.search(r"packets (\d+)", self.nft(f"list counter ip fw {name}"))
        assert listed is not None
        return int(listed[1])

    def block(self, firewall: Firewall) -> None:
        """From now on drop what ``firewall`` says, of existing connections, too."""
        rules = [f"add rule ip fw wall {what} counter name blocked drop" for what in DROPS[firewall]]
        self.nft("\n".join(["flush chain ip fw wall", *rules]))
        self.firewall = firewall

    def forget(self) -> None:
        """Lose all mappings, as NATs do when they restart or run short; what comes next gets a new one.

        A port-preserving NAT would choose the very same ports again; it changes its public address instead.
        """
        if self.nat is Nat.PORT_PRESERVING:
            old, last = self.wan, int(self.wan.rpartition(".")[2])
            self.wan = f"203.0.113.{last + 100 if last < 110 else last - 100}"
            self.inside.ip(f"addr del {old}/24 dev wan")
            self.inside.ip(f"addr add {self.wan}/24 dev wan")
            self.inside.ip(f"route replace default via {ADDRESS}")
        subprocess.run(
            [require_tool("ip"), "netns", "exec", self.inside.name, require_tool("conntrack"), "-F"],
            check=True,
            capture_output=True,
        )

    def plug_in(self, host: NetworkNamespace, interface: str) -> tuple[str, str]:
        """Connect a host; its new address, and the name of the gate's port that it is connected to."""
        port, address = f"port{next(self._ports)}", next(self._addresses)
        self.lab.attach(host, interface, self.inside, port, bridge="lan")
        host.ip(f"addr add {address}/{self.network.prefixlen} dev {interface}")
        host.ip(f"route add default via {self.lan}")
        return address, port


class Host:
    """A computer behind a gate. ``address`` is its own address, as it sees it."""

    def __init__(self, lab: "Lab", name: str, gate: Gate) -> None:
        self.lab = lab
        self.name = name
        self.gate = gate
        self.inside = lab.namespace(name)
        self._interfaces = (f"eth{number}" for number in itertools.count())
        self._interface = next(self._interfaces)
        self.address, self._port = gate.plug_in(self.inside, self._interface)

    def command(self, *command: str) -> list[str]:
        """The command line that runs a program on this host."""
        return [require_tool("ip"), "netns", "exec", self.inside.name, *command]

    @contextmanager
    def entered(self) -> Iterator[None]:
        """Let the calling thread make sockets and start processes on this host."""
        with self.inside.entered():
            yield

    def call(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call a function in a thread of its own on this host: for one that runs an event loop, say."""

        def inside() -> T:
            with self.inside.entered():
                return function(*args, **kwargs)

        with ThreadPoolExecutor(1) as pool:
            return pool.submit(inside).result()

    def block(self, firewall: Firewall) -> None:
        """Have the gate drop what ``firewall`` says, from now on; proven."""
        self.gate.block(firewall)
        self.prove()

    def link(self, *, up: bool) -> None:
        """Pull the cable, or put it back: the interface has no carrier, and keeps its address."""
        self.gate.inside.ip(f"link set {self._port} {'up' if up else 'down'}")

    def kill_connections(self, port: int) -> None:
        """Have the kernel end every TCP connection from here to a port; the programs see an error at once."""
        subprocess.run(
            self.command(require_tool("ss"), "-K", "-t", "dport", "=", f":{port}"), check=True, capture_output=True
        )

    def rebind(self) -> None:
        """Have the gate lose its mappings, so that every flow appears to come from somewhere else; proven."""
        with self.entered(), Probe(REFLECTOR) as probe:
            before = probe.mapped(UDP_PORTS[0]) if self._has_udp else None
            self.gate.forget()
            if before is not None and probe.mapped(UDP_PORTS[0]) == before:
                raise NotAsClaimed(f"{self.name}: the mapping is still {before}")

    def move(self, gate: Gate | None = None) -> None:
        """Change the host's address at once, by a new interface: at another gate, or at the same one."""
        old = self._interface
        self.gate = gate or self.gate
        self._interface = next(self._interfaces)
        # Both the old address and the old route are gone before the new ones come.
        self.inside.ip(f"link del {old}")
        self.address, self._port = self.gate.plug_in(self.inside, self._interface)

    def prove(self) -> None:
        """See by probes that the way to the world is as its NAT and its firewall are said to be; else `NotAsClaimed`.

        Nothing is waited for that is not to happen: what has to be dropped is seen in the gate's counters.
        """
        with self.entered():
            if self._has_udp:
                self._prove_nat()
            else:
                self._prove_no_udp()
            for port in TCP_PORTS:
                self._prove_tcp(port)

    @property
    def _has_udp(self) -> bool:
        return self.gate.firewall is Firewall.OPEN

    def _claim(self, holds: bool, what: str) -> None:
        if not holds:
            raise NotAsClaimed(f"{self.name} ({self.gate.nat}, {self.gate.firewall}): {what}")

    def _prove_nat(self) -> None:
        with Probe(REFLECTOR) as probe:
            try:
                first, second = (probe.mapped(port) for port in UDP_PORTS)
            except (TimeoutError, OSError) as error:
                raise NotAsClaimed(f"{self.name}: UDP does not pass: {error}") from error
            own, kept = (self.address, probe.port), (self.gate.wan, probe.port)
            match self.gate.nat:
                case Nat.NONE:
                    self._claim(first == second == own, f"{own} is seen as {first} and {second}")
                case Nat.PORT_PRESERVING:
                    self._claim(first == second == kept, f"{own} is seen as {first} and {second}, not {kept}")
                case Nat.SYMMETRIC:
                    self._claim({first[0], second[0]} == {self.gate.wan}, f"{own} is seen as {first} and {second}")
                    self._claim(first[1] != second[1], f"{own} is seen as {first} by both ports")
            self._prove_filter(probe, first)

    def _prove_filter(self, probe: Probe, mapped: Mapping) -> None:
        """A stranger reaches a public host, and nobody behind a NAT."""
        before = self.gate.count("strangers")
        self.lab.reflector.send_as_a_stranger(mapped)
        if self.gate.nat is Nat.NONE:
            self._claim(probe.hears_the_stranger(), "what a stranger sends does not arrive")
        else:
            wait_until(lambda: self.gate.count("strangers") > before, "the gate drops what a stranger sends")
            self._claim(not probe.hears_the_stranger(0), "what a stranger sends arrives")

    def _prove_no_udp(self) -> None:
        before = self.gate.count("blocked")
        with Probe(REFLECTOR) as probe:
            probe.ask(UDP_PORTS[0])
            wait_until(lambda: self.gate.count("blocked") > before, "the gate drops UDP")
            self._claim(probe.receive(0) is None, "UDP passes")

    def _prove_tcp(self, port: int) -> None:
        firewall = self.gate.firewall
        passes = firewall in (Firewall.OPEN, Firewall.NO_UDP) or (firewall is Firewall.ONLY_443 and port == 443)
        before = self.gate.count("blocked")
        with Connecting(REFLECTOR, port) as attempt:
            if passes:
                self._claim(attempt.succeeds(), f"TCP to port {port} does not pass")
            else:
                wait_until(lambda: self.gate.count("blocked") > before, f"the gate drops TCP to port {port}")
                self._claim(not attempt.succeeds(0), f"TCP to port {port} passes")


class Lab:
    """The public network and all that is connected to it; a context manager. Skips where it cannot be built."""

    address = ADDRESS

    def __init__(self) -> None:
        self._ip = require_tool("ip")
        self._nft = require_tool("nft")
        self._prefix = f"mtlab-{os.getpid()}-{_started(os.getpid())}-{next(_labs)}"
        self._gates = itertools.count(1)
        self._namespaces = itertools.count(1)
        self._public_networks = IPv4Network("198.51.100.0/24").subnets(new_prefix=29)
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        _remove_leftovers(self._ip)
        with ExitStack() as stack:
            command = ["/bin/sh", "-c", REAPER, "reaper", str(os.getpid()), self._ip]
            # In a session of its own: what ends the tests must not end it.
            self._reaper = subprocess.Popen(
                command, stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
            )
            stack.callback(self._reap)
            self._build()
            stack.callback(self.reflector.close)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stack.close()

    def host(self, name: str, nat: Nat = Nat.SYMMETRIC, firewall: Firewall = Firewall.OPEN) -> Host:
        """A new host behind a new gate, proven to be as asked for. ``name`` is made of a-z, 0-9 and ``-``."""
        made = Host(self, name, self.gate(nat))
        made.block(firewall)
        return made

    def gate(self, nat: Nat) -> Gate:
        """A new gate with nobody behind it: somewhere to move to."""
        number = next(self._gates)
        assert number <= GATES, "the address plan is used up"
        return Gate(self, number, nat)

    def public_network(self) -> IPv4Network:
        """Some addresses of the public network, given to nobody else; there are 32 times six."""
        return next(self._public_networks)

    def namespace(self, name: str) -> NetworkNamespace:
        """A new namespace, removed with the laboratory, in which IPv6 is off."""
        made = NetworkNamespace(f"{self._prefix}-{next(self._namespaces)}-{name}")
        assert NAME.fullmatch(made.name), f"not a name: {name!r}"
        assert self._reaper.stdin is not None
        # Listed before it is made: the reaper minds one too many less than one too few.
        self._reaper.stdin.write(f"{made.name}\n")
        self._reaper.stdin.flush()
        made.__enter__()
        with made.entered():
            for scope in ("all", "default"):
                switch = Path(f"/proc/sys/net/ipv6/conf/{scope}/disable_ipv6")
                if switch.exists():
                    switch.write_text("1")
        return made

    def attach(
        self, inside: NetworkNamespace, name: str, other: NetworkNamespace, other_name: str, *, bridge: str
    ) -> None:
        """Lay a cable between two namespaces; its other end is a port of a bridge."""
        inside.ip(f"link add {name} type veth peer name {other_name} netns {other.name}")
        other.ip(f"link set {other_name} master {bridge} up")
        inside.ip(f"link set {name} up")

    def nft(self, inside: NetworkNamespace, script: str) -> str:
        """Run an nft script in a namespace and hand back what it prints."""
        command = [self._ip, "netns", "exec", inside.name, self._nft, "-f", "-"]
        done = subprocess.run(command, input=script, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise RuntimeError(f"nft: {done.stderr.strip()}\n{script}")
        return done.stdout

    def _build(self) -> None:
        self.public = self.namespace("public")
        try:
            self.nft(self.public, RULES.format(translation=TRANSLATIONS[Nat.SYMMETRIC], strangers="accept"))
            self.nft(self.public, "flush ruleset")
        except RuntimeError as error:
            if any(words in str(error) for words in NOT_HERE):
                pytest.skip(f"nftables cannot make NATs here: {error}")
            raise
        for line in (
            f"link add net address {BRIDGE} type bridge",
            f"addr add {ADDRESS}/24 dev net",
            f"addr add {REFLECTOR}/24 dev net",
            "link set net up",
            # A way to nowhere for what is in no network here, as hosts of the Internet have one.
            "link add nowhere type veth peer name abyss",
            "link set nowhere arp off up",
            "link set abyss arp off up",
            "route add default dev nowhere",
        ):
            self.public.ip(line)
        self.public.forward()
        with self.public.entered():
            self.reflector = Reflector(REFLECTOR)

    def _reap(self) -> None:
        _, errors = self._reaper.communicate()
        assert not errors, f"the laboratory was not removed cleanly: {errors}"


def _started(pid: int) -> int | None:
    """When a process started, in clock ticks since boot: together with its number this is unique. None: no such one."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return None
    return int(status.rpartition(")")[2].split()[19])


def _remove_leftovers(ip: str) -> None:
    """Remove what processes that are no more have left behind, and the processes that are left in there."""
    listed = subprocess.run([ip, "netns", "list"], capture_output=True, text=True, check=False).stdout
    for name in [line.split()[0] for line in listed.splitlines() if line]:
        match = NAME.fullmatch(name)
        if match is not None and _started(int(match[1])) != int(match[2]):
            # May well be under way by its own reaper, or by another laboratory.
            subprocess.run(
                ["/bin/sh", "-c", REAPER, "reaper", "", ip],
                input=f"{name}\n",
                stderr=subprocess.DEVNULL,
                text=True,
                check=False,
            )
