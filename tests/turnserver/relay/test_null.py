"""The datapath that only remembers."""

import pytest

from stun.address import Address
from tests.support.datapath_world import make_every_call
from turnserver.core.types import Counters, RelayId
from turnserver.errors import DatapathError
from turnserver.relay.base import Datapath
from turnserver.relay.null import NullDatapath

RELAY = RelayId(7)
BIND = Address.parse("192.0.2.1", 50000)
PEER = Address.parse("192.0.2.9", 9)


def test_every_call_is_remembered_in_order() -> None:
    """It stands behind the same names as the datapaths that move packets."""
    null = NullDatapath()
    datapath: Datapath = null
    calls = make_every_call(datapath)
    assert null.calls == calls
    assert datapath.counters(RELAY) == Counters()
    assert (null.sink, null.clients) == calls[0].arguments


def test_open_relays_are_known_until_they_are_closed() -> None:
    """So that a test can ask what would be bound."""
    null = NullDatapath()
    null.open_relay(RELAY, BIND)
    assert null.relays == {RELAY: BIND}
    null.close_relay(RELAY)
    null.close_relay(RELAY)
    assert null.relays == {}


def test_an_address_can_be_refused_or_taken() -> None:
    """RFC 8656 §7.2: what follows when no port can be had is tested without one."""
    null = NullDatapath()
    null.open_relay(RELAY, BIND)
    with pytest.raises(DatapathError):
        null.open_relay(RelayId(8), BIND)
    null.refused.add(PEER)
    with pytest.raises(DatapathError):
        null.open_relay(RelayId(8), PEER)
    assert null.relays == {RELAY: BIND}
    null.close()
    assert null.relays == {}
