"""Prints a probe's report as text."""

from rich.console import Console
from rich.table import Table
from rich.text import Text

from cli.console import facts, say
from cli.probe.report import Report, Step
from cli.probe.security import TlsFacts
from turnserver.text import printable

__all__ = ["render"]

_NAMES = 8
"""Names of a certificate that are shown; --json has more."""


def _time(step: Step) -> str:
    return "" if step.seconds is None else f"{step.seconds * 1000:.1f} ms"


def _sentence(step: Step) -> Text:
    text = Text(printable(step.sentence))
    if step.transmissions > 1:
        text.append(f" It took {step.transmissions} transmissions: datagrams were lost.", style="yellow")
    if step.hint:
        text.append(f"\nHint: {printable(step.hint)}", style="cyan")
    return text


def render(console: Console, report: Report) -> None:
    """Write the verdict, the facts and one line for each step."""
    say(console, f"Probe of {report.uri}", "bold")
    rows = [
        ("server", report.server),
        *_tls_rows(report.tls),
        ("software", report.software),
        ("realm", report.realm),
        ("integrity", report.integrity),
        ("reflexive address", report.reflexive),
        ("relayed addresses", ", ".join(report.relayed) or None),
    ]
    facts(console, [(name, value) for name, value in rows if value is not None])
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(justify="right", no_wrap=True)
    table.add_column(overflow="fold")
    for step in report.steps:
        mark = Text(" ok ", style="green") if step.ok else Text("FAIL", style="bold red")
        table.add_row(mark, Text(printable(step.name)), Text(_time(step)), _sentence(step))
    console.print(table)
    verdict = _verdict_on_sfu if report.uri.startswith("http") else _verdict
    say(console, verdict(report), "bold green" if report.ok else "bold red")


def _tls_rows(facts: TlsFacts | None) -> list[tuple[str, str]]:
    if facts is None:
        return []
    rows = [("TLS", facts.summary)]
    certificate = facts.certificate
    if certificate is not None:
        more = f" and {len(certificate.names) - _NAMES} more" if len(certificate.names) > _NAMES else ""
        rows += [
            ("certificate of", certificate.subject),
            ("issued by", "itself" if certificate.self_signed else certificate.issuer),
            ("for", ", ".join(certificate.names[:_NAMES]) + more or "no name"),
            ("valid", certificate.span),
            ("key", certificate.key),
            ("SHA-256", certificate.sha256),
        ]
    return [*rows, ("trusted", "yes" if facts.trusted else "no")]


def _verdict(report: Report) -> str:
    failed = {step.name for step in report.steps if not step.ok}
    if failed and failed <= {"outside", "addresses"}:
        return "It does not work for others: nothing shows that traffic from outside gets to the relay."
    if not report.ok:
        return "It does not work."
    if report.tls is not None and not report.tls.trusted:
        who = "other clients" if report.tls.version.startswith("DTLS") else "browsers"
        return f"It answers, but {who} would not connect: the certificate is not trusted."
    if report.relayed and report.local:
        return "It works on this machine: data went through the relay and came back. Others were not tried."
    if report.relayed:
        return "It works: data went through the relay and came back."
    return "It answers. Give --user and a password to try the relay too." if _is_turn(report) else "It answers."


def _verdict_on_sfu(report: Report) -> str:
    failed = {step.name for step in report.steps if not step.ok}
    if report.ok:
        return "It works: the SFU is reached."
    if failed == {"sfu-direct"} and any(step.name == "sfu-relay" for step in report.steps):
        return "The SFU is reached through the relay only."
    if failed == {"sfu-relay"}:
        return "The SFU is reached directly only: who is behind a firewall has no way to it."
    return "It does not work."


def _is_turn(report: Report) -> bool:
    return report.uri.startswith("turn")
