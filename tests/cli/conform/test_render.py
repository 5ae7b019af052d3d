"""The report as text."""

import io

from rich.console import Console

from cli.conform.bench import KitOptions
from cli.conform.findings import ConformReport, Exchange, Grade, Graded
from cli.conform.render import announce, render, summary
from cli.conform.runner import chosen
from cli.conform.table import CheckRow, Demand
from cli.conform.wire import Draft
from stun.constants import Method
from tests.support.conformance import LOGIN, server_at

ROW = CheckRow("one", Demand.MUST, "8489 §1", "It is so.", "Rule 7: Seven")


def finding(grade: Grade, sentence: str = "", target: str = "udp 127.0.0.1:3478") -> Graded:
    frames = (Exchange.of("→ server", Draft(Method.BINDING).encode()),)
    return Graded(ROW, target, "", grade, sentence, frames)


def shown(report: ConformReport, *, details: bool = False) -> str:
    stream = io.StringIO()
    render(Console(file=stream, width=200, markup=False, emoji=False), report, details=details)
    return stream.getvalue()


def test_failures_that_are_alike_stand_together() -> None:
    targets = ("udp 127.0.0.1:3478", "tcp 127.0.0.1:3478")
    text = shown(ConformReport([finding(Grade.FAILED, "It is\x1b not.", target) for target in targets]))
    assert text.count("MUST  one  RFC 8489 §1  udp 127.0.0.1:3478, tcp 127.0.0.1:3478") == 1
    assert "right: It is so." in text
    assert "\x1b" not in text
    assert "0 passed, 2 failed (2 MUST, 0 SHOULD, 0 choice), 0 not tested." in text
    assert "00010000" not in text


def test_frames_on_demand() -> None:
    text = shown(ConformReport([finding(Grade.FAILED, "It is not.")]), details=True)
    assert "→ server  00010000" in text
    assert "Binding request, 20 bytes" in text


def test_why_something_was_not_tested() -> None:
    report = ConformReport([finding(Grade.UNTESTED, "No way."), finding(Grade.UNTESTED, "It is about UDP.")])
    text = shown(report)
    assert "No way. (one)" in text
    assert "It is about UDP" not in text
    assert "1 not tested, 1 about another transport." in text


def test_troubles_and_broken_checks_are_in_the_sum() -> None:
    report = ConformReport([finding(Grade.BROKEN, "oops")], [("udp 192.0.2.1:3478", "no answer")])
    assert summary(report).endswith(
        "0 not tested, checks of the kit that broke: 1, servers that could not be tested: 1."
    )
    assert "udp 192.0.2.1:3478 could not be tested: no answer" in shown(report)
    assert "BROKEN  one" in shown(report)


def test_what_is_going_to_be_done_is_said_before() -> None:
    stream = io.StringIO()
    console = Console(file=stream, width=200, markup=False, emoji=False)
    targets = [server_at("udp", "127.0.0.1", 3478, None)]
    announce(console, targets, chosen(["binding"]), KitOptions(LOGIN, most=3), 2)
    text = stream.getvalue()
    assert "Conformance of udp 127.0.0.1:3478" in text
    assert "at most 3 at once" in text
    assert "2 that may disturb others (--intrusive runs them)" in text


def test_more_allocations_are_said_before_too() -> None:
    for intrusive, names, words in (
        (True, ["quota"], "at most 4 at once, 40 for quota, deleted"),
        (True, ["binding"], "at most 4 at once, deleted"),
        (False, ["quota"], "at most 4 at once, deleted"),
    ):
        stream = io.StringIO()
        console = Console(file=stream, width=200, markup=False, emoji=False)
        targets = [server_at("udp", "127.0.0.1", 3478, None)]
        announce(console, targets, chosen(names), KitOptions(LOGIN, intrusive=intrusive), 0)
        assert words in stream.getvalue()
