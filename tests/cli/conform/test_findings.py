"""The report and its parts."""

from cli.conform.findings import ConformReport, Exchange, FrameLog, Grade, Graded
from cli.conform.table import CheckRow, Demand
from cli.conform.wire import Draft
from stun.constants import Method


def graded(grade: Grade, level: Demand = Demand.MUST, name: str = "one") -> Graded:
    row = CheckRow(name, level, "8489 §1", "It is so.", "Rule 7: Seven")
    frame = Draft(Method.BINDING).encode()
    return Graded(row, "udp 127.0.0.1:3478", "", grade, "It is not.", (Exchange.of("→ server", frame),), 0.5)


def test_sums_and_order() -> None:
    found = [graded(Grade.FAILED, Demand.CHOICE), graded(Grade.PASSED), graded(Grade.FAILED), graded(Grade.BROKEN)]
    report = ConformReport([*found, graded(Grade.FAILED, Demand.SHOULD), graded(Grade.UNTESTED)])
    assert report.count(Grade.FAILED) == 3
    assert report.count(Grade.FAILED, Demand.SHOULD) == 1
    assert [each.check.level for each in report.failures] == [
        Demand.MUST,
        Demand.MUST,
        Demand.SHOULD,
        Demand.CHOICE,
    ]


def test_for_programs() -> None:
    report = ConformReport([graded(Grade.FAILED)], [("udp 192.0.2.1:3478", "no answer")], "coturn")
    found = report.as_json()
    assert found["failed"] == {"MUST": 1, "SHOULD": 0, "choice": 0}
    assert found["unreachable"] == [{"target": "udp 192.0.2.1:3478", "why": "no answer"}]
    (finding,) = found["findings"]
    assert finding["rule"] == "Rule 7: Seven"
    assert (finding["level"], finding["verdict"], finding["rfc"]) == ("MUST", "failed", "8489 §1")
    assert finding["right"] == "It is so."
    assert finding["found"] == "It is not."
    (exchange,) = finding["exchanges"]
    assert exchange["hex"].startswith("00010000")
    assert exchange["decoded"] == "Binding request, 20 bytes"


def test_frames_are_bounded() -> None:
    log = FrameLog()
    for _ in range(1000):
        log.note("→ server", bytes(5000))
    assert len(log.exchanges) == 400
    assert len(log.exchanges[0].frame) == 4096
    assert log.exchanges[0].text == "5000 bytes, cut here"
    assert Exchange.of("peer ← relay", b"abc").text == "3 bytes of a peer"


def test_a_name_with_its_integrity() -> None:
    one = graded(Grade.PASSED)
    assert one.name == "one"
    one.mode = "SHA-256"
    assert one.name == "one[SHA-256]"
