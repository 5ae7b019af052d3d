"""Frames of `signal.v1` against the published schema, with somebody else's validator."""

from functools import cache
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import best_match

from turnserver.signaling.protocol.base import CLIENT, SERVER
from turnserver.signaling.protocol.schema import json_schema

__all__ = ["is_valid", "validate_client", "validate_server"]


Types = tuple[tuple[str, ...], tuple[str, ...]]


def _types() -> Types:
    """The types there are: tests add some, and what is kept here is of those of the moment."""
    return CLIENT.names, SERVER.names


@cache
def _validator(name: str, types: Types) -> Draft202012Validator:
    return Draft202012Validator({**json_schema(), "anyOf": [{"$ref": f"#/$defs/{name}"}]})


@cache
def _of_type(name: str, types: Types) -> Draft202012Validator:
    """For one type only: which one it is, `t` says, so that the others need not be tried."""
    return Draft202012Validator({"$defs": json_schema()["$defs"], "$ref": f"#/$defs/{name}"})


def _check(side: str, frame: dict[str, Any]) -> None:
    definition = _name(side, frame)
    assert definition is not None, f"a {side} never says {frame.get('t')!r}"
    error = best_match(_of_type(definition, _types()).iter_errors(frame))
    assert error is None, f"{side} frame {frame.get('t')}: {error.json_path}: {error.message}"


@cache
def _names(side: str, types: Types) -> dict[str, str]:
    definitions = json_schema()["$defs"]
    refs = [choice["$ref"].rpartition("/")[2] for choice in definitions[side]["oneOf"]]
    return {definitions[ref]["properties"]["t"]["const"]: ref for ref in refs}


def _name(side: str, frame: dict[str, Any]) -> str | None:
    kind = frame.get("t")
    return _names(side, _types()).get(kind) if isinstance(kind, str) else None


def validate_client(frame: dict[str, Any]) -> None:
    """Fail unless a client may send this frame."""
    _check("client", frame)


def validate_server(frame: dict[str, Any]) -> None:
    """Fail unless the server may send this frame."""
    _check("server", frame)


def is_valid(side: str, frame: Any) -> bool:
    """Whether the union itself (``client`` or ``server``) takes the frame."""
    return bool(_validator(side, _types()).is_valid(frame))
