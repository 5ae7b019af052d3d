"""The exit codes that scripts rely on."""

from cli.exit_codes import ExitCode


def test_the_exit_codes_are_what_scripts_were_told() -> None:
    """The exit codes are documented and never change meaning."""
    assert [(code.name, int(code)) for code in ExitCode] == [
        ("OK", 0),
        ("FAILED", 1),
        ("USAGE", 2),
        ("CANNOT_START", 3),
        ("DEVIATES", 4),
        ("INTERRUPTED", 130),
    ]
