"""What every metric has: a name in the form of Prometheus, a sentence, and labels with few values."""

import re
import runpy
from dataclasses import replace
from pathlib import Path

from turnserver.core.types import ClientTransport
from turnserver.descriptors import UNLIMITED
from turnserver.histogram import HistogramView
from turnserver.server import Server
from turnserver.snapshot import CertificateView, Figures, Snapshot, Usage
from turnserver.telemetry.catalog import METRICS, Sample

ROOT = Path(__file__).resolve().parents[3]
PAGE = ROOT / "docs" / "how-to" / "metrics.md"

LABELS = {
    "address",
    "cause",
    "certificate",
    "code",
    "direction",
    "family",
    "listener",
    "mode",
    "outcome",
    "part",
    "path",
    "protocol",
    "python",
    "reason",
    "state",
    "transport",
    "verdict",
    "version",
}
"""Each of them takes its values from the code or from the configuration: never add one that a client fills in."""


def read(name: str, snapshot: Snapshot) -> dict[tuple[str, ...], float | HistogramView]:
    (metric,) = [metric for metric in METRICS if metric.name == name]
    return dict(metric.read(snapshot))


def test_names_and_words() -> None:
    assert len({metric.name for metric in METRICS}) == len(METRICS)
    for metric in METRICS:
        assert re.fullmatch(r"meshturn(_[a-z]+)+", metric.name), metric.name
        assert not metric.name.endswith(("_total", "_info", "_bucket", "_count", "_sum")), metric.name
        assert metric.meaning.endswith("."), metric.name
        assert "\n" not in metric.meaning


def test_no_label_can_be_chosen_by_a_user() -> None:
    assert {label for metric in METRICS for label in metric.labels} == LABELS


def test_series_have_the_labels_of_their_metric() -> None:
    """Also without anything to tell; and every value is a number, of histograms too."""
    snapshot = Server().snapshot(details=False)
    for metric in METRICS:
        samples: list[Sample] = list(metric.read(snapshot))
        assert len({labels for labels, _ in samples}) == len(samples), metric.name
        for labels, value in samples:
            assert len(labels) == len(metric.labels), metric.name
            assert all(isinstance(label, str) for label in labels), metric.name
            assert isinstance(value, HistogramView) == (metric.kind == "histogram"), metric.name


def test_what_may_happen_is_there_before_it_does() -> None:
    """Otherwise the first event of a kind would be no increase, and no alert."""
    snapshot = Server().snapshot(details=False)
    assert read("meshturn_refusals", snapshot)["401", "wrong-password"] == 0
    assert read("meshturn_refusals", snapshot)["403", "credential-removed"] == 0
    outcomes = read("meshturn_allocate_requests", snapshot)
    assert {labels[0] for labels in outcomes} == {transport.label for transport in ClientTransport}
    assert {labels[2] for labels in outcomes} == {"success", "challenged", "refused"}
    assert read("meshturn_verdicts", snapshot)["turn_unreachable",] == 0
    assert read("meshturn_pairs", snapshot) == {("direct",): 0, ("relay",): 0, ("unknown",): 0}


def test_without_a_limit_it_is_infinite() -> None:
    snapshot = Server().snapshot(details=False)
    limits = replace(snapshot.limits, descriptors=Usage(5, UNLIMITED))
    unlimited = replace(snapshot, limits=limits)
    assert read("meshturn_descriptors_limit", unlimited) == {(): float("inf")}
    assert read("meshturn_descriptors_free", unlimited) == {(): float("inf")}
    full = replace(snapshot, limits=replace(limits, descriptors=Usage(12, 10)))
    assert read("meshturn_descriptors_free", full) == {(): 0}, "a limit that was lowered"


def test_a_path_that_is_no_text() -> None:
    """Bytes that are no UTF-8 could not be written; a scrape must not fail over them."""
    view = CertificateView("/etc/\udcff.pem", 0.0, 17.0)
    snapshot = Server().snapshot(details=False)
    found = Snapshot(False, None, 0.0, snapshot.limits, figures=Figures(certificates=(view,)))
    ((labels, value),) = read("meshturn_certificate_expiry_timestamp_seconds", found).items()
    assert (labels, value) == (("/etc/\\udcff.pem",), 17.0)
    labels[0].encode()


def test_the_page_is_up_to_date() -> None:
    made = runpy.run_path(str(ROOT / "docs" / "generate_metrics.py"))["page"]
    text = PAGE.read_text(encoding="utf-8")
    assert made(text) == text, "run docs/generate_metrics.py"
    for metric in METRICS:
        assert f"| `{metric.name}" in text
