"""Metrics as text, in the format that the one who asks prefers: OpenMetrics, or Prometheus's own."""

from collections.abc import Iterator
from typing import Final

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from turnserver.histogram import HistogramView
from turnserver.snapshot import Snapshot
from turnserver.telemetry import catalog

__all__ = ["exposed"]

_process: Final = ProcessCollector(registry=None)
"""What the system says of this process: CPU time, memory and open files, under the names that every program uses."""


def exposed(snapshot: Snapshot, accept: str) -> tuple[bytes, str]:
    """The metrics of a snapshot, and their content type, for the HTTP header ``Accept`` of a request.

    It needs nothing of the event loop, so it may run in a thread.
    """
    registry = CollectorRegistry()
    registry.register(_Sheet(snapshot))
    encode, content_type = choose_encoder(accept)
    return encode(registry), content_type


class _Sheet(Collector):
    """One snapshot as a collector."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot

    def collect(self) -> Iterator[Metric]:
        """Every metric of the catalog, and those of the process."""
        for metric in catalog.METRICS:
            yield _family(metric, self._snapshot)
        yield from _process.collect()


def _family(metric: catalog.Metric, snapshot: Snapshot) -> Metric:
    if metric.kind == "histogram":
        histogram = HistogramMetricFamily(metric.name, metric.meaning, labels=metric.labels)
        for labels, value in metric.read(snapshot):
            assert isinstance(value, HistogramView)
            bounds = [*map(floatToGoString, value.bounds), "+Inf"]
            buckets = list(zip(bounds, map(float, value.counts), strict=True))
            histogram.add_metric(labels, buckets=buckets, sum_value=value.total)
        return histogram
    if metric.kind == "info":
        info = InfoMetricFamily(metric.name, metric.meaning)
        for labels, _ in metric.read(snapshot):
            info.add_metric((), dict(zip(metric.labels, labels, strict=True)))
        return info
    kind = CounterMetricFamily if metric.kind == "counter" else GaugeMetricFamily
    family = kind(metric.name, metric.meaning, labels=metric.labels)
    for labels, value in metric.read(snapshot):
        assert not isinstance(value, HistogramView)
        family.add_metric(labels, value)
    return family
