"""What the hub is told when it is made: options, bounds, and the words it shares with admission and ICE."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple, Protocol

from turnserver.signaling.protocol.fields import Ice

__all__ = ["ALL_CAPS", "Admission", "Grant", "HubBounds", "Minter", "RoomOptions"]

ALL_CAPS: Final = frozenset({"publish", "screen", "message"})
"""Everything that a token can allow: sending audio and video, sharing the screen, sending messages."""


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


Admission = Callable[[str, float], Grant]
"""From a token and Unix time to what it allows; raises `Denial` (bad_token, token_expired, token_not_yet)."""

Minter = Callable[[str, float, str], Ice]
"""From a TURN user id, Unix time, and the host by which this client reached us, to ICE servers with credentials."""


class RoomOptions(Protocol):
    """What the configuration's ``signaling`` says of rooms; times are in seconds."""

    @property
    def open(self) -> bool:
        """Let anybody in who has no token, as a member of any room."""

    @property
    def room_size(self) -> int:
        """People in one room at most."""

    @property
    def rooms(self) -> int:
        """Rooms there are at once, at most."""

    @property
    def resume(self) -> float:
        """How long a session waits for its client's return."""

    @property
    def heartbeat(self) -> float:
        """How often a client is asked to ping."""

    @property
    def credential_lifetime(self) -> int:
        """What to assume of ICE servers when there is no minter."""

    @property
    def sockets_per_address(self) -> int:
        """Sockets of one client at once: an IPv4 address, or an IPv6 /64."""

    @property
    def policy(self) -> Literal["all", "relay"]:
        """Which paths participants may take."""


@dataclass(frozen=True, slots=True)
class HubBounds:
    """What the protocol asks for, and no configuration changes. Times in seconds, rates per second, sizes in bytes."""

    sessions: int = 5000
    hello: float = 10.0
    """How long a socket may stay without a session."""
    leave_grace: float = 3.0
    """How long after a leave the relays of the one who left may live."""
    sessions_per_socket: int = 4
    """Sessions of one address, those included that wait for their client, for each socket that it may have."""
    joins_per_minute: int = 10
    rate: float = 30.0
    burst: int = 120
    relay_rate: int = 128 * 1024
    relay_burst: int = 1024 * 1024
    """What one session may have relayed to its peers, per second and at once."""
    flood: float = 10.0
    """How long a client may go on being rate limited."""
    auth_failures: int = 10
    auth_window: float = 1800.0
    bad_frames: int = 5
    queue_bytes: int = 256 * 1024
    """What may wait for one socket, and what is kept of what it has not acknowledged."""
    replay_messages: int = 256
    address_ban: float = 600.0
    """How long a ban without a token lasts, which goes by session and address."""
