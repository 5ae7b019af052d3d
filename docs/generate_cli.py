"""Writes docs/reference/cli.md, or another file that is named, from the commands; runs in any folder."""

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import click

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # Python puts the script's own folder there, which is docs/.

from cli.main import meshturn  # noqa: E402  found by way of the line above

__all__ = ["contexts", "page", "paragraphs"]

_HEAD = """\
# Command line

<!-- Generated from the commands; change cli/ and run `python docs/generate_cli.py`. -->

Every command with its options, as `meshturn COMMAND --help` has them, and as the manual pages have them
([how to install these](../how-to/shell.md)). Names, exit codes and everything that `--json` prints
[stay compatible](compatibility.md).
"""


def contexts(command: click.Command = meshturn, parent: click.Context | None = None) -> Iterator[click.Context]:
    """One context for each command that is not hidden: a group comes before its commands, which keep their order."""
    ctx = click.Context(command, info_name=command.name, parent=parent, **command.context_settings)
    yield ctx
    if isinstance(command, click.Group):
        found = [command.get_command(ctx, name) for name in command.list_commands(ctx)]
        for each in found:
            if each is not None and not each.hidden:
                yield from contexts(each, ctx)


def paragraphs(text: str | None) -> Iterator[tuple[str, bool]]:
    """The paragraphs of a help text, and of each whether its lines stay as they are (click's mark for that is \\b)."""
    for paragraph in re.split(r"\n[ \t]*\n", (text or "").strip("\n")):
        kept = paragraph.lstrip(" ").startswith("\b")
        lines = [line for line in paragraph.split("\n") if line.strip() not in {"", "\b"}]
        if lines:
            yield ("\n".join(lines) if kept else " ".join(line.strip() for line in lines)), kept


def page() -> str:
    """The whole page."""
    return "\n".join([_HEAD, *map(_section, contexts())])


def _section(ctx: click.Context) -> str:
    command = ctx.command
    depth = len(ctx.command_path.split())
    usage = " ".join([ctx.command_path, *command.collect_usage_pieces(ctx)])
    parts = [f"{'#' * min(depth + 1, 4)} {ctx.command_path}", f"```text\n{usage}\n```", *_prose(command.help)]
    options = [each for each in command.get_params(ctx) if isinstance(each, click.Option)]
    records = [record for each in options if (record := each.get_help_record(ctx)) is not None]
    rows = [f"| {_code(names)} | {_escaped(text)} |" for names, text in records]
    parts.append("\n".join(["| option | meaning |", "| --- | --- |", *rows]))
    return "\n\n".join([*parts, *_prose(command.epilog)]) + "\n"


def _prose(text: str | None) -> list[str]:
    return [f"```text\n{each}\n```" if kept else _escaped(each) for each, kept in paragraphs(text)]


def _code(text: str) -> str:
    return f"`{text.replace('|', chr(92) + '|')}`"


def _escaped(text: str) -> str:
    """Markdown that shows the text: what is between backticks is code there, and nothing else is markup."""
    parts = re.split(r"(`[^`]+`)", " ".join(text.split()))
    parts[::2] = [re.sub(r"([\\*<>\[\]#|`])", r"\\\1", part) for part in parts[::2]]
    return "".join(part.replace("|", "\\|") if part.startswith("`") else part for part in parts)


if __name__ == "__main__":
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "docs" / "reference" / "cli.md"
    target.write_text(page(), encoding="utf-8")
