"""Child processes that do what they should not: each is said, bounded, and costs nobody else anything."""

import asyncio
import json
import logging
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.support import supervised_child
from tests.support.sfu_people import until
from tests.support.supervised_child import DO, SAID
from turnserver.errors import StartupError
from turnserver.faults import Faults
from turnserver.supervisor import ChildTiming, Supervisor

pytestmark = pytest.mark.process

ROOT = Path(__file__).resolve().parents[2]
TIMING = ChildTiming(start=3600, tick=0.05, silence=10**9, grace=3600, pauses=(0.0, 3600.0))


class Parent:
    """A supervisor, what its children begin with, and what comes of them."""

    def __init__(self, timing: ChildTiming, first: Sequence[Any], module: str = supervised_child.__name__) -> None:
        self.first = first
        self.said: list[Any] = []
        self.ends: list[str] = []
        self.inherit: list[int] = []
        self.faults = Faults()
        self.supervisor = Supervisor("child 1", module, self, faults=self.faults, timing=timing)

    def do(self, *what: Any) -> None:
        self.supervisor.send(DO, json.dumps(what).encode())

    def inherited(self) -> Sequence[int]:
        return self.inherit

    def begin(self, send: Callable[[int, bytes], None]) -> None:
        send(DO, json.dumps(self.first).encode())

    def receive(self, kind: int, payload: bytes) -> None:
        assert kind == SAID
        self.said.append(json.loads(payload))

    def ended(self, why: str) -> None:
        self.ends.append(why)


Make = Callable[..., Parent]


@pytest.fixture
async def make() -> AsyncIterator[Make]:
    """Makes parents with a child that has been started; none is left."""
    made: list[Parent] = []

    def start(*first: Any, timing: ChildTiming = TIMING) -> Parent:
        made.append(Parent(timing, first or ["work"]))
        made[-1].supervisor.start()
        return made[-1]

    yield start
    for parent in made:
        parent.supervisor.stop()
        await parent.supervisor.wait_closed()
        assert not parent.supervisor.running


def line(caplog: pytest.LogCaptureFixture, message: str) -> dict[str, Any]:
    """The fields of the one log line with that message."""
    (found,) = [record.__dict__["fields"] for record in caplog.records if record.getMessage() == message]
    assert isinstance(found, dict)
    return found


async def test_a_child_works_and_stops(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    parent = make()
    parent.do("echo", "early")
    await until(lambda: bool(parent.said))
    assert parent.supervisor.ready
    pid = parent.supervisor.pid
    assert line(caplog, "process started") == {"process": "child 1", "pid": pid}
    parent.supervisor.start()
    assert parent.supervisor.pid == pid, "there is one already"
    parent.supervisor.stop()
    await parent.supervisor.wait_closed()
    parent.do("echo", "late")
    assert (parent.said, parent.ends) == ([["early"]], [])
    assert pid is not None
    assert not _runs(pid)


async def test_a_child_has_what_it_needs_and_no_more(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """No secret of the environment, no descriptor of the parent but those that are given to it."""
    monkeypatch.setenv("MESHTURN_AUTH__SHARED_SECRETS", "hush")
    with socket.socket() as private, socket.socket() as given:
        private.set_inheritable(True)
        parent = Parent(TIMING, ["work"])
        parent.inherit = [given.fileno()]
        parent.supervisor.start()
        parent.do("tell")
        await until(lambda: bool(parent.said))
        ((pid, variables, descriptors, its_parent),) = parent.said
        assert pid == parent.supervisor.pid
        assert its_parent == os.getpid()
        assert "hush" not in str(variables)
        assert str(given.fileno()) in descriptors
        assert len(descriptors) <= 9, "3 standard streams, 2 sockets, the loop's epoll and wake-up pair, the listing"
        parent.supervisor.stop()
        await parent.supervisor.wait_closed()


@pytest.mark.parametrize(
    ("what", "cause", "words"),
    [
        (["leave", 7], "exit status 7", None),
        (["crash", "out\x1b[31m of luck"], "exit status 1", r"RuntimeError: out\x1b[31m of luck"),
        (["segfault"], "ended by SIGSEGV", "Fatal Python error: Segmentation fault"),
        (["garbage"], "it sent a message of 4294967295 bytes, ended by SIGKILL", None),
        (["odd"], "it sent a message of kind 7, ended by SIGKILL", None),
    ],
)
async def test_an_end_is_said_with_its_cause_and_the_next_child_is_there_already(
    make: Make, caplog: pytest.LogCaptureFixture, what: list[Any], cause: str, words: str | None
) -> None:
    parent = make()
    parent.do("echo", "ready")
    await until(lambda: bool(parent.said))
    first = parent.supervisor.pid
    parent.do(*what)
    await until(lambda: bool(parent.ends))
    assert parent.supervisor.running
    assert parent.supervisor.pid != first
    assert parent.ends == [cause] == [parent.supervisor.why]
    fields = line(caplog, "process ended")
    assert (fields["cause"], fields["pid"], fields["again_in"]) == (cause, first, 0.0)
    assert fields.get("last_words") == words
    parent.do("echo", "again")
    await until(lambda: len(parent.said) == 2)
    parent.do("leave", 3)
    await until(lambda: len(parent.ends) == 2)
    assert parent.supervisor.waiting, "the second time there is a pause"
    assert not parent.supervisor.running


async def test_a_start_that_fails_is_no_crash(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    """It is called otherwise, and is not tried again at once."""
    parent = make("leave", 4)
    await until(lambda: bool(parent.ends))
    assert line(caplog, "process did not start")["cause"] == "exit status 4"
    assert parent.supervisor.waiting
    parent.first = ["work"]
    parent.supervisor.start()
    parent.do("echo", "now")
    await until(lambda: bool(parent.said))


async def test_pauses_grow_and_begin_anew_after_steady_work(make: Make) -> None:
    parent = make("leave", 1, timing=TIMING._replace(pauses=(0.0, 0.01, 0.02, 3600.0)))
    await until(lambda: len(parent.ends) == 3)
    assert parent.supervisor.waiting
    steady = make(timing=TIMING._replace(steady=0.0, pauses=(0.0, 3600.0)))
    for number in range(3):
        steady.do("echo", "x")
        await until(lambda: len(steady.said) > number)  # noqa: B023  awaited within the turn
        steady.do("leave", 1)
        await until(lambda: len(steady.ends) > number)  # noqa: B023
        assert steady.supervisor.running


@pytest.mark.parametrize(
    ("first", "timing", "cause"),
    [
        (["echo", "not ready"], TIMING._replace(start=0.0), "it was not ready after 0 s, ended by SIGKILL"),
        (["work"], TIMING._replace(silence=40), None),
    ],
)
async def test_a_child_that_hangs_is_killed(
    make: Make, first: list[Any], timing: ChildTiming, cause: str | None
) -> None:
    parent = make(*first, timing=timing)
    if cause is None:
        parent.do("sleep")  # at once: one that gets no time on a busy machine is as silent
        cause = "it said nothing for 2 s, ended by SIGKILL"
    await until(lambda: bool(parent.ends))
    assert parent.ends[0] == cause


async def test_a_child_that_does_not_read_is_killed(make: Make) -> None:
    parent = make()
    parent.do("echo", "x")
    await until(lambda: bool(parent.said))
    parent.do("sleep")
    for _ in range(40):
        parent.do("echo", "x" * 500_000)
    await until(lambda: bool(parent.ends))
    assert parent.ends == ["it does not read what it is sent, ended by SIGKILL"]


async def test_a_child_that_closes_its_link_and_stays_is_killed(make: Make) -> None:
    parent = make(timing=TIMING._replace(grace=0.1))
    parent.do("close")
    await until(lambda: bool(parent.ends))
    assert parent.ends == ["it did not end, ended by SIGKILL"]


async def test_stopping_has_an_end(make: Make) -> None:
    parent = make(timing=TIMING._replace(grace=0.1))
    parent.do("echo", "x")
    await until(lambda: bool(parent.said))
    parent.do("sleep")
    pid = parent.supervisor.pid
    parent.supervisor.stop()
    await parent.supervisor.wait_closed()
    assert pid is not None
    assert not _runs(pid)
    assert parent.ends == [], "it was to end"


async def test_what_a_child_says_is_in_the_log(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    parent = make()
    parent.do("write", "one \x1b[1mline\n\nand a half")
    parent.do("leave", 0)
    await until(lambda: bool(parent.ends))
    texts = [r.__dict__["fields"]["text"] for r in caplog.records if r.getMessage() == "process says"]
    assert texts == [r"one \x1b[1mline", "and a half"]


async def test_faults_of_a_child_are_faults_of_the_server(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    parent = make()
    parent.do("faults", 5)
    await until(lambda: bool(parent.faults.counts))
    assert parent.faults.counts == {"media": 5}
    (record,) = [record for record in caplog.records if record.getMessage() == "fault in media"]
    assert "ValueError: number 0" in str(record.exc_info)
    assert parent.ends == []


async def test_a_system_that_allows_no_process(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nonexistent/python")
    before = len(os.listdir("/proc/self/fd"))
    parent = Parent(TIMING, ["work"])
    with pytest.raises(StartupError, match="No such file"):
        parent.supervisor.start()
    assert len(os.listdir("/proc/self/fd")) == before
    assert not parent.supervisor.waiting
    monkeypatch.undo()
    later = make(timing=TIMING._replace(pauses=(0.0, 0.0)))
    later.do("echo", "x")
    await until(lambda: bool(later.said))
    monkeypatch.setattr(sys, "executable", "/nonexistent/python")
    later.do("leave", 0)
    await until(lambda: bool(later.ends))
    monkeypatch.undo()
    assert not later.supervisor.running


def test_a_parent_that_is_killed_takes_its_child_along() -> None:
    command = [sys.executable, "-m", "tests.support.supervising_parent"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        assert Path(f"/proc/{child}/cmdline").read_text().endswith(f"\0{parent.pid}\0")
        parent.send_signal(signal.SIGKILL)
    asyncio.run(until(lambda: not _runs(child)))


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
