"""``meshturn drain``: take a running server out of service without cutting calls."""

import logging
import os
import signal
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import click

from cli.exit_codes import ExitCode
from cli.rooms import Target, ask, server_options
from turnserver.text import one_line

__all__ = ["drain", "is_server"]

_PROC: Final = Path("/proc")
_ANSWERED: Final = (signal.SIGUSR1, signal.SIGUSR2, signal.SIGHUP)
"""The signals by whose handlers a server is known."""

_MAX_PID_FILE: Final = 64


def _pid_in(context: click.Context, parameter: click.Parameter, value: Path | None) -> int | None:
    """The process id in a file."""
    if value is None:
        return None
    shown = one_line(str(value))
    try:
        with value.open("rb") as stream:
            text = stream.read(_MAX_PID_FILE).strip()
    except OSError as error:
        raise click.BadParameter(f"{shown} cannot be read: {error.strerror or type(error).__name__}.") from None
    if not text.isdigit() or not 0 < int(text) < 2**31:
        raise click.BadParameter(f"There is no process id in {shown}.")
    return int(text)


@click.command()
@click.option("--pid", type=click.IntRange(1, 2**31 - 1), metavar="PID", help="Send SIGUSR1 to this process instead.")
@click.option(
    "--pid-file",
    "pid_in_file",
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False),
    callback=_pid_in,
    help="The same, to the process whose id is in FILE.",
)
@server_options
def drain(target: Target, pid: int | None, pid_in_file: int | None) -> None:
    """Take nothing new, and stop the server when the last call has ended.

    New allocations are sent to alternate_servers, or refused (508); new rooms are refused; /readyz answers 503.
    Existing calls go on, and their participants are told. The server stops when nothing is left, after drain_timeout at
    the latest, or at once on SIGTERM.

    It is asked over HTTP with an admin key, as for `meshturn rooms`; with --pid or --pid-file by a signal. Over HTTP,
    asking again changes nothing, and a second signal ends the server now.

    Exit code 0: the server drains; 1: it cannot be reached, or refuses the key; 2: the command line is wrong.
    """
    if pid is not None and pid_in_file is not None:
        raise click.UsageError("--pid and --pid-file exclude one another.")
    number = pid if pid is not None else pid_in_file
    if number is not None:
        _signal(number, target.as_json)
        return
    left = ask(target, lambda server: server.post("drain"))
    _show(left if isinstance(left, dict) else {}, target.as_json)


def is_server(pid: int, proc: Path = _PROC) -> bool:
    """Whether a process answers the signals of a server; True where the system does not tell.

    A stale PID file may name another program, which the signal would kill.
    """
    if not (proc / "self").exists():
        return True
    try:
        status = (proc / str(pid) / "status").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    for line in status.splitlines():
        if line.startswith("SigCgt:"):
            caught = int(line.split()[1], 16)
            return all(caught >> (number - 1) & 1 for number in _ANSWERED)
    return False


def _signal(pid: int, as_json: bool) -> None:
    reason = (
        "" if is_server(pid) else f"Process {pid} is no meshturn server: it does not run, or does not know SIGUSR1."
    )
    if not reason:
        try:
            os.kill(pid, signal.SIGUSR1)
        except OSError as error:
            reason = f"Process {pid} cannot be signalled: {error.strerror}."
    if reason:
        from cli.console import emit_json, error_console, say  # noqa: PLC0415  keeps --help quick

        if as_json:
            emit_json({"ok": False, "error": {"code": "no_server", "msg": reason}})
        else:
            say(error_console(logging.ERROR), f"Error: {reason}", "bold red")
        raise click.exceptions.Exit(ExitCode.FAILED)
    _done({"ok": True, "pid": pid}, f"Process {pid} drains, and stops when the last call has ended.", as_json)


def _show(left: dict[str, Any], as_json: bool) -> None:
    allocations, rooms, until = (int(left.get(name) or 0) for name in ("allocations", "rooms", "until"))
    end = datetime.fromtimestamp(until, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    relays = f"{allocations} allocation{'' if allocations == 1 else 's'}"
    calls = f"{rooms} room{'' if rooms == 1 else 's'}"
    sentence = f"The server drains. Left: {relays}, {calls}. It stops when they have ended, at {end} at the latest."
    _done({"ok": True, **left}, sentence, as_json)


def _done(answer: dict[str, Any], sentence: str, as_json: bool) -> None:
    from cli.console import emit_json, out_console, say  # noqa: PLC0415

    if as_json:
        emit_json(answer)
    else:
        say(out_console(), sentence)
