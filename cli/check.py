"""``meshturn check``: is this configuration good, and what would it do here?"""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cli.exit_codes import ExitCode
from cli.options import config_option, json_option

if TYPE_CHECKING:
    from turnserver.config import Loaded

__all__ = ["check"]


@click.command()
@config_option
@json_option
def check(config_path: Path | None, as_json: bool) -> None:
    """Validate a configuration and say what it would do on this machine.

    Nothing is bound and nothing is sent, so it can be run beside a running server. Without a file, the defaults and
    the environment are checked.

    Exit code 0: it is good (there may be warnings); 2: it is not.
    """
    from cli.failures import config_error_json  # noqa: PLC0415  keeps --help quick
    from cli.loading import load_config  # noqa: PLC0415
    from turnserver.errors import ConfigError  # noqa: PLC0415

    try:
        loaded = load_config(config_path, os.environ)
    except ConfigError as error:
        if not as_json:
            raise
        from cli.console import emit_json  # noqa: PLC0415

        emit_json(config_error_json(error))
        raise click.exceptions.Exit(ExitCode.USAGE) from error
    found = _effective(loaded)
    if as_json:
        from cli.console import emit_json  # noqa: PLC0415

        emit_json(found)
    else:
        _show(found)


def _effective(loaded: "Loaded") -> dict[str, Any]:
    """What a server with this configuration would do here; wildcards expanded."""
    from cli.addresses import client_uris, relay_text  # noqa: PLC0415
    from stun.address import Address  # noqa: PLC0415
    from turnserver.assembly import make_transports, relay_addresses  # noqa: PLC0415
    from turnserver.net import local_addresses  # noqa: PLC0415

    config = loaded.config
    transports = make_transports(config)
    relays = relay_addresses(config, [transport.address for transport in transports])
    here = set(local_addresses())
    named = [transport.address.ip for transport in transports] + [relay.bound for relay in relays]
    strange = [Address(ip, 0).host for ip in dict.fromkeys(named) if ip not in here]
    return {
        "ok": True,
        "source": loaded.source,
        "realm": config.realm,
        "listeners": [f"{transport.kind.name.lower()} {transport.address}" for transport in transports],
        "relays": [relay_text(relay) for relay in relays],
        "relay_ports": str(config.relay.ports),
        "uris": [str(uri) for uri in client_uris(config)],
        "users": len(config.auth.users),
        "shared_secrets": len(config.auth.shared_secrets),
        "warnings": [
            *loaded.warnings,
            *(f"{host} is not an address of this machine as it is now." for host in strange),
        ],
    }


def _show(found: dict[str, Any]) -> None:
    from cli.console import error_console, facts, out_console, say  # noqa: PLC0415

    console = out_console()
    say(console, f"{found['source']}: the configuration is good.", "bold green")
    rows = [("realm", found["realm"])]
    rows += [("listener", text) for text in found["listeners"]]
    rows += [("relay", f"{text}, ports {found['relay_ports']}") for text in found["relays"]]
    rows += [("URL", text) for text in found["uris"]]
    rows += [("users", str(found["users"])), ("shared secrets", str(found["shared_secrets"]))]
    facts(console, rows)
    for warning in found["warnings"]:
        say(error_console(), f"Warning: {warning}", "yellow")
