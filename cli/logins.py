"""Credentials and trust for commands that talk to a server as its client would: never on a command line."""

import os
import ssl
import sys
from pathlib import Path

import click

from cli.probe.security import Trust
from stun.client.authentication import Login
from stun.client.errors import InvalidLogin
from stun.uri import StunUri
from turnserver.text import one_line

__all__ = ["read_login", "read_trust"]

_MAX_PASSWORD = 4096
"""Bytes read of a password file, because a file such as /dev/zero has no end."""


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
