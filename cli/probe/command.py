"""``meshturn probe``: the command line of the probe."""

import asyncio
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cli.exit_codes import ExitCode
from cli.options import json_option
from turnserver.text import one_line

if TYPE_CHECKING:
    from cli.probe.security import Trust
    from stun.client.authentication import Login
    from stun.uri import StunUri

__all__ = ["probe"]

_MAX_PASSWORD = 4096
"""Bytes read of a password file, because a file such as /dev/zero has no end."""

_CA_FILE = "Trust the roots in FILE (PEM) instead of the system's."


def _from_file(source: str) -> str:
    """The first line of a file, or of standard input for ``-``."""
    try:
        if source == "-":
            raw = sys.stdin.buffer.readline(_MAX_PASSWORD + 1)
        else:
            with Path(source).open("rb") as stream:
                raw = stream.readline(_MAX_PASSWORD + 1)
        text = raw.decode("utf-8").rstrip("\r\n")
    except OSError as error:
        reason = error.strerror or "unknown"
        raise click.UsageError(f"The password file {one_line(source, 200)} cannot be read: {reason}.") from error
    except UnicodeDecodeError:
        raise click.UsageError("The password is not UTF-8 text.") from None
    if len(raw) > _MAX_PASSWORD:
        raise click.UsageError(f"The first line is longer than {_MAX_PASSWORD} bytes, too long for a password.")
    return text


def _password(source: str | None) -> str:
    """The password from the file, the environment or, at a terminal, from a question; in this order."""
    if source is not None:
        password = _from_file(source)
    elif "MESHTURN_PASSWORD" in os.environ:
        password = os.environ["MESHTURN_PASSWORD"]
    elif sys.stdin.isatty():
        password = click.prompt("Password", hide_input=True, err=True)
    else:
        raise click.UsageError("--user needs a password: give --password-file FILE (or -), or set MESHTURN_PASSWORD.")
    if not password:
        raise click.UsageError("The password is empty.")
    return password


def _login(user: str, source: str | None) -> "Login":
    """Read the password; one that cannot be used (RFC 8489 §14.3) is a usage error."""
    from stun.client.authentication import Login  # noqa: PLC0415  keeps --help and usage errors quick
    from stun.client.errors import InvalidLogin  # noqa: PLC0415

    password = _password(source)
    try:
        return Login(user, password)
    except InvalidLogin as error:
        raise click.UsageError(one_line(str(error), 200)) from None


def _trust(target: "StunUri", insecure: bool, ca_file: Path | None) -> "Trust":
    """The roots to trust; a file of roots that cannot be used is a usage error."""
    import ssl  # noqa: PLC0415  keeps --help and usage errors quick

    from cli.probe.security import Trust  # noqa: PLC0415

    if (insecure or ca_file is not None) and not target.secure:
        raise click.UsageError(f"--insecure and --ca-file are about TLS, and {target.scheme}: goes without.")
    trust = Trust(ca_file, insecure)
    try:
        trust.context()
    except OSError as error:
        reason = "it holds no certificates in PEM" if isinstance(error, ssl.SSLError) else error.strerror or "unknown"
        raise click.UsageError(f"The file {one_line(str(ca_file), 200)} cannot be used: {reason}.") from error
    return trust


@click.command()
@click.argument("uri")
@click.option("--user", metavar="NAME", help="The user name; without it only Binding is tried.")
@click.option(
    "--password-file",
    metavar="FILE",
    help="Read the password from the first line of FILE, or of standard input for -.",
)
@click.option(
    "--timeout",
    type=click.FloatRange(0.1, 60),
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

    Without --user it asks for the reflexive address (STUN Binding). With it, it allocates two relayed addresses,
    permits and binds each to the other, echoes data through both, and deletes them. It also sends from a socket of its
    own to the relayed address, as a peer would, since the relays of one server meet inside it and see no firewall or
    NAT. Run it on another machine than the server.

    Over TLS and DTLS, the certificate is shown and checked as browsers do: against the system's roots and the host of
    the URI. Nothing is sent to a server that fails the check, except with --insecure.

    The password comes from --password-file, from MESHTURN_PASSWORD, or is asked for at a terminal. There is no
    --password option: every user of a machine can read its command lines, and shells write them into their history.

    Exit code 0: everything worked; 1: something failed; 2: the command line is wrong.
    """
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
    trust = _trust(target, insecure, ca_file)
    login = None if user is None else _login(user, password_file)
    family = {None: None, "4": AddressFamily.IPV4, "6": AddressFamily.IPV6}[relay_family]
    report = asyncio.run(run_probe(target, login, timeout, family, trust=trust))
    if as_json:
        from cli.console import emit_json  # noqa: PLC0415

        emit_json(report.as_json())
    else:
        from cli.console import out_console  # noqa: PLC0415
        from cli.probe.render import render  # noqa: PLC0415

        render(out_console(), report)
    if not report.ok:
        raise click.exceptions.Exit(ExitCode.FAILED)
