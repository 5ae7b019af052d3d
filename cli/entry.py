"""The first code of the command ``meshturn``: it takes the signals of a server before anything else is loaded."""

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from turnserver.signals import Signals

__all__ = ["SERVERS", "main", "signals_for"]

SERVERS: Final = frozenset({"serve", "up"})
"""The commands that are servers. Others end at a signal as programs do."""


def main() -> None:
    """Run the command that ``sys.argv`` names and exit with its code."""
    signals = signals_for(sys.argv[1:])
    if signals is not None:
        signals.hold()
    from cli.main import run  # noqa: PLC0415  it loads far more than this module

    run(signals)


def signals_for(arguments: Sequence[str]) -> "Signals | None":
    """The signals of the process with this command line; None for a command that is no server."""
    command = next((argument for argument in arguments if not argument.startswith("-")), "")
    if command not in SERVERS:
        return None
    from turnserver.signals import Signals  # noqa: PLC0415  not every system has these signals

    return Signals()
