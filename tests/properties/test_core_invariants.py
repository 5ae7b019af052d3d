"""Whatever clients, peers, shell and clock do, the core keeps its books, and relays what it promised and nothing else."""

import os

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.support.core_machine import CoreMachine

__all__ = ["PROFILE"]

_THOROUGH = bool(os.environ.get("MESHTURN_THOROUGH"))

PROFILE = settings(
    deadline=None,
    derandomize=not _THOROUGH,
    print_blob=True,
    max_examples=1000 if _THOROUGH else 20,
    stateful_step_count=100 if _THOROUGH else 50,
    suppress_health_check=list(HealthCheck),
)
"""The same examples in every run by default; with MESHTURN_THOROUGH=1 new and many ones, each with a blob to repeat it."""


class _Strict(CoreMachine):
    strict = True


class _Mapped(CoreMachine):
    mapped = True


class _StrictMapped(CoreMachine):
    strict = True
    mapped = True


@pytest.mark.parametrize("machine", [CoreMachine, _Strict, _Mapped, _StrictMapped])
def test_the_core_keeps_its_promises(machine: type[CoreMachine]) -> None:
    """RFC 8656 §7–§12, rules 1, 9–18, 21, 24, 25: see `tests.support.core_oracle` for what is promised."""
    run_state_machine_as_test(machine, settings=PROFILE)
