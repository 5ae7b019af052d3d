"""The page about coming from coturn says what the command prints."""

import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from cli.main import meshturn

PAGE = Path(__file__).resolve().parents[2] / "docs" / "how-to" / "from-coturn.md"


def block(language: str) -> str:
    """The first block of a language."""
    found = re.search(rf"^```{language}\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    assert found is not None
    return found[1]


def test_the_example_is_what_the_command_makes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file, the configuration and the three lists of the page belong together; the command is the one printed."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "turnserver.conf").write_text(block("ini"))
    (command,) = re.findall(r"^\$ meshturn (.*)$", block("console"), re.MULTILINE)
    result = CliRunner().invoke(meshturn, command.split(), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    assert (tmp_path / "meshturn.yml").read_text() == block("yaml")
    assert block("text").strip() in result.stderr
