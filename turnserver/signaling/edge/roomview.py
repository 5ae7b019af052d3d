"""Rooms in the HTTP API: what the server knows itself, kept apart from what clients have reported."""

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any, Protocol

from turnserver.core.types import Now
from turnserver.signaling.rooms.settings import Grant
from turnserver.signaling.rooms.views import PeerView, RoomView
from turnserver.signaling.truth.relays import RelayView

__all__ = ["RoomSource", "room_json", "summary_json"]

_REPORTED = ("path", "proto", "rtt", "rx", "tx", "loss", "fps", "w")


class RoomSource(Protocol):
    """What the API needs from the hub."""

    def rooms(self) -> Sequence[RoomView]:
        """Every room."""

    def room(self, room_id: str) -> RoomView | None:
        """One room."""

    def is_banned(self, grant: Grant, address: str, now: Now) -> bool:
        """Whether somebody with such a token, at such an address, was banned from its room."""

    def close_room(self, room_id: str, now: Now) -> bool:
        """Remove all participants; False if there is no such room."""

    def kick(self, room_id: str, peer_id: str, reason: str, now: Now) -> bool:
        """Remove one participant; False if there is none."""

    def record(self, room_id: str, on: bool, now: Now) -> bool:
        """Record a room, or do so no more; False if there is none. Raises `Denial`."""


def summary_json(room: RoomView) -> dict[str, Any]:
    """A room in short, as a list of rooms has it. ``created`` is Unix time."""
    return {
        "id": room.id,
        "created": room.created,
        "count": len(room.peers),
        "max": room.max,
        "mode": room.mode,
        "locked": room.locked,
        "knock": room.knock,
        "waiting": room.waiting,
        "recorded": room.recorded,
    }


def room_json(room: RoomView, relays: RelayView, media: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """A room with its participants, and the path of each pair; ``media`` is what the SFU says of it, if it has it."""
    return {
        **summary_json(room),
        "peers": [_peer_json(peer, relays) for peer in room.peers],
        "pairs": [_pair_json(a, b, relays) for a, b in combinations(room.peers, 2)],
        "media": media,
    }


def _peer_json(peer: PeerView, relays: RelayView) -> dict[str, Any]:
    facts = relays.facts(peer.user_id)
    return {
        "id": peer.id,
        "name": peer.name,
        "role": peer.role,
        "joined": peer.joined,
        "connected": peer.connected,
        "media": {"a": peer.media.a, "v": peer.media.v, "s": peer.media.s},
        "turn": {
            "user": peer.user_id,
            "allocations": facts.live,
            "protos": list(facts.protos),
            "relayed": [str(address) for address in facts.relayed],
            "bytes_up": facts.bytes_up,
            "bytes_down": facts.bytes_down,
            "refused": [
                {"code": each.code, "reason": each.reason, "proto": each.proto, "times": each.times, "at": each.at}
                for each in facts.refusals
                if each.proven
            ],
        },
    }


def _pair_json(a: PeerView, b: PeerView, relays: RelayView) -> dict[str, Any]:
    """``seen_by`` names the source: the relay, or only the clients; ``relay_of``: whose relay carries the traffic."""
    found = relays.pair(a.user_id, b.user_id)
    reports = {"a": a.stats.get(b.id), "b": b.stats.get(a.id)}
    path, seen_by = found.path, "server" if found.by is not None else None if found.path == "unknown" else "clients"
    if path == "unknown":
        told = [report for report in reports.values() if report is not None and report.path != "unknown"]
        if told:
            # A relay that is not ours. One end may take the other's relay for a direct path: who says relay is right.
            report = next((each for each in told if each.path == "relay"), told[0])
            path, seen_by = report.path, "clients"
    return {
        "a": a.id,
        "b": b.id,
        "path": path,
        "proto": found.proto,
        "seen_by": seen_by,
        "relay_of": found.by,
        "bytes": {"a_to_b": found.bytes_ab, "b_to_a": found.bytes_ba},
        "relayed": [str(address) for address in found.relayed],
        "candidates": {"a": list(a.candidates.get(b.id, ())), "b": list(b.candidates.get(a.id, ()))},
        "reports": {
            end: None if report is None else {name: getattr(report, name) for name in _REPORTED}
            for end, report in reports.items()
        },
    }
