"""What the server says: one frozen dataclass per type. Import them from `turnserver.signaling.protocol.messages`."""

from dataclasses import dataclass, field
from typing import Annotated, Literal, TypeAlias

from pydantic import Field, StringConstraints

from turnserver.signaling.protocol.errors import ErrorCode
from turnserver.signaling.protocol.fields import (
    Candidate,
    Counter,
    Data,
    Description,
    ErrorDetail,
    Ice,
    Identity,
    Limits,
    Media,
    Meta,
    Millis,
    Name,
    Number,
    PathEntry,
    Peer,
    PeerId,
    RequestId,
    RoomId,
    RoomState,
    SomeId,
    Text,
    Word,
    You,
)

__all__ = [
    "DiagVerdict",
    "Error",
    "Goodbye",
    "HelloOk",
    "IceUpdate",
    "Joined",
    "Knock",
    "Mute",
    "Ok",
    "Paths",
    "PeerBack",
    "PeerCand",
    "PeerDesc",
    "PeerGap",
    "PeerJoin",
    "PeerLeave",
    "PeerMsg",
    "PeerReset",
    "PeerRestart",
    "PeerUpdate",
    "Pong",
    "RoomInfo",
    "RoomUpdate",
    "ServerMessage",
    "Sync",
    "Welcome",
]

_Features = Annotated[tuple[Word, ...], Field(max_length=32)]
_Candidates = Annotated[tuple[Candidate | None, ...], Field(max_length=64)]
_From = Annotated[PeerId, Field(alias="from")]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Answer:
    t: str = ""  # first on the wire, whatever follows
    re: RequestId | None = None
    seq: Counter | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _News:
    t: str = ""
    seq: Counter | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Welcome:
    """The first frame on a socket, whose name is `cid`; times in milliseconds."""

    t: Literal["welcome"] = "welcome"
    v: tuple[int, ...]
    feat: _Features
    limits: Limits
    hb: Millis
    resume: Millis
    now: Millis
    cid: Word


@dataclass(frozen=True, slots=True, kw_only=True)
class HelloOk:
    """The session: new or resumed, what the server has of the client's (`n`), and the room it is in."""

    t: Literal["hello_ok"] = "hello_ok"
    re: RequestId | None = None
    v: int
    sid: Word
    key: Annotated[str, StringConstraints(max_length=64)] = field(repr=False)
    cid: Word
    resumed: bool
    n: Annotated[int, Field(ge=0)]
    you: Identity
    room: RoomId | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Pong:
    """The answer to `ping`: its `ts`, and the server's clock (Unix time in milliseconds)."""

    t: Literal["pong"] = "pong"
    re: RequestId | None = None
    ts: Number | None = None
    now: Millis


@dataclass(frozen=True, slots=True, kw_only=True)
class Goodbye:
    """The last frame on the socket `cid`; `after` is how long to wait, in milliseconds."""

    t: Literal["goodbye"] = "goodbye"
    cid: Word
    code: ErrorCode
    msg: Text
    reconnect: Literal["resume", "fresh", "never"]
    after: Millis = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Error(_Answer):
    """No, and why; `retry` in milliseconds."""

    t: Literal["error"] = "error"
    code: ErrorCode
    msg: Text
    retry: Millis | None = None
    d: ErrorDetail | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Ok(_Answer):
    """Done: the answer to a request that has no answer of its own."""

    t: Literal["ok"] = "ok"


@dataclass(frozen=True, slots=True, kw_only=True)
class RoomInfo:
    """The answer to `peek`."""

    t: Literal["room_info"] = "room_info"
    re: RequestId | None = None
    exists: bool
    count: int
    max: int
    locked: bool
    knock: bool = False
    mode: Literal["mesh"] = "mesh"


@dataclass(frozen=True, slots=True, kw_only=True)
class Joined(_Answer):
    """You are in: everything there is to know, as of the server's `at`. Numbered: a resume brings it again."""

    t: Literal["joined"] = "joined"
    room: RoomState
    you: You
    peers: tuple[Peer, ...]
    ice: Ice
    at: Annotated[int, Field(ge=0)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sync:
    """What `joined` says, in place of news that are lost. `lost`: messages and descriptions may be lost as well."""

    t: Literal["sync"] = "sync"
    room: RoomState
    you: You
    peers: tuple[Peer, ...]
    ice: Ice
    at: Annotated[int, Field(ge=0)]
    lost: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerJoin(_News):
    """Somebody has come in; of somebody known already: forget what was."""

    t: Literal["peer_join"] = "peer_join"
    peer: Peer


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerLeave(_News):
    """Somebody is gone."""

    t: Literal["peer_leave"] = "peer_leave"
    id: PeerId
    reason: Literal["left", "timeout", "kicked", "replaced", "moved"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerGap(_News):
    """A peer's socket is lost, its media need not be; it is waited for until then (Unix time in milliseconds)."""

    t: Literal["peer_gap"] = "peer_gap"
    id: PeerId
    until: Millis


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerBack(_News):
    """That peer has a socket again."""

    t: Literal["peer_back"] = "peer_back"
    id: PeerId


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerUpdate(_News):
    """How a peer looks now, the whole of it."""

    t: Literal["peer_update"] = "peer_update"
    id: PeerId
    name: Name
    meta: Meta
    media: Media


@dataclass(frozen=True, slots=True, kw_only=True)
class RoomUpdate(_News):
    """The room's lock or size has changed."""

    t: Literal["room_update"] = "room_update"
    locked: bool
    knock: bool = False
    max: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Knock(_News):
    """To hosts: somebody waits to be admitted; with `gone`, waits no longer."""

    t: Literal["knock"] = "knock"
    id: PeerId
    name: Name
    gone: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Mute(_News):
    """A host asks you to stop sending that."""

    t: Literal["mute"] = "mute"
    from_: _From
    what: Literal["audio", "video"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerDesc(_News):
    """A peer's session description."""

    t: Literal["desc"] = "desc"
    from_: _From
    pc: SomeId
    rpc: SomeId | None = None
    desc: Description
    restart: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerCand(_News):
    """A peer's ICE candidates."""

    t: Literal["cand"] = "cand"
    from_: _From
    pc: SomeId
    rpc: SomeId | None = None
    list: _Candidates


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerReset(_News):
    """A peer's connection is now `pc`: drop yours, unless `pc` is the one you have."""

    t: Literal["reset"] = "reset"
    from_: _From
    pc: SomeId
    why: Word = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerRestart(_News):
    """A peer restarts ICE; the fresh ICE servers for it came just before."""

    t: Literal["restart"] = "restart"
    from_: _From
    why: Word = "user"


@dataclass(frozen=True, slots=True, kw_only=True)
class IceUpdate(_Answer):
    """Fresh ICE servers: `setConfiguration` on every connection, now."""

    t: Literal["ice"] = "ice"
    ice: Ice
    why: Word


@dataclass(frozen=True, slots=True, kw_only=True)
class DiagVerdict:
    """Why the connection fails: a code, and one sentence for a person."""

    t: Literal["diag"] = "diag"
    re: RequestId | None = None
    to: PeerId
    verdict: Word
    text: Annotated[str, StringConstraints(max_length=1024)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Paths:
    """What the server knows of your connections' paths, for all peers in the room."""

    t: Literal["paths"] = "paths"
    list: tuple[PathEntry, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerMsg(_News):
    """A peer's message; `to` is there if it was for you alone."""

    t: Literal["msg"] = "msg"
    from_: _From
    to: PeerId | None = None
    data: Data


ServerMessage: TypeAlias = (
    Welcome
    | HelloOk
    | Pong
    | Goodbye
    | Error
    | Ok
    | RoomInfo
    | Joined
    | Sync
    | PeerJoin
    | PeerLeave
    | PeerGap
    | PeerBack
    | PeerUpdate
    | RoomUpdate
    | Knock
    | Mute
    | PeerDesc
    | PeerCand
    | PeerReset
    | PeerRestart
    | IceUpdate
    | DiagVerdict
    | Paths
    | PeerMsg
)
