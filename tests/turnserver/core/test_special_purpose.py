"""The table of special-purpose networks (rule 16), against the copy of the same registries in the standard library."""

from ipaddress import ip_address, ip_network

import pytest

from turnserver.core.special_purpose import DEFAULT_DENY, SPECIAL_PURPOSE, special_purpose


def test_every_row_says_what_it_is_and_which_rfc_says_so() -> None:
    """Rule 16: for the person who compares the table with the registries."""
    assert all(row.name for row in SPECIAL_PURPOSE)
    assert [row.name for row in SPECIAL_PURPOSE if not row.rfc.startswith("RFC ")] == ["Azure's platform services"]
    assert len({row.network for row in SPECIAL_PURPOSE}) == len(SPECIAL_PURPOSE)
    assert [row.network for row in SPECIAL_PURPOSE if not row.reachable] == list(DEFAULT_DENY)


@pytest.mark.parametrize(
    "text",
    [
        "168.63.129.16",
        "192.88.99.1",
        "192.0.0.8",
        "192.0.0.170",
        "255.255.255.255",
        "::ffff:0:808:808",
        "100::1",
        "100:0:0:1::1",
        "2001:1ff:ffff:ffff:ffff:ffff:ffff:ffff",
        "2001:2::1",
        "2001:10::1",
        "2001:db8::1",
        "3fff:fff:ffff::1",
        "5f00::1",
        "fec0::1",
        "ff0e::1",
    ],
)
def test_addresses_that_are_not_public(text: str) -> None:
    """Rule 16: no peers there."""
    found = special_purpose(ip_address(text))
    assert found is not None
    assert not found.reachable


@pytest.mark.parametrize(
    "text",
    ["8.8.8.8", "192.88.98.1", "2001:200::1", "2a00::8", "4000::1", "101::1", "3ffe::1", "5eff::1", "::fffe:0:1"],
)
def test_addresses_that_are_public_have_no_row(text: str) -> None:
    """Rule 16: not one address more."""
    assert special_purpose(ip_address(text)) is None


@pytest.mark.parametrize("row", [row for row in SPECIAL_PURPOSE if row.reachable], ids=lambda row: str(row.network))
def test_what_the_registry_calls_reachable_is_allowed(row: object) -> None:
    """Rule 16: for example AS112, although 2001::/23 around it is not."""
    assert row in SPECIAL_PURPOSE
    for address in (row.network[0], row.network[-1]):  # type: ignore[attr-defined]
        found = special_purpose(address)
        assert found is not None
        assert found.reachable


@pytest.mark.parametrize("text", ["::/3", "2000::/4", "3000::/4", "0.0.0.0/1", "128.0.0.0/1", "2001::/16", "fc00::/6"])
def test_what_the_standard_library_calls_private_is_denied(text: str) -> None:
    """Rule 16: a sample of each part of the address space; the library has a copy of the registries, of its own age."""
    network = ip_network(text)
    step = network.num_addresses // 4096
    for number in range(4096):
        address = network[number * step + number]
        found = special_purpose(address)
        if address.is_private and not (address.version == 6 and int(address) >> 32 in (0, 0xFFFF)):
            assert found is not None, address
