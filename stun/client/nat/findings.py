"""What is known of a NAT in the end, in the terms of RFC 4787 and RFC 5780."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from stun.address import Address

__all__ = ["Behavior", "Dependence", "Findings", "Lifetime", "ServerSeen", "Trial"]


class Dependence(StrEnum):
    """On what of the destination a mapping or a filter depends (RFC 4787 §4.1, §5)."""

    ENDPOINT_INDEPENDENT = "endpoint-independent"
    ADDRESS_DEPENDENT = "address-dependent"
    ADDRESS_AND_PORT_DEPENDENT = "address and port-dependent"


class Trial(StrEnum):
    """The result of a test that something passes or does not."""

    YES = "yes"
    NO = "no"


@dataclass(frozen=True, slots=True)
class Behavior:
    """A verdict: what is still possible after the test. One value is a verdict; none: it is not known.

    ``why`` says why it is not known, or not known better, or what the verdict rests on.
    """

    possible: tuple[Dependence | Trial, ...] = ()
    why: str = ""

    @property
    def decided(self) -> Dependence | Trial | None:
        """The verdict; None if there is none."""
        return self.possible[0] if len(self.possible) == 1 else None

    def is_only(self, *values: Dependence | Trial) -> bool:
        """True if all that is possible is among ``values``."""
        return bool(self.possible) and set(self.possible) <= set(values)


@dataclass(frozen=True, slots=True)
class Lifetime:
    """How long an idle binding lives, in seconds: longer than ``lower``, and at most ``upper``.

    ``upper`` is None if no binding expired within the search; both are None if nothing is known, for the reason
    ``why``; that is empty if nobody asked for a search. ``unsteady``: a binding outlived another that was idle for
    less time.
    """

    lower: float | None = None
    upper: float | None = None
    unsteady: bool = False
    why: str = ""


@dataclass(frozen=True, slots=True)
class ServerSeen:
    """A server that was asked: as which address it sees the client, and its other address (RFC 5780), if it has one.

    ``why`` says why it was of no use, or why its other address is not. ``useless``: something came from it that is no
    success response.
    """

    address: Address
    mapped: Address | None = None
    other: Address | None = None
    software: str | None = None
    why: str = ""
    useless: bool = False


@dataclass(slots=True)
class Findings:
    """Everything that was found out over one transport and family.

    ``asked`` is the server of the tests, ``local`` the client's own address of the first test and ``mapped`` what it
    becomes. ``rewriting``: YES if an application level gateway rewrites addresses in packets (RFC 5780 §3.6).
    """

    servers: Sequence[ServerSeen] = ()
    asked: ServerSeen | None = None
    local: Address | None = None
    mapped: Address | None = None
    mapping: Behavior = field(default_factory=Behavior)
    filtering: Behavior = field(default_factory=Behavior)
    hairpinning: Behavior = field(default_factory=Behavior)
    fragments: Behavior = field(default_factory=Behavior)
    rewriting: Behavior = field(default_factory=Behavior)
    lifetime: Lifetime = field(default_factory=Lifetime)

    @property
    def answered(self) -> bool:
        """True if a server has answered."""
        return self.asked is not None

    @property
    def translated(self) -> bool | None:
        """True if there is a NAT; None if no server has answered."""
        return None if self.mapped is None else self.mapped != self.local

    @property
    def port_preserved(self) -> bool | None:
        """True if the NAT kept the client's port (RFC 4787 §4.2.1); None without a NAT."""
        if self.mapped is None or self.local is None or not self.translated:
            return None
        return self.mapped.port == self.local.port
