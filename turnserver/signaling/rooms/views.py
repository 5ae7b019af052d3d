"""Rooms as plain values at one point in time, for other parts of the process."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from turnserver.signaling.protocol.client_messages import Stat
from turnserver.signaling.protocol.fields import Media

__all__ = ["PeerView", "RoomView", "RoomsView"]


@dataclass(frozen=True, slots=True)
class PeerView:
    """One participant; ``user_id`` is its TURN user id, ``joined`` is Unix time."""

    id: str
    user_id: str
    name: str
    role: str
    joined: float
    connected: bool
    media: Media
    stats: Mapping[str, Stat]
    """What the participant last reported of its connection with each peer, by peer id."""
    candidates: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """The types of the candidates that the participant has sent to each peer, by peer id."""


@dataclass(frozen=True, slots=True)
class RoomView:
    """One room; ``created`` is Unix time. ``knock`` is set if a host may admit participants to a locked room.

    ``recorded`` is since when the server records it (Unix time); None if it does not.
    """

    id: str
    created: float
    locked: bool
    knock: bool
    max: int
    mode: str
    peers: tuple[PeerView, ...]
    waiting: int
    recorded: float | None = None


@dataclass(frozen=True, slots=True)
class RoomsView:
    """All rooms together, in numbers: ``modes`` counts rooms by the way of their media, ``paths`` pairs by theirs.

    ``connected`` participants have a signaling socket now, and those that are ``away`` may come back. ``waiting`` wait
    for admission. ``sessions`` are those in rooms and outside.
    """

    modes: Mapping[str, int] = field(default_factory=dict)
    connected: int = 0
    away: int = 0
    waiting: int = 0
    recorded: int = 0
    paths: Mapping[str, int] = field(default_factory=dict)
    sessions: int = 0
