"""Child processes: started, watched, started again when they end, and stopped. No word of what they do.

A child is a module that is run by the same Python (``-m``), and not a fork: threads and the event loop stay behind. It
inherits one end of a socket pair, the sockets that it is given, and nothing else; of the environment, it has what
Python needs. `turnserver.supervised` is its side.

What belongs to the outside world stays with the parent: it holds the sockets that a child works with, so their ports
are kept while no child runs, and the next child goes on with them. A child that ends is replaced before anybody is
told, the first time at once, then after longer and longer pauses. A child that ends before it was ready is a start
that has failed, which is no crash: it is said in other words, and the next attempt is not made at once. A child ends,
too, if it speaks nonsense, does not read, or says nothing for a while: it is killed then.
"""

import asyncio
import contextlib
import logging
import os
import signal
import socket
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple, Protocol

from turnserver.children import child_environment
from turnserver.errors import StartupError
from turnserver.faults import Faults
from turnserver.framing import FrameError
from turnserver.lines import Allowance, Lines
from turnserver.messages import MessageLink
from turnserver.supervised import ALIVE, FAULT, FIRST_KIND, READY, RemoteFault, read_fault
from turnserver.text import one_line

__all__ = ["ChildTiming", "Supervisor", "Work"]

_WORDS: Final = 20
"""Lines of a child's standard error that are remembered."""

_MOST_TEXT: Final = 64 * 1024
"""Bytes of standard error that are read in one turn, and kept without an end of line."""

_ALLOWANCE: Final = Allowance(burst=20, rate=0.2, total_burst=20, total_rate=0.2)

_logger = logging.getLogger("meshturn.processes")


class ChildTiming(NamedTuple):
    """Times of supervision, in seconds."""

    start: float = 60.0
    """Until a child has to be ready: importing takes a second, or ten on a machine that is overloaded."""
    tick: float = 1.0
    """Between two looks at a child."""
    silence: int = 20
    """Looks in a row without a word from a child after which it is killed. They are counted, so that a pause of the
    whole machine is no silence."""
    grace: float = 5.0
    """Until a child that is to stop is killed."""
    steady: float = 60.0
    """After which an end counts as the first one again."""
    pauses: tuple[float, ...] = (0.0, 1.0, 2.0, 5.0, 10.0, 30.0)
    """Before a child is started again, by the number of ends before; the last is for all further ones."""


class Work(Protocol):
    """What a child does, as the supervisor sees it."""

    def inherited(self) -> Sequence[int]:
        """The descriptors that the next child gets, under the same numbers."""

    def begin(self, send: Callable[[int, bytes], None]) -> None:
        """A child has been started: send it what it needs to be ready."""

    def receive(self, kind: int, payload: bytes) -> None:
        """A message from the child. Raises `turnserver.framing.FrameError` for one that it may not send."""

    def ended(self, why: str) -> None:
        """The child has ended, for that reason; another one may have been started already."""


class _Child:
    """One process and what is known of it."""

    def __init__(self, process: "subprocess.Popen[bytes]", link: MessageLink, errors: int) -> None:
        self.process = process
        self.link = link
        self.errors = errors
        self.words: deque[str] = deque(maxlen=_WORDS)
        self.text = bytearray()
        self.ready = False
        self.heard = True
        self.silent = 0
        self.why = ""
        """Why it was killed."""


class Supervisor:
    """Keeps one child process running from `start` to `stop`, on the running loop.

    ``name`` is for the log. ``module`` is the name of the module that is run.
    """

    def __init__(
        self, name: str, module: str, work: Work, *, faults: Faults, timing: ChildTiming | None = None
    ) -> None:
        self._name = name
        self._module = module
        self._work = work
        self._faults = faults
        self._timing = timing or ChildTiming()
        self._lines = Lines(_logger, _ALLOWANCE)
        self._loop = asyncio.get_running_loop()
        self._child: _Child | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._ends = 0
        self._since = 0.0
        self._stopping = False
        self._reaped = asyncio.Event()
        self._reaped.set()
        self._why = ""

    @property
    def pid(self) -> int | None:
        """The process id of the child; None while there is none."""
        return None if self._child is None else self._child.process.pid

    @property
    def ready(self) -> bool:
        """Whether there is a child that has said that it is ready."""
        return self._child is not None and self._child.ready

    @property
    def running(self) -> bool:
        """Whether there is a child; it takes messages as soon as it is ready."""
        return self._child is not None

    @property
    def waiting(self) -> bool:
        """Whether there is no child, and one will be started after a pause."""
        return self._child is None and self._timer is not None

    @property
    def why(self) -> str:
        """Why the last child has ended."""
        return self._why

    def start(self) -> None:
        """Start the child, unless there is one.

        Raises `turnserver.errors.StartupError` if the system does not let it; it may be tried again.
        """
        if self._child is not None:
            return
        self._stopping = False
        self._cancel()
        try:
            self._spawn()
        except OSError as error:
            raise StartupError(f"The process {self._name} cannot be started: {error.strerror}.") from error

    def send(self, kind: int, payload: bytes) -> None:
        """Send a message to the child; without one it is lost."""
        if self._child is not None:
            self._child.link.send(kind, payload)

    def stop(self) -> None:
        """Let the child end: it has a moment to do so. `wait_closed` waits for that."""
        self._stopping = True
        self._cancel()
        child = self._child
        if child is not None:
            child.link.close()
            self._reap(child, self._loop.time() + self._timing.grace)

    async def wait_closed(self) -> None:
        """Wait until no child is left, after `stop`."""
        await self._reaped.wait()

    # A child's life

    def _spawn(self) -> None:
        ours, theirs = socket.socketpair()
        with contextlib.closing(theirs):
            errors, writing = os.pipe()
            try:
                os.set_blocking(errors, False)
                os.set_blocking(writing, False)  # words are lost rather than that a child waits
                process = subprocess.Popen(  # noqa: S603  this Python, and a module of ours
                    [sys.executable, "-P", "-m", self._module, str(theirs.fileno()), str(os.getpid())],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=writing,
                    pass_fds=(theirs.fileno(), *self._work.inherited()),
                    env=child_environment(),
                )
            except BaseException:
                ours.close()
                os.close(errors)
                raise
            finally:
                os.close(writing)
        link = MessageLink(ours, self._receive, self._link_ended)
        child = self._child = _Child(process, link, errors)
        self._since = self._loop.time()
        self._reaped.clear()
        self._loop.add_reader(errors, self._hear, child)
        self._timer = self._loop.call_later(self._timing.tick, self._look)
        self._work.begin(link.send)

    def _receive(self, kind: int, payload: bytes) -> None:
        child = self._child
        if child is None:
            return
        child.heard = True
        if kind == READY:
            child.ready = True
            _logger.info("process started", extra={"fields": {"process": self._name, "pid": child.process.pid}})
        elif kind == FAULT:
            part, times, text = read_fault(payload)
            self._faults.note(part, RemoteFault(text), times=times)
        elif kind >= FIRST_KIND:
            self._work.receive(kind, payload)
        elif kind != ALIVE:
            raise FrameError(f"a message of kind {kind}")

    def _look(self) -> None:
        """Kill a child that is not ready in time, or says nothing."""
        child = self._child
        self._timer = self._loop.call_later(self._timing.tick, self._look)
        if child is None:
            return
        child.silent = 0 if child.heard else child.silent + 1
        child.heard = False
        if not child.ready and self._loop.time() - self._since > self._timing.start:
            self._kill(f"it was not ready after {self._timing.start:.0f} s")
        elif child.ready and child.silent >= self._timing.silence:
            self._kill(f"it said nothing for {self._timing.silence * self._timing.tick:.0f} s")

    def _kill(self, why: str) -> None:
        child = self._child
        if child is not None:
            child.why = child.why or why
            child.link.close()
            child.process.kill()
            self._reap(child, 0.0)

    def _link_ended(self, why: str) -> None:
        """The child has closed its end, mostly by ending; or the link was given up for ``why``."""
        child = self._child
        if child is not None:
            child.why = child.why or why
            self._reap(child, 0.0 if why else self._loop.time() + self._timing.grace)

    def _reap(self, child: _Child, until: float) -> None:
        """Wait for the end of a process, and kill it at that time (of the loop's clock) at the latest."""
        if child is not self._child:
            return
        if child.process.poll() is None:
            if self._loop.time() >= until:
                child.why = child.why or "it did not end"
                child.process.kill()
            self._loop.call_later(0.02, self._reap, child, until)
            return
        self._child = None
        self._hear(child)
        with contextlib.suppress(OSError):
            self._loop.remove_reader(child.errors)
            os.close(child.errors)
        if self._stopping:
            self._reaped.set()
        else:
            self._after(child)

    def _after(self, child: _Child) -> None:
        """A child has ended by itself, or had to: say why, and start another one before the others are told."""
        if self._loop.time() - self._since > self._timing.steady and child.ready:
            self._ends = 0
        elif not child.ready:
            self._ends = max(self._ends, 1)
        pauses = self._timing.pauses
        pause = pauses[min(self._ends, len(pauses) - 1)]
        self._ends += 1
        self._why = ", ".join(filter(None, (child.why, _end_of(child.process.returncode))))
        fields = {"process": self._name, "pid": child.process.pid, "cause": self._why, "again_in": pause}
        words = _last_words(child.words)
        if words:
            fields["last_words"] = words
        _logger.error("process ended" if child.ready else "process did not start", extra={"fields": fields})
        self._cancel()
        if pause:
            self._timer = self._loop.call_later(pause, self._again)
            self._reaped.set()
        else:
            self._again()
        self._work.ended(self._why)

    def _again(self) -> None:
        try:
            self._spawn()
        except OSError as error:
            self._reaped.set()
            pause = self._timing.pauses[-1]
            fields = {"process": self._name, "cause": str(error.strerror), "again_in": pause}
            _logger.error("process did not start", extra={"fields": fields})
            self._timer = self._loop.call_later(pause, self._again)

    def _cancel(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _hear(self, child: _Child) -> None:
        """Write what the child says on standard error to the log, and remember it as its last words."""
        try:
            data = os.read(child.errors, _MOST_TEXT)
        except OSError:
            return
        if not data and self._child is child:
            self._loop.remove_reader(child.errors)  # it has closed it, or it is about to be reaped
        child.text += data
        *lines, rest = child.text.split(b"\n")
        if not data or len(rest) > _MOST_TEXT:
            lines, rest = [*lines, rest], bytearray()
        child.text = bytearray(rest)
        for line in lines:
            text = one_line(line.decode("utf-8", "replace").rstrip())
            if text:
                child.words.append(text)
                fields = {"process": self._name, "pid": child.process.pid, "text": text}
                self._lines.write(logging.WARNING, "process says", fields)


def _end_of(status: int) -> str:
    """How a process has ended, in words."""
    if status >= 0:
        return f"exit status {status}"
    with contextlib.suppress(ValueError):
        return f"ended by {signal.Signals(-status).name}"
    return f"ended by signal {-status}"


def _last_words(lines: Sequence[str]) -> str:
    """What says most of what was written last: Python's fatal error, or the last line of a traceback."""
    fatal = [line for line in lines if line.startswith("Fatal Python error")]
    return (fatal or list(lines) or [""])[-1]
