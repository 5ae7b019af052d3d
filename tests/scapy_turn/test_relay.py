"""`TurnSocket` with the real server: scapy's own functions through a relay."""

import gc
import socket

import pytest
from scapy.layers.inet import ICMP, IP, UDP
from scapy.layers.inet6 import IPv6
from scapy.packet import Raw

from scapy_turn import StunMessage, TurnSocket
from scapy_turn.allocation import Refused
from scapy_turn.turn_attributes import StunIcmp
from tests.scapy_turn.conftest import Echo
from tests.support.peer import refused_address
from tests.support.server import PASSWORD, USERNAME, TurnServerProcess


def through(server: TurnServerProcess, transport: str = "udp", **more: object) -> TurnSocket:
    return TurnSocket(("127.0.0.1", server.ports[transport]), USERNAME, PASSWORD, transport=transport, **more)


@pytest.mark.parametrize("transport", ["udp", "tcp", "tls"])
def test_sr1(server: TurnServerProcess, echo: Echo, transport: str) -> None:
    """The answer has the addresses exchanged, whatever source the packet had, and the peer has seen the relay."""
    with through(server, transport) as relayed:
        packet = IP(src="192.0.2.7", dst=echo.address[0]) / UDP(sport=53, dport=echo.address[1]) / Raw(b"hello")
        answer = relayed.sr1(packet, timeout=60, verbose=0)
        assert answer is not None
        assert (answer[IP].src, answer[IP].dst, answer[Raw].load) == (echo.address[0], "192.0.2.7", b"hello")
        assert (answer[UDP].sport, answer[UDP].dport) == (echo.address[1], 53)
        assert echo.sources == [relayed.relayed]


def test_sr_to_several_peers(server: TurnServerProcess, echo: Echo) -> None:
    """Without channels, too; each answer belongs to its packet, in whatever order they come.

    scapy tells answers over UDP apart by the source port of the packet, and never by that of the peer.
    """
    slower = Echo("127.0.0.1", after=echo)
    with through(server, channels=False) as relayed:
        peers = {5000: slower.address[1], 5001: echo.address[1]}
        packets = [IP(dst="127.0.0.1") / UDP(sport=own, dport=port) / Raw(b"%d" % port) for own, port in peers.items()]
        answered, unanswered = relayed.sr(packets, timeout=60, verbose=0)
        assert len(unanswered) == 0
        assert [got[UDP].sport for _, got in answered] == [echo.address[1], slower.address[1]], "the slower one is last"
        assert {sent[UDP].dport: got[UDP].sport for sent, got in answered} == {port: port for port in peers.values()}
    slower.close()


@pytest.mark.parametrize("transport", ["udp", "tcp"])
@pytest.mark.parametrize("channels", [False, True])
def test_coturn(coturn: tuple[str, int], echo: Echo, transport: str, channels: bool) -> None:
    """Another server, whose channels, indications and nonces are its own."""
    with TurnSocket(coturn, USERNAME, PASSWORD, transport=transport, channels=channels) as relayed:
        packet = IP(dst=echo.address[0]) / UDP(sport=53, dport=echo.address[1]) / Raw(b"hello")
        answer = relayed.sr1(packet, timeout=60, verbose=0)
        assert answer is not None
        assert answer[Raw].load == b"hello"
        assert echo.sources == [relayed.relayed]


def test_stun_through_a_relay(server: TurnServerProcess, echo: Echo) -> None:
    """What peers send is dissected by its ports: an echo of a request is a request."""
    with through(server) as relayed:
        relayed.send(IP(dst=echo.address[0]) / UDP(sport=3478, dport=echo.address[1]) / StunMessage())
        (packet,) = relayed.sniff(count=1, timeout=60)
        assert StunMessage in packet


def test_ipv6(server: TurnServerProcess, echo6: Echo) -> None:
    with through(server, family=6) as relayed:
        packet = IPv6(dst="::1") / UDP(sport=7, dport=echo6.address[1]) / Raw(b"six")
        answer = relayed.sr1(packet, timeout=60, verbose=0)
        assert answer is not None
        assert (answer[IPv6].src, answer[Raw].load) == ("::1", b"six")


def test_icmp_errors(server: TurnServerProcess) -> None:
    """A port that nobody listens on: what the server reports answers the packet (RFC 8656 §11.5)."""
    closed = refused_address()
    with through(server) as relayed:
        packet = IP(dst="127.0.0.1") / UDP(sport=7, dport=closed.port) / Raw(b"anybody?")
        answer = relayed.sr1(packet, timeout=60, retry=3, verbose=0)
        assert answer is not None
        assert (answer[ICMP].type, answer[ICMP].code) == (3, 3)


def test_what_a_server_can_say(server: TurnServerProcess) -> None:
    """A peer of another family, an unknown error, more than anybody reads: nothing raises, nothing grows."""
    with through(server) as relayed:
        relayed._heard(("2001:db8::1", 5), b"x")
        relayed._heard(("192.0.2.1", 5), StunIcmp(icmp_type=127, icmp_code=511))
        for _ in range(1500):
            relayed._heard(("192.0.2.1", 5), b"")
        assert relayed.dropped == 501
        assert relayed.recv()[ICMP].type == 127
    with through(server, family=6) as relayed:
        for kind in (1, 2, 3, 127):
            relayed._heard(("2001:db8::1", 5), StunIcmp(icmp_type=kind, icmp_data=1280))
            assert bytes(relayed.recv())


@pytest.mark.filterwarnings("error::pytest.PytestUnraisableExceptionWarning")
def test_a_wrong_argument_has_one_error() -> None:
    with pytest.raises(TypeError, match="timeout"):
        TurnSocket(("127.0.0.1", 9), USERNAME, PASSWORD, timeout=1)  # type: ignore[call-arg]
    gc.collect()


def test_what_cannot_be_sent(server: TurnServerProcess) -> None:
    with through(server) as relayed:
        for packet in (IP(dst="127.0.0.1") / ICMP(), IPv6() / UDP(), Raw(b"x")):
            with pytest.raises(ValueError, match="UDP over IPv4"):
                relayed.send(packet)
        with pytest.raises(Refused, match="403"):
            relayed.send(IP(dst="10.0.0.1") / UDP())
    with pytest.raises(Refused, match="401"):
        TurnSocket(("127.0.0.1", server.port), USERNAME, "wrong")
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        with pytest.raises(OSError, match="refused"):
            TurnSocket(closed.getsockname(), USERNAME, PASSWORD, transport="tcp")
