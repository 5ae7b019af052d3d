"""``meshturn call``: take part in a call from a terminal, to see whether a deployment works."""

import asyncio
import importlib.util
import math
import os
import ssl
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import click

from cli.exit_codes import ExitCode
from cli.logins import read_link, read_token, trusted_by
from cli.options import json_option, parse_duration, state_dir_option
from cli.roomserver import parse_url, pinned
from turnserver.core.types import ClientTransport
from turnserver.errors import StartupError
from turnserver.text import one_line

if TYPE_CHECKING:
    from cli.caller import CallResult, PeerResult

__all__ = ["call"]

_OWN_TOKEN = 86400
"""Lifetime in seconds of a token that the command signs for itself."""


_HINTS = {
    "auth_required": "`meshturn rooms token` makes a token; give it with --token-file FILE.",
    "bad_token": "`meshturn rooms token` makes a token; give it with --token-file FILE.",
    "token_expired": "`meshturn rooms token` makes another one.",
    "handshake": "Rooms need a shared listener, and signaling.enabled.",
    "unreachable": "Is it running? `meshturn up` starts one; --url names another.",
    "untrusted": "--ca-file FILE trusts the authority; --insecure skips the check of the certificate.",
}
"""Hints for problems, by code."""


class _Where(NamedTuple):
    url: str
    room: str
    tls: ssl.SSLContext | None


@click.command()
@click.argument("room")
@click.option("--url", metavar="URL", help="The URL of the server's pages.  [default: that of the last `meshturn up`]")
@click.option("--token-file", metavar="FILE", help="Read the room token from FILE, or from standard input for -.")
@click.option(
    "--tone", "media", flag_value="tone", default="tone", help="Send a 997 Hz tone and a moving picture.  [default]"
)
@click.option("--echo", "media", flag_value="echo", help="Send back the media that is received.")
@click.option("--listen", "media", flag_value="listen", help="Send nothing.")
@click.option(
    "--name", default="meshturn", show_default=True, metavar="NAME", help="The name that the other participants see."
)
@click.option(
    "--duration",
    type=parse_duration,
    default="30s",
    show_default=True,
    metavar="DURATION",
    help="Stay this long: 90s, 15m.",
)
@click.option("--stay", is_flag=True, help="Stay until Ctrl-C; --duration is ignored.")
@click.option("--relay-only", is_flag=True, help="Use relayed paths only.")
@click.option(
    "--via",
    type=click.Choice([kind.label for kind in ClientTransport]),
    help="The transport to the relay.  [default: udp, if offered]",
)
@click.option("--allow-empty", is_flag=True, help="Exit with 0 even if nobody else joins.")
@click.option(
    "--ca-file",
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Trust the roots in FILE (PEM) instead of the system's.",
)
@click.option("--insecure", is_flag=True, help="Continue even if the server's certificate is not trusted.")
@state_dir_option
@json_option
def call(  # noqa: PLR0917  click passes them by name
    room: str,
    url: str | None,
    token_file: str | None,
    media: str,
    name: str,
    duration: int,
    stay: bool,
    relay_only: bool,
    via: str | None,
    allow_empty: bool,
    ca_file: Path | None,
    insecure: bool,
    state_dir: Path | None,
    as_json: bool,
) -> None:
    """Take part in the call in ROOM, which may be the link to a call page, and report the result.

    Sends a 997 Hz tone and a moving picture, or echoes what it receives. Reports the participants, the path of each
    one's media as seen from here and by the server, and how much was received. If nothing was, it asks the server why.

    Without --url it uses the server of the last `meshturn up` on this machine, whose certificate it knows, and signs a
    token for ROOM with its secret. Otherwise a room token comes from --token-file or from MESHTURN_TOKEN, because all
    users of a machine can read its command lines.

    Needs aiortc: pip install 'meshturn[call]'.

    Exit code 0: media was received (or, with --allow-empty, nobody else joined); 1: it was not; 2: the command line is
    wrong; 3: aiortc is missing.
    """
    where = _where(room, url, ca_file, insecure, state_dir)
    token = read_token(token_file)
    if token is None and url is None and "://" not in room:
        token = _token_of_up(where.room, state_dir)
    if importlib.util.find_spec("aiortc") is None:
        raise StartupError("A call needs aiortc, which is not installed.", "pip install 'meshturn[call]'")
    from cli.caller import CallOptions, take_part  # noqa: PLC0415  needs aiortc, and takes a second
    from cli.console import emit_json, error_console, say  # noqa: PLC0415

    options = CallOptions(
        where.url,
        where.room,
        token,
        "echo" if media == "echo" else "listen" if media == "listen" else "tone",
        name,
        None if stay else float(duration),
        relay_only,
        "udp" if via == "udp" else "tcp" if via == "tcp" else "tls" if via == "tls" else None,
        allow_empty,
        where.tls,
    )
    progress = error_console()

    def tell(sentence: str) -> None:
        if not as_json:
            say(progress, sentence, "dim")

    result = asyncio.run(take_part(options, tell))
    if as_json:
        emit_json(result.as_json())
    else:
        _show(result)
    if not result.ok:
        raise click.exceptions.Exit(ExitCode.FAILED)


def _where(room: str, url: str | None, ca_file: Path | None, insecure: bool, state_dir: Path | None) -> _Where:
    """The server, the room, and how to check the server's certificate. Raises `click.UsageError`."""
    own: ssl.SSLContext | None = None
    if "://" in room:
        if url is not None:
            raise click.UsageError("ROOM is a link, which names the server already: leave --url out.")
        url, room = read_link(room)
    if url is None:
        url, own = _from_state(state_dir)
    try:
        url = parse_url(url)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    tls = trusted_by(ca_file, insecure=insecure)
    if not _is_room(room):
        raise click.UsageError(
            f"{one_line(room, 80)!r} is not a room name: letters, digits, '.', '_' and '-', at most 64."
        )
    return _Where(url, room, tls or own)


def _from_state(state_dir: Path | None) -> tuple[str, ssl.SSLContext | None]:
    """Where the server of the last `meshturn up` is, and its certificate."""
    from cli.state import StateDirectory, default_state_dir  # noqa: PLC0415

    state = StateDirectory(state_dir or default_state_dir(os.environ))
    url = state.url()
    if not url:
        raise click.UsageError(f"Nothing in {state.shown} names a server: give --url URL, or run `meshturn up`.")
    certificate = state.certificate()
    return url, None if certificate is None else pinned([certificate[0]])


def _token_of_up(room: str, state_dir: Path | None) -> str:
    """A token for the server of the last `meshturn up`. Raises `click.UsageError`."""
    import secrets  # noqa: PLC0415  keeps --help quick
    import time  # noqa: PLC0415

    from cli.roomplace import place_of  # noqa: PLC0415

    keys = place_of(None, state_dir).token_keys()
    return keys.mint(room, "member", _OWN_TOKEN, time.time(), token_id=secrets.token_urlsafe(9))


def _is_room(text: str) -> bool:
    known = text.isascii() and text.replace(".", "").replace("_", "").replace("-", "").isalnum()
    return known and text[0].isalnum() and len(text) <= 64


def _show(result: "CallResult") -> None:
    """Print the result as text."""
    from cli.console import facts, hint, out_console, say, title  # noqa: PLC0415

    console = out_console()
    for peer in result.peers:
        title(console, f"{one_line(peer.report.name, 60) or 'somebody'} ({peer.report.id})")
        facts(console, _facts(peer))
    if result.peers:
        console.print()
    if result.problem is not None:
        code, text = one_line(result.problem.code, 40), one_line(result.problem.message, 200)
        say(console, f"Failed: {text or 'the server refused.'} ({code})", "bold red")
        if code in _HINTS:
            hint(console, _HINTS[code])
        elif code == "room_full" and result.problem.retry is not None:
            seconds = math.ceil(result.problem.retry)
            hint(console, f"Somebody has lost the connection, and the seat will be free in {seconds} seconds.")
    elif not result.peers:
        style = "bold green" if result.ok else "bold red"
        say(console, f"Nobody else was in the room {result.room}.", style)
    elif result.ok:
        count = sum(peer.flowed for peer in result.peers)
        say(console, f"Media was received from {count} of {len(result.peers)} in {result.room}.", "bold green")
    else:
        say(console, f"No media was received from anybody in {result.room}.", "bold red")


def _facts(peer: "PeerResult") -> list[tuple[str, str]]:
    shown = peer.best or peer.report
    got = peer.report.received
    rows = [("state", "has left" if peer.left else peer.report.state.value)]
    if shown.chosen is not None:
        way = "" if shown.way == "mesh" else "through the server's SFU, "
        rows.append(("path", f"{way}{shown.path} (here {shown.chosen.local}, there {shown.chosen.remote})"))
    if shown.relay:
        rows.append(("relay", f"{shown.relay} over {(shown.proto or '').upper()}"))
    sound = f"{got.audio} frames"
    if got.audio:
        sound += ", the 997 Hz tone" if peer.hears_tone else ", silence" if got.loudness < 0.001 else ", other sound"
    picture = f"{got.video} frames" + (f" of {got.width}×{got.height}" if got.video else "")
    rows += [("sound", sound), ("picture", picture)]
    whose = "" if shown.way == "mesh" else ", of all participants"
    rows.append(("bytes", f"{shown.bytes_sent} sent, {shown.bytes_received} received{whose}"))
    if peer.server is not None:
        view = peer.server.path
        if peer.server.path == "relay":
            whose = {"you": "ours", "peer": "theirs", "both": "one at each end"}.get(peer.server.by or "", "unknown")
            view += f" over {(peer.server.proto or 'unknown').upper()}, {whose}"
            view += f", {peer.server.sent} bytes sent, {peer.server.received} received"
        rows.append(("server's view", view))
    if peer.verdict is not None:
        rows.append(("why", f"{peer.verdict.text} ({peer.verdict.code})"))
    return rows
