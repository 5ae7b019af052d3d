"""A test that starts a process says so by the mark ``process``, or fails: `make check` runs all others in a minute."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

__all__ = ["install", "watched"]

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
    if event == "subprocess.Popen" and _running and _running[-1].get_closest_marker("process") is None:
        raise RuntimeError(f"{_running[-1].nodeid} starts {arguments[0]}, so it has to be marked `process`")
