"""The text: both formats can be read by the parsers of the client library, and say the same."""

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as read_openmetrics
from prometheus_client.parser import text_string_to_metric_families as read_text

from turnserver import __version__
from turnserver.server import Server
from turnserver.telemetry.catalog import METRICS
from turnserver.telemetry.exposition import exposed

OPENMETRICS = "application/openmetrics-text;version=1.0.0;q=0.8,text/plain;version=0.0.4;q=0.3"


@pytest.mark.parametrize("accept", ["", "*/*", OPENMETRICS, "nonsense;;;q=x"])
def test_both_formats_have_every_metric(accept: str) -> None:
    text, content_type = exposed(Server().snapshot(details=False), accept)
    openmetrics = content_type.startswith("application/openmetrics-text")
    assert openmetrics == (accept == OPENMETRICS)
    families = list((read_openmetrics if openmetrics else read_text)(text.decode()))
    names = {family.name.removesuffix("_info") for family in families}
    assert {metric.name for metric in METRICS} <= names
    assert "process_cpu_seconds" in names
    samples = {sample.name: sample for family in families for sample in family.samples}
    assert samples["meshturn_build_info"].labels["version"] == __version__
    assert samples["meshturn_event_loop_lag_seconds_bucket"].labels == {"le": "+Inf"}
