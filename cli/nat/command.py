"""``meshturn nat``: find out which NAT this machine is behind, by any STUN server."""

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from cli.exit_codes import ExitCode
from cli.options import SecondsRange, json_option, parse_duration, parse_ip
from turnserver.text import one_line

if TYPE_CHECKING:
    from cli.nat.report import NatReport
    from stun.constants import AddressFamily
    from stun.uri import StunUri

__all__ = ["nat"]

_MAX_LIFETIME = 3600
"""Seconds: bindings that live for an hour need no keepalives."""


def _lifetime(context: click.Context, parameter: click.Parameter, value: str | None) -> int | None:
    if value is None:
        return None
    seconds = parse_duration(value)
    if not 2 <= seconds <= _MAX_LIFETIME:
        raise click.BadParameter("The search goes up to a time between two seconds and an hour.")
    return seconds


def _local(context: click.Context, parameter: click.Parameter, value: str | None) -> str | None:
    return None if value is None else parse_ip(value)


def _targets(uris: Sequence[str]) -> "list[StunUri]":
    from stun.client.nat.discovery import MAX_SERVERS  # noqa: PLC0415  keeps --help and usage errors quick
    from stun.uri import InvalidUri, StunUri  # noqa: PLC0415

    targets = []
    for text in uris:
        try:
            target = StunUri.parse(text)
        except InvalidUri as error:
            raise click.UsageError(f"{one_line(text, 100)}: {error}") from error
        if target.scheme != "stun":
            raise click.UsageError(
                f"{one_line(text, 100)}: write stun:HOST. Only Binding is asked for, over UDP or TCP (--transport)."
            )
        targets.append(target)
    if len(targets) > MAX_SERVERS:
        raise click.UsageError(f"At most {MAX_SERVERS} servers can be named.")
    return targets


def _families(family: str | None, local: str | None) -> "list[AddressFamily]":
    from stun.constants import AddressFamily  # noqa: PLC0415  keeps --help and usage errors quick

    named = {
        None: [],
        "4": [AddressFamily.IPV4],
        "6": [AddressFamily.IPV6],
        "both": [AddressFamily.IPV4, AddressFamily.IPV6],
    }[family]
    if local is not None:
        own = AddressFamily.IPV6 if ":" in local else AddressFamily.IPV4
        if named not in ([], [own]):
            raise click.UsageError("--family names another family than that of --local-address.")
        return [own]
    return named


def _succeeded(report: "NatReport", *, all_of_them: bool) -> bool:
    """Whether a server has answered: over everything that was asked for by name, or else over anything."""
    return report.answered and (not all_of_them or all(way.ok for way in report.ways))


@click.command()
@click.argument("uris", nargs=-1, required=True, metavar="URI...")
@click.option(
    "--transport",
    type=click.Choice(["udp", "tcp", "both"]),
    default="udp",
    show_default=True,
    help="Over what to ask.",
)
@click.option(
    "--family",
    type=click.Choice(["4", "6", "both"]),
    help="Over IPv4 or IPv6.  [default: all that the servers have addresses of]",
)
@click.option(
    "--local-address",
    callback=_local,
    metavar="IP",
    help="Ask from this address of this machine.  [default: by its routes]",
)
@click.option(
    "--timeout",
    type=SecondsRange(0.5, 40),
    default=5.0,
    show_default=True,
    metavar="SECONDS",
    help="How long to wait for each answer, retransmissions included. An answer that does not come is a verdict.",
)
@click.option(
    "--lifetime",
    callback=_lifetime,
    metavar="DURATION",
    help="Also search for the lifetime of idle bindings, up to DURATION, such as 5m. It takes up to three times that.",
)
@json_option
def nat(  # noqa: PLR0917  click passes them by name
    uris: Sequence[str],
    transport: str,
    family: str | None,
    local_address: str | None,
    timeout: float,
    lifetime: int | None,
    as_json: bool,
) -> None:
    """Find out which NAT this machine is behind.

    Each URI is stun:HOST[:PORT]. A server with NAT behavior discovery (RFC 5780) tells how the NAT maps and filters:
    meshturn with behavior_discovery, or coturn with two addresses. Without one, name two servers at different
    addresses: they tell whether the mapping depends on the destination, but not how the NAT filters. Verdicts that
    cannot be given say why.

    Also tested: whether two hosts behind the NAT reach each other (hairpinning), whether fragments pass, and whether
    something rewrites addresses in packets. Over TCP, the mapping and hairpinning only.

    At most ten requests are sent in a second, without credentials.

    Exit code 0: a server answered, over every transport and family that --transport both or --family name; 1: none did;
    2: the command line is wrong; 3: this machine does not allow it.
    """
    if lifetime is not None and transport == "tcp":
        raise click.UsageError("--lifetime is about UDP: over TCP no server may open a connection to the client.")
    targets = _targets(uris)
    families = _families(family, local_address)
    from cli.console import emit_json, error_console, out_console, say  # noqa: PLC0415  keeps usage errors quick
    from cli.nat.runner import Wishes, run_nat  # noqa: PLC0415
    from stun.address import Address  # noqa: PLC0415
    from stun.client.nat.discovery import SILENCES  # noqa: PLC0415
    from stun.client.nat.lifetime import longest_search  # noqa: PLC0415

    progress = error_console()
    if progress.is_terminal:
        seconds = SILENCES * timeout * (2 if transport == "both" else 1)
        say(progress, f"This takes up to {seconds:.0f} s for each family: silence is an answer, too.")
    if lifetime is not None:
        minutes = longest_search(lifetime, timeout) / 60
        say(progress, f"The search for the lifetime of bindings takes at most {minutes:.0f} minutes for each family.")
    wishes = Wishes(
        targets,
        ("udp", "tcp") if transport == "both" else (transport,),
        families,
        None if local_address is None else Address.parse(local_address, 0),
        timeout,
        lifetime,
    )
    report = asyncio.run(run_nat(wishes, lambda sentence: say(progress, sentence)))
    ok = _succeeded(report, all_of_them=family is not None or transport == "both")
    if as_json:
        emit_json(report.as_json(ok=ok))
    else:
        from cli.nat.render import render  # noqa: PLC0415

        render(out_console(), report)
    if not ok:
        raise click.exceptions.Exit(ExitCode.FAILED)
