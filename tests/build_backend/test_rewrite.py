"""The one step between the repository's imports and the wheel's."""

import ast
import sys
from pathlib import Path
from types import ModuleType

import pytest

from build_backend.rewrite import rewrite

FOLDERS = ("auth", "cli", "stun", "turnserver")
MODULES = {"auth", "auth.nonce", "stun", "stun.message", "turnserver", "turnserver.errors"}


def moved(source: str) -> str:
    return rewrite(source.encode(), MODULES, FOLDERS, "meshturn").decode()


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("from stun.message import Message\n", "from meshturn.stun.message import Message\n"),
        ("from stun import message as m\n", "from meshturn.stun import message as m\n"),
        ("from stun import *\n", "from meshturn.stun import *\n"),
        ("from  stun . message  import A\n", "from  meshturn.stun . message  import A\n"),
        ("from \\\n  stun import a\n", "from \\\n  meshturn.stun import a\n"),
        (
            "from auth.nonce import (  # why\n    A,\n    B,\n)\n",
            "from meshturn.auth.nonce import (  # why\n    A,\n    B,\n)\n",
        ),
        ("import stun\n", "from meshturn import stun\n"),
        ("import stun as s\n", "import meshturn.stun as s\n"),
        ("import stun.message as m\n", "import meshturn.stun.message as m\n"),
        ("import stun.message\n", "import meshturn.stun.message as stun; from meshturn import stun\n"),
        (
            "import os, stun, auth.nonce as n\n",
            "import os; from meshturn import stun; import meshturn.auth.nonce as n\n",
        ),
        ("import os, \\\n  stun\nx = 1\n", "import \\\nos; from meshturn import stun\nx = 1\n"),
        ("if True: import stun; import os\n", "if True: from meshturn import stun; import os\n"),
        ("é = 'é'; from stun import a; ö = 1\n", "é = 'é'; from meshturn.stun import a; ö = 1\n"),
        ("def f():\n\tfrom stun import a  # later\n", "def f():\n\tfrom meshturn.stun import a  # later\n"),
        ("import stun\r\nx = 1\r\n", "from meshturn import stun\r\nx = 1\r\n"),
        ("\fimport stun\nimport auth", "\ffrom meshturn import stun\nfrom meshturn import auth"),
        (
            "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from cli.up import Up\n",
            "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from meshturn.cli.up import Up\n",
        ),
        (
            "try:\n    from cli import a\nexcept ImportError:\n    import cli\n",
            "try:\n    from meshturn.cli import a\nexcept ImportError:\n    from meshturn import cli\n",
        ),
    ],
)
def test_imports_of_the_folders(before: str, after: str) -> None:
    """Every form and place of an import; what surrounds it stays, and so does the number of every line."""
    assert moved(before) == after
    assert len(ast.parse(after).body) >= 1


@pytest.mark.parametrize(
    "source",
    [
        "",
        "import os\nimport stunning, authors as auth\n",
        "from os import path as stun\n",
        "from . import stun\nfrom .stun import message\n",
        "from meshturn.stun import message\nimport meshturn\n",
        "text = 'import stun'\nother = '''\nfrom stun import message\n'''\n",
        "# import stun\n",
        "stun.message.load(auth=cli)\n",
        "value = f'{stun.message}'\n",
    ],
)
def test_everything_else_stays(source: str) -> None:
    """Other packages, relative imports, strings, comments and uses of a name."""
    assert moved(source) == source


def test_references_in_docstrings() -> None:
    """A name in single backticks is a cross-reference if it begins with a module; anything else is text."""
    source = '''"""See `stun.message.Message` and `turnserver.errors`, é.

`auth.users` is an option, ``stun.message`` is literal, `stun` a scheme, stun.message is prose.
"""

X = 1
"""As `auth.nonce` says."""


class A:
    """Raises `turnserver.errors.StartupError`."""

    text = "`stun.message`"
'''
    expected = (
        source.replace("`stun.message.M", "`meshturn.stun.message.M")
        .replace("`turnserver.errors", "`meshturn.turnserver.errors")
        .replace("`auth.nonce`", "`meshturn.auth.nonce`")
    )
    assert moved(source) == expected


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A package of three levels in which each module knows its name."""
    for name in ("apex", "apex/base", "apex/base/leaf"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("NAME = __name__\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    for name in [name for name in sys.modules if name.partition(".")[0] == "apex"]:
        monkeypatch.delitem(sys.modules, name)


@pytest.mark.usefixtures("packages")
@pytest.mark.parametrize(
    ("source", "use"),
    [
        ("import base", "base.NAME == 'apex.base'"),
        ("import base.leaf", "base.leaf.NAME == 'apex.base.leaf' and base.NAME == 'apex.base'"),
        ("import base.leaf as x", "x.NAME == 'apex.base.leaf'"),
        ("from base import leaf", "leaf.NAME == 'apex.base.leaf'"),
        ("from base.leaf import NAME", "NAME == 'apex.base.leaf'"),
    ],
)
def test_the_same_names_are_bound(source: str, use: str) -> None:
    """What a statement binds, and to what, is as before; and nothing else is bound."""
    module = ModuleType("rewritten")
    exec(rewrite(f"{source}\n".encode(), {"base", "base.leaf"}, ("base",), "apex"), module.__dict__)
    assert eval(use, module.__dict__)
    assert "apex" not in module.__dict__


def test_what_is_no_python() -> None:
    with pytest.raises(SyntaxError):
        moved("import\n")


def test_what_cannot_be_rewritten() -> None:
    """Columns are counted in bytes of UTF-8 without a mark: anything else stops the build instead of spoiling it."""
    with pytest.raises(ValueError, match="cannot be rewritten"):
        rewrite(b"\xef\xbb\xbffrom stun import a\n", MODULES, FOLDERS, "meshturn")
