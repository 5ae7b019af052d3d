"""Rooms, a wire that can be cut, and two people's pages, for the tests of the JavaScript client."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from tests.support.browser import browser_in, network, started_once
from tests.support.netns import NetworkNamespace
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


@pytest.fixture(scope="module")
def browser(inside: NetworkNamespace, tmp_path_factory: pytest.TempPathFactory) -> "Iterator[Browser]":
    """One browser for all tests of a module; each has pages of its own."""
    with browser_in(inside, tmp_path_factory.mktemp("browser")) as running:
        yield running


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
