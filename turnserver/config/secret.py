"""Secrets: a text, a file or an environment variable; never shown again."""

import hmac
import os
import stat
from pathlib import Path
from typing import Any

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler, ValidationInfo
from pydantic_core import CoreSchema, core_schema

from auth.errors import InvalidString
from auth.keys import opaque_string
from turnserver.config.context import Context, refuse
from turnserver.config.values import describe

__all__ = ["FORMS", "MASK", "MAX_SECRET_BYTES", "SCHEMA", "Secret"]

MASK = "(secret)"
"""The text shown in place of every secret."""

MAX_SECRET_BYTES = 4096
"""The longest secret that is read; a longer file is probably not a secret."""

FORMS = "a text, {file: PATH} or {env: NAME}"
"""The three ways to write a secret, for messages."""

SCHEMA: dict[str, Any] = {
    "anyOf": [
        {"type": "string", "minLength": 1},
        {
            "type": "object",
            "properties": {"file": {"type": "string", "minLength": 1}},
            "required": ["file"],
            "additionalProperties": False,
        },
        {
            "type": "object",
            "properties": {"env": {"type": "string", "minLength": 1}},
            "required": ["env"],
            "additionalProperties": False,
        },
    ],
}
"""The same as JSON Schema."""


class Secret:
    """A secret text. Only :meth:`get_secret_value` returns it; repr, str, dumps and errors mask it."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def get_secret_value(self) -> str:
        """Return the secret itself."""
        return self._value

    @classmethod
    def read(cls, value: object, info: ValidationInfo) -> "Secret":
        """Read a secret in any of its forms, as an option does; refuses what is none of them."""
        return _read(value, info)

    def __repr__(self) -> str:
        """Return the mask."""
        return MASK

    def __eq__(self, other: object) -> bool:
        """Compare in constant time."""
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(self._value.encode(), other._value.encode())

    def __hash__(self) -> int:
        """Hash as the text does."""
        return hash(self._value)

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
        return dict(SCHEMA)


def _read(value: object, info: ValidationInfo) -> Secret:
    """Read a secret in any of its forms. No message repeats what stood where a secret may stand."""
    context = info.context if isinstance(info.context, Context) else Context(environ=os.environ)
    if isinstance(value, Secret):
        return value
    if isinstance(value, str):
        return _checked(value, "a text")
    if isinstance(value, dict) and len(value) == 1:
        ((form, argument),) = value.items()
        if form == "file" and isinstance(argument, str):
            return _from_file(argument, context)
        if form == "env" and isinstance(argument, str):
            return _from_environment(argument, context)
    kind = "a number or a boolean (as a text it needs quotes)" if isinstance(value, bool | int | float) else None
    return refuse(kind or ("nothing" if value is None else "a list or a mapping of another form"), FORMS)


def _from_environment(name: str, context: Context) -> Secret:
    context.variables.add(name)
    value = context.environ.get(name)
    if value is None:
        refuse(f"{{env: {describe(name)}}}, which is not set", "the name of a variable that holds the secret")
    return _checked(value, f"the environment variable {describe(name)}")


def _from_file(name: str, context: Context) -> Secret:
    allowed = "a readable file that holds the secret (relative paths start at the configuration file)"
    path = context.directory / name
    try:
        mode, data = _contents(path)
    except (OSError, ValueError) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or "not a path"
        refuse(f"{describe(name)}: {reason}", allowed)
    if not stat.S_ISREG(mode):
        refuse(f"{describe(name)}: not a regular file", allowed)
    if mode & stat.S_IROTH:
        context.warnings.append(f"Everybody on this host can read the secret in {_shown(path)}: use chmod o-r.")
    return _checked(_text(data, name), f"the file {describe(name)}")


def _contents(path: Path) -> tuple[int, bytes]:
    """Return the mode of a file and how it starts; without waiting, because a named pipe would block for ever."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        mode = os.fstat(descriptor).st_mode
        return mode, os.read(descriptor, MAX_SECRET_BYTES + 3) if stat.S_ISREG(mode) else b""
    finally:
        os.close(descriptor)


def _text(data: bytes, name: str) -> str:
    try:
        text = data.decode()
    except UnicodeDecodeError:
        refuse(f"{describe(name)}, which is not UTF-8 text", "a file that holds the secret as text")
    return text.removesuffix("\n").removesuffix("\r")


def _shown(path: Path) -> str:
    return str(path) if str(path).isprintable() else ascii(str(path))


def _checked(text: str, where: str) -> Secret:
    """Refuse what could never be right; ``where`` says where the secret came from, the secret itself is not shown."""
    if not text:
        refuse(f"{where}, which is empty", "a secret that is not empty")
    if text == MASK:
        refuse(f'{where} with "{MASK}" in it', "the secret itself, not the mask that is shown in its place")
    try:
        encoded = text.encode()
        opaque_string(text)
    except (UnicodeEncodeError, InvalidString):
        refuse(
            f"{where} with control or invisible characters", "a secret of visible characters and spaces, on one line"
        )
    if len(encoded) > MAX_SECRET_BYTES:
        refuse(f"{where} of more than {MAX_SECRET_BYTES} bytes", f"a secret of at most {MAX_SECRET_BYTES} bytes")
    return Secret(text)
