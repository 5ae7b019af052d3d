"""An event loop for Python participants beside Playwright, which has one of its own."""

import asyncio
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

from tests.support.netns import NetworkNamespace

__all__ = ["Aside"]

PATIENCE = 90
_Result = TypeVar("_Result")


class Aside:
    """An event loop in a thread that is inside the namespace, beside Playwright's own."""

    def __init__(self, inside: NetworkNamespace) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, args=(inside,), daemon=True)
        self._thread.start()

    def _run(self, inside: NetworkNamespace) -> None:
        with inside.entered():
            self._loop.run_forever()

    def run(self, work: Coroutine[Any, Any, _Result]) -> _Result:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(PATIENCE)

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
