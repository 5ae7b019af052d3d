"""Failed logins: who may be answered again, and what the operator is told.

A right MESSAGE-INTEGRITY is always accepted, whatever others did wrong: every request is checked first, and only
failures are counted. The brake is on their answers. A source that has failed too often, or a user for whom too many
have failed, gets no further answer to a failure over UDP, and loses its connection over TCP and TLS. Each has a few
answers a minute nevertheless, so that a client with an old password learns in time why it is refused.

A success does not reset the count, because a guesser may have an account of its own.

Only failures from a proven address are counted: over TCP and TLS, or with a nonce that was made for the client. Others
may have been forged, and the line about them would name an innocent address. A network that sends many requests with
foreign nonces must return a nonce before its passwords are looked at, which no client notices: it gets the 438 that
a right password would get, too.
"""

from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Final, Generic, NamedTuple, TypeVar

from turnserver.throttle import Buckets, Guesses, packed_network, packed_prefix

__all__ = ["GUESSING", "SOURCE_ANSWERS", "USER_ANSWERS", "WINDOW", "FailedLogins", "Failure", "Run"]

SOURCE_ANSWERS: Final = 50
"""Failures of one client (an IPv4 address, an IPv6 /64) that are answered at once: an office may be behind it..."""

SOURCE_RATE: Final = 0.5
"""...and per second after that."""

USER_ANSWERS: Final = 100
"""The same for one user name, from all sources together..."""

USER_RATE: Final = 1.0
"""...and per second."""

UNPROVEN: Final = 10
"""Failures with a foreign nonce from one network within `WINDOW`, after which it must return a nonce first."""

GUESSING: Final = 10
"""Failures of one source within `WINDOW` that are reported as guessing; a user needs ten times as many."""

WINDOW: Final = 600.0
"""Seconds after which the same may be reported again."""

MAX_KEYS: Final = 8192
"""Sources, and users, remembered at once; the least recently seen is forgotten first."""

MAX_NAMES: Final = 16
"""Names of one source, and sources of one name, remembered in a window."""

_Key = TypeVar("_Key", bound=Hashable)
_Other = TypeVar("_Other", bound=Hashable)
_Name = str | bytes
"""A USERNAME, or the bytes of a USERHASH."""


class Run(NamedTuple):
    """Many failures in a row; ``sources`` is how many clients they came from, as far as counted."""

    failures: int
    seconds: float
    sources: int = 1


class Failure(NamedTuple):
    """What follows from a failure.

    ``answered`` says whether the client gets its 401. ``first`` is true for the first failure of this name from this
    source in a while. ``guessing`` is set when the source has reached `GUESSING`, ``attacked`` when the user has.
    """

    answered: bool
    first: bool
    guessing: Run | None = None
    attacked: Run | None = None


@dataclass(slots=True)
class _Window(Generic[_Other]):
    """Failures of one source or user since ``since`` (monotonic seconds), and the other side of them."""

    since: float
    failures: int = 0
    others: set[_Other] = field(default_factory=set)


class FailedLogins:
    """The failures of all clients. Pure: ``mono`` is the monotonic time, in seconds."""

    def __init__(self) -> None:
        self.total = 0
        """Failures from proven addresses since the start."""
        self.unanswered = 0
        """Those that got no answer."""
        self._sources: Buckets[bytes] = Buckets(SOURCE_RATE, SOURCE_ANSWERS, MAX_KEYS)
        self._users: Buckets[_Name] = Buckets(USER_RATE, USER_ANSWERS, MAX_KEYS)
        self._by_source: dict[bytes, _Window[_Name]] = {}
        self._by_user: dict[_Name, _Window[bytes]] = {}
        self._unproven: Guesses[bytes] = Guesses(UNPROVEN, WINDOW, MAX_KEYS)

    def failed(self, ip: bytes, name: _Name, mono: float) -> Failure:
        """Count a wrong credential from a proven address, and say what follows."""
        source = packed_prefix(ip)
        self.total += 1
        first = self.is_first(ip, name, mono)
        window = self._by_source[source]
        window.failures += 1
        guessing = Run(GUESSING, mono - window.since) if window.failures == GUESSING else None
        if self._sources.take(source, mono):
            # Names that this source makes up must not push other users out of their table.
            self.unanswered += 1
            return Failure(False, first, guessing)
        attacked = self._against(name, source, mono)
        answered = not self._users.take(name, mono)
        self.unanswered += not answered
        return Failure(answered, first, guessing, attacked)

    def is_first(self, ip: bytes, name: _Name, mono: float) -> bool:
        """Whether a failure of this name from this source is worth a line; it is not the next time."""
        window = _current(self._by_source, packed_prefix(ip), mono)
        if name in window.others or len(window.others) >= MAX_NAMES:
            return False
        window.others.add(name)
        return True

    def failed_unproven(self, ip: bytes, mono: float) -> None:
        """Count a wrong credential from an address that may be forged."""
        self._unproven.failed(packed_network(ip), mono)

    def must_prove(self, ip: bytes, mono: float) -> bool:
        """Whether a client must return a nonce before its credential is looked at."""
        return self._unproven.wait(packed_network(ip), mono) > 0

    def _against(self, name: _Name, source: bytes, mono: float) -> Run | None:
        window = _current(self._by_user, name, mono)
        window.failures += 1
        if len(window.others) < MAX_NAMES:
            window.others.add(source)
        if window.failures != 10 * GUESSING or len(window.others) == 1:
            return None  # one source is reported by itself
        return Run(window.failures, mono - window.since, len(window.others))


def _current(windows: dict[_Key, _Window[_Other]], key: _Key, mono: float) -> _Window[_Other]:
    """The present window of a key, the most recently seen from now on."""
    window = windows.pop(key, None)
    if window is None or mono - window.since >= WINDOW:
        window = _Window(mono)
        if len(windows) >= MAX_KEYS:
            del windows[next(iter(windows))]
    windows[key] = window
    return window
