"""``meshturn up``: a working server without configuration, and everything that is needed to try it."""

import ipaddress
import logging
import os
import shlex
import shutil
import sys
import sysconfig
from collections.abc import Callable, Collection, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import click

import meshturn
from cli.options import json_option, parse_ip, state_dir_option

if TYPE_CHECKING:
    from cli.credential import Issued
    from cli.loading import Setting
    from cli.state import StateDirectory
    from turnserver.config import Config
    from turnserver.server import Server

__all__ = ["PageAddresses", "invocation", "up"]

_TTL = 86400
_USER = "try"
_HTTP_PORT = 8080
_WILDCARDS = ("0.0.0.0", "::")

_OPEN = (
    "rooms are open. Everybody who can reach this server can start calls and relay through it. Without --open, only "
    "holders of a link can."
)


class PageAddresses(NamedTuple):
    """URLs for browsers: the roots, the one for this machine first, and one call on each of them."""

    roots: list[str]
    calls: list[str]


@click.command()
@click.option(
    "--address",
    "addresses",
    multiple=True,
    type=parse_ip,
    metavar="ADDRESS",
    help="Listen on this address; can be repeated.  [default: all local addresses]",
)
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=3478,
    show_default=True,
    help="Listen on this UDP port, and on the TCP port of the same number.",
)
@click.option(
    "--tls-port",
    type=click.IntRange(0, 65535),
    default=5349,
    show_default=True,
    help="Listen on this TCP port for TURN over TLS and HTTPS.",
)
@click.option("--no-tls", is_flag=True, help="Do not serve TLS and HTTPS.")
@click.option(
    "--http-port",
    type=click.IntRange(0, 65535),
    help="Serve the call page to browsers on this machine on this TCP port of localhost, without TLS; 0: off."
    f"  [default: {_HTTP_PORT}, or a free one]",
)
@click.option(
    "--relay-address",
    "relay_addresses",
    multiple=True,
    type=parse_ip,
    metavar="ADDRESS",
    help="Relay from this address; can be repeated.  [default: the --address ones, or the machine's primary ones]",
)
@click.option(
    "--open",
    "is_open",
    is_flag=True,
    help="Let everybody who can reach this server start calls and relay through it, without a link: for a classroom.",
)
@click.option("--realm", help="The realm of the credentials.  [default: meshturn]")
@state_dir_option
@json_option
def up(  # noqa: PLR0917  click passes them by name
    addresses: tuple[str, ...],
    port: int,
    tls_port: int,
    no_tls: bool,
    http_port: int | None,
    relay_addresses: tuple[str, ...],
    is_open: bool,
    realm: str | None,
    state_dir: Path | None,
    as_json: bool,
) -> None:
    """Start a server without configuration; SIGTERM or SIGINT (Ctrl-C) stops it.

    Prints the URL of a call first: open it in two tabs for a call between them. Everybody with that link can enter that
    call for a day; meshturn rooms token makes links for other rooms. Without a link nobody can enter a room or relay,
    unless --open is given.

    Makes a secret on the first run and keeps it. Prints the URLs, a credential that is valid for a day, a command that
    tries it in a second terminal, and a line of JavaScript. With --json, the same as one line of JSON.

    The certificate for TLS is self-signed, for this machine's addresses, and kept as well. Browsers warn of it. For a
    server in production use `meshturn serve`, with a certificate of a public authority.

    Exit code 0: stopped by a signal; 2: the command line is wrong; 3: the server cannot start.
    """
    from cli.loading import load_settings, show_warnings  # noqa: PLC0415  keeps --help quick
    from cli.running import run_server  # noqa: PLC0415
    from cli.state import StateDirectory, default_state_dir  # noqa: PLC0415

    state = StateDirectory(state_dir or default_state_dir(os.environ))
    state.prepare()
    state.secret()
    settings = _settings(state, addresses, relay_addresses, realm, is_open=is_open)
    page_port, note = _page_port(http_port, {port} if no_tls else {port, tls_port})
    listeners = _listeners(state, addresses, port, None if no_tls else tls_port, page_port)
    loaded = load_settings([*settings, *listeners], os.environ)
    if not no_tls:
        _certify(state, map(str, loaded.config.relay.external.addresses))
    show_warnings(loaded)
    if loaded.config.serves_rooms and loaded.config.signaling.open:
        from cli.console import error_console, say  # noqa: PLC0415

        say(error_console(logging.WARNING), f"Warning: {_OPEN}", "yellow")
    if note:
        from cli.console import error_console, hint  # noqa: PLC0415

        hint(error_console(), note)
    run_server(loaded.config, _welcome(loaded.config, state, _show_json if as_json else _show))


def _settings(
    state: "StateDirectory",
    addresses: Sequence[str],
    relay_addresses: Sequence[str],
    realm: str | None,
    *,
    is_open: bool,
) -> "list[Setting]":
    """The options as settings of the configuration; options that were not given do not override the environment."""
    from cli.addresses import primary_addresses  # noqa: PLC0415

    wide = any(ipaddress.ip_address(address).is_unspecified for address in addresses or _WILDCARDS)
    # Always set: the listeners for pages on loopback must not become relay addresses.
    outside = [address for address in addresses if not ipaddress.ip_address(address).is_loopback]
    relays = list(relay_addresses) or (primary_addresses() if wide else outside or list(addresses))
    settings: list[Setting] = [
        ("MESHTURN_AUTH__SHARED_SECRETS", "the state directory", [{"secret": {"file": str(state.secret_path)}}]),
        ("MESHTURN_SIGNALING__ADMIN_KEYS", "the state directory", {"up": {"file": str(state.admin_key_path)}}),
        ("MESHTURN_SIGNALING__KEYS_FILE", "the state directory", str(state.keys_path)),
        ("MESHTURN_RELAY__ADDRESSES", "--relay-address", relays),
    ]
    if "MESHTURN_SIGNALING__MODE" not in os.environ:
        settings.append(("MESHTURN_SIGNALING__MODE", "the default of `meshturn up`", "auto"))
    if is_open:
        settings.append(("MESHTURN_SIGNALING__OPEN", "--open", True))
    if realm is not None:
        settings.append(("MESHTURN_REALM", "--realm", realm))
    return settings


def _page_port(wanted: int | None, taken: Collection[int]) -> tuple[int, str]:
    """The port of localhost for the page, 0 for none; if the default is in use, a free one, with a note."""
    from cli.addresses import free_local_port, is_free_locally  # noqa: PLC0415

    if wanted is not None:
        return wanted, ""
    if _HTTP_PORT not in taken and is_free_locally(_HTTP_PORT):
        return _HTTP_PORT, ""
    found = free_local_port()
    return (
        found,
        f"Port {_HTTP_PORT} of localhost is in use, so the call page is on {found}; --http-port names another.",
    )


def _listeners(
    state: "StateDirectory", addresses: Sequence[str], port: int, tls_port: int | None, page_port: int
) -> "list[Setting]":
    """UDP and TCP on one port, TLS shared with HTTPS on another, on every address; makes the certificate for TLS.

    Also plain HTTP for browsers on this machine, which treat localhost like HTTPS and need no certificate for it.
    """
    from cli.addresses import local_loopbacks  # noqa: PLC0415

    ways: list[tuple[str, int]] = [("udp", port), ("tcp", port)]
    settings: list[Setting] = []
    if tls_port is not None:
        ways.append(("shared", tls_port))
        _certify(state, ())
        pair = {"certificate": str(state.certificate_path), "key": str(state.key_path)}
        settings.append(("MESHTURN_TLS__CERTIFICATES", "the state directory", [pair]))
    listeners = [
        {"transport": transport, "address": address, "port": number}
        for transport, number in ways
        for address in addresses or _WILDCARDS
    ]
    if page_port:
        plain = {"transport": "shared", "tls": False, "port": page_port}
        listeners += [{**plain, "address": address} for address in local_loopbacks()]
    return [*settings, ("MESHTURN_LISTENERS", "--address, --port, --tls-port and --http-port", listeners)]


def _certify(state: "StateDirectory", more: Iterable[str]) -> None:
    """Make sure that there is a development certificate for this machine and for its public addresses behind a NAT."""
    from datetime import UTC, datetime  # noqa: PLC0415

    from cli.development import ensure_certificate, local_names  # noqa: PLC0415

    ensure_certificate(state, local_names(more), datetime.now(UTC))


def _welcome(
    config: "Config",
    state: "StateDirectory",
    show: "Callable[[Server, StateDirectory, Issued, str, PageAddresses], None]",
) -> "Callable[[Server], None]":
    """What to do when the server is ready: issue a credential for a day and print everything."""
    from auth.ephemeral import SharedSecret  # noqa: PLC0415
    from cli.addresses import as_told, client_uris, page_urls  # noqa: PLC0415
    from cli.credential import issue  # noqa: PLC0415
    from turnserver.signaling.edge.pages import new_room  # noqa: PLC0415

    def ready(server: "Server") -> None:
        first = config.auth.shared_secrets[0]
        secret = SharedSecret(first.secret.get_secret_value().encode(), first.hash)
        now = server.snapshot()
        uris = client_uris(as_told(config, now.relays), now.listening)
        issued = issue(secret, _USER, _TTL, config.auth.separator, uris)
        pages = page_urls(config, uris)
        state.keep(issued.password, uris, pages[0] if pages else "")
        room = new_room()
        link = f"call/{room}{_fragment(config, room)}"
        calls = [f"{page}{link}" for page in pages] if config.serves_rooms else []
        show(server, state, issued, _line_to_try(issued, state), PageAddresses(pages, calls))

    return ready


def _fragment(config: "Config", room: str) -> str:
    """The token for a room as the fragment of its link, which browsers send to no server; empty if rooms are open.

    Everybody who has the link can enter, and several may do so at once. The token is of no use for another room.
    """
    import secrets  # noqa: PLC0415  keeps --help quick
    import time  # noqa: PLC0415

    from turnserver.signaling.edge.tokens import TokenKeys  # noqa: PLC0415

    if config.signaling.open:
        return ""
    keys = TokenKeys.from_config(config.signaling, config.auth.shared_secrets)
    return "#token=" + keys.mint(room, "member", _TTL, time.time(), token_id=secrets.token_urlsafe(9), shared=True)


def _line_to_try(issued: "Issued", state: "StateDirectory") -> str:
    """A command that works as it is in another terminal; the password is in a file, not in the line."""
    if not issued.uris:
        return ""
    # UDP is the default transport; the question mark of ?transport= would have to be quoted.
    target = str(issued.uris[0]).partition("?")[0]
    options = ["--user", issued.username, "--password-file", str(state.password_path)]
    return shlex.join([*invocation(sys.argv[0]), "probe", target, *options])


def _line_for_more(state: "StateDirectory") -> str:
    """A command that issues another credential with the same secret."""
    from cli.state import default_state_dir  # noqa: PLC0415

    usual = state.path == default_state_dir(os.environ).absolute()
    where = [] if usual else ["--state-dir", str(state.path)]
    return shlex.join([*invocation(sys.argv[0]), "credentials", "issue", *where])


def invocation(program: str) -> list[str]:
    """How to call this program from another terminal, with another directory and no virtual environment.

    ``program`` is how this process was called (``sys.argv[0]``).
    """
    path = Path(program).absolute()
    if path.name != "meshturn":
        root = str(Path(meshturn.__file__).resolve().parent.parent)
        found_there = root in {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
        return [*([] if found_there else ["env", f"PYTHONPATH={root}"]), sys.executable, "-m", "meshturn"]
    found = shutil.which("meshturn")
    everywhere = sys.prefix == sys.base_prefix and found is not None and Path(found).absolute() == path
    return ["meshturn"] if everywhere else [str(path)]


def _show(server: "Server", state: "StateDirectory", issued: "Issued", line: str, pages: PageAddresses) -> None:
    from cli.addresses import reach, relay_text, stun_uri  # noqa: PLC0415
    from cli.console import facts, hint, out_console, say, title  # noqa: PLC0415
    from stun.address import Address  # noqa: PLC0415

    console = out_console()
    title(console, "meshturn is up.")
    if pages.calls:
        here, *elsewhere = pages.calls
        title(console, "Open this in two tabs for a call:" if here.startswith("http:") else "Open this for a call:")
        say(console, f"  {here}")
        facts(console, [("from elsewhere", url) for url in elsewhere])
        if "#" in here:
            say(console, "  Whoever has the whole link can enter this call for a day; nobody can without it.", "dim")
        title(console, "The server:")
    rows = [("URL", str(uri)) for uri in issued.uris]
    # A stun: URI cannot name TCP (RFC 7064), so that of the TCP listener would equal that of the UDP one.
    rows += [("STUN", str(stun_uri(uri))) for uri in issued.uris if uri.secure or uri.transport == "udp"]
    rows += [("page", url) for url in pages.roots]
    relays = server.snapshot().relays
    rows += [("relaying from", relay_text(relay)) for relay in relays]
    facts(console, [*rows, ("state", str(state.path))])
    title(console, f"A credential, valid until {issued.expires}:")
    facts(console, [("username", issued.username), ("password", issued.password)])
    if line:
        title(console, "Try it in a second terminal:")
        say(console, f"  {line}")
    title(console, "In a page:")
    say(console, f"  {issued.snippet()}")
    console.print()
    note = reach(Address(relay.external, 0).host for relay in relays)
    if note:
        hint(console, note)
    if any(uri.secure for uri in issued.uris):
        trust = shlex.join(["--ca-file", str(state.certificate_path)])
        hint(console, f"The certificate is self-signed: browsers warn of it, and a probe needs {trust}")
    say(console, "Ctrl-C stops it. Another credential:", "dim")
    say(console, f"  {_line_for_more(state)}", "dim")


def _show_json(server: "Server", state: "StateDirectory", issued: "Issued", line: str, pages: PageAddresses) -> None:
    from cli.console import emit_json  # noqa: PLC0415
    from cli.running import ready_json  # noqa: PLC0415

    more = {
        "calls": pages.calls,
        "pages": pages.roots,
        "state_dir": str(state.path),
        "credential": issued.as_json(),
        "probe": line,
        "certificate": str(state.certificate_path) if any(uri.secure for uri in issued.uris) else None,
    }
    emit_json({**ready_json(server), **more}, indent=None)
