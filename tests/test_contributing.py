"""CONTRIBUTING.md is true: every file and command that it names is there."""

import re
from pathlib import Path

from tests.conftest import FOLDERS

ROOT = Path(__file__).resolve().parent.parent
TEXT = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")

SOURCES = ("auth", "meshturn", "stun", "turnserver")

PATHS = sorted(
    {
        path
        for path in re.findall(r"`([\w./-]+)`", TEXT)
        if re.search(r"/|\.(py|md|yml|txt)$", path) and not re.search(r"NAME|METHOD|GROUP", path)
    }
)


def test_every_path_is_there() -> None:
    """From the root; a short name is that of something in one of the folders of sources."""
    assert len(PATHS) > 30
    # A distribution of its own, which is not in the source distribution of meshturn.
    lost = [path for path in PATHS if not (ROOT / path).exists() and not path.startswith("scapy_turn/")]
    assert [path for path in lost if not any(any((ROOT / top).glob(f"**/{path}")) for top in SOURCES)] == []


def test_every_make_target_is_there() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    assert set(re.findall(r"(?:\$ |`)make (\w+)", TEXT)) <= targets


def test_the_folders_whose_tests_start_processes() -> None:
    named = re.search(r"Tests in ((?:`tests/\w+`[, and\n]*)+)have it by their folder", TEXT)
    assert named is not None
    assert set(re.findall(r"tests/(\w+)", named[1])) == set(FOLDERS)


def test_every_top_level_folder_is_described() -> None:
    table = TEXT.partition("## Where things are")[2].partition("##")[0]
    folders = {path.parent.name for path in ROOT.glob("*/__init__.py")} | {"docs", "conf", "examples"}
    assert {folder for folder in folders if f"`{folder}/" not in table} == set()
