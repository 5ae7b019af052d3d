"""How a value is refused, inside the loader and outside."""

import pytest
from pydantic import ValidationError

from turnserver.config import Config
from turnserver.config.context import Context, Finding, refuse

BROKEN = {"limits": {"default_lifetime": 3600, "max_lifetime": 600}}


def test_refusal_carries_what_was_found_and_what_is_allowed() -> None:
    with pytest.raises(ValueError, match=r"^found 3; allowed: 1 or 2$"):
        refuse("3", "1 or 2")


def test_a_check_across_values_is_collected() -> None:
    context = Context()
    Config.model_validate(BROKEN, context=context)
    found = "600 seconds, less than limits.default_lifetime"
    assert context.findings == [Finding(("limits", "max_lifetime"), found, "at least 3600 seconds")]


def test_a_check_across_values_is_raised_where_nobody_collects() -> None:
    with pytest.raises(ValidationError, match=r"600 seconds, less than limits\.default_lifetime"):
        Config.model_validate(BROKEN)


def test_warnings_are_collected_or_dropped() -> None:
    context = Context()
    Config.model_validate({}, context=context)
    assert len(context.warnings) == 1
    assert Config.model_validate({}) == Config()
