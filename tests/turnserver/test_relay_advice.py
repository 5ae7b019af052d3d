"""What the operator is told about relay addresses that are of no use to clients."""

from ipaddress import ip_address

import pytest

from stun.address import Address
from turnserver.config import External
from turnserver.core.settings import RelayAddress
from turnserver.core.types import DefaultFamily
from turnserver.relay_advice import relay_advice

FOUR, SIX = (RelayAddress(ip, ip) for ip in (Address.parse("8.8.4.4", 0).ip, Address.parse("2a00::5", 0).ip))


@pytest.mark.parametrize(
    ("setting", "relays", "warned"),
    [
        ("auto", [SIX], False),
        ("auto", [], False),
        ("ipv4", [FOUR], False),
        ("ipv4", [SIX], True),
        ("ipv6", [FOUR], True),
        ("ipv6", [FOUR, SIX], False),
        ("ipv6", [], False),
    ],
)
def test_a_default_family_without_an_address(setting: DefaultFamily, relays: list[RelayAddress], warned: bool) -> None:
    """Browsers would get no relay at all, and nothing else would say so."""
    advice = relay_advice(relays, setting)
    assert len(advice) == warned
    assert all("browsers" in sentence and "relay.default_family" in sentence for sentence in advice)


def relay(bound: str, external: str = "") -> RelayAddress:
    return RelayAddress(Address.parse(bound, 0).ip, Address.parse(external or bound, 0).ip)


@pytest.mark.parametrize(
    ("relays", "named"),
    [
        ([relay("10.0.0.5")], ["10.0.0.5"]),
        ([relay("172.31.0.5"), relay("192.168.1.5")], ["172.31.0.5", "192.168.1.5"]),
        ([relay("100.64.0.5"), relay("127.0.0.1")], ["100.64.0.5"]),
        ([relay("169.254.1.1")], ["169.254.1.1"]),
        ([relay("fd00::5"), relay("8.8.4.4")], ["fd00::5"]),
        ([relay("10.0.0.5", "10.1.0.5")], ["10.1.0.5"]),
        ([relay("10.0.0.5", "203.0.113.5")], []),
        ([relay("10.0.0.5"), relay("8.8.4.4")], []),  # who comes by the public one gets it
        ([relay("127.0.0.1"), relay("::1")], []),
        ([relay("8.8.4.4"), relay("2a00::5")], []),
        ([], []),
    ],
)
def test_a_private_address_without_a_public_one(relays: list[RelayAddress], named: list[str]) -> None:
    """Rule 23: behind NAT it looks well in the log, and no peer outside can send to it."""
    advice = relay_advice(relays, "auto")
    assert len(advice) == bool(named)
    assert all(host in advice[0] for host in named)
    assert relay_advice(relays, "auto", asked=True) == []


def test_each_family_is_advised_of() -> None:
    advice = relay_advice([relay("10.0.0.5"), relay("fd00::5")], "auto")
    assert ["IPv4" in advice[0], "IPv6" in advice[1]] == [True, True]
    assert all("relay.external" in sentence for sentence in advice)


@pytest.mark.parametrize(
    ("external", "relays", "named"),
    [
        (External(public=ip_address("2001:db8::5")), [FOUR], "2001:db8::5"),
        (External(public=ip_address("203.0.113.5")), [SIX], "203.0.113.5"),
        (External(public=ip_address("203.0.113.5")), [FOUR, SIX], ""),
        (External(public=ip_address("203.0.113.5")), [], ""),
        (External({ip_address("192.0.2.5"): ip_address("203.0.113.5")}), [FOUR], "192.0.2.5"),
        (External({ip_address("8.8.4.4"): ip_address("203.0.113.5")}), [FOUR, SIX], ""),
        (External(asked=True), [FOUR], ""),
        (External(), [FOUR], ""),
    ],
)
def test_a_public_address_that_no_client_is_told(external: External, relays: list[RelayAddress], named: str) -> None:
    """Kind: an option without effect, which looks as if it had one."""
    advice = relay_advice(relays, "auto", external)
    assert len(advice) == bool(named)
    assert all(named in sentence and "relay.external" in sentence for sentence in advice)
