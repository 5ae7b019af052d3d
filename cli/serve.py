"""``meshturn serve``: the server, with a configuration file."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import click

from cli.options import config_option, json_option

__all__ = ["serve"]


@click.command()
@config_option
@click.option(
    "--pid-file",
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write the process id to FILE while the server runs.",
)
@json_option
def serve(config_path: Path | None, pid_file: Path | None, as_json: bool) -> None:
    """Serve with a configuration file until SIGTERM or SIGINT; SIGHUP reads the file again.

    SIGUSR2 reads the certificates again. SIGUSR1 drains the server: it takes nothing new, and ends with the last call
    (see meshturn drain).

    Every option can also be set by an environment variable (MESHTURN_...); without a file, only these are used.

    When every listener is open it writes the addresses and a line saying `ready` to standard output; with --json, one
    line of JSON. The log goes to standard error.

    A service manager (systemd) is told when the server is ready, reloads and stops; listeners use the sockets that it
    passes.

    Exit code 0: stopped by a signal; 2: the configuration is wrong; 3: the server cannot start.
    """
    from cli.loading import load_config, show_warnings  # noqa: PLC0415  keeps --help quick
    from cli.running import announce, announce_json, run_server  # noqa: PLC0415
    from turnserver.notify import Notifier  # noqa: PLC0415
    from turnserver.passed import passed_sockets  # noqa: PLC0415

    notifier = Notifier.from_environment(os.environ, os.getpid())
    passed = passed_sockets(os.environ, os.getpid())
    loaded = load_config(config_path, os.environ)
    show_warnings(loaded)
    with _written(pid_file):
        run_server(
            loaded.config,
            announce_json if as_json else announce,
            reload=lambda: load_config(config_path, os.environ),
            passed=passed,
            notifier=notifier,
        )


def _remove_empty(path: Path) -> None:
    """Remove what a full disk has left of a file."""
    with suppress(OSError):
        if path.is_file() and path.stat().st_size == 0:
            path.unlink()


@contextmanager
def _written(pid_file: Path | None) -> Iterator[None]:
    """A file with the id of this process. Raises `turnserver.errors.StartupError` if it cannot be written."""
    if pid_file is None:
        yield
        return
    from turnserver.errors import StartupError  # noqa: PLC0415

    try:
        pid_file.write_text(f"{os.getpid()}\n", encoding="ascii")
    except OSError as error:
        _remove_empty(pid_file)
        reason = error.strerror or type(error).__name__
        raise StartupError(
            f"The PID file {pid_file} cannot be written: {reason}.", "Give another --pid-file."
        ) from None
    try:
        yield
    finally:
        pid_file.unlink(missing_ok=True)
