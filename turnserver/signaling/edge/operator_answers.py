"""The answers to operators as types: numbers now, the last hour, the configuration in force."""

from typing import Annotated, Any, Literal

from pydantic import Field

from turnserver.signaling.edge.answers import AnswerBody

__all__ = [
    "CertificateDates",
    "ConfigAnswer",
    "HistoryAnswer",
    "KeyInUse",
    "ListenerNow",
    "LogLines",
    "PairPaths",
    "ParticipantsNow",
    "PortsNow",
    "RefusalCount",
    "RelayedTotals",
    "ServerLimits",
    "ServerStatusAnswer",
    "UsageNow",
]

_Count = Annotated[int, Field(ge=0)]


class KeyInUse(AnswerBody):
    """The key that has asked."""

    name: str
    scopes: list[str]


class UsageNow(AnswerBody):
    """A number and its limit; null if there is none."""

    used: _Count
    allowed: int | None


class ServerLimits(AnswerBody):
    """How far limits are used."""

    allocations: UsageNow
    connections: UsageNow
    rooms: UsageNow
    descriptors: UsageNow


class ParticipantsNow(AnswerBody):
    """Participants of rooms: those with a connection, those that may come back, those that wait for admission."""

    connected: _Count
    away: _Count
    waiting: _Count


class PairPaths(AnswerBody):
    """Pairs of participants by the path between them."""

    direct: _Count
    relay: _Count
    unknown: _Count


class PortsNow(AnswerBody):
    """The relay ports of one address."""

    address: str
    protocol: Literal["udp", "tcp"]
    used: _Count
    allowed: _Count


class RelayedTotals(AnswerBody):
    """What relays have carried since the start, in packets and bytes of payload."""

    packets_to_peers: _Count
    bytes_to_peers: _Count
    packets_to_client: _Count
    bytes_to_client: _Count
    dropped: _Count


class RefusalCount(AnswerBody):
    """Error answers of one kind since the start."""

    code: int
    cause: str
    times: _Count


class ListenerNow(AnswerBody):
    """A listener."""

    kind: str
    address: str
    transports: list[str]
    connections: _Count
    dropped: _Count


class CertificateDates(AnswerBody):
    """A certificate in use, and from when to when it is valid (Unix time)."""

    file: str
    not_before: float
    not_after: float


class LogLines(AnswerBody):
    """Lines of the log that were not written."""

    dropped: _Count
    withheld: _Count


class ServerStatusAnswer(AnswerBody):
    """The server in numbers. ``refused`` are Allocates, ``refusals`` the most frequent kinds for all methods."""

    key: KeyInUse
    version: str
    now: float
    started_at: float | None
    uptime: float
    draining: bool
    limits: ServerLimits
    participants: ParticipantsNow
    pairs: PairPaths
    ports: list[PortsNow]
    relayed: RelayedTotals
    opened: Annotated[int, Field(ge=0, description="Allocations since the start.")]
    refused: _Count
    failed_logins: _Count
    refusals: list[RefusalCount]
    listeners: list[ListenerNow]
    certificates: list[CertificateDates]
    faults: Annotated[int, Field(ge=0, description="Exceptions that nobody foresaw.")]
    log: LogLines


class HistoryAnswer(AnswerBody):
    """The last hour: lists of equal length, the oldest sample first; null where nothing was before a sample."""

    interval: Annotated[float, Field(description="Seconds between two samples.")]
    at: Annotated[list[float], Field(description="When each was taken (Unix time).")]
    allocations: list[int]
    rooms: list[int]
    participants: list[int]
    bits_to_peers: Annotated[list[float | None], Field(description="In bit/s.")]
    bits_to_client: Annotated[list[float | None], Field(description="In bit/s.")]
    refused: Annotated[list[int | None], Field(description="Allocates refused since the sample before.")]
    dropped: Annotated[list[int | None], Field(description="Packets dropped since the sample before.")]
    loop_lag: Annotated[list[float | None], Field(description="How late timers were on average, in seconds.")]


class ConfigAnswer(AnswerBody):
    """Every option with its value, in the structure of the configuration file; secrets are masked."""

    config: dict[str, Any]
