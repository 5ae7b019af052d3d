"""What the core reads of the configuration; what no configuration says; and the server's own addresses."""

import pytest

from stun.address import Address
from tests.support.core_settings import core_settings
from turnserver.config import Config
from turnserver.core.settings import CoreBounds, CoreSettings, OwnAddresses, RelayAddress, last_channel
from turnserver.core.types import PortRange

LOOPBACK = Address.parse("127.0.0.1", 3478)
PUBLIC = Address.parse("203.0.113.9", 0)
OUTSIDE = Address.parse("198.51.100.7", 3478)


def test_the_lifetimes_of_the_rfc() -> None:
    """Rules 13, 14 and 17, RFC 8656 §7.2, §9, §12: 300, 600, 30, 40 seconds."""
    bounds = CoreBounds()
    assert (bounds.permission_lifetime, bounds.channel_lifetime) == (300, 600)
    assert bounds.reservation_lifetime >= 30
    assert bounds.retransmission_lifetime >= 40


def test_the_default_ports_are_the_dynamic_ones() -> None:
    """Rule 13, RFC 8656 §7.2: 49152–65535."""
    settings: CoreSettings = Config()
    assert (settings.relay.ports.first, settings.relay.ports.last) == (49152, 65535)


def test_the_default_lifetimes_are_those_of_the_rfc() -> None:
    """Rules 10 and 11, RFC 8656 §7.2: 600 seconds, 3600 at most."""
    settings: CoreSettings = Config()
    assert (settings.limits.default_lifetime, settings.limits.max_lifetime) == (600, 3600)


def test_the_reflection_budget_is_on_by_default() -> None:
    """Rule 4: a server with no configuration has one, and it is finite."""
    settings: CoreSettings = Config()
    assert 0 < settings.limits.reflection_burst <= 65_536
    assert 0 < settings.limits.reflection_rate <= 4_096


def test_the_strict_switches_are_off_by_default() -> None:
    """Rules 14 and 24: aioice never refreshes permissions, browsers refresh with the credentials they began with."""
    settings: CoreSettings = Config()
    assert (settings.peers.strict_permissions, settings.auth.strict_expiry) == (False, False)
    assert settings.alternate_servers == ()


@pytest.mark.parametrize(("port", "inside"), [(99, False), (100, True), (150, True), (200, True), (201, False)])
def test_a_range_includes_both_ends(port: int, inside: bool) -> None:
    """And nothing that is not a port."""
    assert (port in PortRange(100, 200)) is inside
    assert str(port) not in PortRange(100, 200)


@pytest.mark.parametrize(("legacy", "last"), [(False, 0x4FFF), (True, 0x7FFF)])
def test_the_last_channel(legacy: bool, last: int) -> None:
    """RFC 8656 §12, or RFC 5766 on request."""
    assert last_channel(core_settings(legacy_channels=legacy)) == last


def test_relay_addresses_are_the_configured_ones() -> None:
    """Rule 23: bound to the private address, advertised under the public one."""
    relay = Config.model_validate(
        {"relay": {"addresses": ["127.0.0.1"], "external": {"127.0.0.1": "203.0.113.9"}}}
    ).relay
    own = OwnAddresses.of(relay, [OUTSIDE])
    assert own == OwnAddresses((RelayAddress(LOOPBACK.ip, PUBLIC.ip),), (OUTSIDE,))


def test_relay_addresses_are_else_the_listeners_without_loopback() -> None:
    """Each once, and only those that can be reached, if it is known which can."""
    relay = Config().relay
    listeners = [LOOPBACK, OUTSIDE, OUTSIDE._replace(port=443)]
    assert OwnAddresses.of(relay, listeners).relays == (RelayAddress(OUTSIDE.ip, OUTSIDE.ip),)
    assert OwnAddresses.of(relay, listeners, [LOOPBACK]).relays == (RelayAddress(LOOPBACK.ip, LOOPBACK.ip),)
    assert OwnAddresses.of(relay, listeners, []).relays == (RelayAddress(OUTSIDE.ip, OUTSIDE.ip),)


def test_loopback_is_better_than_nothing() -> None:
    """A server on one machine relays on it."""
    assert OwnAddresses.of(Config().relay, [LOOPBACK]).relays == (RelayAddress(LOOPBACK.ip, LOOPBACK.ip),)
