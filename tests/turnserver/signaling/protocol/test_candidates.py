"""Candidates of strangers: the relay addresses in them, and nothing that is not one (RFC 8839 §5.1)."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stun.address import Address
from turnserver.signaling.protocol.candidates import MAX_CANDIDATES, MAX_TEXT, TYPES, candidate_types, relay_addresses

RELAY = "candidate:842163049 1 udp 41885439 203.0.113.1 50001 typ relay raddr 198.51.100.7 rport 40000 generation 0"
HOST = "candidate:1 1 udp 2122260223 10.0.0.2 40000 typ host generation 0 ufrag abcd network-id 1"
SRFLX = "candidate:2 1 UDP 1686052607 198.51.100.7 40000 typ srflx raddr 10.0.0.2 rport 40000"

SDP = f"""v=0\r
o=- 1 2 IN IP4 127.0.0.1\r
m=audio 50001 UDP/TLS/RTP/SAVPF 111\r
a={HOST}\r
a={RELAY}\r
a={SRFLX}\r
m=video 9 UDP/TLS/RTP/SAVPF 96\r
a={RELAY}\r
a=candidate:3 1 udp 1 2001:db8::1 50002 typ relay raddr :: rport 9\r
"""


def test_one_candidate_as_a_browser_trickles_it() -> None:
    """RFC 8839 §5.1: the fifth and sixth fields are the address; raddr and rport are the client's own."""
    assert relay_addresses(RELAY) == (Address.parse("203.0.113.1", 50001),)
    assert relay_addresses(f"a={RELAY}") == (Address.parse("203.0.113.1", 50001),)


def test_every_relay_candidate_of_an_sdp_once() -> None:
    """aiortc sends its candidates inside the description, once for each media section."""
    assert relay_addresses(SDP) == (Address.parse("203.0.113.1", 50001), Address.parse("2001:db8::1", 50002))
    assert relay_addresses(SDP.replace("\r\n", "\n")) == relay_addresses(SDP)


def test_types() -> None:
    assert candidate_types(SDP) == {"host", "srflx", "relay"}
    assert candidate_types(HOST) == {"host"}
    assert candidate_types("") == frozenset()


def test_a_mapped_address_is_the_address_that_the_relay_has() -> None:
    text = RELAY.replace("203.0.113.1", "::ffff:203.0.113.1")
    assert relay_addresses(text) == (Address.parse("203.0.113.1", 50001),)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "candidate:",
        "candidate:1 1 udp 1 203.0.113.1 50001 typ",
        "candidate:1 1 udp 1 203.0.113.1 50001 TYP relay",
        "candidate:1 1 udp 1 203.0.113.1 50001 typ Relay",
        "candidate:1 1 udp 1 203.0.113.1 50001 typ relayed",
        "candidate:1 1 udp 1 c9f9c5f8-9f41-4b5a-8e50-d6ad34c2a2b1.local 50001 typ relay",
        "candidate:1 1 udp 1 fe80::1%eth0 50001 typ relay",
        "candidate:1 1 udp 1 203.0.113.1 0 typ relay",
        "candidate:1 1 udp 1 203.0.113.1 65536 typ relay",
        "candidate:1 1 udp 1 203.0.113.1 -1 typ relay",
        "candidate:1 1 udp 1 203.0.113.1 +5 typ relay",
        "candidate:1 1 udp 1 203.0.113.1 5_0 typ relay",
        "candidate:1 1 udp 1 203.0.113.1 ٥٠ typ relay",
        "candidate:1 1 udp 1 203.0.113.1 ² typ relay",
        "candidate:1 1 udp 1 203.0.113 50001 typ relay",
        "candidate:1 1 udp 1 3405803777 50001 typ relay",
        "candidate:1 1 udp 1 203.0.113.01 50001 typ relay",
        "x" + RELAY,
        "b=" + RELAY,
        RELAY + " " + "x" * 512,
    ],
)
def test_what_is_not_a_relay_candidate_is_passed_over(text: str) -> None:
    """Hostile input: no error, no address."""
    assert relay_addresses(text) == ()


def test_only_so_much_is_looked_at() -> None:
    """Hostile input: the work is bounded by `MAX_CANDIDATES` and `MAX_TEXT`, whatever comes."""
    lines = [RELAY.replace("50001", str(port)) for port in range(1000, 1000 + 2 * MAX_CANDIDATES)]
    assert len(relay_addresses("\n".join(lines))) == MAX_CANDIDATES
    assert relay_addresses("\n" * MAX_TEXT + RELAY) == ()


@settings(deadline=None)
@given(st.text() | st.lists(st.sampled_from([*RELAY.split(" "), "candidate:", "\n", "²"])).map(" ".join))
def test_nothing_raises(text: str) -> None:
    """Hostile input: any text gives addresses that could be told to a client, and known types."""
    for address in relay_addresses(text):
        assert len(address.ip) in {4, 16}
        assert 0 < address.port < 65536
    assert candidate_types(text) <= TYPES
