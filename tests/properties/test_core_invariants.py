"""Whatever clients, peers, shell and clock do, the core keeps its books, and relays what it promised and no more.

Every step is checked against `tests.support.core_oracle`, which knows only what clients were told, and the tables of
the core against one another and against the shell by `tests.support.core_tables`. With ``MESHTURN_THOROUGH=1`` the
walks are longer and many more. A walk is named by its seed; to go one again, ask for it by its test id.
"""

import os
from random import Random

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.support.core_bench import Bench
from tests.support.core_machine import CoreMachine, Walk, some_setup
from tests.support.examples import scaled

__all__ = ["PROFILE"]

_THOROUGH = bool(os.environ.get("MESHTURN_THOROUGH"))
_SEEDS = range(500 if _THOROUGH else 12)
_STEPS = 300 if _THOROUGH else 150

PROFILE = settings(
    deadline=None,
    derandomize=not _THOROUGH,
    print_blob=True,
    max_examples=300 if _THOROUGH else scaled(10),
    stateful_step_count=60 if _THOROUGH else 30,
    phases=[Phase.generate, Phase.shrink],
    suppress_health_check=list(HealthCheck),
)
"""The same examples in every run by default; new ones, each with a blob to repeat it, when thorough."""


class _Strict(CoreMachine):
    strict = True


class _Mapped(CoreMachine):
    mapped = True


class _StrictMapped(CoreMachine):
    strict = True
    mapped = True


_MACHINES = (CoreMachine, _Strict, _Mapped, _StrictMapped)


@pytest.mark.parametrize("machine", _MACHINES, ids=["default", "strict", "mapped", "strict-mapped"])
@pytest.mark.parametrize("seed", _SEEDS)
def test_a_long_walk(machine: type[CoreMachine], seed: int) -> None:
    """RFC 8656 §7 to §12, rules 1, 9–18, 21, 24, 25: a seeded walk finds every promise kept, and leaves nothing behind.

    Both kinds of permission (rule 14), and relays with and without 1:1 NAT (rule 23).
    """
    random = Random(seed)
    walk = Walk(Bench(some_setup(random, strict=machine.strict, mapped=machine.mapped)))
    walk.begin(random)
    for _ in range(_STEPS):
        walk.step(random)
    walk.finish()


@pytest.mark.parametrize("machine", _MACHINES, ids=["default", "strict", "mapped", "strict-mapped"])
def test_a_short_way_to_trouble(machine: type[CoreMachine]) -> None:
    """RFC 8656 §7 to §12: the same steps as hypothesis chooses them; a failure comes as short as it can be."""
    run_state_machine_as_test(machine, settings=PROFILE)
