"""``meshturn doctor``: the command line of the diagnosis."""

import asyncio
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cli.doctor.findings import CheckName
from cli.exit_codes import ExitCode
from cli.options import SecondsRange, config_option, json_option

if TYPE_CHECKING:
    from cli.doctor.findings import Examination

__all__ = ["doctor"]


_KEY = "MESHTURN_FROM_KEY"


def _url(context: click.Context, parameter: click.Parameter, value: str | None) -> str | None:
    from cli.roomserver import parse_url  # noqa: PLC0415  keeps --help quick

    try:
        found = None if value is None else parse_url(value)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None
    if found is not None and not found.startswith("https:"):
        raise click.BadParameter("The key could be read in transit: give an https:// URL.")
    return found


@click.command()
@click.option(
    "--only",
    multiple=True,
    type=click.Choice([str(each) for each in CheckName]),
    metavar="CHECK",
    help=f"Make this check alone; can be repeated. CHECK is one of {', '.join(CheckName)}.",
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
    "--ca-file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Trust the roots in FILE (PEM) instead of the system's.",
)
@click.option("--from", "other", metavar="URL", callback=_url, help="Have another meshturn probe back: https://OTHER.")
@click.option(
    "--from-key-file",
    "key_file",
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False),
    help=f"A file with a key of that server, with the scope probe.  [default: the environment variable {_KEY}]",
)
@config_option
@json_option
def doctor(  # noqa: PLR0917  click passes them by name
    only: Sequence[str],
    timeout: float,
    ca_file: Path | None,
    other: str | None,
    key_file: Path | None,
    config_path: Path | None,
    as_json: bool,
) -> None:
    """Check on the server's host what goes wrong in practice.

    Run it beside the running server, with its configuration, as root if possible: the rules of a firewall, and the
    limits of other users' processes, are only root's to read.

    \b
    addresses    what clients are told, beside what relay.stun_server sees
    ports        does the server answer, over each transport
    firewall     does nftables let clients and peers in
    certificate  names, chain and dates, of the files and of the running server
    dns          do the server's names lead to it
    srv          do SRV records name ports that it has
    hairpin      is the server reached at its public address from here
    ipv6         addresses, routes and listeners
    outside      what another server sees of this one (--from)
    buffers      does the kernel grant the buffers that are asked for
    descriptors  how many files the server may open
    conntrack    has the table of tracked connections room
    rp_filter    does the kernel drop packets that come by another interface
    clock        does a time server keep it

    Each finding says what is so, why it matters, and the line that mends it. What cannot be checked here says why, and
    counts for nothing. Nothing is changed. Packets go to the server itself, to its public address, to the resolvers of
    this host for the names in the configuration, to relay.stun_server, and to the server of --from; to nobody else.
    That server sends a STUN request to each port of the listeners, and to two ports of the relays.

    Exit code 0: nothing is wrong (there may be warnings); 1: something is, or nothing could be checked; 2: the command
    line or the configuration is wrong.
    """
    from cli.doctor.elsewhere import Elsewhere  # noqa: PLC0415  keeps --help and usage errors quick
    from cli.doctor.host import Host  # noqa: PLC0415
    from cli.doctor.names import resolver  # noqa: PLC0415
    from cli.doctor.runner import diagnose  # noqa: PLC0415
    from cli.loading import load_config  # noqa: PLC0415
    from cli.logins import trusted_by  # noqa: PLC0415
    from cli.probe.security import Trust  # noqa: PLC0415

    tls = trusted_by(ca_file, insecure=False)
    if key_file is not None and other is None:
        raise click.UsageError("--from-key-file is for --from.")
    elsewhere = None if other is None else Elsewhere(other, _key(key_file), tls)
    loaded = load_config(config_path, os.environ)
    host = Host(loaded.config, trust=Trust(ca_file), resolver=resolver(timeout), patience=timeout, elsewhere=elsewhere)
    _show(asyncio.run(diagnose(host, loaded.source, [CheckName(each) for each in only])), as_json=as_json)


def _key(path: Path | None) -> str:
    """The key for the other server: from a file or the environment, never from a command line, which others read."""
    from cli.roomserver import read_key  # noqa: PLC0415

    if path is None:
        key = os.environ.get(_KEY, "")
        if not key or not key.isascii() or not key.isprintable():
            raise click.UsageError(f"--from needs a key of that server: --from-key-file FILE, or {_KEY}.")
        return key
    try:
        return read_key(path)
    except ValueError as error:
        raise click.UsageError(str(error)) from None


def _show(diagnosis: "Examination", *, as_json: bool) -> None:
    if as_json:
        from cli.console import emit_json  # noqa: PLC0415

        emit_json(diagnosis.as_json())
    else:
        from cli.console import out_console  # noqa: PLC0415
        from cli.doctor.render import render  # noqa: PLC0415

        render(out_console(), diagnosis)
    if not diagnosis.ok:
        raise click.exceptions.Exit(ExitCode.FAILED)
