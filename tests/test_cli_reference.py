"""The reference of the command line is that of the commands, and it names all of them."""

import re
import runpy
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from cli.main import meshturn

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "reference" / "cli.md"
GENERATOR = runpy.run_path(str(ROOT / "docs" / "generate_cli.py"))


def commands() -> list[click.Context]:
    return list(GENERATOR["contexts"]())


def test_the_page_is_that_of_the_commands() -> None:
    assert PAGE.read_text(encoding="utf-8") == GENERATOR["page"](), "run docs/generate_cli.py"


def test_every_command_that_help_lists_has_a_section() -> None:
    """Subcommands too, by what the commands themselves print."""
    listed = {"meshturn"}
    waiting = [["meshturn"]]
    while waiting:
        path = waiting.pop()
        shown = CliRunner().invoke(meshturn, [*path[1:], "--help"], prog_name="meshturn").output
        _, _, names = shown.partition("\nCommands:\n")
        # Names stand two spaces in; lines that go on, and other sections, do not.
        found = [
            match[1] for line in names.split("\n\n")[0].splitlines() if (match := re.match(r" {2}([a-z-]+)  ", line))
        ]
        listed |= {" ".join([*path, name]) for name in found}
        waiting += [[*path, name] for name in found]
    assert len(listed) > 25
    titles = re.findall(r"^#{2,4} (meshturn.*)$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert sorted(titles) == sorted(listed)


def test_every_option_is_there_with_its_meaning() -> None:
    """In the section of its command."""
    sections = re.split(r"^#{2,4} (meshturn.*)$", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    texts = dict(zip(sections[1::2], sections[2::2], strict=True))
    for ctx in commands():
        rows = re.findall(r"^\| `(.+?)` \| (.+) \|$", texts[ctx.command_path], re.MULTILINE)
        assert all(meaning.strip() for _, meaning in rows)
        names = {word.rstrip(",") for option, _ in rows for word in option.split() if word.startswith("-")}
        options = [each for each in ctx.command.get_params(ctx) if isinstance(each, click.Option) and not each.hidden]
        assert names == {name for each in options for name in each.opts + each.secondary_opts}, ctx.command_path


def test_nothing_hidden_is_shown() -> None:
    """Neither a command nor an option that `--help` leaves out."""

    @click.group(name="all")
    def group() -> None:
        """A group."""

    @group.command(hidden=True)
    def secret() -> None:
        """Never seen."""

    @group.command(name="open")
    @click.option("--inner", hidden=True)
    @click.option("--outer", help="Seen.")
    def open_(inner: str, outer: str) -> None:
        """Shown."""

    found = list(GENERATOR["contexts"](group))
    assert [ctx.command_path for ctx in found] == ["all", "all open"]
    text = GENERATOR["_section"](found[1])
    assert "--outer" in text
    assert "--inner" not in text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a | b", r"a \| b"),
        ("`a|b` and *c*", r"`a\|b` and \*c\*"),
        ("<b>0<=x</b>", r"\<b\>0\<=x\</b\>"),
        ("[default: x]", r"\[default: x\]"),
        ("an odd ` one", r"an odd \` one"),
        ("two\n  lines", "two lines"),
    ],
)
def test_nothing_in_a_help_text_is_markup(text: str, shown: str) -> None:
    """But for what is between backticks."""
    assert GENERATOR["_escaped"](text) == shown


def test_paragraphs() -> None:
    """Lines are joined, except where the text says that they stay."""
    found = list(GENERATOR["paragraphs"]("One\nline.\n\n\b\nTwo:\n  a  1\n\nEnd.\n"))
    assert found == [("One line.", False), ("Two:\n  a  1", True), ("End.", False)]
    assert list(GENERATOR["paragraphs"](None)) == []
