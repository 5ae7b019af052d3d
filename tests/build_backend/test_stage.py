"""The tree that a wheel is built from."""

import ast
from pathlib import Path

import pytest

from build_backend.stage import DATA, FOLDERS, stage

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def staged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("stage")
    stage(ROOT, folder)
    return folder


def files(folder: Path) -> set[str]:
    return {
        str(path.relative_to(folder))
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.relative_to(folder).parts
    }


def test_everything_is_beneath_one_package(staged: Path) -> None:
    assert {path.name for path in staged.iterdir() if path.is_dir()} == {"meshturn"}
    expected = files(ROOT / "meshturn") | set(DATA)
    expected |= {f"{folder}/{name}" for folder in FOLDERS for name in files(ROOT / folder)}
    assert files(staged / "meshturn") == expected


def test_every_module_has_as_many_lines_and_no_import_of_a_folder(staged: Path) -> None:
    for name in files(staged / "meshturn"):
        if not name.endswith(".py"):
            continue
        text = (staged / "meshturn" / name).read_text(encoding="utf-8")
        original = ROOT / name if name.partition("/")[0] in FOLDERS else ROOT / "meshturn" / name
        assert text.count("\n") == original.read_text(encoding="utf-8").count("\n"), name
        for node in ast.walk(ast.parse(text)):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) and not node.level else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            assert not {one.partition(".")[0] for one in names} & set(FOLDERS), name


def test_other_files_are_copied_as_they_are(staged: Path) -> None:
    page = "turnserver/signaling/page/call.html"
    assert (staged / "meshturn" / page).read_bytes() == (ROOT / page).read_bytes()
    assert (staged / "meshturn/conf/meshturn.yml").read_bytes() == (ROOT / "conf/meshturn.yml").read_bytes()


def test_a_folder_that_would_be_overwritten(tmp_path: Path) -> None:
    """``meshturn/stun`` in the repository would be two packages of one name: the build stops."""
    source, target = tmp_path / "source", tmp_path / "target"
    (source / "meshturn" / "stun").mkdir(parents=True)
    target.mkdir()
    for name in ("LICENSE", "pyproject.toml", "setup.cfg", "setup.py"):
        (source / name).touch()
    for folder in FOLDERS:
        (source / folder).mkdir()
    with pytest.raises(FileExistsError):
        stage(source, target)


def test_something_missing(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        stage(tmp_path, tmp_path)
