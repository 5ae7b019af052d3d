"""Which tests share a worker of pytest-xdist, and in which order files are given out.

Fixtures of a module are made once, so a file is never split; those of a whole folder, `WHOLE`, neither. Only one
worker of two drives Chromium at any time: it encodes and decodes video on every core that it can get, and too many
calls at once would make each other late. Which worker takes which of these files is decided when it is free for one.
"""

from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling
from xdist.workermanage import WorkerController

__all__ = ["LONGEST_FIRST", "FileScheduling", "drives_chromium", "in_order", "next_scope", "scope_of"]

ROOT = Path(__file__).resolve().parents[2]
LONGEST_FIRST = (
    "tests/net/test_recovery.py",
    "tests/packaging",
    "tests/browser/test_call_page.py",
    "tests/cli/conform/test_mistakes.py",
    "tests/browser/test_page_with_aiortc.py",
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


def next_scope(waiting: Iterable[str], driving: int, most: int) -> str | None:
    """The scope that a worker gets next, while ``driving`` others have Chromium; None if it has to leave them all."""
    return next((scope for scope in waiting if driving < most or not drives_chromium(scope)), None)


class FileScheduling(LoadScopeScheduling):
    """Gives out tests by `scope_of` in the order in which they come, but Chromium only where there is room for it."""

    def __init__(self, config: pytest.Config, log: Any = None) -> None:
        super().__init__(config, log)
        # Its own order is by number of tests, and the slow files have few.
        config.option.loadscopereorder = False
        self._most = max(1, self.numnodes // 2)
        self._places: dict[str, int] = {}

    def _split_scope(self, nodeid: str) -> str:
        return scope_of(nodeid)

    def _assign_work_unit(self, node: WorkerController) -> None:
        scope = next_scope(self.workqueue, self._driving_beside(node), self._most)
        if scope is None:
            # Those that drive Chromium will do the rest.
            node.shutdown()
            return
        # All workers have the same tests, so one table serves them all; the base class searches the list for each.
        self._places = self._places or {nodeid: place for place, nodeid in enumerate(self.collection or ())}
        work = self.assigned_work[node][scope] = self.workqueue.pop(scope)
        node.send_runtest_some([self._places[nodeid] for nodeid, done in work.items() if not done])

    def _driving_beside(self, node: WorkerController) -> int:
        """How many other workers have a test to do that drives Chromium."""
        others = (work for other, work in self.assigned_work.items() if other is not node)
        return sum(
            any(not all(tests.values()) and drives_chromium(scope) for scope, tests in work.items()) for work in others
        )


def _file(nodeid: str) -> str:
    return nodeid.partition("::")[0]


def _folder(file: str) -> str:
    """The first two folders of a test's file."""
    return "/".join(file.split("/")[:2])
