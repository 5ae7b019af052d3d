"""Verdicts and what is still possible."""

from stun.address import Address
from stun.client.nat.findings import Behavior, Dependence, Findings, ServerSeen, Trial

LOCAL = Address.parse("10.0.0.2", 5000)


def test_behavior() -> None:
    """One possible value is a verdict; two are none, but tell something."""
    two = Behavior((Dependence.ADDRESS_DEPENDENT, Dependence.ADDRESS_AND_PORT_DEPENDENT))
    assert (Behavior().decided, two.decided, Behavior((Trial.YES,)).decided) == (None, None, Trial.YES)
    assert two.is_only(*Dependence)
    assert not two.is_only(Dependence.ADDRESS_DEPENDENT)
    assert not Behavior().is_only(*Dependence)


def test_findings() -> None:
    """Whether there is a NAT, and whether it keeps ports (RFC 4787 §4.2.1)."""
    nothing = Findings()
    assert (nothing.answered, nothing.translated, nothing.port_preserved) == (False, None, None)
    asked = ServerSeen(Address.parse("192.0.2.1", 3478), LOCAL)
    assert Findings(asked=asked, local=LOCAL, mapped=LOCAL).translated is False
    for port, kept in ((5000, True), (5001, False)):
        found = Findings(asked=asked, local=LOCAL, mapped=Address.parse("203.0.113.9", port))
        assert (found.answered, found.translated, found.port_preserved) == (True, True, kept)
