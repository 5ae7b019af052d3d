"""Media on its way out: packets are copied once, to where they leave from, and encrypted there.

Each kind of media has a lane for each family of addresses, so that sound overtakes pictures. A lane is a row of batches
that are filled one after the other, and are empty again when what was in them has been sent. Nothing else refers to
their memory, so what has to wait must not be in a lane.
"""

from collections.abc import Iterator
from typing import Final

from turnserver.batch import SLOT_SIZE, Batch, SocketName
from turnserver.media.srtp import TRAILER, SrtpCipher, place_of

__all__ = ["LARGEST", "Lane"]

LARGEST: Final = SLOT_SIZE - TRAILER
"""Bytes of the largest packet, not encrypted yet."""

_CAPACITY: Final = 64
"""Packets of one batch: two for each of thirty receivers. More would not stay in the cache until they are sent."""

_KEPT: Final = 4
"""Batches that a lane keeps when it is empty. It has more while a large burst is being made."""


class _SealedBatch(Batch):
    """A batch whose slots libsrtp knows."""

    __slots__ = ("places",)

    def __init__(self, length: int) -> None:
        super().__init__(length, _CAPACITY)
        memory = memoryview(self.memory)
        self.places = [place_of(memory[at : at + SLOT_SIZE]) for at in range(0, len(memory), SLOT_SIZE)]


class Lane:
    """See the module. ``length`` is that of IP addresses, in bytes."""

    __slots__ = ("_batch", "_batches", "_length")

    def __init__(self, length: int) -> None:
        self._length = length
        self._batches: list[_SealedBatch] = []
        self._batch: _SealedBatch | None = None
        """The one that is being filled."""

    @property
    def waiting(self) -> int:
        """Packets that wait to be sent."""
        return sum([batch.count for batch in self._batches])

    def put(self, packet: bytearray, size: int, name: SocketName, protect: SrtpCipher) -> bool:
        """Copy a packet of ``size`` bytes, and encrypt the copy; False if that is refused, or it is too large."""
        if size > LARGEST:
            return False
        batch = self._batch
        if batch is None or batch.count == _CAPACITY:
            batch = self._next()
        number = batch.count
        at = number * SLOT_SIZE
        batch.memory[at : at + size] = packet
        protected = protect(batch.places[number], size)
        if protected < 0:
            return False
        batch.sizes[2 * number + 1] = protected
        at = number * batch.name_size
        batch.names[at : at + batch.name_size] = name
        batch.count = number + 1
        return True

    def drain(self) -> Iterator[Batch]:
        """The batches to be sent, in their order. They are empty again at the end of the iteration."""
        try:
            for batch in self._batches:
                if batch.count:
                    yield batch
        finally:
            del self._batches[_KEPT:]
            for batch in self._batches:
                batch.count = 0
            self._batch = self._batches[0] if self._batches else None

    def _next(self) -> _SealedBatch:
        """Go on with the next batch: one that is empty, or a new one."""
        self._batch = next((batch for batch in self._batches if not batch.count), None)
        if self._batch is None:
            self._batch = _SealedBatch(self._length)
            self._batches.append(self._batch)
        return self._batch
