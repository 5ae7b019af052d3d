"""``meshturn probe``: the command line of the probe."""

import asyncio
import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cli.exit_codes import ExitCode
from cli.options import SecondsRange, json_option
from turnserver.errors import StartupError
from turnserver.text import one_line

if TYPE_CHECKING:
    from cli.probe.report import Report

__all__ = ["probe"]

_CA_FILE = "Trust the roots in FILE (PEM) instead of the system's."


@click.command()
@click.argument("uri")
@click.option("--token-file", metavar="FILE", help="Read the room token from FILE, or from standard input for -.")
@click.option("--user", metavar="NAME", help="The user name; without it only Binding is tried.")
@click.option(
    "--password-file",
    metavar="FILE",
    help="Read the password from the first line of FILE, or of standard input for -.",
)
@click.option(
    "--timeout",
    type=SecondsRange(0.1, 60),
    default=5.0,
    show_default=True,
    metavar="SECONDS",
    help="How long to wait for each answer, retransmissions included.",
)
@click.option(
    "--relay-family",
    type=click.Choice(["4", "6"]),
    help="Ask for an IPv4 or IPv6 relayed address.  [default: what the server gives]",
)
@click.option("--ca-file", type=click.Path(path_type=Path), metavar="FILE", help=_CA_FILE)
@click.option(
    "--insecure", is_flag=True, help="Continue even if the server's certificate is not trusted, and report that."
)
@json_option
def probe(  # noqa: PLR0917  click passes them by name
    uri: str,
    token_file: str | None,
    user: str | None,
    password_file: str | None,
    timeout: float,
    relay_family: str | None,
    ca_file: Path | None,
    insecure: bool,
    as_json: bool,
) -> None:
    """Test the server at URI and report what works.

    \b
    turn:HOST[:PORT]                over UDP; the port is 3478 if there is none
    turn:HOST[:PORT]?transport=tcp  over TCP (put it in quotes)
    turns:HOST[:PORT]               over TLS; the port is 5349 if there is none
    turns:HOST[:PORT]?transport=udp over DTLS; the port is 5349 if there is none
    stun:HOST[:PORT]                over UDP, Binding only
    stuns:HOST[:PORT]               over TLS, Binding only
    https://HOST[:PORT]/call/ROOM   the SFU, by way of a room (http: too)

    Without --user it asks for the reflexive address (STUN Binding). With it, it allocates two relayed addresses,
    permits and binds each to the other, echoes data through both, and deletes them. It also sends from a socket of its
    own to the relayed address, as a peer would, since the relays of one server meet inside it and see no firewall or
    NAT. Run it on another machine than the server.

    Over TLS and DTLS, the certificate is shown and checked as browsers do: against the system's roots and the host of
    the URI. Nothing is sent to a server that fails the check, except with --insecure.

    With the link to a call page it joins the room, and sees whether the UDP port of the server's SFU can be reached,
    directly and through the relay: ICE, the DTLS handshake, and a check after it. A mesh is left alone if others are in
    it; give a room where nobody is, which the probe makes large enough. The room token comes from --token-file or from
    MESHTURN_TOKEN. This needs aiortc: pip install 'meshturn[call]'.

    The password comes from --password-file, from MESHTURN_PASSWORD, or is asked for at a terminal. There is no
    --password option: every user of a machine can read its command lines, and shells write them into their history.

    Exit code 0: everything worked; 1: something failed; 2: the command line is wrong; 3: aiortc is missing.
    """
    if uri.startswith(("http:", "https:")) and "/call/" in uri:
        if user is not None or password_file is not None or relay_family is not None:
            raise click.UsageError("--user, --password-file and --relay-family are for TURN servers, not for rooms.")
        _show(_of_room(uri, token_file, timeout, ca_file, insecure=insecure), as_json=as_json)
        return
    if token_file is not None:
        raise click.UsageError("--token-file is for rooms: https://HOST/call/ROOM.")
    from cli.logins import read_login, read_trust  # noqa: PLC0415  keeps --help and usage errors quick
    from cli.probe.opener import Unsupported, check_transport  # noqa: PLC0415  keeps --help and usage errors quick
    from cli.probe.runner import run_probe  # noqa: PLC0415
    from stun.constants import AddressFamily  # noqa: PLC0415
    from stun.uri import InvalidUri, StunUri  # noqa: PLC0415

    try:
        target = StunUri.parse(uri)
        check_transport(target)
    except InvalidUri as error:
        raise click.UsageError(f"{one_line(uri, 100)}: {error}") from error
    except Unsupported as error:
        raise click.UsageError(str(error)) from error
    if user is not None and not target.is_turn:
        raise click.UsageError(f"A {target.scheme}: URI takes no user name; write turn: to try the relay.")
    if user is None and password_file is not None:
        raise click.UsageError("--password-file needs --user.")
    trust = read_trust(target, insecure, ca_file)
    login = None if user is None else read_login(user, password_file)
    family = {None: None, "4": AddressFamily.IPV4, "6": AddressFamily.IPV6}[relay_family]
    _show(asyncio.run(run_probe(target, login, timeout, family, trust=trust)), as_json=as_json)


def _of_room(link: str, token_file: str | None, patience: float, ca_file: Path | None, *, insecure: bool) -> "Report":
    from cli.logins import read_link, read_token, trusted_by  # noqa: PLC0415

    url, room = read_link(link)
    tls = trusted_by(ca_file, insecure=insecure)
    token = read_token(token_file)
    if importlib.util.find_spec("aiortc") is None:
        raise StartupError("To probe an SFU needs aiortc, which is not installed.", "pip install 'meshturn[call]'")
    from cli.probe.rooms import RoomTarget, probe_room  # noqa: PLC0415  needs aiortc, and takes a second

    return asyncio.run(probe_room(RoomTarget(url, room, link, token, tls), patience))


def _show(report: "Report", *, as_json: bool) -> None:
    if as_json:
        from cli.console import emit_json  # noqa: PLC0415

        emit_json(report.as_json())
    else:
        from cli.console import out_console  # noqa: PLC0415
        from cli.probe.render import render  # noqa: PLC0415

        render(out_console(), report)
    if not report.ok:
        raise click.exceptions.Exit(ExitCode.FAILED)
