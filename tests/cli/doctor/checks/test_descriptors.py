"""Limits of open files, of processes in a folder that looks like /proc and of a real one."""

from collections.abc import Callable
from pathlib import Path

import pytest

from cli.doctor.checks import descriptors as checked
from cli.doctor.checks.descriptors import Running, descriptors, running_servers
from cli.doctor.findings import Severity
from cli.doctor.host import Host
from tests.support.server import TurnServerProcess
from turnserver.descriptors import UNLIMITED
from turnserver.files import files_needed

LIMITS = """Limit                     Soft Limit           Hard Limit           Units
Max open files            {soft:<20} {hard:<20} files
Max locked memory         8388608              8388608              bytes
"""
CAUGHT = "SigCgt:\t0000000180014a03\n"
"""SIGHUP, SIGUSR1 and SIGUSR2 among others."""


@pytest.fixture
def process(tmp_path: Path) -> Callable[..., None]:
    def add(pid: int, *words: str, hard: str = "4096", caught: str = CAUGHT) -> None:
        folder = tmp_path / "proc" / str(pid)
        folder.mkdir(parents=True)
        (tmp_path / "proc" / "self").mkdir(exist_ok=True)
        (folder / "cmdline").write_bytes("\0".join(words).encode() + b"\0")
        (folder / "limits").write_text(LIMITS.format(soft="1024", hard=hard))
        (folder / "status").write_text(caught)

    return add


def test_which_processes(make: Callable[..., Host], process: Callable[..., None]) -> None:
    """Servers, and no other program that has the same words, nor another command of meshturn."""
    process(10, "/usr/bin/python3", "-m", "meshturn", "serve", "-c", "x.yml")
    process(11, "/usr/bin/meshturn", "up", hard="unlimited")
    process(12, "vi", "meshturn", "serve", caught="SigCgt:\t0000000000000000\n")
    process(13, "/usr/bin/meshturn", "probe", "turn:x")
    process(14, "/usr/sbin/nginx", "serve")
    assert running_servers(make()) == [Running(10, 4096), Running(11, UNLIMITED)]


async def test_a_server_with_too_few(make: Callable[..., Host], process: Callable[..., None]) -> None:
    """A warning with the line for its unit; one with enough is fine."""
    process(10, "meshturn", "serve")
    process(11, "meshturn", "serve", hard="1000000")
    host = make()
    few, enough = await descriptors(host)
    assert (few.grade, enough.grade) == (Severity.WARNING, Severity.OK)
    assert "process 10" in few.what
    assert any(f"LimitNOFILE={files_needed(host.config)}" in line for line in few.mend)


async def test_no_server(make: Callable[..., Host], monkeypatch: pytest.MonkeyPatch) -> None:
    """What this shell would give to one."""
    monkeypatch.setattr(checked, "attainable_files", lambda: 1024)
    (found,) = await descriptors(make())
    assert (found.grade, "1024 files" in found.what) == (Severity.WARNING, True)
    monkeypatch.setattr(checked, "attainable_files", lambda: UNLIMITED)
    (found,) = await descriptors(make())
    assert (found.grade, "any number of files" in found.what) == (Severity.OK, True)


def test_a_real_server(turn_server: TurnServerProcess, make: Callable[..., Host]) -> None:
    """As the kernel writes it."""
    found = {running.pid: running.files for running in running_servers(make(proc=Path("/proc")))}
    assert found[turn_server.pid] > 0
