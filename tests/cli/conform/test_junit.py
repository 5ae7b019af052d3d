"""The report as JUnit's XML."""

from xml.etree import ElementTree as ET

from cli.conform.findings import ConformReport, Exchange, Grade, Graded
from cli.conform.junit import junit
from cli.conform.table import CheckRow, Demand
from cli.conform.wire import Draft
from stun.constants import Method


def finding(grade: Grade, level: Demand = Demand.MUST) -> Graded:
    row = CheckRow("one", level, "8489 §1", "It <is> so.", "Rule 7: Seven")
    frames = (Exchange.of("→ server", Draft(Method.BINDING).encode()),)
    return Graded(row, "udp 127.0.0.1:3478", "", grade, "It is\x00 not & never.", frames, 0.25)


def test_every_grade_is_what_continuous_integration_shows() -> None:
    found = [finding(grade) for grade in Grade] + [finding(Grade.FAILED, Demand.CHOICE)]
    root = ET.fromstring(junit(ConformReport(found, [("udp 192.0.2.1:3478", "no answer")])))
    suite, lost = root.findall("testsuite")
    counts = {name: suite.get(name) for name in ("tests", "failures", "errors", "skipped")}
    assert counts == {"tests": "5", "failures": "1", "errors": "1", "skipped": "1"}
    cases = suite.findall("testcase")
    assert [each.get("name") for each in cases] == ["one"] * 5
    assert cases[0].get("classname") == "udp 127.0.0.1:3478.Rule 7"
    failure = suite.find("testcase/failure")
    assert failure is not None
    assert failure.get("type") == "MUST"
    assert failure.get("message") == "It is\\x00 not & never."
    assert failure.text is not None
    assert failure.text.startswith("It <is> so. (RFC 8489 §1)\n→ server 00010000")
    assert lost.get("errors") == "1"
    assert [out.text for out in suite.iter("system-out")] == ["A matter of choice: It is\\x00 not & never."]
