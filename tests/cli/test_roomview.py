"""Rooms on a terminal, whatever a server says."""

import unicodedata
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cli.roomview import show_room, show_rooms, show_token

patient = settings(deadline=None)

ANN = {
    "id": "abcdefghij",
    "name": "Ann",
    "role": "host",
    "joined": 1_700_000_000,
    "connected": True,
    "media": {"a": 1, "v": 1, "s": 0},
}
BOB = {"id": "klmnopqrst", "name": "Bob", "role": "member", "joined": 1_700_000_060, "connected": False, "media": {}}
PAIR = {
    "a": "abcdefghij",
    "b": "klmnopqrst",
    "path": "relay",
    "proto": "tls",
    "seen_by": "server",
    "relay_of": "b",
    "bytes": {"a_to_b": 1_234_567, "b_to_a": 999},
    "candidates": {"a": ["host", "relay"], "b": []},
    "reports": {"a": {"rtt": 40.4}, "b": {"rtt": 61}},
}
ROOM: dict[str, Any] = {
    "id": "demo",
    "created": 1_700_000_000,
    "count": 2,
    "max": 4,
    "locked": False,
    "knock": False,
    "waiting": 0,
    "peers": [ANN, BOB],
    "pairs": [PAIR],
}


@pytest.fixture(autouse=True)
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "140")


def shown(capsys: pytest.CaptureFixture[str]) -> str:
    return " ".join(capsys.readouterr().out.split())


def test_no_rooms(capsys: pytest.CaptureFixture[str]) -> None:
    show_rooms({"rooms": []})
    assert shown(capsys) == "There are no rooms now."


def test_rooms(capsys: pytest.CaptureFixture[str]) -> None:
    show_rooms({"rooms": [ROOM, {**ROOM, "id": "closed", "locked": True}, {**ROOM, "locked": True, "knock": True}]})
    text = shown(capsys)
    assert "demo 2 of 4 open 2023-11-14 22:13:20 UTC" in text
    assert "closed 2 of 4 locked" in text
    assert "demo 2 of 4 knock first" in text


def test_a_room(capsys: pytest.CaptureFixture[str]) -> None:
    show_room(ROOM)
    text = shown(capsys)
    assert "people 2 of 4" in text
    assert "abcdefghij Ann host microphone, camera 2023-11-14 22:13:20 UTC connected" in text
    assert "klmnopqrst Bob member none 2023-11-14 22:14:20 UTC lost, may return" in text
    assert "Ann ↔ Bob through the relay, TLS (Bob) 1.2 MB / 999 B host, relay / – 61 ms" in text


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"path": "direct", "seen_by": "clients", "relay_of": None}, "directly, they say"),
        ({"path": "unknown", "seen_by": None}, "not known"),
        ({"relay_of": "both"}, "through the relay, TLS (both)"),
        ({"relay_of": "a", "proto": "udp"}, "through the relay, UDP (Ann)"),
        ({"relay_of": None, "proto": None, "seen_by": "clients"}, "through the relay, they say"),
    ],
)
def test_paths(capsys: pytest.CaptureFixture[str], changes: dict[str, Any], text: str) -> None:
    show_room({**ROOM, "pairs": [{**PAIR, **changes}]})
    assert text in shown(capsys)


def test_a_token(capsys: pytest.CaptureFixture[str]) -> None:
    show_token("aaa.bbb.ccc", "https://turn.example.org/call/demo#token=aaa.bbb.ccc", 1_700_000_000)
    text = shown(capsys)
    assert text.startswith("link https://turn.example.org/call/demo#token=aaa.bbb.ccc")
    assert "2023-11-14 22:13:20 UTC" in text
    show_token("aaa.bbb.ccc", "", 1_700_000_000)
    assert "link" not in shown(capsys)


def test_a_long_token_is_one_word(capsys: pytest.CaptureFixture[str]) -> None:
    """It has to be copied."""
    show_token("a" * 400, "https://turn.example.org/call/demo#token=" + "a" * 400, 1_700_000_000)
    assert "a" * 400 in capsys.readouterr().out.split()


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@patient
@given(
    room=st.fixed_dictionaries({key: anything | st.just(value) for key, value in ROOM.items()}),
    pair=st.fixed_dictionaries({key: anything | st.just(value) for key, value in PAIR.items()}),
    peer=st.fixed_dictionaries({key: anything | st.just(value) for key, value in ANN.items()}),
    rest=anything,
)
def test_a_server_may_say_what_it_likes(
    room: dict[str, Any], pair: dict[str, Any], peer: dict[str, Any], rest: Any
) -> None:
    import contextlib
    import io

    with contextlib.redirect_stdout(io.StringIO()) as written:
        show_rooms(rest)
        show_room(rest)
        show_rooms({"rooms": [room, rest]})
        show_room({**room, "peers": [peer, rest], "pairs": [pair, rest]})
        show_room(room)
    steering = {"Cc", "Cf", "Cs", "Co", "Zl", "Zp"}
    assert not [char for char in written.getvalue() if char != "\n" and unicodedata.category(char) in steering]
