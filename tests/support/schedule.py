"""Which tests share a worker of pytest-xdist, and in which order files are given out.

Fixtures of a module are made once, so a file is never split; those of a whole folder, `WHOLE`, neither. One worker of
three drives Chromium at any time, at most: it encodes and decodes video on every core that it can get, and too many
calls at once make each other late (two files at once on two cores took longer, at a load of 20 to 60). Where time is
measured, `ALONE`, there is one, however many workers there are. Which worker takes which of these files is decided
when it is free for one. What fills a machine by itself, `LAST`, has it for itself, when all else is done.
"""

from collections.abc import Collection, Iterable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling
from xdist.workermanage import WorkerController

__all__ = ["ALONE", "LAST", "LONGEST_FIRST", "FileScheduling", "drives_chromium", "in_order", "next_scope", "scope_of"]

ROOT = Path(__file__).resolve().parents[2]
ALONE = (
    "tests/net/test_recovery.py",
    "tests/net/test_uplink.py",
    "tests/browser/test_call_recording.py",
    "tests/browser/test_firefox.py",
)
"""Files with calls in which something takes as long as it is tested to take, if nobody else has calls meanwhile.

They come first: later on, hardly ever would all others be without a call.
"""
LAST = ("tests/browser/test_call_crowd.py",)
"""Files with so many calls at once that nothing else has room beside them."""
LONGEST_FIRST = (
    *ALONE,
    "tests/packaging",
    "tests/browser/test_call_page.py",
    "tests/cli/conform/test_mistakes.py",
    "tests/browser/test_page_with_aiortc.py",
    "tests/browser/test_call_people.py",
    "tests/browser/test_call_devices.py",
    "tests/browser/test_call_access.py",
    "tests/browser/test_call_more.py",
    "tests/cli/probe/test_command.py",
    "tests/docs/test_site.py",
    "tests/fuzz/test_targets.py",
    "tests/interop/test_coturn_stream_clients.py",
    "tests/interop/test_imported.py",
    "tests/cli/test_entry.py",
    "tests/cli/test_up.py",
    "tests/cli/test_serve.py",
    "tests/hostile/test_slow_streams.py",
    "tests/net/test_calls.py",
    "tests/browser",
    "tests/net",
    "tests/interop",
    "tests/hostile",
    "tests/fuzz",
    "tests/properties",
    "tests/cli",
    "tests/docs",
    "tests/examples",
    "tests/scapy_turn",
)
"""Files and folders that are given out first, so that no worker is left alone with a long one at the end.

What is not named comes after them: thousands of tests without a process, which fill the gaps.
"""
WHOLE = ("tests/packaging",)


def in_order(items: list[pytest.Item]) -> list[pytest.Item]:
    """Tests in the order in which workers are to get them."""
    rank = {place: number for number, place in enumerate(LONGEST_FIRST)}

    def key(item: pytest.Item) -> int:
        file = _file(item.nodeid)
        if file in LAST:
            return len(rank) + 1
        return rank.get(file, rank.get(_folder(file), len(rank)))

    return sorted(items, key=key)


def scope_of(nodeid: str) -> str:
    """What goes to one worker as a whole: the file of a test, or its folder."""
    file = _file(nodeid)
    folder = _folder(file)
    return folder if folder in WHOLE else file


@cache
def drives_chromium(scope: str) -> bool:
    """Whether there are tests in a file that have the mark ``browser``, by their folder or by themselves."""
    if _folder(scope) == "tests/browser":
        return True
    path = ROOT / scope
    return path.is_file() and "pytest.mark.browser" in path.read_text(encoding="utf-8")


def next_scope(waiting: Iterable[str], beside: Collection[str], most: int, *, busy: bool) -> str | None:
    """The scope that a worker gets next; None if it has to leave them all.

    ``beside`` has a file of every other worker that drives Chromium, of `ALONE` if it has any; ``most`` may drive it.
    ``busy``: another worker has anything to do.
    """
    crowded = len(beside) >= most or any(scope in ALONE for scope in beside)

    def fits(scope: str) -> bool:
        if busy and scope in LAST:
            return False
        if not beside or not drives_chromium(scope):
            return True
        return not crowded and scope not in ALONE

    return next(filter(fits, waiting), None)


class FileScheduling(LoadScopeScheduling):
    """Gives out tests by `scope_of` in the order in which they come, but Chromium only where there is room for it.

    A worker for which nothing is left that it may do ends, and leaves the rest to the others. The last one waits.
    """

    def __init__(self, config: pytest.Config, log: Any = None) -> None:
        super().__init__(config, log)
        # Its own order is by number of tests, and the slow files have few.
        config.option.loadscopereorder = False
        self._most = max(1, self.numnodes // 3)
        self._places: dict[str, int] = {}
        self._last: WorkerController | None = None

    def mark_test_complete(self, node: WorkerController, item_index: int, duration: float = 0) -> None:
        """A test is done: what was waiting for it may begin."""
        last, self._last = self._last, None
        super().mark_test_complete(node, item_index, duration)
        if last is not None and last is not node:
            self._reschedule(last)

    def _split_scope(self, nodeid: str) -> str:
        return scope_of(nodeid)

    def _assign_work_unit(self, node: WorkerController) -> None:
        scope = next_scope(self.workqueue, self._driving_beside(node), self._most, busy=self._is_busy_beside(node))
        if scope is None:
            if any(other is not node and not other.shutting_down for other in self.nodes):
                node.shutdown()
            else:
                self._last = node
            return
        # All workers have the same tests, so one table serves them all; the base class searches the list for each.
        self._places = self._places or {nodeid: place for place, nodeid in enumerate(self.collection or ())}
        work = self.assigned_work[node][scope] = self.workqueue.pop(scope)
        node.send_runtest_some([self._places[nodeid] for nodeid, done in work.items() if not done])

    def _is_busy_beside(self, node: WorkerController) -> bool:
        """Whether another worker has tests that are not done."""
        return any(
            other is not node and not all(all(tests.values()) for tests in work.values())
            for other, work in self.assigned_work.items()
        )

    def _driving_beside(self, node: WorkerController) -> list[str]:
        """Files that drive Chromium and are not done, one for every other worker; one of `ALONE` if it has any."""
        found = []
        for other, work in self.assigned_work.items():
            undone = [scope for scope, tests in work.items() if not all(tests.values()) and drives_chromium(scope)]
            if undone and other is not node:
                found.append(min(undone, key=lambda scope: scope not in ALONE))
        return found


def _file(nodeid: str) -> str:
    return nodeid.partition("::")[0]


def _folder(file: str) -> str:
    """The first two folders of a test's file."""
    return "/".join(file.split("/")[:2])
