"""The public API: what ``import meshturn`` offers, what its reference page has, and what loading it costs."""

import inspect
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

import auth.errors
import auth.source
import auth.types
import meshturn
import meshturn.root
import stun.attributes
import stun.client.errors
import stun.client.events
import stun.constants
import stun.errors
import turnserver.core.commands
import turnserver.core.events
import turnserver.errors
import turnserver.signaling.rooms.facts

ROOT = Path(__file__).resolve().parents[2]
REFERENCE = ROOT / "docs" / "reference" / "python.md"

OURS = frozenset({"auth", "cli", "meshturn", "stun", "turnserver"})

OPTIONAL = ("calls", "testing")
"""Modules for which an extra has to be installed: they are public, and imported by their names only."""

HEAVY = frozenset({"aiohttp", "aiortc", "asyncio", "click", "cryptography", "jwt", "pydantic", "rich", "yaml"})


def loaded_after(statement: str) -> set[str]:
    """The modules that a new interpreter has after a statement."""
    script = f"import json, sys\n{statement}\nprint(json.dumps(sorted(sys.modules)))"
    result = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    return set(json.loads(result.stdout))


def public_objects() -> Iterator[tuple[str, object]]:
    """Everything public that has a docstring of its own."""
    for name in meshturn.__all__:
        value = getattr(meshturn, name)
        if isinstance(value, ModuleType):
            yield from ((f"{name}.{inner}", getattr(value, inner)) for inner in value.__all__)
        elif not name.startswith("__"):
            yield name, value


def test_every_name_is_there() -> None:
    """Names that the import system binds, and those that `__getattr__` finds, are the same."""
    names: dict[str, object] = {}
    exec("from meshturn import *", names)
    assert {name for name in names if name != "__builtins__"} == set(meshturn.__all__)
    assert set(meshturn.__all__) <= set(dir(meshturn))


def test_there_are_not_too_many() -> None:
    """A public face that one can look at as a whole."""
    assert len(meshturn.__all__) <= 30


def test_a_name_that_is_not_public_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match=r"module 'meshturn' has no attribute 'Engine'"):
        _ = meshturn.Engine  # type: ignore[attr-defined]
    assert not hasattr(meshturn, "getattr")


def test_the_reference_has_exactly_the_public_api() -> None:
    """Each name is documented, once, and nothing else is."""
    documented = re.findall(r"^::: meshturn\.(\S+)$", REFERENCE.read_text(encoding="utf-8"), re.MULTILINE)
    public = [name for name in meshturn.__all__ if not name.startswith("__")]
    assert sorted(documented) == sorted([*public, *OPTIONAL])


@pytest.mark.parametrize(("name", "value"), list(public_objects()), ids=[name for name, _ in public_objects()])
def test_everything_public_has_a_docstring(name: str, value: object) -> None:
    """Classes, their public methods, and functions. Constants have theirs in the source, which the reference reads."""
    if not inspect.isclass(value) and not inspect.isfunction(value):
        return
    assert inspect.getdoc(value), name
    for member, method in inspect.getmembers(value, inspect.isfunction):
        if not member.startswith("_") and method.__module__.split(".")[0] in OURS:
            assert inspect.getdoc(method), f"{name}.{member}"


@pytest.mark.parametrize(
    ("public", "sources", "inside"),
    [
        (meshturn.attributes, [stun.attributes], set()),
        (meshturn.constants, [stun.constants], set()),
        (meshturn.commands, [turnserver.core.commands], set()),
        (meshturn.credentials, [auth.source, auth.types], set()),
        (
            meshturn.events,
            [stun.client.events, turnserver.core.events, turnserver.signaling.rooms.facts],
            {"Close", "HubCommand", "Revoke", "Wake"},
        ),
        (meshturn.errors, [auth.errors, meshturn.root, stun.client.errors, stun.errors, turnserver.errors], set()),
    ],
    ids=["attributes", "constants", "commands", "credentials", "events", "errors"],
)
def test_public_modules_have_all_of_what_they_stand_for(
    public: ModuleType, sources: list[ModuleType], inside: set[str]
) -> None:
    """Whoever adds a command, an event or an error adds it to the module that users import it from, too."""
    made = {name for source in sources for name in source.__all__} - inside
    assert sorted(made - set(public.__all__)) == [], f"add this to {public.__name__}"


def test_every_error_is_public_and_has_the_one_root() -> None:
    for name in meshturn.errors.__all__:
        value = getattr(meshturn.errors, name)
        assert name == "Problem" or issubclass(value, meshturn.MeshturnError), name


@pytest.mark.process
def test_importing_costs_nothing() -> None:
    loaded = loaded_after("import meshturn")
    assert {name for name in loaded if name.split(".")[0] in OURS} == {"meshturn", "meshturn.root", "turnserver"}
    assert not loaded & HEAVY


@pytest.mark.process
@pytest.mark.parametrize(
    "statement",
    [
        "from meshturn import Address, Message, MessageBuilder, StunUri",
        "from meshturn import attributes, constants, errors, events, commands",
        "from meshturn import TurnCore, OwnAddresses, NonceIssuer, Now, FiveTuple, ClientTransport",
    ],
    ids=["codec", "modules", "core"],
)
def test_the_parts_without_sockets_load_without_libraries(statement: str) -> None:
    assert not loaded_after(statement) & HEAVY


@pytest.mark.process
def test_the_modules_can_be_imported_by_name() -> None:
    """`from meshturn.commands import OpenRelay` is what people try, too."""
    modules = [name for name in meshturn.__all__ if isinstance(getattr(meshturn, name), ModuleType)]
    statements = "\n".join(f"from meshturn.{name} import *" for name in (*modules, *OPTIONAL))
    assert {f"meshturn.{name}" for name in (*modules, *OPTIONAL)} < loaded_after(statements)
