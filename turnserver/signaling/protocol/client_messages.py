"""The messages of clients: one class per type. `turnserver.signaling.protocol.base` describes what a class defines."""

from dataclasses import field, replace
from typing import Annotated, Literal, TypeAlias

from pydantic import Field, StringConstraints

from turnserver.signaling.protocol.base import ClientMessage, Counted, FromPeer, Rate, Relayed, message
from turnserver.signaling.protocol.fields import (
    MAX_HEIGHT,
    MAX_TILES,
    MAX_USES,
    Candidate,
    CandidateTypes,
    ClientInfo,
    Data,
    Description,
    IceError,
    Media,
    MediaSource,
    Meta,
    Name,
    Number,
    PeerId,
    Resume,
    RoomId,
    ShownTile,
    SomeId,
    Text,
    Word,
)
from turnserver.signaling.protocol.server_messages import (
    DiagVerdict,
    HelloOk,
    IceUpdate,
    Invitation,
    Joined,
    PeerCand,
    PeerDesc,
    PeerMsg,
    PeerReset,
    Pong,
    RoomInfo,
)

__all__ = [
    "Bye",
    "Cand",
    "Choose",
    "Desc",
    "Diag",
    "Hello",
    "IceGet",
    "Invite",
    "Join",
    "Leave",
    "Mod",
    "ModeReady",
    "Msg",
    "Operation",
    "Peek",
    "Ping",
    "Reset",
    "Restart",
    "Stat",
    "Update",
]

_Features = Annotated[tuple[Word, ...], Field(max_length=32)]
_Candidates = Annotated[tuple[Candidate | None, ...], Field(max_length=64)]


@message
class Hello(ClientMessage):
    """The first message on a socket: opens a new session, or resumes one (`resume`)."""

    answer = HelloOk

    t: Literal["hello"] = "hello"
    v: Annotated[int, Field(ge=0, le=2**53 - 1)]
    feat: _Features = ()
    token: Annotated[str, StringConstraints(max_length=8192)] | None = field(default=None, repr=False)
    client: ClientInfo | None = None
    resume: Resume | None = None


@message
class Ping(ClientMessage):
    """Keepalive; also carries `ack` when the client has nothing else to send."""

    answer = Pong

    t: Literal["ping"] = "ping"
    ts: Number | None = None


@message
class Bye(ClientMessage):
    """End the session now; with `keep`, if nobody resumes it in so many milliseconds (a page that is reloaded does)."""

    t: Literal["bye"] = "bye"
    keep: Annotated[int, Field(ge=0, le=60_000)] | None = None


@message
class Peek(ClientMessage):
    """Asks how many participants a room has."""

    answer = RoomInfo

    t: Literal["peek"] = "peek"
    room: RoomId


@message
class Join(ClientMessage):
    """Join a room. In the room that the client has joined already: get a new snapshot.

    `mode`: `mesh` for clients that know only meshes, and `auto` for those that follow the room's mode.
    """

    answer = Joined

    t: Literal["join"] = "join"
    room: RoomId
    name: Name = ""
    meta: Meta = field(default_factory=dict)
    media: Media = field(default_factory=Media)
    mode: Word = "mesh"


@message
class Leave(ClientMessage):
    """Leave the room; the session stays open."""

    t: Literal["leave"] = "leave"


@message
class Update(Counted):
    """Change the own name, `meta` or media state; absent fields stay as they are."""

    t: Literal["update"] = "update"
    name: Name | None = None
    meta: Meta | None = None
    media: Media | None = None


@message
class Desc(Relayed):
    """A session description for one peer, or for the SFU: then `sources` says what the media sections carry, by `mid`.

    A section that `sources` does not name is audio or camera, by its kind.
    """

    rate = Rate.DEBT
    becomes = PeerDesc

    t: Literal["desc"] = "desc"
    to: SomeId
    pc: SomeId
    rpc: SomeId | None = None
    desc: Description
    restart: bool | None = None
    sources: Annotated[dict[Word, MediaSource], Field(max_length=16)] | None = None

    def relayed(self, sender: PeerId, receiver: PeerId | None) -> FromPeer:
        """`Relayed.relayed`; a false ``restart`` is omitted."""
        found = replace(self, restart=self.restart or None)
        return Relayed.relayed(found, sender, receiver)


@message
class Cand(Relayed):
    """ICE candidates for one peer, or for the SFU; null means end of candidates."""

    rate = Rate.BYTES
    becomes = PeerCand

    t: Literal["cand"] = "cand"
    to: SomeId
    pc: SomeId
    rpc: SomeId | None = None
    list: _Candidates


@message
class Reset(Relayed):
    """Tells one peer that the sender has replaced its connection: the peer drops its own.

    To the SFU: the connection through which it sends has to be offered anew.
    """

    becomes = PeerReset

    t: Literal["reset"] = "reset"
    to: SomeId
    pc: SomeId
    why: Word = ""


@message
class IceGet(ClientMessage):
    """Asks for new ICE servers."""

    answer = IceUpdate

    t: Literal["ice_get"] = "ice_get"
    why: Word = ""


@message
class Restart(Counted):
    """Asks for new ICE servers for both ends, then tells the peer that the sender restarts ICE."""

    answer = IceUpdate

    t: Literal["restart"] = "restart"
    to: SomeId
    why: Word = "user"


@message
class Stat(ClientMessage):
    """The client's measurements of its connection with one peer; ``took`` is how long it took to connect, in ms."""

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
    took: Number | None = None


@message
class Diag(ClientMessage):
    """Asks why the connection with one peer fails, with the client's observations."""

    answer = DiagVerdict

    t: Literal["diag"] = "diag"
    to: SomeId
    states: Annotated[tuple[Annotated[str, StringConstraints(max_length=64)], ...], Field(max_length=64)] = ()
    cands: CandidateTypes = field(default_factory=CandidateTypes)
    errors: Annotated[tuple[IceError, ...], Field(max_length=64)] = ()


@message
class Invite(ClientMessage):
    """Asks for a member's token for the room, valid for `ttl` seconds, to open `uses` sessions. For hosts."""

    answer = Invitation

    t: Literal["invite"] = "invite"
    ttl: Annotated[int, Field(ge=60, le=604_800)] = 86_400
    uses: Annotated[int, Field(ge=1, le=MAX_USES)] = 20


Operation: TypeAlias = Literal[
    "kick", "ban", "mute", "lock", "unlock", "cap", "admit", "host", "member", "close", "spotlight", "record"
]
"""What a host may do."""


@message
class Mod(Counted):
    """A moderation action of a host."""

    t: Literal["mod"] = "mod"
    op: Operation
    to: SomeId | None = None
    value: Annotated[int, Field(ge=0, le=1000)] | Word | None = None
    reason: Text = ""


@message
class Msg(Relayed):
    """Application data, to one peer or to all."""

    rate = Rate.BYTES
    becomes = PeerMsg
    needs = "message"

    t: Literal["msg"] = "msg"
    to: SomeId | None = None
    data: Data


@message
class ModeReady(ClientMessage):
    """The client has the connections of the room's new mode, and decodes what comes through them."""

    t: Literal["mode_ready"] = "mode_ready"
    epoch: Annotated[int, Field(ge=0, le=2**53 - 1)] = 0


@message
class Choose(ClientMessage):
    """Which pictures the client wants of the SFU, and how large: all of it, in place of what it has said before.

    At most `last` pictures come, those of who spoke last, without the pinned ones; absent for no limit. `tiles` are in
    the order of their importance, and `others` is the height of the pictures that are not named.
    """

    t: Literal["choose"] = "choose"
    last: Annotated[int, Field(ge=0, le=1000)] | None = None
    others: Annotated[int, Field(ge=0, le=MAX_HEIGHT)] = MAX_HEIGHT
    tiles: Annotated[tuple[ShownTile, ...], Field(max_length=MAX_TILES)] = ()
