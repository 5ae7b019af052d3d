"""The hub's settings: options, bounds, and the types that it shares with admission and ICE."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple, Protocol

from turnserver.signaling.protocol.fields import Ice

__all__ = ["ALL_CAPS", "Admission", "Doorway", "Grant", "HubBounds", "Inviter", "MediaOptions", "Minter", "RoomOptions"]

ALL_CAPS: Final = frozenset({"publish", "screen", "message"})
"""All capabilities of tokens: sending audio and video, sharing the screen, sending messages."""


class Grant(NamedTuple):
    """What a room token allows; ``room`` None is any room. ``expires`` is Unix time; infinity without a token."""

    room: str | None = None
    role: str = "member"
    subject: str = ""
    name: str | None = None
    caps: frozenset[str] = ALL_CAPS
    max: int | None = None
    token_id: str | None = None
    once: bool = False
    expires: float = float("inf")
    shared: bool = False
    """Whether several people have the token, so that its id is nobody's name."""
    uses: int = 0
    """How many sessions the token opens; 0 if they are not counted."""


class Doorway(NamedTuple):
    """How a client has come in: by which ``host`` it knows the server, empty if that is not known.

    ``inner`` is the port of the listener, if the client may know it by another port, and not at all; otherwise 0.
    """

    host: str = ""
    inner: int = 0


Admission = Callable[[str, float], Grant]
"""Returns the grant of a token at a Unix time; raises `Denial` (bad_token, token_expired, token_not_yet)."""

Inviter = Callable[[str, Grant, int, int, float], tuple[str, int]]
"""Returns a member's token for a room and its expiry (Unix time).

Arguments: the room, the grant of the host who invites, seconds, uses, and the Unix time. Raises `Denial`.
"""

Minter = Callable[[str, float, Doorway], Ice]
"""Returns ICE servers with credentials for a TURN user id, a Unix time, and the way by which the client has come."""


class MediaOptions(NamedTuple):
    """What rooms do with an SFU. ``mode``: `sfu` for all of them, `auto` for those with more people than a mesh has."""

    mode: Literal["sfu", "auto"] = "auto"
    room_size: int = 30
    """Maximum number of participants in one room."""
    records: bool = False
    """Whether rooms can be recorded."""


class RoomOptions(Protocol):
    """The options for rooms in the configuration's ``signaling``; times are in seconds."""

    @property
    def open(self) -> bool:
        """Whether clients without a token are admitted, as members of any room."""

    @property
    def room_size(self) -> int:
        """Maximum number of participants in one room."""

    @property
    def rooms(self) -> int:
        """Maximum number of rooms at one time."""

    @property
    def resume(self) -> float:
        """How long a session without a socket waits to be resumed."""

    @property
    def heartbeat(self) -> float:
        """The interval at which a client is asked to ping."""

    @property
    def credential_lifetime(self) -> int:
        """The lifetime to assume for ICE servers when there is no minter."""

    @property
    def sockets_per_address(self) -> int:
        """Maximum number of sockets at one time from one IPv4 address or IPv6 /64 that no token vouches for."""

    @property
    def policy(self) -> Literal["all", "relay"]:
        """The ICE transport policy for participants."""


@dataclass(frozen=True, slots=True)
class HubBounds:
    """Bounds that the protocol sets and no option changes. Times in seconds, rates per second, sizes in bytes."""

    sessions: int = 5000
    hello: float = 10.0
    """How long a socket may stay without a session."""
    seat_hold: float = 15.0
    """How long a seat in a full room is kept for a participant without a socket."""
    leave_grace: float = 3.0
    """How long the relays of a participant may live after it has left."""
    sessions_per_socket: int = 4
    """Sessions without a token, per socket that one address may have: those that wait to be resumed are among them."""
    vouched_sessions_per_socket: int = 8
    """The same of sessions that a token opened, each with a socket at most: in all a school or an office, and no more
    than a small part of `sessions`."""
    joins_per_minute: int = 10
    rate: float = 30.0
    burst: int = 120
    relay_rate: int = 128 * 1024
    relay_burst: int = 1024 * 1024
    """What one session may have relayed to its peers: per second, and in a burst."""
    flood: float = 10.0
    """How long a client may exceed its rate before it is disconnected."""
    auth_failures: int = 10
    auth_window: float = 1800.0
    bad_frames: int = 5
    queue_bytes: int = 256 * 1024
    """What may wait for one socket, and what is kept unacknowledged."""
    replay_messages: int = 256
    address_ban: float = 600.0
    """How long a ban lasts that is not tied to a token, but to a session and an address."""
