"""Quotas: a number, or none."""

import json
from typing import Annotated

import pytest
from pydantic import TypeAdapter, ValidationError

from turnserver.config.quotas import quota

ADAPTER: TypeAdapter[int] = TypeAdapter(Annotated[int, quota(500)])


@pytest.mark.parametrize(("value", "meant"), [(1, 1), (500, 500), (0, 500), ("unlimited", 500)])
def test_numbers_and_none(value: object, meant: int) -> None:
    """Without a quota it is the largest number."""
    assert ADAPTER.validate_python(value) == meant
    assert json.loads(ADAPTER.dump_json(meant)) == meant


@pytest.mark.parametrize("value", [-1, 501, "0", "infinite", True, None, 1.0, [1]])
def test_everything_else_is_refused(value: object) -> None:
    """The message says what no quota is called."""
    with pytest.raises(ValidationError, match=r"from 1 to 500, or unlimited \(or 0\)"):
        ADAPTER.validate_python(value)


def test_the_schema_allows_the_word() -> None:
    """Editors offer it."""
    assert {"const": "unlimited"} in ADAPTER.json_schema()["anyOf"]
