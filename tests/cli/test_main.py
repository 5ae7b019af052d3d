"""The command group: quick to start, stable in its exit codes, and never a traceback."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from cli.exit_codes import ExitCode
from cli.main import meshturn
from turnserver import __version__
from turnserver.errors import ConfigError, Problem, StartupError

COMMANDS = ["up", "serve", "check", "config", "credentials", "drain", "probe", "doctor", "nat"]


def test_the_help_names_every_command_and_exit_code() -> None:
    """`meshturn --help` is where the exit codes are documented."""
    result = CliRunner().invoke(meshturn, ["--help"])
    assert result.exit_code == 0
    assert [
        line.split()[0] for line in result.output.splitlines() if line.startswith("  ") and line.split()[0] in COMMANDS
    ] == (COMMANDS)
    assert "3  the machine does not allow it" in result.output


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(command: str) -> None:
    """Every command can be imported, and explains itself."""
    result = CliRunner().invoke(meshturn, [command, "--help"])
    assert result.exit_code == 0
    assert result.output.startswith(f"Usage: meshturn {command}")


@pytest.mark.process
def test_the_version_loads_nothing_but_itself(run: Callable[..., "subprocess.CompletedProcess[str]"]) -> None:
    """`meshturn --version` does not load the server, its configuration or the drawing of tables."""
    result = run("--version")
    assert (result.returncode, result.stdout) == (0, f"meshturn {__version__}\n")
    code = (
        "import sys; from cli.main import meshturn; meshturn(['--version'], standalone_mode=False);"
        "print(sorted({name.split('.')[0] for name in sys.modules} & {'asyncio', 'pydantic', 'rich', 'yaml'}))"
    )
    root = Path(__file__).resolve().parents[2]
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=root, check=True)
    assert loaded.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize("arguments", [["nonsense"], ["--nonsense"], ["up", "--port", "70000"], ["probe"]])
def test_usage_errors_are_exit_code_2(arguments: list[str]) -> None:
    """A wrong command line ends with 2 and says what is wrong."""
    result = CliRunner().invoke(meshturn, arguments)
    assert result.exit_code == ExitCode.USAGE
    assert "Error: " in result.output


def _fails_with(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> tuple[int, str]:
    import click

    @click.command()
    def failing() -> None:
        raise error

    monkeypatch.setattr(type(meshturn), "get_command", lambda self, ctx, name: failing)
    result = CliRunner().invoke(meshturn, ["serve"])
    assert result.stdout == ""
    return result.exit_code, result.stderr


def test_our_errors_become_exit_codes(monkeypatch: pytest.MonkeyPatch) -> None:
    """A wrong configuration is 2, a machine in the way is 3; a message on standard error and no traceback."""
    code, shown = _fails_with(monkeypatch, ConfigError("meshturn.yml", [Problem("realm", 1, "7", "a text")]))
    assert (code, shown.splitlines()[0]) == (ExitCode.USAGE, "The configuration has 1 problem:")
    code, shown = _fails_with(monkeypatch, StartupError("Port 3478 is in use."))
    assert (code, shown) == (ExitCode.CANNOT_START, "Error: Port 3478 is in use.\n")


def test_ctrl_c_before_the_server_runs_is_130(monkeypatch: pytest.MonkeyPatch) -> None:
    """Interrupted by the user: the code that shells give to SIGINT, and no traceback."""
    assert _fails_with(monkeypatch, KeyboardInterrupt()) == (ExitCode.INTERRUPTED, "")
