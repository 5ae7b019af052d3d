"""A conformance report as JUnit's XML, which continuous integration shows."""

from xml.etree import ElementTree as ET

from cli.conform.findings import ConformReport, Grade, Graded
from cli.conform.table import Demand
from turnserver.text import printable

__all__ = ["junit"]


def junit(report: ConformReport) -> bytes:
    """The document. A MUST or SHOULD that fails is a failure; a choice is not, and says what was found."""
    root = ET.Element("testsuites", name="meshturn conform")
    targets = dict.fromkeys(each.target for each in report.findings)
    for target in targets:
        findings = [each for each in report.findings if each.target == target]
        suite = ET.SubElement(root, "testsuite", name=target, tests=str(len(findings)))
        suite.set("failures", str(sum(_fails(each) for each in findings)))
        suite.set("errors", str(sum(each.grade is Grade.BROKEN for each in findings)))
        suite.set("skipped", str(sum(each.grade is Grade.UNTESTED for each in findings)))
        suite.set("time", f"{sum(each.seconds for each in findings):.3f}")
        for each in findings:
            _case(suite, each)
    for target, why in report.troubles:
        suite = ET.SubElement(root, "testsuite", name=target, tests="1", failures="0", errors="1", skipped="0")
        case = ET.SubElement(suite, "testcase", classname=target, name="reached")
        ET.SubElement(case, "error", message=_text(why))
    return bytes(ET.tostring(root, encoding="utf-8", xml_declaration=True))


def _fails(each: Graded) -> bool:
    return each.grade is Grade.FAILED and each.check.level is not Demand.CHOICE


def _case(suite: ET.Element, each: Graded) -> None:
    case = ET.SubElement(suite, "testcase", classname=f"{each.target}.{each.check.rule.partition(':')[0]}")
    case.set("name", each.name)
    case.set("time", f"{each.seconds:.3f}")
    if each.grade is Grade.UNTESTED:
        ET.SubElement(case, "skipped", message=_text(each.sentence))
    elif each.grade is Grade.BROKEN:
        ET.SubElement(case, "error", message=_text(each.sentence))
    elif _fails(each):
        failure = ET.SubElement(case, "failure", type=str(each.check.level), message=_text(each.sentence))
        failure.text = _text(f"{each.check.right} (RFC {each.check.rfc})\n{_frames(each)}")
    elif each.grade is Grade.FAILED:
        ET.SubElement(case, "system-out").text = _text(f"A matter of choice: {each.sentence}")


def _frames(each: Graded) -> str:
    return "\n".join(f"{item.way} {item.frame.hex()}\n{item.text}" for item in each.exchanges)


def _text(text: str) -> str:
    """Without what XML cannot hold."""
    return "\n".join(printable(line) for line in text.splitlines())
