"""YAML from anybody: values, lines, duplicates, and everything that is refused."""

from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from turnserver.config.document import MAX_DEPTH, MAX_VALUES, Document, dotted, parse


def one_problem(text: str) -> tuple[int, str]:
    (problem,) = parse(text).problems
    assert problem.allowed
    return problem.line, problem.found


def test_lines_of_keys_and_items() -> None:
    document = parse("realm: a\n\nlisteners:\n  - port: 1\n    address: b\n  -\n    port: 2\nrelay: {ports:\n  c}\n")
    assert document.problems == []
    assert document.data == {
        "realm": "a",
        "listeners": [{"port": 1, "address": "b"}, {"port": 2}],
        "relay": {"ports": "c"},
    }
    lines = {
        ("realm",): 1,
        ("listeners",): 3,
        ("listeners", 0): 4,
        ("listeners", 0, "address"): 5,
        ("listeners", 1, "port"): 7,
        ("relay", "ports"): 8,
    }
    assert {path: document.line_of(path) for path in lines} == lines


def test_line_of_what_is_not_there_is_the_line_around_it() -> None:
    document = parse("\nlisteners:\n\n- port: 1\n")
    assert document.line_of(("listeners", 0, "address")) == 4
    assert document.line_of(("listeners", 7)) == 2
    assert document.line_of(("nowhere",)) == 0
    assert document.line_of(()) == 2
    assert Document().line_of(("nowhere", 1)) == 0


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", None),
        ("# nothing\n", None),
        ("---\n...\n", None),
        ("a", "a"),
        ("~", None),
        ("null", None),
        ("'null'", "null"),
        ("true", True),
        ("FALSE", False),
        ("yes", "yes"),
        ("off", "off"),
        ("12", 12),
        ("-12", -12),
        ("'12'", "12"),
        ("0777", "0777"),
        ("0x1F", "0x1F"),
        ("1_000", "1_000"),
        ("1:30", "1:30"),
        ("1:2:3:4:5:6:7:8", "1:2:3:4:5:6:7:8"),
        ("2026-01-31", "2026-01-31"),
        ("1.5", 1.5),
        ("1e5", "1e5"),
        (".inf", ".inf"),
        (".nan", ".nan"),
        ("=", "="),
        ("9" * 400, "9" * 400),
        ("|\n  a\n  b\n", "a\nb\n"),
        ("<<: {a: 1}", {"<<": {"a": 1}}),
        ("12: a", {"12": "a"}),
        ("2001:db8::1", "2001:db8::1"),
    ],
)
def test_values_are_those_of_yaml_1_2(text: str, value: object) -> None:
    document = parse(text)
    assert document.problems == []
    assert document.data == value
    assert type(document.data) is type(value)


def test_duplicate_keys_are_told_and_the_first_counts() -> None:
    document = parse("a: 1\nb:\n  c: 2\n  c: 3\na: 4\n")
    assert document.data == {"a": 1, "b": {"c": 2}}
    assert [(problem.key, problem.line, problem.found) for problem in document.problems] == [
        ("b.c", 4, "the same key again (first on line 3)"),
        ("a", 5, "the same key again (first on line 1)"),
    ]


@pytest.mark.parametrize(
    ("text", "line", "found"),
    [
        ("a: 1\nb: &x 2\n", 2, "an anchor or an alias"),
        ("a: 1\n\nb: *x\n", 3, "an anchor or an alias"),
        ("a: !!python/object:os.system 1\n", 1, "a tag"),
        ("a: !x b\n", 1, "a tag"),
        ("a: ! b\n", 1, "a tag"),
        ("a: !!set {b}\n", 1, "a tag"),
        ("a: 1\n? [b]\n: c\n", 2, "a list or a mapping as a key"),
        ("a: 1\n---\nb: 2\n", 2, "but found another document"),
        ("a:\n\tb: 1\n", 2, "found character '\\t' that cannot start any token"),
        ("a: ::\n", 1, "mapping values are not allowed here"),
        ("a: [1\n", 2, "expected ',' or ']', but got '<stream end>'"),
        ("a: 1\nb: \x07\n", 2, "a control character"),
        ('a: "\\UFFFFFFFF"\n', 0, "broken YAML (OverflowError)"),
    ],
)
def test_what_is_refused_and_where(text: str, line: int, found: str) -> None:
    assert one_problem(text) == (line, found)


@pytest.mark.parametrize("text", ["p: *hunter2", "p: !hunter2!x y", "p: !hunter2 y", "p: &hunter2 y", "%TAG hunter2 z"])
def test_broken_yaml_is_not_quoted(text: str) -> None:
    """What breaks the syntax may be a secret that should have been in quotation marks."""
    assert "hunter2" not in one_problem(text)[1]


def test_depth_is_bounded() -> None:
    fits = "[" * MAX_DEPTH + "]" * MAX_DEPTH
    assert parse(fits).problems == []
    for text in ("[" * 100_000, "{a: " * 100_000, "- " * 100_000, "? " * 100_000, f"[{fits}]"):
        assert one_problem(text) == (1, "values that are nested too deeply")


def test_number_of_values_is_bounded() -> None:
    assert parse("- a\n" * (MAX_VALUES - 1)).problems == []
    assert one_problem("- a\n" * MAX_VALUES) == (MAX_VALUES, "too many values")


@settings(deadline=None)
@given(st.text() | st.text("[]{}:,-?&*!|>'\"%@`#\\ \n\tab1~<=", max_size=40))
def test_any_text_is_read_or_refused(text: str) -> None:
    """Nothing is raised; and there is either something to use or a reason."""
    document = parse(text)
    for problem in document.problems:
        assert problem.found.isprintable()
        assert problem.allowed


plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**17), 10**17) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=15,
)


@settings(deadline=None)
@given(plain)
def test_what_yaml_writes_is_read_back(value: Any) -> None:
    """Whatever a program writes with PyYAML, without aliases, has the same meaning here."""
    dumper = yaml.SafeDumper
    text = yaml.dump(value, Dumper=type("Plain", (dumper,), {"ignore_aliases": lambda self, data: True}))
    document = parse(text)
    assert document.problems == []
    assert document.data == value


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ((), ""),
        (("a",), "a"),
        (("listeners", 1, "port"), "listeners[1].port"),
        (("auth", "users", "a.b"), "auth.users.'a.b'"),
        (("auth", "users", "a\nb"), "auth.users.'a\\nb'"),
        (("", "b"), "''.b"),
        (("k" * 1000,), repr("k" * 64 + "…")),
    ],
)
def test_dotted(path: tuple[str | int, ...], text: str) -> None:
    assert dotted(path) == text
