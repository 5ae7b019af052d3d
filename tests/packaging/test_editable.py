"""An editable install leaves the sources in place: one path entry, and every module once."""

from pathlib import Path

import pytest

from build_backend.stage import FOLDERS
from tests.packaging.conftest import Environment


@pytest.fixture(scope="module")
def editable(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    environment = Environment(tmp_path_factory.mktemp("editable"))
    environment.pip("install", "--quiet", "--no-deps", "--editable", checkout)
    return environment


def test_it_is_the_checkout_on_the_path(editable: Environment, checkout: Path) -> None:
    """Editors and type checkers follow a path entry; they do not follow an import hook."""
    (entry,) = editable.folder.glob("venv/lib/python*/site-packages/*meshturn*.pth")
    assert entry.read_text().split() == [str(checkout)]
    for name in ("meshturn", *FOLDERS):
        where = editable.output("python", "-c", f"import {name}; print({name}.__file__)")
        assert where.strip() == str(checkout / name / "__init__.py")


def test_there_are_never_two_of_one_module(editable: Environment) -> None:
    """``meshturn.stun`` beside ``stun`` would be two classes of every name in it."""
    for name in FOLDERS:
        found = editable.run("python", "-c", f"import meshturn.{name}")
        assert f"No module named 'meshturn.{name}'" in found.stderr


def test_a_change_is_there_at_once(editable: Environment, checkout: Path) -> None:
    module = checkout / "stun" / "just_made.py"
    module.write_text("ANSWER = 42\n")
    try:
        assert editable.output("python", "-c", "from stun.just_made import ANSWER; print(ANSWER)") == "42\n"
    finally:
        module.unlink()
