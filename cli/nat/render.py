"""Prints what is known of a NAT as text."""

from rich.console import Console
from rich.table import Table
from rich.text import Text

from cli.console import facts, say
from cli.nat.report import NatReport, Way
from cli.nat.wording import conclusion, lines
from stun.client.nat.findings import Dependence, Findings, ServerSeen, Trial
from turnserver.text import one_line, printable

__all__ = ["render"]

_NARROW = 76
"""Columns of the sentences where output is no terminal and lines have no end."""

_SOFTWARE = 60


def render(console: Console, report: NatReport) -> None:
    """Write the verdicts for each transport and family."""
    for sentence in report.unresolved:
        say(console, sentence, "bold red")
    for number, way in enumerate(report.ways):
        if number or report.unresolved:
            console.print()
        _render_way(console, way)


def _render_way(console: Console, way: Way) -> None:
    say(console, f"{way.name}", "bold")
    found = way.found
    if found is None:
        say(console, way.trouble, "bold red")
        return
    facts(console, [("server", _server(server)) for server in found.servers])
    if found.answered:
        console.print(_table(found, narrow=not console.is_terminal))
    say(console, conclusion(found, over_tcp=way.transport == "tcp"), "bold" if found.answered else "bold red")


def _server(server: ServerSeen) -> str:
    software = f" {one_line(server.software, _SOFTWARE)}" if server.software else ""
    if server.mapped is None:
        return f"{server.address}{software}: {server.why}"
    offers = f"RFC 5780, with {server.other}" if server.other is not None else "no RFC 5780"
    why = f" ({server.why})" if server.why else ""
    return f"{server.address}{software}, {offers}{why}"


def _table(found: Findings, *, narrow: bool) -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold", max_width=38)
    table.add_column(overflow="fold", max_width=_NARROW if narrow else None)
    styles = _styles(found)
    for line in lines(found):
        verdict = (
            Text(line.verdict, style=styles.get(line.name, "")) if line.verdict else Text("not known", style="dim")
        )
        table.add_row(Text(f"  {line.name}", style="bold"), verdict, Text(printable(line.sentence)))
    return table


def _styles(found: Findings) -> dict[str, str]:
    """Green for what helps a call, yellow for what may need a relay."""
    styles = {
        name: "green" if behavior.is_only(Dependence.ENDPOINT_INDEPENDENT, Trial.YES) else "yellow"
        for name, behavior in (
            ("mapping", found.mapping),
            ("filtering", found.filtering),
            ("hairpinning", found.hairpinning),
            ("fragments", found.fragments),
        )
    }
    return styles | {"ALG": "yellow" if found.rewriting.is_only(Trial.YES) else "green"}
