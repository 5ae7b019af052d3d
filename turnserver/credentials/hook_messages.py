"""Questions to the credential hook and its answers, in JSON. Both contain untrusted text.

A question is ``{"username": …, "realm": …}``, or has a ``userhash`` in hexadecimal instead of the name. An answer with
status 200 has a ``password`` or ``keys``, and optionally ``user`` and ``expires`` (``docs/credential-hook.md``).
"""

import hmac
import json
import re
from collections.abc import Mapping
from typing import Annotated, Final, NamedTuple, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from auth.ephemeral import MAX_USERNAME_BYTES
from auth.errors import AuthError, InvalidString
from auth.keys import MD5, SHA256, long_term_keys, opaque_string, user_hash
from auth.types import Credential

__all__ = ["InvalidReply", "Question", "is_username", "read_reply"]

_MAX_PASSWORD: Final = 4096
"""Maximum number of characters of a password, as in the configuration."""

_FIELD: Final = re.compile(r"[a-z0-9_]{1,20}")


class InvalidReply(AuthError, ValueError):
    """An invalid answer; the message names the invalid field without quoting it."""


class Question(NamedTuple):
    """The user to look up: a username as received, or, if that is empty, a USERHASH."""

    username: str
    userhash: bytes
    realm: str

    def encode(self) -> bytes:
        """The body of the request: JSON in ASCII, which does not depend on a character encoding."""
        who = {"username": self.username} if self.username else {"userhash": self.userhash.hex()}
        return json.dumps({**who, "realm": self.realm}, separators=(",", ":")).encode("ascii")


def is_username(text: str) -> bool:
    """Whether this is a valid username: an OpaqueString of at most 508 bytes (RFC 8489 §14.3)."""
    if len(text) > MAX_USERNAME_BYTES:
        return False
    try:
        opaque_string(text)
    except InvalidString:
        return False
    return len(text.encode()) <= MAX_USERNAME_BYTES


class _Part(BaseModel):
    model_config = ConfigDict(strict=True, extra="ignore", hide_input_in_errors=True)


class _Keys(_Part):
    """Long-term keys in hexadecimal (RFC 8489 §18.5.1)."""

    md5: Annotated[str, StringConstraints(pattern="^[0-9A-Fa-f]{32}$")] | None = None
    sha256: Annotated[str, StringConstraints(pattern="^[0-9A-Fa-f]{64}$")] | None = None

    def by_algorithm(self) -> Mapping[int, bytes]:
        given = {MD5: self.md5, SHA256: self.sha256}
        return {algorithm: bytes.fromhex(key) for algorithm, key in given.items() if key is not None}


class _Reply(_Part):
    password: Annotated[str, StringConstraints(min_length=1, max_length=_MAX_PASSWORD)] | None = None
    keys: _Keys | None = None
    user: str | None = None
    username: str | None = None
    expires: Annotated[float, Field(gt=0, lt=1e15, allow_inf_nan=False)] | None = None

    @model_validator(mode="after")
    def _one_way_to_prove_it(self) -> Self:
        if (self.password is None) == (self.keys is None):
            raise ValueError("password or keys is required")
        return self


def read_reply(body: bytes, question: Question) -> Credential:
    """The credential in an answer. Raises InvalidReply for anything else."""
    try:
        reply = _Reply.model_validate_json(body)
    except ValidationError as error:
        raise InvalidReply(_complaint(error)) from None
    username = _username(reply, question)
    try:
        user_id = opaque_string(username) if reply.user is None else opaque_string(reply.user)
    except InvalidString:
        raise InvalidReply("user") from None
    if len(user_id.encode()) > MAX_USERNAME_BYTES:
        raise InvalidReply("user")
    return Credential(username, question.realm, user_id, _keys(reply, username, question.realm), reply.expires)


def _username(reply: _Reply, question: Question) -> str:
    """The user of an answer. After a question by hash, the answer must name the user, and the hash must match."""
    if question.username:
        return question.username
    name = reply.username or ""
    if not is_username(name) or not hmac.compare_digest(user_hash(name, question.realm), question.userhash):
        raise InvalidReply("username")
    return name


def _keys(reply: _Reply, username: str, realm: str) -> Mapping[int, bytes]:
    keys: Mapping[int, bytes] = {}
    if reply.keys is not None:
        keys = reply.keys.by_algorithm()
    elif reply.password is not None:
        try:
            keys = long_term_keys(username, realm, reply.password)
        except InvalidString:
            raise InvalidReply("password") from None
    if not keys:
        raise InvalidReply("keys")
    return keys


def _complaint(error: ValidationError) -> str:
    """The field of the first error; ``json`` if the answer is not a JSON object."""
    detail = error.errors(include_url=False, include_context=False, include_input=False)[0]
    if detail["type"] == "value_error":
        return "exactly one of password and keys"
    path = ".".join(str(part) for part in detail["loc"])
    return path if path and all(_FIELD.fullmatch(part) for part in path.split(".")) else "json"
