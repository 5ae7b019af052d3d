"""A diagnosis as text."""

import io

import pytest
from rich.console import Console

from cli.doctor.findings import CheckName, Examination, HostFinding, not_checked, ok, warning, wrong
from cli.doctor.render import render, verdict


def shown(*findings: HostFinding) -> str:
    out = io.StringIO()
    render(Console(file=out, width=100), Examination("file", {CheckName.SRV: list(findings)}))
    return out.getvalue()


def test_what_why_and_what_mends_it() -> None:
    """Each on lines of their own, so that the last can be copied."""
    lines = [line.strip() for line in shown(wrong("it is so", "it matters", "sysctl -w a=1")).splitlines()]
    assert lines[1].split(maxsplit=2) == ["WRONG", "srv", "it is so"]
    assert lines[2:] == ["it matters", "sysctl -w a=1", "1 wrong, 0 warnings."]


def test_text_of_others_is_harmless() -> None:
    """Kind: a name of the DNS that steers the terminal."""
    text = shown(warning("\x1b[2J[bold]name", "\u202ewhy", "line\nrm -rf /"))
    assert "\x1b[2J" not in text
    assert "\u202e" not in text
    assert "\\x1b[2J[bold]name" in text
    assert "line\\x0arm -rf /" in text


@pytest.mark.parametrize(
    ("findings", "sentence"),
    [
        ([ok("a")], "Nothing is wrong."),
        ([ok("a"), not_checked("b")], "Nothing is wrong; 1 not checked."),
        ([warning("a", "b"), not_checked("b")], "Nothing is wrong; 1 warning; 1 not checked."),
        ([wrong("a", "b"), warning("a", "b"), not_checked("c")], "1 wrong, 1 warning; 1 not checked."),
        ([not_checked("a")], "Nothing could be checked."),
    ],
)
def test_verdicts(findings: list[HostFinding], sentence: str) -> None:
    """What was not checked is counted for itself, and never as fine."""
    assert verdict(Examination("file", {CheckName.SRV: findings})) == sentence
