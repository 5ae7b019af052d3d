"""``meshturn rooms``: tokens for rooms, and the rooms of a running server."""

import dataclasses
import functools
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, TypeVar, cast

import click

from cli.exit_codes import ExitCode
from cli.options import config_option, json_option, parse_duration, state_dir_option
from cli.roomserver import ApiFailure, RoomServer, parse_url, read_key
from turnserver.text import one_line

__all__ = ["Target", "ask", "close", "kick", "list_rooms", "record", "rooms", "server_options", "show", "token"]

_Command = TypeVar("_Command", bound=Callable[..., Any])
_Answer = TypeVar("_Answer")

_CAPS = ("publish", "screen", "message")


class Target(NamedTuple):
    """The server that a command uses, the key for it, and the format of the output."""

    url: str | None
    key_file: Path | None
    ca_file: Path | None
    config_path: Path | None
    state_dir: Path | None
    as_json: bool


def _url(context: click.Context, parameter: click.Parameter, value: str | None) -> str | None:
    try:
        return None if value is None else parse_url(value)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


def _url_option(command: _Command) -> _Command:
    return click.option(
        "--url",
        metavar="URL",
        callback=_url,
        help="URL of the server's pages: https://turn.example.org.  [default: from -c, or of the last `meshturn up`]",
    )(command)


def server_options(command: _Command) -> _Command:
    """The options that name the server and the key."""
    key_file = click.option(
        "--key-file",
        metavar="FILE",
        type=click.Path(path_type=Path, dir_okay=False),
        help="A file with an admin key of the server.  [default: from -c, or what `meshturn up` keeps]",
    )
    ca_file = click.option(
        "--ca-file",
        metavar="FILE",
        type=click.Path(path_type=Path, dir_okay=False),
        help="Trust the roots in FILE (PEM) instead of the system's, where --url has https://.",
    )

    @functools.wraps(command)
    def with_target(**given: Any) -> Any:
        target = Target(**{name: given.pop(name) for name in Target._fields})
        return command(target=target, **given)

    return cast("_Command", _url_option(key_file(ca_file(config_option(state_dir_option(json_option(with_target)))))))


@click.group()
def rooms() -> None:
    """Sign tokens for rooms; list and close the rooms of a running server, and remove participants."""


@rooms.command()
@click.argument("room")
@click.option(
    "--role", type=click.Choice(["host", "member"]), default="member", show_default=True, help="Hosts can moderate."
)
@click.option(
    "--ttl",
    type=parse_duration,
    metavar="DURATION",
    default="1h",
    show_default=True,
    help="The time in which it can be used to enter: 90s, 15m, 1h30m, 1d.",
)
@click.option("--name", metavar="NAME", help="The participant's name; it cannot be changed in the lobby.")
@click.option("--once", is_flag=True, help="Valid for one entry: after that, the link cannot be used again.")
@click.option("--uses", type=click.IntRange(1, 100), help="Valid for so many entries.  [default: any number]")
@click.option("--max", "maximum", type=click.IntRange(2, 100), help="Maximum number of participants in the room.")
@click.option(
    "--cap",
    "caps",
    type=click.Choice(_CAPS),
    multiple=True,
    help="Allow only this; can be repeated.  [default: everything]",
)
@_url_option
@config_option
@state_dir_option
@json_option
def token(  # noqa: PLR0917  click passes them by name
    room: str,
    role: str,
    ttl: int,
    name: str | None,
    once: bool,
    uses: int | None,
    maximum: int | None,
    caps: tuple[str, ...],
    url: str | None,
    config_path: Path | None,
    state_dir: Path | None,
    as_json: bool,
) -> None:
    """Sign a token for ROOM and print it with the link that it opens.

    It is signed with signaling.key of the configuration, or with a key from its first shared secret; without -c, with
    the secret that `meshturn up` keeps. The server is not contacted. Anybody with the link can enter: the part after
    the # is a secret, which browsers do not send to servers as part of a URL. ROOM may be '*', for every room.

    Exit code 0: signed; 2: there is no key, or the command line is wrong.
    """
    import secrets  # noqa: PLC0415  keeps --help quick
    import time  # noqa: PLC0415

    from cli.roomplace import place_of  # noqa: PLC0415
    from turnserver.signaling.edge.tokens import TokenError  # noqa: PLC0415

    place = place_of(config_path, state_dir)
    keys = place.token_keys()
    now = time.time()
    try:
        made = keys.mint(
            room,
            role,
            ttl,
            now,
            token_id=secrets.token_urlsafe(12),
            name=name,
            caps=caps or None,
            maximum=maximum,
            once=once,
            uses=uses,
            shared=not once and uses != 1 and name is None,  # a link for whoever gets it; a name is somebody's
        )
    except TokenError as error:
        raise click.UsageError(one_line(str(error))) from None
    base = place.link_base() if url is None else url
    link = f"{base}/call/{room}#token={made}" if base and room != "*" else ""
    answer = {"token": made, "room": room, "role": role, "expires_at": int(now) + ttl, "link": link or None}
    if as_json:
        from cli.console import emit_json  # noqa: PLC0415

        emit_json(answer)
        return
    from cli.roomview import show_token  # noqa: PLC0415

    show_token(made, link, int(now) + ttl)


@rooms.command("list")
@server_options
def list_rooms(target: Target) -> None:
    """List the rooms of a running server.

    Exit code 0: listed, even if there are none; 1: the server cannot be reached, or refuses the key; 2: the command
    line is wrong.
    """
    found = ask(target, lambda server: server.get("rooms"))
    from cli.roomview import show_rooms  # noqa: PLC0415

    _put(found, target.as_json, show_rooms)


@rooms.command()
@click.argument("room")
@server_options
def show(room: str, target: Target) -> None:
    """Show who is in ROOM, and the path of each pair: direct or relayed, the transport, and the traffic.

    Of a room that goes through the SFU, show what each participant sends, layer by layer, and what it is sent.

    Exit code 0: shown; 1: there is no such room, the server cannot be reached, or it refuses the key; 2: the command
    line is wrong.
    """
    found = ask(target, lambda server: server.get("rooms", room))
    from cli.roomview import show_room  # noqa: PLC0415

    _put(found, target.as_json, show_room)


@rooms.command()
@click.argument("room")
@server_options
def close(room: str, target: Target) -> None:
    """Close ROOM: all participants are removed, and their relay allocations end.

    Exit code as for show.
    """
    ask(target, lambda server: server.delete("rooms", room))
    _done(f"The room {room} is closed.", target.as_json)


@rooms.command()
@click.argument("room")
@click.option("--stop", is_flag=True, help="End the recording.")
@server_options
def record(room: str, stop: bool, target: Target) -> None:
    """Record ROOM at the server: a file for each participant, in media.recordings. All participants are told.

    A call that goes directly between its participants goes through the server for it. `meshturn recordings` lists what
    there is, and makes one film of it.

    Exit code 0: the server has been asked to; 1: it cannot record, there is no such room, it cannot be reached, or it
    refuses the key; 2: the command line is wrong.
    """
    if stop:
        ask(target, lambda server: server.delete("rooms", room, "recording"))
        _done(f"The room {room} is not recorded any more.", target.as_json)
    else:
        ask(target, lambda server: server.post("rooms", room, "recording"))
        seen = f"`meshturn rooms show {room}` says since when it does."
        _done(f"The server has been asked to record the room {room}. {seen}", target.as_json)


@rooms.command()
@click.argument("room")
@click.argument("peer")
@click.option("--reason", default="", metavar="TEXT", help="The reason shown to the participant.")
@server_options
def kick(room: str, peer: str, reason: str, target: Target) -> None:
    """Remove PEER from ROOM. PEER is an id as `meshturn rooms show` prints it, or a name that only one peer has.

    Exit code as for show.
    """

    def remove(server: RoomServer) -> None:
        server.delete("rooms", room, "peers", _id_of(server, room, peer), query={"reason": reason} if reason else None)

    ask(target, remove)
    _done(f"{peer} is out of {room}.", target.as_json)


def _id_of(server: RoomServer, room: str, peer: str) -> str:
    """The id of a participant that is given by id or by name."""
    found = server.get("rooms", room)
    peers = found.get("peers", []) if isinstance(found, dict) else []
    ids = [each.get("id") for each in peers if isinstance(each, dict)]
    if peer in ids:
        return peer
    named = [each.get("id") for each in peers if isinstance(each, dict) and each.get("name") == peer]
    if len(named) == 1:
        return str(named[0])
    if named:
        raise ApiFailure(f"{len(named)} participants have the name {one_line(peer, 80)}.", "Give the id.", "ambiguous")
    raise ApiFailure(f"There is no participant {one_line(peer, 80)} in {one_line(room, 80)}.", code="not_found")


def ask(target: Target, question: Callable[[RoomServer], _Answer]) -> _Answer:
    """Send a request to the server of ``target``; a failure is printed, and ends the command."""
    try:
        return question(_server(target))
    except ApiFailure as failure:
        if target.as_json:
            from cli.console import emit_json  # noqa: PLC0415

            emit_json({"ok": False, "error": {"code": failure.code, "msg": str(failure)}})
        else:
            from cli.console import error_console, hint, say  # noqa: PLC0415

            say(error_console(logging.ERROR), f"Error: {failure}", "bold red")
            if failure.hint:
                hint(error_console(), failure.hint)
        raise click.exceptions.Exit(ExitCode.FAILED) from failure


def _server(target: Target) -> RoomServer:
    from cli.roomplace import place_of, server_at  # noqa: PLC0415  keeps --help quick

    try:
        key = None if target.key_file is None else read_key(target.key_file)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    if target.url is not None and key is not None:
        return server_at(target.url, key, target.ca_file)
    place = place_of(target.config_path, target.state_dir)
    if target.url is not None:
        if target.config_path is None and target.url != place.link_base():
            # The key of one server must not be sent to another.
            raise click.UsageError("--url needs a key for that server: give --key-file FILE, or -c FILE.")
        if target.config_path is not None:
            return server_at(target.url, place.key(), target.ca_file)
    server = place.server()
    return server if key is None else dataclasses.replace(server, key=key)


def _put(found: Any, as_json: bool, show_it: Callable[[Any], None]) -> None:
    if as_json:
        from cli.console import emit_json  # noqa: PLC0415

        emit_json(found)
    else:
        show_it(found)


def _done(sentence: str, as_json: bool) -> None:
    from cli.console import emit_json, out_console, say  # noqa: PLC0415

    if as_json:
        emit_json({"ok": True})
    else:
        say(out_console(), sentence)
