"""The walk of `tests.support.core_machine`, its choices made by the input: the core does what the oracle says."""

from collections.abc import Iterator
from random import Random
from typing import Any

from tests.support.core_bench import Bench
from tests.support.core_machine import Walk, some_setup

__all__ = ["MAX_LENGTH", "WORDS", "run", "seeds"]

MAX_LENGTH = 1024
WORDS: tuple[bytes, ...] = ()
_STEPS = 60


class Choices(Random):
    """Takes its randomness from bytes, and is predictable when there are no more."""

    def __new__(cls, data: bytes) -> "Choices":
        """Without a seed: that of `Random` is the argument."""
        return super().__new__(cls)

    def __init__(self, data: bytes) -> None:
        super().__init__(0)
        self._data = data
        self._at = 0

    @property
    def spent(self) -> bool:
        """Whether the bytes are used up."""
        return self._at >= len(self._data)

    def random(self) -> float:
        """From two bytes."""
        return self._take(2) / 65_536

    def getrandbits(self, k: int, /) -> int:
        """From as many bytes as it takes."""
        return self._take((k + 7) // 8) & (1 << k) - 1

    def seed(self, *_: Any) -> None:
        """There is none."""

    def _take(self, size: int) -> int:
        taken = self._data[self._at : self._at + size]
        self._at += size
        return int.from_bytes(taken.ljust(size, b"\0"), "big")


def seeds() -> Iterator[bytes]:
    """Some walks."""
    for number in range(6):
        yield Random(number).randbytes(400)


def run(data: bytes) -> None:
    """What the oracle says after each step, and nothing is left after a day."""
    if not data:
        return
    choices = Choices(data[1:])
    walk = Walk(Bench(some_setup(choices, strict=bool(data[0] & 1), mapped=bool(data[0] & 2))))
    for _ in range(_STEPS):
        if choices.spent:
            break
        walk.step(choices)
    walk.finish()
