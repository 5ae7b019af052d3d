"""A conformance report as one HTML page that needs nothing else: no script, no font, no picture."""

from html import escape
from typing import Final

from cli.conform.findings import ConformReport, Grade, Graded
from cli.conform.render import summary
from turnserver.text import printable

__all__ = ["webpage"]

_STYLE: Final = """\
:root{color-scheme:light dark;font:15px/1.5 system-ui,sans-serif}body{max-width:70rem;margin:2rem auto;padding:0 1rem}
h1{font-size:1.5rem}h2{font-size:1.15rem;margin-top:2rem}table{border-collapse:collapse;width:100%}
td,th{text-align:left;vertical-align:top;padding:.3rem .6rem;border-bottom:1px solid #8884}
pre{overflow-x:auto;background:#8882;padding:.6rem;white-space:pre-wrap;overflow-wrap:anywhere}
.passed{color:#187a2c}.failed,.broken{color:#c3221b;font-weight:600}.untested{color:#777}
@media(prefers-color-scheme:dark){.passed{color:#5fd07a}.failed,.broken{color:#ff7b72}.untested{color:#999}}
summary{cursor:pointer}code{font-family:ui-monospace,monospace;font-size:.9em}
"""

_CLASSES: Final = {
    Grade.PASSED: "passed",
    Grade.FAILED: "failed",
    Grade.UNTESTED: "untested",
    Grade.BROKEN: "broken",
}


def webpage(report: ConformReport) -> str:
    """The page: the sums, what is wrong with its frames, and every check by rule."""
    parts = [
        "<!doctype html>",
        '<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">',
        f"<title>Conformance</title><style>{_STYLE}</style></head><body>",
        "<h1>Conformance of a STUN and TURN server</h1>",
        f"<p>{_html(summary(report))}</p>",
    ]
    if report.software:
        parts.append(f"<p>Software: {_html(report.software)}</p>")
    parts += [f'<p class="failed">{_html(target)}: {_html(why)}</p>' for target, why in report.troubles]
    if report.failures:
        parts.append("<h2>What is not right</h2>")
        parts += [_detail(each, opened=True) for each in report.failures]
    for rule in dict.fromkeys(each.check.rule for each in report.findings):
        findings = [each for each in report.findings if each.check.rule == rule]
        parts.append(f"<h2>{_html(rule)}</h2>")
        parts += [_detail(each, opened=False) for each in findings]
    return "\n".join([*parts, "</body></html>", ""])


def _detail(each: Graded, *, opened: bool) -> str:
    kind = _CLASSES[each.grade]
    head = (
        f'<summary><span class="{kind}">{each.grade}</span> <code>{_html(each.name)}</code> '
        f"{each.check.level}, RFC {_html(each.check.rfc)}, {_html(each.target)}</summary>"
    )
    right = f"<p>Right: {_html(each.check.right)}</p>"
    found = f"<p>{_html(each.sentence)}</p>" if each.sentence else ""
    frames = "\n".join(f"{item.way}  {item.frame.hex()}\n{item.text}" for item in each.exchanges)
    shown = f"<pre>{_html(frames)}</pre>" if frames else ""
    return f"<details{' open' if opened else ''}>{head}{right}{found}{shown}</details>"


def _html(text: str) -> str:
    """Text that came from a server is hostile: no control characters, no markup."""
    return escape("\n".join(printable(line) for line in text.splitlines()))
