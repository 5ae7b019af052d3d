"""The datapaths by name. A new one is a line here; its module is loaded only when it is asked for."""

import time
from collections.abc import Callable
from typing import Any, Final

from turnserver.errors import DatapathError
from turnserver.net import TosPolicy
from turnserver.relay.base import Datapath

__all__ = ["AUTO", "create_datapath", "datapath_names"]

AUTO: Final = "auto"
"""The name for: the best that works here."""

Factory = Callable[..., Datapath]


def _asyncio(**options: Any) -> Datapath:
    from turnserver.relay.sockets import AsyncioDatapath  # noqa: PLC0415

    return AsyncioDatapath(**options)


def _null(**options: Any) -> Datapath:
    from turnserver.relay.null import NullDatapath  # noqa: PLC0415

    return NullDatapath(**options)


_FACTORIES: Final[dict[str, Factory]] = {"asyncio": _asyncio, "null": _null}
_BEST_FIRST: Final = ("asyncio",)
"""What ``auto`` tries; the first one works wherever CPython's asyncio does."""


def datapath_names() -> tuple[str, ...]:
    """Every name that `create_datapath` knows."""
    return (AUTO, *_FACTORIES)


def create_datapath(
    name: str = AUTO, *, tos: TosPolicy = "clear", clock: Callable[[], float] = time.monotonic
) -> Datapath:
    """A new datapath of that name. Raises `turnserver.errors.DatapathError` for a name that is not known."""
    if name == AUTO:
        name = _BEST_FIRST[0]
    if name not in _FACTORIES:
        raise DatapathError(f"there is no datapath {name!r}; known are {', '.join(datapath_names())}")
    return _FACTORIES[name](tos=tos, clock=clock)
