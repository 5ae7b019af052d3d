"""Pages that attack the admin API from inside an operator's browser: CSRF and DNS rebinding, in Chromium."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.browser import ADDRESS, ORIGIN, browser_in
from tests.support.netns import NetworkNamespace
from tests.support.server import TurnServerProcess

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

ADMIN_KEY = "admin-key-of-this-test-0123456789"
ELSEWHERE = "https://other.example"
REBOUND = "https://rebound.example"
"""An attacker's name: its pages were loaded from the attacker, and now it has this server's address."""

ASK = """async ([method, url, options]) => {
  try {
    const answer = await fetch(url, {method, credentials: 'include', ...options});
    return [answer.type, answer.status, await answer.text()];
  } catch (error) {
    return [error.name, 0, ''];
  }
}"""


@pytest.fixture(scope="module")
def signaling() -> dict[str, Any]:
    return {"open": True, "admin_keys": {"ops": ADMIN_KEY}}


@pytest.fixture(scope="module")
def browser(inside: NetworkNamespace, tmp_path_factory: pytest.TempPathFactory) -> "Iterator[Browser]":
    """One that believes the attackers' name servers."""
    rules = f"--host-resolver-rules=MAP *.example {ADDRESS}"
    with browser_in(inside, tmp_path_factory.mktemp("browser"), rules) as running:
        yield running


@pytest.fixture
def page(browser: "Browser", server: TurnServerProcess) -> "Iterator[Page]":
    """A page that an attacker's script runs in: it has the origin by which it was loaded, and no policy of ours.

    It is not made by `Page.route`, for then Playwright answers the browser's preflight requests itself, and lets all.
    """
    context = browser.new_context(ignore_https_errors=True, bypass_csp=True)
    yield context.new_page()
    context.close()


def test_a_rebound_name_gives_a_page_no_right(page: "Page", server: TurnServerProcess) -> None:
    """To the browser the server is the page's own origin, so nothing but the missing key is in the way."""
    page.goto(f"{REBOUND}/healthz")
    assert page.evaluate(ASK, ["GET", "/healthz", {}])[:2] == ["basic", 200], "the name leads to the server"
    for method, path in (("GET", "/v1/rooms"), ("GET", "/v1/turn"), ("POST", "/v1/tokens"), ("POST", "/v1/drain")):
        kind, status, text = page.evaluate(ASK, [method, path, {"body": "{}"} if method == "POST" else {}])
        assert (kind, status) == ("basic", 401)
        assert '"unauthorized"' in text
    assert "drain requested" not in server.log


def test_a_page_elsewhere_can_neither_ask_nor_read(page: "Page", server: TurnServerProcess) -> None:
    """Not even with the right key: browsers ask first, and are not let."""
    page.goto(f"{ELSEWHERE}/healthz")
    authorized = {"headers": {"Authorization": f"Bearer {ADMIN_KEY}"}}
    simple = {"mode": "no-cors", "headers": {"Content-Type": "text/plain"}}
    for method, path in (("GET", "/v1/rooms"), ("POST", "/v1/drain"), ("DELETE", "/v1/rooms/demo")):
        assert page.evaluate(ASK, [method, ORIGIN + path, authorized]) == ["TypeError", 0, ""]
    assert page.evaluate(ASK, ["POST", f"{ORIGIN}/v1/drain", {**simple, "body": "x"}]) == ["opaque", 0, ""]
    assert page.evaluate(ASK, ["GET", f"{ORIGIN}/v1/rooms", {"mode": "no-cors"}]) == ["opaque", 0, ""]
    with page.expect_response(f"{ORIGIN}/v1/drain") as answered:
        page.evaluate(
            """url => {
              const form = document.createElement('form');
              Object.assign(form, {action: url, method: 'post', target: 'hidden'});
              const frame = document.createElement('iframe');
              frame.name = 'hidden';
              document.body.append(frame, form);
              form.submit();
            }""",
            f"{ORIGIN}/v1/drain",
        )
    assert answered.value.status == 401
    assert page.evaluate(ASK, ["GET", f"{ORIGIN}/readyz", {"mode": "no-cors"}])[0] == "opaque"
    assert "drain requested" not in server.log
    assert ADMIN_KEY not in server.log
