"""What a user of ``auth.users`` proves: a password, or a key that was made from it."""

import re
from typing import Any, Final

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler, ValidationInfo
from pydantic_core import CoreSchema, core_schema

from auth.keys import key_from_hex
from turnserver.config.context import refuse
from turnserver.config.secret import FORMS, SCHEMA, Secret

__all__ = ["KEY_FORMS", "UserSecret"]

KEY_FORMS: Final = "32 hexadecimal digits (MD5) or 64 (SHA-256), as a text, {file: PATH} or {env: NAME}"
"""What may stand in ``{key: …}``, for messages."""

_COTURN_KEY: Final = re.compile(r"0x(?:[0-9A-Fa-f]{32}|[0-9A-Fa-f]{64})", re.ASCII)
"""How coturn writes a key where a password could stand."""


class UserSecret(Secret):
    """A password, or with ``{key: …}`` a long-term key in hexadecimal digits; masked as every secret is.

    `hashed` says which of the two `get_secret_value` returns.
    """

    __slots__ = ("hashed",)

    def __init__(self, value: str, *, hashed: bool = False) -> None:
        super().__init__(value)
        self.hashed = hashed
        """Whether the value is a key."""

    def __eq__(self, other: object) -> bool:
        """Compare in constant time; a key is no password."""
        if isinstance(other, UserSecret) and other.hashed != self.hashed:
            return False
        return super().__eq__(other)

    def __hash__(self) -> int:
        """Hash as the text does."""
        return super().__hash__()

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Read with :func:`_read`; dump as the mask."""
        return core_schema.with_info_plain_validator_function(
            _read,
            serialization=core_schema.plain_serializer_function_ser_schema(repr),
        )

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        """Return a copy of the JSON Schema."""
        key = {
            "type": "object",
            "properties": {"key": dict(SCHEMA)},
            "required": ["key"],
            "additionalProperties": False,
        }
        return {"anyOf": [*SCHEMA["anyOf"], key]}


def _read(value: object, info: ValidationInfo) -> UserSecret:
    """Read a password or a key. No message repeats what stood where a secret may stand."""
    if isinstance(value, UserSecret):
        return value
    if isinstance(value, dict) and set(value) == {"key"}:
        text = Secret.read(value["key"], info).get_secret_value()
        try:
            key_from_hex(text)
        except ValueError:
            refuse("a key of another form", KEY_FORMS, ("key",))
        return UserSecret(text.lower(), hashed=True)
    if isinstance(value, dict) and set(value) not in ({"file"}, {"env"}):
        refuse("a mapping of another form", f"{FORMS}; or {{key: …}} with {KEY_FORMS}")
    text = Secret.read(value, info).get_secret_value()
    if _COTURN_KEY.fullmatch(text):
        refuse(
            "a password that looks like a key of coturn (0x…)",
            "the password itself, or {key: …} with the digits after 0x",
        )
    return UserSecret(text)
