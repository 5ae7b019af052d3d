"""``meshturn config``: the schema, and the configuration in force."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import yaml

Run = Callable[..., "subprocess.CompletedProcess[str]"]

TEXT = "realm: example.org\nauth:\n  users: {alice: a-password}\n  shared_secrets: [another-secret-0123456789]\n"


def test_the_schema(run: Run) -> None:
    """JSON Schema with the options of the issue, for editors."""
    result = run("config", "schema")
    assert result.returncode == 0, result.stderr
    properties = json.loads(result.stdout)["properties"]
    assert {"realm", "software", "listeners", "relay", "auth", "peers", "limits", "log"} <= set(properties)


def test_the_example(run: Run, write: Callable[[str], Path]) -> None:
    """The commented file, byte for byte, which can be used as it is."""
    result = run("config", "example")
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout == (Path(__file__).resolve().parents[2] / "conf" / "meshturn.yml").read_text(encoding="utf-8")
    shown = run("config", "show", "-c", write(result.stdout))
    assert (shown.returncode, shown.stdout) == (0, run("config", "show").stdout)


def test_the_configuration_in_force(run: Run, write: Callable[[str], Path]) -> None:
    """Every option with its value, the environment's included, and no secret."""
    path = write(TEXT)
    result = run("config", "show", "-c", path, env={"MESHTURN_LOG__LEVEL": "debug"})
    assert result.returncode == 0, result.stderr
    shown = yaml.safe_load(result.stdout)
    assert (shown["realm"], shown["log"]["level"]) == ("example.org", "debug")
    assert shown["auth"]["users"] == {"alice": "(secret)"}
    programs = run("config", "show", "--json", "-c", path, env={"MESHTURN_LOG__LEVEL": "debug"})
    assert json.loads(programs.stdout) == shown
    for output in (result, programs):
        assert "a-password" not in output.stdout + output.stderr
        assert "another-secret" not in output.stdout + output.stderr


def test_a_wrong_configuration(run: Run, write: Callable[[str], Path]) -> None:
    """Exit code 2, nothing on standard output."""
    result = run("config", "show", "-c", write("nonsense: 1\n"))
    assert (result.returncode, result.stdout) == (2, "")
