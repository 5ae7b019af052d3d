"""Credentials and trust for commands that talk to a server as its client would: never on a command line."""

import os
import ssl
import sys
from pathlib import Path

import click

from cli.probe.security import Trust
from cli.roomserver import trusting
from stun.client.authentication import Login
from stun.client.errors import InvalidLogin
from stun.uri import StunUri
from turnserver.text import one_line

__all__ = ["read_link", "read_login", "read_token", "read_trust", "trusted_by"]

_MAX_PASSWORD = 4096
"""Bytes read of a password file, because a file such as /dev/zero has no end."""

_MAX_TOKEN = 8192
"""In bytes, as in the protocol."""


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


def read_login(user: str, source: str | None) -> Login:
    """Read the password; one that cannot be used (RFC 8489 §14.3) is a usage error."""
    password = _password(source)
    try:
        return Login(user, password)
    except InvalidLogin as error:
        raise click.UsageError(one_line(str(error), 200)) from None


def read_trust(target: StunUri, insecure: bool, ca_file: Path | None) -> Trust:
    """The roots to trust; a file of roots that cannot be used is a usage error."""
    if (insecure or ca_file is not None) and not target.secure:
        raise click.UsageError(f"--insecure and --ca-file are about TLS, and {target.scheme}: goes without.")
    trust = Trust(ca_file, insecure)
    try:
        trust.context()
    except OSError as error:
        reason = "it holds no certificates in PEM" if isinstance(error, ssl.SSLError) else error.strerror or "unknown"
        raise click.UsageError(f"The file {one_line(str(ca_file), 200)} cannot be used: {reason}.") from error
    return trust


def trusted_by(ca_file: Path | None, *, insecure: bool) -> ssl.SSLContext | None:
    """How to check the certificate of a server's pages; None for the system's roots. Raises `click.UsageError`."""
    if insecure and ca_file is not None:
        raise click.UsageError("--insecure and --ca-file exclude each other: --insecure trusts every certificate.")
    if not insecure:
        try:
            return None if ca_file is None else trusting(ca_file)
        except ValueError as error:
            raise click.UsageError(str(error)) from None
    tls = ssl.create_default_context()
    tls.check_hostname = False
    tls.verify_mode = ssl.CERT_NONE
    return tls


def read_link(link: str) -> tuple[str, str]:
    """The server and the room of the link to a call page. Raises `click.UsageError`."""
    from turnserver.client.endpoint import SignalEndpoint  # noqa: PLC0415  keeps --help quick

    try:
        endpoint = SignalEndpoint.parse(link)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    if endpoint.room is None:
        raise click.UsageError("The link has no room in it: https://HOST/call/ROOM.")
    return endpoint.origin, endpoint.room


def read_token(source: str | None) -> str | None:
    """The room token from the file, or from the environment. Raises `click.UsageError`."""
    if source is None:
        return os.environ.get("MESHTURN_TOKEN") or None
    try:
        if source == "-":
            raw = sys.stdin.buffer.readline(_MAX_TOKEN + 1)
        else:
            with Path(source).open("rb") as stream:
                raw = stream.readline(_MAX_TOKEN + 1)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise click.UsageError(f"The token file {one_line(source, 200)} cannot be read: {reason}.") from error
    token = raw.decode("ascii", "replace").strip()
    if not token or len(raw) > _MAX_TOKEN or not token.isascii() or not token.isprintable():
        raise click.UsageError(f"There is no room token in {one_line(source, 200)}; `meshturn rooms token` makes one.")
    return token
