"""The truth of the kit: a server that makes one mistake is found out by the checks that are about it, and by no others.

Each mistake is run with the checks that have to find it and with a part of all others, another part for each mistake;
``MESHTURN_THOROUGH=1`` runs all checks with each.
"""

import asyncio
import os
from pathlib import Path

import pytest

from cli.conform.bench import KitOptions
from cli.conform.findings import Grade
from cli.conform.registry import Check
from cli.conform.runner import chosen, run_checks
from tests.support.broken_server import RELAYS, Mistake, broken_front
from tests.support.conformance import LOGIN, kit_server, names
from tests.support.mistakes import MISTAKES
from tests.support.server import has_ipv6_loopback

pytestmark = pytest.mark.process
"""None is started; but it waits for answers that do not come, longer than `make check` may take."""

PATIENCE = 3.0
RELAY = {"addresses": [RELAYS, "::1"] if has_ipv6_loopback() else [RELAYS], "mobility": True}
PARTS = 1 if os.environ.get("MESHTURN_THOROUGH") else 9


def part(mistake: Mistake, index: int) -> list[Check]:
    """The checks for one mistake."""
    everything = chosen([])
    return [each for at, each in enumerate(everything) if each.row.name in mistake.found or (at + index) % PARTS == 0]


@pytest.mark.parametrize("index", range(len(MISTAKES)), ids=lambda index: MISTAKES[index].name.replace(" ", "-"))
def test_a_mistake_is_found_and_nothing_else(index: int, tmp_path: Path) -> None:
    mistake = MISTAKES[index]

    async def run() -> set[str]:
        async with (
            kit_server(tmp_path, [mistake.transport], hosts=["127.0.0.1"], relay=RELAY) as (_, (target,)),
            broken_front(target, mistake) as broken,
        ):
            options = KitOptions(LOGIN, PATIENCE)
            report = await run_checks([broken], part(mistake, index), options, lambda *progress: None)
        assert not report.troubles
        assert names(report, Grade.BROKEN) == set()
        return names(report, Grade.FAILED)

    assert asyncio.run(run()) == mistake.found


@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_the_front_itself_makes_none(tmp_path: Path, transport: str) -> None:
    async def run() -> set[str]:
        async with (
            kit_server(tmp_path, [transport], hosts=["127.0.0.1"], relay=RELAY) as (_, (target,)),
            broken_front(target, Mistake("none", frozenset(), transport)) as front,
        ):
            report = await run_checks([front], chosen([]), KitOptions(LOGIN, PATIENCE), lambda *progress: None)
        assert len(names(report, Grade.PASSED)) > 220
        return {f"{each.name}: {each.sentence}" for each in report.failures}

    assert asyncio.run(run()) == set()


def test_there_are_many_and_each_has_a_name() -> None:
    assert len({each.name for each in MISTAKES}) == len(MISTAKES) > 90
    assert all(each.found for each in MISTAKES)
