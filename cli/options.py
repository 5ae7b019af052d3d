"""Options and parameter types that several commands share."""

import ipaddress
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from cli.text import one_line

__all__ = ["config_option", "json_option", "parse_duration", "parse_ip", "state_dir_option"]

_Command = TypeVar("_Command", bound=Callable[..., Any])

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_PART = re.compile(r"([0-9]{1,9})([smhdw])", re.ASCII)
_LONGEST = 366 * 86400
"""A credential that lives longer than a year is a password; it should be a static user, which can be removed."""


def parse_duration(text: str) -> int:
    """Read whole seconds, written ``90``, ``15m``, ``1h30m``, ``1d`` or ``2w``; at least a second, at most a year.

    Raises `click.BadParameter` for anything else.
    """
    written = text.strip().lower()
    if re.fullmatch(r"[0-9]{1,9}", written, re.ASCII):
        seconds = int(written)
    elif re.fullmatch(rf"(?:{_PART.pattern}){{1,5}}", written, re.ASCII):
        seconds = sum(int(count) * _UNITS[unit] for count, unit in _PART.findall(written))
    else:
        raise click.BadParameter(f"{one_line(text, 40)!r} is not a duration such as 90, 15m, 1h30m or 1d.")
    if not 1 <= seconds <= _LONGEST:
        raise click.BadParameter("A duration is at least one second and at most 366 days.")
    return seconds


def parse_ip(text: str) -> str:
    """Read an IP address; names are refused, for they may mean another address tomorrow.

    Raises `click.BadParameter` for anything else.
    """
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        raise click.BadParameter(f"{one_line(text, 60)!r} is not an IPv4 or IPv6 address.") from None


def config_option(command: _Command) -> _Command:
    """``-c/--config FILE``, or ``MESHTURN_CONFIG``."""
    return click.option(
        "-c",
        "--config",
        "config_path",
        metavar="FILE",
        envvar="MESHTURN_CONFIG",
        show_envvar=True,
        type=click.Path(path_type=Path),
        help="The configuration file (YAML).",
    )(command)


def state_dir_option(command: _Command) -> _Command:
    """``--state-dir DIR``, or ``MESHTURN_STATE_DIR``."""
    return click.option(
        "--state-dir",
        metavar="DIR",
        envvar="MESHTURN_STATE_DIR",
        show_envvar=True,
        type=click.Path(path_type=Path, file_okay=False),
        help="Where `meshturn up` keeps its secret.  [default: $XDG_STATE_HOME/meshturn or ~/.local/state/meshturn]",
    )(command)


def json_option(command: _Command) -> _Command:
    """``--json``: one JSON document on standard output instead of text."""
    return click.option("--json", "as_json", is_flag=True, help="Write JSON for programs instead of text for people.")(
        command
    )
