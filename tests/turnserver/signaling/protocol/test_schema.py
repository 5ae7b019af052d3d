"""The published schema: well-formed, complete, bounded, and in step with the message classes."""

from typing import Any

from jsonschema import Draft202012Validator

from tests.support.signal_schema import is_valid
from turnserver.signaling.protocol.base import CLIENT, SERVER
from turnserver.signaling.protocol.schema import json_schema

__all__: list[str] = []

DEFINITIONS: dict[str, Any] = json_schema()["$defs"]


def types_of(side: str) -> set[str]:
    names = [choice["$ref"].rpartition("/")[2] for choice in DEFINITIONS[side]["oneOf"]]
    return {DEFINITIONS[name]["properties"]["t"]["const"] for name in names}


def test_it_is_a_schema() -> None:
    Draft202012Validator.check_schema(json_schema())


def test_it_has_every_type_of_both_sides() -> None:
    assert types_of("client") == set(CLIENT)
    assert types_of("server") == set(SERVER)


def test_every_type_must_say_what_it_is() -> None:
    assert is_valid("client", {"t": "bye"})
    assert not is_valid("client", {})
    assert not is_valid("client", {"t": "welcome"})
    assert not is_valid("server", {"t": "bye"})


def test_every_type_says_what_it_is_for() -> None:
    for side in ("client", "server"):
        for choice in DEFINITIONS[side]["oneOf"]:
            assert DEFINITIONS[choice["$ref"].rpartition("/")[2]]["description"]


def test_everything_a_client_writes_has_a_bound() -> None:
    """Strings have a length or a pattern, lists a number of items, numbers a range; free-form values say theirs."""

    def check(where: str, part: Any) -> None:
        if "$ref" in part:
            visit(part["$ref"].rpartition("/")[2])
        for choice in part.get("anyOf", ()):
            check(where, choice)
        if "const" in part or "enum" in part:
            return
        kind = part.get("type")
        if kind == "string":
            assert "maxLength" in part or "{" in part.get("pattern", ""), where
        elif kind == "array":
            assert "maxItems" in part, where
            check(f"{where}[]", part["items"])
        elif kind in {"integer", "number"}:
            assert "maximum" in part, where
        elif kind == "object" and "properties" not in part:
            assert "maxProperties" in part, where
        elif kind is None and "anyOf" not in part and "$ref" not in part:
            assert "bytes" in part["description"], where

    seen: set[str] = set()

    def visit(name: str) -> None:
        if name not in seen:
            seen.add(name)
            for key, part in DEFINITIONS[name].get("properties", {}).items():
                check(f"{name}.{key}", part)

    for choice in DEFINITIONS["client"]["oneOf"]:
        visit(choice["$ref"].rpartition("/")[2])
    assert {"Resume", "Candidate", "Media"} <= seen


def test_each_call_gives_a_schema_of_its_own() -> None:
    json_schema()["$defs"].clear()
    assert json_schema()["$defs"]
