"""Lines of the log about connections that are closed before they speak STUN or HTTP, each with its reason.

Only the client sees that its connection has ended. What an operator can act on is a line at level info: a proxy that is
not configured, or a client that does not accept the certificate. The rest, which scanners cause all day, is at debug.
"""

import logging
import ssl
from collections import Counter
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

from stun.address import Address
from turnserver.lines import FREQUENT, Allowance, Lines
from turnserver.reasons import Reason

__all__ = ["TurnedAway", "handshake_failure"]

_ALLOWANCE: Final = Allowance(burst=1, rate=1 / 60, total_burst=20, total_rate=1 / 3)
"""A line of each kind a minute for each network, and how many more there were."""

_LINES: Final[Mapping[Reason, str]] = MappingProxyType(
    {
        Reason.PROXY_HEADER_MISSING: "no PROXY header from a proxy",
        Reason.PROXY_HEADER_MALFORMED: "malformed PROXY header from a proxy",
        Reason.PROXY_HEADER_UNEXPECTED: "PROXY header from an address that is not in proxies",
        Reason.TLS_ALERT: "TLS alert from a client",
        Reason.TLS_FAILED: "TLS handshake failed",
        Reason.NO_CERTIFICATE: "no certificate for a client with TLS",
    }
)
"""What an operator can act on."""

_ALERT: Final = "_ALERT_"


def handshake_failure(error: OSError) -> tuple[Reason, str]:
    """The reason of a failed TLS handshake, and what is known about it in a few words."""
    if not isinstance(error, ssl.SSLError) or not error.reason:
        return Reason.CONNECTION_BROKEN, error.strerror or str(error)
    _, is_alert, alert = error.reason.partition(_ALERT)
    words = (alert or error.reason).replace("_", " ").lower()
    return (Reason.TLS_ALERT if is_alert else Reason.TLS_FAILED), words


class TurnedAway:
    """Writes the lines of a listener; ``clock`` gives monotonic seconds."""

    def __init__(self, logger: logging.Logger, clock: Callable[[], float]) -> None:
        self._logger = logger
        self._told = Lines(logger, _ALLOWANCE, clock)
        self._others = Lines(logger, FREQUENT, clock)
        self.counts: Counter[Reason] = Counter()
        """How many there were for each reason."""

    def say(self, cause: Reason, why: str, client: Address, listener: str) -> None:
        """Write the line of one connection: its client (or proxy), and ``why`` in words."""
        self.counts[cause] += 1
        line = _LINES.get(cause)
        if line is None and not self._logger.isEnabledFor(logging.DEBUG):
            return
        fields = {"client": str(client), "listener": listener, "cause": str(cause)} | ({"why": why} if why else {})
        if line is None:
            self._others.write(logging.DEBUG, "connection refused", fields, client)
        else:
            self._told.write(logging.INFO, line, fields, client)
