"""What is this host's own or in a private network."""

from ipaddress import ip_address

import pytest

from turnserver.credentials.private import is_private


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "127.8.8.8",
        "10.1.2.3",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.0.1",
        "100.64.0.1",
        "::1",
        "fe80::1",
        "fd00::1",
        "::ffff:10.0.0.1",
    ],
)
def test_private(address: str) -> None:
    assert is_private(ip_address(address))


@pytest.mark.parametrize(
    "address", ["8.8.8.8", "172.32.0.1", "2a00::1", "::ffff:8.8.8.8", "0.0.0.0", "::", "224.0.0.1", "ff02::1"]
)
def test_public_or_no_host(address: str) -> None:
    assert not is_private(ip_address(address))
