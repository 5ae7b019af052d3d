"""What a snapshot is: plain values that stay as they are; `tests.turnserver.test_server` takes real ones."""

from dataclasses import FrozenInstanceError

import pytest

from stun.address import Address
from turnserver.core.types import ClientTransport
from turnserver.snapshot import LimitsView, ListenerView, Snapshot, Usage

NONE = Usage(0, 1)
LIMITS = LimitsView(NONE, NONE, NONE, NONE)
HERE = Address.parse("192.0.2.1", 3478)


def test_what_is_listened_on() -> None:
    listeners = (ListenerView("udp", ClientTransport.UDP, HERE), ListenerView("shared", ClientTransport.TLS, HERE))
    found = Snapshot(True, 1_700_000_000.0, 1.5, LIMITS, listeners)
    assert found.listening == ((ClientTransport.UDP, HERE), (ClientTransport.TLS, HERE))


def test_nothing_in_it_can_be_changed() -> None:
    found = Snapshot(False, None, 0.0, LIMITS)
    with pytest.raises(FrozenInstanceError):
        found.running = True  # type: ignore[misc]
    with pytest.raises(FrozenInstanceError):
        found.limits.rooms.used = 2  # type: ignore[misc]
