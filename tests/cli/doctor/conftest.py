"""Hosts of which a test decides what there is to find."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from cli.doctor.clock import ClockState
from cli.doctor.host import Host, Interface, Output
from tests.support.certify import certify
from turnserver.config import load_mapping

__all__ = ["certify"]

BASE: dict[str, Any] = {"auth": {"users": {"alice": "secret"}}}


async def no_rules(arguments: object) -> Output:
    """A host whose firewall has no rules."""
    return Output(0, b'{"nftables": []}', b"")


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., Host]:
    """Make a host: ``make({"listeners": ...}, interfaces=...)``. Its /proc is the folder proc of the test."""
    proc = tmp_path / "proc"
    (proc / "sys" / "net").mkdir(parents=True)
    plain = Host(
        load_mapping(BASE).config,
        proc=proc,
        etc=tmp_path / "etc",
        interfaces=lambda: [Interface("lo", (bytes((127, 0, 0, 1)),))],
        route=lambda towards: None,
        wall=lambda: datetime.now(UTC),
        clock=lambda: ClockState(True, 0.01),
        run=no_rules,
        patience=0.5,
    )

    def made(options: dict[str, Any] | None = None, **facts: Any) -> Host:
        return replace(plain, config=load_mapping({**BASE, **(options or {})}).config, **facts)

    return made


@pytest.fixture
def kernel(tmp_path: Path) -> Callable[..., None]:
    """Write numbers of the kernel's: ``kernel(**{"net/core/rmem_max": 4096})``."""

    def write(**numbers: int) -> None:
        for key, number in numbers.items():
            path = tmp_path.joinpath("proc", "sys", *key.split("/"))
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"{number}\n")

    return write
