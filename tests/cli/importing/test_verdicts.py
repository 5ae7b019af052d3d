"""The table of coturn's options is complete: it is compared with the coturn that is installed."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from cli.importing.verdicts import ALREADY, CANNOT, KNOWN, TRANSLATED
from turnserver.config import Config

NOT_IN_THE_FILE = {"version", "help"}
"""Options of the command line that would do nothing in the file."""


@pytest.mark.process
def test_every_option_of_the_program_is_known() -> None:
    """Each long name in its usage has a row, with or without a value."""
    program = shutil.which("turnserver")
    if program is None:
        pytest.skip("coturn is not installed")
    result = subprocess.run([program, "-h"], capture_output=True, text=True, check=False, timeout=60)
    usage = result.stdout + result.stderr
    names = set(re.findall(r"^ +(?:-\w+,? (?:, )?)?--([A-Za-z0-9_-]+)", usage, re.MULTILINE))
    names |= set(re.findall(r", --([A-Za-z0-9_-]+)", usage))
    assert len(names) > 100, usage[:1000]
    assert names - KNOWN - NOT_IN_THE_FILE == set()


def test_every_option_of_the_example_is_known() -> None:
    """So is each in the file that Debian installs, commented out or not."""
    example = Path("/etc/turnserver.conf")
    if not example.exists():
        pytest.skip("coturn is not installed")
    names = re.findall(r"^#?([A-Za-z][A-Za-z0-9_-]*)(?==|$| \")", example.read_text(errors="replace"), re.MULTILINE)
    assert len(names) > 80
    assert set(names) - KNOWN == set()


def test_each_option_has_one_row() -> None:
    """The three tables do not overlap, and each sentence says something."""
    assert len(TRANSLATED) + len(ALREADY) + len(CANNOT) == len(KNOWN)
    assert all(len(text) > 15 and not text.endswith(".") for text in (*ALREADY.values(), *CANNOT.values()))


def test_the_options_that_the_table_names_exist() -> None:
    """An option that has been renamed here would be found out."""
    for path in filter(None, TRANSLATED.values()):
        value: object = Config()
        for part in path.split("."):
            assert hasattr(value, part), path
            value = getattr(value, part)
