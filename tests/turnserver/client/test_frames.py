"""Typed looks at frames that a server may have written in any way it likes, URLs, and the steps of coming back."""

import pytest

from turnserver.client.frames import COUNTED, Endpoint, Frame, SignalError, back_off
from turnserver.signaling.protocol.base import CLIENT, Counted


@pytest.mark.parametrize(
    "text", ["", "null", "[]", "7", '"t"', "{}", '{"t": 1}', '{"t": ""}', "{" * 9000, "[" * 100_000]
)
def test_what_is_no_frame(text: str) -> None:
    """None, and never an exception."""
    assert Frame.parse(text) is None


@pytest.mark.parametrize("value", [None, True, False, 0, 1, -1, 1.5, "x", [], ["a", 1, {"t": "x"}, None], {}, {"a": 1}])
def test_every_look_at_every_value(value: object) -> None:
    """The type that was asked for, whatever stands there."""
    frame = Frame({"t": "x", "field": value})
    assert isinstance(frame.text("field"), str)
    assert isinstance(frame.number("field"), float)
    assert frame.count("field") >= 0
    assert isinstance(frame.flag("field"), bool)
    assert frame.has("field") is (value is not None)
    assert isinstance(frame.child("field").fields, dict)
    assert all(isinstance(each, Frame) for each in frame.children("field"))
    assert all(isinstance(each, str) for each in frame.texts("field"))


def test_what_the_looks_see() -> None:
    """Values of the right type come through."""
    fields = {"t": "x", "s": "text", "n": 7, "f": 1.5, "yes": True, "one": 1, "o": {"t": "y"}, "l": [{"t": "z"}, 5]}
    frame = Frame(fields)
    assert (frame.t, frame.text("s"), frame.count("n"), frame.number("f")) == ("x", "text", 7, 1.5)
    assert (frame.flag("yes"), frame.flag("one"), frame.flag("n")) == (True, True, False)
    assert (frame.child("o").t, [each.t for each in frame.children("l")]) == ("y", ["z"])
    assert (frame.texts("s"), Frame({"u": ["a", 1, "b"]}).texts("u")) == (["text"], ["a", "b"])
    assert (frame.text("none", "else"), frame.count("none", 3), frame.number("none", 2.0)) == ("else", 3, 2.0)


def test_frames_do_not_show_secrets() -> None:
    """Keys and credentials stay out of logs."""
    assert repr(Frame({"t": "hello_ok", "key": "secret"})) == "Frame('hello_ok')"


def test_errors() -> None:
    """Milliseconds become seconds; an error without a code is the server's fault."""
    error = Frame({"t": "error", "code": "rate_limited", "msg": "Slow.", "retry": 250, "d": {"n": 4}}).error()
    assert (error.code, error.message, error.retry, error.detail) == ("rate_limited", "Slow.", 0.25, {"n": 4})
    assert str(error) == "rate_limited: Slow."
    bare = Frame({}).error()
    assert (bare.code, bare.retry, dict(bare.detail), str(bare)) == ("internal", None, {}, "internal")
    assert isinstance(bare, SignalError)


def test_the_counted_ones_are_those_of_the_server() -> None:
    """Signaling §1, envelope: both sides count the same messages."""
    assert {t for t in CLIENT if issubclass(CLIENT[t], Counted)} == COUNTED


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
    endpoint = Endpoint.parse(url)
    assert (endpoint.url, endpoint.origin, endpoint.room) == (socket, origin, room)
    assert endpoint.secure is socket.startswith("wss")


@pytest.mark.parametrize(
    "url",
    ["", "tea", "ftp://h", "http://", "https://u:p@h", "http://h:99999", "http://h:x", "https://h/call/r#token=x"],
)
def test_urls_that_will_not_do(url: str) -> None:
    """Among them a link with a token, which does not belong on a command line."""
    with pytest.raises(ValueError, match=r"."):
        Endpoint.parse(url)


def test_back_off() -> None:
    """Signaling §1: 0–500 ms, 0.3, 1.2, 2.7, 4.8, 7 s…, ±50 %."""
    assert [back_off(attempt, lambda: 0.5) for attempt in range(8)] == [0.25, 0.3, 1.2, 2.7, 4.8, 7.0, 7.0, 7.0]
    assert (back_off(0, lambda: 0.0), back_off(0, lambda: 1.0)) == (0.0, 0.5)
    assert (back_off(5, lambda: 0.0), back_off(5, lambda: 1.0)) == (3.5, 10.5)
