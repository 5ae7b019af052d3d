"""The units of systemd in ``conf/systemd``: systemd itself reads them, and says how well the service is shut in."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from cli.exit_codes import ExitCode
from tests.support.tools import require_tool

ROOT = Path(__file__).resolve().parent.parent
UNITS = ROOT / "conf" / "systemd"
PAGE = ROOT / "docs" / "how-to" / "systemd.md"
PATIENCE = 120.0


def settings(name: str) -> list[tuple[str, str]]:
    """Every assignment of a unit, in order."""
    lines = (UNITS / name).read_text(encoding="utf-8").splitlines()
    return [(key, value) for key, _, value in (line.partition("=") for line in lines if re.match(r"[A-Z]\w+=", line))]


def analyze(*arguments: object) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [require_tool("systemd-analyze"), *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


def test_systemd_takes_the_units(processes: None, tmp_path: Path) -> None:
    """Without a word: a key that it does not know, or a program that is not there, would be one."""
    for name in ("meshturn.service", "meshturn.socket"):
        text = (UNITS / name).read_text(encoding="utf-8").replace("/usr/bin/meshturn", sys.executable)
        (tmp_path / name).write_text(
            text.replace("User=meshturn", "User=daemon").replace("Group=meshturn", "Group=daemon")
        )
    done = analyze("verify", "--man=no", tmp_path / "meshturn.service", tmp_path / "meshturn.socket")
    assert done.returncode == 0, done.stderr
    assert [line for line in done.stderr.splitlines() if "meshturn" in line] == []


def test_a_mistake_would_be_seen(processes: None, tmp_path: Path) -> None:
    """Of the test before this one."""
    text = (UNITS / "meshturn.service").read_text(encoding="utf-8").replace("/usr/bin/meshturn", sys.executable)
    (tmp_path / "meshturn.service").write_text(text.replace("WatchdogSec", "WatchdogSeconds"))
    assert "WatchdogSeconds" in analyze("verify", "--man=no", tmp_path / "meshturn.service").stderr


def test_the_page_states_the_exposure_that_systemd_finds(processes: None, tmp_path: Path) -> None:
    shutil.copy(UNITS / "meshturn.service", tmp_path)
    done = analyze("security", "--offline=true", "--no-pager", tmp_path / "meshturn.service")
    found = re.search(r"Overall exposure level for meshturn\.service: ([\d.]+)", done.stdout)
    assert found is not None, done.stdout + done.stderr
    assert float(found[1]) < 2.0
    version = re.search(r"systemd (\d+)", analyze("--version").stdout)
    stated = dict(re.findall(r"systemd (\d+) finds an exposure of ([\d.]+)", PAGE.read_text(encoding="utf-8")))
    assert stated
    if version is not None and version[1] in stated:
        assert stated[version[1]] == found[1]


def test_a_wrong_configuration_is_not_tried_again() -> None:
    service = settings("meshturn.service")
    assert ("Restart", "on-failure") in service
    assert ("RestartPreventExitStatus", str(int(ExitCode.USAGE))) in service


def test_a_reload_checks_the_configuration_first() -> None:
    """And the signal is that of the server."""
    commands = [value for key, value in settings("meshturn.service") if key in {"ExecStart", "ExecReload"}]
    start, check, reload = commands
    assert start.replace(" serve ", " check ") == check
    assert reload == '/bin/sh -c "kill -HUP $MAINPID"'


def test_code_may_be_made_at_run_time() -> None:
    """DTLS fails without: cffi makes the functions that OpenSSL calls back (``MemoryError`` under systemd 252)."""
    assert "MemoryDenyWriteExecute" not in dict(settings("meshturn.service"))


@pytest.mark.parametrize("name", ["meshturn.service", "meshturn.socket"])
def test_nothing_starts_without_a_configuration(name: str) -> None:
    assert ("ConditionPathExists", "/etc/meshturn/meshturn.yml") in settings(name)
