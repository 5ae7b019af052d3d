"""Metrics as numbers: what a server exposes, and what Prometheus makes of it."""

import json
import re
import urllib.parse
import urllib.request
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

__all__ = ["Scrape", "expressions", "query", "scrape"]

PATIENCE = 60.0
"""Seconds until an answer over HTTP counts as lost; never waited out in success."""


class Scrape:
    """The samples of one scrape."""

    def __init__(self, text: str) -> None:
        self._samples = {
            (sample.name, frozenset(sample.labels.items())): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }

    def value(self, metric: str, **labels: str) -> float:
        """The value of one series; all of its labels are named. Raises `KeyError`."""
        return self._samples[metric, frozenset(labels.items())]

    def total(self, metric: str, **labels: str) -> float:
        """The sum over all series that have these labels; 0 if there is none."""
        wanted = labels.items()
        return sum(value for (name, found), value in self._samples.items() if name == metric and wanted <= found)

    def changes(self, metric: str, since: "Scrape", *by: str) -> dict[tuple[str, ...], float]:
        """By how much the sums by these labels have grown; only those that have."""
        found: dict[tuple[str, ...], float] = {}
        for sign, samples in ((1, self._samples), (-1, since._samples)):
            for (name, labels), value in samples.items():
                if name == metric:
                    key = tuple(dict(labels)[label] for label in by)
                    found[key] = found.get(key, 0) + sign * value
        return {key: change for key, change in found.items() if change}


def scrape(port: int) -> Scrape:
    """Scrape the server on loopback."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=PATIENCE) as answer:
        return Scrape(answer.read().decode())


def query(port: int, expression: str) -> list[dict[str, Any]]:
    """What Prometheus answers to an instant query; empty if it has no data."""
    url = f"http://127.0.0.1:{port}/api/v1/query?{urllib.parse.urlencode({'query': expression})}"
    with urllib.request.urlopen(url, timeout=PATIENCE) as answer:
        found = json.load(answer)
    assert found["status"] == "success", found
    result: list[dict[str, Any]] = found["data"]["result"]
    return result


def expressions(dashboard: Any, **variables: str) -> dict[str, str]:
    """Every query of a Grafana dashboard, by its panel and letter, with the variables put in."""
    found = {}
    for panel in dashboard["panels"]:
        for target in panel.get("targets", ()):
            text = re.sub(r"\$(\w+)", lambda match: variables[match[1]], target["expr"])
            found[f"{panel['title']} {target['refId']}"] = text
    return found
