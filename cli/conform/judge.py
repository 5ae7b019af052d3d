"""What checks say of an answer."""

from typing import Any

from cli.conform.findings import Untestable, Wrong
from cli.conform.wire import SeenMessage
from stun.attributes import ERROR_CODE, AttributeType
from turnserver.text import one_line

__all__ = ["affordable", "error", "needed", "no_answer", "present", "said", "succeeded"]


def said(reply: SeenMessage) -> str:
    """An answer in words."""
    if reply.success:
        return "a success response"
    if not reply.code:
        return "an answer without an error code that can be read"
    value = reply.value(ERROR_CODE)
    phrase = "" if value is None or not value.reason else f" ({one_line(value.reason, 80)})"
    return f"error {reply.code}{phrase}"


def error(reply: SeenMessage, *codes: int) -> SeenMessage:
    """Raise `Wrong` unless the answer is one of these errors."""
    if reply.code not in codes:
        wanted = " or ".join(map(str, codes))
        raise Wrong(f"The server answered with {said(reply)}, not with {wanted}.")
    return reply


def succeeded(reply: SeenMessage) -> SeenMessage:
    """Raise `Wrong` unless the answer is a success."""
    if not reply.success:
        raise Wrong(f"The server answered with {said(reply)}, not with a success response.")
    return reply


def no_answer(reply: SeenMessage | None) -> None:
    """Raise `Wrong` if there is an answer."""
    if reply is not None:
        raise Wrong(f"The server answered with {said(reply)}.")


def present(reply: SeenMessage, *specs: AttributeType[Any]) -> None:
    """Raise `Wrong` if an attribute is missing."""
    missing = [spec.name for spec in specs if not reply.has(spec)]
    if missing:
        raise Wrong(f"The answer ({said(reply)}) has no {' and no '.join(missing)}.")


def affordable(reply: SeenMessage) -> SeenMessage:
    """Raise `Untestable` if the server grants no allocation at the moment: quota, capacity, redirection."""
    needed(reply.code not in (300, 486, 508), f"The server grants no allocation now: error {reply.code}.")
    return reply


def needed(condition: object, why: str) -> None:
    """Raise `Untestable` unless something holds."""
    if not condition:
        raise Untestable(why)
