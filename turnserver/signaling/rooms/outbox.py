"""The queue of one client: frames in the order of their numbers, waiting, or sent and not acknowledged.

A frame gets its number (`seq`) when it is queued, and frames are sent in that order, so that one acknowledgement of
"the highest number handled" is enough. Coalescing removes an older frame and appends the newer one with a new number:
numbers on the wire increase, with gaps. There are four kinds of frames
(`turnserver.signaling.protocol.base.Delivery`); the type of a frame determines its kind. The exception is an answer
whose request is not repeated after the loss of the socket: it is queued like a relayed frame.

There are two limits. With a socket, `waiting_bytes` tells the hub that the client does not read. Without a socket, news
and presence are dropped first when the queue is full, because a snapshot replaces them. If the relayed frames alone are
too many, they are dropped as well, and `Shortfall.lost` says so at the resume.
"""

from collections import OrderedDict, deque
from dataclasses import dataclass, replace
from math import inf
from typing import Any, Final, NamedTuple

from turnserver.signaling.protocol.base import Delivery, ServerMessage
from turnserver.signaling.protocol.codec import encode

__all__ = ["Outbox", "Shortfall"]

_OVERHEAD: Final = 64
"""Bytes that are counted for each frame in addition to its text, so that very small frames are not free."""


class Shortfall(NamedTuple):
    """Frames are missing: a snapshot replaces all up to ``at``. ``lost``: relayed frames are among the missing ones."""

    at: int
    lost: bool


@dataclass(slots=True)
class _QueuedFrame:
    message: Any
    delivery: Delivery
    key: tuple[str, str] | None
    seq: int
    text: str
    size: int


class Outbox:
    """The frames of one session; at most ``limit`` bytes and ``count`` frames are kept unacknowledged.

    Without a socket, the limit is twice the bytes, and at least the number of frames that waited when the socket was
    lost: a client that was disconnected because it did not read finds every frame when it resumes.
    """

    def __init__(self, limit: int, count: int) -> None:
        self._limit = limit
        self._count = count
        self._waiting: OrderedDict[int, _QueuedFrame] = OrderedDict()
        self._sent: deque[_QueuedFrame] = deque()
        self._keys: dict[tuple[str, str], int] = {}
        self._serial = 0
        self._sent_bytes = 0
        self._attached = False
        self._allowed = count
        self._taken = 0
        self._first_here = inf
        """The first number taken for the present socket."""
        self._missing = 0
        self._missing_relayed = 0
        self.seq = 0
        """The last number assigned."""
        self.acked = 0
        """The highest number that the client has acknowledged."""
        self.waiting_bytes = 0

    def __len__(self) -> int:
        return len(self._waiting)

    def put(self, message: ServerMessage, delivery: Delivery | None = None) -> int:
        """Queue a frame and return its number: 0 for frames without a number, which are dropped if there is no socket.

        If ``delivery`` is None, that of the frame's type is used.
        """
        how = delivery or message.delivery
        numbered = how is not Delivery.SOCKET
        if not numbered and not self._attached:
            return 0
        key = message.queue_key
        if key is not None and (serial := self._keys.pop(key, None)) is not None:
            self._discard(serial)
        if numbered:
            self.seq += 1
        self._append(_entry(message, how, key, self.seq if numbered else 0))
        if not self._attached:
            self._trim_waiting()
        return self.seq if numbered else 0

    def take(self) -> str | None:
        """The next frame for the socket."""
        if not self._attached or not self._waiting:
            return None
        serial, entry = self._waiting.popitem(last=False)
        self.waiting_bytes -= entry.size
        if entry.key is not None and self._keys.get(entry.key) == serial:
            del self._keys[entry.key]
        if entry.seq:
            self._taken = entry.seq
            self._first_here = min(self._first_here, entry.seq)
            self._sent.append(entry)
            self._sent_bytes += entry.size
            self._trim_sent()
        return entry.text

    def ack(self, seq: int) -> None:
        """Record that the client has handled every frame up to ``seq``."""
        self.acked = max(self.acked, min(seq, self._taken))
        while self._sent and self._sent[0].seq <= self.acked:
            self._sent_bytes -= self._sent.popleft().size

    def delivers(self, seq: int) -> bool:
        """True if that frame is not acknowledged, and waits or was sent on this socket, even if it is not kept now."""
        if seq <= self.acked:
            return False
        return self._first_here <= seq <= self._taken or any(entry.seq == seq for entry in self._waiting.values())

    def detach(self) -> None:
        """Note that the socket is lost: unacknowledged frames wait again."""
        self._attached = False
        self._first_here = inf
        self._allowed = max(self._count, len(self._waiting))
        self._refill([entry for entry in (*self._sent, *self._waiting.values()) if entry.seq])
        self._trim_waiting()

    def attach(self, seq: int) -> Shortfall | None:
        """Note a new socket, whose client has handled all frames up to ``seq``; returns the shortfall, if there is one.

        After a shortfall, the remaining relayed frames are sent again with numbers above ``at``. The client has seen
        none of them, because otherwise its ``seq`` would be higher.
        """
        self._attached = True
        self._first_here = inf
        self.acked = max(self.acked, min(seq, self.seq))
        left = [entry for entry in self._waiting.values() if entry.seq > seq]
        if seq >= self._missing:
            self._refill(left)
            return None
        shortfall = Shortfall(self.seq, seq < self._missing_relayed)
        self._missing = self.seq
        self._refill([])
        for entry in left:
            if entry.delivery is Delivery.RELAYED:
                self.seq += 1
                self._append(_entry(entry.message, entry.delivery, entry.key, self.seq))
        return shortfall

    def _append(self, entry: _QueuedFrame) -> None:
        self._serial += 1
        self._waiting[self._serial] = entry
        self.waiting_bytes += entry.size
        if entry.key is not None:
            self._keys[entry.key] = self._serial

    def _discard(self, serial: int) -> None:
        self.waiting_bytes -= self._waiting.pop(serial).size

    def _refill(self, entries: list[_QueuedFrame]) -> None:
        """Replace the queue by these frames, keeping the last one of each key."""
        self._sent.clear()
        self._sent_bytes = 0
        self._waiting.clear()
        self._keys.clear()
        self.waiting_bytes = 0
        for entry in entries:
            if entry.key is not None and (serial := self._keys.pop(entry.key, None)) is not None:
                self._discard(serial)
            self._append(entry)

    def _trim_sent(self) -> None:
        while len(self._sent) > self._count or self._sent_bytes > self._limit:
            entry = self._sent.popleft()
            self._sent_bytes -= entry.size
            self._miss(entry)

    def _trim_waiting(self) -> None:
        if not self._is_over():
            return
        entries = list(self._waiting.values())
        for entry in entries:
            if entry.delivery is not Delivery.RELAYED:
                self._miss(entry)
        self._refill([entry for entry in entries if entry.delivery is Delivery.RELAYED])
        if self._is_over():
            for entry in self._waiting.values():
                self._miss(entry)
            self._refill([])

    def _is_over(self) -> bool:
        return len(self._waiting) > self._allowed or self.waiting_bytes > 2 * self._limit

    def _miss(self, entry: _QueuedFrame) -> None:
        self._missing = max(self._missing, entry.seq)
        if entry.delivery is Delivery.RELAYED:
            self._missing_relayed = max(self._missing_relayed, entry.seq)


def _entry(message: Any, delivery: Delivery, key: tuple[str, str] | None, seq: int) -> _QueuedFrame:
    text = encode(replace(message, seq=seq) if seq else message)
    size = (len(text) if text.isascii() else len(text.encode())) + _OVERHEAD
    return _QueuedFrame(message, delivery, key, seq, text, size)
