"""The tree that a wheel is built from: every package of the repository inside ``meshturn``."""

import shutil
from pathlib import Path
from typing import Final

from build_backend.rewrite import rewrite

__all__ = ["DATA", "FOLDERS", "PACKAGE", "stage"]

PACKAGE: Final = "meshturn"
"""The one top-level package that a wheel installs."""

FOLDERS: Final = ("auth", "cli", "stun", "turnserver")
"""Top-level packages of the repository that become sub-packages."""

DATA: Final = (
    "conf/meshturn.yml",
    "conf/grafana-dashboard.json",
    "conf/prometheus-rules.yml",
    "conf/systemd/meshturn.service",
    "conf/systemd/meshturn.socket",
)
"""Files from outside the packages that a wheel contains, below `PACKAGE` at the same path."""

_BUILD_FILES: Final = ("LICENSE", "pyproject.toml", "setup.cfg", "setup.py")


def stage(source: Path, target: Path) -> None:
    """Copy the files for a wheel from the checkout ``source`` into the empty folder ``target``.

    Raises `FileExistsError` if ``meshturn/`` has a folder with the name of one that is copied there, and
    `FileNotFoundError` if a file of the wheel is missing.
    """
    for name in _BUILD_FILES:
        shutil.copy(source / name, target / name)
    package = target / PACKAGE
    _copy(source / PACKAGE, package)
    for name in FOLDERS:
        _copy(source / name, package / name)
    for data in DATA:
        copy = package / data
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source / data, copy)
    modules = _modules(source)
    for path in package.rglob("*.py"):
        path.write_bytes(rewrite(path.read_bytes(), modules, FOLDERS, PACKAGE))


def _copy(source: Path, target: Path) -> None:
    shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))


def _modules(source: Path) -> frozenset[str]:
    """Every module of the folders by its name in the repository."""
    found = set()
    for folder in FOLDERS:
        for path in (source / folder).rglob("*.py"):
            parts = path.relative_to(source).with_suffix("").parts
            found.add(".".join(parts[:-1] if parts[-1] == "__init__" else parts))
    return frozenset(found)
