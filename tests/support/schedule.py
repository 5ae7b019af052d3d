"""Which tests share a worker of pytest-xdist, and in which order files are given out.

Fixtures of a module are made once, so a file is never split; those of a whole folder, `WHOLE`, neither. Files whose
tests drive Chromium have workers of their own, one for two, one after the other: each encodes and decodes video on
every core that it can get, and two calls at once on two cores would make each other late.
"""

from pathlib import PurePosixPath
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

__all__ = ["FileScheduling", "Scopes", "in_order"]

SLOWEST_FIRST = ("tests/net", "tests/browser", "tests/packaging", "tests/interop", "tests/hostile", "tests/cli")
"""What is given out first, so that no worker is left alone with a long file at the end."""
CHROMIUM = ("tests/net", "tests/browser")
NO_CHROMIUM = ("tests/net/test_lab.py",)
WHOLE = ("tests/packaging",)


def in_order(items: list[pytest.Item]) -> list[pytest.Item]:
    """Tests in the order in which workers are to get them."""
    rank = {folder: number for number, folder in enumerate(SLOWEST_FIRST)}
    return sorted(items, key=lambda item: rank.get(_folder(item.nodeid), len(rank)))


class Scopes:
    """Which tests go to one worker together, where there are so many workers: those with the same scope."""

    def __init__(self, workers: int) -> None:
        self._calls = max(1, workers // 2)
        self._chromium: dict[str, int] = {}

    def of(self, nodeid: str) -> str:
        """The scope of a test: its file, its folder, or one of those for files that drive Chromium."""
        file, folder = nodeid.partition("::")[0], _folder(nodeid)
        if folder in WHOLE:
            return folder
        if folder not in CHROMIUM or file in NO_CHROMIUM:
            return file
        return f"chromium-{self._chromium.setdefault(file, len(self._chromium)) % self._calls}"


class FileScheduling(LoadScopeScheduling):
    """Gives out tests by their `Scopes`."""

    def __init__(self, config: pytest.Config, log: Any = None) -> None:
        super().__init__(config, log)
        # Its own order is by number of tests, and the slow files have few.
        config.option.loadscopereorder = False
        self._scopes = Scopes(self.numnodes)

    def _split_scope(self, nodeid: str) -> str:
        return self._scopes.of(nodeid)


def _folder(nodeid: str) -> str:
    """The first two folders of a test's file."""
    return "/".join(PurePosixPath(nodeid.partition("::")[0]).parts[:2])
