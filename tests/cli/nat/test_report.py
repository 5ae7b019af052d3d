"""Findings for programs."""

import json

from cli.nat.report import NatReport, Way
from stun.address import Address
from stun.client.nat.findings import Behavior, Dependence, Findings, Lifetime, ServerSeen
from stun.constants import AddressFamily

SERVER = ServerSeen(
    Address.parse("192.0.2.1", 3478), Address.parse("203.0.113.9", 5000), Address.parse("192.0.2.2", 3479), "sim"
)


def test_json() -> None:
    """Every verdict by itself, what is still possible, and why; JSON takes it all."""
    found = Findings([SERVER], SERVER, Address.parse("10.0.0.2", 5001), SERVER.mapped)
    found.mapping = Behavior((Dependence.ADDRESS_DEPENDENT, Dependence.ADDRESS_AND_PORT_DEPENDENT), "two ports")
    found.filtering = Behavior((Dependence.ADDRESS_DEPENDENT,))
    found.lifetime = Lifetime(30.123, 33.0)
    report = NatReport(["stun:192.0.2.1:3478"], [Way("udp", AddressFamily.IPV4, found)])
    written = json.loads(json.dumps(report.as_json(ok=True)))
    assert (written["ok"], written["uris"], written["unresolved"]) == (True, ["stun:192.0.2.1:3478"], [])
    (way,) = written["results"]
    assert (way["transport"], way["family"], way["ok"], way["nat"], way["port_preserved"]) == (
        "udp",
        4,
        True,
        True,
        False,
    )
    assert (way["asked"], way["local"], way["mapped"]) == ("192.0.2.1:3478", "10.0.0.2:5001", "203.0.113.9:5000")
    assert way["servers"][0]["other_address"] == "192.0.2.2:3479"
    assert way["mapping"] == {
        "verdict": None,
        "possible": ["address-dependent", "address and port-dependent"],
        "why": "two ports",
    }
    assert way["filtering"]["verdict"] == "address-dependent"
    assert way["lifetime"] == {"more_than_seconds": 30.12, "at_most_seconds": 33.0, "unsteady": False, "why": ""}
    assert [verdict["name"] for verdict in way["verdicts"]][:2] == ["NAT", "mapping"]
    assert "TURN server" in way["conclusion"]


def test_what_did_not_answer() -> None:
    """No verdicts; the servers say why, or the machine's trouble does."""
    silent = Findings([ServerSeen(SERVER.address, why="no answer to 4 transmissions")])
    way = Way("udp", AddressFamily.IPV6, silent)
    assert (way.ok, way.name) == (False, "UDP over IPv6")
    assert way.as_json()["servers"][0]["why"] == "no answer to 4 transmissions"
    assert "mapping" not in way.as_json()
    routeless = Way("tcp", AddressFamily.IPV4, trouble="This machine has no route to the servers.")
    assert routeless.as_json() == {
        "transport": "tcp",
        "family": 4,
        "ok": False,
        "trouble": "This machine has no route to the servers.",
    }
    assert not NatReport([], [way, routeless]).answered
