"""The parts of messages: bounded strings and numbers, and small composite values.

Everything that a client can send has a bound here, so that a valid message is small.
"""

import math
from dataclasses import dataclass, field
from typing import Annotated, Any, Final, Literal, get_args

from pydantic import AfterValidator, Field, StringConstraints
from pydantic_core import PydanticCustomError, to_json

__all__ = [
    "MAX_DATA",
    "MAX_FRAME",
    "MAX_HEIGHT",
    "MAX_META",
    "MAX_NAME",
    "MAX_SDP",
    "MAX_TILES",
    "MAX_USES",
    "RELAY_TRANSPORTS",
    "Candidate",
    "CandidateTypes",
    "Cap",
    "Caps",
    "ClientInfo",
    "ClientLimits",
    "Counter",
    "Data",
    "Description",
    "ErrorDetail",
    "Ice",
    "IceError",
    "IceServer",
    "Identity",
    "Media",
    "MediaSource",
    "Meta",
    "Millis",
    "Mode",
    "Name",
    "Number",
    "PathEntry",
    "PathKind",
    "Peer",
    "PeerId",
    "RelayTransport",
    "RequestId",
    "Resume",
    "Role",
    "RoomId",
    "RoomState",
    "SenderId",
    "ShownTile",
    "SomeId",
    "SourceLayers",
    "Spotlight",
    "Text",
    "Word",
    "You",
    "freeform",
]

Mode = Literal["mesh", "sfu"]
"""How the media of a room go: from each participant to each other, or through the server's SFU."""

MediaSource = Literal["audio", "camera", "screen", "screen_audio"]
"""What a participant sends through the SFU."""

PathKind = Literal["relay", "direct", "unknown"]
"""Whether media of two participants pass a relay."""

# Written out because these are words of the protocol, whose Python clients have no server and so no `ClientTransport`.
# The tests of `turnserver.signaling.truth.userfacts` compare the two.
RelayTransport = Literal["udp", "tcp", "tls"]
"""How a client reaches its relay: the transport of the 5-tuple."""

RELAY_TRANSPORTS: Final[tuple[RelayTransport, ...]] = get_args(RelayTransport)
"""By distance from plain UDP."""

MAX_FRAME: Final = 65_536
"""Maximum size of one frame in bytes of UTF-8, in both directions."""

MAX_SDP: Final = 56 * 1024
MAX_DATA: Final = 4096
MAX_META: Final = 2048
MAX_NAME: Final = 64
MAX_HEIGHT: Final = 8192
"""Maximum height of a picture that a client can ask for, in pixels."""
MAX_TILES: Final = 64
"""Pictures that a client can name at one time: more than any screen shows legibly."""

_MAX_DEPTH: Final = 16
_SAFE: Final = 2**53 - 1
"""The largest integer that JavaScript represents exactly."""


def freeform(limit: int) -> AfterValidator:
    """Check free-form JSON: at most ``limit`` bytes in compact form, 16 levels, finite numbers, safe integers."""

    def check(value: Any) -> Any:
        _plain(value, _MAX_DEPTH)
        if len(to_json(value)) > limit:
            raise PydanticCustomError("too_large", "more than {limit} bytes", {"limit": limit})
        return value

    return AfterValidator(check)


def _plain(value: Any, depth: int) -> None:
    if depth == 0:
        raise PydanticCustomError("too_deep", "nested too deeply")
    if isinstance(value, float) and not math.isfinite(value):
        raise PydanticCustomError("not_finite", "not a finite number")
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) > _SAFE:
        raise PydanticCustomError("not_safe", "an integer beyond 2^53")
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        _plain(inner, depth - 1)


RequestId = Annotated[str, StringConstraints(min_length=1, max_length=32)]
Counter = Annotated[int, Field(ge=1, le=_SAFE)]
"""`n` and `seq`: from 1 up."""
Millis = Annotated[int, Field(ge=0, le=_SAFE)]
"""Unix time or a duration, in milliseconds."""
_MOST: Final = 10**15
Number = Annotated[int, Field(ge=-_MOST, le=_MOST)] | Annotated[float, Field(ge=-_MOST, le=_MOST)]
Word = Annotated[str, StringConstraints(max_length=32)]
Text = Annotated[str, StringConstraints(max_length=256)]
SomeId = Annotated[str, StringConstraints(min_length=1, max_length=32)]
"""A peer or a connection, as named by a client: it may not exist."""
PeerId = Annotated[str, StringConstraints(pattern=r"^[a-z2-7]{10}$")]
SenderId = Annotated[str, StringConstraints(pattern=r"^([a-z2-7]{10}|sfu)$")]
"""A participant, or the SFU."""
RoomId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
Name = Annotated[str, StringConstraints(max_length=MAX_NAME, pattern=r"^[^\u0000-\u001f\u007f]*$")]
"""A name to show: no control characters."""
Meta = Annotated[
    dict[str, Any],
    Field(max_length=64, description=f"The application's own: at most {MAX_META} bytes of compact JSON, 16 levels."),
    freeform(MAX_META),
]
Data = Annotated[
    Any,
    Field(description=f"Any JSON: at most {MAX_DATA} bytes as compact JSON, 16 levels."),
    freeform(MAX_DATA),
]
_Flag = Annotated[int, Field(ge=0, le=1)]
MAX_USES: Final = 100
"""Maximum number of sessions that a token with a number of uses opens."""

Role = Literal["host", "member"]
Cap = Literal["publish", "screen", "message"]
Caps = Annotated[tuple[Cap, ...], Field(max_length=3)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Media:
    """The media that a participant sends: audio (`a`), video (`v`), screen (`s`). 1 is on."""

    a: _Flag = 0
    v: _Flag = 0
    s: _Flag = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientInfo:
    """The name and version of the client program, for the log."""

    name: Annotated[str, StringConstraints(max_length=64)] = ""
    ver: Word = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Resume:
    """The session to resume: its id, the key of the last `hello_ok`, and the highest `seq` handled."""

    sid: Annotated[str, StringConstraints(max_length=64)]
    key: Annotated[str, StringConstraints(max_length=128)] = field(repr=False)
    seq: Annotated[int, Field(ge=0, le=_SAFE)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Description:
    """A session description, never rewritten."""

    type: Literal["offer", "answer", "pranswer", "rollback"]
    sdp: Annotated[str, StringConstraints(max_length=MAX_SDP)] = field(default="", repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """One ICE candidate, as `RTCIceCandidate.toJSON()` writes it."""

    candidate: Annotated[str, StringConstraints(max_length=1024)]
    sdpMid: Annotated[str, StringConstraints(max_length=64)] | None = None
    sdpMLineIndex: Annotated[int, Field(ge=0, le=65535)] | None = None
    usernameFragment: Annotated[str, StringConstraints(max_length=256)] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CandidateTypes:
    """The candidate types that one end knows: its own, and those of the peer."""

    local: Annotated[tuple[Word, ...], Field(max_length=64)] = ()
    remote: Annotated[tuple[Word, ...], Field(max_length=64)] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class IceError:
    """An `icecandidateerror`."""

    code: Annotated[int, Field(ge=0, le=65535)] = 0
    url: Text = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class IceServer:
    """One entry of `RTCConfiguration.iceServers`."""

    urls: Annotated[tuple[Annotated[str, StringConstraints(max_length=512)], ...], Field(max_length=16)]
    username: Annotated[str, StringConstraints(max_length=512)]
    credential: Annotated[str, StringConstraints(max_length=512)] = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ice:
    """ICE servers. Until `exp` (Unix time in seconds), their credentials can make allocations."""

    servers: Annotated[tuple[IceServer, ...], Field(max_length=16)]
    exp: Annotated[int, Field(ge=0, le=_SAFE)]
    policy: Literal["all", "relay"] = "all"


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientLimits:
    """The server's limits.

    `msg`: bytes of a frame. `rate`, `burst`: messages per second, and at once. `name`: characters. `meta`, `data`:
    bytes of compact JSON. `sdp`: characters of a description.
    """

    msg: int
    rate: Number
    burst: int
    name: int
    meta: int
    data: int
    sdp: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """The id, role and capabilities of a session, independent of its room."""

    id: PeerId
    role: Role
    caps: Caps


@dataclass(frozen=True, slots=True, kw_only=True)
class You:
    """The receiver's own entry in the room; `name` and `media` as the others see them."""

    id: PeerId
    role: Role
    name: Name
    caps: Caps
    media: Media


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """Another participant of the room.

    `polite` and `start` are the client's roles towards this peer: whether it is the polite one of the pair (it gives
    way when offers collide), and whether it sends the first offer. `since` is when the peer joined. `gap` is present
    if the peer's socket is lost: the peer may come back until then. Both are Unix time in milliseconds.
    """

    id: PeerId
    name: Name
    meta: Meta
    media: Media
    role: Role
    since: Millis
    polite: bool
    start: bool
    gap: Millis | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Spotlight:
    """What a host (`by`) shows large to everybody: the camera or the shared screen of a participant (`id`)."""

    id: PeerId
    what: Literal["camera", "screen"]
    by: PeerId


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerRecording:
    """The server records the room: `since` when (Unix time in milliseconds), and `by` which host, if it was one."""

    since: Millis
    by: PeerId | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RoomState:
    """A room. `locked`: nobody else can join; with `knock`, a host can admit those who ask.

    `mode`, `epoch`, `changing`, `unready` and `why` are those of `room_update`, `speaker` is that of `speaker`. With
    `recording`, the server records all that participants send.
    """

    id: RoomId
    max: int
    mode: Mode
    epoch: int
    changing: bool | None = None
    unready: tuple[PeerId, ...] | None = None
    why: Word | None = None
    locked: bool
    knock: bool = False
    spotlight: Spotlight | None = None
    speaker: PeerId | None = None
    recording: ServerRecording | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownTile:
    """How the client shows one picture. `h`: its height in pixels, 0 if it is not seen. `pin`: before others."""

    id: SomeId
    what: Literal["camera", "screen"] = "camera"
    h: Annotated[int, Field(ge=0, le=MAX_HEIGHT)]
    pin: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceLayers:
    """The layers (`rids`) of one picture of the client that somebody receives; none if nobody receives the picture."""

    what: Literal["camera", "screen"]
    rids: Annotated[tuple[Word, ...], Field(max_length=8)]


@dataclass(frozen=True, slots=True, kw_only=True)
class PathEntry:
    """What the server knows of the path to one peer: `tx`, `rx`: bytes relayed from the client and to it."""

    id: PeerId
    path: PathKind
    proto: RelayTransport | None = None
    by: Literal["you", "peer", "both"] | None = None
    tx: int = 0
    rx: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorDetail:
    """What an error is about: the field, the server's versions or modes, the room's size, the refused message's `n`."""

    path: Annotated[str, StringConstraints(max_length=128)] | None = None
    v: tuple[int, ...] | None = None
    max: int | None = None
    modes: tuple[Word, ...] | None = None
    n: Counter | None = None
