"""Whole discoveries over real sockets of loopback; what NATs do to them is in tests/net."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from cli.nat.report import NatReport
from cli.nat.runner import Wishes, run_nat
from stun.address import Address
from stun.client.nat.findings import Dependence
from stun.constants import AddressFamily
from stun.uri import StunUri
from tests.support.nat_server import serving
from tests.support.nat_world import SimServer
from turnserver.errors import StartupError


def discover(server: SimServer, *uris: str, said: list[str] | None = None, **wishes: Any) -> NatReport:
    async def run() -> NatReport:
        targets = [StunUri.parse(uri) for uri in uris or (f"stun:{server.primary}",)]
        async with serving(server):
            return await run_nat(Wishes(targets, **wishes), (said if said is not None else []).append)

    return asyncio.run(run())


def test_over_udp(server: SimServer) -> None:
    """RFC 5780 §4.3, §4.4: there is no NAT on loopback, and nothing is filtered."""
    (way,) = discover(server).ways
    assert (way.transport, way.family, way.ok) == ("udp", AddressFamily.IPV4, True)
    assert way.found is not None
    assert (way.found.translated, way.found.local, way.found.mapped) == (False, way.found.mapped, way.found.local)
    assert way.found.filtering.decided is Dependence.ENDPOINT_INDEPENDENT
    assert way.found.fragments.why.startswith("the interface takes 6553")


def test_over_tcp(server: SimServer) -> None:
    """RFC 5780 §3.1, with several connections of one local port."""
    (way,) = discover(server, transports=("tcp",)).ways
    assert way.found is not None
    assert (way.found.translated, way.found.mapping.decided) == (False, Dependence.ENDPOINT_INDEPENDENT)
    assert "over TCP" in way.found.filtering.why


def test_the_search_for_lifetimes(server: SimServer) -> None:
    """RFC 5780 §4.6: RESPONSE-PORT arrives at another socket; the progress is told."""
    said: list[str] = []
    (way,) = discover(server, said=said, lifetime=1.0).ways
    assert way.found is not None
    assert way.found.lifetime.upper is None
    assert way.found.lifetime.lower is not None
    assert way.found.lifetime.lower >= 1.0
    assert said == ["Round 1: bindings are idle for 1 s."]


@pytest.mark.parametrize(
    ("families", "trouble"), [([AddressFamily.IPV6], "no address of this family"), ([AddressFamily.IPV4], "")]
)
def test_families(server: SimServer, families: Sequence[AddressFamily], trouble: str) -> None:
    """A family that the servers do not have is a sentence."""
    (way,) = discover(server, families=families).ways
    assert way.ok is not bool(trouble)
    assert trouble in way.trouble


def test_names_that_have_no_address(server: SimServer) -> None:
    """They are told, and the other servers are asked."""
    report = discover(server, "stun:nowhere.invalid", f"stun:{server.primary}", patience=2.0)
    assert report.answered
    assert report.unresolved[0].startswith("The name 'nowhere.invalid' cannot be resolved")
    assert report.uris == ["stun:nowhere.invalid:3478", f"stun:{server.primary}"]


@pytest.mark.parametrize("transports", [("udp",), ("tcp",)])
def test_a_local_address(server: SimServer, transports: tuple[str, ...]) -> None:
    """Everything is sent from there; one that this machine does not have is an error of the machine's."""
    (way,) = discover(server, transports=transports, local=Address.parse("127.0.0.3", 0)).ways
    assert way.found is not None
    assert way.found.mapped is not None
    assert way.found.mapped.host == "127.0.0.3"
    with pytest.raises(StartupError, match="cannot be opened"):
        discover(server, transports=transports, local=Address.parse("192.0.2.77", 0))


def test_nothing_listens_over_tcp(server: SimServer) -> None:
    """The system says so at once."""
    closed = StunUri.parse(f"stun:127.0.0.3:{server.primary.port}")
    report = asyncio.run(run_nat(Wishes([closed], ("tcp",)), print))
    (way,) = report.ways
    assert way.found is not None
    assert (report.answered, way.found.servers[0].why) == (False, "nothing listens there over TCP")
