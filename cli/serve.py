"""``meshturn serve``: the server, with a configuration file."""

import os
from pathlib import Path

import click

from cli.options import config_option, json_option

__all__ = ["serve"]


@click.command()
@config_option
@json_option
def serve(config_path: Path | None, as_json: bool) -> None:
    """Serve with a configuration file until SIGTERM or SIGINT; SIGHUP reads the file again.

    Every option can also be set by an environment variable (MESHTURN_...); without a file, only these are used.

    When every listener is open it writes the addresses and a line saying `ready` to standard output; with --json, one
    line of JSON. The log goes to standard error.

    Exit code 0: stopped by a signal; 2: the configuration is wrong; 3: the server cannot start.
    """
    from cli.loading import load_config, show_warnings  # noqa: PLC0415  keeps --help quick
    from cli.running import announce, announce_json, run_server  # noqa: PLC0415

    loaded = load_config(config_path, os.environ)
    show_warnings(loaded)
    run_server(
        loaded.config,
        announce_json if as_json else announce,
        reload=lambda: load_config(config_path, os.environ).config,
    )
