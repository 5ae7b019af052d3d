"""The server's own errors: sentences for the person who runs it."""

from turnserver.errors import ConfigError, DatapathError, Problem, ServerError, StartupError


def test_there_is_one_root() -> None:
    assert all(issubclass(kind, ServerError) for kind in (ConfigError, DatapathError, StartupError))


def test_a_configuration_error_carries_every_problem() -> None:
    problems = [Problem("realm", 3, "7", "a text"), Problem("relay.ports", 9, "'x'", "FIRST-LAST")]
    error = ConfigError("meshturn.yml", problems)
    assert error.problems == problems
    assert error.source == "meshturn.yml"
    assert str(error) == "meshturn.yml: 2 problem(s)"


def test_a_startup_error_has_a_hint() -> None:
    assert StartupError("The port is taken.").hint == ""
    assert StartupError("The port is taken.", "Choose another.").hint == "Choose another."
