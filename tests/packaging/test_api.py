"""The public API as a pip user has it: every name, and the fixture in a suite of their own."""

from pathlib import Path

import pytest

import meshturn
from tests.packaging.conftest import Built, Environment

NAMES = """
import meshturn, types
for name in meshturn.__all__:
    value = getattr(meshturn, name)
    inner = [getattr(value, inner) for inner in value.__all__] if isinstance(value, types.ModuleType) else [value]
    for one in inner:
        if isinstance(one, type | types.FunctionType):
            assert one.__module__.startswith("meshturn."), one
print(*meshturn.__all__)
"""

SUITE = """
from meshturn import BackgroundServer

def test_the_fixture(turn_server):
    assert turn_server.snapshot().running
    assert isinstance(turn_server, BackgroundServer)
    assert type(turn_server).__module__ == "meshturn.background"
"""


@pytest.fixture(scope="module")
def suite_environment(built: Built, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """An environment of somebody who tests with meshturn: the wheel with its extra, and no checkout."""
    environment = Environment(tmp_path_factory.mktemp("suite"))
    environment.pip("install", "--quiet", "--no-compile", f"{built.wheel}[testing]")
    return environment


def test_every_public_name_is_there(environment: Environment) -> None:
    """Those of the modules, too; and none of them comes from a package of another name."""
    assert environment.output("python", "-c", NAMES).split() == meshturn.__all__


def test_the_fixture_without_a_checkout(suite_environment: Environment, tmp_path: Path) -> None:
    (tmp_path / "test_suite.py").write_text(SUITE, encoding="utf-8")
    output = suite_environment.output("python", "-m", "pytest", "-q", "-p", "no:cacheprovider", cwd=tmp_path)
    assert "1 passed" in output
