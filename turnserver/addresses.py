"""Tells when this machine's addresses may have changed: the system's own events where it has them, else now and then.

On Linux a netlink socket (rtnetlink(7)) becomes readable when an address has been added or removed, or when duplicate
address detection has ended. Its messages are not read closer: the addresses are looked up again anyway.
"""

import asyncio
import contextlib
import logging
import socket
import sys
from collections.abc import Callable
from typing import Final

__all__ = ["AddressWatch"]

LOOK_INTERVAL: Final = 10.0
"""Seconds between two looks where there are no events, or while something has failed."""

SETTLE_TIME: Final = 0.05
"""Seconds that events are collected for, because a network that comes up brings many."""

_GROUPS: Final = 0x10 | 0x100
"""``RTMGRP_IPV4_IFADDR`` and ``RTMGRP_IPV6_IFADDR`` of linux/rtnetlink.h; Python does not name them."""

_READ_SIZE: Final = 64 * 1024
_READS: Final = 64
"""Messages discarded per turn of the loop."""

_logger = logging.getLogger("meshturn")


class AddressWatch:
    """Calls ``look`` soon after every change of an address, inside the loop that it was started in.

    ``look`` returns whether it wants to be called again in `LOOK_INTERVAL` seconds, whatever happens. Where there are
    no events it always is. An exception that it raises goes to ``fault``.
    """

    def __init__(self, look: Callable[[], bool], fault: Callable[[Exception], None]) -> None:
        self._look = look
        self._fault = fault
        self._socket: socket.socket | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._started = False

    @property
    def has_events(self) -> bool:
        """Whether the system tells of changes."""
        return self._socket is not None

    def start(self, *, again: bool = False) -> None:
        """Begin; ``again`` as if ``look`` had just returned it."""
        self._started = True
        try:
            self._socket = _events()
        except OSError as error:  # as in a sandbox without AF_NETLINK
            _logger.debug("no events of addresses", extra={"fields": {"reason": error.strerror or str(error)}})
        if self._socket is not None:
            asyncio.get_running_loop().add_reader(self._socket.fileno(), self._changed)
        self._arm(LOOK_INTERVAL if again or self._socket is None else None)

    def close(self) -> None:
        """End; allowed at any time."""
        self._started = False
        self._arm(None)
        if self._socket is not None:
            asyncio.get_running_loop().remove_reader(self._socket.fileno())
            self._socket.close()
            self._socket = None

    def soon(self) -> None:
        """Look in the next turn of the loop, also without `start`."""
        self._arm(0.0)

    def _changed(self) -> None:
        """Discard the events, and look when there are no more for a moment. A full buffer (ENOBUFS) is an event too."""
        with contextlib.suppress(OSError):
            for _ in range(_READS):
                if self._socket is None or not self._socket.recv(_READ_SIZE):
                    break
        if self._timer is None or self._timer.when() > asyncio.get_running_loop().time() + SETTLE_TIME:
            self._arm(SETTLE_TIME)

    def _arm(self, delay: float | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None if delay is None else asyncio.get_running_loop().call_later(delay, self._tick)

    def _tick(self) -> None:
        self._timer = None
        again = True
        try:
            again = self._look()
        except Exception as error:
            self._fault(error)
        if self._started and self._timer is None and (again or self._socket is None):
            self._arm(LOOK_INTERVAL)


def _events() -> socket.socket | None:
    """A socket that is readable after a change of an address; None on a system without. Raises `OSError`."""
    if sys.platform != "linux":
        return None
    events = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK, socket.NETLINK_ROUTE)
    try:
        events.bind((0, _GROUPS))
    except OSError:
        events.close()
        raise
    return events
