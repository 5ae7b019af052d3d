"""Runs the checks: several at a time, since most of them wait; a check that fails costs itself."""

import asyncio
from collections.abc import Collection, Mapping

from cli.doctor.findings import CheckName, Examination, HostFinding, not_checked
from cli.doctor.host import Host
from cli.doctor.registry import CHECKS, HostCheck
from turnserver.text import one_line

__all__ = ["diagnose"]


async def diagnose(
    host: Host, source: str, only: Collection[CheckName] = (), checks: Mapping[CheckName, HostCheck] = CHECKS
) -> Examination:
    """Make the checks that ``only`` names, or all; ``source`` is the name of the configuration."""
    chosen = [(subject, check) for subject, check in checks.items() if not only or subject in only]
    found = await asyncio.gather(*(_made(check, host) for _, check in chosen))
    return Examination(source, {subject: each for (subject, _), each in zip(chosen, found, strict=True)})


async def _made(check: HostCheck, host: Host) -> list[HostFinding]:
    try:
        return await check(host) or [not_checked("There is nothing to check.")]
    except Exception as error:
        # A host is full of surprises, and one of them must not hide what the other checks have found.
        return [not_checked(f"The check failed: {type(error).__name__}: {one_line(str(error), 200)}")]
