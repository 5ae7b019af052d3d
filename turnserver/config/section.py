"""The base class of the schema's sections."""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, model_validator

from turnserver.config.context import refuse
from turnserver.config.values import kind_of

__all__ = ["Section"]


class Section(BaseModel):
    """A mapping of options: unknown keys are refused, and a key without a value has its default."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    @model_validator(mode="before")
    @classmethod
    def _nothing_is_the_default(cls, data: Any) -> Any:
        if isinstance(data, Mapping):
            return {key: value for key, value in data.items() if value is not None}
        return data if isinstance(data, cls) else refuse(kind_of(data), "a mapping of options")
