"""The server's messages: one class per type. `turnserver.signaling.protocol.base` describes what a class defines."""

from dataclasses import field
from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from turnserver.signaling.protocol.base import Delivery, FromPeer, News, NumberedReply, Reply, ServerMessage, message
from turnserver.signaling.protocol.errors import SignalCode
from turnserver.signaling.protocol.fields import (
    Candidate,
    ClientLimits,
    Data,
    Description,
    ErrorDetail,
    Ice,
    Identity,
    Media,
    Meta,
    Millis,
    Mode,
    Name,
    Number,
    PathEntry,
    Peer,
    PeerId,
    Role,
    RoomId,
    RoomState,
    ServerRecording,
    SomeId,
    SourceLayers,
    Spotlight,
    Text,
    Word,
    You,
)

__all__ = [
    "DiagVerdict",
    "Draining",
    "Error",
    "Goodbye",
    "HelloOk",
    "IceUpdate",
    "Invitation",
    "Joined",
    "Knock",
    "Layers",
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
    "RoleUpdate",
    "RoomInfo",
    "RoomUpdate",
    "Speaker",
    "Sync",
    "Welcome",
]

_Features = Annotated[tuple[Word, ...], Field(max_length=32)]
_Candidates = Annotated[tuple[Candidate | None, ...], Field(max_length=64)]


@message
class Welcome(ServerMessage):
    """The first frame on a socket. `cid` is the socket's id; times are in milliseconds."""

    t: Literal["welcome"] = "welcome"
    v: tuple[int, ...]
    feat: _Features
    limits: ClientLimits
    hb: Millis
    resume: Millis
    now: Millis
    cid: Word


@message
class HelloOk(Reply):
    """The session, new or resumed: `n` is the last counted message that the server has, `room` the room it is in."""

    t: Literal["hello_ok"] = "hello_ok"
    v: int
    sid: Word
    key: Annotated[str, StringConstraints(max_length=64)] = field(repr=False)
    cid: Word
    resumed: bool
    n: Annotated[int, Field(ge=0)]
    you: Identity
    room: RoomId | None = None


@message
class Pong(Reply):
    """The answer to `ping`: its `ts`, and the server's clock (Unix time in milliseconds)."""

    t: Literal["pong"] = "pong"
    ts: Number | None = None
    now: Millis


@message
class Goodbye(ServerMessage):
    """The last frame on the socket `cid`; `after` is how long to wait, in milliseconds."""

    t: Literal["goodbye"] = "goodbye"
    cid: Word
    code: SignalCode
    msg: Text
    reconnect: Literal["resume", "fresh", "never"]
    after: Millis = 0


@message
class Error(NumberedReply):
    """A refusal and its reason; `retry`: when to try again, in milliseconds."""

    t: Literal["error"] = "error"
    code: SignalCode
    msg: Text
    retry: Millis | None = None
    d: ErrorDetail | None = None


@message
class Ok(NumberedReply):
    """Success: the answer to a request whose type has no other answer."""

    t: Literal["ok"] = "ok"


@message
class RoomInfo(Reply):
    """The answer to `peek`. ``retry``: in a full room, how many milliseconds until this client can have a seat."""

    t: Literal["room_info"] = "room_info"
    exists: bool
    count: int
    max: int
    locked: bool
    knock: bool = False
    mode: Mode = "mesh"
    retry: int | None = None


@message
class Joined(NumberedReply):
    """The client has joined: the room's whole state, up to the `seq` `at`. Numbered: sent again after a resume."""

    delivery = Delivery.NEWS

    t: Literal["joined"] = "joined"
    room: RoomState
    you: You
    peers: tuple[Peer, ...]
    ice: Ice
    at: Annotated[int, Field(ge=0)]


@message
class Sync(ServerMessage):
    """A snapshot like `joined`, in place of lost notifications. `lost`: messages and descriptions may be lost too."""

    t: Literal["sync"] = "sync"
    room: RoomState
    you: You
    peers: tuple[Peer, ...]
    ice: Ice
    at: Annotated[int, Field(ge=0)]
    lost: bool = False


@message
class PeerJoin(News):
    """A participant has joined. If the id is known already, it replaces what is known of it."""

    t: Literal["peer_join"] = "peer_join"
    peer: Peer


@message
class PeerLeave(News):
    """A participant has left."""

    t: Literal["peer_leave"] = "peer_leave"
    id: PeerId
    reason: Literal["left", "timeout", "kicked", "replaced", "moved"]


@message
class PeerGap(News):
    """A peer's socket is lost; media may still flow. The peer is kept until `until` (Unix time in milliseconds)."""

    delivery = Delivery.PRESENCE
    replaces = "link"

    t: Literal["peer_gap"] = "peer_gap"
    id: PeerId
    until: Millis


@message
class PeerBack(News):
    """The peer has a socket again."""

    delivery = Delivery.PRESENCE
    replaces = "link"

    t: Literal["peer_back"] = "peer_back"
    id: PeerId


@message
class PeerUpdate(News):
    """A peer's current name, `meta`, media state and role, all of it."""

    delivery = Delivery.PRESENCE
    replaces = "update"

    t: Literal["peer_update"] = "peer_update"
    id: PeerId
    name: Name
    meta: Meta
    media: Media
    role: Role | None = None
    """Absent from servers in which roles do not change."""


@message
class RoomUpdate(News):
    """The room's lock, size, spotlight or mode has changed: all of it. Without `spotlight`, nobody is in it.

    `epoch` grows with every change of the mode. With `changing`, connections of the mode before are kept until another
    `room_update` comes without it. `unready` are participants who have not said `mode_ready` in time. `why` is a code
    for the cause of the last change, if it was not the number of participants. With `recording`, the server records the
    room; `unrecorded` says why it does so no more, or cannot, if nobody wanted that.
    """

    delivery = Delivery.PRESENCE
    replaces = "room"

    t: Literal["room_update"] = "room_update"
    locked: bool
    knock: bool = False
    max: int
    mode: Mode = "mesh"
    epoch: int = 1
    changing: bool | None = None
    unready: tuple[PeerId, ...] | None = None
    why: Word | None = None
    spotlight: Spotlight | None = None
    recording: ServerRecording | None = None
    unrecorded: Text | None = None


@message
class Speaker(News):
    """Who speaks, as the SFU hears it; without `peer`, nobody has for a while."""

    delivery = Delivery.PRESENCE
    replaces = "speaker"

    t: Literal["speaker"] = "speaker"
    peer: PeerId | None = None


@message
class Layers(ServerMessage):
    """Which layers of the client's pictures anybody receives, for all of its pictures: the rest need not be sent."""

    replaces = "layers"

    t: Literal["layers"] = "layers"
    list: tuple[SourceLayers, ...]


@message
class Draining(News):
    """The server is about to stop, at `until` (Unix time in milliseconds) at the latest. Rooms go on until then.

    No new room can be opened any more (the error `draining`); rooms that exist can be joined.
    """

    t: Literal["draining"] = "draining"
    until: Millis


@message
class Knock(News):
    """To hosts: a participant asks to be admitted; with `gone`, it no longer waits."""

    delivery = Delivery.PRESENCE
    replaces = "knock"

    t: Literal["knock"] = "knock"
    id: PeerId
    name: Name
    gone: bool | None = None


@message
class RoleUpdate(News):
    """The client's own role has changed. The others are told by `peer_update`."""

    delivery = Delivery.PRESENCE
    replaces = "role"

    t: Literal["role"] = "role"
    role: Role


@message
class Invitation(Reply):
    """A token for others: member of this room until `exp` (Unix time in seconds), for `uses` sessions."""

    t: Literal["invitation"] = "invitation"
    token: Annotated[str, StringConstraints(max_length=4096)] = field(repr=False)
    exp: int
    uses: int


@message
class Mute(FromPeer):
    """A host asks the client to stop sending audio or video, or sharing the screen."""

    t: Literal["mute"] = "mute"
    what: Literal["audio", "video", "screen"]


@message
class PeerDesc(FromPeer):
    """A peer's session description."""

    t: Literal["desc"] = "desc"
    pc: SomeId
    rpc: SomeId | None = None
    desc: Description
    restart: bool | None = None


@message
class PeerCand(FromPeer):
    """A peer's ICE candidates."""

    t: Literal["cand"] = "cand"
    pc: SomeId
    rpc: SomeId | None = None
    list: _Candidates


@message
class PeerReset(FromPeer):
    """A peer's connection is now `pc`: the client drops its own, unless it already belongs to `pc`.

    From the SFU: none of the connections with it exists any more.
    """

    t: Literal["reset"] = "reset"
    pc: SomeId
    why: Word = ""


@message
class PeerRestart(FromPeer):
    """A peer restarts ICE; the new ICE servers for it came in the frame before."""

    t: Literal["restart"] = "restart"
    why: Word = "user"


@message
class IceUpdate(NumberedReply):
    """New ICE servers, for `setConfiguration` on every connection at once."""

    t: Literal["ice"] = "ice"
    ice: Ice
    why: Word


@message
class DiagVerdict(Reply):
    """Why the connection fails: a code, and one sentence for a person.

    ``case`` is the sentence's name among those of the code, and ``tried`` are the transports that it names, so that a
    client can say it in another language.
    """

    t: Literal["diag"] = "diag"
    to: PeerId
    verdict: Word
    text: Annotated[str, StringConstraints(max_length=1024)]
    case: Word | None = None
    tried: Annotated[tuple[Word, ...], Field(max_length=8)] | None = None


@message
class Paths(ServerMessage):
    """What the server knows about the paths of the client's connections, for all peers in the room."""

    replaces = "paths"

    t: Literal["paths"] = "paths"
    list: tuple[PathEntry, ...]


@message
class PeerMsg(FromPeer):
    """A peer's message; `to` is present if it was sent to this client only."""

    t: Literal["msg"] = "msg"
    to: PeerId | None = None
    data: Data
