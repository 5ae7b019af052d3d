"""Imports of top-level folders become imports of sub-packages: ``stun.message`` is ``meshturn.stun.message``.

Statements are found in the syntax tree, so every import is rewritten, and text that only looks like an import is not.
Everything else stays byte for byte, and every line keeps its number, so a traceback of an installed module
has the line numbers of the repository.
"""

import ast
import re
from collections.abc import Collection, Iterator
from typing import NamedTuple

__all__ = ["rewrite"]


class _Edit(NamedTuple):
    """Replace the bytes from ``start`` to ``end``."""

    start: int
    end: int
    text: bytes


class _Names(NamedTuple):
    modules: Collection[str]
    folders: Collection[str]
    package: str

    def moved(self, name: str) -> bool:
        return name.partition(".")[0] in self.folders


def rewrite(source: bytes, modules: Collection[str], folders: Collection[str], package: str) -> bytes:
    """The source of a module as it is in the wheel.

    ``source`` is UTF-8; ``folders`` are the top-level packages that move beneath ``package``, and ``modules`` are the
    names of all their modules. Cross-references in docstrings (a name in single backticks that begins with one of
    ``modules`` below a folder) are renamed too; other strings and comments stay as they are.

    Raises `SyntaxError` if ``source`` is not valid Python, and `ValueError` if an import cannot be rewritten.
    """
    names = _Names(modules, folders, package)
    starts = _line_starts(source)
    edits = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import | ast.ImportFrom | ast.Expr):
            start = starts[node.lineno - 1] + node.col_offset
            end = starts[(node.end_lineno or node.lineno) - 1] + (node.end_col_offset or 0)
            edits += [_Edit(start, end, text) for text in _replacement(node, source[start:end], names)]
    result = source
    for edit in sorted(edits, reverse=True):
        result = result[: edit.start] + edit.text + result[edit.end :]
    if len(_line_starts(result)) != len(starts) or any(map(names.moved, _imported(ast.parse(result)))):
        raise ValueError("an import that cannot be rewritten; is the source UTF-8 without a byte order mark?")
    return result


def _imported(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        match node:
            case ast.ImportFrom(module=str(module), level=0):
                yield module
            case ast.Import(names=aliases):
                yield from (alias.name for alias in aliases)


def _line_starts(source: bytes) -> list[int]:
    """Where each line begins. Line ends are those of the tokenizer; a form feed is not one."""
    return [0, *(match.end() for match in re.finditer(rb"\r\n|\r|\n", source))]


def _replacement(node: ast.Import | ast.ImportFrom | ast.Expr, text: bytes, names: _Names) -> Iterator[bytes]:
    """The rewritten statement; nothing if it does not change."""
    match node:
        case ast.ImportFrom(module=str(module), level=0) if names.moved(module):
            yield re.sub(rb"\Afrom[\s\\]+", lambda start: start[0] + f"{names.package}.".encode(), text)
        case ast.Import(names=aliases) if any(names.moved(alias.name) for alias in aliases):
            yield _import(aliases, text, names)
        case ast.Expr(value=ast.Constant(value=str())):
            yield _docstring(text, names)
        case _:
            return


def _import(aliases: list[ast.alias], text: bytes, names: _Names) -> bytes:
    """An ``import`` statement, in as many lines as before.

    ``import stun.message`` loads a module and binds ``stun``. As two statements that is: load the module under that
    name, then bind the name to the package; ``import meshturn.stun.message`` alone would bind ``meshturn``.
    """
    statements = []
    for alias in aliases:
        name = f"{names.package}.{alias.name}" if names.moved(alias.name) else alias.name
        if not names.moved(alias.name) or alias.asname:
            statements.append(f"import {name}" + (f" as {alias.asname}" if alias.asname else ""))
            continue
        top = alias.name.partition(".")[0]
        if top != alias.name:
            statements.append(f"import {name} as {top}")
        statements.append(f"from {names.package} import {top}")
    lines = len(re.findall(rb"\r\n|\r|\n", text))
    return re.sub(r"\A(import|from) ", lambda start: start[0] + "\\\n" * lines, "; ".join(statements)).encode()


def _docstring(text: bytes, names: _Names) -> bytes:
    def renamed(match: re.Match[bytes]) -> bytes:
        target = match[0].decode()
        top, _, rest = target.partition(".")
        below = f"{top}.{rest.partition('.')[0]}"
        return f"{names.package}.{target}".encode() if below in names.modules else match[0]

    return re.sub(rb"(?<=(?<!`)`)[A-Za-z_]\w*(?:\.\w+)+(?=`(?!`))", renamed, text)
