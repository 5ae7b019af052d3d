"""Golden transcripts: every exchange of the protocol, replayed exactly, and valid under the published schema."""

import json
from typing import Any

import pytest

from tests.support.signal_scenarios import FOLDER, SCENARIOS, record, replay
from tests.support.signal_schema import is_valid
from turnserver.signaling.protocol.base import CLIENT, SERVER

__all__: list[str] = []

FILES = sorted(FOLDER.glob("*.json"))


def load(name: str) -> list[dict[str, Any]]:
    found = json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    assert isinstance(found, list)
    return found


def test_there_is_a_transcript_of_every_scenario() -> None:
    assert {path.stem for path in FILES} == set(SCENARIOS)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_hub_says_exactly_this(path: Any) -> None:
    """The same frames in produce the same frames out, at the same time, and the same close codes."""
    transcript = load(path.stem)
    assert json.loads(json.dumps(replay(transcript))) == transcript


@pytest.mark.parametrize("name", sorted(SCENARIOS))
def test_the_scenarios_still_are_these(name: str) -> None:
    """What ``python -m tests.support.signal_scenarios`` would write is what is there."""
    assert json.loads(json.dumps(record(name))) == load(name)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_frame_is_valid(path: Any) -> None:
    """Server frames all; of client frames those that the server did not call broken."""
    broken = {"unknown_type", "bad_json", "bad_message"}
    transcript = load(path.stem)
    for index, entry in enumerate(transcript):
        if "frame" not in entry:
            continue
        side = "server" if entry["from"] == "server" else "client"
        if side == "client" and not is_valid("client", entry["frame"]):
            answer = next(each["frame"] for each in transcript[index:] if each.get("to") == entry["from"])
            assert answer["t"] == "error"
            assert answer["code"] in broken
            continue
        assert is_valid(side, entry["frame"]), entry


def test_the_transcripts_leave_no_type_out() -> None:
    """Every message type of either side is shown at least once."""
    shown: dict[str, set[str]] = {"client": set(), "server": set()}
    for path in FILES:
        for entry in load(path.stem):
            if "frame" in entry and isinstance(entry["frame"], dict):
                shown["server" if entry["from"] == "server" else "client"].add(entry["frame"]["t"])
    assert shown["client"] >= set(CLIENT)
    assert shown["server"] >= set(SERVER)
