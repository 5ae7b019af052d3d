"""What was found out over each transport and family: for people (`cli.nat.render`) and for programs (``as_json``)."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from cli.nat.wording import conclusion, lines
from stun.address import Address
from stun.client.nat.findings import Behavior, Findings, ServerSeen
from stun.constants import AddressFamily

__all__ = ["NatReport", "Way"]


@dataclass(frozen=True, slots=True)
class Way:
    """One transport and family: the findings, or the ``trouble`` because of which there are none."""

    transport: str
    family: AddressFamily
    found: Findings | None = None
    trouble: str = ""

    @property
    def ok(self) -> bool:
        """True if a server has answered."""
        return self.found is not None and self.found.answered

    @property
    def name(self) -> str:
        """For people, such as ``UDP over IPv4``."""
        return f"{self.transport.upper()} over IPv{self._version}"

    @property
    def _version(self) -> int:
        return 4 if self.family is AddressFamily.IPV4 else 6

    def as_json(self) -> dict[str, Any]:
        """The way for programs; what is not known is null or an empty list."""
        facts: dict[str, Any] = {"transport": self.transport, "family": self._version, "ok": self.ok}
        found = self.found
        if found is None:
            return facts | {"trouble": self.trouble}
        facts["servers"] = [_server(server) for server in found.servers]
        facts["conclusion"] = conclusion(found, over_tcp=self.transport == "tcp")
        if not found.answered:
            return facts
        facts |= {
            "asked": None if found.asked is None else str(found.asked.address),
            "local": _text(found.local),
            "mapped": _text(found.mapped),
            "nat": found.translated,
            "port_preserved": found.port_preserved,
            "mapping": _behavior(found.mapping),
            "filtering": _behavior(found.filtering),
            "hairpinning": _behavior(found.hairpinning),
            "fragments": _behavior(found.fragments),
            "alg": _behavior(found.rewriting),
            "lifetime": {
                "more_than_seconds": _rounded(found.lifetime.lower),
                "at_most_seconds": _rounded(found.lifetime.upper),
                "unsteady": found.lifetime.unsteady,
                "why": found.lifetime.why,
            },
            "verdicts": [line._asdict() for line in lines(found)],
        }
        return facts


@dataclass(slots=True)
class NatReport:
    """Everything, in the order in which it was found out. ``unresolved`` are sentences about names without address."""

    uris: Sequence[str]
    ways: list[Way] = field(default_factory=list)
    unresolved: Sequence[str] = ()

    @property
    def answered(self) -> bool:
        """True if a server has answered over any of them."""
        return any(way.ok for way in self.ways)

    def as_json(self, *, ok: bool) -> dict[str, Any]:
        """The report for programs; ``ok`` as the exit code says it."""
        return {
            "ok": ok,
            "uris": list(self.uris),
            "unresolved": list(self.unresolved),
            "results": [way.as_json() for way in self.ways],
        }


def _text(address: Address | None) -> str | None:
    return None if address is None else str(address)


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 2)


def _server(server: ServerSeen) -> dict[str, Any]:
    return {
        "address": str(server.address),
        "mapped": _text(server.mapped),
        "other_address": _text(server.other),
        "software": server.software,
        "why": server.why,
    }


def _behavior(behavior: Behavior) -> dict[str, Any]:
    decided = behavior.decided
    return {
        "verdict": None if decided is None else str(decided),
        "possible": [str(each) for each in behavior.possible],
        "why": behavior.why,
    }
