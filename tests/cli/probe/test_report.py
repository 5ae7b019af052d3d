"""A probe's findings as values."""

import json

from cli.probe.report import EchoResult, Report, Step


def test_ok_means_that_every_step_worked() -> None:
    """RFC 8656 §3: a probe that did nothing, or in which one step failed, is not fine."""
    report = Report("turn:example.org")
    assert not report.ok
    report.steps.append(Step("binding", True, "Yes."))
    assert report.ok
    report.steps.append(Step("allocate", False, "No."))
    assert not report.ok


def test_the_median_is_of_what_came_back() -> None:
    """RFC 8656 §12: lost datagrams have no round trip."""
    assert EchoResult(5, (0.3, 0.1, 0.2)).median == 0.2
    assert EchoResult(5, ()).median is None


def test_json_is_complete_and_in_milliseconds() -> None:
    """RFC 8489 §3: what programs get, with null for what was not found."""
    report = Report("turn:example.org", server="192.0.2.1:3478")
    report.steps.append(Step("binding", True, "Yes.", seconds=0.0123456, transmissions=2))
    report.steps.append(Step("send", False, "No.", "Try.", echo=EchoResult(5, ())))
    report.steps.append(Step("channel-bind", False, "No.", code=403))
    found = json.loads(json.dumps(report.as_json()))
    assert found == {
        "ok": False,
        "uri": "turn:example.org",
        "server": "192.0.2.1:3478",
        "software": None,
        "realm": None,
        "integrity": None,
        "reflexive": None,
        "relayed": [],
        "lifetime": None,
        "tls": None,
        "round_trip_ms": {"binding": 12.346},
        "steps": [
            {"name": "binding", "ok": True, "sentence": "Yes.", "milliseconds": 12.346, "transmissions": 2},
            {"name": "send", "ok": False, "sentence": "No.", "hint": "Try.", "sent": 5, "returned": 0},
            {"name": "channel-bind", "ok": False, "sentence": "No.", "code": 403},
        ],
    }
