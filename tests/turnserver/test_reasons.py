"""Every refusal has a reason code, and the page for operators has every code."""

import ast
import re
import runpy
from collections.abc import Iterator
from pathlib import Path

import pytest

from stun.constants import ErrorCode
from turnserver.reasons import CLOSED, DROPPED, Reason, phrase
from turnserver.signaling.edge.refusals import ApiCode
from turnserver.signaling.protocol.errors import MEANINGS, SignalCode

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "reasons.md"
SOURCES = sorted((ROOT / "turnserver").rglob("*.py"))

REFUSING = ("Refusal", "ApiError", "_error", "Denial", "_turn_away", "turned_away")
"""The calls that refuse something; mypy checks what their arguments are."""


def calls(*names: str) -> Iterator[tuple[str, ast.Call]]:
    """Every call of a function or method with one of these names, and where it is."""
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
                if name in names:
                    yield f"{path.relative_to(ROOT)}:{node.lineno}", node


def test_the_page_is_current() -> None:
    made = runpy.run_path(str(ROOT / "docs" / "generate_reasons.py"))["page"]()
    assert PAGE.read_text(encoding="utf-8") == made, "run docs/generate_reasons.py"


def sections() -> dict[str, list[list[str]]]:
    """The rows of the page by heading, each as its cells."""
    found: dict[str, list[list[str]]] = {}
    rows: list[list[str]] = []
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        if line.startswith("## "):
            rows = found[line[3:]] = []
        elif line.startswith("| `"):
            rows.append([cell.strip() for cell in line.strip("|").split("|")])
    return found


def test_every_code_is_on_the_page_once_with_what_to_do() -> None:
    """In the part for what is refused: requests, connections, rooms, the HTTP API."""
    rows = sections()
    codes = {heading: [row[0].strip("`") for row in found] for heading, found in rows.items()}
    assert codes["STUN and TURN requests"] == [str(each) for each in Reason if each.answer != CLOSED]
    assert codes["Connections of clients"] == [str(each) for each in Reason if each.answer == CLOSED]
    assert codes["Rooms"] == [str(each) for each in SignalCode]
    assert codes["The HTTP API"] == [str(each) for each in ApiCode]
    assert set(MEANINGS) == set(SignalCode)
    for found in rows.values():
        assert all(len(row) == 4 and all(row) for row in found)


@pytest.mark.parametrize("name", REFUSING)
def test_every_refusal_of_the_server_has_a_code(name: str) -> None:
    """The kind: a refusal that only the client sees. None is made of a mere number or text."""
    found = list(calls(name))
    assert found
    for where, call in found:
        first = call.args[1 if name == "_turn_away" else 0]
        assert not isinstance(first, ast.Constant | ast.JoinedStr), where
        assert "ErrorCode" not in ast.unparse(first), where


def test_every_connection_that_is_closed_before_it_speaks_has_a_reason() -> None:
    """Where connections begin, all but `stream.close` for a client that has been told, or that said nothing."""
    opening = [(where, call) for where, call in calls("_close", "_say_goodbye") if "opening.py" in where]
    assert len(opening) > 12
    for where, call in opening:
        cause = ast.unparse(call.args[-1] if "goodbye" in ast.unparse(call.func) else call.args[0])
        assert cause.startswith(("Reason.", "Came.", "cause", "*handshake_failure")), (where, cause)


def test_every_code_is_given_somewhere() -> None:
    """A code that nothing uses would send an operator looking for what cannot happen."""
    text = "".join(path.read_text(encoding="utf-8") for path in SOURCES)
    used = {match[0] for match in re.finditer(r"\b(?:Reason|ApiCode)\.[A-Z_0-9]+\b", text)}
    assert {f"Reason.{each.name}" for each in Reason} - used == set()
    assert {f"ApiCode.{each.name}" for each in ApiCode} - used == set()


def test_every_reason_has_an_error_code_or_says_what_happens() -> None:
    for reason in Reason:
        assert reason.errors or reason.answer in {CLOSED, DROPPED}, reason
        assert reason.answer


def test_a_code_is_a_word_that_can_be_looked_for() -> None:
    for reason in Reason:
        assert str(reason) == reason.name.lower().replace("_", "-")


def test_a_phrase_is_as_long_as_the_rfc_allows() -> None:
    """RFC 8489 §14.8: fewer than 128 characters, whatever it is about."""
    assert phrase(ErrorCode.FORBIDDEN, Reason.PEER_DENIED) == "Forbidden (peer-denied)"
    assert len(phrase(ErrorCode.FORBIDDEN, Reason.PEER_DENIED, "x" * 1000)) == 127
