"""Names and SRV records, asked of a real DNS server on loopback."""

from collections.abc import Callable
from typing import Any

import pytest

from cli.doctor.checks.names import SERVICES, dns, srv
from cli.doctor.findings import HostFinding, Severity
from cli.doctor.host import Host
from cli.doctor.names import DnsResolver, SystemResolver
from tests.support.dns_server import answering

Make = Callable[..., Host]
NAME = "turn.example.org"
LISTENERS = [
    {"transport": "udp", "address": "192.0.2.1", "port": 3478},
    {"transport": "tcp", "address": "192.0.2.1", "port": 3478},
]
OPTIONS: dict[str, Any] = {"listeners": LISTENERS, "signaling": {"urls": [f"turn:{NAME}:3478"]}}
IPV6 = {"transport": "udp", "address": "2001:db8::1"}


async def found_by(
    check: Any, make: Make, records: dict[tuple[str, str], list[str]], **options: Any
) -> list[HostFinding]:
    async with answering(records) as port:
        findings: list[HostFinding] = await check(
            make({**OPTIONS, **options}, resolver=DnsResolver(30.0, ["127.0.0.1"], port))
        )
    return findings


async def test_it_leads_here(make: Make) -> None:
    """All its addresses are those that clients reach the server by."""
    (found,) = await found_by(dns, make, {(NAME, "A"): ["192.0.2.1"]})
    assert (found.grade, found.what) == (Severity.OK, f"{NAME} leads here: 192.0.2.1.")


async def test_it_leads_elsewhere(make: Make) -> None:
    """With the record that would be right."""
    (found,) = await found_by(dns, make, {(NAME, "A"): ["192.0.2.1", "198.51.100.8"]})
    assert (found.grade, "198.51.100.8" in found.what) == (Severity.WRONG, True)
    assert found.mend == (f"{NAME}. IN A 192.0.2.1",)


async def test_it_has_no_address(make: Make) -> None:
    """A record that nobody has made."""
    (found,) = await found_by(dns, make, {})
    assert (found.grade, found.mend) == (Severity.WRONG, (f"{NAME}. IN A 192.0.2.1",))


async def test_behind_nat(make: Make) -> None:
    """The public address counts. If it is not known, nor is whether the name is right."""
    private = {"listeners": [{"transport": "udp", "address": "10.0.0.1"}]}
    records = {(NAME, "A"): ["203.0.113.5"]}
    (found,) = await found_by(dns, make, records, **private, relay={"external": {"10.0.0.1": "203.0.113.5"}})
    assert found.grade is Severity.OK
    (found,) = await found_by(dns, make, records, **private)
    assert found.grade is Severity.NOT_CHECKED


async def test_a_proxy_in_front(make: Make) -> None:
    """Its address is right for what comes through it."""
    behind = {"transport": "shared", "tls": False, "address": "192.0.2.1", "port": 80, "proxies": ["10.0.0.0/8"]}
    (found,) = await found_by(dns, make, {(NAME, "A"): ["198.51.100.8"]}, listeners=[*LISTENERS, behind])
    assert found.grade is Severity.WARNING


async def test_ipv6_records_without_listeners(make: Make) -> None:
    """Kind: an AAAA record that a provider has made by itself. Clients try it first."""
    records = {(NAME, "A"): ["192.0.2.1"], (NAME, "AAAA"): ["2001:db8::1"]}
    found = await found_by(dns, make, records)
    assert [each.grade for each in found] == [Severity.WRONG, Severity.WRONG]
    assert "no listener is on IPv6" in found[1].what
    (fine,) = await found_by(dns, make, records, listeners=[*LISTENERS, IPV6])
    assert fine.grade is Severity.OK


async def test_silence(make: Make) -> None:
    """A resolver that does not answer says nothing about the names."""
    async with answering({}, silent=True) as port:
        host = make(OPTIONS, resolver=DnsResolver(0.2, ["127.0.0.1"], port))
        found = [*await dns(host), *await srv(host)]
    assert {each.grade for each in found} == {Severity.NOT_CHECKED}


@pytest.mark.parametrize("check", [dns, srv])
async def test_no_names(make: Make, check: Any) -> None:
    """Nothing is looked up that the configuration does not name; the default realm is no domain."""
    (found,) = await check(make({"listeners": LISTENERS}))
    assert found.grade is Severity.NOT_CHECKED


async def test_srv_records_without_dnspython(make: Make) -> None:
    """Said, and how to get it."""
    (found,) = await srv(make(OPTIONS, resolver=SystemResolver(30.0)))
    assert (found.grade, "pip install dnspython" in found.what) == (Severity.NOT_CHECKED, True)


async def test_no_srv_records(make: Make) -> None:
    """That is how most servers are."""
    (found,) = await found_by(srv, make, {})
    assert found.grade is Severity.OK


async def test_srv_records(make: Make) -> None:
    """Right, with a wrong port, of another server, and of a service that there is not; the realm is a domain."""
    records = {
        (f"_turn._udp.{NAME}", "SRV"): [f"0 0 3478 {NAME}."],
        (f"_turn._tcp.{NAME}", "SRV"): [f"0 0 3479 {NAME}."],
        ("_turns._tcp.example.org", "SRV"): ["0 0 5349 other.example.org."],
        ("_stun._tcp.example.org", "SRV"): ["0 0 0 ."],
    }
    found = {each.what.split()[0]: each for each in await found_by(srv, make, records, realm="example.org")}
    assert {name: each.grade for name, each in found.items()} == {
        f"_turn._udp.{NAME}": Severity.OK,
        f"_turn._tcp.{NAME}": Severity.WRONG,
        "_turns._tcp.example.org": Severity.WARNING,
        "_stun._tcp.example.org": Severity.OK,
    }
    assert found[f"_turn._tcp.{NAME}"].mend == (f"_turn._tcp.{NAME}. IN SRV 0 0 3478 {NAME}.",)


@pytest.mark.parametrize("realm", ["example", "a b.example.org", "10.0.0.1", "x.y;rm -rf", "-.-"])
async def test_realms_that_are_no_domains(make: Make, realm: str) -> None:
    """Kind: a realm is any text. It is not looked up then, nor put into a line to paste."""
    (found,) = await srv(make({"listeners": LISTENERS, "realm": realm}))
    assert (found.grade, found.mend) == (Severity.NOT_CHECKED, ())


def test_services() -> None:
    """RFC 8489 §8 and RFC 5928 §3."""
    assert len(SERVICES) == 7
    assert SERVICES["_turns._tcp"] == ("tls",)
