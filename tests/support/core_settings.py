"""A configuration for tests of the core, by the names of options alone, with values that no file may have, too."""

from typing import Any

from turnserver.config import Config
from turnserver.config.section import Section

__all__ = ["core_settings"]

_ELSEWHERE = frozenset({"metrics", "clients"})
"""Sections that the core does not read, with an option of the name of one that it does."""


def core_settings(**options: Any) -> Config:
    """The defaults but for ``options``, each in the one section that has it; nobody checks their values.

    Raises KeyError for what is no option.
    """
    config = Config()
    for name, value in options.items():
        config = _with(config, name, value)
    return config


def _with(config: Config, name: str, value: Any) -> Config:
    if name in Config.model_fields:
        return config.model_copy(update={name: value})
    found = [
        (section, inner)
        for section in Config.model_fields.keys() - _ELSEWHERE
        if isinstance(inner := getattr(config, section), Section) and name in type(inner).model_fields
    ]
    if len(found) != 1:
        raise KeyError(name)
    ((section, inner),) = found
    return config.model_copy(update={section: inner.model_copy(update={name: value})})
