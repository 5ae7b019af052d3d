"""The page about the log has every line that the server writes, with its level and its fields."""

import ast
import json
import logging
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple, get_args

from tests.support.certificates import issue
from tests.support.process import wait_for_log
from tests.support.server import PASSWORD, USERNAME, TurnServerProcess, loopback_config, stream_listeners
from turnserver.core.events import EndReason
from turnserver.observers import room_lines
from turnserver.signaling.rooms.facts import Fact
from turnserver.transports import stream, turned_away
from turnserver.transports.crossed import Came

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "how-to" / "read-the-log.md").read_text(encoding="utf-8")
WRITERS = {"info", "warning", "error", "debug", "log", "write", "complain", "Line"}
"""Functions that are given the text of a line; and those of a module that begin with an underscore and one of these."""
OWN_WRITERS = {"_say", "_warn", "_log", "_complain", "_record", "_turn_away"}
NO_LINES = re.compile(r"%s|one before it has|^[a-z-]+$| $|^\W*$")
"""Texts in such calls that are parts of lines or of their fields."""
ONE_WORD = {"listening", "draining", "drained", "stopping", "stopped"}
ALWAYS = {"withheld", "within", "source", "sources", "exception"}


class Row(NamedTuple):
    """What the page says of a line."""

    levels: set[str]
    fields: set[str]


def rows() -> dict[str, Row]:
    """The lines on the page, each by its text; an ellipsis stands for what differs."""
    found: dict[str, Row] = {}
    for line in PAGE.splitlines():
        cells = [cell.strip() for cell in line.split(" | ")]
        if len(cells) == 4 and re.fullmatch("(error|warning|info|debug)(, (error|warning|info|debug))*", cells[1]):
            fields = set(re.findall("`([a-z_0-9]+)`", cells[2]))
            for text in re.findall("`([^`]+)`", cells[0]):
                assert text not in found, f"twice on the page: {text}"
                found[text] = Row(set(cells[1].split(", ")), fields)
    return found


ROWS = rows()


def row_of(text: str) -> Row | None:
    """The row of a line."""
    if text in ROWS:
        return ROWS[text]
    starts = [row for begin, row in ROWS.items() if begin.endswith("…") and text.startswith(begin[:-1])]
    return starts[0] if starts else None


def texts(argument: ast.expr) -> Iterator[str]:
    """The texts that an argument can be: literal ones, either branch of a condition, the beginning of an f-string."""
    if isinstance(argument, ast.Constant) and isinstance(argument.value, str):
        yield argument.value
    elif isinstance(argument, ast.IfExp):
        yield from texts(argument.body)
        yield from texts(argument.orelse)
    elif isinstance(argument, ast.JoinedStr) and isinstance(argument.values[0], ast.Constant):
        yield f"{argument.values[0].value}…"
    elif isinstance(argument, ast.BinOp):
        ends = list(texts(argument.right))
        yield from (begin + end for begin in texts(argument.left) for end in ends)


def written() -> Iterator[tuple[str, str]]:
    """Module and text of each line in the sources of the server."""
    for path in sorted((ROOT / "turnserver").rglob("*.py")):
        if {"client", "turnclient"} & set(path.parts):
            continue
        source = path.read_text(encoding="utf-8")
        if "Line" not in source and "ogg" not in source:
            continue
        tree = ast.parse(source)
        named = {
            node.targets[0].id: node.value
            for node in ast.walk(tree)
            if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
        }
        for node in ast.walk(tree):
            if not isinstance(node, ast.Call):
                continue
            name = getattr(node.func, "attr", getattr(node.func, "id", ""))
            if name in WRITERS or name in OWN_WRITERS:
                for argument in node.args[:3]:
                    value = named.get(argument.id, argument) if isinstance(argument, ast.Name) else argument
                    for text in texts(value):
                        if text in ONE_WORD or not NO_LINES.search(text):
                            yield f"{path.relative_to(ROOT)}:{node.lineno}", text
    for message in (message for _, message in room_lines._MESSAGES.values()):
        yield "room_lines", message
    for text in (*(each.value for each in Came), *turned_away._LINES.values(), *stream._TOO_MANY.values()):
        yield "transports", text


def test_every_line_of_the_sources_is_on_the_page() -> None:
    found = list(written())
    assert len(found) > 110
    assert [each for each in found if row_of(each[1]) is None] == []


def test_the_page_has_no_line_that_is_never_written() -> None:
    """Every text of the page stands in the sources; parts of two literals are looked for by their beginning."""
    sources = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "turnserver").rglob("*.py"))
    absent = [
        text for text in ROWS if text.partition("…")[0].partition("; some")[0].partition(": no ch")[0] not in sources
    ]
    assert absent == []


def test_facts_about_rooms_have_all_their_fields_on_the_page() -> None:
    for kind in get_args(Fact):
        level, message = room_lines._MESSAGES[kind]
        fields = {room_lines._NAMES.get(name, name) for name in kind._fields}
        assert fields <= ROWS[message].fields, (message, fields - ROWS[message].fields)
        assert logging.getLevelName(level).lower() in ROWS[message].levels


def test_every_reason_of_an_end_is_on_the_page() -> None:
    part = PAGE.partition("### Why an allocation ended")[2].partition("\n## ")[0]
    assert set(re.findall("^\\| `([a-z-]+)`", part, re.MULTILINE)) - {"reason"} == {str(each) for each in EndReason}


def entries(log: str) -> list[dict[str, Any]]:
    """The lines of a log in JSON."""
    return [json.loads(line) for line in log.splitlines() if line.startswith("{")]


def test_what_a_server_writes_is_on_the_page(tmp_path: Path) -> None:
    """A real log: clients that succeed and fail, reloads right and wrong, a drain and a stop, at level debug."""
    listeners = stream_listeners()
    signaling = {"admin_keys": {"ops": "k" * 40}}
    pair = issue(tmp_path)
    tls = {"certificates": [{"certificate": str(pair.certificate), "key": str(pair.key)}]}
    config = loopback_config(listeners=listeners, tls=tls, signaling=signaling)
    config["log"] = {"level": "debug", "format": "json"}
    with TurnServerProcess(config, tmp_path) as server:
        for password in (PASSWORD, "wrong"):
            secret = tmp_path / "password"
            secret.write_text(password)
            for uri in (
                f"turn:127.0.0.1:{server.ports['udp']}",
                f"turns:127.0.0.1:{server.ports['udp']}?transport=tcp",
            ):
                command = [sys.executable, "-m", "meshturn", "probe", uri, "--user", USERNAME]
                command += ["--password-file", str(secret), "--timeout", "5"]
                ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
                assert ended.returncode in {0, 1}, ended.stderr
        wait_for_log(server, "login failed")
        wait_for_log(server, "TLS on a listener without TLS")
        written = tmp_path / "meshturn.yml"
        right = written.read_text()
        for text, answer in (
            (right + "\nlog2: {}\n", "configuration not reloaded"),
            (right.replace("meshturn test", "another"), '"configuration reloaded"'),
            (right.replace("realm: ", "realm: another."), "option not in force before a restart"),
        ):
            written.write_text(text)
            os.kill(server.pid, signal.SIGHUP)
            wait_for_log(server, answer)
        os.kill(server.pid, signal.SIGUSR2)
        wait_for_log(server, "certificates reloaded: no change")
        server.stop(signal.SIGUSR1)
        log = server.log
    lines = entries(log)
    seen = {line["message"] for line in lines}
    expected = {"listening", "allocation opened", "allocation ended", "login failed", "configuration reloaded"}
    assert expected | {"certificate loaded", "draining", "drained", "stopping", "stopped"} <= seen
    for line in lines:
        row = row_of(line["message"].removesuffix(", and more like it"))
        assert row is not None, line
        assert line["level"] in row.levels, line
        assert set(line) - {"time", "level", "logger", "message"} - row.fields - ALWAYS == set(), line
        assert f"`{line['logger']}`" in PAGE, line
