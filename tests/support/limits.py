"""The configuration's limits for tests, which also want some that no configuration may have."""

from typing import Any

from turnserver.config import LimitsConfig

__all__ = ["limits"]


def limits(**changes: Any) -> LimitsConfig:
    """The defaults but for ``changes``, whose bounds nobody checks: none at all, say. Raises KeyError for no option."""
    for name in changes:
        _ = LimitsConfig.model_fields[name]
    return LimitsConfig().model_copy(update=changes)
