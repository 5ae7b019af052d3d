"""The server's own errors: sentences for the person who runs it."""

from turnserver.errors import ConfigError, DatapathError, Problem, ServerError, StartupError


def test_there_is_one_root() -> None:
    assert all(issubclass(kind, ServerError) for kind in (ConfigError, DatapathError, StartupError))


def test_a_configuration_error_carries_every_problem() -> None:
    problems = [Problem("realm", 3, "7", "a text"), Problem("relay.ports", 9, "'x'", "FIRST-LAST")]
    error = ConfigError("meshturn.yml", problems)
    assert error.problems == problems
    assert error.source == "meshturn.yml"
    assert str(error).splitlines() == [
        "meshturn.yml: 2 problem(s)",
        "  line 3: realm: found 7; allowed: a text",
        "  line 9: relay.ports: found 'x'; allowed: FIRST-LAST",
    ]


def test_a_problem_without_a_line_or_a_key() -> None:
    assert str(Problem("realm", 0, "7", "a text")) == "realm: found 7; allowed: a text"
    assert str(Problem("", 0, "a list", "")) == "found a list"


def test_a_startup_error_has_a_hint() -> None:
    assert StartupError("The port is taken.").hint == ""
    assert StartupError("The port is taken.", "Choose another.").hint == "Choose another."
