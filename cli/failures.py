"""Errors for users: what is wrong, where, and what to do. Nothing that a user can cause prints a traceback."""

import logging

from cli.exit_codes import ExitCode
from turnserver.errors import ConfigError, ServerError, StartupError

__all__ = ["config_error_json", "exit_code_of", "show_failure"]


def exit_code_of(error: ServerError) -> ExitCode:
    """The exit code for an error of meshturn."""
    return ExitCode.USAGE if isinstance(error, ConfigError) else ExitCode.CANNOT_START


def config_error_json(error: ConfigError) -> dict[str, object]:
    """A `ConfigError` for programs; ``line`` is null when the key stands in no file."""
    return {
        "ok": False,
        "source": error.source,
        "problems": [
            {"key": item.key, "line": item.line or None, "found": item.found, "allowed": item.allowed}
            for item in error.problems
        ],
    }


def show_failure(error: ServerError) -> None:
    """Write an error to standard error: every problem of a configuration, or one sentence and a hint."""
    from cli.console import error_console, hint, say  # noqa: PLC0415  rich costs start-up time only where it is used

    console = error_console(logging.ERROR)
    if isinstance(error, ConfigError):
        count = len(error.problems)
        say(
            console,
            f"The configuration has {count} problem{'' if count == 1 else 's'}:",
            "bold red",
        )
        for item in error.problems:
            where = f"{error.source}:{item.line}" if item.line else error.source
            say(console, f"{where}: {item.key}" if item.key else where, "bold")
            if item.found:
                say(console, f"    found:   {item.found}")
            if item.allowed:
                say(console, f"    allowed: {item.allowed}")
        return
    say(console, f"Error: {error}", "bold red")
    if isinstance(error, StartupError) and error.hint:
        hint(console, error.hint)
