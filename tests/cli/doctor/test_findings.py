"""Findings and the whole of them: what counts as fine."""

import pytest

from cli.doctor.findings import CheckName, Examination, HostFinding, Severity, not_checked, ok, warning, wrong


def of(*findings: HostFinding) -> Examination:
    return Examination("file", {CheckName.CLOCK: list(findings)})


@pytest.mark.parametrize(
    ("findings", "fine"),
    [
        ((ok("a"),), True),
        ((warning("a", "b"),), True),
        ((ok("a"), wrong("b", "c")), False),
        ((ok("a"), not_checked("b")), True),
        ((not_checked("b"),), False),
        ((), False),
    ],
)
def test_what_is_fine(findings: tuple[HostFinding, ...], fine: bool) -> None:
    """What was not checked is never counted as fine: alone it is a failure."""
    assert of(*findings).ok is fine


def test_for_programs() -> None:
    """Every grade is counted, and a finding has what, why and the lines that mend it."""
    written = of(wrong("it is so", "it matters", "mend it", "or so"), not_checked("no root")).as_json()
    assert written["counts"] == {"ok": 0, "warning": 0, "wrong": 1, "not checked": 1}
    assert written["checks"]["clock"] == [
        {"grade": "wrong", "what": "it is so", "why": "it matters", "mend": ["mend it", "or so"]},
        {"grade": "not checked", "what": "no root", "why": None, "mend": []},
    ]
    assert (written["ok"], written["source"]) == (False, "file")


def test_grades_have_functions_of_their_own() -> None:
    """Each makes a finding of its grade."""
    found = [ok("a").grade, warning("a", "b").grade, wrong("a", "b").grade, not_checked("a").grade]
    assert found == list(Severity)
