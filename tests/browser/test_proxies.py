"""nginx and HAProxy of Debian's in front of the server, configured as the how-to page says: calls, limits, hosts."""

import contextlib
import http.client
import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.browser import ADDRESS
from tests.support.call_page import SMALL, call_page
from tests.support.certificates import CertificatePair, client_context, issue
from tests.support.front import API_KEY, FRONTS, in_front
from tests.support.netns import NetworkNamespace
from tests.support.server import TurnServerProcess

if TYPE_CHECKING:
    from playwright.sync_api import Browser

HOST = "meet.example.org"
ONE, OTHER = "127.0.0.7", "127.0.0.8"
"""Clients on this machine that no proxy is at."""


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> CertificatePair:
    """The proxies' certificate, which nobody has signed."""
    return issue(tmp_path_factory.mktemp("certificate"))


@pytest.fixture(scope="module", params=FRONTS)
def front(
    request: pytest.FixtureRequest,
    inside: NetworkNamespace,
    certificate: CertificatePair,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[TurnServerProcess]:
    """The server behind one of the proxies."""
    directory = tmp_path_factory.mktemp("front")
    with in_front(FRONTS[request.param], inside, directory, certificate) as server:
        yield server


def ask(inside: NetworkNamespace, source: str, path: str, **headers: str) -> http.client.HTTPResponse:
    """The answer to a client of the proxy, read whole."""
    with inside.entered():
        connection = http.client.HTTPSConnection(
            "127.0.0.1", 443, timeout=60, source_address=(source, 0), context=client_context()
        )
        connection.connect()
    with contextlib.closing(connection):
        told = {"Host": HOST} | {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request("GET", path, headers=told)
        answer = connection.getresponse()
        if answer.status != 101:
            body = answer.read()
            answer.read = lambda *_: body  # type: ignore[method-assign]
        return answer


def without_upgrade(text: str) -> str:
    """What is forgotten most often."""
    return "\n".join(line for line in text.splitlines() if "_upgrade;" not in line)


def test_the_page_says_when_a_proxy_takes_no_websocket(
    browser: "Browser", inside: NetworkNamespace, certificate: CertificatePair, tmp_path: Path
) -> None:
    """The server answers, so it is not the network; the page of a server that is not there says something else."""
    with (
        in_front(FRONTS["nginx"], inside, tmp_path, certificate, without_upgrade),
        contextlib.closing(browser.new_context(ignore_https_errors=True)) as context,
    ):
        page = context.new_page()
        page.clock.install()
        page.goto(f"https://{ADDRESS}/call/tea")
        page.wait_for_selector("[data-testid=lobby]", state="visible")
        page.clock.fast_forward(30_000)
        page.wait_for_selector("[data-code=refused]", state="visible", timeout=60_000)
        assert "let this page in" in page.inner_text("#end-title")


@pytest.mark.usefixtures("front")
def test_a_browser_joins_a_call(browser: "Browser") -> None:
    """With TLS that ends at the proxy: page, policy, WebSocket, TURN; and media between two people."""
    with call_page(browser) as ann, call_page(browser, viewport={"width": 400, "height": 400}) as ben:
        ann.open(f"https://{ADDRESS}/call/tea{SMALL}")
        ann.page.wait_for_selector("#net-check[data-done]", state="attached")
        lines = ann.page.locator("[data-testid=net-check] li").all_text_contents()
        assert lines, "nothing that the page could try"
        assert [line for line in lines if "works" in line] == lines, lines
        ann.join("Ann")
        ben.open(f"https://{ADDRESS}/call/tea{SMALL}")
        ben.join("Ben")
        ann.connected()
        ben.connected()
        ben.frames(5)
        (joined,) = (frame for frame in ben.received if frame["t"] == "joined")
    urls = [url for each in joined["ice"]["servers"] for url in each["urls"]]
    assert urls, joined
    assert all(f":{ADDRESS}:3478" in url or url == f"turns:{ADDRESS}:443?transport=tcp" for url in urls), urls


def test_the_policy_of_the_page_has_its_socket(front: TurnServerProcess, inside: NetworkNamespace) -> None:
    policy = ask(inside, ONE, "/call/tea").headers["Content-Security-Policy"]
    assert f"connect-src 'self' wss://{HOST};" in policy


FORGED: list[dict[str, str]] = [
    {},
    {"X_Forwarded_For": OTHER},
    {"X_Forwarded_For": f"{OTHER}, 127.0.0.1"},
    {"Forwarded": f"for={OTHER}"},
    {"Forwarded": f'for={OTHER};x="'},
    {"X_Forwarded_For": OTHER, "Forwarded": f"for={OTHER}", "X_Real_IP": OTHER},
    {"X_Forwarded_For": "unknown, , _x"},
    {"X_Forwarded_For": ", ".join([OTHER] * 300)},
    {"Forwarded": ", ".join([f"for={OTHER}"] * 300)},
    {"X_Forwarded_For": "127.0.0.1"},
]


def test_clients_are_told_apart(front: TurnServerProcess, inside: NetworkNamespace) -> None:
    """Whatever one writes into its request itself, its wrong keys are its own; and a right one is always taken."""

    def turn(source: str, key: str, headers: dict[str, str]) -> Any:
        return ask(inside, source, "/v1/turn", Authorization=f"Bearer {key}", **headers)

    wrong = [turn(ONE, "wrong", headers).status for headers in FORGED]
    assert wrong == [401] * 10
    assert turn(ONE, "wrong", {"X_Forwarded_For": "203.0.113.99"}).status == 429
    assert turn(OTHER, "wrong", {}).status == 401
    for source in (ONE, OTHER):
        answer = turn(source, API_KEY, {})
        assert answer.status == 200
        assert not [uri for uri in json.loads(answer.read())["uris"] if ":8080" in uri]
    assert f"client={ONE}" in front.log


@pytest.mark.parametrize(
    ("host", "origin", "status"),
    [
        (HOST, f"https://{HOST}", 101),
        (f"{HOST}.", f"https://{HOST}.", 101),
        (f"{HOST}:443", f"https://{HOST}", 101),
        (HOST.upper(), f"https://{HOST}", 101),
        (HOST, "https://evil.example.net", 403),
        (HOST, f"http://{HOST}", 403),
        (HOST, f"https://{HOST}:8443", 403),
    ],
)
def test_pages_of_the_host_may_connect(
    host: str, origin: str, status: int, front: TurnServerProcess, inside: NetworkNamespace
) -> None:
    handshake = {
        "Host": host,
        "Origin": origin,
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec_WebSocket_Version": "13",
        "Sec_WebSocket_Key": "dGhlIHNhbXBsZSBub25jZQ==",
        "Sec_WebSocket_Protocol": "signal.v1.json",
    }
    assert ask(inside, ONE, "/v1/ws", **handshake).status == status
