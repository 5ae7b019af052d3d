"""The observers by name."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from turnserver.registry import Registry

if TYPE_CHECKING:
    from turnserver.observers.base import Observer

__all__ = ["OBSERVERS"]


def _log() -> "Observer":
    from turnserver.observers.log import LogObserver  # noqa: PLC0415  loaded when it is used

    return LogObserver()


def _recorder() -> "Observer":
    from turnserver.observers.recorder import Recorder  # noqa: PLC0415

    return Recorder()


OBSERVERS: Final[Registry["Callable[[], Observer]"]] = Registry("observer")
"""The functions that make the observers. ``recorder`` keeps the last events in memory."""

OBSERVERS.add("log", _log)
OBSERVERS.add("recorder", _recorder)
