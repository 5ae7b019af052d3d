"""Every program in ``examples/`` does what it says."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples"

PATIENCE = 120.0
"""Seconds that an example may take on a busy machine; each is done in two."""

SAYS = {
    "aiortc_through_relay.py": r"(127\.0\.0\.1:\d+ has relayed \d{3,} bytes to peers\n){2}HELLO THROUGH THE RELAY\n",
    "core_by_hand.py": (
        r" +0 s  SendToClient\n +0 s  OpenRelay\n +0 s  SendToClient\nthe relay is 198\.51\.100\.1:\d{5}\n"
        r"( +\d+ s  SendToClient\n)+after 1\.0 h there is 1 allocation\nafter 2\.0 h there are 0: AllocationEnded\n"
    ),
    "credential_hook.py": (
        r"alice gets a relay on 127\.0\.0\.1\nalice with another password gets 401\nmallory gets 401\n"
        r"without the program, alice gets 500\n"
    ),
    "credential_source.py": (
        r"alice gets a relay on 127\.0\.0\.1\nmallory gets 401\nwithout the database, alice gets 500\n"
    ),
    "event_listener.py": r"alice 1234 bytes\nbob 50 bytes\n",
    "test_with_fixture.py": r"(.*\n)*2 passed in .*\n",
}
"""What each prints, to the last line."""


def run(name: str) -> "subprocess.CompletedProcess[str]":
    """Run an example as its own text says, from the repository's root; warnings are errors."""
    start = ["-m", "pytest", "-q", "-p", "no:cacheprovider"] if name.startswith("test_") else ["-W", "error"]
    return subprocess.run(
        [sys.executable, *start, f"examples/{name}"],
        cwd=ROOT,
        env={name: value for name, value in os.environ.items() if name != "PYTEST_ADDOPTS"},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


@pytest.mark.parametrize("name", sorted(SAYS))
def test_it_does_what_it_says(name: str) -> None:
    done = run(name)
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.fullmatch(SAYS[name], done.stdout), done.stdout
    assert "Traceback" not in done.stderr


def test_every_example_is_run() -> None:
    assert sorted(path.name for path in EXAMPLES.glob("*.py")) == sorted(SAYS)


def test_examples_use_the_public_api_alone() -> None:
    """Whoever copies one has the package, and nothing of the repository."""
    for path in EXAMPLES.glob("*.py"):
        assert not re.search(r"^\s*(from|import) (auth|cli|stun|turnserver)\b", path.read_text(), re.MULTILINE), path


def test_the_core_is_driven_in_forty_lines() -> None:
    lines = (EXAMPLES / "core_by_hand.py").read_text(encoding="utf-8").splitlines()
    assert len([line for line in lines if line.strip()]) <= 40
