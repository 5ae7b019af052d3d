"""Sans-IO client transactions (RFC 8489 §6.2): when to send a request again, and when to give up."""

from typing import Final

from stun.constants import HEADER_LENGTH, MessageClass
from stun.message import Message

__all__ = ["ClientTransaction"]

RTO: Final = 0.5
"""Seconds: the initial retransmission timeout (RFC 8489 §6.2.1)."""

RC: Final = 7
"""Maximum number of transmissions of a request (RFC 8489 §6.2.1)."""

RM: Final = 16
"""Number of initial timeouts to wait after the last transmission (RFC 8489 §6.2.1)."""

TI: Final = 39.5
"""Seconds to wait on a reliable transport (RFC 8489 §6.2.2)."""

_METHOD_BITS: Final = 0x3EEF
"""Of the first 16 bits of a message (RFC 8489 §5); the rest are its class."""


class ClientTransaction:
    """One request and its schedule: with the defaults sent at 0, 0.5, 1.5, 3.5, 7.5, 15.5 and 31.5 s, failed at 39.5 s.

    ``reliable`` sends once and waits ``ti`` seconds. All times are seconds on the caller's monotonic clock. Raises
    ValueError for a request shorter than a STUN header, or ``rc`` below 1.
    """

    def __init__(
        self,
        request: bytes,
        now: float,
        *,
        reliable: bool = False,
        rto: float = RTO,
        rc: int = RC,
        rm: int = RM,
        ti: float = TI,
    ) -> None:
        if len(request) < HEADER_LENGTH or rc < 1:
            raise ValueError("a transaction needs a STUN request and at least one transmission")
        self.request = request
        self.transaction_id = request[8:HEADER_LENGTH]
        self._method = int.from_bytes(request[:2], "big") & _METHOD_BITS
        if reliable:
            self._sends = [now]
            self._failure = now + ti
        else:
            self._sends = [now + rto * ((1 << index) - 1) for index in range(rc)]
            self._failure = self._sends[-1] + rm * rto
        self._next = 0
        self._sent = 0

    @property
    def sent(self) -> int:
        """Number of transmissions so far."""
        return self._sent

    def datagrams(self, now: float) -> bytes | None:
        """The request, if it is due to be sent (again) at ``now``; None otherwise.

        A late caller gets it once: missed transmissions are not made up for in a burst.
        """
        if self.timed_out(now) or not self._due(now):
            return None
        while self._due(now):
            self._next += 1
        self._sent += 1
        return self.request

    def deadline(self) -> float:
        """When to call `datagrams` or `timed_out` next."""
        return self._sends[self._next] if self._next < len(self._sends) else self._failure

    def timed_out(self, now: float) -> bool:
        """True once the transaction has timed out."""
        return now >= self._failure

    def matches(self, message: Message) -> bool:
        """True if ``message`` is a response to this request: its class, method and transaction id (RFC 8489 §6.3)."""
        is_response = message.message_class in (MessageClass.SUCCESS, MessageClass.ERROR)
        method = int.from_bytes(message.raw[:2], "big") & _METHOD_BITS
        return is_response and method == self._method and message.transaction_id == self.transaction_id

    def _due(self, now: float) -> bool:
        return self._next < len(self._sends) and self._sends[self._next] <= now
