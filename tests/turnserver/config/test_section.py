"""What every section of the schema does."""

import pytest
from pydantic import ValidationError

from turnserver.config.section import Section


class Example(Section):
    """A section with one option."""

    size: int = 4


def test_a_key_with_nothing_after_it_has_its_default() -> None:
    assert Example.model_validate({"size": None}) == Example(size=4)


@pytest.mark.parametrize("value", [None, 7, "text", ["size"]])
def test_a_section_is_a_mapping(value: object) -> None:
    with pytest.raises(ValidationError, match="a mapping of options"):
        Example.model_validate(value)


def test_unknown_keys_are_refused_and_values_are_frozen() -> None:
    with pytest.raises(ValidationError, match="Extra inputs"):
        Example.model_validate({"colour": "blue"})
    with pytest.raises(ValidationError, match="frozen"):
        Example().size = 5
