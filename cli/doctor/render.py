"""Prints a diagnosis as text."""

from typing import Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from cli.console import say
from cli.doctor.findings import Examination, HostFinding, Severity
from turnserver.text import printable

__all__ = ["render", "verdict"]

_MARKS: Final = {
    Severity.OK: ("ok", "green"),
    Severity.WARNING: ("warning", "yellow"),
    Severity.WRONG: ("WRONG", "bold red"),
    Severity.NOT_CHECKED: ("not checked", "magenta"),
}


def render(console: Console, diagnosis: Examination) -> None:
    """Write one line for each finding, with the reason and what mends it below, and a verdict."""
    say(console, f"{diagnosis.source}: this host as its server needs it", "bold")
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for subject, findings in diagnosis.findings.items():
        for finding in findings:
            words, style = _MARKS[finding.grade]
            table.add_row(Text(words, style=style), Text(str(subject)), _text(finding))
    console.print(table)
    say(console, verdict(diagnosis), "bold green" if diagnosis.ok else "bold red")


def _text(finding: HostFinding) -> Text:
    text = Text(printable(finding.what))
    if finding.why:
        text.append(f"\n{printable(finding.why)}", style="dim")
    for line in finding.mend:
        text.append(f"\n  {printable(line)}", style="cyan")
    return text


def verdict(diagnosis: Examination) -> str:
    """The whole in a sentence; what was not checked is counted for itself."""
    counts = diagnosis.counts
    if counts[Severity.WRONG]:
        head = f"{counts[Severity.WRONG]} wrong, {_warnings(counts[Severity.WARNING])}"
    elif not diagnosis.ok:
        head = "Nothing could be checked"
    elif counts[Severity.WARNING]:
        head = f"Nothing is wrong; {_warnings(counts[Severity.WARNING])}"
    else:
        head = "Nothing is wrong"
    left = counts[Severity.NOT_CHECKED]
    return f"{head}; {left} not checked." if left and diagnosis.ok | bool(counts[Severity.WRONG]) else f"{head}."


def _warnings(number: int) -> str:
    return f"{number} warning{'' if number == 1 else 's'}"
