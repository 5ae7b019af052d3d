"""The section ``media``: processes, and where recordings go."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from turnserver.config import load_mapping
from turnserver.config.media import MediaConfig
from turnserver.errors import ConfigError


@pytest.mark.parametrize("value", ["auto", 0, 1, 64])
def test_processes_are_a_number_or_auto(value: object) -> None:
    media = load_mapping({"media": {"processes": value}}, own_credentials=True).config.media
    assert (media.processes, media.model_dump()["processes"]) == (value, value)
    assert MediaConfig().processes == "auto"


@pytest.mark.parametrize("value", [-1, 65, True, "1", "all", 1.5, []])
def test_what_is_no_number_of_processes(value: object) -> None:
    with pytest.raises(ConfigError) as found:
        load_mapping({"media": {"processes": value}}, own_credentials=True)
    (problem,) = found.value.problems
    assert problem.key == "media.processes"
    assert problem.allowed == "a whole number from 0 to 64, or auto"


def test_nothing_is_recorded_by_default() -> None:
    assert MediaConfig().recordings is None


def test_a_directory_is_absolute_and_need_not_be_there() -> None:
    assert MediaConfig(recordings="/nowhere/yet").recordings == Path("/nowhere/yet")  # type: ignore[arg-type]


@pytest.mark.parametrize("value", ["", "recordings", "./x", 3, "/a\0b", ["/a"]])
def test_anything_else_is_refused(value: object) -> None:
    with pytest.raises(ValidationError, match="absolute path of a directory"):
        MediaConfig(recordings=value)  # type: ignore[arg-type]
