"""The side of a child: what it reads of its arguments, and that nothing a child says about faults is trusted."""

import asyncio
import contextlib
import json
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.sfu_people import until
from turnserver.framing import FrameError
from turnserver.messages import MessageLink
from turnserver.supervised import ALIVE, FAULT, READY, Parent, read_fault

ROOT = Path(__file__).resolve().parents[2]

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=9), lambda v: st.lists(v, max_size=4)
)


@given(st.binary(max_size=60) | values.map(lambda value: json.dumps(value).encode()))
def test_a_fault_is_one_or_refused(payload: bytes) -> None:
    with contextlib.suppress(FrameError):
        part, times, text = read_fault(payload)
        assert part.replace(".", "").isalpha()
        assert 1 <= times <= 1_000_000
        assert len(text) <= 8192


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        (["media.read", 3, "a"], ("media.read", 3, "a")),
        (["a new name " * 9, 10**12, "t" * 10_000], ("process", 1_000_000, "t" * 8192)),
    ],
)
def test_what_is_read_of_a_fault(told: list[object], expected: tuple[str, int, str]) -> None:
    assert read_fault(json.dumps(told).encode()) == expected


async def test_signs_of_life_and_faults_once_a_second() -> None:
    ours, theirs = socket.socketpair()
    heard: list[tuple[int, bytes]] = []
    link = MessageLink(ours, lambda kind, payload: heard.append((kind, payload)), lambda _: None)
    parent = Parent(theirs, lambda kind, payload: None)
    parent.ready()
    for number in range(3):
        parent.fault("media", ValueError(f"number {number}"))
    parent.fault("media.read", OSError("x"))
    await until(lambda: [kind for kind, _ in heard].count(ALIVE) >= 2)
    assert heard[0] == (READY, b"")
    told = [read_fault(payload) for kind, payload in heard if kind == FAULT]
    assert [(part, times) for part, times, _ in told] == [("media", 3), ("media.read", 1)]
    assert "number 0" in told[0][2]
    assert parent.unread == 0
    link.close()
    assert await asyncio.wait_for(parent.over(), 60) == ""


@pytest.mark.process
def test_a_child_of_another_parent_ends_at_once() -> None:
    """Its parent has ended while it was started: nobody would ever end it."""
    command = [sys.executable, "-m", "tests.support.supervised_child", "0", "1"]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL, timeout=120
    )
    assert (done.returncode, done.stderr.strip()) == (1, "the parent has ended")
