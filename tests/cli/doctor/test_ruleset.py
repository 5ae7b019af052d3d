"""Packets through rulesets, as `nft -j list ruleset` writes them. `tests/net/test_doctor.py` has nft itself."""

import json
from typing import Any

import pytest

from cli.doctor.matching import FirstPacket
from cli.doctor.ruleset import Judgement, PacketVerdict, Ruleset

PACKET = FirstPacket(4, "udp", 3478, "eth0")
ACCEPT, DROP = {"accept": None}, {"drop": None}
XT: dict[str, Any] = {"xt": {"type": "match", "name": "conntrack"}}
"""What nft writes for a match of iptables: nothing that says what it matches."""


def port(number: int, protocol: str = "udp") -> dict[str, Any]:
    left = {"payload": {"protocol": protocol, "field": "dport"}}
    return {"match": {"op": "==", "left": left, "right": number}}


def base(name: str = "input", policy: str = "accept", family: str = "inet", **more: Any) -> dict[str, Any]:
    about = {"type": "filter", "hook": "input", "prio": 0, "policy": policy, **more}
    return {"chain": {"family": family, "table": "filter", "name": name, **about}}


def rule(*expressions: Any, chain: str = "input", family: str = "inet") -> dict[str, Any]:
    return {"rule": {"family": family, "table": "filter", "chain": chain, "expr": list(expressions)}}


def judged(*entries: Any, packet: FirstPacket = PACKET) -> PacketVerdict:
    return Ruleset.parse(json.dumps({"nftables": list(entries)}).encode()).judge(packet).verdict


def test_no_rules() -> None:
    """Everything is let in."""
    assert judged() is PacketVerdict.ACCEPT


@pytest.mark.parametrize("policy", ["accept", "drop"])
def test_the_policy(policy: str) -> None:
    """What no rule decides."""
    assert judged(base(policy=policy), rule(port(53), ACCEPT)) == policy


def test_the_first_verdict_counts() -> None:
    """Rules after it are not reached; counters and the log decide nothing."""
    rules = [rule({"counter": {"packets": 0}}, port(3478), {"log": None}, ACCEPT), rule(DROP)]
    assert judged(base(policy="drop"), *rules) is PacketVerdict.ACCEPT
    assert judged(base(), *reversed(rules)) is PacketVerdict.DROP


def test_every_base_chain_has_to_let_it_through() -> None:
    """An accept ends its own chain only, and the chain that drops is named."""
    entries = [
        base(),
        rule(ACCEPT),
        base("late", "drop", prio=10),
        base("nat", "drop", type="nat"),
        base("out", "drop", hook="output"),
    ]
    found = Ruleset.parse(json.dumps({"nftables": entries}).encode())
    assert found.judge(PACKET) == Judgement(PacketVerdict.DROP, ("inet", "filter", "late"))


def test_families() -> None:
    """Tables of IPv6 see no IPv4 packets."""
    rules = [base(policy="drop", family="ip6")]
    assert judged(*rules) is PacketVerdict.ACCEPT
    assert judged(*rules, packet=FirstPacket(6, "udp", 3478, "eth0")) is PacketVerdict.DROP


@pytest.mark.parametrize(
    ("verdict", "expected"),
    [
        ({"jump": {"target": "other"}}, PacketVerdict.DROP),
        ({"goto": {"target": "other"}}, PacketVerdict.ACCEPT),
    ],
)
def test_jump_and_goto(verdict: dict[str, Any], expected: PacketVerdict) -> None:
    """After a chain that decides nothing, a jump comes back and a goto does not: there the policy counts."""
    entries = [
        base(),
        rule(verdict),
        rule(DROP),
        rule(port(53), ACCEPT, chain="other"),
        rule({"return": None}, chain="other"),
    ]
    assert judged(*entries) is expected


def test_verdict_maps() -> None:
    """By what a packet has; one without an entry goes on."""
    left = {"payload": {"protocol": "udp", "field": "dport"}}
    verdicts = {"vmap": {"key": left, "data": {"set": [[53, ACCEPT], [3478, DROP]]}}}
    assert judged(base(), rule(verdicts)) is PacketVerdict.DROP
    assert judged(base(), rule(verdicts), packet=FirstPacket(4, "udp", 99, "eth0")) is PacketVerdict.ACCEPT
    named = {"vmap": {"key": left, "data": "@verdicts"}}
    assert judged(base(), rule(named)) is PacketVerdict.UNKNOWN


@pytest.mark.parametrize("doubtful", [XT, {"limit": {"rate": 5}}, {"future": {}}])
def test_what_cannot_be_judged(doubtful: dict[str, Any]) -> None:
    """A rule of iptables, a rate, or what a later nft writes: its verdict is one that is possible."""
    assert judged(base(policy="drop"), rule(doubtful, ACCEPT)) is PacketVerdict.UNKNOWN
    assert judged(base(policy="accept"), rule(doubtful, DROP)) is PacketVerdict.UNKNOWN
    assert judged(base(policy="drop"), rule(doubtful, DROP)) is PacketVerdict.DROP
    assert judged(base(policy="drop"), rule(doubtful, port(53), ACCEPT)) is PacketVerdict.DROP


def test_queues() -> None:
    """A program decides there."""
    assert judged(base(), rule({"queue": {"num": 0}})) is PacketVerdict.UNKNOWN


def test_chains_without_end() -> None:
    """Kind: a ruleset that the kernel would refuse. The walk ends, and says that it does not know."""
    loop = rule({"jump": {"target": "loop"}}, chain="loop")
    assert judged(base(), rule({"jump": {"target": "loop"}}), *[loop] * 4) is PacketVerdict.UNKNOWN


def test_ports_of_rules() -> None:
    """Where verdicts may change: every number that may be one, in rules and sets."""
    entries = [
        rule(port(3478), {"jump": {"target": "x"}}),
        rule({"match": {"op": "==", "left": {}, "right": {"range": [5000, 6000]}}}),
        {"set": {"family": "inet", "table": "filter", "name": "a", "elem": [443, {"range": [70000, 1000]}]}},
    ]
    found = Ruleset.parse(json.dumps({"nftables": entries}).encode())
    assert found.ports == {3478, 5000, 6000, 443, 1000}


@pytest.mark.parametrize("text", [b"", b"words", b"[]", b'{"nftables": 1}', b"\xff"])
def test_other_output(text: bytes) -> None:
    """ValueError, and nothing else."""
    with pytest.raises(ValueError, match=r"ruleset|Expecting|codec"):
        Ruleset.parse(text)


def test_strange_entries() -> None:
    """Kind: what another version of nft writes. It is left out or not known, and nothing fails."""
    assert (
        judged(1, {"chain": 2}, {"set": {"elem": 3}}, {"rule": {"expr": 4}}, base(prio="filter"))
        is PacketVerdict.ACCEPT
    )
    assert judged(base(), rule("words")) is PacketVerdict.UNKNOWN
    assert judged(base(), rule({"match": "words"}, DROP)) is PacketVerdict.UNKNOWN


def test_tables() -> None:
    """Their names tell which program has made the rules."""
    assert Ruleset.parse(json.dumps({"nftables": [base()]}).encode()).tables == {"filter"}
