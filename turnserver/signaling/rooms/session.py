"""One session and one socket: what is known of each, and who may go on with a session."""

from collections import deque
from hmac import compare_digest
from typing import Final, cast

from turnserver.signaling.protocol.errors import SignalCode
from turnserver.signaling.protocol.fields import Caps, Identity, Role
from turnserver.signaling.rooms.outbox import Outbox
from turnserver.signaling.rooms.settings import Grant, HubBounds
from turnserver.throttle import Bucket, Flood, prefix_of

__all__ = ["ClientPace", "Connection", "Session"]

_JOIN_WINDOW: Final = 60.0


class ClientPace:
    """How fast one client may talk."""

    def __init__(self, bounds: HubBounds, mono: float) -> None:
        self.frames = Bucket(bounds.rate, bounds.burst, mono)
        self.relayed = Bucket(bounds.relay_rate, bounds.relay_burst, mono)
        self.joins = Bucket(bounds.joins_per_minute / _JOIN_WINDOW, bounds.joins_per_minute, mono)
        self.flood = Flood()


class Connection:
    """One socket. ``name`` is its `cid` on the wire; `direct` are frames that are its own, before any session's."""

    def __init__(self, cid: int, name: str, address: str, host: str, *, bounds: HubBounds, mono: float) -> None:
        self.cid = cid
        self.name = name
        self.address = address
        self.address_key = prefix_of(address)
        self.host = host
        self.pacer = ClientPace(bounds, mono)
        self.bad = Bucket(bounds.bad_frames / 60.0, bounds.bad_frames - 1, mono)
        """Broken frames that are answered; the next one ends the connection."""
        self.direct: deque[str] = deque()
        self.session: Session | None = None
        self.closing = False


class Session:
    """One client, over as many sockets as it takes; it has at most one at a time (``connection``)."""

    def __init__(
        self, sid: str, peer_id: str, grant: Grant, connection: Connection, *, bounds: HubBounds, client: str
    ) -> None:
        self.sid = sid
        self.peer_id = peer_id
        self.grant = grant
        self.client = client
        self.address = connection.address
        self.address_key = connection.address_key
        self.host = connection.host
        self.pacer = connection.pacer
        self.outbox = Outbox(bounds.queue_bytes, bounds.replay_messages)
        self.connection: Connection | None = None
        self.n = 0
        """The highest number of a counted message that was handled."""
        self.unanswered = 0
        """Counted messages up to this number may have lost their answers."""
        self.room: str | None = None
        self.joined_by: tuple[str | None, int] = (None, 0)
        """The id of the `join` that was answered last, and the number of the answer."""
        self.confirmed = False
        """True once its client has shown that it knows of the session."""
        self.waits_for: str | None = None
        """The room at whose door it waits."""
        self.gap_until = 0.0
        """Until when it is waited for, on the wall clock, while it has no socket."""
        self.farewell: tuple[SignalCode, str] | None = None
        """Why its client was sent away, for when it comes back."""
        self.generation = 0
        """How often a TURN user of this session has been revoked: such a user id is never used again."""
        self.lobby: dict[str, float] = {}
        """TURN users of credentials that were given outside a room, and until when those live (Unix time)."""
        self._key = ""
        self._spare = ""

    def renew(self, key: str, presented: str = "") -> None:
        """Use another key. The one ``presented`` stays good until `confirm`: our answer may be lost on the wire."""
        self._key = key
        self._spare = presented

    def confirm(self) -> None:
        """The client has shown that it has the new key: it has said something after our answer."""
        self._spare = ""
        self.confirmed = True

    def accepts(self, key: str) -> bool:
        """True if that key may go on with this session; takes the same time wherever it differs."""
        given = key.encode(errors="replace")
        fits = compare_digest(given, self._key.encode())
        spare = compare_digest(given, self._spare.encode())
        return bool(self._key) and (fits or (spare and bool(self._spare)))

    @property
    def identity(self) -> Identity:
        """Who it is, on the wire."""
        return Identity(id=self.peer_id, role=self.role, caps=self.caps)

    @property
    def role(self) -> Role:
        """What its token makes it."""
        return cast(Role, self.grant.role)

    @property
    def caps(self) -> Caps:
        """What its token allows, in a fixed order."""
        return cast(Caps, tuple(sorted(self.grant.caps)))

    def may(self, cap: str) -> bool:
        """True if its token allows that."""
        return cap in self.grant.caps
