"""What a probe found: plain values, for people (`cli.probe.render`) and for programs (`Report.as_json`)."""

import statistics
from dataclasses import dataclass, field
from typing import Any

from cli.probe.security import TlsFacts

__all__ = ["EchoResult", "Report", "Step"]


@dataclass(frozen=True, slots=True)
class EchoResult:
    """Datagrams echoed through the relays; times in seconds, one for each that came back."""

    sent: int
    times: tuple[float, ...]

    @property
    def median(self) -> float | None:
        """The median round trip, in seconds; None when nothing came back."""
        return statistics.median(self.times) if self.times else None


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a probe: what it was, whether it worked, and a sentence about it.

    ``seconds`` is the round trip; ``code`` the STUN error code when the server refused; ``transmissions`` counts how
    often the request was sent (more than once: datagrams were lost).
    """

    name: str
    ok: bool
    sentence: str
    hint: str = ""
    seconds: float | None = None
    code: int | None = None
    transmissions: int = 1
    echo: EchoResult | None = None

    def as_json(self) -> dict[str, Any]:
        """The step for programs; times in milliseconds."""
        found: dict[str, Any] = {"name": self.name, "ok": self.ok, "sentence": self.sentence}
        if self.hint:
            found["hint"] = self.hint
        if self.code is not None:
            found["code"] = self.code
        if self.seconds is not None:
            found["milliseconds"] = _milliseconds(self.seconds)
            found["transmissions"] = self.transmissions
        if self.echo is not None:
            found["sent"] = self.echo.sent
            found["returned"] = len(self.echo.times)
        return found


@dataclass(slots=True)
class Report:
    """Everything a probe found, in the order in which it found it."""

    uri: str
    server: str | None = None
    software: str | None = None
    realm: str | None = None
    integrity: str | None = None
    reflexive: str | None = None
    relayed: list[str] = field(default_factory=list)
    lifetime: int | None = None
    tls: TlsFacts | None = None
    local: bool = False
    """The relay is on this machine, so that its way to others was not seen."""
    steps: list[Step] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """True when there was at least one step and every step worked."""
        return bool(self.steps) and all(step.ok for step in self.steps)

    def as_json(self) -> dict[str, Any]:
        """The report for programs; what was not found is null."""
        return {
            "ok": self.ok,
            "uri": self.uri,
            "server": self.server,
            "software": self.software,
            "realm": self.realm,
            "integrity": self.integrity,
            "reflexive": self.reflexive,
            "relayed": self.relayed,
            "lifetime": self.lifetime,
            "tls": None if self.tls is None else self.tls.as_json(),
            "round_trip_ms": {
                step.name: _milliseconds(step.seconds) for step in self.steps if step.ok and step.seconds is not None
            },
            "steps": [step.as_json() for step in self.steps],
        }


def _milliseconds(seconds: float) -> float:
    return round(seconds * 1000, 3)
