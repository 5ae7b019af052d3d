"""What an operator is shown of a running server: numbers now, the last hour, and the configuration in force."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

from turnserver.config import Config
from turnserver.core.types import Now
from turnserver.faults import Faults
from turnserver.snapshot import Snapshot
from turnserver.telemetry.history import INTERVAL, History
from turnserver.telemetry.overview import overview

__all__ = ["Desk"]


class Desk:
    """Answers for the admin API, and takes a sample every ten seconds between `start` and `stop`.

    ``take`` makes a cheap snapshot, ``config`` gives the configuration in force. What they raise while a sample is
    taken is recorded in ``faults``, and the next one is taken all the same.
    """

    def __init__(
        self, take: Callable[[], Snapshot], config: Callable[[], Config], clock: Callable[[], Now], faults: Faults
    ) -> None:
        self._take, self._config, self._clock, self._faults = take, config, clock, faults
        self._history = History()
        self._timer: asyncio.TimerHandle | None = None

    def status(self) -> Mapping[str, Any]:
        """The numbers now."""
        return overview(self._take(), self._clock().wall)

    def history(self) -> Mapping[str, Any]:
        """The last hour."""
        return self._history.columns()

    def config(self) -> Mapping[str, Any]:
        """Every option with its value. Secrets have a type of their own in the schema, which shows a mask only."""
        return self._config().model_dump(mode="json")

    def start(self) -> None:
        """Begin to take samples, inside the running loop."""
        self._faults.guarded("history", self._sample, None)
        self._timer = asyncio.get_running_loop().call_later(INTERVAL, self.start)

    def stop(self) -> None:
        """Take no more of them."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _sample(self) -> None:
        self._history.add(self._take(), self._clock())
