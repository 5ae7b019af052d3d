"""Faults: exceptions that nobody foresaw. Each is counted, and logged with its cause; what met it is given up alone.

A fault is a bug, of ours or of something plugged in, or a system that is at its end. What a client or a peer can do is
none: that has a refusal, a dropped packet or a closed connection.
"""

import contextlib
import logging
import time
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

from stun.address import Address
from turnserver.lines import Allowance, Lines

__all__ = ["Faults"]

_ALLOWANCE: Final = Allowance(burst=5, rate=0.1, total_burst=5, total_rate=0.1)
"""Tracebacks of one place: a fault may come with every packet, and the first few say it all."""

_logger = logging.getLogger("meshturn.faults")


class Faults:
    """The faults of one server, by the part that they were met in (``datapath.add_route``, ``http``, …).

    ``clock`` gives monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._counts: dict[str, int] = {}
        self._lines = Lines(_logger, _ALLOWANCE, clock)

    @property
    def counts(self) -> Mapping[str, int]:
        """How many there have been in each part, as of now; it does not change afterwards."""
        return MappingProxyType(dict(self._counts))

    def note(self, part: str, error: BaseException, client: Address | None = None) -> None:
        """Count a fault and log it, with the client's address if it was one client's. Never raises.

        ``part`` is one of a few names.
        """
        self._counts[part] = self._counts.get(part, 0) + 1
        fields = {"error": type(error).__qualname__}
        if client is not None:
            fields["client"] = str(client)
        with contextlib.suppress(Exception):  # a handler of the log that raises must not add to what is wrong
            self._lines.write(logging.ERROR, f"fault in {part}", fields, client, cause=error)
