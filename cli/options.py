"""Options and parameter types that several commands share."""

import ipaddress
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from turnserver.durations import read_duration
from turnserver.text import one_line

__all__ = [
    "SecondsRange",
    "config_option",
    "host_option",
    "json_option",
    "parse_duration",
    "parse_host",
    "parse_ip",
    "state_dir_option",
]

_Command = TypeVar("_Command", bound=Callable[..., Any])

_LONGEST = 366 * 86400
"""One year. A credential that is valid for longer should be a static user, which can be removed."""


class SecondsRange(click.FloatRange):
    """A number of seconds within bounds; NaN, which no comparison refuses, is none."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Read a number. Raises `click.BadParameter`."""
        found = super().convert(value, param, ctx)
        if math.isnan(found):
            self.fail(f"{one_line(str(value), 40)!r} is not a number of seconds.", param, ctx)
        return found


def parse_duration(text: str) -> int:
    """Read whole seconds, written ``90``, ``15m``, ``1h30m``, ``1d`` or ``2w``; at least a second, at most a year.

    Raises `click.BadParameter` for anything else.
    """
    try:
        seconds = read_duration(text.strip().lower())
    except ValueError:
        raise click.BadParameter(f"{one_line(text, 40)!r} is not a duration such as 90, 15m, 1h30m or 1d.") from None
    if not 1 <= seconds <= _LONGEST:
        raise click.BadParameter("A duration is at least one second and at most 366 days.")
    return seconds


def parse_ip(text: str) -> str:
    """Read an IP address; names are refused, because their address may change.

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


def parse_host(text: str) -> str:
    """Read a host name or an IP address, IPv6 with or without brackets; names in capitals are the same names.

    Raises `click.BadParameter` for anything else.
    """
    from turnserver.signaling.edge.ice import valid_host  # noqa: PLC0415  keeps --help quick

    inner = text[1:-1] if text.startswith("[") and text.endswith("]") and ":" in text else text
    host = valid_host(inner.rstrip("."))
    if host is None:
        raise click.BadParameter(f"{one_line(text, 60)!r} is not a host name or an IP address.")
    return host


def host_option(command: _Command) -> _Command:
    """``--host NAME``: the host that clients use."""
    return click.option(
        "--host",
        type=parse_host,
        metavar="NAME",
        default=None,
        help="The host for the URLs.  [default: that of signaling.urls or of the certificate]",
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
