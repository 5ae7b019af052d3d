"""A test that starts a process says so by the mark ``process``, or fails: `make check` runs all others in a minute."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

__all__ = ["install", "watched"]

FINDERS = frozenset({"ldconfig", "gcc", "cc", "ld", "objdump"})
"""What `ctypes.util.find_library` starts, in libraries that look for one when they are imported."""

_running: list[pytest.Item] = []


def install() -> None:
    """Watch every start of a process in this one, from now on."""
    sys.addaudithook(_audit)


@contextmanager
def watched(item: pytest.Item) -> Iterator[None]:
    """While this test, and what it needs, is set up, run and torn down."""
    _running.append(item)
    try:
        yield
    finally:
        _running.pop()


def _audit(event: str, arguments: tuple[object, ...]) -> None:
    if event != "subprocess.Popen" or not _running or _running[-1].get_closest_marker("process") is not None:
        return
    if os.path.basename(str(arguments[0])) not in FINDERS:
        raise RuntimeError(f"{_running[-1].nodeid} starts {arguments[0]}, so it has to be marked `process`")
