"""The signals of a server's process, from its first moment to its last.

They are held before anything else is loaded, because most of them end a process by default, without a word. Until the
server runs they are only remembered; then `turnserver.process` takes them. This module loads almost nothing itself.
"""

import os
import signal
from collections import deque
from collections.abc import Callable
from types import FrameType
from typing import Any, Final

__all__ = ["DRAIN", "ENDING", "HELD", "RELOAD", "RELOAD_CERTIFICATES", "Signals"]

RELOAD: Final = signal.SIGHUP
"""Read the configuration again."""

DRAIN: Final = signal.SIGUSR1
"""Take nothing new, and end when nothing is left; the second one ends the process now."""

RELOAD_CERTIFICATES: Final = signal.SIGUSR2
"""Read the certificates again, and nothing else."""

ENDING: Final = frozenset({signal.SIGTERM, signal.SIGINT})
"""End now."""

HELD: Final = (RELOAD, DRAIN, RELOAD_CERTIFICATES, signal.SIGTERM, signal.SIGINT)
"""All signals that a server answers."""

_MAX_WAITING: Final = 64
"""Signals remembered at once. Of more, the oldest is forgotten: only a flood of signals gets there."""

_STANDARD_ERROR: Final = 2

_TERMINAL: Final = "/dev/tty"


class Signals:
    """What the process has been told by signals, in order.

    `hold` and `release` must be called in the main thread.
    """

    def __init__(self) -> None:
        self._before: dict[int, Any] = {}
        self._waiting: deque[signal.Signals] = deque(maxlen=_MAX_WAITING)
        self._wake: Callable[[], object] | None = None
        self._had_terminal = False

    def hold(self) -> None:
        """Remember these signals from now on, instead of what they did before. Calling it again does nothing."""
        self._had_terminal = self._had_terminal or _has_terminal()
        for number in HELD:
            if number not in self._before:
                self._before[number] = signal.signal(number, self._heard)
                signal.siginterrupt(number, False)

    def release(self) -> None:
        """Undo `hold`; signals that nobody has taken are forgotten. SIGINT raises KeyboardInterrupt again."""
        while self._before:
            number, handler = self._before.popitem()
            if number == signal.SIGINT and callable(handler):
                handler = signal.default_int_handler  # not that of an event loop, which may end before the process
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        self._waiting.clear()

    def listen(self, wake: Callable[[], object] | None) -> None:
        """Call ``wake`` after every signal from now on, and now if one waits; None for nobody.

        ``wake`` is called between any two instructions of the main thread, so it may only schedule something
        (`asyncio.AbstractEventLoop.call_soon_threadsafe`).
        """
        self._wake = wake
        if wake is not None and self._waiting:
            wake()

    @property
    def ends(self) -> bool:
        """Whether a signal that ends the process waits to be taken."""
        return not ENDING.isdisjoint(self._waiting)

    @property
    def hung_up(self) -> bool:
        """Whether the terminal that the process was started in has been closed, which sends SIGHUP, too."""
        return self._had_terminal and not _has_terminal()

    def take(self) -> signal.Signals | None:
        """The oldest signal that has not been taken yet; None if there is none."""
        return self._waiting.popleft() if self._waiting else None

    def _heard(self, number: int, frame: FrameType | None) -> None:
        """The handler. While nobody listens, what the process does may never end, so a second one ends it."""
        known = signal.Signals(number)
        if self._wake is None and known in ENDING and self.ends:
            os.write(_STANDARD_ERROR, f"meshturn: ended by a second signal ({known.name})\n".encode())
            raise SystemExit(128 + number)
        self._waiting.append(known)
        if self._wake is not None:
            self._wake()


def _has_terminal() -> bool:
    """Whether the process has a controlling terminal."""
    try:
        os.close(os.open(_TERMINAL, os.O_RDWR | os.O_NOCTTY))
    except OSError:
        return False
    return True
