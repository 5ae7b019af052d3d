"""What ``/proc`` says of a running server, and waiting for what its log says."""

import time
from collections.abc import Callable
from pathlib import Path

from tests.support.server import TurnServerProcess

__all__ = ["open_files", "resident_bytes", "wait_for_log", "wait_until"]

TIMEOUT = 120.0
"""Seconds until what has not happened counts as failed; never waited out in success."""
INTERVAL = 0.05


def resident_bytes(server: TurnServerProcess) -> int:
    """VmRSS of the server."""
    for line in Path(f"/proc/{server.pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise AssertionError("no VmRSS")


def open_files(server: TurnServerProcess) -> int:
    """File descriptors that the server holds."""
    return sum(1 for _ in Path(f"/proc/{server.pid}/fd").iterdir())


def wait_until(condition: Callable[[], bool], what: str, timeout: float = TIMEOUT) -> None:
    """Look again and again until something is so; an AssertionError that says ``what`` if it never is."""
    give_up = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < give_up, f"not within {timeout} s: {what}"
        time.sleep(INTERVAL)


def wait_for_log(server: TurnServerProcess, *words: str, after: int = 0) -> str:
    """The first line of the log, from character ``after`` on, that has all the words in it; waits for it."""
    found: list[str] = []

    def look() -> bool:
        found[:] = [line for line in server.log[after:].splitlines() if all(word in line for word in words)]
        return bool(found)

    wait_until(look, f"a line of the log with {words}")
    return found[0]
