"""Live relays as peers of one another (rule 16), by both of their addresses."""

from stun.address import Address
from stun.constants import TransportProtocol
from turnserver.core.allocation import Relay
from turnserver.core.own_relays import OwnRelays, Ways
from turnserver.core.settings import MediaSocket
from turnserver.core.types import RelayId

BOUND, SHOWN = Address.parse("10.0.0.5", 50000), Address.parse("8.8.4.4", 50000)
UDP, TCP = TransportProtocol.UDP, TransportProtocol.TCP


def relay(protocol: TransportProtocol = UDP, number: int = 1) -> Relay:
    return Relay(RelayId(number), BOUND, SHOWN, protocol=protocol)


def test_a_relay_stands_on_its_port_for_its_protocol() -> None:
    """Rule 16: under its bound address and the advertised one, however they are written."""
    own, one = OwnRelays(), relay()
    own.add(one)
    for address in (BOUND, SHOWN, Address.parse("::ffff:8.8.4.4", 50000), Address.parse("64:ff9b::8.8.4.4", 50000)):
        assert own.stands(address, UDP)
        assert not own.stands(address, TCP)
        assert not own.stands(Address(address.ip, 50001), UDP)
    own.remove(one)
    own.remove(one)
    assert not own.stands(SHOWN, UDP)


def test_the_next_relay_on_a_port_is_another() -> None:
    """Rule 25: what ends late does not end what has come after it."""
    own, one, other = OwnRelays(), relay(), relay(number=2)
    own.add(one)
    own.add(other)
    own.remove(one)
    assert own.stands(BOUND, UDP)


def test_the_sfu_stands_on_its_socket_for_udp() -> None:
    """Rule 16: under both addresses, until it says otherwise; relays go on as they are."""
    own, one = OwnRelays(), relay()
    own.add(one)
    media = [MediaSocket(Address(each.ip, 7000), Address(SHOWN.ip, 7000)) for each in (BOUND, SHOWN)]
    own.use_media(media)
    for address in (Address(BOUND.ip, 7000), Address(SHOWN.ip, 7000), Address.parse("::ffff:8.8.4.4", 7000)):
        assert own.stands(address, UDP)
        assert not own.stands(address, TCP)
        assert not own.stands(Address(address.ip, 7001), UDP)
    own.use_media(())
    assert not own.stands(Address(BOUND.ip, 7000), UDP)
    assert own.stands(BOUND, UDP)


def test_ways_to_a_relay() -> None:
    """Rule 16: by either address; nothing is left of what has ended."""
    ways: Ways[str] = Ways(UDP)
    ways.add(BOUND, "a")
    ways.add(SHOWN, "b")
    ways.add(Address(SHOWN.ip, 50001), "c")
    assert sorted(ways.to(relay())) == ["a", "b"]
    assert ways.to(relay(TCP)) == []
    assert (ways.at(Address.parse("::ffff:8.8.4.4", 50000)), ways.at(Address(SHOWN.ip, 50002))) == (["b"], [])
    for address, way in ((BOUND, "a"), (SHOWN, "b"), (SHOWN, "b"), (Address(SHOWN.ip, 50001), "c")):
        ways.remove(address, way)
    assert (ways.to(relay()), ways._to) == ([], {})
