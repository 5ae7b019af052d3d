"""The state of a session and of a socket, and the key that allows a client to resume a session."""

from collections import deque
from hmac import compare_digest
from typing import Final, cast

from turnserver.signaling.protocol.errors import SignalCode
from turnserver.signaling.protocol.fields import Caps, Identity, Role
from turnserver.signaling.rooms.outbox import Outbox
from turnserver.signaling.rooms.settings import Doorway, Grant, HubBounds
from turnserver.throttle import Bucket, Flood, prefix_of

__all__ = ["ClientPace", "Connection", "Session"]

_JOIN_WINDOW: Final = 60.0


class ClientPace:
    """The rate limits of one client."""

    def __init__(self, bounds: HubBounds, mono: float) -> None:
        self.frames = Bucket(bounds.rate, bounds.burst, mono)
        self.relayed = Bucket(bounds.relay_rate, bounds.relay_burst, mono)
        self.joins = Bucket(bounds.joins_per_minute / _JOIN_WINDOW, bounds.joins_per_minute, mono)
        self.flood = Flood()


class Connection:
    """One socket. ``name`` is its `cid` on the wire; `direct` are its own frames, sent before those of a session."""

    def __init__(self, cid: int, name: str, address: str, doorway: Doorway, *, bounds: HubBounds, mono: float) -> None:
        self.cid = cid
        self.name = name
        self.address = address
        self.address_key = prefix_of(address)
        self.doorway = doorway
        self.pacer = ClientPace(bounds, mono)
        self.bad = Bucket(bounds.bad_frames / 60.0, bounds.bad_frames - 1, mono)
        """Malformed frames that are still answered; the next one ends the connection."""
        self.direct: deque[str] = deque()
        self.session: Session | None = None
        self.left: Session | None = None
        """The session that was detached from it: a late `bye` still ends it, unless another socket has resumed it."""
        self.closing = False
        self.vouched = False
        """Whether it has had a session that a token opened: it does not count as a stranger's."""


class Session:
    """One client, over any number of consecutive sockets; it has at most one at a time (``connection``).

    ``vouched``: it has shown a token, so whoever runs the server, or a host, has let it in.
    """

    def __init__(
        self,
        sid: str,
        peer_id: str,
        grant: Grant,
        connection: Connection,
        *,
        bounds: HubBounds,
        client: str,
        vouched: bool = False,
    ) -> None:
        self.sid = sid
        self.peer_id = peer_id
        self.grant = grant
        self.client = client
        self.vouched = vouched
        self.address = connection.address
        self.address_key = connection.address_key
        self.doorway = connection.doorway
        self.pacer = connection.pacer
        self.outbox = Outbox(bounds.queue_bytes, bounds.replay_messages)
        self.connection: Connection | None = None
        self.last = connection
        """The socket that it has, or had last."""
        self.n = 0
        """The number of the last counted message that was handled."""
        self.unanswered = 0
        """The answers to counted messages up to this number may have been lost."""
        self.room: str | None = None
        self.joined_by: tuple[str | None, int] = (None, 0)
        """The id of the last `join` that was answered, and the number of the answer."""
        self.confirmed = False
        """True once its client has shown that it has received the answer to its hello."""
        self.waits_for: str | None = None
        """The room to which it waits for admission."""
        self.lost_at = 0.0
        """When it lost its last socket, on the monotonic clock."""
        self.gap_until = 0.0
        """When the session ends unless it is resumed (Unix time), while it has no socket."""
        self.appointed: Role | None = None
        """The role that a host has given it in its room, if that is not its token's."""
        self.farewell: tuple[SignalCode, str] | None = None
        """Why its client was disconnected, to tell it when it resumes."""
        self.generation = 0
        """How many TURN users of this session have been revoked; part of the user id, so that none is used again."""
        self.lobby: dict[str, float] = {}
        """TURN users of credentials given outside a room, with the expiry of those credentials (Unix time)."""
        self._key = ""
        self._spare = ""

    def renew(self, key: str, presented: str = "") -> None:
        """Replace the key. The ``presented`` key stays valid until `confirm`, because the answer may be lost."""
        self._key = key
        self._spare = presented

    def confirm(self) -> None:
        """Invalidate the old key: a message after the answer shows that the client has the new one."""
        self._spare = ""
        self.confirmed = True

    def accepts(self, key: str) -> bool:
        """True if that key may resume this session; compared in constant time."""
        given = key.encode(errors="replace")
        fits = compare_digest(given, self._key.encode())
        spare = compare_digest(given, self._spare.encode())
        return bool(self._key) and (fits or (spare and bool(self._spare)))

    @property
    def count_key(self) -> tuple[str, bool]:
        """What it counts for among the sessions of its address."""
        return self.address_key, self.vouched

    @property
    def identity(self) -> Identity:
        """The session's identity as a protocol value."""
        return Identity(id=self.peer_id, role=self.role, caps=self.caps)

    @property
    def role(self) -> Role:
        """The role that a host has given it, otherwise its token's."""
        return self.appointed or cast(Role, self.grant.role)

    @property
    def caps(self) -> Caps:
        """The capabilities that its token gives, in a fixed order."""
        return cast(Caps, tuple(sorted(self.grant.caps)))

    def may(self, cap: str) -> bool:
        """True if its token gives that capability."""
        return cap in self.grant.caps
