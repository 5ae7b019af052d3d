"""``meshturn conform``: the command line of the conformance kit."""

import asyncio
import contextlib
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cli.exit_codes import ExitCode
from cli.options import SecondsRange, json_option, parse_ip
from turnserver.errors import StartupError
from turnserver.text import one_line

if TYPE_CHECKING:
    from cli.conform.bench import KitOptions
    from cli.conform.findings import ConformReport
    from cli.conform.pipes import Subject
    from cli.conform.registry import Check
    from cli.conform.runner import Progress
    from stun.uri import StunUri

__all__ = ["conform"]

_OUTPUT = Path("-")
"""What names standard output where a file is expected."""


@click.command()
@click.argument("uris", metavar="URI...", nargs=-1)
@click.option("--user", metavar="NAME", help="The user name; without it only Binding is tested.")
@click.option(
    "--password-file",
    metavar="FILE",
    help="Read the password from the first line of FILE, or of standard input for -.",
)
@click.option(
    "--timeout",
    type=SecondsRange(0.5, 60),
    default=5.0,
    show_default=True,
    metavar="SECONDS",
    help="How long to wait for each answer, retransmissions included.",
)
@click.option("--family", type=click.Choice(["4", "6"]), help="Test over IPv4 or IPv6 only.  [default: both]")
@click.option(
    "--peer-address",
    "peers",
    multiple=True,
    metavar="IP",
    help="An address of this machine for peers.  [default: the one towards the relay]",
)
@click.option(
    "--allocations",
    type=click.IntRange(1, 64),
    default=4,
    show_default=True,
    metavar="N",
    help="At most so many allocations at once.",
)
@click.option(
    "--only", multiple=True, metavar="PATTERN", help="Checks, groups or rules: channel-*, binding, 'rule 14'."
)
@click.option("--intrusive", is_flag=True, help="Also run what may disturb other users of the server.")
@click.option("--ca-file", type=click.Path(path_type=Path), metavar="FILE", help="Trust the roots in FILE (PEM).")
@click.option("--insecure", is_flag=True, help="Take any certificate.")
@click.option(
    "--junit",
    type=click.Path(path_type=Path, allow_dash=True),
    metavar="FILE",
    help="Write a JUnit report, too; to standard output for -.",
)
@click.option(
    "--html",
    type=click.Path(path_type=Path, allow_dash=True),
    metavar="FILE",
    help="Write a page with everything, too; to standard output for -.",
)
@click.option("-v", "--verbose", is_flag=True, help="Show the frames of what fails.")
@click.option("--list", "listed", is_flag=True, help="List the checks, and do nothing else.")
@json_option
def conform(  # noqa: PLR0917  click passes them by name
    uris: tuple[str, ...],
    user: str | None,
    password_file: str | None,
    timeout: float,
    family: str | None,
    peers: tuple[str, ...],
    allocations: int,
    only: tuple[str, ...],
    intrusive: bool,
    ca_file: Path | None,
    insecure: bool,
    junit: Path | None,
    html: Path | None,
    verbose: bool,
    listed: bool,
    as_json: bool,
) -> None:
    """Test the servers at URI rule by rule, against the RFCs.

    \b
    meshturn conform turn:HOST 'turn:HOST?transport=tcp' turns:HOST --user NAME

    Each URI is tested over each address family that its host has. Without --user, only Binding is tested. Peers are
    sockets of this machine. It sends one thing after the other, and deletes its allocations after each check.

    The password comes from --password-file, from MESHTURN_PASSWORD, or is asked for at a terminal. Where a report goes
    to standard output, the text for people goes to standard error.

    Exit code 0: everything that could be tested is right; 1: a MUST is not, or a server was not reached; 4: a SHOULD
    is not; 2: the command line is wrong. Matters of choice are shown, and change nothing.
    """
    from cli.conform.bench import KitOptions  # noqa: PLC0415  keeps --help and usage errors quick
    from cli.conform.runner import chosen  # noqa: PLC0415
    from cli.logins import read_login  # noqa: PLC0415
    from stun.address import Address  # noqa: PLC0415

    checks = chosen(only)
    if not checks:
        raise click.UsageError(f"No check fits {one_line(' '.join(only), 100)}; --list shows them all.")
    if listed:
        _show(checks)
        return
    if not uris:
        raise click.UsageError("Missing argument 'URI...'.")
    if user is None and password_file is not None:
        raise click.UsageError("--password-file needs --user.")
    _see_one_output({"--json": as_json, "--junit -": junit == _OUTPUT, "--html -": html == _OUTPUT})
    found = [_parse(text) for text in uris]
    login = None if user is None else read_login(user, password_file)
    addresses = tuple(Address.parse(parse_ip(text), 0) for text in peers)
    options = KitOptions(login, timeout, addresses, allocations, intrusive)
    _see_writable(junit, html)
    targets, lost = asyncio.run(_resolve(found, insecure, ca_file, family, timeout))
    report = _run(targets, checks, options)
    report.troubles[:0] = lost
    if as_json:
        from cli.console import emit_json  # noqa: PLC0415

        emit_json(report.as_json())
    else:
        from cli.conform.render import render  # noqa: PLC0415
        from cli.console import error_console, out_console  # noqa: PLC0415

        console = error_console() if _OUTPUT in (junit, html) else out_console()
        render(console, report, details=verbose)
    _write(report, junit, html)
    code = _exit_code(report)
    if code is not ExitCode.OK:
        raise click.exceptions.Exit(code)


def _parse(text: str) -> "StunUri":
    from cli.conform.pipes import TRANSPORTS  # noqa: PLC0415
    from stun.uri import InvalidUri, StunUri  # noqa: PLC0415

    try:
        uri = StunUri.parse(text)
    except InvalidUri as error:
        raise click.UsageError(f"{one_line(text, 100)}: {error}") from error
    if uri.protocol not in TRANSPORTS:
        raise click.UsageError(f"{one_line(text, 100)}: {uri.protocol.upper()} is not supported.")
    return uri


async def _resolve(
    uris: Sequence["StunUri"], insecure: bool, ca_file: Path | None, family: str | None, patience: float
) -> tuple[list["Subject"], list[tuple[str, str]]]:
    """The first address of each family for each URI, and the URIs without any, with the reason."""
    from cli.conform.pipes import Subject  # noqa: PLC0415
    from cli.logins import read_trust  # noqa: PLC0415
    from cli.probe.security import Trust  # noqa: PLC0415
    from turnserver.turnclient.resolve import NameNotResolved, resolve  # noqa: PLC0415

    targets: list[Subject] = []
    lost: list[tuple[str, str]] = []
    secure = any(uri.secure for uri in uris)
    if (insecure or ca_file is not None) and not secure:
        raise click.UsageError("--insecure and --ca-file are about TLS, and no URI is with TLS.")
    for uri in uris:
        trust = read_trust(uri, insecure, ca_file) if uri.secure else Trust()
        try:
            addresses = await resolve(uri, patience)
        except NameNotResolved as error:
            lost.append((str(uri), f"The name cannot be resolved: {one_line(error.why, 80)}."))
            continue
        by_family = {address.family: address for address in reversed(addresses)}
        wanted = [each for number, each in sorted(by_family.items()) if family in (None, {1: "4", 2: "6"}[number])]
        targets += [Subject(uri, each, trust) for each in wanted]
        if not wanted:
            lost.append((str(uri), f"The host has no IPv{family} address."))
    return targets, lost


def _run(targets: Sequence["Subject"], checks: Sequence["Check"], options: "KitOptions") -> "ConformReport":
    from cli.conform.render import announce  # noqa: PLC0415
    from cli.conform.runner import run_checks  # noqa: PLC0415
    from cli.console import error_console  # noqa: PLC0415

    skipped = 0 if options.intrusive else sum(each.intrusive for each in checks)
    if targets:
        announce(error_console(), targets, checks, options, skipped)
    with _progress() as progress:
        return asyncio.run(run_checks(targets, checks, options, progress))


@contextlib.contextmanager
def _progress() -> Iterator["Progress"]:
    """A bar at a terminal; nothing elsewhere."""
    if not sys.stderr.isatty():
        yield lambda name, done, total: None
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn  # noqa: PLC0415

    from cli.console import error_console  # noqa: PLC0415

    columns = (BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}", markup=False))
    with Progress(*columns, console=error_console(), transient=True) as bar:
        task = bar.add_task("", total=None)
        yield lambda name, done, total: bar.update(task, description=name, completed=done, total=total)


def _see_one_output(taken: dict[str, bool]) -> None:
    """Refuse two documents on standard output: no program could take them apart. Raises `click.UsageError`."""
    names = [name for name, whether in taken.items() if whether]
    if len(names) > 1:
        raise click.UsageError(f"{' and '.join(names)}: only one of them can have standard output.")


def _see_writable(*files: Path | None) -> None:
    """Refuse a report that cannot be written before the tests, which take long. Raises `StartupError`."""
    for file in files:
        if file is None or file == _OUTPUT or (file.exists() and not (file.is_file() or file.is_dir())):
            continue  # opening a pipe here would end it for its reader
        with _writing(file):
            new = not file.exists()
            file.open("ab").close()
            if new:
                file.unlink()


@contextlib.contextmanager
def _writing(file: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise StartupError(f"{one_line(str(file), 200)} cannot be written: {reason}.") from error


def _write(report: "ConformReport", junit_file: Path | None, html_file: Path | None) -> None:
    from cli.conform.junit import junit  # noqa: PLC0415
    from cli.conform.webpage import webpage  # noqa: PLC0415

    made = [(junit_file, junit(report)), (html_file, webpage(report).encode())]
    for file, content in made:
        if file == _OUTPUT:
            click.echo(content.decode(), nl=False)
        elif file is not None:
            with _writing(file):
                file.write_bytes(content)


def _exit_code(report: "ConformReport") -> ExitCode:
    from cli.conform.findings import Grade  # noqa: PLC0415
    from cli.conform.table import Demand  # noqa: PLC0415

    if report.troubles or report.count(Grade.FAILED, Demand.MUST) or report.count(Grade.BROKEN):
        return ExitCode.FAILED
    return ExitCode.DEVIATES if report.count(Grade.FAILED, Demand.SHOULD) else ExitCode.OK


def _show(checks: Sequence["Check"]) -> None:
    from cli.console import facts, out_console  # noqa: PLC0415

    rows = [(each.row.name, f"{each.row.level}, RFC {each.row.rfc}: {each.row.right}") for each in checks]
    facts(out_console(), rows)
