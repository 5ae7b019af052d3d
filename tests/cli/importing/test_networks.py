"""Addresses and networks of other servers' files."""

from ipaddress import ip_address, ip_network

import pytest

from cli.importing.networks import address, closed_by_default, endpoint, networks, without


def test_addresses_and_names() -> None:
    """A name is none, and is not looked up."""
    assert address("192.0.2.1") == ip_address("192.0.2.1")
    assert [address(text) for text in ("turn.example.org", "", "192.0.2.1:1", "[::1]")] == [None] * 4


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("192.0.2.1", "192.0.2.1", 7),
        ("192.0.2.1:5", "192.0.2.1", 5),
        ("[2001:db8::1]:5", "2001:db8::1", 5),
        ("[2001:db8::1]", "2001:db8::1", 7),
        ("2001:db8::1", "2001:db8::1", 7),
    ],
)
def test_endpoints(text: str, host: str, port: int) -> None:
    """With a port or without."""
    assert endpoint(text, 7) == (ip_address(host), port)


@pytest.mark.parametrize("text", ["", "a:1", "9.9.9.9:0", "9.9.9.9:65536", "9.9.9.9:x", "[::1]:", "9.9.9.9:\u0661"])
def test_what_is_no_endpoint(text: str) -> None:
    """Names, and ports that are none."""
    assert endpoint(text, 7) is None


def test_ranges() -> None:
    """FIRST-LAST becomes as few networks as possible."""
    assert networks("10.0.0.0-10.255.255.255") == [ip_network("10.0.0.0/8")]
    assert networks("10.0.0.1 - 10.0.0.2") == [ip_network("10.0.0.1/32"), ip_network("10.0.0.2/32")]
    assert networks("fe80::-febf:ffff:ffff:ffff:ffff:ffff:ffff:ffff") == [ip_network("fe80::/10")]
    assert networks("10.1.2.3/8") == [ip_network("10.0.0.0/8")]
    assert [networks(text) for text in ("a", "10.0.0.2-10.0.0.1", "10.0.0.1-::1", "", "1-2-3")] == [None] * 5


def test_what_is_closed() -> None:
    """A network counts only if all of it is closed."""
    assert closed_by_default(ip_network("10.1.0.0/16"))
    assert not closed_by_default(ip_network("8.0.0.0/6"))
    assert not closed_by_default(ip_network("8.8.8.8/32"))


def test_without() -> None:
    """Holes are cut, those that are larger or of the other family as well."""
    outer = [ip_network("9.0.0.0/30"), ip_network("2001::/16")]
    assert without(outer, [ip_network("9.0.0.1/32")]) == [
        ip_network("9.0.0.2/31"),
        ip_network("9.0.0.0/32"),
        ip_network("2001::/16"),
    ]
    assert without(outer, [ip_network("9.0.0.0/8"), ip_network("::/0")]) == []
    assert without(outer, []) == outer
