"""Answers kept for retransmitted requests (RFC 8656 §7.2, RFC 8489 §6.3.1): the same request, the same answer.

A retransmission is the same bytes again. Another request with the transaction id of an earlier one is a new request, so
the key has a digest of the whole message, of which the method is a part.

Only answers to requests that are not idempotent are kept, such as a successful Allocate or a Refresh that deleted. Only
authenticated requests get this far, so strangers cannot fill the table.
"""

from collections import OrderedDict
from hashlib import blake2b
from typing import Final

from stun.message import Message
from turnserver.core.types import FiveTuple

__all__ = ["MAX_ANSWERS", "Retransmissions", "TransactionKey", "transaction_key"]

TransactionKey = tuple[FiveTuple, bytes]
"""The client's 5-tuple and the digest of its request."""

_DIGEST_SIZE: Final = 16

MAX_ANSWERS = 65_536
"""Answers kept at once, the oldest forgotten first: some 1,600 new allocations a second for 40 seconds."""


def transaction_key(client: FiveTuple, message: Message) -> TransactionKey:
    """The key of a request; its transaction id is in the digest, too."""
    return client, blake2b(message.raw, digest_size=_DIGEST_SIZE).digest()


class Retransmissions:
    """Answers by 5-tuple and request; the caller that stores one also sets the deadline to forget it."""

    def __init__(self) -> None:
        self._answers: OrderedDict[TransactionKey, bytes] = OrderedDict()

    def __len__(self) -> int:
        return len(self._answers)

    def keep(self, key: TransactionKey, answer: bytes) -> list[TransactionKey]:
        """Remember an answer; returns those that had to be forgotten for it."""
        self._answers[key] = answer
        excess = len(self._answers) - MAX_ANSWERS
        return [self._answers.popitem(last=False)[0] for _ in range(excess)]

    def find(self, key: TransactionKey) -> bytes | None:
        """The answer given before, if it is still kept."""
        return self._answers.get(key)

    def forget(self, key: TransactionKey) -> None:
        """Forget an answer, if there is one."""
        self._answers.pop(key, None)
