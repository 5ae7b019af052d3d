"""Writes docs/reasons.md, or another file that is named, from the code of this checkout; runs in any folder."""

import sys
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # Python puts the script's own folder there, which is docs/.

from turnserver.reasons import CLOSED, Reason  # noqa: E402  found by way of the line above
from turnserver.signaling.edge.refusals import ApiCode  # noqa: E402
from turnserver.signaling.protocol.errors import CLOSE_CODES, MEANINGS, SignalCode  # noqa: E402

__all__ = ["page"]

_HEAD = """\
# Why something was refused

<!-- Generated from the code; run `python docs/generate_reasons.py` after changing it. -->

Every refusal has a reason code that never changes, so programs can look for it. The same word is in the log
(`cause=no-descriptors`), in the events for programs that embed a server (`RequestRefused.cause`), and in the reason
phrase of error answers: `508 Insufficient Capacity (no-descriptors)`. The phrase has it only for clients that have
proven who they are. Others get the standard phrase, so that nobody learns which users exist; the log has the cause all
the same.

Lines at level `info` are those that an operator can act on. What belongs to every healthy start or call is at `debug`:
`no-credentials`, `stale-nonce`, `foreign-nonce` and `peer-not-public`. A wrong credential is a line `login failed` for
the first failure of a user from a source in ten minutes. A refused peer has one line for each allocation and address;
then the log counts (`peer refused, and more like it`), and `allocation ended` has the sum. All lines that clients can
cause are limited by kind, reason and network.
"""

_REQUESTS = """\
## STUN and TURN requests

The number is the code of the error answer (RFC 8489 §14.8, RFC 8656 §19, RFC 6062 §6.3).
"""

_CONNECTIONS = """\
## Connections of clients

What happens before a connection speaks STUN, TURN or HTTP. There is no answer that could carry a reason.
"""


_ROOMS = """\
## Rooms

Codes of `error` and `goodbye` frames over the WebSocket, with the close code if the connection ends; the log has them
as `client refused cause=…` or, if the connection goes on, `message refused cause=…`.
[The protocol](signaling.md#errors) says what a client does about each.
"""

_API = """\
## The HTTP API

Codes of error answers, with their HTTP status; the log has them as `API request refused … cause=…`. Tokens are refused
with the codes of rooms, and 401.
"""


def page() -> str:
    """The whole page."""
    requests = [reason for reason in Reason if reason.answer != CLOSED]
    connections = [reason for reason in Reason if reason.answer == CLOSED]
    tables = [
        (_REQUESTS, [(each, each.answer, each.meaning, each.remedy) for each in requests]),
        (_CONNECTIONS, [(each, each.answer, each.meaning, each.remedy) for each in connections]),
        (_ROOMS, [(each, str(CLOSE_CODES.get(each, "–")), *MEANINGS[each]) for each in SignalCode]),
        (_API, [(each, str(each.status), each.meaning, each.remedy) for each in ApiCode]),
    ]
    return "\n".join([_HEAD, *(f"{text}\n{_table(rows)}" for text, rows in tables)])


def _table(reasons: Iterable[tuple[str, str, str, str]]) -> str:
    rows = [f"| `{code}` | {answer} | {meaning} | {remedy} |" for code, answer, meaning, remedy in reasons]
    return "\n".join(["| reason | answer | what it means | what to do |", "| --- | --- | --- | --- |", *rows, ""])


if __name__ == "__main__":
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "docs" / "reasons.md"
    target.write_text(page(), encoding="utf-8")
