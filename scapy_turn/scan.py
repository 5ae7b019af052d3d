# SPDX-License-Identifier: GPL-2.0-or-later
"""``python -m scapy_turn scan URI``: the probes, as a report for people or as JSON."""

import argparse
import json
import math
import os
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

from scapy.error import Scapy_Exception

from scapy_turn.datagrams import Peer
from scapy_turn.fingerprint import behaviour, guess
from scapy_turn.integrity import Credential
from scapy_turn.probes import MOST, PEERS, allowed_peers, amplification, flood, nonces

__all__ = ["PROBES", "Target", "main", "parse_uri"]

PASSWORD_VARIABLE = "SCAPY_TURN_PASSWORD"  # noqa: S105  (its name)
MOST_OF_A_PASSWORD = 4096
"""Bytes: a file such as /dev/zero has no end."""


class Target(NamedTuple):
    """What is scanned, as whom, and how long an answer may take."""

    server: Peer
    transport: str
    user: str | None
    password: str
    seconds: float
    peers: tuple[str, ...]
    flood: int = 0

    @property
    def credential(self) -> Credential | None:
        """A new one for each probe: what one has learned is not the next one's."""
        return None if self.user is None else Credential(self.user, self.password)


def parse_uri(text: str) -> tuple[Peer, str]:
    """Host, port and transport of a URI as in RFC 7064 and RFC 7065: ``turn:192.0.2.1:3478?transport=tcp``.

    Raises `ValueError` if it is none.
    """
    pattern = r"(stuns?|turns?):(\[[0-9A-Fa-f:.]+\]|[^:?/\[\]@\s]+)(?::(\d{1,5}))?(?:\?transport=(udp|tcp))?"
    found = re.fullmatch(pattern, text)
    if found is None or int(found[3] or 1) not in range(1, 65536):
        raise ValueError(f"no URI such as turn:192.0.2.1:3478?transport=udp: {text!a}")
    secure = found[1].endswith("s")
    kinds = {None: "tls", "tcp": "tls", "udp": "dtls"} if secure else {None: "udp", "tcp": "tcp", "udp": "udp"}
    port = int(found[3] or (5349 if secure else 3478))
    return (found[2].strip("[]"), port), kinds[found[4]]


def _amplification(target: Target) -> list[dict[str, Any]]:
    found = amplification(target.server, target.seconds, target.transport)
    return [asdict(one) | {"ratio": round(one.ratio, 2)} for one in found]


def _flood(target: Target) -> list[dict[str, Any]]:
    if not target.flood:
        raise Scapy_Exception("only with --flood COUNT: it sends so many packets of each kind")
    if target.transport != "udp":
        raise Scapy_Exception("over UDP only: elsewhere the source of a request is proven")
    found = flood(target.server, target.flood, seconds=target.seconds)
    return [asdict(one) | {"ratio": round(one.ratio, 2)} for one in found]


def _peers(target: Target) -> list[dict[str, Any]]:
    if target.credential is None:
        raise Scapy_Exception("needs a credential")
    chosen = target.peers or tuple(PEERS)
    found = allowed_peers(target.server, target.credential, chosen, target.transport, max(target.seconds, 2.0))
    return [asdict(one) for one in found]


def _nonces(target: Target) -> list[dict[str, Any]]:
    report = nonces(target.server, target.credential, target.seconds, target.transport)
    return [] if report is None else [asdict(report)]


def _fingerprint(target: Target) -> list[dict[str, Any]]:
    seen = behaviour(target.server, target.transport)
    heard = (seen.binding, seen.binding_with_fingerprint, seen.challenge, seen.unknown_attribute, seen.unknown_method)
    if set(heard) == {"silence"} and seen.classic in {"", "silence"}:
        raise Scapy_Exception("nothing answers")
    guesses = [f"{one.name} ({one.seen} of {one.of} marks)" for one in guess(seen) if one.seen]
    return [asdict(seen) | {"guesses": ", ".join(guesses)}]


PROBES: dict[str, tuple[str, Callable[[Target], list[dict[str, Any]]]]] = {
    "strangers": ("What is answered without a credential, and how many bytes for each byte", _amplification),
    "flood": ("How much many packets of a stranger bring", _flood),
    "peers": ("To which addresses the server relays for this user", _peers),
    "nonces": ("Nonces", _nonces),
    "fingerprint": ("Which server it is", _fingerprint),
}
"""The probes by name: a title, and what makes the rows of its table."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; 0, or 1 if nothing answers, 2 for what cannot be understood (argparse exits itself)."""
    parser = argparse.ArgumentParser(prog="python -m scapy_turn", description="Probe STUN and TURN servers.")
    scan = parser.add_subparsers(required=True, metavar="COMMAND").add_parser(
        "scan", help="probe a server and say what it does", description="Nothing is sent to peers."
    )
    scan.add_argument("uri", metavar="URI", help="turn:HOST[:PORT][?transport=udp|tcp], turns:…, stun:…, stuns:…")
    scan.add_argument("--user", help=f"user name; its password is in ${PASSWORD_VARIABLE} or in a file")
    scan.add_argument("--password-file", type=Path, metavar="FILE", help="file with the password in its first line")
    scan.add_argument("--only", action="append", choices=PROBES, help="this probe; can be repeated")
    scan.add_argument("--peer", action="append", default=[], metavar="ADDRESS", help="ask for these peers only")
    scan.add_argument("--flood", type=_count, default=0, metavar="COUNT", help=f"send so many packets, up to {MOST}")
    scan.add_argument("--timeout", type=_seconds, default=1.0, metavar="SECONDS", help="wait for answers (default 1)")
    scan.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args(arguments)
    try:
        server, transport = parse_uri(options.uri)
        password = _password(options.user, options.password_file)
    except ValueError as error:
        parser.error(str(error))
    target = Target(server, transport, options.user, password, options.timeout, tuple(options.peer), options.flood)
    try:
        report = {name: _run(PROBES[name][1], target) for name in options.only or PROBES}
    except KeyboardInterrupt:
        return 130
    text = json.dumps(report, indent=2) if options.json else "\n".join(map(_table, report, report.values()))
    return (0 if _alive(report) else 1) if _printed(text) else 3


def _printed(text: str) -> bool:
    """Print; False, and said, if standard output does not take it. Who closes a pipe has read enough."""
    try:
        print(text, flush=True)
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is buffered is not tried again
        if isinstance(error, BrokenPipeError):
            return True
        print(f"Standard output cannot be written to: {error.strerror}.", file=sys.stderr)
        return False
    return True


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0.01 <= value <= 60:
        raise argparse.ArgumentTypeError("a number of seconds from 0.01 to 60")
    return value


def _count(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= MOST:
        raise argparse.ArgumentTypeError(f"a number from 1 to {MOST}")
    return int(text)


def _password(user: str | None, file: Path | None) -> str:
    if file is None:
        found = os.environ.get(PASSWORD_VARIABLE, "")
        if user is not None and not found:
            raise ValueError(f"--user needs a password: set {PASSWORD_VARIABLE}, or give --password-file FILE")
        return found
    try:
        with file.open("rb") as stream:
            line = stream.readline(MOST_OF_A_PASSWORD + 1)
    except OSError as error:
        raise ValueError(f"the password file {str(file)!a} cannot be read: {error.strerror}") from error
    if len(line) > MOST_OF_A_PASSWORD:
        raise ValueError(f"the first line of {str(file)!a} is longer than {MOST_OF_A_PASSWORD} bytes")
    try:
        found = line.decode("utf-8").rstrip("\r\n")
    except UnicodeDecodeError:
        raise ValueError(f"the password in {str(file)!a} is not UTF-8 text") from None
    if not found:
        raise ValueError(f"the first line of {str(file)!a} is empty, so there is no password")
    return found


def _run(probe: Callable[[Target], list[dict[str, Any]]], target: Target) -> dict[str, Any]:
    """A probe's rows, or why there are none: one that fails does not take the others along."""
    try:
        return {"rows": probe(target)}
    except (Scapy_Exception, OSError, EOFError, ValueError) as error:
        return {"rows": [], "skipped": str(error)}


def _alive(report: dict[str, dict[str, Any]]) -> bool:
    """Whether anything at all has answered."""
    rows = [row for part in report.values() for row in part["rows"]]
    silent = {"silence", "", False, None}
    return any(row.get("answers", 0) or row.get("length", 0) or "what" in row for row in rows) or any(
        row.get("binding", "silence") not in silent for row in rows
    )


def _table(name: str, part: dict[str, Any]) -> str:
    """A probe for people: a table, or for one row a line for each value."""
    title = PROBES[name][0]
    lines = [title, "-" * len(title)]
    rows = part["rows"]
    if not rows:
        return "\n".join([*lines, part.get("skipped", "nothing"), ""])
    if len(rows) == 1 and len(rows[0]) > 6:
        width = max(map(len, rows[0]))
        return "\n".join([*lines, *(f"{key:<{width}}  {_cell(value)}" for key, value in rows[0].items()), ""])
    columns = list(rows[0])
    cells = [columns, *([_cell(row[column]) for column in columns] for row in rows)]
    widths = [max(len(line[index]) for line in cells) for index in range(len(columns))]
    lines += [
        "  ".join(f"{cell:<{width}}" for cell, width in zip(line, widths, strict=True)).rstrip() for line in cells
    ]
    return "\n".join([*lines, ""])


def _cell(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "-" if value is None else f"{value:.2f}" if isinstance(value, float) else str(value)
