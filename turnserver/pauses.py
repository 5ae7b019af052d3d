"""Pauses: after SIGSTOP, a suspended machine or a stalled loop, what waits in the sockets is read before time goes on.

While a server does not run, requests wait in its sockets. When it runs again, its deadlines seem to have passed before
a Refresh that came in time has been read. So a pause is noticed at the first look at the clock, and this clock then
stands where it stood before, until what waits has been read (at most a second). Only then does it jump, and everything
that is due ends.

Media that has waited is worth nothing: a burst of it would only delay what comes now. Transports and datapaths with a
method ``paused`` are told, and drop it (`turnserver.paths.Pausable`).

The wall clock may be set, or have gone on while the machine was suspended. Credentials of rooms are then made anew.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from functools import partial
from time import monotonic
from typing import Final, Protocol

from turnserver.clock import system_clock
from turnserver.core.types import Now
from turnserver.faults import Faults
from turnserver.histogram import Histogram, HistogramView
from turnserver.lines import Lines
from turnserver.paths import Pausable
from turnserver.transports.base import TransportCounters

__all__ = ["PatientClock", "Pauses"]

STALL: Final = 1.0
"""Seconds without a beat that are a pause. Media is too old to be delivered after this time."""

BEAT: Final = 0.25
"""Seconds between two looks at the clocks."""

STEP: Final = 2.0
"""Seconds by which the wall clock may differ from the monotonic one between two beats."""

CATCH_UP: Final = 1.0
"""Seconds at most for reading what has waited: more keeps coming from clients that do not stop."""

QUIET_TURNS: Final = 20
"""Turns of the loop in which no frame was read, after which everything that waited has been read.

Some more than sockets need by themselves: a turn reads at most 128 streams, and WebSockets have no count of frames."""

_LAGS: Final = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0)
"""Bounds of the histogram of late beats, in seconds."""

_logger = logging.getLogger("meshturn")


class PatientClock:
    """Both clocks of a server; they are behind by ``lag`` (seconds) while a pause has not been caught up.

    The wall clock, too: nonces and credentials are judged at the time at which a request can have come.

    From ``overdue`` on, on the machine's monotonic clock, ``noticed`` is called before the next answer.
    """

    def __init__(self, clock: Callable[[], Now]) -> None:
        self.lag = 0.0
        self.overdue = float("inf")
        self.noticed: Callable[[float], None] = lambda mono: None
        self._clock = clock
        self._is_machines = clock is system_clock

    def __call__(self) -> Now:
        """The time."""
        mono = monotonic()
        if mono > self.overdue:
            self.noticed(mono)
        now = self._clock()
        return Now(now.mono - self.lag, now.wall - self.lag) if self.lag else now

    def mono(self) -> float:
        """The monotonic time, in seconds. Relayed packets cost a call of it, so it is short."""
        mono = monotonic()
        if mono > self.overdue:
            self.noticed(mono)
        return (mono if self._is_machines else self._clock().mono) - self.lag


class _Rooms(Protocol):
    """The rooms, as far as they depend on the wall clock."""

    def renew_credentials(self) -> None:
        """Send all participants new TURN credentials."""


class _Listener(Protocol):
    """A transport, as far as it tells what it has read."""

    @property
    def counters(self) -> TransportCounters: ...


class Pauses:
    """Watches the clock of one server; ``faults`` records what transports and datapaths raise."""

    def __init__(self, clock: PatientClock, faults: Faults) -> None:
        self._clock = clock
        self._faults = faults
        self._lines = Lines(_logger)
        self._listeners: Callable[[], Sequence[_Listener]] = lambda: ()
        self._datapath: object = None
        self._rooms: _Rooms | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._beaten = self._offset = 0.0
        self._until = 0.0
        self._due = 0.0
        self._lags = Histogram(_LAGS)
        self._seen = self._quiet = 0
        self._loop: asyncio.AbstractEventLoop

    def start(self, listeners: Callable[[], Sequence[_Listener]], datapath: object, rooms: _Rooms | None) -> None:
        """Begin to watch, inside the running loop; ``listeners`` returns those that are there then."""
        self._loop = asyncio.get_running_loop()
        self._listeners, self._datapath, self._rooms = listeners, datapath, rooms
        self._clock.noticed = self._noticed
        now = self._clock()
        self._offset = now.wall - now.mono
        self._beat()

    @property
    def lags(self) -> HistogramView:
        """By how much the beats were late, in seconds: how long anything that is ready waits for its turn."""
        return self._lags.view()

    def stop(self) -> None:
        """Stop watching."""
        self._clock.overdue = float("inf")
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    # Inside

    def _beat(self) -> None:
        mono = monotonic()
        if self._due:
            self._lags.add(max(mono - self._due, 0.0))
        self._due = mono + BEAT
        self._timer = self._loop.call_later(BEAT, self._beat)
        now = self._clock()  # a pause that nothing else has noticed is noticed here
        if self._clock.lag:
            return
        self._beaten = monotonic()
        self._clock.overdue = self._beaten + BEAT + STALL
        step, self._offset = now.wall - now.mono - self._offset, now.wall - now.mono
        if abs(step) > STEP:
            self._stepped(step)

    def _noticed(self, mono: float) -> None:
        """The loop has not run since the last beat."""
        self._clock.overdue = float("inf")
        self._clock.lag = mono - self._beaten - BEAT
        self._until = mono + CATCH_UP
        self._seen = self._quiet = 0
        fields = {"seconds": round(self._clock.lag, 1)}
        self._lines.write(
            logging.WARNING, "the server did not run for a while: stopped, suspended or overloaded", fields
        )
        self._tell(True)
        self._loop.call_soon(self._catch_up)

    def _catch_up(self) -> None:
        """One turn of the loop after a pause."""
        if self._timer is None:
            return
        read = sum(self._faults.guarded("transport.counters", partial(_read_by, each), 0) for each in self._listeners())
        self._quiet = self._quiet + 1 if read == self._seen else 0
        self._seen = read
        if self._quiet < QUIET_TURNS and monotonic() < self._until:
            self._loop.call_soon(self._catch_up)
            return
        self._tell(False)
        self._clock.lag = 0.0
        self._timer.cancel()
        self._due = 0.0
        self._beat()

    def _tell(self, on: bool) -> None:
        for part in (*self._listeners(), self._datapath):
            if isinstance(part, Pausable):
                self._faults.guarded("pause", partial(part.paused, on), None)

    def _stepped(self, step: float) -> None:
        """The wall clock was set, or the machine was suspended: its monotonic clock did not go on meanwhile."""
        self._lines.write(logging.WARNING, "the wall clock was set", {"seconds": round(step, 1)})
        if self._rooms is not None:
            self._rooms.renew_credentials()


def _read_by(listener: _Listener) -> int:
    return listener.counters.packets_in
