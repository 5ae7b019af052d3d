"""A snapshot as the numbers of the admin page: small, cheap, and JSON. Nothing in it comes from a client."""

from collections.abc import Mapping
from typing import Any, Final

from stun.address import Address
from turnserver import __version__
from turnserver.core.types import Counters
from turnserver.descriptors import UNLIMITED
from turnserver.snapshot import Snapshot, Usage

__all__ = ["overview", "relayed"]

_MOST_REFUSALS: Final = 20
"""Kinds of refusals that are listed: the most frequent ones."""

_PATHS: Final = ("direct", "relay", "unknown")


def relayed(snapshot: Snapshot) -> Counters:
    """What all datapaths together have carried since the start."""
    found = [view.counters for view in snapshot.datapaths]
    return Counters(*map(sum, zip(*found, strict=True))) if found else Counters()


def overview(snapshot: Snapshot, wall: float) -> dict[str, Any]:
    """The numbers now, as ``GET /v1/status`` answers them; ``wall`` is the time (Unix time, seconds).

    A snapshot without details is enough. A limit that there is not is None.
    """
    figures, limits, carried = snapshot.figures, snapshot.limits, relayed(snapshot)
    rooms = figures.rooms
    return {
        "version": __version__,
        "now": wall,
        "started_at": snapshot.started_at,
        "uptime": snapshot.uptime,
        "draining": snapshot.draining,
        "limits": {
            "allocations": _usage(limits.allocations),
            "connections": _usage(limits.connections),
            "rooms": _usage(limits.rooms),
            "descriptors": _usage(limits.descriptors),
        },
        "participants": {"connected": rooms.connected, "away": rooms.away, "waiting": rooms.waiting},
        "pairs": {path: rooms.paths.get(path, 0) for path in _PATHS},
        "ports": [
            {
                "address": Address(ports.bound, 0).host,
                "protocol": ports.protocol.name.lower(),
                "used": ports.used,
                "allowed": ports.allowed,
            }
            for ports in figures.ports
        ],
        "relayed": dict(carried._asdict()),
        "opened": sum(figures.happened.opened.values()),
        "refused": sum(figures.happened.denied.values()),
        "failed_logins": snapshot.failed_logins,
        "refusals": _refusals(snapshot),
        "listeners": [
            {
                "kind": view.kind,
                "address": str(view.address),
                "transports": [transport.label for transport in view.transports],
                "connections": view.connections,
                "dropped": view.counters.dropped,
            }
            for view in snapshot.listeners
        ],
        "certificates": [
            {"file": _text(each.file), "not_before": each.not_before, "not_after": each.not_after}
            for each in figures.certificates
        ],
        "faults": sum(snapshot.faults.values()),
        "log": {"dropped": figures.log.dropped, "withheld": figures.log.withheld},
    }


def _usage(usage: Usage) -> dict[str, int | None]:
    return {"used": usage.used, "allowed": None if usage.allowed >= UNLIMITED else usage.allowed}


def _refusals(snapshot: Snapshot) -> list[Mapping[str, Any]]:
    counts = snapshot.figures.happened.refusals
    often = sorted(counts.items(), key=lambda item: (-item[1], item[0][0], str(item[0][1])))[:_MOST_REFUSALS]
    return [{"code": code, "cause": str(cause), "times": times} for (code, cause), times in often]


def _text(path: str) -> str:
    """A path may have bytes that are no UTF-8."""
    return path.encode("utf-8", "backslashreplace").decode()
