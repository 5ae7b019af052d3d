"""A conformance report as text, and what the kit says before it begins."""

from collections.abc import Sequence

from rich.console import Console

from cli.conform.bench import QUOTA_MOST, KitOptions
from cli.conform.findings import ConformReport, Grade, Graded
from cli.conform.pipes import Subject
from cli.conform.registry import Check
from cli.conform.table import Demand
from cli.console import facts, say, title
from turnserver.text import printable

__all__ = ["announce", "render", "summary"]

_STYLES = {Demand.MUST: "bold red", Demand.SHOULD: "yellow", Demand.CHOICE: "dim"}


def announce(
    console: Console, targets: Sequence[Subject], checks: Sequence[Check], options: KitOptions, skipped: int
) -> None:
    """What is going to be sent, to whom, and what is left out."""
    say(console, f"Conformance of {', '.join(map(str, targets))}", "bold")
    peers = ", ".join(each.host for each in options.peers) or "this machine's address towards the relay"
    more = f", {QUOTA_MOST} for quota" if options.intrusive and any(each.row.name == "quota" for each in checks) else ""
    who = (
        "no user, so no relays"
        if options.login is None
        else f"at most {options.most} at once{more}, deleted after each check"
    )
    left_out = f"{skipped} that may disturb others (--intrusive runs them)" if skipped else "nothing"
    rows = [("checks", f"{len(checks)} for each server, one after the other"), ("allocations", who)]
    facts(console, [*rows, ("peers", f"sockets of its own at {peers}"), ("left out", left_out)])


def render(console: Console, report: ConformReport, *, details: bool) -> None:
    """Write what is wrong, what could not be tested and why, and the sums; ``details`` adds the frames."""
    for target, why in report.troubles:
        say(console, f"{target} could not be tested: {why}", "bold red")
    for same in _alike(report.failures):
        _failure(console, same, details=details)
    untested = _reasons(report)
    if untested:
        title(console, "Not tested")
        facts(console, [(f"{len(names)}", f"{why} ({_some(names)})") for why, names in untested])
    console.print()
    say(console, summary(report), "bold green" if _fine(report) else "bold red")


def summary(report: ConformReport) -> str:
    """One line with the sums."""
    failed = [f"{report.count(Grade.FAILED, level)} {level}" for level in Demand]
    broken = report.count(Grade.BROKEN)
    also = f", checks of the kit that broke: {broken}" if broken else ""
    unreachable = f", servers that could not be tested: {len(report.troubles)}" if report.troubles else ""
    elsewhere = sum(_elsewhere(each) for each in report.findings)
    about = f", {elsewhere} about another transport" if elsewhere else ""
    return (
        f"{report.count(Grade.PASSED)} passed, {report.count(Grade.FAILED)} failed ({', '.join(failed)}), "
        f"{report.count(Grade.UNTESTED) - elsewhere} not tested{about}{also}{unreachable}."
    )


def _alike(failures: Sequence[Graded]) -> list[list[Graded]]:
    """The findings of one check with one result together, whichever the server's address and transport."""
    found: dict[tuple[str, str], list[Graded]] = {}
    for each in failures:
        found.setdefault((each.name, each.sentence), []).append(each)
    return list(found.values())


def _failure(console: Console, same: Sequence[Graded], *, details: bool) -> None:
    each = same[0]
    mark = "BROKEN" if each.grade is Grade.BROKEN else str(each.check.level)
    title(console, f"{mark}  {each.name}  RFC {each.check.rfc}  {', '.join(one.target for one in same)}")
    console.print(f"  right: {printable(each.check.right)}", style=_STYLES[each.check.level])
    console.print(f"  found: {printable(each.sentence)}")
    if not details:
        return
    for exchange in each.exchanges:
        console.print(f"  {exchange.way}  {exchange.frame.hex()}", style="dim")
        for line in exchange.text.splitlines():
            console.print(f"      {printable(line)}")


def _reasons(report: ConformReport) -> list[tuple[str, list[str]]]:
    """Why something was not tested, each reason once, with the checks; that it is about another transport is none."""
    found: dict[str, list[str]] = {}
    for each in report.findings:
        if each.grade is Grade.UNTESTED and not _elsewhere(each):
            names = found.setdefault(each.sentence, [])
            if each.check.name not in names:
                names.append(each.check.name)
    return list(found.items())


def _elsewhere(each: Graded) -> bool:
    """Whether a check was not run because it is about another transport than the target's."""
    return each.grade is Grade.UNTESTED and each.sentence.startswith("It is about ")


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")


def _fine(report: ConformReport) -> bool:
    return not report.troubles and not any(each.check.level is not Demand.CHOICE for each in report.failures)
