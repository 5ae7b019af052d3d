"""Verdicts in words: in the RFCs' terms, and what they mean for WebRTC."""

import itertools

import pytest

from cli.nat.wording import conclusion, lines
from stun.address import Address
from stun.client.nat.findings import Behavior, Dependence, Findings, Lifetime, ServerSeen, Trial

SERVER = ServerSeen(Address.parse("192.0.2.1", 3478), Address.parse("203.0.113.9", 5000))
INDEPENDENT, ADDRESS, BOTH = Dependence
RELAY = "A direct connection to another host behind such a NAT fails: a TURN server is needed."


def found(**values: object) -> Findings:
    result = Findings([SERVER], SERVER, Address.parse("10.0.0.2", 5000), SERVER.mapped)
    for name, value in values.items():
        setattr(result, name, Behavior(value) if isinstance(value, tuple) else value)
    return result


def punches(mapping: Dependence, filtering: Dependence, other: tuple[Dependence, Dependence]) -> bool:
    """Whether two hosts behind such NATs connect by sending to what STUN tells of the other (RFC 5128 §3.3, §3.4).

    What A sends comes from its known address if its mapping is endpoint-independent, and from an unknown port of its
    known IP address otherwise. B has sent to A's known address.
    """

    def gets_in(sender_maps: Dependence, receiver: tuple[Dependence, Dependence]) -> bool:
        maps, filters = receiver
        if maps is not INDEPENDENT:
            # The receiver's known address is that of its mapping to the STUN server, which has sent to nobody else.
            return filters is INDEPENDENT
        return filters is not BOTH or sender_maps is INDEPENDENT

    return gets_in(mapping, other) or gets_in(other[0], (mapping, filtering))


@pytest.mark.parametrize(("mapping", "filtering"), list(itertools.product(Dependence, Dependence)))
def test_the_conclusion_is_what_hole_punching_can_do(mapping: Dependence, filtering: Dependence) -> None:
    """Each sentence, against a model of two NATs: with hosts behind NATs of every kind."""
    text = conclusion(found(mapping=(mapping,), filtering=(filtering,)), over_tcp=False)
    others = {other: punches(mapping, filtering, other) for other in itertools.product(Dependence, Dependence)}
    strictest = others[BOTH, BOTH]
    ordinary = others[INDEPENDENT, BOTH]
    assert others[INDEPENDENT, ADDRESS]
    assert (RELAY in text) is (mapping is not INDEPENDENT and not ordinary and not others[mapping, filtering])
    assert ("a TURN server is needed for those" in text) is (mapping is INDEPENDENT and not strictest)
    assert ("TURN" not in text) is strictest
    assert ordinary is (RELAY not in text)


def test_conclusions_from_less() -> None:
    """What is not known is said."""
    assert conclusion(Findings(), over_tcp=False).startswith("UDP to these servers does not pass. If ")
    useless = ServerSeen(Address.parse("192.0.2.1", 3478), why="error 401: no", useless=True)
    for over_tcp in (False, True):
        assert conclusion(Findings([useless]), over_tcp=over_tcp).startswith("The servers answer, but with nothing")
    assert conclusion(Findings(), over_tcp=True) == "TCP to these servers does not pass."
    assert conclusion(found(), over_tcp=False).startswith("Whether direct connections work cannot be said")
    for filtering in (), (INDEPENDENT, ADDRESS):
        text = conclusion(found(mapping=(ADDRESS, BOTH), filtering=filtering), over_tcp=False)
        assert "fails, unless it filters nothing, which is not known: a TURN server is needed." in text
    assert RELAY in conclusion(found(mapping=(ADDRESS, BOTH), filtering=(ADDRESS, BOTH)), over_tcp=False)
    assert "TURN" not in conclusion(found(mapping=(INDEPENDENT,), filtering=(INDEPENDENT, ADDRESS)), over_tcp=False)
    assert "not known" in conclusion(found(mapping=(INDEPENDENT,), filtering=(ADDRESS, BOTH)), over_tcp=False)
    assert "which is not known" in conclusion(found(mapping=(INDEPENDENT,)), over_tcp=False)
    assert "cannot be said" in conclusion(found(mapping=(INDEPENDENT, ADDRESS)), over_tcp=False)
    assert "browsers connect over TCP to servers only" in conclusion(found(mapping=(INDEPENDENT,)), over_tcp=True)
    assert "TURN server is needed" in conclusion(found(mapping=(BOTH,)), over_tcp=True)
    assert "cannot be said" in conclusion(found(), over_tcp=True)


def test_every_line() -> None:
    """The terms of RFC 4787, one line for each."""
    shown = {
        line.name: line for line in lines(found(mapping=(ADDRESS, BOTH), filtering=(ADDRESS,), fragments=(Trial.NO,)))
    }
    assert list(shown) == ["NAT", "mapping", "filtering", "hairpinning", "fragments", "ALG", "binding lifetime"]
    assert shown["mapping"].verdict == "address-dependent or address and port-dependent mapping"
    assert shown["filtering"].verdict == "address-dependent filtering"
    assert shown["NAT"].sentence == "10.0.0.2:5000 becomes 203.0.113.9:5000, with the same port (RFC 4787 §4.2.1)."
    assert shown["hairpinning"].verdict is None
    assert "are lost" in shown["fragments"].sentence
    assert all("RFC 5780 §" in line.section for line in shown.values())


def test_a_reason_follows_the_meaning() -> None:
    """As a sentence; alone if there is no verdict."""
    behavior = Behavior((Trial.YES,), "only those that this host sends: answers were short")
    shown = {line.name: line.sentence for line in lines(found(fragments=behavior, filtering=Behavior((), "no way")))}
    assert shown["fragments"].endswith("arrive. Only those that this host sends: answers were short.")
    assert shown["filtering"] == "No way."


def test_no_nat() -> None:
    """The server sees the machine's own address."""
    result = found()
    result.local = result.mapped
    line = lines(result)[0]
    assert (line.verdict, line.sentence) == ("no", "The server sees this machine's own address 203.0.113.9:5000.")


@pytest.mark.parametrize(
    ("lifetime", "verdict", "part"),
    [
        (Lifetime(), None, "Not searched, since it takes minutes: --lifetime 5m does it."),
        (Lifetime(why="the server does not know RESPONSE-PORT (420)"), None, "The server does not know RESPONSE-PORT"),
        (Lifetime(300.4, None), "more than 300 s", "No idle UDP binding expired"),
        (Lifetime(120.0, 180.0), "120 s to 180 s", "keep UDP bindings."),
        (Lifetime(30.0, 33.0), "30 s to 33 s", "RFC 4787 asks for two minutes"),
        (Lifetime(2.04, 5.06), "2.0 s to 5.1 s", "calls break"),
        (Lifetime(0.0, 1.0), "at most 1.0 s", "calls break"),
        (Lifetime(60.0, None, True), "more than 60 s", "The NAT is not steady"),
    ],
)
def test_lifetimes(lifetime: Lifetime, verdict: str | None, part: str) -> None:
    """Beside ICE's keepalives (RFC 8445 §11) and what RFC 4787 §4.3 asks for."""
    line = lines(found(lifetime=lifetime))[-1]
    assert line.verdict == verdict
    assert part in line.sentence
