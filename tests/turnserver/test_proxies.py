"""Who is a trusted proxy."""

from ipaddress import ip_address, ip_network
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stun.address import Address
from turnserver.config import load_mapping
from turnserver.proxies import NO_PROXIES, NOBODY, Networks, is_behind, requires_header, trusted_by


def at(host: str) -> Address:
    return Address(ip_address(host).packed, 0)


@pytest.mark.parametrize(
    ("host", "inside"),
    [
        ("10.0.0.0", True),
        ("10.255.255.255", True),
        ("11.0.0.0", False),
        ("192.0.2.7", True),
        ("192.0.2.8", False),
        ("::ffff:10.1.2.3", True),
        ("::10.1.2.3", False),
        ("2001:db8:1::7", True),
        ("2001:db8:2::7", False),
        ("a00::", False),
    ],
)
def test_addresses_in_networks(host: str, inside: bool) -> None:
    """Of either family, which are never mixed up; mapped addresses are those that they stand for."""
    networks = Networks(ip_network(each) for each in ("10.0.0.0/8", "192.0.2.7", "2001:db8:1::/48"))
    assert (at(host) in networks) is inside
    assert at(host) not in NOBODY


@given(st.lists(st.ip_addresses(v=4), max_size=20), st.integers(0, 32), st.ip_addresses(v=4))
def test_as_the_standard_library_has_it(hosts: list[Any], length: int, asked: Any) -> None:
    networks = [ip_network((host, length), strict=False) for host in hosts]
    assert (at(str(asked)) in Networks(networks)) is any(asked in network for network in networks)
    assert bool(Networks(networks)) is bool(networks)


def listener(**more: Any) -> Any:
    common = {key: more.pop(key) for key in ("proxies", "proxy_protocol") if key in more}
    section = {"transport": "tcp", "address": "127.0.0.1", **more.pop("own", {})}
    config = load_mapping({"listeners": [section], **common}).config
    return config.listeners[0], config


def test_a_listener_has_the_proxies_of_all_or_its_own() -> None:
    """An empty list of its own is nobody."""
    for options, networks, required, behind in (
        ({}, [], False, False),
        ({"proxies": ["10.0.0.1"]}, ["10.0.0.1/32"], False, False),
        ({"proxies": ["10.0.0.1"], "proxy_protocol": "required"}, ["10.0.0.1/32"], True, True),
        ({"proxies": ["10.0.0.1"], "own": {"proxies": []}}, [], False, False),
        ({"proxies": ["10.0.0.1"], "own": {"proxies": ["10.0.0.2"]}}, ["10.0.0.2/32"], False, True),
        ({"proxy_protocol": "required", "own": {"proxy_protocol": "optional"}}, [], False, False),
        ({"proxy_protocol": "required"}, [], True, False),
    ):
        found = listener(**options)
        assert [str(network) for network in trusted_by(*found)] == networks, options
        assert (requires_header(*found), is_behind(*found)) == (required, behind), options
    alone, _ = listener()
    assert list(trusted_by(alone, NO_PROXIES)) == []
