"""Writes docs/conformance.md, or another file that is named, from the table of rules; runs in any folder."""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # Python puts the script's own folder there, which is docs/.

from cli.conform.table import RuleRow, RuleSection, checks, sections  # noqa: E402  found by way of the line above

__all__ = ["page"]

_HEAD = """\
# Conformance

<!-- Generated from the table of rules; change cli/conform/rules.toml and run `python docs/generate_conformance.py`. -->

What the server promises, rule by rule: the section of the RFC, the code, and the tests that prove it. A test
(`tests/test_conformance.py`) checks that every test named here exists and names its rule, and that each rule has tests.

RFC 8656 is TURN, RFC 8489 is STUN, and RFC 7983 is the demultiplexing of protocols on one port. Tests under
`tests/turnserver/core/` run the real core in virtual time, without sockets; those under `tests/turnserver/relay/`,
`tests/turnserver/transports/` and `tests/interop/` use real ones.

What is not there: RFC 7635 (OAuth access tokens), so ACCESS-TOKEN is an unknown attribute, and no challenge has
THIRD-PARTY-AUTHORIZATION; behavior discovery (RFC 5780 §6) over TCP and TLS, where it is optional; short-term
credentials (RFC 8489 §9.1), which TURN does not use.
"""

_CHECKS = """\
## What can be seen from outside

`meshturn conform` asks any server about these ([how to](how-to/conform.md)). A MUST or SHOULD is the RFC's, in these
words or as a step of a procedure for servers. A choice is one that servers may make as they like.
"""


def page() -> str:
    """The whole page."""
    return "\n".join([_HEAD, *(_section(section) for section in sections()), *([_checks()] if checks() else [])])


def _section(section: RuleSection) -> str:
    head = ["| RFC | what | code | tests |", "|---|---|---|---|"]
    rows = [_row(row) for row in section.rows]
    return "\n".join([f"## {section.title}", "", section.text, "", *head, *rows, ""])


def _row(row: RuleRow) -> str:
    seen = f"<br>seen by {', '.join(f'`{check.name}`' for check in row.checks)}" if row.checks else ""
    code, tests = ("<br>".join(f"`{each}`" for each in names) for names in (row.code, row.tests))
    return f"| {row.rfc} | {row.what}{seen} | {code} | {tests} |"


def _checks() -> str:
    head = ["| check | level | RFC | what is right |", "|---|---|---|---|"]
    rows = [f"| `{each.name}` | {each.level} | {each.rfc} | {each.right} |" for each in checks().values()]
    return "\n".join([_CHECKS, *head, *rows, ""])


if __name__ == "__main__":
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "docs" / "conformance.md"
    target.write_text(page(), encoding="utf-8")
