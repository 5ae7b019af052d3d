"""The recorder: a process that reads a recording from its standard input until that ends, and writes it to files.

It ends when it is told to, when its input ends (whoever has started it is gone: the files are completed all the same),
or when it cannot write. Signals that end a service are left to whoever has started it.
"""

import contextlib
import os
import select
import signal
import sys
import time
import traceback
from collections.abc import Iterator
from typing import BinaryIO, Final

from turnserver.recordings.session import RecordingSession, SessionEnd
from turnserver.recordings.wire import RecorderMessage, RecorderRequest, Started, WireReader, write_line

__all__ = ["main"]

_TICK: Final = 0.2
"""Seconds between two looks at what is due."""

_READ: Final = 1 << 16

_NICE: Final = 5
"""Calls have precedence."""


class _Requests:
    """What is said to whoever has started the process; nobody may be there any more."""

    def __init__(self, output: BinaryIO) -> None:
        self._output = output

    def say(self, request: RecorderRequest) -> None:
        """Say it."""
        with contextlib.suppress(OSError, ValueError):
            self._output.write(write_line(request))
            self._output.flush()


def main() -> int:
    """Record; the exit code is 0, unless what came was no recording."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGPIPE):
        signal.signal(number, signal.SIG_IGN)
    os.umask(0o077)
    with contextlib.suppress(OSError):
        os.nice(_NICE)
    requests = _Requests(sys.stdout.buffer)
    messages = _messages(sys.stdin.fileno())
    started = next(messages, None)
    if not isinstance(started, Started):
        return 1
    session: RecordingSession | None = None
    end, detail = "interrupted", ""
    try:
        session = RecordingSession(started, lambda number: requests.say(("keyframe", number)))
        requests.say(("ready", 0))
        for message in messages:
            if message is None:
                session.tick(time.monotonic())
            else:
                session.take(message)
    except SessionEnd as ended:
        end, detail = ended.end, str(ended)
    except ValueError as error:
        end, detail = "fault", str(error)
    except Exception as error:  # what is there is worth more than what went wrong
        traceback.print_exc()
        end, detail = "fault", f"the recorder has failed: {type(error).__name__}"
    if detail:
        requests.say(("failed", detail))
    if session is not None:
        session.finish(end, detail, time.monotonic())
    return 0


def _messages(source: int) -> Iterator[RecorderMessage | None]:
    """The messages, and None whenever it is time to look at what is due; they end with the input."""
    reader = WireReader()
    due = time.monotonic() + _TICK
    while True:
        ready, _, _ = select.select([source], [], [], max(due - time.monotonic(), 0.0))
        if ready:
            data = os.read(source, _READ)
            if not data:
                return
            yield from reader.feed(data)
        if time.monotonic() >= due:
            due = time.monotonic() + _TICK
            yield None


if __name__ == "__main__":
    sys.exit(main())
