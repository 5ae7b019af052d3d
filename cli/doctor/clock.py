"""Whether the kernel's clock is disciplined by a time server (adjtimex(2)); nothing is sent to ask."""

import ctypes
import sys
from typing import Final, NamedTuple

__all__ = ["ClockState", "kernel_clock"]

_TIME_ERROR: Final = 5
_STA_UNSYNC: Final = 0x40


class ClockState(NamedTuple):
    """What the kernel says of its clock: whether it is synchronised, and how far off it is at most, in seconds."""

    synchronised: bool
    max_error: float


class _Timex(ctypes.Structure):
    """The beginning of ``struct timex``, with room for the rest of it."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("rest", ctypes.c_char * 256),
    )


def kernel_clock() -> ClockState:
    """Ask the kernel; changes nothing (``modes`` is 0). Raises OSError where there is no adjtimex(2)."""
    if sys.platform != "linux":
        raise OSError("only Linux tells")
    libc = ctypes.CDLL(None, use_errno=True)
    found = _Timex()
    state = libc.adjtimex(ctypes.byref(found))
    if state < 0:
        raise OSError(ctypes.get_errno(), "adjtimex")
    return ClockState(state != _TIME_ERROR and not found.status & _STA_UNSYNC, found.maxerror / 1e6)
