"""What ``meshturn doctor`` finds: plain values, for people (`cli.doctor.render`) and for programs (JSON)."""

from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

__all__ = ["CheckName", "Examination", "HostFinding", "Severity", "not_checked", "ok", "warning", "wrong"]


class Severity(StrEnum):
    """How a finding is to be taken. What could not be checked is never counted as fine."""

    OK = "ok"
    WARNING = "warning"
    WRONG = "wrong"
    NOT_CHECKED = "not checked"


class CheckName(StrEnum):
    """What is checked, in the order of the report."""

    ADDRESSES = "addresses"
    PORTS = "ports"
    FIREWALL = "firewall"
    CERTIFICATE = "certificate"
    DNS = "dns"
    SRV = "srv"
    HAIRPIN = "hairpin"
    IPV6 = "ipv6"
    OUTSIDE = "outside"
    BUFFERS = "buffers"
    DESCRIPTORS = "descriptors"
    CONNTRACK = "conntrack"
    RP_FILTER = "rp_filter"
    CLOCK = "clock"


@dataclass(frozen=True, slots=True)
class HostFinding:
    """One finding: what is so, why it matters, and the lines that mend it (commands, or options of the configuration).

    Of what could not be checked, ``what`` says why not. Texts may contain what others have sent: what shows them
    escapes them.
    """

    grade: Severity
    what: str
    why: str = ""
    mend: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """The finding for programs."""
        return {"grade": str(self.grade), "what": self.what, "why": self.why or None, "mend": list(self.mend)}


def ok(what: str) -> HostFinding:
    """Something that is as it should be."""
    return HostFinding(Severity.OK, what)


def warning(what: str, why: str, *mend: str) -> HostFinding:
    """Something that is a problem for some clients, or will be one."""
    return HostFinding(Severity.WARNING, what, why, mend)


def wrong(what: str, why: str, *mend: str) -> HostFinding:
    """Something with which clients cannot connect or relay."""
    return HostFinding(Severity.WRONG, what, why, mend)


def not_checked(why: str, *mend: str) -> HostFinding:
    """Something that cannot be checked here, and why; ``mend`` is how to check it after all."""
    return HostFinding(Severity.NOT_CHECKED, why, "", mend)


@dataclass(slots=True)
class Examination:
    """Everything that was found, by what was checked; ``source`` is the configuration."""

    source: str
    findings: dict[CheckName, list[HostFinding]] = field(default_factory=dict)

    @property
    def counts(self) -> Counter[Severity]:
        """How many findings there are of each grade."""
        return Counter(each.grade for group in self.findings.values() for each in group)

    @property
    def ok(self) -> bool:
        """True if something was checked and nothing is wrong; warnings do not count, nor does what was not checked."""
        counts = self.counts
        return not counts[Severity.WRONG] and counts[Severity.OK] + counts[Severity.WARNING] > 0

    def as_json(self) -> dict[str, Any]:
        """The whole for programs."""
        counts = self.counts
        return {
            "ok": self.ok,
            "source": self.source,
            "counts": {str(grade): counts[grade] for grade in Severity},
            "checks": {str(subject): [each.as_json() for each in group] for subject, group in self.findings.items()},
        }
