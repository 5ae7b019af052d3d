"""The laboratory, the server in it, and the stage for calls: made once for each module that asks for them."""

from collections.abc import Generator, Iterator
from typing import TYPE_CHECKING, Any

import pytest

from tests.net.lab import Lab
from tests.net.public_server import PublicServer
from tests.net.stage import Cast, Stage, rooms_config, stage_on
from tests.support.browser import started_once
from tests.support.certificates import CertificatePair, issue
from tests.support.reports import add_section

if TYPE_CHECKING:
    from playwright.sync_api import Playwright

__all__ = [
    "cast",
    "certificate",
    "chromium",
    "lab",
    "playwright",
    "pytest_runtest_makereport",
    "server",
    "signaling",
    "stage",
]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Say what is in the pages of a failed test."""
    report = yield
    cast = getattr(item, "funcargs", {}).get("cast")
    if report.failed and report.when == "call" and isinstance(cast, Cast):
        for member in cast.members:
            add_section(report, f"page of {member.name}", member.state)
    return report


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    """One laboratory for the tests of a module; hosts are cheap, so that every test can have its own."""
    with Lab() as built:
        yield built


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> CertificatePair:
    """The server's certificate, which nobody has signed."""
    return issue(tmp_path_factory.mktemp("certificate"))


@pytest.fixture(scope="module")
def signaling() -> dict[str, Any]:
    """The server's section ``signaling``; a module may have one of its own."""
    return rooms_config()


@pytest.fixture(scope="module")
def server(
    lab: Lab, certificate: CertificatePair, signaling: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[PublicServer]:
    """The server in the public network."""
    directory = tmp_path_factory.mktemp("server")
    with PublicServer(lab, certificate, directory, signaling=signaling) as running:
        yield running


@pytest.fixture(scope="session")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Chromium has been started before."""
    started_once(tmp_path_factory)


@pytest.fixture(scope="module")
def playwright(chromium: None) -> "Iterator[Playwright]":
    """What drives the browsers. Its event loop runs in this thread until the module ends."""
    sync_api = pytest.importorskip("playwright.sync_api")
    with sync_api.sync_playwright() as running:
        yield running


@pytest.fixture(scope="module")
def stage(
    lab: Lab, server: PublicServer, playwright: "Playwright", tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Stage]:
    """Two hosts with a browser each."""
    with stage_on(lab, server, playwright, tmp_path_factory.mktemp("browsers")) as built:
        yield built


@pytest.fixture
def cast(stage: Stage) -> Iterator[Cast]:
    """Makes those who take part in a test; at its end nothing must have gone wrong in any page."""
    made = Cast(stage)
    try:
        yield made
        made.check()
    finally:
        made.close()
