"""Verdicts in words: in the terms of RFC 4787 and RFC 5780, and what they mean for WebRTC."""

from collections.abc import Mapping
from typing import Final, NamedTuple

from stun.client.nat.findings import Behavior, Dependence, Findings, Lifetime, Trial

__all__ = ["VerdictLine", "conclusion", "lines"]

_INDEPENDENT = Dependence.ENDPOINT_INDEPENDENT
_ADDRESS = Dependence.ADDRESS_DEPENDENT
_BOTH = Dependence.ADDRESS_AND_PORT_DEPENDENT
_DEPENDENT: Final = (_ADDRESS, _BOTH)

_KEEPALIVE: Final = 15
"""Seconds between the keepalives of ICE (RFC 8445 §11)."""


_Meanings = Mapping[tuple[Dependence | Trial, ...], str]


class VerdictLine(NamedTuple):
    """One verdict: its name, where the RFCs define it, the verdict, and a sentence about it.

    ``verdict`` is None if there is none; the sentence says why.
    """

    name: str
    section: str
    verdict: str | None
    sentence: str


def lines(found: Findings) -> list[VerdictLine]:
    """Every verdict, in the order of the tests."""
    return [
        _nat(found),
        VerdictLine(
            "mapping",
            "RFC 4787 §4.1, RFC 5780 §4.3",
            _verdict(found.mapping, "mapping"),
            _sentence(found.mapping, _MAPPING),
        ),
        VerdictLine(
            "filtering",
            "RFC 4787 §5, RFC 5780 §4.4",
            _verdict(found.filtering, "filtering"),
            _sentence(found.filtering, _FILTERING),
        ),
        VerdictLine(
            "hairpinning",
            "RFC 4787 §6, RFC 5780 §3.4",
            _verdict(found.hairpinning),
            _sentence(found.hairpinning, _HAIRPIN),
        ),
        VerdictLine(
            "fragments",
            "RFC 4787 §10–11, RFC 5780 §3.5",
            _verdict(found.fragments),
            _sentence(found.fragments, _FRAGMENTS),
        ),
        VerdictLine("ALG", "RFC 4787 §7, RFC 5780 §3.6", _verdict(found.rewriting), _sentence(found.rewriting, _ALG)),
        VerdictLine(
            "binding lifetime",
            "RFC 4787 §4.3, RFC 5780 §4.6",
            _lifetime(found.lifetime),
            _lifetime_means(found.lifetime),
        ),
    ]


_MAPPING: Final[_Meanings] = {
    (_INDEPENDENT,): "Every peer sees this host at the same address: the one that STUN tells is right for all.",
    (_ADDRESS,): "Each peer sees another address than the one that STUN tells.",
    (_BOTH,): "Each peer sees another address than the one that STUN tells.",
    _DEPENDENT: "Each peer sees another address than the one that STUN tells.",
    (_INDEPENDENT, _ADDRESS): "Whether peers at other addresses see the same one is not known.",
}
_FILTERING: Final[_Meanings] = {
    (_INDEPENDENT,): "Anybody reaches the mapped address, once something has been sent from there.",
    (_ADDRESS,): "Peers get in once this host has sent to their IP address, whichever port they use.",
    (_BOTH,): "Peers get in only from the very address and port that this host has sent to.",
}
_HAIRPIN: Final[_Meanings] = {
    (Trial.YES,): "Two hosts behind this NAT reach each other at their mapped addresses.",
    (
        Trial.NO,
    ): "Two hosts behind this NAT do not reach each other at their mapped addresses: they need host candidates, or a "
    "TURN server.",
}
_FRAGMENTS: Final[_Meanings] = {
    (Trial.YES,): "UDP datagrams that are larger than the MTU arrive.",
    (
        Trial.NO,
    ): "UDP datagrams that are larger than the MTU are lost: DTLS handshakes with long certificates can fail.",
}
_ALG: Final[_Meanings] = {
    (
        Trial.YES,
    ): "A gateway rewrites addresses inside packets: MAPPED-ADDRESS came back changed. XOR-MAPPED-ADDRESS is right.",
    (Trial.NO,): "Nothing rewrites addresses inside packets.",
}


def _nat(found: Findings) -> VerdictLine:
    section = "RFC 5780 §4.3"
    if not found.translated:
        return VerdictLine("NAT", section, "no", f"The server sees this machine's own address {found.local}.")
    kept = "with the same port" if found.port_preserved else "with another port"
    return VerdictLine("NAT", section, "yes", f"{found.local} becomes {found.mapped}, {kept} (RFC 4787 §4.2.1).")


def _verdict(behavior: Behavior, noun: str = "") -> str | None:
    """The verdict in the RFCs' terms; "a or b" if two are possible."""
    if not behavior.possible:
        return None
    return f"{' or '.join(behavior.possible)} {noun}".strip()


def _sentence(behavior: Behavior, meanings: _Meanings) -> str:
    why = f"{behavior.why[:1].upper()}{behavior.why[1:]}." if behavior.why else ""
    return f"{meanings.get(behavior.possible, '')} {why}".strip()


def _lifetime(lifetime: Lifetime) -> str | None:
    if lifetime.lower is None:
        return None
    if lifetime.upper is None:
        return f"more than {_seconds(lifetime.lower)}"
    if not lifetime.lower:
        return f"at most {_seconds(lifetime.upper)}"
    return f"{_seconds(lifetime.lower)} to {_seconds(lifetime.upper)}"


def _lifetime_means(lifetime: Lifetime) -> str:
    if lifetime.lower is None:
        why = lifetime.why or "not searched, since it takes minutes: --lifetime 5m does it"
        return f"{why[:1].upper()}{why[1:]}."
    unsteady = " The NAT is not steady: a binding outlived others that were idle for less." if lifetime.unsteady else ""
    if lifetime.upper is None:
        return f"No idle UDP binding expired within the search; RFC 4787 asks for two minutes or more.{unsteady}"
    if lifetime.lower < _KEEPALIVE:
        return f"Shorter than the {_KEEPALIVE} s between ICE's keepalives: calls break when nobody speaks.{unsteady}"
    asked = "" if lifetime.upper > 120 else " RFC 4787 asks for two minutes or more."
    return f"ICE's keepalives every {_KEEPALIVE} s keep UDP bindings.{asked}{unsteady}"


def _seconds(value: float) -> str:
    return f"{value:.0f} s" if value >= 10 else f"{value:.1f} s"


def conclusion(found: Findings, *, over_tcp: bool) -> str:
    """What it all means for WebRTC, in one or two sentences."""
    if not found.answered and any(server.useless for server in found.servers):
        return "The servers answer, but with nothing that can be used: name another server."
    if not found.answered:
        silent = "TCP to these servers does not pass."
        needed = "If it does to no other server either, a call needs a TURN server over TCP or TLS."
        return silent if over_tcp else f"UDP to these servers does not pass. {needed}"
    mapping, filtering = found.mapping, found.filtering
    if over_tcp:
        return _over_tcp(mapping)
    if mapping.is_only(_INDEPENDENT):
        return _independent(filtering)
    if mapping.is_only(*_DEPENDENT):
        return _dependent(filtering)
    return "Whether direct connections work cannot be said without the mapping behavior. Offer a TURN server."


def _independent(filtering: Behavior) -> str:
    """Hole punching from behind a NAT with endpoint-independent mapping (RFC 5128 §3.3)."""
    if filtering.is_only(_INDEPENDENT):
        return "Direct connections work with all hosts whose network lets UDP out."
    if filtering.is_only(_INDEPENDENT, _ADDRESS):
        return "Direct connections work with other hosts behind NATs, whichever way these map."
    unless = "" if filtering.is_only(_BOTH) else " if this NAT filters by port, which is not known"
    return (
        "Direct connections work with other hosts behind NATs whose mapping is endpoint-independent. "
        f"To one behind a NAT with dependent mapping they fail{unless}: a TURN server is needed for those."
    )


def _dependent(filtering: Behavior) -> str:
    """The same where each destination sees another address."""
    if filtering.is_only(_INDEPENDENT):
        return (
            "Direct connections work: peers reach this host at the address that STUN tells, since nothing is filtered."
        )
    known = filtering.is_only(*_DEPENDENT)
    unless = "" if known else ", unless it filters nothing, which is not known"
    return (
        f"A direct connection to another host behind such a NAT fails{unless}: a TURN server is needed. It works with "
        "hosts without NAT, and with those whose NAT has endpoint-independent mapping and does not filter by port."
    )


def _over_tcp(mapping: Behavior) -> str:
    if mapping.is_only(_INDEPENDENT):
        return "Simultaneous opens of ICE over TCP can work (RFC 6544); browsers connect over TCP to servers only."
    if mapping.is_only(*_DEPENDENT):
        return "A direct TCP connection to another host behind such a NAT fails: a TURN server is needed."
    return "Whether direct TCP connections work cannot be said without the mapping behavior."
