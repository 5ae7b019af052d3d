"""``meshturn keys``: API keys with scopes, in a file that a running server follows."""

import functools
import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar, cast

import click

from cli.exit_codes import ExitCode
from cli.options import config_option, json_option, parse_duration, state_dir_option
from turnserver.signaling.edge.key_file import NAME, KeyFile, StoredKey, new_key
from turnserver.signaling.edge.scopes import ADMIN_SCOPES, API_SCOPES, Scope, spelled
from turnserver.text import one_line

if TYPE_CHECKING:
    from turnserver.config import Config

__all__ = ["create", "keys", "list_keys", "revoke"]

_Command = TypeVar("_Command", bound=Callable[..., Any])


class _Place(NamedTuple):
    """The file, and the configuration that names it, if one was given."""

    file: KeyFile
    config: "Config | None" = None


class _Row(NamedTuple):
    """A key as it is listed: of the file, or (``id`` is None) of an option of the configuration."""

    id: str | None
    name: str
    scopes: frozenset[Scope]
    created: int | None
    expires: int | None
    source: str


def _place_options(command: _Command) -> _Command:
    """The options that name the file."""
    keys_file = click.option(
        "--keys-file",
        metavar="FILE",
        type=click.Path(path_type=Path, dir_okay=False),
        help="The file of the keys.  [default: signaling.keys_file of -c, or that of `meshturn up`]",
    )

    @functools.wraps(command)
    def with_place(**given: Any) -> Any:
        where = [given.pop(name) for name in ("keys_file", "config_path", "state_dir")]
        return command(place=_place(*where), **given)

    return cast("_Command", keys_file(config_option(state_dir_option(json_option(with_place)))))


def _place(keys_file: Path | None, config_path: Path | None, state_dir: Path | None) -> _Place:
    if keys_file is not None:
        return _Place(KeyFile(keys_file))
    if config_path is None:
        from cli.state import StateDirectory, default_state_dir  # noqa: PLC0415  keeps --help quick

        state = StateDirectory(state_dir or default_state_dir(os.environ))
        state.prepare()
        return _Place(KeyFile(state.keys_path))
    from cli.loading import load_config  # noqa: PLC0415
    from turnserver.errors import ConfigError, Problem  # noqa: PLC0415

    loaded = load_config(config_path, os.environ)
    path = loaded.config.signaling.keys_file
    if path is None:
        allowed = "the path of a file for API keys, or --keys-file FILE"
        raise ConfigError(loaded.source, [Problem("signaling.keys_file", 0, "none", allowed)])
    return _Place(KeyFile(path), loaded.config)


@click.group()
def keys() -> None:
    """Create, list and revoke API keys with scopes; a running server follows at once.

    \b
    Scopes:
      turn        ask for TURN credentials
      tokens      have room tokens signed
      rooms       list, record and close rooms, and remove participants
      probe       have STUN requests sent back, for `meshturn doctor --from`
      admin:read  see whatever an operator sees, and change nothing
      admin       everything
    """


@keys.command()
@click.argument("name")
@click.option(
    "--scope",
    "scopes",
    type=click.Choice([str(scope) for scope in Scope]),
    multiple=True,
    required=True,
    help="What the key allows; can be repeated.",
)
@click.option(
    "--ttl",
    type=parse_duration,
    metavar="DURATION",
    help="The time for which it is valid: 90m, 30d.  [default: until it is revoked]",
)
@_place_options
def create(name: str, scopes: tuple[str, ...], ttl: int | None, place: _Place, as_json: bool) -> None:
    """Make a key called NAME and write it to standard output, once: only its hash is kept.

    NAME is in the log of whatever the key does. Several keys may have one name, so that a program can be given a new
    one before the old one is revoked.

    Exit code 0: made; 2: the command line or the configuration is wrong; 3: the file cannot be written.
    """
    if not NAME.fullmatch(name):
        raise click.UsageError(
            f"{one_line(name, 80)!r} is not a name of 1 to 64 letters, digits, dots, hyphens and underscores that "
            "starts with a letter or a digit."
        )
    wanted = frozenset(scope for scope in Scope if scope in scopes)
    made: list[tuple[StoredKey, str]] = []

    def added(present: tuple[StoredKey, ...]) -> list[StoredKey]:
        taken = {word for each in present for word in (each.id, each.name)} | {name}
        while True:
            key, secret = new_key(name, wanted, os.urandom, int(time.time()), ttl)
            if key.id not in taken:
                made[:] = [(key, secret)]
                return [*present, key]

    place.file.change(added)
    ((key, secret),) = made
    if as_json:
        from cli.console import emit_json  # noqa: PLC0415

        emit_json({"key": secret, **_as_json(_row(key, place)), "file": str(place.file.path)})
        return
    click.echo(secret)
    from cli.console import error_console, hint, say  # noqa: PLC0415

    until = "" if key.expires is None else f" until {_moment(key.expires)}"
    say(error_console(), f"The key {key.id}, {name}, allows {spelled(key.scopes)}{until}.")
    hint(error_console(), f"It is shown only now. `meshturn keys revoke {key.id}` ends it.")


@keys.command("list")
@_place_options
def list_keys(place: _Place, as_json: bool) -> None:
    """List the keys: of the file, and with -c those of the configuration. No secret is shown.

    Exit code 0: listed, even if there are none; 2: the command line or the configuration is wrong; 3: the file cannot
    be read.
    """
    rows = [_row(key, place) for key in place.file.read()]
    rows += _configured(place.config)
    if as_json:
        from cli.console import emit_json  # noqa: PLC0415

        emit_json({"file": str(place.file.path), "keys": [_as_json(row) for row in rows]})
        return
    from cli.console import out_console, say  # noqa: PLC0415

    if not rows:
        say(out_console(), f"There are no API keys in {one_line(str(place.file.path))}.")
        return
    _show(rows)


@keys.command()
@click.argument("which", metavar="ID-OR-NAME")
@click.option("--all", "every", is_flag=True, help="Revoke all keys of that name.")
@_place_options
def revoke(which: str, every: bool, place: _Place, as_json: bool) -> None:
    """Revoke a key: a running server refuses it from its next request on.

    ID-OR-NAME is the id that `meshturn keys list` shows, or a name that only one key has.

    Exit code 0: revoked; 1: there is no such key; 2: several keys have that name, or the command line or the
    configuration is wrong; 3: the file cannot be written.
    """
    gone: list[StoredKey] = []

    def left(present: tuple[StoredKey, ...]) -> Sequence[StoredKey]:
        gone[:] = [key for key in present if key.id == which] or [key for key in present if key.name == which]
        if len(gone) > 1 and not every:
            listed = ", ".join(key.id for key in gone)
            raise click.UsageError(f"{len(gone)} keys have the name {which}: give an id ({listed}), or --all.")
        if not gone:
            raise _NoSuchKey
        return [key for key in present if key not in gone]

    try:
        place.file.change(left)
    except _NoSuchKey:
        _say_none(which, as_json)
        raise click.exceptions.Exit(ExitCode.FAILED) from None
    if as_json:
        from cli.console import emit_json  # noqa: PLC0415

        emit_json({"ok": True, "revoked": [_as_json(_row(key, place)) for key in gone]})
        return
    from cli.console import out_console, say  # noqa: PLC0415

    for key in gone:
        say(out_console(), f"The key {key.id}, {key.name}, is revoked.")


class _NoSuchKey(Exception):
    """Nothing to revoke."""


def _say_none(which: str, as_json: bool) -> None:
    from cli.console import emit_json, error_console, say  # noqa: PLC0415

    sentence = f"There is no key {one_line(which, 80)} in the file."
    if as_json:
        emit_json({"ok": False, "error": {"code": "not_found", "msg": sentence}})
    else:
        say(error_console(), f"Error: {sentence}", "bold red")


def _row(key: StoredKey, place: _Place) -> _Row:
    return _Row(key.id, key.name, key.scopes, key.created, key.expires, str(place.file.path))


def _configured(config: "Config | None") -> list[_Row]:
    """The keys of the options of a configuration."""
    if config is None:
        return []
    signaling = config.signaling
    options: Mapping[str, tuple[Mapping[str, Any], frozenset[Scope]]] = {
        "signaling.admin_keys": (signaling.admin_keys, ADMIN_SCOPES),
        "signaling.api_keys": (signaling.api_keys, API_SCOPES),
    }
    return [
        _Row(None, name, scopes, None, None, option) for option, (named, scopes) in options.items() for name in named
    ]


def _as_json(row: _Row) -> dict[str, Any]:
    return {
        "id": row.id,
        "name": row.name,
        "scopes": [str(scope) for scope in Scope if scope in row.scopes],
        "created": row.created,
        "expires_at": row.expires,
        "expired": _is_over(row),
        "source": row.source,
    }


def _is_over(row: _Row) -> bool:
    return row.expires is not None and row.expires <= time.time()


def _show(rows: Sequence[_Row]) -> None:
    from rich import box  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    from cli.console import out_console  # noqa: PLC0415

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in ("id", "name", "scopes", "made", "until"):
        table.add_column(heading)
    for row in rows:
        made = row.source if row.created is None else _moment(row.created)
        until = "–" if row.expires is None else _moment(row.expires) + (" (over)" if _is_over(row) else "")
        table.add_row(*map(Text, (row.id or "–", row.name, spelled(row.scopes), one_line(made), until)))
    out_console().print(table)


def _moment(at: int) -> str:
    from datetime import UTC, datetime  # noqa: PLC0415

    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M} UTC"
