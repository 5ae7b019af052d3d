"""How scapy and its users load it, and what keeps the two licences apart."""

import ast
import importlib
import sys
from pathlib import Path

import pytest
from scapy.config import conf

import scapy_turn
from tests.test_architecture import MODULES

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "scapy_turn"
FILES = sorted(FOLDER.glob("*.py"))


def test_the_extension_loader() -> None:
    """``conf.exts.load`` takes it for an extension of the right licence, and ``scapy.contrib.turn`` has our names."""
    conf.exts.load("scapy-turn")
    (found,) = [ext for ext in conf.exts.exts if ext.name == "scapy-turn"]
    assert found.version == scapy_turn.__version__
    module = importlib.import_module("scapy.contrib.turn")
    assert module.StunMessage is scapy_turn.StunMessage, "one copy of everything"
    assert set(scapy_turn.__all__) <= set(vars(module))


def test_every_name_is_there() -> None:
    assert len(scapy_turn.__all__) == len(set(scapy_turn.__all__))
    assert [name for name in scapy_turn.__all__ if not hasattr(scapy_turn, name)] == []


def test_no_name_is_one_of_scapys() -> None:
    """``from scapy.all import *`` and ``from scapy.contrib.stun import *`` may come before or after."""
    theirs = importlib.import_module("scapy.contrib.stun")
    everything = importlib.import_module("scapy.all")
    clashes = [name for name in scapy_turn.__all__ if hasattr(theirs, name) or hasattr(everything, name)]
    assert [name for name in clashes if not name.startswith("__")] == []


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_file_says_its_licence(path: Path) -> None:
    assert path.read_text(encoding="utf-8").startswith("# SPDX-License-Identifier: GPL-2.0-or-later\n")


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_it_imports_nothing_of_meshturn(path: Path) -> None:
    """Only itself, scapy, the standard library, and for DTLS pyOpenSSL."""
    tops = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            tops |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0
            tops.add((node.module or "").partition(".")[0])
    assert tops - {"scapy", "scapy_turn"} <= sys.stdlib_module_names | ({"OpenSSL"} if path.stem == "dtls" else set())


def lines_of(path: Path) -> list[str]:
    found = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
    return [line for line in found if len(line) > 12 and not line.startswith(("#", "import ", "from ", '"""', "@"))]


def test_no_code_is_in_both() -> None:
    """No four lines in a row of one licence are in a file of the other."""

    def runs(path: Path) -> set[tuple[str, ...]]:
        lines = lines_of(path)
        return {tuple(lines[at : at + 4]) for at in range(len(lines) - 3)}

    others = {run for path in MODULES for run in runs(path)}
    assert len(others) > 10_000
    assert {path.name: sorted(runs(path) & others) for path in FILES if runs(path) & others} == {}
