"""``media``: where recordings go."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from turnserver.config.media import MediaConfig


def test_nothing_is_recorded_by_default() -> None:
    assert MediaConfig().recordings is None


def test_a_directory_is_absolute_and_need_not_be_there() -> None:
    assert MediaConfig(recordings="/nowhere/yet").recordings == Path("/nowhere/yet")  # type: ignore[arg-type]


@pytest.mark.parametrize("value", ["", "recordings", "./x", 3, "/a\0b", ["/a"]])
def test_anything_else_is_refused(value: object) -> None:
    with pytest.raises(ValidationError, match="absolute path of a directory"):
        MediaConfig(recordings=value)  # type: ignore[arg-type]
