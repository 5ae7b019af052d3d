"""How tests are run: who starts a process says so, files stay whole, and reports never end a run."""

import configparser
import re
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import settings

from tests.support import guard
from tests.support.examples import FAST, WHOLE, scaled
from tests.support.reports import add_section
from tests.support.schedule import Scopes
from tests.support.tools import DEBIAN_PACKAGES, require_tool

ROOT = Path(__file__).resolve().parent.parent
BROWSER = [f"tests/{path}" for path in ("browser/test_a.py", "browser/test_b.py", "net/test_calls.py")]


def a_report() -> pytest.TestReport:
    return pytest.TestReport("tests/test_x.py::test_x", ("tests/test_x.py", 1, "test_x"), {}, "failed", None, "call")


def start() -> int:
    return subprocess.run([sys.executable, "--version"], check=True, capture_output=True).returncode


def test_a_test_that_does_not_say_so_starts_no_process(request: pytest.FixtureRequest) -> None:
    """`make check` leaves processes out, so a test without the mark fails instead of making it slow."""
    with pytest.raises(RuntimeError, match=rf"{request.node.name} starts .*, so it has to be marked `process`"):
        start()


@pytest.mark.process
def test_a_test_that_says_so_starts_them() -> None:
    assert start() == 0


def test_a_test_that_uses_a_fixture_which_does_is_marked(request: pytest.FixtureRequest, processes: None) -> None:
    """So nobody has to remember what starts what."""
    assert request.node.get_closest_marker("process") is not None
    assert start() == 0


def test_a_library_may_look_for_another(request: pytest.FixtureRequest) -> None:
    """`ctypes.util.find_library` starts ``ldconfig``, whenever the module that asks is imported."""
    assert request.node.get_closest_marker("process") is None
    for program in guard.FINDERS:
        sys.audit("subprocess.Popen", f"/sbin/{program}", [], None, None)


def test_every_mark_is_explained() -> None:
    """In setup.cfg for `pytest --markers`, and in CONTRIBUTING.md."""
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg", encoding="utf-8")
    marks = [line.partition(":")[0] for line in config["tool:pytest"]["markers"].split("\n") if line]
    assert "process" in marks
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    assert [mark for mark in marks if f"`{mark}`" not in text] == []


def test_properties_have_fewer_examples_in_a_fast_run() -> None:
    """`make check` chooses the profile by its name."""
    assert f"--hypothesis-profile {FAST} " in (ROOT / "Makefile").read_text(encoding="utf-8")
    assert 0 < settings.get_profile(FAST).max_examples < settings.get_profile(WHOLE).max_examples
    assert (settings.get_profile(FAST).deadline, scaled(1)) == (None, 1)


def test_a_description_that_fails_is_told_as_such() -> None:
    """A hook of pytest must not raise: a page may be navigating, a log may be gone, a time limit may strike."""

    def gone() -> str:
        raise OSError("no such page")

    def late() -> str:
        pytest.fail("Timeout")

    report = a_report()
    add_section(report, "fine", lambda: "all is told")
    add_section(report, "page", gone)
    add_section(report, "other page", late)
    assert report.sections == [
        ("fine", "all is told"),
        ("page", "cannot be told: OSError: no such page"),
        ("other page", "cannot be told: Failed: Timeout"),
    ]


def test_a_program_that_is_missing_skips_its_test(monkeypatch: pytest.MonkeyPatch) -> None:
    """It says what to install; a program of which that is not known is an error wherever the test runs."""
    monkeypatch.setattr("shutil.which", lambda name, path: None)
    with pytest.raises(pytest.skip.Exception, match="apt-get install stun-client"):
        require_tool("stun")
    monkeypatch.undo()
    with pytest.raises(KeyError):
        require_tool("python3")


def test_ci_installs_the_programs() -> None:
    """All that `require_tool` can ask for, but what every Debian has."""
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    listed = set(" ".join(re.findall(r"^(?:packages|clients)=\((.*)\)$", script, re.MULTILINE)).split())
    assert set(DEBIAN_PACKAGES.values()) - listed == {"coreutils"}


def test_a_file_stays_whole() -> None:
    """Fixtures of a module are made once."""
    scopes = Scopes(4)
    assert scopes.of("tests/stun/test_uri.py::TestA::test_b[x::y]") == "tests/stun/test_uri.py"
    assert scopes.of("tests/test_conf.py::test_x") == "tests/test_conf.py"


def test_what_is_built_is_built_once() -> None:
    """All tests of the distribution share one."""
    assert {Scopes(4).of(f"tests/packaging/test_{name}.py::test") for name in "abc"} == {"tests/packaging"}


@pytest.mark.parametrize(("workers", "at_once"), [(1, 1), (2, 1), (3, 1), (4, 2), (6, 3), (16, 3)])
def test_calls_leave_cores_to_others(workers: int, at_once: int) -> None:
    """One file that drives Chromium for every two workers, and each stays whole."""
    scopes = Scopes(workers)
    first = [scopes.of(f"{file}::test_x") for file in BROWSER]
    assert len(set(first)) == at_once
    assert [scopes.of(f"{file}::test_y") for file in BROWSER] == first
    assert scopes.of("tests/net/test_lab.py::test_z") == "tests/net/test_lab.py"
