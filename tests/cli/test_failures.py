"""Errors as people and programs see them."""

import pytest

from cli.exit_codes import ExitCode
from cli.failures import config_error_json, exit_code_of, show_failure
from turnserver.errors import ConfigError, DatapathError, Problem, StartupError

PROBLEMS = [
    Problem("relay.ports", 7, "'80-90'", "FIRST-LAST with 1024 ≤ FIRST"),
    Problem("MESHTURN_X", 0, "an unknown environment variable", "none"),
    Problem("", 9, "\x1b[31m[bold]", ""),
]


def test_a_configuration_error_shows_every_problem(capsys: pytest.CaptureFixture[str]) -> None:
    """Every problem at once: file, line, key, what was found and what is allowed; hostile text made harmless."""
    show_failure(ConfigError("/etc/m\x07.yml", PROBLEMS))
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.splitlines() == [
        "The configuration has 3 problems:",
        "/etc/m\\x07.yml:7: relay.ports",
        "    found:   '80-90'",
        "    allowed: FIRST-LAST with 1024 ≤ FIRST",
        "/etc/m\\x07.yml: MESHTURN_X",
        "    found:   an unknown environment variable",
        "    allowed: none",
        "/etc/m\\x07.yml:9",
        "    found:   \\x1b[31m[bold]",
    ]


def test_a_configuration_error_for_programs() -> None:
    """The same as values; a key that stands in no file has no line."""
    found = config_error_json(ConfigError("m.yml", PROBLEMS[:2]))
    assert found == {
        "ok": False,
        "source": "m.yml",
        "problems": [
            {"key": "relay.ports", "line": 7, "found": "'80-90'", "allowed": "FIRST-LAST with 1024 ≤ FIRST"},
            {"key": "MESHTURN_X", "line": None, "found": "an unknown environment variable", "allowed": "none"},
        ],
    }


def test_a_startup_error_is_a_sentence_and_a_hint(capsys: pytest.CaptureFixture[str]) -> None:
    """One sentence and one hint."""
    show_failure(StartupError("Port 3478 is in use.", "Stop the other server."))
    assert capsys.readouterr().err == "Error: Port 3478 is in use.\nHint: Stop the other server.\n"


def test_which_error_ends_with_which_code() -> None:
    """2 is for what was written, 3 for the machine."""
    assert exit_code_of(ConfigError("m.yml", [])) is ExitCode.USAGE
    assert exit_code_of(StartupError("x")) is ExitCode.CANNOT_START
    assert exit_code_of(DatapathError("x")) is ExitCode.CANNOT_START
