"""Single matches of nftables, as `nft -j` writes them."""

from typing import Any

import pytest

from cli.doctor.matching import FirstPacket, among, holds

UDP = FirstPacket(4, "udp", 3478, "eth0")
TCP6 = FirstPacket(6, "tcp", 443, "eth0.100")
SETS: dict[str, list[Any]] = {"ports": [443, {"range": [3000, 4000]}], "later": [{"elem": {"val": 443, "timeout": 60}}]}


def payload(protocol: str, field: str) -> dict[str, Any]:
    return {"payload": {"protocol": protocol, "field": field}}


def meta(key: str) -> dict[str, Any]:
    return {"meta": {"key": key}}


@pytest.mark.parametrize(
    ("packet", "left", "operator", "right", "expected"),
    [
        (UDP, payload("udp", "dport"), "==", 3478, True),
        (UDP, payload("udp", "dport"), "==", 3479, False),
        (UDP, payload("udp", "dport"), "!=", 3479, True),
        (UDP, payload("th", "dport"), "==", {"range": [3000, 3478]}, True),
        (UDP, payload("udp", "dport"), "==", {"set": [53, {"range": [5000, 6000]}]}, False),
        (UDP, payload("udp", "dport"), "==", "@ports", True),
        (TCP6, payload("tcp", "dport"), "==", "@later", True),
        (UDP, payload("udp", "dport"), "==", "@nothing", None),
        (UDP, payload("udp", "dport"), "<", 4000, None),
        # A match of another protocol is never true, not even a negated one: nft tests the protocol with it.
        (UDP, payload("tcp", "dport"), "!=", 443, False),
        (TCP6, payload("ip", "saddr"), "!=", "192.0.2.1", False),
        (UDP, payload("ip", "saddr"), "==", "192.0.2.1", None),
        (UDP, payload("udp", "sport"), "==", 53, None),
        (UDP, payload("ip", "protocol"), "==", "udp", True),
        (UDP, meta("l4proto"), "==", {"set": ["tcp", "udp"]}, True),
        (TCP6, meta("nfproto"), "==", "ipv4", False),
        (UDP, meta("iifname"), "==", "lo", False),
        (UDP, meta("iifname"), "==", "eth*", True),
        (TCP6, meta("iifname"), "!=", "eth0", True),
        (UDP, meta("mark"), "==", 1, None),
        (UDP, {"ct": {"key": "state"}}, "in", ["established", "related"], False),
        (UDP, {"ct": {"key": "state"}}, "in", "new", True),
        (UDP, {"ct": {"key": "status"}}, "in", "dnat", None),
        (UDP, {"concat": [1, 2]}, "==", 3, None),
        (UDP, None, "==", 3, None),
        (UDP, {"meta": "x"}, "==", 3, None),
        (UDP, {"meta": {"key": ["x"]}}, "==", 3, None),
    ],
)
def test_matches(packet: FirstPacket, left: Any, operator: str, right: Any, expected: bool | None) -> None:
    """True, false, or not known: only what is certain is said."""
    assert holds({"op": operator, "left": left, "right": right}, packet, SETS.get) is expected


def test_what_is_no_match() -> None:
    """Kind: output of another version of nft."""
    assert holds("words", UDP, SETS.get) is None
    assert holds({}, UDP, SETS.get) is None


def test_elements() -> None:
    """An element that is not understood makes an answer uncertain, unless another one has the value."""
    assert among(5, [{"prefix": {"addr": "10.0.0.0", "len": 8}}, 5], SETS.get) is True
    assert among(5, [{"prefix": {"addr": "10.0.0.0", "len": 8}}, 6], SETS.get) is None
    assert among(5, {"range": ["a", "b"]}, SETS.get) is None
    assert among("new", 8, SETS.get) is None
