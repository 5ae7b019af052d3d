"""The datapaths by name, and the choice among them when the configuration names none."""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

from turnserver.errors import StartupError, UnknownNameError
from turnserver.faults import RAISED
from turnserver.registry import Registry

if TYPE_CHECKING:
    from turnserver.net import TosPolicy
    from turnserver.relay.base import Datapath

__all__ = ["AUTO", "DATAPATHS", "DatapathKind", "MakeDatapath", "create_datapath"]

AUTO: Final = "auto"
"""The name that stands for the best datapath that works here."""

_logger = logging.getLogger("meshturn.relay")


class MakeDatapath(Protocol):
    """Makes a datapath; a wrapping datapath makes its inner one too."""

    def __call__(self, *, tos: "TosPolicy", clock: Callable[[], float]) -> "Datapath":
        """``tos`` says whether DSCP and ECN are carried or cleared; ``clock`` gives monotonic seconds."""


@dataclass(frozen=True, slots=True)
class DatapathKind:
    """An entry of `DATAPATHS`."""

    about: str
    """A short description for the reference page."""
    make: MakeDatapath
    probe: Callable[[], str | None] = lambda: None
    """Returns why it does not work on this machine, in a few words; None if it does."""
    rank: int = 0
    """`AUTO` takes the working one with the highest rank, and never one of rank 0."""


def _asyncio(*, tos: "TosPolicy", clock: Callable[[], float]) -> "Datapath":
    from turnserver.relay.sockets import AsyncioDatapath  # noqa: PLC0415  loaded when it is used, as those below

    return AsyncioDatapath(tos=tos, clock=clock)


def _null(*, tos: "TosPolicy", clock: Callable[[], float]) -> "Datapath":
    from turnserver.relay.null import NullDatapath  # noqa: PLC0415

    return NullDatapath(tos=tos, clock=clock)


DATAPATHS: Final[Registry[DatapathKind]] = Registry("datapath")
"""The available datapaths."""

DATAPATHS.add("asyncio", DatapathKind("plain sockets, works everywhere", _asyncio, rank=1))
DATAPATHS.add("null", DatapathKind("relays nothing, for tests", _null), embedded=True)


def create_datapath(
    name: str = AUTO, *, tos: "TosPolicy" = "clear", clock: Callable[[], float] = time.monotonic
) -> "Datapath":
    """A new datapath of that name.

    Raises `turnserver.errors.UnknownNameError` for an unknown name, and `turnserver.errors.StartupError`, with the
    reason, for a datapath that does not work here.
    """
    if name == AUTO:
        name = _best()
    else:
        reason = _reason(name)
        if reason is not None:
            raise StartupError(f"The datapath {name} does not work here: {reason}.", f"relay.datapath: {AUTO} would.")
    return DATAPATHS[name].make(tos=tos, clock=clock)


def _reason(name: str) -> str | None:
    """Why a datapath does not work here, None if it does; one whose probe raises does not."""
    try:
        return DATAPATHS[name].probe()
    except UnknownNameError:
        raise
    except RAISED as error:
        _logger.error("fault in datapath.probe", extra={"fields": {"datapath": name}}, exc_info=error)
        return f"its probe raised {type(error).__qualname__}"


def _best() -> str:
    """The name of the best datapath that works here; the log says why better ones do not."""
    reasons = {}
    for name in sorted((name for name in DATAPATHS if DATAPATHS[name].rank), key=lambda name: -DATAPATHS[name].rank):
        reason = _reason(name)
        if reason is None:
            return name
        reasons[name] = reason
        _logger.info("datapath not used", extra={"fields": {"datapath": name, "reason": reason}})
    told = "; ".join(f"{name}: {reason}" for name, reason in reasons.items()) or "there is none"
    raise StartupError(f"No datapath works here ({told}).", "Name one under relay.datapath.")
