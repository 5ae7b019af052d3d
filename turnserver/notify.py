"""What the service manager is told of the process, and when: ready, reloading, stopping, alive (sd_notify(3)).

Each message is one datagram to the socket that ``NOTIFY_SOCKET`` names. The watchdog is fed by the event loop, with a
timer of its own: a loop that hangs feeds nothing, and the service manager ends the process.
"""

import asyncio
import logging
import socket
import time
from collections import deque
from collections.abc import Callable, MutableMapping
from typing import Final

from turnserver.text import one_line

__all__ = ["SILENT", "Notifier", "Pulse"]

STATUS_INTERVAL: Final = 10.0
"""Seconds between two looks at the status, which is sent if it has changed."""

_FEEDS: Final = 3
"""How often the watchdog is fed in its time: a loop that is late once or twice is not dead."""

_MOST_WAITING: Final = 16
"""Messages that wait for a service manager that does not read; of more, the oldest is forgotten."""

_LONGEST_STATUS: Final = 200

_logger = logging.getLogger("meshturn")


class Notifier:
    """Tells the service manager. It never blocks, and never raises.

    ``path`` is the socket's (``@…`` for an abstract one); without one, everything here does nothing. ``watchdog`` is
    the time, in seconds, after which the service manager ends a process that does not call `alive`; None for never.
    ``clock`` gives the monotonic time in nanoseconds.
    """

    def __init__(
        self, path: str = "", watchdog: float | None = None, clock: Callable[[], int] = time.monotonic_ns
    ) -> None:
        self.watchdog = watchdog if path else None
        self._path = "\0" + path[1:] if path.startswith("@") else path
        self._clock = clock
        self._waiting: deque[str] = deque(maxlen=_MOST_WAITING)
        self._status = ""
        self._complained = False
        self._socket: socket.socket | None = None

    def __bool__(self) -> bool:
        """Whether there is somebody to tell."""
        return bool(self._path)

    @classmethod
    def from_environment(cls, environ: MutableMapping[str, str], pid: int) -> "Notifier":
        """What ``NOTIFY_SOCKET``, ``WATCHDOG_USEC`` and ``WATCHDOG_PID`` say to the process ``pid``.

        The variables are removed, so that no child takes them for its own. A socket that is none of this machine
        (``vsock:``) is refused in the log.
        """
        path = environ.pop("NOTIFY_SOCKET", "")
        usec, to = environ.pop("WATCHDOG_USEC", ""), environ.pop("WATCHDOG_PID", "")
        if path and not path.startswith(("/", "@")):
            _logger.warning("NOTIFY_SOCKET is not supported", extra={"fields": {"found": one_line(path, 80)}})
            return SILENT
        meant = usec.isascii() and usec.isdigit() and int(usec) > 0 and to in {"", str(pid)}
        return cls(path, int(usec) / 1e6 if meant else None)

    def ready(self, status: str) -> None:
        """The process serves; after `reloading`: again."""
        self._status = status
        self._tell("READY=1", _status(status))

    def reloading(self) -> None:
        """The configuration is being read again, because of a signal that came before now."""
        self._tell("RELOADING=1", f"MONOTONIC_USEC={self._clock() // 1000}")

    def stopping(self) -> None:
        """The process ends."""
        self._status = "Stopping"
        self._tell("STOPPING=1", _status(self._status))

    def status(self, text: str) -> None:
        """How the process is, in words; `systemctl status` shows them."""
        if text != self._status:
            self._status = text
            self._tell(_status(text))

    def alive(self) -> None:
        """Feed the watchdog, if there is one."""
        if self.watchdog is not None:
            self._tell("WATCHDOG=1", keep=False)

    def close(self) -> None:
        """Nothing is told any more."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        self._path = ""

    def _tell(self, *assignments: str, keep: bool = True) -> None:
        if not self._path:
            return
        message = "\n".join(assignments)
        self._waiting.append(message)
        while self._waiting:
            try:
                self._send(self._waiting[0])
            except BlockingIOError:  # it is busy: they keep their order, and are sent with the next one
                break
            except (OSError, ValueError) as error:
                self._complain(error)
            self._waiting.popleft()
        if not keep and self._waiting and self._waiting[-1] == message:
            self._waiting.pop()

    def _send(self, message: str) -> None:
        if self._socket is None:
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            self._socket.setblocking(False)
        self._socket.sendto(message.encode(), self._path)

    def _complain(self, error: Exception) -> None:
        if not self._complained:
            self._complained = True
            reason = getattr(error, "strerror", None) or str(error)
            _logger.warning("the service manager cannot be told", extra={"fields": {"reason": reason}})


SILENT: Final = Notifier()
"""For a process without a service manager."""


class Pulse:
    """Feeds the watchdog from the event loop, and keeps the status up to date; use it inside the running loop.

    ``status`` is called every few seconds, so it should be cheap.
    """

    def __init__(self, notifier: Notifier, status: Callable[[], str]) -> None:
        self._notifier = notifier
        self._status = status
        self._timer: asyncio.TimerHandle | None = None
        self._looked = float("-inf")

    def start(self) -> None:
        """Begin; does nothing for a process without a service manager."""
        if self._notifier and self._timer is None:
            self._beat(asyncio.get_running_loop())

    def stop(self) -> None:
        """End."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _beat(self, loop: asyncio.AbstractEventLoop) -> None:
        watchdog = self._notifier.watchdog
        interval = STATUS_INTERVAL if watchdog is None else min(STATUS_INTERVAL, watchdog / _FEEDS)
        self._timer = loop.call_later(interval, self._beat, loop)
        self._notifier.alive()
        if loop.time() - self._looked >= STATUS_INTERVAL:
            self._looked = loop.time()
            self._notifier.status(self._status())


def _status(text: str) -> str:
    return f"STATUS={one_line(text, _LONGEST_STATUS)}"
