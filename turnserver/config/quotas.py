"""The kind of value of quotas, which can be switched off."""

from typing import Any

from pydantic import ValidationInfo

from turnserver.config.values import Rule

__all__ = ["quota"]


def quota(most: int) -> Rule[int]:
    """Return the rule for a number up to ``most``, which ``unlimited`` and 0 stand for."""
    words = f"a whole number from 1 to {most}, or unlimited (or 0)"

    def read(value: object, rule: Rule[int], _info: ValidationInfo) -> int:
        if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= most:
            return int(value) or most
        return most if value == "unlimited" else rule.refuse(value)

    bounds: dict[str, Any] = {"type": "integer", "minimum": 0, "maximum": most}
    schema: dict[str, Any] = {"anyOf": [bounds, {"const": "unlimited"}]}
    return Rule(f"integer, 1 to {most:,}, or `unlimited`", words, schema, read, int)
