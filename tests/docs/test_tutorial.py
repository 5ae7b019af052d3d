"""The programs of the tutorial, as a reader would write them down: they do what it says."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TUTORIAL = (ROOT / "docs" / "tutorial.md").read_text(encoding="utf-8")
PROGRAM, TEST, CONFTEST = re.findall(r"```python\n(.*?)```", TUTORIAL, re.DOTALL)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The reader's folder, outside the repository."""
    for name, text in (("relay.py", PROGRAM), ("test_relay.py", TEST), ("conftest.py", CONFTEST)):
        (tmp_path / name).write_text(text, encoding="utf-8")
    return tmp_path


def run(folder: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env={name: value for name, value in os.environ.items() if name != "PYTEST_ADDOPTS"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_the_program_says_what_the_tutorial_shows(folder: Path) -> None:
    done = run(folder, "-W", "error", "relay.py")
    assert done.returncode == 0, done.stderr
    assert f"$ python relay.py\n{done.stdout}```" in TUTORIAL


def test_its_test_passes(folder: Path) -> None:
    done = run(folder, "-m", "pytest", "-q", "test_relay.py")
    assert done.returncode == 0, done.stdout
    assert "1 passed" in done.stdout
