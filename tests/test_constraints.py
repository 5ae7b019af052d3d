"""The versions for servers: one of every dependency, and each of them one that the metadata allows."""

from collections.abc import Iterator
from configparser import ConfigParser
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
FOR_DEVELOPMENT = {"docs", "lint", "test", "testing"}
"""Extras that nobody installs on a server."""


def pins() -> list[Requirement]:
    lines = (ROOT / "conf" / "constraints.txt").read_text(encoding="utf-8").splitlines()
    return [Requirement(line) for line in lines if line.strip() and not line.lstrip().startswith("#")]


def required() -> Iterator[Requirement]:
    setup = ConfigParser()
    setup.read(ROOT / "setup.cfg", encoding="utf-8")
    extras = setup["options.extras_require"]
    for text in (
        setup["options"]["install_requires"],
        *(extras[name] for name in extras if name not in FOR_DEVELOPMENT),
    ):
        yield from map(Requirement, text.split("\n")[1:])


def test_every_line_is_one_version() -> None:
    for pin in pins():
        assert [one.operator for one in pin.specifier] == ["=="], pin
        assert not pin.url
        assert not pin.extras


def test_every_dependency_is_there_with_a_version_that_it_may_have() -> None:
    """For every environment: where versions differ between them, each one fits."""
    for requirement in required():
        name = canonicalize_name(requirement.name)
        found = [pin for pin in pins() if canonicalize_name(pin.name) == name]
        assert found, f"conf/constraints.txt does not name {name}: make constraints"
        for pin in found:
            (version,) = (one.version for one in pin.specifier)
            assert requirement.specifier.contains(version), f"{pin} is not {requirement}: make constraints"
