"""The manual pages: one for each command, which man formats without a complaint, with every option in it."""

import os
import re
import runpy
import subprocess
import sys
from pathlib import Path

import click
import pytest

from tests.support.tools import require_tool
from turnserver import __version__

ROOT = Path(__file__).resolve().parent.parent
GENERATOR = runpy.run_path(str(ROOT / "docs" / "generate_man.py"))
PATIENCE = 120.0


def pages() -> dict[str, str]:
    return GENERATOR["pages"]()


def formatted(page: Path) -> str:
    """A page as a reader sees it, in lines that are long enough for every option; anything that troff says fails."""
    done = subprocess.run(
        [require_tool("man"), "--warnings=w", "-E", "UTF-8", "-l", str(page)],
        env={**os.environ, "MANWIDTH": "400", "LC_ALL": "C.UTF-8", "MAN_KEEP_FORMATTING": ""},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, ""), page.name
    return re.sub(r".\x08|\x1b\[[0-9;]*m", "", done.stdout)


def test_every_command_has_a_page() -> None:
    """Those of groups too; a page that the unit names is there."""
    paths = [ctx.command_path for ctx in GENERATOR["contexts"]()]
    assert sorted(pages()) == sorted(f"{path.replace(' ', '-')}.1" for path in paths)
    unit = (ROOT / "conf" / "systemd" / "meshturn.service").read_text(encoding="utf-8")
    named = re.findall(r"man:([\w-]+)\(1\)", unit)
    assert named
    assert {f"{name}.1" for name in named} <= set(pages())


def test_pages_refer_to_pages_that_there_are() -> None:
    for name, text in pages().items():
        seen = re.findall(r"\\fB(meshturn[\w -]*)\(1\)", text)
        seen += [found.replace("\\-", "-") for found in re.findall(r"^\.BR (\S+) \(1\)$", text, re.MULTILINE)]
        assert seen or name == "meshturn.1"
        assert {f"{each}.1" for each in seen} <= set(pages()), name


def test_man_formats_every_page(processes: None, tmp_path: Path) -> None:
    """And a reader finds the name, the version, and each option as it is typed."""
    for name, text in pages().items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    for ctx in GENERATOR["contexts"]():
        page = formatted(tmp_path / f"{ctx.command_path.replace(' ', '-')}.1")
        assert page.startswith(f"{ctx.command_path.replace(' ', '-').upper()}(1)")
        assert f"meshturn {__version__}" in page
        for option in ctx.command.get_params(ctx):
            if isinstance(option, click.Option) and not option.hidden:
                assert all(re.search(rf"^ +.*{re.escape(one)}\b", page, re.MULTILINE) for one in option.opts), option


def test_exit_codes_are_a_section() -> None:
    page = pages()["meshturn.1"]
    assert ".SH EXIT STATUS\n.nf\n  0  fine\n" in page
    assert page.count("Exit codes") == 0


@pytest.mark.parametrize(
    ("text", "source"),
    [
        (".so /etc/passwd", r"\&.so /etc/passwd"),
        ("'quoted'", r"\&'quoted'"),
        ("a\n.b", "a\n\\&.b"),
        (r"C:\new", r"C:\enew"),
        ("with --json or -c", r"with \-\-json or \-c"),
        ("well-known `meshturn up`", r"well-known \fBmeshturn up\fP"),
    ],
)
def test_nothing_in_a_help_text_is_a_request(text: str, source: str) -> None:
    """troff would take a line that begins with a dot or an apostrophe for one, and a backslash for an escape."""
    assert GENERATOR["_troff"](text) == source


def test_the_date_can_be_given(processes: None, tmp_path: Path) -> None:
    """So that two builds of a package are the same; without Python's own path, from any folder."""
    done = subprocess.run(
        [sys.executable, str(ROOT / "docs" / "generate_man.py"), "made"],
        cwd=tmp_path,
        env={**os.environ, "SOURCE_DATE_EPOCH": "86400"},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    made = {path.name: path.read_text(encoding="utf-8") for path in (tmp_path / "made").iterdir()}
    assert set(made) == set(pages())
    assert all('"1970-01-02"' in text.splitlines()[0] for text in made.values())
