"""Every refusal has a reason code, and the page for operators has every code."""

import ast
import runpy
from collections.abc import Iterator
from pathlib import Path

import pytest

from stun.constants import ErrorCode
from turnserver.reasons import CLOSED, DROPPED, Reason, phrase

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "reasons.md"
SOURCES = sorted((ROOT / "turnserver").rglob("*.py"))

CARRIERS = {"Refusal": 0, "SourceUnavailable": 1, "_close": 0, "_say_goodbye": 1, "turned_away": 0, "_turn_away": 1}
"""Calls that refuse something, and the position of the reason among their arguments."""


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


@pytest.mark.parametrize("reason", list(Reason))
def test_every_reason_is_on_the_page_once_with_what_to_do(reason: Reason) -> None:
    rows = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith(f"| `{reason}` |")]
    assert len(rows) == 1
    cells = [cell.strip() for cell in rows[0].strip("|").split("|")]
    assert len(cells) == 4
    assert all(cells)


def test_every_error_answer_of_the_server_names_a_reason() -> None:
    """The kind: a refusal that only the client sees. There is no `Refusal` by a mere number or text."""
    found = list(calls("Refusal"))
    assert len(found) > 40
    for where, call in found:
        first = ast.unparse(call.args[0])
        assert not isinstance(call.args[0], ast.Constant), where
        assert "ErrorCode" not in first, where


@pytest.mark.parametrize("reason", list(Reason))
def test_every_reason_is_given_somewhere(reason: Reason) -> None:
    """A code that nothing uses would send an operator looking for what cannot happen."""
    uses = [path for path in SOURCES if f"Reason.{reason.name}" in path.read_text(encoding="utf-8")]
    assert uses


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
