"""Metadata from other files: the version, and the project description."""

import ast
import re
from pathlib import Path
from typing import Final

__all__ = ["ROOT", "description", "version"]

ROOT: Final = Path(__file__).resolve().parent.parent
"""The checkout, or an unpacked source distribution."""

_NOTE = "\nFiles that are named here in parentheses are in the source distribution.\n"


def version(root: Path = ROOT) -> str:
    """The version, which is written in ``turnserver/__init__.py`` only.

    Raises `ValueError` if it is not there as a plain string.
    """
    tree = ast.parse((root / "turnserver" / "__init__.py").read_text(encoding="utf-8"))
    for node in tree.body:
        match node:
            case ast.Assign(targets=[ast.Name(id="__version__")], value=ast.Constant(value=str(text))):
                return text
    raise ValueError("no __version__ in turnserver/__init__.py")


def description(root: Path = ROOT) -> str:
    """The README for readers outside the repository: links to its files become the files' names."""
    parts = re.split(
        r"(^```.*?^```$)", (root / "README.md").read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL
    )
    parts[::2] = map(_without_relative_links, parts[::2])
    return "".join(parts) + _NOTE


def _without_relative_links(text: str) -> str:
    """Markdown outside fenced blocks: ``[text](path)`` becomes ``text (`path`)``; code spans stay."""
    return re.sub(r"(`+)(?!`).*?(?<!`)\1(?!`)|\[([^\]]*)\]\(([^)\s]*)\)", _link, text, flags=re.DOTALL)


def _link(match: re.Match[str]) -> str:
    text, target = match[2], match[3]
    if target is None or re.match(r"[a-z][a-z0-9+.-]*:", target, re.IGNORECASE):
        return match[0]
    path = target.partition("#")[0]
    return f"{text} (`{path}`)" if path and path != text.strip("`") else text
