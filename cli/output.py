"""Standard output that remembers why it did not take something."""

import contextlib
import os
from typing import Any, TextIO

__all__ = ["WatchedOutput"]


class WatchedOutput:
    """``stream``, with the first error of writing to it; a reader that has seen enough is none.

    Only here an error of standard output can be told from one of any other file.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self.failure: OSError | None = None

    def __getattr__(self, name: str) -> Any:
        """Return everything else as the stream has it."""
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Write as the stream does."""
        try:
            return self._stream.write(text)
        except OSError as error:
            self._note(error)
            raise

    def flush(self) -> None:
        """Flush as the stream does."""
        try:
            self._stream.flush()
        except OSError as error:
            self._note(error)
            raise

    def give_back(self) -> TextIO:
        """Return the stream with nothing left to write. Python would try it again at its end, and print a traceback."""
        try:
            self.flush()
        except OSError:
            with contextlib.suppress(OSError):
                nowhere = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
                os.dup2(nowhere, self._stream.fileno())
                os.close(nowhere)
        return self._stream

    def _note(self, error: OSError) -> None:
        if self.failure is None and not isinstance(error, BrokenPipeError):
            self.failure = error
