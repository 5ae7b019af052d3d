"""Writes lines to a stream that may block: in a thread of its own, from a bounded queue.

Standard error is often a pipe, which may have no reader. A write to a full pipe blocks for ever, and would block the
event loop. Here only the thread blocks. Lines that do not fit in the queue are dropped and counted, and a line in
their place says how many.
"""

import contextlib
import os
import select
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Final, NamedTuple, TextIO

__all__ = ["QUEUE_SIZE", "LineWriter"]

QUEUE_SIZE: Final = 1024 * 1024
"""Capacity of the queue in characters: some 5,000 log lines."""

_BATCH_SIZE: Final = 64 * 1024
"""Maximum number of characters in one write."""

_LOOK_AGAIN: Final = 1.0
"""Maximum seconds between two tries to write to a non-blocking descriptor that is full."""


class _Line(NamedTuple):
    """A line to write; a line about dropped lines has their number."""

    text: str
    missing: int = 0


class LineWriter:
    """Writes lines to ``stream`` in the order in which they were put; never blocks its caller.

    Without a stream every line counts as dropped: Python has none for a descriptor that was closed at its start.
    ``lost`` makes the line that says how many are missing; without it nothing does. A stream with a file descriptor is
    written to by that: a thread that is stuck in a buffered stream would have the interpreter stuck at its end.
    """

    def __init__(
        self, stream: TextIO | None, lost: Callable[[int], str] | None = None, *, size: int = QUEUE_SIZE
    ) -> None:
        self._stream = stream
        self._descriptor = _descriptor_of(stream)
        self._encoding = getattr(stream, "encoding", None) or "utf-8"
        self._lost = lost
        self._size = size
        self._lines: deque[_Line] = deque()
        self._waiting = 0
        self._missing = 0
        self._said = 0
        self._broken = False
        self._writing = False
        self._closed = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="line writer", daemon=True)
        self._thread.start()

    @property
    def dropped(self) -> int:
        """Lines that were dropped so far."""
        with self._changed:
            return self._said + self._missing

    def put(self, line: str) -> bool:
        """Queue a line that ends in a line feed; False if it was dropped."""
        with self._changed:
            if self._closed or self._waiting + len(line) > self._size:
                self._missing += 1
                return False
            self._say_missing()
            self._append(_Line(line))
            self._changed.notify_all()
        return True

    def flush(self, patience: float) -> bool:
        """Wait until everything has been written, ``patience`` seconds at most; False if something has not."""
        late = time.monotonic() + patience
        with self._changed:
            return self._changed.wait_for(lambda: not self._lines and not self._writing, late - time.monotonic())

    def close(self, patience: float) -> bool:
        """The same, and accept no more lines. Lines that have not been written then are lost."""
        done = self.flush(patience)
        with self._changed:
            self._closed = True
            self._lines.clear()
            self._changed.notify_all()
        if done:
            self._thread.join(patience)
        return done

    # Inside; callers hold the lock

    def _append(self, line: _Line) -> None:
        self._lines.append(line)
        self._waiting += len(line.text)

    def _say_missing(self) -> None:
        """Queue the line about dropped lines; it is small, and may exceed the bound."""
        if self._missing and self._lost is not None:
            self._append(_Line(self._lost(self._missing), self._missing))
            self._said += self._missing
            self._missing = 0

    def _take(self) -> list[_Line]:
        batch: list[_Line] = []
        size = 0
        while self._lines and (not batch or size + len(self._lines[0].text) <= _BATCH_SIZE):
            batch.append(self._lines.popleft())
            size += len(batch[-1].text)
        self._waiting -= size
        return batch

    def _not_written(self, batch: list[_Line]) -> None:
        for line in batch:
            self._missing += line.missing or 1
            self._said -= line.missing

    # The thread

    def _run(self) -> None:
        while batch := self._next():
            try:
                self._write("".join([line.text for line in batch]))
                self._broken = False
            except Exception:  # the reader is gone, the disk is full, the stream is closed, or a program's stream fails
                with self._changed:
                    self._broken = True
                    self._not_written(batch)
        if self._descriptor is not None:
            os.close(self._descriptor)

    def _next(self) -> list[_Line]:
        """Wait for lines to write; empty when the writer is closed."""
        with self._changed:
            self._writing = False
            if not self._lines and not self._broken:
                self._say_missing()
            if not self._lines:
                self._changed.notify_all()
                self._changed.wait_for(lambda: self._lines or self._closed)
            self._writing = not self._closed
            return [] if self._closed else self._take()

    def _write(self, text: str) -> None:
        if self._descriptor is None:
            if self._stream is None:
                raise ValueError("there is no stream")
            self._stream.write(text)
            self._stream.flush()
            return
        data = memoryview(text.encode(self._encoding, "backslashreplace"))
        while data:
            try:
                data = data[os.write(self._descriptor, data) :]
            except BlockingIOError:  # another user of the descriptor has made it non-blocking
                select.select([], [self._descriptor], [], _LOOK_AGAIN)


def _descriptor_of(stream: TextIO | None) -> int | None:
    """A duplicate of the stream's descriptor, after flushing the stream; None for a stream without one."""
    if stream is not None:
        with contextlib.suppress(OSError, ValueError, AttributeError):
            stream.flush()
            return os.dup(stream.fileno())
    return None
