"""The resolvers: against a DNS server on loopback, and as the system resolves."""

from ipaddress import ip_address

import pytest

from cli.doctor import names
from cli.doctor.names import DnsResolver, NoResolver, SrvRecord, SystemResolver, resolver
from tests.support.dns_server import answering

ZONE = {
    ("turn.example.org", "A"): ["192.0.2.1"],
    ("turn.example.org", "AAAA"): ["2001:db8::1"],
    ("_turn._udp.example.org", "SRV"): ["0 0 3478 turn.example.org.", "5 0 3479 other.example.org."],
    ("_turns._tcp.example.org", "SRV"): ["0 0 0 ."],
}


async def test_records() -> None:
    """A and AAAA together; SRV records with port and target, and "." where there is no service."""
    async with answering(ZONE) as port:
        asking = DnsResolver(20.0, ["127.0.0.1"], port)
        assert await asking.addresses("turn.example.org") == [ip_address("192.0.2.1"), ip_address("2001:db8::1")]
        found = await asking.services("_turn._udp.example.org")
        assert sorted(found) == [SrvRecord("other.example.org", 3479), SrvRecord("turn.example.org", 3478)]
        assert await asking.services("_turns._tcp.example.org") == [SrvRecord(".", 0)]


async def test_a_name_that_does_not_exist() -> None:
    """An empty answer, and not an error: neither NXDOMAIN nor a name without records of the type."""
    async with answering(ZONE) as port:
        asking = DnsResolver(20.0, ["127.0.0.1"], port)
        assert await asking.addresses("nobody.example.org") == []
        assert await asking.services("turn.example.org") == []


async def test_no_answer() -> None:
    """A server that is silent is not the same as a name without records."""
    async with answering(ZONE, silent=True) as port:
        with pytest.raises(NoResolver):
            await DnsResolver(0.2, ["127.0.0.1"], port).addresses("turn.example.org")


@pytest.mark.parametrize("name", ["a" * 64 + ".example.org", "x..y", "\N{SNOWMAN}" * 300])
async def test_what_is_no_name(name: str) -> None:
    """Kind: a name of the configuration that no resolver takes."""
    for asking in (DnsResolver(0.2, ["127.0.0.1"], 9), SystemResolver(20.0)):
        with pytest.raises(NoResolver):
            await asking.addresses(name)


async def test_as_the_system_resolves() -> None:
    """Without dnspython addresses are still looked up, and SRV records are not."""
    asking = SystemResolver(20.0)
    assert ip_address("127.0.0.1") in await asking.addresses("127.0.0.1")
    with pytest.raises(NoResolver, match="dnspython"):
        await asking.services("_turn._udp.example.org")


def test_which_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """dnspython if it is installed."""
    assert isinstance(resolver(1.0), DnsResolver)
    monkeypatch.setattr(names.importlib.util, "find_spec", lambda name: None)
    assert isinstance(resolver(1.0), SystemResolver)
