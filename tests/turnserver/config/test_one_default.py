"""An option has one default, in the schema; whoever reads it says so in a protocol that the section satisfies."""

import ast
import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from turnserver.config import CertificateConfig, Config, LimitsConfig, Listener, SharedSecretConfig
from turnserver.config.section import Section
from turnserver.core.settings import AuthOptions, CoreLimits, CoreSettings, PeerOptions, RelayOptions
from turnserver.signaling.edge import sections
from turnserver.signaling.rooms.settings import RoomOptions
from turnserver.transports.base import ListenerLimits, ListenerSection
from turnserver.transports.certificates import CertificateSection, TlsSection
from turnserver.transports.limits import ConnectionLimits

ROOT = Path(__file__).resolve().parents[3]
READERS = [
    path
    for path in (ROOT / "turnserver").rglob("*.py")
    if not {"config", "protocol"} & set(path.relative_to(ROOT).parts)  # what is missing in a message is not an option
]

VIEWS: list[tuple[type, type[Section]]] = [
    (CoreSettings, Config),
    (CoreLimits, LimitsConfig),
    (RelayOptions, type(Config().relay)),
    (PeerOptions, type(Config().peers)),
    (AuthOptions, type(Config().auth)),
    (RoomOptions, type(Config().signaling)),
    (sections.Configuration, Config),
    (sections.SignalingSection, type(Config().signaling)),
    (sections.AuthSection, type(Config().auth)),
    (sections.NatSection, type(Config().relay)),
    (sections.SharedSecretSection, SharedSecretConfig),
    (ListenerSection, Listener),
    (ListenerLimits, LimitsConfig),
    (ConnectionLimits, LimitsConfig),
    (TlsSection, type(Config().tls)),
    (CertificateSection, CertificateConfig),
]


def read_by(view: type) -> set[str]:
    return {name for name, _ in inspect.getmembers(view, lambda member: isinstance(member, property))}


@pytest.mark.parametrize(("view", "section"), VIEWS, ids=[view.__qualname__ for view, _ in VIEWS])
def test_what_is_read_is_an_option(view: type, section: type[Section]) -> None:
    """Under the same name, so that there is nothing to translate."""
    assert read_by(view)
    assert read_by(view) <= set(section.model_fields)


def test_every_limit_is_read_by_somebody() -> None:
    assert read_by(CoreLimits) | read_by(ListenerLimits) | read_by(ConnectionLimits) == set(LimitsConfig.model_fields)


def test_every_option_of_rooms_is_read_but_those_that_say_whether_there_are_any_and_an_sfu() -> None:
    fields = set(type(Config().signaling).model_fields)
    assert fields - read_by(sections.SignalingSection) == {"enabled", "mode"}


def defaults() -> dict[str, list[Any]]:
    """Every option's default, by the option's name; not those that are empty or a switch that is off."""
    found: dict[str, list[Any]] = {}
    for section in {section for _, section in VIEWS}:
        for name, info in section.model_fields.items():
            if not info.is_required() and isinstance(info.default, int | str) and info.default:
                found.setdefault(name, []).append(info.default)
    return found


def defaults_in(path: Path) -> Iterator[tuple[str, Any, int]]:
    """Fields and parameters with a default that is written out: name, value, line."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value is not None:
            pairs = [(node.target.id, node.value)]
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            positional = [*node.args.posonlyargs, *node.args.args]
            pairs = [*zip(reversed(positional), reversed(node.args.defaults), strict=False)]
            pairs += [(name, value) for name, value in zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True)]
            pairs = [(argument.arg, value) for argument, value in pairs if value is not None]
        else:
            continue
        for name, value in pairs:
            try:
                yield name, ast.literal_eval(value), node.lineno
            except ValueError:
                continue


def test_no_default_stands_twice() -> None:
    """Nobody but the schema says what an option is unless it is said."""
    options = defaults()
    again = [
        f"{path.relative_to(ROOT)}:{line}: {name} = {value!r}"
        for path in READERS
        for name, value, line in defaults_in(path)
        if not isinstance(value, bool) and value in options.get(name, ())
    ]
    assert again == []
