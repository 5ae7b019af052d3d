"""Findings for people."""

import io

from rich.console import Console

from cli.nat.render import render
from cli.nat.report import NatReport, Way
from stun.address import Address
from stun.client.nat.findings import Behavior, Dependence, Findings, ServerSeen, Trial
from stun.constants import AddressFamily

SERVER = ServerSeen(
    Address.parse("192.0.2.1", 3478), Address.parse("203.0.113.9", 5000), Address.parse("192.0.2.2", 3479), "sim\x1b[2J"
)


def shown(report: NatReport, *, terminal: bool = False) -> str:
    stream = io.StringIO()
    render(Console(file=stream, width=160, force_terminal=terminal, markup=False, emoji=False), report)
    return stream.getvalue()


def test_verdicts() -> None:
    """The server, one line for each verdict, and what it means; nothing of a server steers the terminal."""
    found = Findings([SERVER], SERVER, Address.parse("10.0.0.2", 5000), SERVER.mapped)
    found.mapping, found.filtering = (Behavior((Dependence.ENDPOINT_INDEPENDENT,)) for _ in range(2))
    found.hairpinning, found.rewriting = Behavior((Trial.NO,)), Behavior((Trial.NO,))
    text = shown(NatReport(["stun:192.0.2.1"], [Way("udp", AddressFamily.IPV4, found)]))
    lines = text.splitlines()
    assert lines[0] == "UDP over IPv4"
    assert lines[1] == r"  server  192.0.2.1:3478 sim\x1b[2J, RFC 5780, with 192.0.2.2:3479"
    assert "endpoint-independent mapping" in text
    assert "not known" in text
    assert lines[-1] == "Direct connections work with all hosts whose network lets UDP out."
    assert "\x1b" not in text
    assert "\x1b" in shown(NatReport([], [Way("udp", AddressFamily.IPV4, found)]), terminal=True)


def test_servers_that_do_not_help() -> None:
    """Each says why."""
    servers = [
        ServerSeen(SERVER.address, why="no answer to 4 transmissions"),
        ServerSeen(SERVER.address, SERVER.mapped, why="its OTHER-ADDRESS is 127.0.0.1:3479, where no server can be"),
    ]
    silent = Way("udp", AddressFamily.IPV4, Findings(servers[:1]))
    lying = Way("tcp", AddressFamily.IPV4, Findings(servers, servers[1], SERVER.mapped, SERVER.mapped))
    routeless = Way("udp", AddressFamily.IPV6, trouble="This machine has no route to the servers.")
    text = shown(NatReport([], [silent, lying, routeless], unresolved=["The name 'x' cannot be resolved."]))
    assert text.startswith("The name 'x' cannot be resolved.\n\nUDP over IPv4\n")
    assert "  server  192.0.2.1:3478: no answer to 4 transmissions\nUDP to these servers does not pass" in text
    assert "no RFC 5780 (its OTHER-ADDRESS is 127.0.0.1:3479, where no server can be)" in text
    assert text.endswith("UDP over IPv6\nThis machine has no route to the servers.\n")
