"""The conformance table is true: every test that it names exists and names its rule, and every file of code exists."""

import ast
import re
import runpy
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
TABLE = (ROOT / "docs" / "conformance.md").read_text(encoding="utf-8")

_TEST = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")
_CODE = re.compile(r"`((?:stun|auth|turnserver)/[\w/]+\.py)`")
_RULE = re.compile(r"^## Rule (\d+): ", re.MULTILINE)

BY_RULE, _, RFC_6062 = TABLE.partition("\n## RFC 6062: ")
"""The sections of the rules, and that of TCP allocations, whose rows go by the RFC's sections."""

RULES = {int(number): body for number, body in zip(*[iter(_RULE.split(BY_RULE)[1:])] * 2, strict=True)}
"""The text of each rule's section."""


@cache
def functions_in(path: str) -> dict[str, str]:
    """The tests in a file, by name, with their docstrings."""
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    found = (node for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))
    return {node.name: ast.get_docstring(node) or "" for node in found if node.name.startswith("test_")}


def rules_named(docstring: str) -> set[int]:
    """The numbers in "Rule 7", "Rules 1 and 2", "Rules 10, 11, 13 and 17"."""
    found = re.findall(r"\b[Rr]ules? (\d+(?:(?:, | and |–)\d+)*)", docstring)
    return {int(number) for numbers in found for number in re.findall(r"\d+", numbers)}


def test_the_page_is_current() -> None:
    made = runpy.run_path(str(ROOT / "docs" / "generate_conformance.py"))["page"]()
    assert made == TABLE, "run docs/generate_conformance.py"


def test_every_rule_has_a_section_in_order() -> None:
    assert list(RULES) == list(range(1, 35))


@pytest.mark.parametrize("rule", RULES)
def test_every_rule_has_tests(rule: int) -> None:
    assert _TEST.search(RULES[rule])


@pytest.mark.parametrize("rule", RULES)
def test_every_row_names_code_and_tests(rule: int) -> None:
    rows = [line for line in RULES[rule].splitlines() if line.startswith("| ")][1:]
    assert rows
    for row in rows:
        assert _CODE.search(row), row
        assert _TEST.search(row), row


@pytest.mark.parametrize("path", sorted({path for path, _ in _TEST.findall(TABLE)}))
def test_every_test_named_exists(path: str) -> None:
    named = {name for where, name in _TEST.findall(TABLE) if where == path}
    assert named - functions_in(path).keys() == set()


@pytest.mark.parametrize("path", sorted(set(_CODE.findall(TABLE))))
def test_every_file_named_exists(path: str) -> None:
    assert (ROOT / path).is_file()


@pytest.mark.parametrize("rule", RULES)
def test_the_tests_of_the_core_name_their_rule(rule: int) -> None:
    """Where a test of the core stands under a rule, its docstring says so."""
    for path, name in _TEST.findall(RULES[rule]):
        if path.startswith("tests/turnserver/core/"):
            assert rule in rules_named(functions_in(path)[name]), f"{path}::{name}"


@pytest.mark.parametrize("section", ["§5.1", "§5.2", "§5.3", "§5.4", "§5.5"])
def test_every_section_for_servers_of_rfc_6062_has_rows(section: str) -> None:
    """RFC 6062 §5: what a server has to do; each row has code and tests, and each test names what it proves."""
    rows = [line for line in RFC_6062.splitlines() if line.startswith("| 6062 ") and section in line.split(" | ")[0]]
    assert rows
    for row in rows:
        assert _CODE.search(row), row
        assert _TEST.search(row), row
        for path, name in _TEST.findall(row):
            assert re.search(r"RFC \d+ §|Rule \d+", functions_in(path)[name]), f"{path}::{name}"


def test_every_test_of_the_core_says_what_it_proves() -> None:
    """A docstring, each and every one."""
    bare = []
    for path in sorted((ROOT / "tests" / "turnserver" / "core").rglob("test_*.py")):
        for name, docstring in functions_in(str(path.relative_to(ROOT))).items():
            if not docstring:
                bare.append(f"{path.name}::{name}")
    assert bare == []
