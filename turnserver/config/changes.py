"""The differences between two configurations, and which of them a running server applies.

Whether an option can change while the server runs is defined in one place, the schema: its field is marked `LIVE`. The
reference page shows the mark.
"""

from typing import Any, NamedTuple

from pydantic.fields import FieldInfo

from turnserver.config.models import Config
from turnserver.config.section import Section
from turnserver.config.values import Live

__all__ = ["Changes", "is_live", "take_over"]


class Changes(NamedTuple):
    """``config`` is in force after the change. ``taken`` are the options, as dotted paths, that have their new value in
    it, ``waiting`` those that keep their old value until a restart."""

    config: Config
    taken: tuple[str, ...]
    waiting: tuple[str, ...]


def is_live(field: FieldInfo) -> bool:
    """Whether a running server takes a change of this option."""
    return any(isinstance(item, Live) for item in field.metadata)


def take_over(before: Config, after: Config) -> Changes:
    """Compare every option of two configurations, in the order of the schema, and make the one that is in force."""
    taken: list[str] = []
    waiting: list[str] = []
    config = before.model_copy(update=_merged(before, after, "", taken, waiting))
    return Changes(config, tuple(taken), tuple(waiting))


def _merged(before: Section, after: Section, prefix: str, taken: list[str], waiting: list[str]) -> dict[str, Any]:
    """The options of a section that change."""
    update: dict[str, Any] = {}
    for name, field in type(before).model_fields.items():
        old, new = getattr(before, name), getattr(after, name)
        if old == new:
            continue
        if isinstance(old, Section):
            update[name] = old.model_copy(update=_merged(old, new, f"{prefix}{name}.", taken, waiting))
        elif is_live(field):
            taken.append(prefix + name)
            update[name] = new
        else:
            waiting.append(prefix + name)
    return update
