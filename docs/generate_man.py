"""Writes the manual pages of the commands, by click-man, into the folder that is named (`make man`: build/man).

click-man puts help texts into a page as they are. So commands are copied first, with texts in which nothing is taken
for a request of troff, with all their commands (those of `meshturn` are loaded when they are called), and with
summaries of more than 45 characters. The date of the pages is that of SOURCE_DATE_EPOCH, or today's.
"""

import copy
import re
import sys
from pathlib import Path

import click
from click_man.core import generate_man_page

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "docs")]  # Python puts the script's own folder there; a test puts nothing.

from generate_cli import contexts, paragraphs  # noqa: E402  found by way of the line above

from turnserver import __version__  # noqa: E402

__all__ = ["pages"]

_SUMMARY_LIMIT = 200


def pages() -> dict[str, str]:
    """Every page by the name of its file: ``meshturn.1``, ``meshturn-serve.1``, ``meshturn-rooms-token.1``."""
    return {f"{_name(ctx)}.1": _page(ctx) for ctx in contexts()}


def _page(ctx: click.Context) -> str:
    text = generate_man_page(_with_safe_texts(ctx), version=f"meshturn {__version__}")
    # A page is called meshturn-rooms, which click-man writes with a space in its title and where it refers to others.
    text = text.replace(f'.TH "{ctx.command_path.upper()}"', f'.TH "{_name(ctx).upper()}"', 1)
    text = text.replace(f"See \\fB{ctx.command_path}-", f"See \\fB{_name(ctx)}-")
    if ctx.command.epilog:
        text += f".SH EXIT STATUS\n{_troff_text(_without_title(ctx.command.epilog))}\n"
    if ctx.parent is not None:
        text += f".SH SEE ALSO\n.BR {_troff(_name(ctx.parent))} (1)\n"
    return text


def _with_safe_texts(ctx: click.Context) -> click.Context:
    """A context for a copy of the command."""
    command = copy.copy(ctx.command)
    command.params = [_option(each) if isinstance(each, click.Option) else each for each in command.get_params(ctx)]
    command.help = _troff_text(ctx.command.help)
    command.short_help = _summary(ctx.command)
    if isinstance(ctx.command, click.Group):
        found = {name: ctx.command.get_command(ctx, name) for name in ctx.command.list_commands(ctx)}
        command.commands = {
            name: click.Command(name, short_help=_summary(each))
            for name, each in found.items()
            if each is not None and not each.hidden
        }
    return click.Context(command, info_name=ctx.info_name, parent=ctx.parent, **command.context_settings)


def _option(option: click.Option) -> click.Option:
    made = copy.copy(option)
    made.help = _troff(option.help or "")
    return made


def _summary(command: click.Command) -> str:
    return _troff(command.get_short_help_str(_SUMMARY_LIMIT).rstrip("."))


def _name(ctx: click.Context) -> str:
    return ctx.command_path.replace(" ", "-")


def _without_title(epilog: str) -> str:
    """The section of a page has a title of its own in place of `Exit codes:`."""
    return epilog.replace("Exit codes:\n", "", 1)


def _troff_text(text: str | None) -> str:
    """A help text of several paragraphs."""
    found = [(_troff(each), kept) for each, kept in paragraphs(text)]
    return "\n\n".join(f".nf\n{each}\n.fi" if kept else each for each, kept in found)


def _troff(text: str) -> str:
    """Text that troff shows as it is; what is between backticks is bold, and options keep their hyphens."""
    text = re.sub(r"^(?=[.'])", r"\\&", text.replace("\\", "\\e"), flags=re.MULTILINE)
    text = re.sub(r"(?<!\w)--?(?=\w)", lambda found: found[0].replace("-", "\\-"), text)
    return re.sub(r"`([^`]+)`", r"\\fB\1\\fP", text)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: generate_man.py FOLDER")
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in pages().items():
        (folder / name).write_text(text, encoding="utf-8")
