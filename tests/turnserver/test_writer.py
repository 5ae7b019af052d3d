"""Lines are written in order by a thread; whoever has one never waits, whatever the stream does."""

import contextlib
import errno
import fcntl
import io
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

import pytest

from turnserver.writer import LineWriter

PATIENCE = 90.0
PIPE_SIZE = 4096
ROOT = Path(__file__).resolve().parents[2]


class Pipe:
    """A small pipe; ``stream`` is its writing end."""

    def __init__(self) -> None:
        reader, writer = os.pipe()
        self.reader = os.fdopen(reader, "rb", buffering=0)
        fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, PIPE_SIZE)
        self.stream: TextIO = os.fdopen(writer, "w", encoding="utf-8")

    def read_all(self) -> str:
        """Everything up to the end."""
        return self.reader.readall().decode()

    def read(self) -> bytes:
        """What is there."""
        return self.reader.read(100)

    def close(self) -> None:
        self.reader.close()
        with contextlib.suppress(OSError):
            self.stream.close()


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    made = Pipe()
    yield made
    made.close()


def lost(count: int) -> str:
    return f"{count} missing\n"


def test_lines_come_in_order(pipe: Pipe) -> None:
    """From several threads too: each one's own are in order, and none is torn."""
    writer = LineWriter(pipe.stream, lost)
    found: list[str] = []
    reading = threading.Thread(target=lambda: found.append(pipe.read_all()))
    reading.start()

    def put(name: str) -> None:
        for number in range(2000):
            assert writer.put(f"{name} {number}\n")

    threads = [threading.Thread(target=put, args=(name,)) for name in "abc"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert writer.close(PATIENCE)
    pipe.stream.close()
    reading.join()
    lines = found[0].splitlines()
    for name in "abc":
        assert [line for line in lines if line[0] == name] == [f"{name} {number}" for number in range(2000)]
    assert len(lines) == 6000
    assert writer.dropped == 0


def test_a_pipe_that_nobody_reads_holds_up_nobody(pipe: Pipe) -> None:
    """What does not fit is dropped and counted, and the count stands where the lines are missing."""
    writer = LineWriter(pipe.stream, lost, size=10_000)
    line = "x" * 99
    taken = [writer.put(f"{number:05}{line}\n") for number in range(1000)]
    assert not writer.flush(0.0)
    dropped = taken.count(False)
    assert writer.dropped == dropped > 500
    found: list[str] = []
    reading = threading.Thread(target=lambda: found.append(pipe.read_all()))
    reading.start()
    assert writer.flush(PATIENCE)
    assert writer.put("the next\n")
    assert writer.close(PATIENCE)
    assert writer.dropped == dropped
    pipe.stream.close()
    reading.join()
    *early, notice, last = found[0].splitlines()
    assert [int(line[:5]) for line in early] == [number for number, written in enumerate(taken) if written]
    assert (notice, last) == (f"{dropped} missing", "the next")


def test_the_notice_stands_between_what_came_before_and_after(pipe: Pipe) -> None:
    """Lines that are put while older ones still wait come after the notice, too."""
    writer = LineWriter(pipe.stream, lost, size=3 * PIPE_SIZE)
    assert writer.put("a" * PIPE_SIZE + "\n")  # fills the pipe: the thread is stuck with the line feed
    while writer._waiting:
        pass
    assert writer.put("b" * PIPE_SIZE + "\n")
    assert not writer.put("c" * 3 * PIPE_SIZE + "\n")
    assert writer.put("d\n")
    found: list[str] = []
    reading = threading.Thread(target=lambda: found.append(pipe.read_all()))
    reading.start()
    assert writer.close(PATIENCE)
    pipe.stream.close()
    reading.join()
    assert [line[:9] for line in found[0].splitlines()] == ["aaaaaaaaa", "bbbbbbbbb", "1 missing", "d"]


def test_closing_does_not_wait_for_ever(pipe: Pipe) -> None:
    writer = LineWriter(pipe.stream, lost)
    writer.put("a" * 10 * PIPE_SIZE)
    assert not writer.close(0.01)
    assert not writer.put("too late\n")
    assert writer.dropped == 1


def test_a_reader_that_has_gone_is_no_error(pipe: Pipe) -> None:
    """The lines are counted; they are lost, and so is the notice, each time."""
    pipe.reader.close()
    writer = LineWriter(pipe.stream, lost)
    for number in range(3):
        writer.put(f"{number}\n")
        assert writer.flush(PATIENCE)
    assert writer.dropped == 3
    assert writer.close(PATIENCE)


def test_after_a_failure_it_goes_on(pipe: Pipe, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that was full, say: when there is room again, the number of missing lines comes first."""

    def full(descriptor: int, data: memoryview) -> int:
        raise OSError(errno.ENOSPC, "no space left on device")

    writer = LineWriter(pipe.stream, lost)
    with monkeypatch.context() as patch:
        patch.setattr("turnserver.writer.os.write", full)
        for line in ("a\n", "b\n"):
            writer.put(line)
            assert writer.flush(PATIENCE)
        assert writer.dropped == 2
    writer.put("c\n")
    assert writer.close(PATIENCE)
    assert pipe.read() == b"2 missing\nc\n"
    assert writer.dropped == 2


def test_a_descriptor_that_does_not_block_is_waited_for(pipe: Pipe) -> None:
    """A shell may have made it so, for everybody who shares it."""
    os.set_blocking(pipe.stream.fileno(), False)
    writer = LineWriter(pipe.stream, lost)
    writer.put("a" * 3 * PIPE_SIZE + "\n")
    assert pipe.reader.read(1) == b"a"
    found: list[str] = []
    reading = threading.Thread(target=lambda: found.append(pipe.read_all()))
    reading.start()
    assert writer.close(PATIENCE)
    pipe.stream.close()
    reading.join()
    assert found[0] == "a" * (3 * PIPE_SIZE - 1) + "\n"


def test_a_stream_without_a_descriptor_is_written_to_as_it_is() -> None:
    stream = io.StringIO()
    writer = LineWriter(stream, lost)
    writer.put("é\n")
    assert writer.flush(PATIENCE)
    assert stream.getvalue() == "é\n"
    stream.close()
    writer.put("lost\n")
    assert writer.close(PATIENCE)
    assert writer.dropped == 1


def test_what_an_encoding_has_no_room_for_is_escaped(pipe: Pipe) -> None:
    stream = os.fdopen(os.dup(pipe.stream.fileno()), "w", encoding="ascii")
    writer = LineWriter(stream, lost)
    writer.put("é…\n")
    assert writer.close(PATIENCE)
    assert pipe.read() == b"\\xe9\\u2026\n"
    stream.close()


def test_what_was_written_before_comes_first(pipe: Pipe) -> None:
    pipe.stream.write("before\n")
    writer = LineWriter(pipe.stream, lost)
    writer.put("after\n")
    assert writer.close(PATIENCE)
    assert pipe.read() == b"before\nafter\n"


PROGRAM = """
import sys
from turnserver.writer import LineWriter
writer = LineWriter(sys.stderr)
writer.put("x" * 1000000 + "\\n")
writer.close(0.05)
print("the end", flush=True)
"""


@pytest.mark.process
def test_the_interpreter_ends_though_a_thread_is_stuck() -> None:
    """Standard error is a full pipe with a writer in it, and the process exits as if nothing were."""
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.read() == b"the end\n"
        assert process.wait(PATIENCE) == 0


class Strange(io.StringIO):
    """A stream of a program's own, with a fault of its own."""

    def write(self, text: str) -> int:
        raise ZeroDivisionError


@pytest.mark.parametrize("stream", [None, Strange()], ids=["no stream", "a stream with a fault"])
def test_a_stream_that_takes_nothing_delays_nobody(stream: TextIO | None) -> None:
    """Nothing waits for a thread that has died of it."""
    writer = LineWriter(stream, lost)
    assert writer.put("one\n")
    assert writer.flush(PATIENCE)
    assert writer.put("two\n")
    assert writer.close(PATIENCE)
    assert writer.dropped == 2
