"""Whose a datagram is, and that an address is not taken away from somebody."""

import pytest

from stun.address import Address
from tests.support.media_peer import MediaClient, connection, rtp_packet
from turnserver.media import demux as module
from turnserver.media.connection import PeerConnection, Wire
from turnserver.media.demux import Demux
from turnserver.media.ice import MOST_PATHS, IceCredentials

HOME = Address.parse("192.0.2.1", 1111)
MOBILE = Address.parse("198.51.100.2", 2222)


def deliver(demux: Demux, data: bytes, source: Address) -> PeerConnection | None:
    found = demux.find(bytearray(data), len(data), source)
    if found is not None:
        found.receive(bytearray(data), len(data), source, 0.0)
    return found


def joined(demux: Demux, ufrag: str, source: Address, wire: Wire) -> MediaClient:
    server = connection(ufrag, wire)
    assert demux.add(server)
    client = MediaClient(server, source)
    client.meet()
    return client


def test_by_ufrag_and_then_by_source() -> None:
    demux, wire = Demux(), Wire()
    one, two = joined(demux, "one1", HOME, wire), joined(demux, "two2", MOBILE, wire)
    assert deliver(demux, bytes(rtp_packet(1)), HOME) is None
    assert deliver(demux, one.check(nominate=True), HOME) is one.server
    assert deliver(demux, two.check(), MOBILE) is two.server
    assert deliver(demux, bytes(rtp_packet(1)), HOME) is one.server
    assert deliver(demux, bytes(rtp_packet(1)), MOBILE) is two.server
    assert (len(demux), demux.addresses) == (2, 2)
    demux.remove(one.server)
    assert deliver(demux, one.check(), HOME) is None
    assert deliver(demux, bytes(rtp_packet(1)), HOME) is None
    demux.remove(one.server)
    demux.remove(two.server)
    assert (len(demux), demux.addresses) == (0, 0)


def test_strangers_leave_nothing_behind() -> None:
    """Neither an unknown ufrag, nor a known one with a wrong password."""
    demux, wire = Demux(), Wire()
    one = joined(demux, "one1", HOME, wire)
    other = MediaClient(connection("none"), MOBILE)
    for _ in range(50):
        assert deliver(demux, other.check(), MOBILE) is None
        assert deliver(demux, one.check(pwd="w" * 24), MOBILE) is one.server
        assert deliver(demux, b"", MOBILE) is None
        assert deliver(demux, b"\x16\xfe\xfd" + bytes(60), MOBILE) is None
    assert demux.addresses == 0


def test_nobody_takes_a_proven_address_away() -> None:
    """By a check with a forged source; one that has not been proven may be taken."""
    demux, wire = Demux(), Wire()
    victim, thief = joined(demux, "one1", HOME, wire), joined(demux, "two2", MOBILE, wire)
    deliver(demux, thief.check(), HOME)
    assert deliver(demux, bytes(rtp_packet(1)), HOME) is thief.server
    deliver(demux, victim.check(nominate=True), HOME)
    assert deliver(demux, bytes(rtp_packet(1)), HOME) is victim.server
    victim.exchange(0.0)
    assert victim.server.paths[HOME].proven
    deliver(demux, thief.check(nominate=True), HOME)
    assert deliver(demux, bytes(rtp_packet(1)), HOME) is victim.server
    victim.server.close()
    deliver(demux, thief.check(), HOME)
    assert deliver(demux, bytes(rtp_packet(1)), HOME) is thief.server


def test_a_restart_adds_a_name() -> None:
    demux, wire = Demux(), Wire()
    one = joined(demux, "one1", HOME, wire)
    old = one.check()
    one.server.restart(IceCredentials("next", "n" * 24), one.credentials)
    assert demux.add(one.server)
    assert deliver(demux, old, HOME) is one.server
    assert deliver(demux, one.check(nominate=True), MOBILE) is one.server
    assert demux.add(one.server)
    assert deliver(demux, old, HOME) is None
    assert deliver(demux, bytes(rtp_packet(1)), HOME) is one.server


def test_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    demux, wire = Demux(), Wire()
    one = joined(demux, "one1", HOME, wire)
    for port in range(1, 100):
        deliver(demux, one.check(), Address(MOBILE.ip, port))
    assert demux.addresses == MOST_PATHS
    with pytest.raises(ValueError, match="ufrag"):
        demux.add(connection("one1"))
    monkeypatch.setattr(module, "MOST_CONNECTIONS", 1)
    assert not demux.add(connection("two2"))
    assert demux.add(one.server)
