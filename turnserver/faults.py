"""Faults: unexpected exceptions. Each is counted, and logged with its cause; only the work that raised it is lost.

A fault is a bug of the server or of a plug-in, or an exhausted system. Input of clients and peers is never one: the
server answers it with a refusal, a dropped packet or a closed connection.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Final, TypeVar

from stun.address import Address
from turnserver.errors import ServerError, StartupError
from turnserver.lines import Allowance, Lines
from turnserver.text import one_line

__all__ = ["RAISED", "Faults", "is_cancelled"]

RAISED: Final = (Exception, asyncio.CancelledError)
"""What a plug may raise in a call that waits for nothing. ``CancelledError`` is no Exception, and comes from the plug
there: nobody can cancel a task in the middle of such a call."""

_ALLOWANCE: Final = Allowance(burst=5, rate=0.1, total_burst=5, total_rate=0.1)
"""Maximum number of tracebacks per place: every packet may raise the fault, and the first few are enough."""

_T = TypeVar("_T")

_logger = logging.getLogger("meshturn.faults")


class Faults:
    """The faults of one server, by the part that raised them (``datapath.add_route``, ``http``, …).

    ``clock`` gives monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._counts: dict[str, int] = {}
        self._lines = Lines(_logger, _ALLOWANCE, clock)

    @property
    def counts(self) -> Mapping[str, int]:
        """A copy of the number of faults by part."""
        return MappingProxyType(dict(self._counts))

    def note(self, part: str, error: BaseException, client: Address | None = None, *, times: int = 1) -> None:
        """Count a fault and log it, with the client's address if it was one client's. Never raises.

        ``part`` is one of a few names. ``times`` are as many of one kind.
        """
        self._counts[part] = self._counts.get(part, 0) + times
        fields = {"error": type(error).__qualname__}
        if client is not None:
            fields["client"] = str(client)
        with contextlib.suppress(Exception):  # a log handler that raises must not raise in the caller
            self._lines.write(logging.ERROR, f"fault in {part}", fields, client, cause=error)

    def guarded(self, part: str, read: Callable[[], _T], otherwise: _T) -> _T:
        """What ``read`` returns; ``otherwise`` if it raises, and the exception is noted."""
        try:
            return read()
        except RAISED as error:
            self.note(part, error)
            return otherwise

    @contextlib.contextmanager
    def starting(self, part: str, what: str) -> Iterator[None]:
        """Context in which a part is started: an unexpected exception is recorded, and ends the start.

        Raises `turnserver.errors.StartupError`, which names ``what``. Errors of the server itself pass unchanged.
        """
        try:
            yield
        except ServerError:
            raise
        except RAISED as error:
            if is_cancelled(error):
                raise
            self.note(part, error)
            reason = one_line(f"{type(error).__qualname__}: {error}" if str(error) else type(error).__qualname__)
            raise StartupError(
                f"{what} cannot be used: {reason}.",
                f"That is a fault of the program or of what is plugged in; the log says where (fault in {part}).",
            ) from error


def is_cancelled(error: BaseException) -> bool:
    """Whether an exception is the end of a task that somebody has cancelled, and not a fault."""
    if not isinstance(error, asyncio.CancelledError):
        return False
    try:
        task = asyncio.current_task()
    except RuntimeError:  # there is no event loop
        return False
    return task is not None and task.cancelling() > 0
