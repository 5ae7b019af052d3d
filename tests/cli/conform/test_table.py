"""The table of rules as the generator and the checks read it."""

import tomllib
from pathlib import Path

import pytest

from cli.conform import table
from cli.conform.table import CheckRow, Demand, RuleRow, RuleSection, checks, sections


def test_sections_have_the_rules_in_order_and_then_rfcs() -> None:
    numbers = [section.number for section in sections()]
    assert numbers[:3] == [1, 2, 3]
    assert None in numbers
    assert all(section.rows for section in sections())


def test_a_row_has_what_the_file_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use(tmp_path, monkeypatch, '["one", "SHOULD", "8489 §1", "It is so."]')
    check = CheckRow("one", Demand.SHOULD, "8489 §1", "It is so.", "Rule 7: Seven")
    row = RuleRow("8489 §1", "what", ("stun/message.py",), ("tests/test_a.py::test_b",), (check,))
    assert sections() == (RuleSection("Rule 7: Seven", "Text.", (row,)),)
    assert sections()[0].number == 7
    assert checks() == {"one": check}


def test_a_name_is_given_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use(tmp_path, monkeypatch, '["one", "MUST", "8489 §1", "A."], ["one", "MUST", "8489 §2", "B."]')
    with pytest.raises(ValueError, match="two checks have the name one"):
        checks()


def test_a_level_is_one_of_three(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use(tmp_path, monkeypatch, '["one", "MAY", "8489 §1", "A."]')
    with pytest.raises(ValueError, match="MAY"):
        sections()


def test_the_file_has_no_keys_that_nobody_reads() -> None:
    with Path(table.__file__).with_name("rules.toml").open("rb") as stream:
        content = tomllib.load(stream)
    assert content.keys() == {"section"}
    for section in content["section"]:
        assert section.keys() == {"title", "text", "row"}
        for row in section["row"]:
            assert row.keys() - {"checks"} == {"rfc", "what", "code", "tests"}


def use(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rows: str) -> None:
    """A table of one section with one row that has these checks."""
    file = tmp_path / "rules.toml"
    file.write_text(
        '[[section]]\ntitle = "Rule 7: Seven"\ntext = "Text."\n[[section.row]]\nrfc = "8489 §1"\nwhat = "what"\n'
        f'code = ["stun/message.py"]\ntests = ["tests/test_a.py::test_b"]\nchecks = [{rows}]\n'
    )
    monkeypatch.setattr(table, "_FILE", file)
    fresh_sections, fresh_checks = sections.__wrapped__, checks.__wrapped__
    monkeypatch.setattr(table, "sections", fresh_sections)
    monkeypatch.setitem(globals(), "sections", fresh_sections)
    monkeypatch.setitem(globals(), "checks", fresh_checks)
