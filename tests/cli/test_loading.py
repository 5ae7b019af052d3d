"""Reading the configuration for a command."""

from pathlib import Path

import pytest

from cli.loading import load_config, load_settings, show_warnings
from turnserver.errors import ConfigError


def test_a_file_and_the_environment(tmp_path: Path) -> None:
    """The environment counts more than the file."""
    path = tmp_path / "m.yml"
    path.write_text("realm: file\nsoftware: file\n")
    config = load_config(path, {"MESHTURN_REALM": "environment"}).config
    assert (config.realm, config.software) == ("environment", "file")


def test_options_count_more_than_the_environment() -> None:
    """What was typed counts most; what was not leaves room."""
    environ = {"MESHTURN_REALM": "environment", "MESHTURN_SOFTWARE": "environment"}
    config = load_settings([("MESHTURN_REALM", "--realm", "option: [1]")], environ).config
    assert (config.realm, config.software) == ("option: [1]", "environment")


def test_errors_speak_of_the_options() -> None:
    """An error names what the user typed, not the variable it was turned into."""
    with pytest.raises(ConfigError) as caught:
        load_settings([("MESHTURN_REALM", "--realm", "")], {})
    assert caught.value.source == "command line and environment"
    assert [problem.key for problem in caught.value.problems] == ["realm"]
    assert "--realm" in caught.value.problems[0].found
    assert "MESHTURN_" not in caught.value.problems[0].found


def test_warnings_go_to_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    """Rule 3: a configuration without credentials relays for nobody, and that is said."""
    show_warnings(load_config(None, {}))
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("Warning: ")
