"""A network with a browser in it; a server with the call page; rooms and a wire that can be cut, for its modules."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.browser import (
    ARGUMENTS,
    ORIGIN,
    browser_in,
    command_in,
    launched,
    network,
    serving_calls,
    started_once,
)
from tests.support.call_links import Link
from tests.support.firefox import firefox_in
from tests.support.netns import NetworkNamespace
from tests.support.server import TurnServerProcess
from tests.support.signal_lab import LabPage, SignalLab, lab_page
from turnserver.signaling.rooms.settings import Grant

if TYPE_CHECKING:
    from playwright.sync_api import Browser

GRANTS = {"listener": Grant(caps=frozenset()), "full": Grant()}
"""What tokens allow in the rooms of these tests."""


@pytest.fixture(scope="session", autouse=True)
def chromium(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Chromium has been started before."""
    started_once(tmp_path_factory)


@pytest.fixture(scope="module")
def inside() -> Iterator[NetworkNamespace]:
    """The network that rooms and browser are in."""
    with network() as namespace:
        yield namespace


@pytest.fixture(scope="module")
def browser(inside: NetworkNamespace, tmp_path_factory: pytest.TempPathFactory) -> "Iterator[Browser]":
    """One browser for all tests of a module; each has pages of its own."""
    with browser_in(inside, tmp_path_factory.mktemp("browser")) as running:
        yield running


@pytest.fixture(scope="module")
def browsers(inside: NetworkNamespace, tmp_path_factory: pytest.TempPathFactory) -> "Iterator[tuple[Browser, Browser]]":
    """Firefox and Chromium, which one Playwright drives."""
    sync_api = pytest.importorskip("playwright.sync_api")
    with (
        sync_api.sync_playwright() as playwright,
        firefox_in(inside, playwright, tmp_path_factory.mktemp("firefox")) as firefox,
        launched(playwright.chromium, command_in(inside), tmp_path_factory.mktemp("chromium"), ARGUMENTS) as chromium,
    ):
        yield firefox, chromium


# The call page


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where a server that records keeps it."""
    return tmp_path_factory.mktemp("recordings") / "all"


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the server's configuration is."""
    return tmp_path_factory.mktemp("server")


@pytest.fixture(scope="module")
def signaling() -> dict[str, Any]:
    """This section of the server's configuration. By default nobody gets in without a token."""
    return {}


@pytest.fixture(scope="module")
def server(
    inside: NetworkNamespace, tmp_path_factory: pytest.TempPathFactory, directory: Path, signaling: dict[str, Any]
) -> Iterator[TurnServerProcess]:
    """A server with the call page and TURN, at `ORIGIN`."""
    with serving_calls(inside, tmp_path_factory, directory, **signaling) as process:
        yield process


@pytest.fixture
def link(server: TurnServerProcess, directory: Path) -> Link:
    """Makes links as operators make them."""
    return Link(ORIGIN, directory / "meshturn.yml")


# The modules of the JavaScript client


@pytest.fixture(scope="module")
def rooms(inside: NetworkNamespace) -> Iterator[SignalLab]:
    """The rooms, and the wire to them."""
    with SignalLab(inside, GRANTS) as lab:
        yield lab


@pytest.fixture
def lab(rooms: SignalLab) -> SignalLab:
    """The same with nobody in it, and nothing on record."""
    rooms.ice_servers = ()
    rooms.ice_policy = "all"
    rooms.lose_everything()
    rooms.forget()
    return rooms


@pytest.fixture
def ann(browser: "Browser", lab: SignalLab) -> Iterator[LabPage]:
    """Somebody's page."""
    with lab_page(browser, lab) as page:
        yield page


@pytest.fixture
def ben(browser: "Browser", lab: SignalLab) -> Iterator[LabPage]:
    """Somebody else's."""
    with lab_page(browser, lab) as page:
        yield page
