"""Answers kept for retransmitted requests (RFC 8656 §7.2, RFC 8489 §6.3.1): the same transaction, the same answer.

Only answers to requests that are not idempotent are kept, such as a successful Allocate or a Refresh that deleted. Only
authenticated requests get this far, so strangers cannot fill the table.
"""

from itertools import islice

from turnserver.core.types import FiveTuple

__all__ = ["MAX_ANSWERS", "Retransmissions", "TransactionKey"]

TransactionKey = tuple[FiveTuple, bytes]

MAX_ANSWERS = 65_536
"""Answers kept at once, the oldest forgotten first: some 1,600 new allocations a second for 40 seconds."""


class Retransmissions:
    """Answers by 5-tuple and transaction id; the caller that stores one also sets the deadline to forget it."""

    def __init__(self) -> None:
        self._answers: dict[TransactionKey, bytes] = {}

    def __len__(self) -> int:
        return len(self._answers)

    def keep(self, key: TransactionKey, answer: bytes) -> list[TransactionKey]:
        """Remember an answer; returns those that had to be forgotten for it."""
        self._answers[key] = answer
        excess = len(self._answers) - MAX_ANSWERS
        forgotten = list(islice(self._answers, max(0, excess)))
        for oldest in forgotten:
            del self._answers[oldest]
        return forgotten

    def find(self, key: TransactionKey) -> bytes | None:
        """The answer given before, if it is still kept."""
        return self._answers.get(key)

    def forget(self, key: TransactionKey) -> None:
        """Forget an answer, if there is one."""
        self._answers.pop(key, None)
