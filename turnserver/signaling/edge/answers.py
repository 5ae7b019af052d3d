"""The answers of the HTTP API as types: the OpenAPI document describes them, and the tests hold real answers to them.

Times are Unix time in seconds. Programs should ignore fields that they do not know, so the document does not forbid
them; the types do.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

__all__ = [
    "AnswerBody",
    "DrainAnswer",
    "ErrorAnswer",
    "ErrorText",
    "ForwardedStream",
    "PairBytes",
    "PairCandidates",
    "PairReports",
    "PairStatistics",
    "PeerMedia",
    "PeerSources",
    "PeerTurn",
    "ProbeAnswer",
    "ProbedPort",
    "RecordingAnswer",
    "RoomAnswer",
    "RoomMedia",
    "RoomPair",
    "RoomPeer",
    "RoomSummary",
    "RoomsAnswer",
    "SentLayer",
    "SentTrack",
    "StatusAnswer",
    "TokenAnswer",
    "TurnAnswer",
    "TurnRefusal",
]


def _stays_open(schema: dict[str, Any]) -> None:
    schema.pop("additionalProperties", None)
    schema.pop("title", None)


class AnswerBody(BaseModel):
    """What all answers and their parts have in common."""

    model_config = ConfigDict(extra="forbid", json_schema_extra=_stays_open)


_Count = Annotated[int, Field(ge=0)]
_Proto = Literal["udp", "tcp", "tls", "dtls"] | None
_Path = Literal["direct", "relay", "unknown"]


class ErrorText(AnswerBody):
    """An error: a code for programs, which never changes, and a sentence for people."""

    code: str
    msg: str


class ErrorAnswer(AnswerBody):
    """What every request that is refused is answered with."""

    error: ErrorText


class StatusAnswer(AnswerBody):
    """Whether the server works, or takes new clients."""

    status: Literal["ok", "ready", "draining"]


class TurnAnswer(AnswerBody):
    """A TURN credential, in the format of draft-uberti-behave-turn-rest."""

    username: str
    password: str
    ttl: Annotated[int, Field(ge=1, description="Seconds in which allocations can be made with it.")]
    uris: Annotated[list[str], Field(description="TURN URLs (RFC 7065).")]


class TokenAnswer(AnswerBody):
    """A room token. ``path`` is that of the link to the room, and missing if the token is for every room."""

    token: str
    room: str
    role: Literal["host", "member"]
    expires_at: int
    path: str = ""


class ProbedPort(AnswerBody):
    """What came of a Binding request to a port. ``detail`` says more, for people; ``seconds`` is how long it took."""

    protocol: Literal["udp", "tcp", "tls"]
    port: int
    outcome: Annotated[
        Literal["answered", "refused", "silent", "untrusted", "failed"],
        Field(description="untrusted: the certificate does not pass; failed: what answers is no STUN server."),
    ]
    detail: str = ""
    seconds: float | None = None


class ProbeAnswer(AnswerBody):
    """A host as this server sees it: its address, what came of each port, and the time here."""

    client: str
    time: Annotated[float, Field(description="Unix time of this server, to compare clocks.")]
    ports: list[ProbedPort]


class RoomSummary(AnswerBody):
    """A room in short."""

    id: str
    created: float
    count: Annotated[int, Field(ge=0, description="Participants.")]
    max: Annotated[int, Field(description="Participants, at most.")]
    mode: Literal["mesh", "sfu"]
    locked: bool
    knock: Annotated[bool, Field(description="Whether a host may admit participants to it while it is locked.")]
    waiting: Annotated[int, Field(ge=0, description="How many wait to be admitted.")]
    recorded: Annotated[float | None, Field(description="Since when the server records it.")]


class RoomsAnswer(AnswerBody):
    """Every room."""

    rooms: list[RoomSummary]


class PeerSources(AnswerBody):
    """Whether a participant sends its voice (a), a picture (v), and a screen (s)."""

    a: Literal[0, 1]
    v: Literal[0, 1]
    s: Literal[0, 1]


class TurnRefusal(AnswerBody):
    """An Allocate or Refresh request that was refused, and how many times."""

    code: int
    reason: str
    proto: _Proto
    times: int
    at: float


class PeerTurn(AnswerBody):
    """A participant's use of this server's relays."""

    user: str
    allocations: _Count
    protos: list[Literal["udp", "tcp", "tls", "dtls"]]
    relayed: list[str]
    bytes_up: _Count
    bytes_down: _Count
    refused: list[TurnRefusal]


class RoomPeer(AnswerBody):
    """A participant."""

    id: str
    name: str
    role: Literal["host", "member"]
    joined: float
    connected: bool
    media: PeerSources
    turn: PeerTurn


class PairBytes(AnswerBody):
    """Payload bytes that relays of this server have carried."""

    a_to_b: _Count
    b_to_a: _Count


class PairCandidates(AnswerBody):
    """The types of the candidates that each end has sent to the other."""

    a: list[str]
    b: list[str]


class PairStatistics(AnswerBody):
    """What one end has measured and told last (the message `stat`)."""

    path: _Path
    proto: str | None
    rtt: float | None
    rx: float | None
    tx: float | None
    loss: float | None
    fps: float | None
    w: float | None


class PairReports(AnswerBody):
    """What each end has reported."""

    a: PairStatistics | None
    b: PairStatistics | None


class RoomPair(AnswerBody):
    """Two participants, and the path between them. ``seen_by`` is the source of what is said of it."""

    a: str
    b: str
    path: _Path
    proto: str | None
    seen_by: Literal["server", "clients"] | None
    relay_of: Literal["a", "b", "both"] | None
    bytes: PairBytes
    relayed: list[str]
    candidates: PairCandidates
    reports: PairReports


class SentLayer(AnswerBody):
    """One stream of a track; ``nacks`` and ``plis`` are packets and keyframes that the server asked for again."""

    rid: str
    bitrate: Annotated[int, Field(description="In bit/s.")]
    height: _Count
    packets: _Count
    lost: int
    nacks: _Count
    plis: _Count


class SentTrack(AnswerBody):
    """What a participant sends of one source."""

    source: str
    codec: str
    muted: bool
    layers: list[SentLayer]


class ForwardedStream(AnswerBody):
    """What a participant is sent; ``rid`` is null while it is paused."""

    peer: str
    source: str
    rid: str | None
    temporal: int
    packets: _Count
    nacked: _Count
    repeated: _Count


class PeerMedia(AnswerBody):
    """A participant in the SFU; ``estimate`` and ``sending`` are in bit/s."""

    id: str
    publishing: bool
    subscribing: bool
    estimate: _Count
    sending: _Count
    tracks: list[SentTrack]
    forwarded: list[ForwardedStream]


class RoomMedia(AnswerBody):
    """What the SFU has of a room."""

    epoch: int
    speaker: str | None
    packets_in: _Count
    packets_out: _Count
    peers: list[PeerMedia]


class RoomAnswer(RoomSummary):
    """A room with its participants, and the path of each pair. ``media`` is null without the SFU."""

    peers: list[RoomPeer]
    pairs: list[RoomPair]
    media: RoomMedia | None


class RecordingAnswer(AnswerBody):
    """The room that the server has begun to record."""

    room: str


class DrainAnswer(AnswerBody):
    """What is left of a server that drains. It stops at ``until`` at the latest."""

    draining: Literal[True]
    allocations: _Count
    rooms: _Count
    until: int
