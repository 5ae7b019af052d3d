"""Free-form values: as much as is allowed, and nothing that another JSON reader could not read."""

from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError
from pydantic_core import to_json

from turnserver.signaling.protocol.fields import MAX_DATA, MAX_META, Data, Meta

__all__: list[str] = []


def nested(depth: int) -> Any:
    return [nested(depth - 1)] if depth > 1 else []


@pytest.mark.parametrize("value", [None, 0, "x" * (MAX_DATA - 2), nested(16), {"a": [1.5, None]}, 2**53 - 1])
def test_data_that_is_fine(value: Any) -> None:
    assert TypeAdapter(Data).validate_json(to_json(value)) == value


@pytest.mark.parametrize("text", ["1e999", "NaN", "-Infinity", "[1e999]", str(2**53), '{"a":' + str(-(2**60)) + "}"])
def test_numbers_that_not_everybody_can_read(text: str) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(Data).validate_json(text)


@pytest.mark.parametrize("value", ["x" * MAX_DATA, nested(17), ["é" * 2048]])
def test_data_that_is_too_much(value: Any) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(Data).validate_json(to_json(value))


def test_meta_is_an_object_of_its_own_size() -> None:
    adapter: TypeAdapter[Any] = TypeAdapter(Meta)
    assert adapter.validate_python({"a": "x" * (MAX_META - 8)})
    for bad in ([], {"a": "x" * (MAX_META - 7)}, {str(number): 0 for number in range(65)}):
        with pytest.raises(ValidationError):
            adapter.validate_python(bad)
