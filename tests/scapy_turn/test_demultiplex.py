"""Which layer the first byte says, on which ports, and beside scapy's own STUN."""

from collections.abc import Iterator

import pytest
from scapy.contrib import stun as contrib
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.rtp import RTP
from scapy.packet import Packet, Raw

from scapy_turn import ChannelData, StunMessage, Turn, bind, unbind
from scapy_turn.demultiplex import PORTS

# Drawn once: xdist wants the same names of tests in all of its processes.
MESSAGE = bytes(StunMessage(transaction_id=bytes(12)))


@pytest.fixture
def other_port() -> Iterator[int]:
    bind(443)
    yield 443
    unbind(443)


@pytest.mark.parametrize(
    ("data", "layer"),
    [
        (MESSAGE, StunMessage),
        (b"\3" + MESSAGE[1:], StunMessage),
        (b"\4" + MESSAGE[1:], Raw),
        (b"\x16\xfe\xff", Raw),
        (b"\x40\0\0\0", ChannelData),
        (b"\x4f\xff\0\0", ChannelData),
        (b"\x50\0\0\0", Raw),
        (b"\x80\x60" + bytes(10), RTP),
        (b"\x80", Raw),
        (b"\xc0" + bytes(20), Raw),
    ],
)
def test_the_first_byte(data: bytes, layer: type[Packet]) -> None:
    """RFC 7983 §7, RFC 8656 §12."""
    assert type(Turn(data)) is layer
    assert type(UDP(bytes(UDP(dport=3478) / Raw(data))).payload) is layer


@pytest.mark.parametrize("port", PORTS)
def test_ports(port: int) -> None:
    for lower in (UDP, TCP):
        assert StunMessage in IP(bytes(IP() / lower(dport=port, sport=1) / Raw(MESSAGE)))
        assert StunMessage in IP(bytes(IP() / lower(sport=port, dport=1) / Raw(MESSAGE)))
        assert StunMessage not in IP(bytes(IP() / lower(sport=2, dport=1) / Raw(MESSAGE)))


def test_another_port(other_port: int) -> None:
    """One line, for UDP and TCP and both directions; and it can be taken back."""
    packet = bytes(UDP(dport=other_port, sport=1) / Raw(MESSAGE))
    assert StunMessage in UDP(packet)
    unbind(other_port)
    assert StunMessage not in UDP(packet)


def test_beside_contrib_stun() -> None:
    """Its names work as ever, and get the port when ours are taken off; ours come first until then."""
    old = IP() / UDP(sport=1) / contrib.STUN(stun_message_type="Binding request", transaction_id=7)
    assert old[UDP].dport == 3478
    assert contrib.STUN(bytes(old[contrib.STUN])).transaction_id == 7
    assert StunMessage in IP(bytes(old))
    unbind(3478)
    try:
        assert contrib.STUN in IP(bytes(old))
    finally:
        bind(3478)
    assert StunMessage in IP(bytes(old))


def test_built_for_the_port() -> None:
    assert (IP() / UDP() / StunMessage())[UDP].dport == 3478
    assert (IP() / TCP() / ChannelData())[TCP].dport == 3478
