"""JSON Schema of ``signal.v1``, generated from the message types: served at ``/v1/schema.json``.

Every frame that `parse` accepts or `encode` writes is valid. The schema accepts slightly more than `parse`: the limits
on the bytes of free-form values and of a whole frame are only in descriptions.
"""

from functools import lru_cache
from typing import Any, Final

from pydantic import TypeAdapter
from pydantic.json_schema import JsonSchemaMode

from turnserver.signaling.protocol import client_messages, server_messages
from turnserver.signaling.protocol.base import CLIENT, SERVER

__all__ = ["DIALECT", "json_schema"]

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"


_KNOWN: Final = (client_messages, server_messages)
"""Importing these modules registers their message types."""


@lru_cache(maxsize=1)
def _generated(client: TypeAdapter[Any], server: TypeAdapter[Any]) -> dict[str, Any]:
    sides = {"client": client, "server": server}
    mode: JsonSchemaMode = "validation"
    inputs: list[tuple[str, JsonSchemaMode, TypeAdapter[Any]]] = [
        (name, mode, adapter) for name, adapter in sides.items()
    ]
    found, shared = TypeAdapter.json_schemas(inputs, ref_template="#/$defs/{model}")
    definitions: dict[str, Any] = shared["$defs"]
    for name in sides:
        definitions[name] = {"oneOf": found[name, mode]["oneOf"]}
    for definition in definitions.values():
        _tell(definition)
    return definitions


def _tell(definition: dict[str, Any]) -> None:
    """Make ``t`` required, because its default is for Python only, and remove the titles that pydantic generates."""
    definition.pop("title", None)
    properties = definition.get("properties", {})
    for value in properties.values():
        value.pop("title", None)
    if "t" in properties:
        properties["t"].pop("default", None)
        definition["required"] = ["t", *definition.get("required", ())]


def json_schema() -> dict[str, Any]:
    """The whole schema, a new object each time: ``$defs`` has each type, and the unions ``client`` and ``server``."""
    return {
        "$schema": DIALECT,
        "title": "signal.v1",
        "description": "The frames of meshturn's signaling. Unknown fields are ignored.",
        "anyOf": [{"$ref": "#/$defs/client"}, {"$ref": "#/$defs/server"}],
        "$defs": dict(_generated(CLIENT.adapter, SERVER.adapter)),
    }
