"""Fixtures shared by all tests: the real server, on loopback."""

from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.support.server import TurnServerProcess, has_ipv6_loopback, loopback_config

__all__ = ["ipv6", "pytest_runtest_makereport", "start_server", "turn_server"]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show the log of every server that a failed test has used."""
    report = yield
    if report.failed:
        for value in getattr(item, "funcargs", {}).values():
            if isinstance(value, TurnServerProcess):
                report.sections.append(("server log", value.log_tail))
    return report


@pytest.fixture(scope="module")
def turn_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TurnServerProcess]:
    """The server with its ordinary test configuration, one process for all the tests of a module."""
    with TurnServerProcess(loopback_config(), tmp_path_factory.mktemp("server")) as server:
        yield server


@pytest.fixture
def start_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., TurnServerProcess]]:
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
