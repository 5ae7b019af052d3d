"""A child process of the benchmark, connected by a pipe, that cannot outlive or block the benchmark."""

import multiprocessing
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Any, Self

from bench.plan import BenchError

__all__ = ["Offspring"]

_END_SECONDS = 2.0
_LOOK_SECONDS = 0.2


class Offspring:
    """Runs ``target(order, pipe)`` in a fresh interpreter; a context manager from started to ended.

    The process sends pairs over the pipe: a word and its value, or ``("failed", text)`` at any time.
    """

    def __init__(self, target: Callable[[Any, Connection], None], order: object, check: Callable[[], None]) -> None:
        """*check* is called while waiting, and raises if waiting is useless because the server has ended."""
        spawn = multiprocessing.get_context("spawn")
        self._pipe, theirs = spawn.Pipe()
        self._process = spawn.Process(target=target, args=(order, theirs), daemon=True)
        self._check = check
        self._process.start()
        theirs.close()

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid or 0

    def send(self, message: object) -> None:
        """Send an object to the process."""
        self._pipe.send(message)

    def expect(self, word: str, seconds: float) -> Any:
        """Wait up to *seconds* for ``(word, value)`` and return the value; raise :class:`BenchError` otherwise."""
        give_up = time.monotonic() + seconds
        while not self._pipe.poll(_LOOK_SECONDS):
            self._check()
            if time.monotonic() > give_up:
                raise BenchError(f"the load generator did not say {word!r} within {seconds:.0f} s")
        try:
            said, value = self._pipe.recv()
        except EOFError:
            raise BenchError("the load generator ended without a word") from None
        if said != word:
            self._check()
            raise BenchError(str(value))
        return value

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pipe.close()
        self._process.join(_END_SECONDS)
        if self._process.is_alive():
            self._process.terminate()
            self._process.join(_END_SECONDS)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()
        self._process.close()
