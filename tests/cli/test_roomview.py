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

LAYER = {"rid": "h", "bitrate": 1_234_567, "height": 720, "packets": 900, "lost": 3, "nacks": 2, "plis": 1}
TRACK = {"source": "camera", "codec": "vp8", "muted": False, "layers": [LAYER, {**LAYER, "rid": "", "height": 0}]}
VOICE = {"source": "audio", "codec": "opus", "muted": True, "layers": [{**LAYER, "bitrate": 32_000}]}
PICTURE = {
    "peer": "klmnopqrst",
    "source": "camera",
    "rid": "m",
    "temporal": 1,
    "packets": 5,
    "nacked": 4,
    "repeated": 3,
}
RECEIVER: dict[str, Any] = {
    "id": "abcdefghij",
    "publishing": True,
    "subscribing": True,
    "estimate": 2_000_000,
    "sending": 900_000,
    "tracks": [TRACK, VOICE],
    "forwarded": [PICTURE, {**PICTURE, "rid": None}, {**PICTURE, "source": "audio"}],
}
MEDIA: dict[str, Any] = {
    "epoch": 1,
    "speaker": "klmnopqrst",
    "packets_in": 1000,
    "packets_out": 5000,
    "peers": [RECEIVER],
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


def test_a_room_through_the_sfu(capsys: pytest.CaptureFixture[str]) -> None:
    """What each sends, layer by layer, and what each is sent; pairs have no path of their own."""
    unknown = {**PAIR, "path": "unknown"}
    show_room({**ROOM, "mode": "sfu", "media": MEDIA, "pairs": [unknown]})
    text = shown(capsys)
    assert "media through the SFU, packets: 1000 in, 5000 out; Bob speaks" in text
    assert "Ann camera vp8 h 720 1.2 Mbit/s 900 3 2 1" in text
    assert "Ann camera vp8 – – 1.2 Mbit/s" in text
    assert "Ann audio, muted opus h 720 32 kbit/s" in text
    assert "receives sound pictures paused bit rate estimate NACKs sent again" in text
    assert "Ann 1 1 1 900 kbit/s 2.0 Mbit/s 12 9" in text
    assert "round trip" not in text
    show_room({**ROOM, "mode": "sfu", "media": None, "pairs": [PAIR]})
    text = shown(capsys)
    assert "through the SFU, which is not there" in text
    assert "round trip" in text, "a relay still carries something"
    show_room({**ROOM, "mode": "mesh", "media": {**MEDIA, "peers": []}})
    assert "from each to each; the SFU has the room, too" in shown(capsys)
    show_room({**ROOM, "mode": "mesh", "media": None})
    assert "media from each to each people" not in shown(capsys)


def test_numbers_that_are_none(capsys: pytest.CaptureFixture[str]) -> None:
    """More digits than a float has, and what is no number at all."""
    huge = 10**400
    show_room({**ROOM, "media": {**MEDIA, "peers": [{**RECEIVER, "estimate": huge, "sending": float("nan")}]}})
    show_room({**ROOM, "pairs": [{**PAIR, "bytes": {"a_to_b": huge, "b_to_a": True}}]})
    assert "– / –" in shown(capsys)


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
    receiver=st.fixed_dictionaries({key: anything | st.just(value) for key, value in RECEIVER.items()}),
    layer=st.fixed_dictionaries({key: anything | st.just(value) for key, value in LAYER.items()}),
    rest=anything,
)
def test_a_server_may_say_what_it_likes(
    room: dict[str, Any],
    pair: dict[str, Any],
    peer: dict[str, Any],
    receiver: dict[str, Any],
    layer: dict[str, Any],
    rest: Any,
) -> None:
    import contextlib
    import io

    with contextlib.redirect_stdout(io.StringIO()) as written:
        show_rooms(rest)
        show_room(rest)
        show_rooms({"rooms": [room, rest]})
        show_room({**room, "peers": [peer, rest], "pairs": [pair, rest]})
        show_room(room)
        layers = {**TRACK, "layers": [layer, rest]}
        media = {**MEDIA, "peers": [receiver, {**RECEIVER, "tracks": [layers, rest], "forwarded": [layer]}, rest]}
        show_room({**room, "peers": [peer], "media": media})
        show_room({**room, "media": {**MEDIA, "speaker": rest, "packets_in": rest}})
    steering = {"Cc", "Cf", "Cs", "Co", "Zl", "Zp"}
    assert not [char for char in written.getvalue() if char != "\n" and unicodedata.category(char) in steering]
