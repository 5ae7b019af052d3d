"""Counts the steps of a call: the lines of Python that it runs. Unlike its time, that is the same on any machine."""

import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

__all__ = ["steps_of"]


def steps_of(call: Callable[[], Any]) -> int:
    """How many lines ``call`` runs, those of the functions that it calls included."""
    steps = 0

    def trace(frame: FrameType, event: str, argument: Any) -> Any:
        nonlocal steps
        steps += event == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        call()
    finally:
        sys.settrace(before)
    return steps
