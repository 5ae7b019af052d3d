"""What the operator is told about relay addresses that are of no use to clients."""

import pytest

from stun.address import Address
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
