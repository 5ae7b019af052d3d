"""Starts a recorder process for each recording, feeds it, and passes on what it says.

Whoever owns the sockets of the media has one of these, in the same loop. A process that does not keep up loses packets
of its recording, and delays no call: what waits for it is bounded.
"""

import asyncio
import contextlib
import importlib.util
import os
import re
import secrets
import select
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Final, NamedTuple

from turnserver.children import child_environment
from turnserver.media.facts import TrackSource
from turnserver.media.recording import RecordingRefused, RecordingSink, RoomRecording
from turnserver.recordings.wire import (
    Begun,
    Ended,
    Lost,
    RecorderMessage,
    RecordingClosed,
    Related,
    Started,
    packet_head,
    read_line,
    write_message,
)

__all__ = ["NEEDS_PYAV", "RecordingOptions", "Recordings", "has_pyav"]

NEEDS_PYAV: Final = "recording needs PyAV: pip install 'meshturn[media]'"

MOST_WAITING: Final = 8 << 20
"""Bytes that wait for one process: two seconds of a room with ten large pictures."""

MOST_AT_ONCE: Final = 16
"""Recordings at the same time, each of which is a process."""

_FLUSH: Final = 2.0
"""Seconds in which a process takes what waits for it when the server ends."""

_PIECES: Final = 512
"""Pieces that are written at once; a system takes 1024 (IOV_MAX)."""

_MOST_LINE: Final = 4096

_UNSAFE: Final = re.compile(r"[^a-z0-9]+")


class RecordingOptions(NamedTuple):
    """``directory`` is None where nothing is to be recorded; ``most`` and ``reserve`` are bytes, see `Started`."""

    directory: Path | None
    most: int
    reserve: int


def has_pyav() -> bool:
    """Whether recordings can be made and read."""
    return importlib.util.find_spec("av") is not None


class Recordings:
    """See the module; it is a `turnserver.media.recording.RecorderPort`. ``clock`` is monotonic seconds."""

    def __init__(
        self,
        options: RecordingOptions,
        *,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._options = options
        self._now = clock
        self._wall = wall
        self._running: set[_Process] = set()

    def open(self, room: str, recording: RoomRecording) -> RecordingSink:
        """See `turnserver.media.recording.RecorderPort`."""
        if self._options.directory is None:
            raise RecordingRefused("this server does not record: media.recordings is not set")
        if not has_pyav():
            raise RecordingRefused(NEEDS_PYAV)
        if len(self._running) >= MOST_AT_ONCE:
            raise RecordingRefused(f"{MOST_AT_ONCE} recordings are being made")
        try:
            directory = _make(self._options.directory, self._wall())
            process = _Process(recording, self._running.discard)
        except OSError as error:
            raise RecordingRefused(f"the recording cannot begin: {error.strerror}") from error
        self._running.add(process)
        process.say(Started(str(directory), room, self._now(), self._wall(), self._options.most, self._options.reserve))
        return process

    @property
    def running(self) -> int:
        """How many processes there are."""
        return len(self._running)

    def stop(self) -> None:
        """The server ends: the processes complete what they have."""
        for process in list(self._running):
            process.leave()
        self._running.clear()


def _make(parent: Path, wall: float) -> Path:
    """A new directory, whose name says when, and which nobody else can read."""
    parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    stamp = datetime.fromtimestamp(wall, UTC).strftime("%Y%m%d-%H%M%S")
    made = parent / f"{stamp}-{secrets.token_hex(4)}"
    made.mkdir(mode=0o700)
    return made


class _Process:
    """One recorder: a `turnserver.media.recording.RecordingSink` whose messages go through a pipe."""

    def __init__(self, recording: RoomRecording, gone: Callable[["_Process"], None]) -> None:
        self._recording = recording
        self._gone = gone
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[bytes | memoryview] = deque()
        self._bytes = 0
        self._lost = 0
        self._closing = self._is_writing = False
        self._flushing: asyncio.Handle | None = None
        self._line = bytearray()
        # Its output of errors is the server's: a traceback belongs into the log of the service.
        self._child = subprocess.Popen(  # noqa: S603  our own module
            [sys.executable, "-P", "-m", f"{__package__}.recorder"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
            env=child_environment(),
        )
        assert self._child.stdin is not None
        assert self._child.stdout is not None
        self._in, self._out = self._child.stdin.fileno(), self._child.stdout.fileno()
        os.set_blocking(self._in, False)
        os.set_blocking(self._out, False)
        self._loop.add_reader(self._out, self._read)

    # RecordingSink

    def begin(self, number: int, peer: str, name: str, source: TrackSource, codec: str) -> None:
        """See `RecordingSink`."""
        self.say(Begun(number, peer, name, source, codec))

    def packet(self, number: int, packet: bytearray, now: float) -> None:
        """See `RecordingSink`."""
        if self._bytes > MOST_WAITING:
            self._lost += 1
            return
        if self._lost:
            lost, self._lost = self._lost, 0
            self.say(Lost(lost))
        self._put(packet_head(number, now, len(packet)), bytes(packet))  # the next receiver's is written there

    def relate(self, number: int, ntp: int, timestamp: int) -> None:
        """See `RecordingSink`."""
        if self._bytes <= MOST_WAITING:
            self.say(Related(number, ntp, timestamp))

    def end(self, number: int) -> None:
        """See `RecordingSink`."""
        self.say(Ended(number))

    def close(self, why: str) -> None:
        """See `RecordingSink`."""
        if self._lost:
            self.say(Lost(self._lost))
        self.say(RecordingClosed(why))
        self._closing = True

    # The pipes

    def say(self, message: RecorderMessage) -> None:
        """Send a message, in this turn of the loop or as soon as the process takes it."""
        self._put(write_message(message))

    def _put(self, *pieces: bytes) -> None:
        if self._in < 0 or self._closing:
            return
        self._waiting += pieces
        self._bytes += sum(map(len, pieces))
        if self._flushing is None and not self._is_writing:
            self._flushing = self._loop.call_soon(self._flush)

    def leave(self) -> None:
        """Give the process what waits for it, within `_FLUSH`, and leave it to itself."""
        if not self._closing:
            self.close("server_stopped")
        until = time.monotonic() + _FLUSH
        self._flush()
        while self._in >= 0 and self._waiting and time.monotonic() < until:
            select.select([], [self._in], [], 0.1)
            self._flush()
        self._end_input()
        self._end_output()

    def _flush(self) -> None:
        self._flushing = None
        if self._in < 0:
            return
        try:
            while self._waiting:
                self._forget(os.writev(self._in, list(islice(self._waiting, _PIECES))))
        except BlockingIOError:
            pass
        except OSError:
            self._end_input()  # it has ended; what it has said is still to be read
            return
        if self._waiting and not self._is_writing:
            self._is_writing = True
            self._loop.add_writer(self._in, self._flush)
        elif not self._waiting:
            if self._is_writing:
                self._is_writing = False
                self._loop.remove_writer(self._in)
            if self._closing:
                self._end_input()

    def _forget(self, sent: int) -> None:
        """So many bytes are in the pipe."""
        self._bytes -= sent
        while self._waiting and sent >= len(self._waiting[0]):
            sent -= len(self._waiting.popleft())
        if sent:
            self._waiting[0] = memoryview(self._waiting[0])[sent:]

    def _read(self) -> None:
        try:
            data = os.read(self._out, 4096)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._end_input()
            self._end_output()
            self._recording.failed("the recorder has ended by itself")
            self._reap()
            return
        self._line += data
        *lines, rest = self._line.split(b"\n")
        self._line = bytearray(rest[:_MOST_LINE])
        for line in lines:
            request = read_line(bytes(line))
            if request is not None:
                self._heed(*request)

    def _heed(self, what: str, value: int | str) -> None:
        if what == "keyframe" and isinstance(value, int):
            self._recording.keyframe(value)
        elif what == "failed" and isinstance(value, str):
            self._recording.failed(value)

    def _reap(self) -> None:
        """Wait for the end of a process that has closed its output, without waiting here."""
        if self._child.poll() is None:
            self._loop.call_later(0.1, self._reap)
        else:
            self._gone(self)

    def _end_input(self) -> None:
        if self._in >= 0:
            if self._is_writing:
                self._loop.remove_writer(self._in)
                self._is_writing = False
            self._in = -1
            self._waiting.clear()
            self._bytes = 0
            assert self._child.stdin is not None
            with contextlib.suppress(OSError):
                self._child.stdin.close()

    def _end_output(self) -> None:
        if self._out >= 0:
            self._loop.remove_reader(self._out)
            self._out = -1
            assert self._child.stdout is not None
            self._child.stdout.close()
