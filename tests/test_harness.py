"""How tests are run: who starts a process says so, files stay whole, and reports never end a run."""

import configparser
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import settings

from tests.support import guard
from tests.support.examples import FAST, WHOLE, scaled
from tests.support.reports import add_section
from tests.support.schedule import ALONE, LAST, LONGEST_FIRST, FileScheduling, drives_chromium, in_order, scope_of
from tests.support.tools import DEBIAN_PACKAGES, require_tool

ROOT = Path(__file__).resolve().parent.parent


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
    assert set(DEBIAN_PACKAGES.values()) - listed == {"coreutils", "util-linux"}


def test_a_file_stays_whole() -> None:
    """Fixtures of a module are made once."""
    assert scope_of("tests/stun/test_uri.py::TestA::test_b[x::y]") == "tests/stun/test_uri.py"
    assert scope_of("tests/test_conf.py::test_x") == "tests/test_conf.py"


def test_what_is_built_is_built_once() -> None:
    """All tests of the distribution share one."""
    assert {scope_of(f"tests/packaging/test_{name}.py::test") for name in "abc"} == {"tests/packaging"}


def test_what_is_slow_comes_first() -> None:
    """By the names of files and folders that there are; whatever has none comes last."""
    assert [place for place in (*LONGEST_FIRST, *ALONE, *LAST) if not (ROOT / place).exists()] == []
    assert LONGEST_FIRST[: len(ALONE)] == ALONE
    names = ["tests/stun/test_uri.py", "tests/browser/test_new.py", "tests/net/test_lab.py", "tests/net/test_calls.py"]
    items = [SimpleNamespace(nodeid=f"{name}::test") for name in names]
    assert in_order(items) == [items[3], items[1], items[2], items[0]]  # type: ignore[arg-type, comparison-overlap]


def test_files_that_drive_chromium_are_known() -> None:
    """By the mark, which a file in another folder has to have for the documentation of marks, too."""
    assert drives_chromium("tests/browser/test_call_page.py")
    assert drives_chromium("tests/net/test_calls.py")
    assert not drives_chromium("tests/net/test_lab.py")
    assert not drives_chromium("tests/packaging")


class Worker:
    """What the scheduler asks of a worker. As a real one, it runs a test when it knows what comes next, if anything."""

    def __init__(self, name: str) -> None:
        self.gateway = SimpleNamespace(id=name)
        self.given: list[int] = []
        self.shutting_down = False

    @property
    def runs(self) -> bool:
        return len(self.given) > (0 if self.shutting_down else 1)

    def send_runtest_some(self, indices: list[int]) -> None:
        self.given += indices

    def shutdown(self) -> None:
        self.shutting_down = True


class Run:
    """A run with so many workers, which do what they are given in turns, one test each."""

    def __init__(self, request: pytest.FixtureRequest, workers: int, tests: list[str]) -> None:
        config = SimpleNamespace(
            getvalue=lambda name: [f"{workers}*popen"],
            option=SimpleNamespace(loadscopereorder=True),
            hook=request.config.hook,
        )
        self.scheduling = FileScheduling(config)  # type: ignore[arg-type]
        self.workers = [Worker(f"gw{number}") for number in range(workers)]
        self.tests = tests
        self.done: list[str] = []
        self.most = 0
        self.disturbed: set[str] = set()
        for worker in self.workers:
            self.scheduling.add_node(worker)  # type: ignore[arg-type]
            self.scheduling.add_node_collection(worker, tests)  # type: ignore[arg-type]
        self.scheduling.schedule()
        while any(worker.runs for worker in self.workers):
            self._step()

    def _step(self) -> None:
        running = [worker for worker in self.workers if worker.runs]
        now = {scope_of(self.tests[each.given[0]]) for each in running}
        if len(running) > 1:
            self.disturbed |= now & set(LAST)
        driving = [scope for each in running if drives_chromium(scope := scope_of(self.tests[each.given[0]]))]
        self.most = max(self.most, len(driving))
        self.disturbed |= {scope for scope in driving if scope in ALONE and len(driving) > 1}
        for worker in running:
            index = worker.given.pop(0)
            self.done.append(self.tests[index])
            self.scheduling.mark_test_complete(worker, index)  # type: ignore[arg-type]


@pytest.mark.parametrize(("workers", "at_once"), [(1, 1), (2, 1), (3, 1), (4, 1), (6, 2)])
@pytest.mark.parametrize("others", [0, 40])
def test_calls_leave_cores_to_others(request: pytest.FixtureRequest, workers: int, at_once: int, others: int) -> None:
    """One file that drives Chromium for every three workers, also where there are no other tests; and all are run."""
    tests = [f"tests/browser/test_{name}.py::test_{number}" for name in "abcdef" for number in range(5)]
    tests += [f"tests/stun/test_{name}.py::test_{number}" for name in range(others) for number in range(3)]
    run = Run(request, workers, tests)
    assert sorted(run.done) == sorted(tests)
    assert run.most == at_once
    assert not run.scheduling.workqueue


@pytest.mark.parametrize("workers", [1, 2, 3, 4, 6])
@pytest.mark.parametrize("others", [0, 40])
def test_where_time_is_measured_nobody_else_has_calls(
    request: pytest.FixtureRequest, workers: int, others: int
) -> None:
    """Whatever else there is, and in whichever order it comes; and all tests are run."""
    files = [f"tests/browser/test_{name}.py" for name in "abc"]
    files += [f"tests/stun/test_{name}.py" for name in range(others)]
    for order in ([*ALONE, *files], [*files, *ALONE], [ALONE[0], *files, *ALONE[1:]]):
        tests = [f"{file}::test_{number}" for file in order for number in range(4)]
        run = Run(request, workers, tests)
        assert sorted(run.done) == sorted(tests)
        assert run.disturbed == set()


@pytest.mark.parametrize("workers", [1, 2, 3, 4, 6])
@pytest.mark.parametrize("others", [0, 1, 40])
def test_what_fills_a_machine_has_it_for_itself(request: pytest.FixtureRequest, workers: int, others: int) -> None:
    """When all else is done; and all tests are run."""
    files = [f"tests/browser/test_{name}.py" for name in "abc"[:others]]
    files += [f"tests/stun/test_{name}.py" for name in range(others)]
    tests = [f"{file}::test_{number}" for file in [*files, *LAST] for number in range(3)]
    run = Run(request, workers, tests)
    assert sorted(run.done) == sorted(tests)
    assert run.disturbed == set()
    assert {scope_of(test) for test in run.done[-3 * len(LAST) :]} == set(LAST)


def test_what_check_leaves_out_it_does_not_even_import(request: pytest.FixtureRequest) -> None:
    """Whole folders, and only for its own choice of tests."""
    config = SimpleNamespace(option=SimpleNamespace(markexpr="not process"))
    hook = request.config.pluginmanager.getplugin(str(ROOT / "tests" / "conftest.py")).pytest_ignore_collect
    assert "-m 'not process' " in (ROOT / "Makefile").read_text(encoding="utf-8")
    assert hook(ROOT / "tests" / "hostile", config)
    assert hook(ROOT / "tests" / "scapy_turn", config) is None
    config.option.markexpr = "not process or hostile"
    assert hook(ROOT / "tests" / "hostile", config) is None
