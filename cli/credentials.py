"""``meshturn credentials``: time-limited credentials, made with a shared secret."""

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cli.options import config_option, host_option, json_option, parse_duration, state_dir_option

if TYPE_CHECKING:
    from collections.abc import Sequence

    from auth.ephemeral import SharedSecret
    from cli.credential import Issued
    from stun.uri import StunUri

__all__ = ["credentials", "issue"]

_NO_URI = (
    "Warning: There is no URL to give: every listener is behind proxies, or has no port of its own. signaling.urls "
    "names the URLs of clients."
)


@click.group()
def credentials() -> None:
    """Issue time-limited credentials."""


@credentials.command()
@click.option(
    "--user", default="", metavar="NAME", help="The user that the credential is for; quotas apply to this name."
)
@click.option(
    "--ttl",
    type=parse_duration,
    metavar="DURATION",
    default="1h",
    show_default=True,
    help="The time in which a client can make allocations with it: 90s, 15m, 1h30m, 1d.",
)
@host_option
@config_option
@state_dir_option
@json_option
def issue(
    user: str, ttl: int, *, host: str | None, config_path: Path | None, state_dir: Path | None, as_json: bool
) -> None:
    """Make a user name and a password that expire.

    They are made with the first shared secret of the configuration or, without -c, with the one that `meshturn up`
    keeps. No server is contacted: a server accepts what was made with its secret.

    The URLs name the host of --host, or of signaling.urls, or of the certificate, or an address of this machine.

    Exit code 0: issued; 2: there is no shared secret, or the configuration is wrong.
    """
    if config_path is None:
        issued = _from_state(user, ttl, state_dir, host)
    else:
        issued = _from_config(user, ttl, config_path, host)
    if as_json:
        from cli.console import emit_json  # noqa: PLC0415  each output imports only what it needs

        emit_json(issued.as_json())
        return
    from cli.console import facts, out_console, say, title  # noqa: PLC0415

    console = out_console()
    rows = [("username", issued.username), ("password", issued.password), ("valid until", issued.expires)]
    facts(console, [*rows, *(("URL", str(uri)) for uri in issued.uris)])
    title(console, "In a page:")
    say(console, f"  {issued.snippet()}")


def _from_config(user: str, ttl: int, path: Path, host: str | None) -> "Issued":
    from auth.ephemeral import SharedSecret  # noqa: PLC0415  keeps --help quick
    from cli.addresses import public_uris  # noqa: PLC0415
    from cli.loading import load_config, show_warnings  # noqa: PLC0415
    from turnserver.errors import ConfigError, Problem  # noqa: PLC0415

    loaded = load_config(path, os.environ)
    auth = loaded.config.auth
    if not auth.shared_secrets:
        allowed = "at least one shared secret, to make time-limited credentials"
        raise ConfigError(loaded.source, [Problem("auth.shared_secrets", 0, "none", allowed)])
    show_warnings(loaded)
    first = auth.shared_secrets[0]
    secret = SharedSecret(first.secret.get_secret_value().encode(), first.hash)
    uris = public_uris(loaded.config, host or "")
    if not uris:
        from cli.console import error_console, say  # noqa: PLC0415

        say(error_console(), _NO_URI, "yellow")
    return _issue(secret, user, ttl, auth.separator, uris)


def _from_state(user: str, ttl: int, directory: Path | None, host: str | None) -> "Issued":
    from auth.ephemeral import SharedSecret  # noqa: PLC0415
    from cli.addresses import client_uris  # noqa: PLC0415
    from cli.state import StateDirectory, default_state_dir  # noqa: PLC0415
    from turnserver.config import Config  # noqa: PLC0415

    state = StateDirectory(directory or default_state_dir(os.environ))
    if not state.secret_path.exists():
        raise click.UsageError(f"There is no shared secret in {state.shown}: give -c FILE, or run `meshturn up` once.")
    secret = SharedSecret(state.secret().encode())
    uris = state.uris() or client_uris(Config())
    return _issue(secret, user, ttl, ":", [replace(uri, host=host or uri.host) for uri in uris])


def _issue(secret: "SharedSecret", user: str, ttl: int, separator: str, uris: "Sequence[StunUri]") -> "Issued":
    from auth.errors import AuthError  # noqa: PLC0415
    from cli.credential import issue as make  # noqa: PLC0415
    from turnserver.text import one_line  # noqa: PLC0415

    try:
        return make(secret, user, ttl, separator, uris)
    except AuthError as error:
        raise click.BadParameter(one_line(str(error)), param_hint="--user") from error
