"""The datapath that only remembers."""

import pytest

from stun.address import Address
from tests.support.datapath_world import MemoryClients, RecordingSink, client
from turnserver.core.types import Counters, RelayId, Route
from turnserver.errors import DatapathError
from turnserver.relay.base import Datapath
from turnserver.relay.null import Call, NullDatapath

RELAY = RelayId(7)
BIND = Address.parse("192.0.2.1", 50000)
PEER = Address.parse("192.0.2.9", 9)


def test_every_call_is_remembered_in_order() -> None:
    """It stands behind the same names as the datapaths that move packets."""
    null = NullDatapath()
    datapath: Datapath = null
    sink, clients = RecordingSink(), MemoryClients()
    route = Route(client(), 0x4000, RELAY, PEER, 5.0)
    datapath.attach(sink, clients)
    datapath.open_relay(RELAY, BIND)
    datapath.add_route(route)
    datapath.allow_peer(RELAY, PEER.ip, 5.0)
    datapath.send_to_peer(RELAY, PEER, b"x", True)
    datapath.forbid_peer(RELAY, PEER.ip)
    datapath.remove_route(client(), 0x4000)
    datapath.close_relay(RELAY)
    datapath.close()
    assert null.calls == [
        Call("attach", (sink, clients)),
        Call("open_relay", (RELAY, BIND)),
        Call("add_route", (route,)),
        Call("allow_peer", (RELAY, PEER.ip, 5.0)),
        Call("send_to_peer", (RELAY, PEER, b"x", True)),
        Call("forbid_peer", (RELAY, PEER.ip)),
        Call("remove_route", (client(), 0x4000)),
        Call("close_relay", (RELAY,)),
        Call("close", ()),
    ]
    assert datapath.counters(RELAY) == Counters()
    assert (null.sink, null.clients) == (sink, clients)


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
