"""What all tests share: their marks, the order in which workers get them, and the real server on loopback."""

import gc
import signal
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import settings

from tests.support import guard
from tests.support.examples import WHOLE
from tests.support.reports import add_section
from tests.support.server import TurnServerProcess, has_ipv6_loopback, loopback_config

if TYPE_CHECKING:
    from tests.support.schedule import FileScheduling

__all__ = [
    "ipv6",
    "processes",
    "pytest_collection_finish",
    "pytest_collection_modifyitems",
    "pytest_configure",
    "pytest_ignore_collect",
    "pytest_runtest_makereport",
    "pytest_runtest_protocol",
    "pytest_xdist_make_scheduler",
    "record_property",
    "start_server",
    "turn_server",
]

FOLDERS = {
    "browser": ["process", "browser"],
    "docs": ["process", "docs"],
    "examples": ["process"],
    "hostile": ["process"],
    "interop": ["process", "interop"],
    "net": ["process", "net"],
    "packaging": ["process", "packaging"],
}
"""The marks of all tests in a folder. Elsewhere whoever uses the fixture `processes` is marked ``process``."""

HERE = Path(__file__).parent
WITHOUT_PROCESSES = "not process"
"""The expression by which `make check` chooses its tests."""

settings.load_profile(WHOLE)


def pytest_configure() -> None:
    """Before anything is collected. A shell ignores SIGINT for what it runs in the background; they inherit that."""
    guard.install()
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """`make check` has no test of a folder in which all tests start processes: importing these takes seconds."""
    if config.option.markexpr != WITHOUT_PROCESSES or collection_path.parent != HERE:
        return None
    return True if "process" in FOLDERS.get(collection_path.name, ()) else None


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark tests by where they are and by what they use, before ``-m`` chooses among them."""
    for item in items:
        folder = item.path.relative_to(HERE).parts[0] if item.path.is_relative_to(HERE) else ""
        for mark in FOLDERS.get(folder, ["process"] if "processes" in getattr(item, "fixturenames", ()) else []):
            item.add_marker(mark)
    if hasattr(config, "workerinput"):
        from tests.support.schedule import in_order

        items[:] = in_order(items)


def pytest_collection_finish() -> None:
    """The tests themselves live to the end of the run: the collector of garbage need not look at them again."""
    gc.collect()
    gc.freeze()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> "FileScheduling | None":
    """Files stay whole, the slow ones come first, and few drive Chromium at a time (``--dist loadfile``)."""
    if config.getoption("dist") != "loadfile":
        return None
    from tests.support.schedule import FileScheduling

    return FileScheduling(config, log)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """See that a test which starts processes says so."""
    with guard.watched(item):
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show the log of every server that a failed test has used."""
    report = yield
    if report.failed:
        for value in getattr(item, "funcargs", {}).values():
            if isinstance(value, TurnServerProcess):
                add_section(report, "server log", lambda server=value: server.log_tail)
    return report


@pytest.fixture
def record_property(record_property: Callable[[str, object], None]) -> Callable[[str, object], None]:
    """As pytest's, for any value: a worker ends, with all its tests, over one that it cannot hand over."""
    return lambda name, value: record_property(name, str(value))


@pytest.fixture(scope="session")
def processes() -> None:
    """What fixtures ask for that start processes: whoever uses them is marked ``process``."""


@pytest.fixture(scope="module")
def turn_server(processes: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TurnServerProcess]:
    """The server with its ordinary test configuration, one process for all the tests of a module."""
    with TurnServerProcess(loopback_config(), tmp_path_factory.mktemp("server")) as server:
        yield server


@pytest.fixture
def start_server(
    processes: None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[..., TurnServerProcess]]:
    """Starts servers with a configuration of the test's own; keyword arguments replace top-level sections."""
    with ExitStack() as stack:

        def start(**changes: Any) -> TurnServerProcess:
            directory: Path = tmp_path_factory.mktemp("server")
            return stack.enter_context(TurnServerProcess(loopback_config(**changes), directory))

        yield start


@pytest.fixture(scope="session")
def ipv6() -> None:
    """Skips the test where the machine has no IPv6 loopback address."""
    if not has_ipv6_loopback():
        pytest.skip("this machine has no IPv6 loopback address")
