"""The types of the answers to operators; ``tests/interop/test_openapi.py`` holds a server's answers to them."""

import pytest
from pydantic import ValidationError

from turnserver.signaling.edge import operator_answers
from turnserver.signaling.edge.operator_answers import ConfigAnswer, UsageNow


def test_what_is_not_described_is_refused_here_and_not_forbidden_to_programs() -> None:
    """As for all answers of the API."""
    with pytest.raises(ValidationError):
        ConfigAnswer.model_validate({"config": {}, "more": 1})
    for name in operator_answers.__all__:
        assert "additionalProperties" not in getattr(operator_answers, name).model_json_schema(), name


def test_no_limit_is_null() -> None:
    """But the number itself is always there."""
    assert UsageNow.model_validate({"used": 1, "allowed": None}).allowed is None
    with pytest.raises(ValidationError):
        UsageNow.model_validate({"used": None, "allowed": 1})
