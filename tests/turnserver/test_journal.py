"""Priorities for the systemd journal (sd-daemon(3), systemd.exec(5))."""

import io
import logging
import os
from pathlib import Path

import pytest

from turnserver.journal import is_journal, prefix, with_priority


def test_only_the_stream_that_the_variable_names_is_the_journals(tmp_path: Path) -> None:
    """Kind: a variable of the environment that children inherit, whose output goes elsewhere."""
    with (tmp_path / "one").open("w") as one, (tmp_path / "other").open("w") as other:
        facts = os.fstat(one.fileno())
        environ = {"JOURNAL_STREAM": f"{facts.st_dev}:{facts.st_ino}"}
        assert is_journal(one, environ)
        assert not is_journal(other, environ)
        assert not is_journal(one, {})
        assert not is_journal(None, environ)
        assert not is_journal(io.StringIO(), environ)
    assert not is_journal(one, environ), "it is closed"


@pytest.mark.parametrize("text", ["", ":", "8", "8:", "a:b", "8:12:3", "\x00"])
def test_a_variable_that_makes_no_sense_names_nothing(text: str, tmp_path: Path) -> None:
    with (tmp_path / "one").open("w") as one:
        assert not is_journal(one, {"JOURNAL_STREAM": text})


def test_levels_are_priorities_of_syslog() -> None:
    levels = [logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR, logging.CRITICAL, 25, 1, 99]
    assert [prefix(level) for level in levels] == ["<7>", "<6>", "<4>", "<3>", "<2>", "<6>", "<7>", "<2>"]


def test_every_line_of_a_traceback_has_the_priority() -> None:
    """The journal has an entry for each line."""
    assert with_priority("fault\n  File x\nError", logging.ERROR) == "<3>fault\n<3>  File x\n<3>Error"
