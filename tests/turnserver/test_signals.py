"""Signals are remembered from the first moment of a process, and none ends it without a word."""

import os
import pty
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from turnserver.signals import HELD, Signals

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def signals() -> Iterator[Signals]:
    before = {number: signal.getsignal(number) for number in HELD}
    held = Signals()
    held.hold()
    yield held
    held.release()
    assert {number: signal.getsignal(number) for number in HELD} == before


def kill(*numbers: signal.Signals) -> None:
    for number in numbers:
        signal.raise_signal(number)


def test_what_comes_before_anybody_listens_is_remembered_in_order(signals: Signals) -> None:
    kill(signal.SIGUSR1, signal.SIGHUP, signal.SIGUSR2)
    assert not signals.ends
    kill(signal.SIGTERM)
    assert signals.ends
    taken = [signals.take() for _ in range(5)]
    assert taken == [signal.SIGUSR1, signal.SIGHUP, signal.SIGUSR2, signal.SIGTERM, None]


def test_a_listener_is_woken_for_what_waits_and_for_what_comes(signals: Signals) -> None:
    woken: list[signal.Signals | None] = []
    kill(signal.SIGHUP)
    signals.listen(lambda: woken.append(signals.take()))
    assert woken == [signal.SIGHUP]
    kill(signal.SIGTERM, signal.SIGTERM)
    assert woken == [signal.SIGHUP, signal.SIGTERM, signal.SIGTERM]
    signals.listen(None)
    kill(signal.SIGHUP)
    assert len(woken) == 3


def test_holding_twice_is_holding_once(signals: Signals) -> None:
    signals.hold()
    kill(signal.SIGHUP)
    assert (signals.take(), signals.take()) == (signal.SIGHUP, None)


def test_a_flood_is_bounded(signals: Signals) -> None:
    kill(*[signal.SIGHUP] * 1000)
    found = 0
    while signals.take() is not None:
        found += 1
    assert found == 64


def test_a_second_one_ends_what_nobody_listens_in(signals: Signals, capfd: pytest.CaptureFixture[str]) -> None:
    """Whatever a start waits for: Ctrl-C twice is the end, with a word."""
    kill(signal.SIGINT, signal.SIGHUP)
    with pytest.raises(SystemExit) as caught:
        kill(signal.SIGTERM)
    assert caught.value.code == 128 + signal.SIGTERM
    assert capfd.readouterr().err == "meshturn: ended by a second signal (SIGTERM)\n"


CHILD = f"""
import os, sys
sys.path.insert(0, {str(ROOT)!r})
from turnserver.signals import Signals
signals = Signals()
signals.hold()
os.write(1, str(signals.hung_up).encode() + b" ")
sys.stdin.read()
os.write(1, f"{{signals.hung_up}} {{signals.take().name}}".encode())
"""


@pytest.mark.process
def test_a_terminal_that_is_closed_is_not_a_reload() -> None:
    """The same signal; the terminal has gone."""
    master, slave = pty.openpty()
    reader, writer = os.pipe()
    child = subprocess.Popen(
        [sys.executable, "-c", "import fcntl, termios; fcntl.ioctl(2, termios.TIOCSCTTY, 0)\n" + CHILD],
        stdin=reader,
        stdout=subprocess.PIPE,
        stderr=slave,
        start_new_session=True,
    )
    assert child.stdout is not None
    os.close(slave)
    os.close(reader)
    assert child.stdout.read(6) == b"False "
    os.close(master)
    os.close(writer)
    assert child.stdout.read() == b"True SIGHUP"
    child.stdout.close()
    assert child.wait() == 0
