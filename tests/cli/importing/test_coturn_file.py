"""The grammar of coturn's file, rule by rule."""

import pytest

from cli.importing.coturn_file import MAX_LINE, boolean, number, read_coturn
from cli.importing.outcome import Given, Plan


def read(text: str) -> list[tuple[int, str, str]]:
    plan = Plan()
    found = [tuple(given) for given in read_coturn(text, plan)]
    assert plan.problems == []
    return found  # type: ignore[return-value]


@pytest.mark.parametrize(
    ("line", "name", "value"),
    [
        ("realm=example.org", "realm", "example.org"),
        ("realm example.org", "realm", "example.org"),
        ("realm\t= =\texample.org  \t", "realm", "example.org"),
        ("   fingerprint", "fingerprint", ""),
        ("fingerprint=", "fingerprint", ""),
        ("static-auth-secret=a=b==", "static-auth-secret", "a=b=="),
        ("static-auth-secret==a", "static-auth-secret", "a"),
        ('static-auth-secret="a b = c"', "static-auth-secret", "a b = c"),
        ('static-auth-secret="a b  " ', "static-auth-secret", "a b  "),
        ('static-auth-secret="open', "static-auth-secret", "open"),
        ("static-auth-secret='single'", "static-auth-secret", "'single'"),
        ("realm=example.org # no comment", "realm", "example.org # no comment"),
        ("realm=example.org;", "realm", "example.org;"),
        ("realm=example.org\r", "realm", "example.org"),
        ("--realm=example.org", "--realm", "example.org"),
    ],
)
def test_a_line(line: str, name: str, value: str) -> None:
    """Name and value as coturn separates them."""
    assert read(line) == [(1, name, value)]


def test_comments_and_order() -> None:
    """A comment begins its line; options may be repeated, and keep their lines."""
    assert read("# a\n\n  #b\nuser=a:b\n\t\nuser=c:d\n") == [(4, "user", "a:b"), (6, "user", "c:d")]


@pytest.mark.parametrize("line", ["realm=a\0b", "realm=" + "a" * MAX_LINE])
def test_what_coturn_would_cut(line: str) -> None:
    """A value of which coturn would use a part only is an error, with its line and without the text."""
    plan = Plan()
    assert read_coturn(f"\n{line}", plan) == []
    (problem,) = plan.problems
    assert (problem.line, problem.key) == (2, "")


@pytest.mark.parametrize(
    ("value", "on"),
    [("", True), ("yes", True), ("1", True), ("True", True), ("on", True), ("0", False), ("no", False), ("OFF", False)],
)
def test_flags(value: str, on: bool) -> None:
    """coturn looks at the first characters of a flag's value."""
    plan = Plan()
    assert boolean(Given(1, "no-tcp", value), plan) is on
    assert plan.problems == []


def test_what_is_no_flag_and_no_number() -> None:
    """Each is an error with its line; a missing number has a default where coturn has one."""
    plan = Plan()
    assert boolean(Given(3, "no-tcp", "x"), plan) is False
    assert [number(Given(4, "min-port", value), plan) for value in ("", "-1", "1x", "9" * 30)] == [0, 0, 0, 0]
    assert [problem.line for problem in plan.problems] == [3, 4, 4, 4, 4]
    assert number(Given(5, "stale-nonce"), plan, 600) == 600
    assert number(Given(5, "stale-nonce", "700"), plan, 600) == 700
