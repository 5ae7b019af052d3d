"""The datapaths by name. A new one is a line here; its module is loaded only when it is asked for."""

import time
from collections.abc import Callable
from importlib import import_module
from typing import Final, cast

from turnserver.errors import DatapathError
from turnserver.net import TosPolicy
from turnserver.relay.base import Datapath

__all__ = ["AUTO", "create_datapath", "datapath_names"]

AUTO: Final = "auto"
"""The name for: the best that works here."""

_FACTORIES: Final = {
    "asyncio": "turnserver.relay.sockets:AsyncioDatapath",
    "null": "turnserver.relay.null:NullDatapath",
}
_BEST_FIRST: Final = ("asyncio",)
"""What ``auto`` tries; the first one works wherever CPython's asyncio does."""

Factory = Callable[..., Datapath]


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
    module, _, attribute = _FACTORIES[name].partition(":")
    factory = cast(Factory, getattr(import_module(module), attribute))
    return factory(tos=tos, clock=clock)
