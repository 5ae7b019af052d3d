"""The client ACL."""

from ipaddress import ip_network

import pytest

from stun.address import Address
from turnserver.clients import EVERY_CLIENT, ClientPolicy
from turnserver.config import Config


def refused(policy: ClientPolicy, *hosts: str) -> list[bool]:
    return [policy.refuses(Address.parse(host, 0).ip) for host in hosts]


def test_nobody_is_refused_by_default() -> None:
    """An empty ACL is that of the default configuration."""
    assert ClientPolicy.of(Config().clients) == EVERY_CLIENT
    assert refused(EVERY_CLIENT, "9.9.9.9", "::1", "10.0.0.1") == [False] * 3


@pytest.mark.parametrize(
    ("allow", "deny", "expected"),
    [
        (["10.0.0.0/8"], [], [False, True, True]),
        ([], ["10.0.0.0/8"], [True, False, False]),
        (["10.0.0.0/8", "2001:db8::/32"], ["10.0.0.0/9"], [True, True, False]),
    ],
)
def test_both_lists(allow: list[str], deny: list[str], expected: list[bool]) -> None:
    """What is denied counts more, and what is allowed is all that there is."""
    clients = Config.model_validate({"clients": {"allow": allow, "deny": deny}}).clients
    assert refused(ClientPolicy.of(clients), "10.0.0.1", "9.9.9.9", "2001:db8::1") == expected


def test_an_address_has_one_family() -> None:
    """A dual-stack socket gives IPv4 clients another spelling, which is no way around."""
    policy = ClientPolicy(deny=(ip_network("10.0.0.0/8"),))
    assert policy.refuses(bytes(10) + b"\xff\xff" + bytes((10, 0, 0, 1)))
