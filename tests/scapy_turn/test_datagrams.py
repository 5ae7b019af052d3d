"""Packets for what came without headers."""

import pytest
from scapy.layers.dns import DNS
from scapy.layers.inet import ICMP, IP, UDP, UDPerror
from scapy.layers.inet6 import ICMPv6PacketTooBig, IPv6
from scapy.packet import Raw

from scapy_turn import StunIcmp, StunMessage, Turn
from scapy_turn.datagrams import Inbox, datagram, ends, reported


@pytest.mark.parametrize(("network", "host", "family"), [(IP, "192.0.2.", 4), (IPv6, "2001:db8::", 6)])
def test_datagrams(network: type, host: str, family: int) -> None:
    """They are dissected by their ports, or as they are told to; and taken apart they are what they were."""
    source, to = (f"{host}1", 5000), (f"{host}2", 53)
    packet = datagram(source, to, bytes(DNS(id=7)))
    assert (type(packet), packet[DNS].id) == (network, 7)
    assert ends(packet, family) == (source, to, bytes(DNS(id=7)))
    assert StunMessage in datagram(source, to, bytes(StunMessage()), Turn)
    assert bytes(datagram(source, to, b"", Turn)[UDP].payload) == b""
    with pytest.raises(ValueError, match="UDP over IPv"):
        ends(packet, 10 - family)
    with pytest.raises(ValueError, match="UDP over IPv"):
        ends(network() / Raw(b"x"), family)


def test_errors_that_are_reported() -> None:
    """They are about the packet that was sent, which came from the port that the user has said."""
    packet = reported(("192.0.2.1", 9), ("192.0.2.2", 5000), StunIcmp(icmp_type=3, icmp_code=4, icmp_data=1280))
    assert (packet[ICMP].nexthopmtu, packet[UDPerror].sport, packet[UDPerror].dport) == (1280, 5000, 9)
    assert packet.answers(IP(src="192.0.2.2", dst="192.0.2.1") / UDP(sport=5000, dport=9))
    packet = reported(("2001:db8::1", 9), ("2001:db8::2", 5000), StunIcmp(icmp_type=2, icmp_data=1300))
    assert packet[ICMPv6PacketTooBig].mtu == 1300


def test_an_inbox_has_a_bound() -> None:
    inbox = Inbox("test")
    assert [inbox.send(Raw(b"x")) for _ in range(1002)] == [1] * 1000 + [0, 0]
    assert inbox.dropped == 2
    assert inbox.recv() is not None
    assert inbox.send(Raw(b"y")) == 1
    inbox.close()
