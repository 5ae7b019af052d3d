"""The admin page in Chromium: login, what it shows, what it does, and what a hostile name or a stranger cannot do.

With ``MESHTURN_PICTURES=1`` it leaves screenshots in ``artifacts``.
"""

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from auth.ephemeral import SharedSecret, mint
from tests.support.browser import ADDRESS, ORIGIN
from tests.support.call_links import Link
from tests.support.call_page import ARTIFACTS, PICTURES, call_page
from tests.support.netns import NetworkNamespace
from tests.support.server import SHARED_SECRET, TurnServerProcess
from tests.support.turn_client import TurnClient
from turnserver.signaling.edge.key_file import KeyFile, new_key
from turnserver.signaling.edge.scopes import Scope

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Page, Route

ADMIN_KEY = "admin-key-of-this-test-0123456789"
HOSTILE = "<img src=x onerror=document.title='bad'>"
FAR_FUTURE = 4_000_000_000
LOOKS = 60.0
"""Seconds for what the next look of the page has to show: a limit, not a measure."""


@pytest.fixture(scope="module")
def keys_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Keys with scopes."""
    return tmp_path_factory.mktemp("keys") / "keys"


@pytest.fixture(scope="module")
def signaling(keys_file: Path) -> dict[str, Any]:
    return {"admin_keys": {"ops": ADMIN_KEY}, "keys_file": str(keys_file)}


def stored(path: Path, name: str, *scopes: Scope, expires: int | None = None) -> str:
    """A key in the file: its secret."""
    key, secret = new_key(name, frozenset(scopes), lambda size: name.encode().ljust(size, b"x")[:size], 0)
    KeyFile(path).change(lambda present: [*present, key._replace(expires=expires)])
    return secret


class Admin:
    """Somebody at the page; it collects whatever Chromium complains of, refused requests apart."""

    def __init__(self, context: "BrowserContext") -> None:
        self.page: Page = context.new_page()
        self.faults: list[str] = []
        self.urls: list[str] = []
        self.page.on("pageerror", lambda error: self.faults.append(str(error)))
        self.page.on(
            "console",
            lambda line: (
                self.faults.append(line.text)
                if line.type == "error" and "Failed to load resource" not in line.text
                else None
            ),
        )
        self.page.on("request", lambda request: self.urls.append(request.url))
        self.page.goto(f"{ORIGIN}/admin")

    def log_in(self, key: str = ADMIN_KEY) -> None:
        self.try_key(key)
        self.page.wait_for_selector("#desk:not([hidden])")

    def try_key(self, key: str) -> None:
        self.page.fill("#key", key)
        self.page.press("#key", "Enter")

    def problem(self) -> str:
        self.page.wait_for_selector("#login-problem:not([hidden])")
        return self.page.inner_text("#login-problem")

    def waits(self, expression: str) -> None:
        """Until it is true. Playwright's own way needs `eval` in the page, which the policy forbids."""
        give_up = time.monotonic() + LOOKS
        while not self.page.evaluate(expression):
            assert time.monotonic() < give_up, f"never true: {expression}; faults: {self.faults}"
            self.page.wait_for_timeout(50)

    def shot(self, name: str) -> None:
        if PICTURES:
            ARTIFACTS.mkdir(exist_ok=True)
            for scheme in ("light", "dark"):
                self.page.emulate_media(color_scheme=scheme)
                for width in (320, 1280):
                    self.page.set_viewport_size({"width": width, "height": 900})
                    path = ARTIFACTS / f"admin-{name}-{width}-{scheme}.png"
                    self.page.screenshot(path=str(path), full_page=True)
            self.page.emulate_media(color_scheme="light")


@pytest.fixture
def admin(browser: "Browser", server: TurnServerProcess) -> Iterator[Admin]:
    context = browser.new_context(ignore_https_errors=True)
    someone = Admin(context)
    yield someone
    context.close()
    assert someone.faults == []
    assert not any(ADMIN_KEY in url for url in someone.urls), "the key is in no URL"


def reviewed(admin: Admin) -> None:
    """axe-core finds nothing in either scheme, and nothing is wider than the window."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    for scheme in ("light", "dark"):
        admin.page.emulate_media(color_scheme=scheme)
        found = axe.run(admin.page, options={"resultTypes": ["violations"]}).response["violations"]
        assert [(each["id"], [node["target"] for node in each["nodes"]]) for each in found] == [], scheme
    admin.page.emulate_media(color_scheme="light")
    before = admin.page.viewport_size
    admin.page.set_viewport_size({"width": 320, "height": 600})
    assert admin.page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "it fits 320 px"
    assert before is not None
    admin.page.set_viewport_size(before)


def allocation(inside: NetworkNamespace, user: str) -> TurnClient:
    """A client with an allocation, under a name of its own choice."""
    username, password = mint(SharedSecret(SHARED_SECRET.encode()), user, FAR_FUTURE)
    with inside.entered():
        client = TurnClient.udp(ADDRESS, 3478, username, password)
    client.allocate()
    return client


def test_wrong_keys_say_what_is_wrong(admin: Admin, keys_file: Path) -> None:
    """A key that there is not, one that has expired, one for something else; and nothing is shown meanwhile."""
    reviewed(admin)
    admin.shot("login")
    assert "ops" not in admin.page.content()
    admin.try_key("wrong")
    assert admin.problem() == "The server does not know this key."
    admin.try_key(stored(keys_file, "old", Scope.ADMIN, expires=1))
    admin.waits("document.querySelector('#login-problem').textContent === 'This key has expired.'")
    admin.try_key(stored(keys_file, "turn", Scope.TURN))
    admin.waits("document.querySelector('#login-problem').textContent.includes('the scope admin:read')")
    assert not admin.page.is_visible("#desk")


def test_the_key_is_gone_after_a_reload(admin: Admin) -> None:
    """It is in no storage, no cookie and no field."""
    admin.log_in()
    kept = admin.page.evaluate(
        "async () => JSON.stringify([{...localStorage}, {...sessionStorage}, document.cookie, location.href,"
        " history.state, await indexedDB.databases(), document.querySelector('#key').value])"
    )
    assert ADMIN_KEY not in kept
    admin.page.reload()
    admin.page.wait_for_selector("#login:not([hidden])")
    assert not admin.page.is_visible("#desk")
    admin.log_in()
    admin.page.click("#logout")
    assert admin.page.is_visible("#login")


def test_a_key_that_only_reads_can_press_nothing(admin: Admin, keys_file: Path) -> None:
    """The page says why."""
    admin.log_in(stored(keys_file, "reader", Scope.ADMIN_READ))
    assert admin.page.is_disabled("#drain")
    assert "need the scope admin" in admin.page.inner_text("#rights")
    reviewed(admin)


def test_numbers_graphs_and_the_configuration(admin: Admin, inside: NetworkNamespace) -> None:
    """All of it from the server: allocations, the history in words and as a table, secrets as masks, certificates."""
    with allocation(inside, "ann") as client:
        admin.log_in()
        admin.waits("document.querySelector('#figures').textContent.includes('Allocations1 of')")
        assert "allocations: now" in admin.page.inner_text("#charts")
        admin.page.click("#charts summary >> nth=0")
        admin.page.click("#options > summary")
        admin.page.click("#numbers summary")
        admin.waits("document.querySelector('#options-table').textContent.includes('auth.shared_secrets')")
        text = admin.page.inner_text("body")
        assert "(secret)" in text
        assert SHARED_SECRET not in admin.page.content()
        assert ADMIN_KEY not in admin.page.content()
        assert re.search(r"certificate[^\n]*\.pem|\.crt|\.pem", admin.page.inner_text("#certificates-table"))
        reviewed(admin)
        admin.shot("numbers")
        client.refresh(0)


def test_rooms_with_hostile_names(admin: Admin, browser: "Browser", link: Link) -> None:
    """A name with markup is text. Somebody is removed, then the room is closed, each after a confirmation."""
    with call_page(browser) as ann, call_page(browser) as ben:
        ann.open(link("hostile", "--role", "host"))
        ann.join(HOSTILE)
        ben.open(link("hostile"))
        ben.join("Ben")
        admin.log_in()
        admin.page.click("button[aria-label='Show the room hostile']")
        admin.waits(f"document.querySelector('#peers-table').textContent.includes({json.dumps(HOSTILE)})")
        assert admin.page.query_selector("#desk img") is None
        assert admin.page.title() == "meshturn admin"
        assert admin.page.evaluate("document.activeElement.id") == "room-title"
        assert "Ben" in admin.page.inner_text("#pairs-table")
        reviewed(admin)
        admin.shot("rooms")
        button = admin.page.locator("button[aria-label^='Remove Ben']")
        button.focus()
        looks = len(admin.urls)
        admin.page.keyboard.press("Enter")
        admin.page.wait_for_selector("dialog[open]")
        assert admin.page.evaluate("document.activeElement.id") == "confirm-no", "Enter at once changes nothing"
        reviewed(admin)
        admin.page.keyboard.press("Escape")
        for _ in range(3):
            admin.page.wait_for_event("response", lambda answer: answer.url.endswith("/v1/status"))
        assert button.evaluate("each => each === document.activeElement"), "looks of the page leave the focus"
        assert len(admin.urls) > looks
        admin.page.keyboard.press("Enter")
        admin.page.click("#confirm-yes")
        admin.waits("!document.querySelector('#peers-table').textContent.includes('Ben')")
        admin.waits("document.querySelector('#said').textContent === 'The participant is removed.'")
        admin.page.click("button[aria-label='Close the room hostile']")
        admin.page.click("#confirm-yes")
        admin.waits("document.querySelector('#rooms-table').textContent.includes('There is no room.')")
        admin.waits("document.querySelector('#room').hidden")


def given(admin: Admin, path: str, answer: dict[str, Any]) -> None:
    """The page gets this answer of the API: for an hour that no test can wait for."""
    admin.page.route(f"**{path}", lambda route: route.fulfill(json=answer))


def test_an_hour_is_drawn(admin: Admin) -> None:
    """As lines from edge to edge, and the same as a sentence and as twelve rows; a gap is no error."""
    at = [1_700_000_000.0 + 10 * number for number in range(360)]
    wave = [abs(number % 60 - 30) for number in range(360)]
    rates: list[float | None] = [None, *(1e5 * each for each in wave[1:])]
    few = [None, *(each // 10 for each in wave[1:])]
    columns = {"at": at, "allocations": wave, "rooms": wave, "participants": wave, "bits_to_peers": rates}
    columns |= {"bits_to_client": [None, *(2e4 for _ in at[1:])], "refused": few, "dropped": few}
    given(admin, "/v1/history", {"interval": 10.0, **columns, "loop_lag": [None, *(each / 1e4 for each in wave[1:])]})
    admin.log_in()
    admin.waits("document.querySelector('#charts polyline').getAttribute('points').split(' ').length === 360")
    points = admin.page.eval_on_selector("#charts polyline", "each => each.getAttribute('points')").split(" ")
    across = [float(point.split(",")[0]) for point in points]
    assert 0 <= across[0] < 2 < 598 < across[-1] <= 600
    words = admin.page.get_attribute("#charts svg >> nth=1", "aria-label")
    assert (
        words == "Relayed. to peers: now 2.9 Mbit/s, at most 3.0 Mbit/s; to clients (dashed): now 20.0 kbit/s, "
        "at most 20.0 kbit/s"
    )
    assert admin.page.locator("#charts figure >> nth=0 >> tbody tr").count() == 12
    reviewed(admin)
    admin.shot("hour")


def session(number: int, user: str, room: str | None = None) -> dict[str, Any]:
    """An allocation as the API lists it; the higher its number, the more it has relayed, and the younger it is."""
    counts = dict.fromkeys(("bytes_to_peers", "bytes_to_client", "packets_to_peers"), 1000 * number)
    return {
        "id": f"id-{number}",
        "user": user,
        "client": f"198.51.100.{number}:40000",
        "transport": "udp",
        "relayed": [f"203.0.113.1:5000{number}"],
        "protocol": "udp",
        "age": 100.0 - number,
        "rate_to_peers": None if number == 1 else 8e6,
        "rate_to_client": None if number == 1 else 0,
        "room": room,
        "participant": None,
        **counts,
    }


def users_in(admin: Admin) -> list[str]:
    return admin.page.locator("#sessions-table tbody td:first-child").all_inner_texts()


def test_sessions_are_searched_sorted_and_killed(admin: Admin) -> None:
    """From a list as the API describes it. Users choose their names; a session that has gone takes no focus along."""
    listed = [session(1, "ann"), session(2, HOSTILE), session(3, "ben", "demo")]
    asked: list[str] = []

    def answer(route: "Route") -> None:
        if route.request.method == "DELETE":
            asked.append(route.request.url)
            listed.pop(1)
            route.fulfill(status=204)
        else:
            route.fulfill(json={"allocations": listed, "total": len(listed)})

    admin.page.route("**/v1/allocations**", answer)
    admin.log_in()
    admin.waits("document.querySelectorAll('#sessions-table tbody tr').length === 3")
    assert users_in(admin) == ["ben", HOSTILE, "ann"], "those with the most bytes first"
    admin.page.click("#sessions-table th button >> text=Age")
    assert users_in(admin) == ["ann", HOSTILE, "ben"]
    assert admin.page.get_attribute("#sessions-table th[aria-sort]", "aria-sort") == "descending"
    admin.page.fill("#search", "DEMO")
    assert users_in(admin) == ["ben"]
    admin.page.fill("#search", "")
    assert admin.page.query_selector("#desk img") is None
    reviewed(admin)
    admin.shot("sessions")
    admin.page.click(f'button[aria-label="Kill the session of {HOSTILE} from 198.51.100.2:40000"]')
    assert HOSTILE in admin.page.inner_text("#confirm-text")
    admin.page.click("#confirm-yes")
    admin.waits("document.querySelectorAll('#sessions-table tbody tr').length === 2")
    assert asked == [f"{ORIGIN}/v1/allocations/id-2"]
    assert admin.page.evaluate("document.activeElement !== document.body"), "the focus is not lost"
    assert admin.page.title() == "meshturn admin"


def test_a_server_without_a_list_of_sessions_says_so(admin: Admin) -> None:
    """Nothing is offered then that could not work."""
    admin.page.route("**/v1/allocations**", lambda route: route.fulfill(status=404, json={"error": {"code": "x"}}))
    admin.log_in()
    admin.waits("document.querySelector('#sessions-note').textContent === 'This server does not list its sessions.'")
    assert not admin.page.is_visible("#search")


def test_a_server_that_does_not_answer(admin: Admin) -> None:
    """It is said once, and again when it is over."""
    admin.log_in()
    admin.page.context.set_offline(True)
    admin.waits("document.querySelector('#banner').textContent === 'The server does not answer.'")
    admin.page.context.set_offline(False)
    admin.waits("document.querySelector('#banner').hidden")
    admin.waits("document.querySelector('#said').textContent === 'The server answers again.'")


def test_draining_is_confirmed(admin: Admin, server: TurnServerProcess, inside: NetworkNamespace) -> None:
    """The last test of the module: the server takes nothing new then, and stays for the allocation that there is."""
    with allocation(inside, "last"):
        admin.log_in()
        admin.page.click("#drain")
        admin.page.click("#confirm-no")
        assert "drain requested" not in server.log
        admin.page.click("#drain")
        admin.page.click("#confirm-yes")
        admin.waits("document.querySelector('#figures').textContent.includes('draining')")
        assert "drain requested" in server.log
        assert admin.page.is_disabled("#drain")
