"""What clients say: one frozen dataclass per type. `turnserver.signaling.protocol.messages` is where to import from."""

from dataclasses import dataclass, field
from typing import Annotated, Literal, TypeAlias

from pydantic import Field, StringConstraints

from turnserver.signaling.protocol.fields import (
    Candidate,
    CandidateTypes,
    ClientInfo,
    Counter,
    Data,
    Description,
    IceError,
    Media,
    Meta,
    Name,
    Number,
    RequestId,
    Resume,
    RoomId,
    SomeId,
    Text,
    Word,
)

__all__ = [
    "Bye",
    "Cand",
    "ClientMessage",
    "Counted",
    "Desc",
    "Diag",
    "Hello",
    "IceGet",
    "Join",
    "Leave",
    "Mod",
    "ModeReady",
    "Msg",
    "Peek",
    "Ping",
    "Reset",
    "Restart",
    "Stat",
    "Update",
]

_Features = Annotated[tuple[Word, ...], Field(max_length=32)]
_Candidates = Annotated[tuple[Candidate | None, ...], Field(max_length=64)]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Said:
    t: str = ""  # first on the wire, whatever follows
    id: RequestId | None = None
    ack: Annotated[int, Field(ge=0, le=2**53 - 1)] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Counted(_Said):
    """What is handled exactly once: `n` goes up by one with every such message of a session."""

    n: Counter


@dataclass(frozen=True, slots=True, kw_only=True)
class Hello(_Said):
    """The first message on a socket: a new session, or (with `resume`) an old one."""

    t: Literal["hello"] = "hello"
    v: Annotated[int, Field(ge=0, le=2**53 - 1)]
    feat: _Features = ()
    token: Annotated[str, StringConstraints(max_length=8192)] | None = field(default=None, repr=False)
    client: ClientInfo | None = None
    resume: Resume | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Ping(_Said):
    """Are you there? And a way to acknowledge when there is nothing else to say."""

    t: Literal["ping"] = "ping"
    ts: Number | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Bye(_Said):
    """End the session now."""

    t: Literal["bye"] = "bye"


@dataclass(frozen=True, slots=True, kw_only=True)
class Peek(_Said):
    """How many are in that room?"""

    t: Literal["peek"] = "peek"
    room: RoomId


@dataclass(frozen=True, slots=True, kw_only=True)
class Join(_Said):
    """Enter a room. For the room one is in already: a fresh snapshot."""

    t: Literal["join"] = "join"
    room: RoomId
    name: Name = ""
    meta: Meta = field(default_factory=dict)
    media: Media = field(default_factory=Media)
    mode: Word = "mesh"


@dataclass(frozen=True, slots=True, kw_only=True)
class Leave(_Said):
    """Go out of the room; the session goes on."""

    t: Literal["leave"] = "leave"


@dataclass(frozen=True, slots=True, kw_only=True)
class Update(Counted):
    """Change how the others see you; what is absent stays."""

    t: Literal["update"] = "update"
    name: Name | None = None
    meta: Meta | None = None
    media: Media | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Desc(Counted):
    """A session description for one peer."""

    t: Literal["desc"] = "desc"
    to: SomeId
    pc: SomeId
    rpc: SomeId | None = None
    desc: Description
    restart: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Cand(Counted):
    """ICE candidates for one peer; null is the end of them."""

    t: Literal["cand"] = "cand"
    to: SomeId
    pc: SomeId
    rpc: SomeId | None = None
    list: _Candidates


@dataclass(frozen=True, slots=True, kw_only=True)
class Reset(Counted):
    """ "I rebuilt my connection: drop yours"."""

    t: Literal["reset"] = "reset"
    to: SomeId
    pc: SomeId
    why: Word = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class IceGet(_Said):
    """Fresh ICE servers, please."""

    t: Literal["ice_get"] = "ice_get"
    why: Word = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Restart(Counted):
    """Fresh ICE servers to both of us, then tell that peer that I restart ICE."""

    t: Literal["restart"] = "restart"
    to: SomeId
    why: Word = "user"


@dataclass(frozen=True, slots=True, kw_only=True)
class Stat(_Said):
    """How the connection with one peer does, as the client measures it."""

    t: Literal["stat"] = "stat"
    to: SomeId
    path: Literal["direct", "relay", "unknown"] = "unknown"
    proto: Word | None = None
    rtt: Number | None = None
    rx: Number | None = None
    tx: Number | None = None
    loss: Number | None = None
    fps: Number | None = None
    w: Number | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Diag(_Said):
    """Why does this connection fail? Here is what I see."""

    t: Literal["diag"] = "diag"
    to: SomeId
    states: Annotated[tuple[Annotated[str, StringConstraints(max_length=64)], ...], Field(max_length=64)] = ()
    cands: CandidateTypes = field(default_factory=CandidateTypes)
    errors: Annotated[tuple[IceError, ...], Field(max_length=64)] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Mod(Counted):
    """A host's word."""

    t: Literal["mod"] = "mod"
    op: Literal["kick", "ban", "mute", "lock", "unlock", "cap", "admit"]
    to: SomeId | None = None
    value: Annotated[int, Field(ge=0, le=1000)] | Word | None = None
    reason: Text = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Msg(Counted):
    """Anything, to one peer or to all."""

    t: Literal["msg"] = "msg"
    to: SomeId | None = None
    data: Data


@dataclass(frozen=True, slots=True, kw_only=True)
class ModeReady(_Said):
    """Reserved for rooms that change their mode; there is only the mesh."""

    t: Literal["mode_ready"] = "mode_ready"
    epoch: Annotated[int, Field(ge=0, le=2**53 - 1)] = 0


ClientMessage: TypeAlias = (
    Hello
    | Ping
    | Bye
    | Peek
    | Join
    | Leave
    | Update
    | Desc
    | Cand
    | Reset
    | IceGet
    | Restart
    | Stat
    | Diag
    | Mod
    | Msg
    | ModeReady
)
