"""Where a server's signaling is, from any of its URLs, and the steps of coming back."""

import pytest

from turnserver.client.endpoint import SignalEndpoint, back_off


@pytest.mark.parametrize(
    ("url", "socket", "origin", "room"),
    [
        ("http://localhost:8080", "ws://localhost:8080/v1/ws", "http://localhost:8080", None),
        ("https://turn.example.org/", "wss://turn.example.org/v1/ws", "https://turn.example.org", None),
        ("https://[::1]:5349/call/tea", "wss://[::1]:5349/v1/ws", "https://[::1]:5349", "tea"),
        ("https://h/call/tea%20x/", "wss://h/v1/ws", "https://h", "tea x"),
        ("ws://h:1/other/path", "ws://h:1/other/path", "http://h:1", None),
        ("wss://h", "wss://h/v1/ws", "https://h", None),
    ],
)
def test_urls(url: str, socket: str, origin: str, room: str | None) -> None:
    """Whatever URL of a server people have at hand."""
    endpoint = SignalEndpoint.parse(url)
    assert (endpoint.url, endpoint.origin, endpoint.room) == (socket, origin, room)
    assert endpoint.secure is socket.startswith("wss")


@pytest.mark.parametrize(
    "url",
    ["", "tea", "ftp://h", "http://", "https://u:p@h", "http://h:99999", "http://h:x", "https://h/call/r#token=x"],
)
def test_urls_that_will_not_do(url: str) -> None:
    """Among them a link with a token, which does not belong on a command line."""
    with pytest.raises(ValueError, match=r"."):
        SignalEndpoint.parse(url)


def test_back_off() -> None:
    """Signaling §1: 0–500 ms, 0.3, 1.2, 2.7, 4.8, 7 s…, ±50 %."""
    assert [back_off(attempt, lambda: 0.5) for attempt in range(8)] == [0.25, 0.3, 1.2, 2.7, 4.8, 7.0, 7.0, 7.0]
    assert (back_off(0, lambda: 0.0), back_off(0, lambda: 1.0)) == (0.0, 0.5)
    assert (back_off(5, lambda: 0.0), back_off(5, lambda: 1.0)) == (3.5, 10.5)
