"""What a packet costs in the SFU's own processes, from two samples of their CPU time and of their rooms' packets."""

import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Final

from stun.address import Address
from turnserver.media.stats import MediaRoomView
from turnserver.snapshot import MediaView

__all__ = ["MediaMeter", "cpu_time"]

_APART: Final = 1.0
"""Seconds between two samples: CPU time is counted in hundredths, and child processes report once a second."""

_ENOUGH: Final = 100
"""Packets between two samples, at least: what a process does besides would count as theirs."""


def cpu_time(pid: int) -> float | None:
    """User and system time of a process, in seconds; None where it is gone, or the system has no ``/proc``."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
        # The command may have spaces and parentheses; the state, field 3, follows its last one.
        fields = stat.rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, IndexError):
        return None


class MediaMeter:
    """See the module. ``clock`` is monotonic seconds, and ``cpu`` gives the CPU time of a process by its id."""

    def __init__(self, clock: Callable[[], float], cpu: Callable[[int], float | None] = cpu_time) -> None:
        self._clock = clock
        self._cpu = cpu
        self._at: float | None = None
        self._spent: dict[int, float] = {}
        self._packets: dict[tuple[str, int], int] = {}
        self._cost: float | None = None

    def view(self, addresses: Iterable[Address], rooms: Sequence[MediaRoomView], processes: Iterable[int]) -> MediaView:
        """The SFU now; ``processes`` are its own, and there are none if it shares the server's."""
        now = self._clock()
        if self._at is None or now - self._at >= _APART:
            self._sample(rooms, processes)
            self._at = now
        return MediaView(tuple(addresses), tuple(rooms), self._cost)

    def _sample(self, rooms: Sequence[MediaRoomView], processes: Iterable[int]) -> None:
        """Compare with the sample before: what is not in both, as a room that has ended, is left out."""
        times = {pid: self._cpu(pid) for pid in processes}
        spent = {pid: seconds for pid, seconds in times.items() if seconds is not None}
        packets = {(room.room, room.epoch): room.packets_in + room.packets_out for room in rooms}
        seconds = sum(spent[pid] - self._spent[pid] for pid in spent.keys() & self._spent.keys())
        count = sum(packets[room] - self._packets[room] for room in packets.keys() & self._packets.keys())
        self._cost = seconds / count if seconds > 0 and count >= _ENOUGH else None
        self._spent, self._packets = spent, packets
