"""Runs checks, one after the other, and collects what they find."""

import asyncio
import fnmatch
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from cli.conform.bench import Bench, KitOptions
from cli.conform.catalogue import all_checks
from cli.conform.client import SHA1, KitClient
from cli.conform.findings import ConformReport, Grade, Graded, Untestable, Wrong
from cli.conform.pipes import Subject
from cli.conform.registry import Check
from cli.conform.wire import Draft
from stun.attributes import REQUESTED_TRANSPORT, SOFTWARE
from stun.constants import ErrorCode, Method, TransportProtocol
from turnserver.text import one_line

__all__ = ["Progress", "chosen", "run_checks"]

_LONGEST: Final = 12
"""A check may take as many times the patience for one answer."""

Progress = Callable[[str, int, int], None]
"""Called before each check: its name, how many are done, and how many there are."""


def chosen(patterns: Sequence[str]) -> list[Check]:
    """The checks whose name, group or rule (``rule 14``) fits one of the patterns; all without patterns."""
    return [each for each in all_checks().values() if not patterns or any(_fits(each, text) for text in patterns)]


def _fits(each: Check, pattern: str) -> bool:
    rule = each.row.rule.partition(":")[0]
    names = (each.row.name, each.group, rule, rule.lower(), str(each.row.level))
    return any(fnmatch.fnmatchcase(name, pattern) for name in names)


async def run_checks(
    targets: Sequence[Subject], checks: Sequence[Check], options: KitOptions, progress: Progress
) -> ConformReport:
    """Run every check on every target."""
    report = ConformReport()
    done, total = 0, len(targets) * len(checks)
    for target in targets:
        modes = await _greet(target, options, report)
        if modes is None:
            done += len(checks)
            continue
        for each in checks:
            progress(f"{target}: {each.row.name}", done, total)
            done += 1
            for mode in _modes(each, modes):
                report.findings.append(await _run(each, target, options, mode))
    progress("", total, total)
    return report


def _modes(each: Check, modes: Iterable[str]) -> Iterable[str]:
    return modes if each.modes else ("",)


async def _greet(target: Subject, options: KitOptions, report: ConformReport) -> Sequence[str] | None:
    """See that the server is there; the kinds of integrity that it offers. None, and reported, if it is not."""
    bench = Bench(target, options)
    try:
        tester = await bench.client()
        if await tester.attempt(Draft(Method.BINDING)) is None:
            why = tester.pipe.ended or f"no answer in {options.patience:g} s"
            raise Untestable(f"A Binding request was not answered: {why}.")
        if options.login is None:
            return (SHA1,)
        return await _offered(tester, report)
    except Untestable as error:
        report.troubles.append((str(target), one_line(str(error), 400)))
        return None
    except Exception as error:
        sentence = f"The first requests raised {type(error).__name__}: {error}"
        report.troubles.append((str(target), one_line(sentence, 400)))
        return None
    finally:
        await bench.close()


async def _offered(tester: KitClient, report: ConformReport) -> Sequence[str]:
    """What can be used, and the name of the software, which may be told only to users."""
    try:
        modes = (await tester.challenged()).modes
        draft = await tester.draft(Method.ALLOCATE, (REQUESTED_TRANSPORT, int(TransportProtocol.UDP)), mode=SHA1)
    except Untestable:
        return (SHA1,)
    reply = await tester.attempt(draft)
    if reply is not None:
        if reply.code == ErrorCode.UNAUTHENTICATED:
            raise Untestable("The server refuses the user name or the password (401).")
        tester.took(reply)
        report.software = report.software or one_line(reply.value(SOFTWARE) or "", 120)
    return modes


async def _run(each: Check, target: Subject, options: KitOptions, mode: str) -> Graded:
    """One check, whose connections are closed and whose allocations are deleted whatever happens."""
    finding = Graded(each.row, str(target), mode, Grade.PASSED)
    protocol = target.uri.protocol
    why = each.unfit(protocol=protocol, login=options.login is not None, intrusive=options.intrusive)
    if why:
        finding.grade, finding.sentence = Grade.UNTESTED, why
        return finding
    bench = Bench(target, options, mode)
    clock = asyncio.get_running_loop().time
    started = clock()
    try:
        async with asyncio.timeout(options.patience * _LONGEST):
            await each.run(bench)
    except Wrong as error:
        finding.grade, finding.sentence = Grade.FAILED, one_line(str(error), 400)
    except Untestable as error:
        finding.grade, finding.sentence = Grade.UNTESTED, one_line(str(error), 400)
    except TimeoutError:
        finding.grade, finding.sentence = Grade.BROKEN, "The check did not end in time."
    except Exception as error:
        finding.grade = Grade.BROKEN
        finding.sentence = one_line(f"The check raised {type(error).__name__}: {error}", 400)
    finally:
        finding.seconds = clock() - started
        await bench.close()
    finding.exchanges = tuple(bench.journal.exchanges)
    return finding
