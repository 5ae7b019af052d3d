"""Writes the tables of docs/how-to/metrics.md, or another copy of it that is named, from the code of this checkout."""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # Python puts the script's own folder there, which is docs/.

from turnserver.telemetry.catalog import METRICS, Metric  # noqa: E402  found by way of the line above

__all__ = ["page"]

BEGIN = "<!-- Generated from the code; run `python docs/generate_metrics.py` after changing it. -->"
END = "<!-- The end of what is generated. -->"

_SUFFIXES = {"counter": "_total", "info": "_info"}


def page(text: str) -> str:
    """The page with the present table in place of the one that it has."""
    head, _, rest = text.partition(BEGIN)
    _, _, tail = rest.partition(END)
    return f"{head}{BEGIN}\n\n{_table()}\n{END}{tail}"


def _table() -> str:
    rows = ["| metric | kind | labels | what it is |", "| --- | --- | --- | --- |", *map(_row, METRICS)]
    return "\n".join(rows) + "\n"


def _row(metric: Metric) -> str:
    labels = ", ".join(f"`{label}`" for label in metric.labels) or "–"
    return f"| `{metric.name}{_SUFFIXES.get(metric.kind, '')}` | {metric.kind} | {labels} | {metric.meaning} |"


if __name__ == "__main__":
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "docs" / "how-to" / "metrics.md"
    target.write_text(page(target.read_text(encoding="utf-8")), encoding="utf-8")
