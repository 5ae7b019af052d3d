"""The core's configuration as values; the defaults are the RFC's numbers."""

import pytest

from turnserver.core.settings import CoreSettings, Limits, PortRange


def test_the_default_ports_are_the_dynamic_ones() -> None:
    """Rule 13, RFC 8656 §7.2: 49152–65535."""
    assert (PortRange().first, PortRange().last) == (49152, 65535)


@pytest.mark.parametrize(("port", "inside"), [(99, False), (100, True), (150, True), (200, True), (201, False)])
def test_a_range_includes_both_ends(port: int, inside: bool) -> None:
    """And nothing that is not a port."""
    assert (port in PortRange(100, 200)) is inside
    assert str(port) not in PortRange(100, 200)


def test_the_lifetimes_of_the_rfc() -> None:
    """Rules 10, 11, 13, 14 and 17, RFC 8656 §7.2, §9, §12: 600 and 3600, 300, 600, 30, 40 seconds."""
    limits = Limits()
    assert (limits.default_lifetime, limits.max_lifetime) == (600, 3600)
    assert (limits.permission_lifetime, limits.channel_lifetime) == (300, 600)
    assert limits.reservation_lifetime >= 30
    assert limits.retransmission_lifetime >= 40


def test_the_reflection_budget_is_on_by_default() -> None:
    """Rule 4: a server with no configuration has one, and it is finite."""
    limits = Limits()
    assert 0 < limits.reflection_burst <= 65_536
    assert 0 < limits.reflection_rate <= 4_096


def test_the_strict_switches_are_off_by_default() -> None:
    """Rules 14 and 24: aioice never refreshes permissions, browsers refresh with the credentials they began with."""
    settings = CoreSettings("example.org", ())
    assert (settings.strict_permissions, settings.strict_expiry) == (False, False)
    assert settings.alternate == ()
    assert settings.last_channel == 0x4FFF, "RFC 8656 §12, not RFC 5766"
