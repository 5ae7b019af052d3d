"""``meshturn check``: validate a configuration, and show what it would do on this machine."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cli.exit_codes import ExitCode
from cli.options import config_option, host_option, json_option

if TYPE_CHECKING:
    from turnserver.config import Config, Listener, Loaded
    from turnserver.errors import Problem

__all__ = ["check"]

_NAMES = 4
"""Names of a certificate that are shown; --json has more."""

_SOME_HOST = "host.invalid"
_NO_URLS = "none but on this machine: listeners are on loopback or behind proxies (signaling.urls names others)"

_NO_URI = "none: every listener is behind proxies, or has no port of its own (signaling.urls names others)"

_PAIR = "a chain of certificates in PEM, the server's own first, in date, with its private key, without a passphrase"


@click.command()
@host_option
@config_option
@json_option
def check(host: str | None, config_path: Path | None, as_json: bool) -> None:
    """Validate a configuration and show what it would do on this machine.

    Nothing is sent and nothing stays bound, so it can be run beside a running server. Without a file, the defaults and
    the environment are checked. --host names the host of the URLs that clients would be given.

    Exit code 0: it is valid (there may be warnings); 2: it is not.
    """
    from cli.failures import config_error_json  # noqa: PLC0415  keeps --help quick
    from cli.loading import load_config  # noqa: PLC0415
    from turnserver.errors import ConfigError  # noqa: PLC0415

    try:
        found = _effective(load_config(config_path, os.environ, strict=True), host or "")
    except ConfigError as error:
        if not as_json:
            raise
        from cli.console import emit_json  # noqa: PLC0415

        emit_json(config_error_json(error))
        raise click.exceptions.Exit(ExitCode.USAGE) from error
    if as_json:
        from cli.console import emit_json  # noqa: PLC0415

        emit_json(found)
    else:
        _show(found)


def _effective(loaded: "Loaded", host: str) -> dict[str, Any]:
    """What a server with this configuration would do on this machine, with wildcard addresses expanded.

    Raises `turnserver.errors.ConfigError` for certificates and public addresses that the server would refuse.
    """
    from cli.addresses import public_uris, relay_text  # noqa: PLC0415
    from cli.check_media import media_facts, media_warnings  # noqa: PLC0415
    from stun.address import Address  # noqa: PLC0415
    from turnserver.core.settings import OwnAddresses  # noqa: PLC0415
    from turnserver.external import resolved  # noqa: PLC0415
    from turnserver.net import has_address  # noqa: PLC0415
    from turnserver.relay_advice import relay_advice  # noqa: PLC0415
    from turnserver.transports.listeners import expanded  # noqa: PLC0415

    config = loaded.config
    certificates, late = _certificates(loaded)
    rooms = _rooms(loaded)
    listeners = {
        (_kind(listener), address): _through(listener, config)
        for listener in (*config.listeners, *config.discovery_listeners)
        for address in expanded(listener)
    }
    addresses = [address for _, address in listeners]
    bound = [each.bound for each in OwnAddresses.of(config.relay, addresses).relays]
    relays = OwnAddresses.of(resolved(config.relay, bound), addresses).relays
    media = media_facts(config, relays)
    asked = config.relay.external.asked
    named = [address.ip for address in addresses] + [relay.bound for relay in relays]
    strange = [Address(ip, 0).host for ip in dict.fromkeys(named) if not has_address(ip)]
    return {
        "ok": True,
        "source": loaded.source,
        "realm": config.realm,
        "listeners": [f"{kind} {address}{more}" for (kind, address), more in listeners.items()],
        "certificates": certificates,
        "relays": [relay_text(relay, config.relay.stun_server if asked else "") for relay in relays],
        "relay_ports": str(config.relay.ports),
        "behavior_discovery": [f"{one} and {other}" for one, other in config.behavior_discovery.pairs],
        "uris": [str(uri) for uri in public_uris(config, host)],
        "users": len(config.auth.users),
        "shared_secrets": len(config.auth.shared_secrets),
        "rooms": rooms,
        "media": media,
        "open_files": _files(config),
        "warnings": [
            *loaded.warnings,
            *late,
            *(f"{each} is not an address of this machine at present." for each in strange),
            *relay_advice(relays, config.relay.default_family, config.relay.external, asked=asked),
            *(media_warnings(media) if config.serves_rooms else []),
            *([] if listeners else ["No listener has an address of this machine at present."]),
        ],
    }


def _absent(loaded: "Loaded") -> "list[Problem]":
    """Public addresses of addresses that this machine does not have, which the server would refuse."""
    from turnserver.errors import Problem  # noqa: PLC0415
    from turnserver.external import absent_addresses  # noqa: PLC0415

    allowed = "an address of this machine, or the public address by itself (relay.external: ADDRESS)"
    return [
        Problem(f"relay.external.'{own}'", 0, f"{own}, which is not an address of this machine", allowed)
        for own in absent_addresses(loaded.config.relay.external)
    ]


def _files(config: "Config") -> dict[str, int]:
    """How many open files this process can have, and how many the options under ``limits`` may need."""
    from turnserver.files import attainable_files, files_needed  # noqa: PLC0415

    return {"allowed": attainable_files(), "needed": files_needed(config)}


def _files_text(files: dict[str, int]) -> str:
    """The same for people."""
    if files["allowed"] >= files["needed"]:
        return f"enough for all limits ({files['needed']})"
    return (
        f"{files['allowed']} at most, and the limits on allocations and connections may need {files['needed']}: "
        "beyond that, 508 (raise it with LimitNOFILE= of systemd or ulimit -n, or lower the limits)"
    )


def _kind(listener: "Listener") -> str:
    """A listener's transport in words."""
    if listener.tls == "auto":
        return f"{listener.transport}, with TLS and without,"
    if listener.kind.tls is not None:
        return listener.transport
    return f"{listener.transport}, {'with' if listener.tls else 'without'} TLS,"


def _through(listener: "Listener", config: "Config") -> str:
    """Which proxies are in front of a listener, in words."""
    from turnserver.proxies import requires_header, trusted_by  # noqa: PLC0415

    networks = ", ".join(map(str, trusted_by(listener, config))) if listener.kind.stream else ""
    if not networks:
        return ""
    return f" (proxies in {networks}{', PROXY header required' if requires_header(listener, config) else ''})"


def _certificates(loaded: "Loaded") -> tuple[list[dict[str, Any]], list[str]]:
    """The certificates as the server would load them now, and warnings of what their clients would object to.

    Raises `turnserver.errors.ConfigError` for those that it would refuse, and for whatever else it would.
    """
    from datetime import UTC, datetime  # noqa: PLC0415

    from stun.uri import StunUri  # noqa: PLC0415
    from turnserver.errors import ConfigError, Problem  # noqa: PLC0415
    from turnserver.transports.certificates import (  # noqa: PLC0415
        CertificateError,
        CertificatePair,
        Inspected,
        inspect_pair,
        uncertified,
        unused_pairs,
    )

    now = datetime.now(UTC)
    pairs = loaded.config.tls.certificates
    found: list[Inspected | None] = []
    problems = _absent(loaded)
    for index, pair in enumerate(pairs):
        try:
            found.append(inspect_pair(CertificatePair(pair.certificate, pair.key), now.timestamp()))
        except CertificateError as error:
            found.append(None)
            problems.append(Problem(f"tls.certificates[{index}]", 0, f"{pair.certificate}: {error}", _PAIR))
    if problems:
        raise ConfigError(loaded.source, problems)
    shown: list[dict[str, Any]] = []
    warnings: list[str] = []
    unused = unused_pairs(found)
    for index, (pair, each) in enumerate(zip(pairs, found, strict=True)):
        if each is None:
            continue
        shown.append({"file": str(pair.certificate), **each.facts.as_json()})
        expiry = each.facts.expiry(now)
        if expiry:
            warnings.append(f"The certificate {pair.certificate} {expiry}; it should have been renewed by now.")
        warnings += [f"The certificate {pair.certificate}: {fault}" for fault in each.faults]
        if index in unused:
            warnings.append(
                f"The certificate {pair.certificate} is never shown: one before it has the same names and kind of key."
            )
    uris = [uri for uri in map(StunUri.parse, loaded.config.signaling.urls) if uri.secure]
    warnings += [
        f"No certificate is for {host}, which signaling.urls names: clients refuse it, unless a proxy shows another."
        for host in (uncertified([uri.host for uri in uris], found) if pairs else [])
    ]
    return shown, warnings


def _rooms(loaded: "Loaded") -> dict[str, Any]:
    """Whether there are rooms, who may join them, and who may ask about them.

    Raises `turnserver.errors.ConfigError` for public keys or API keys that the server would refuse.
    """
    from turnserver.errors import ConfigError, Problem, StartupError  # noqa: PLC0415
    from turnserver.signaling.edge.tokens import TokenKeys  # noqa: PLC0415

    config = loaded.config
    signaling = config.signaling
    try:
        TokenKeys.from_config(signaling, config.auth.shared_secrets)
    except StartupError as error:
        allowed = "public keys in PEM or JWKS: RSA of 2048 bits or more, P-256, Ed25519"
        raise ConfigError(loaded.source, [Problem("signaling.public_keys", 0, str(error), allowed)]) from error
    ways = ["anybody who knows the name of a room"] if signaling.open else []
    if signaling.key is not None:
        ways.append("holders of a token signed with signaling.key")
    elif config.auth.shared_secrets:
        ways.append("holders of a token signed with a key derived from auth.shared_secrets")
    if signaling.public_keys:
        ways.append("holders of a token signed with a key of signaling.public_keys")
    why = "" if config.serves_http else "there is no shared listener"
    return {
        "served": config.serves_rooms,
        "why_not": "signaling.enabled is false" if not signaling.enabled else why or None,
        "who": ways,
        "room_size": signaling.room_size,
        "turn_credentials": bool(config.auth.shared_secrets),
        "urls": _room_urls(config),
        "api_keys": list(signaling.api_keys),
        "admin_keys": list(signaling.admin_keys),
        "keys_file": None if signaling.keys_file is None else str(signaling.keys_file),
        "stored_keys": _stored_keys(loaded),
    }


def _stored_keys(loaded: "Loaded") -> list[dict[str, Any]]:
    """The keys of the file of API keys. Raises `turnserver.errors.ConfigError` for one that cannot be used."""
    from turnserver.errors import ConfigError, Problem, StartupError  # noqa: PLC0415
    from turnserver.signaling.edge.key_file import KeyFile  # noqa: PLC0415
    from turnserver.signaling.edge.scopes import Scope  # noqa: PLC0415

    path = loaded.config.signaling.keys_file
    try:
        found = () if path is None else KeyFile(path).read()
    except StartupError as error:
        allowed = "a file that `meshturn keys` has written, or none yet"
        raise ConfigError(loaded.source, [Problem("signaling.keys_file", 0, str(error), allowed)]) from error
    return [
        {"id": key.id, "name": key.name, "scopes": [str(scope) for scope in Scope if scope in key.scopes]}
        for key in found
    ]


def _room_urls(config: "Config") -> list[str]:
    """The STUN and TURN URLs of participants who come by some host, with HOST in its place."""
    from turnserver.proxies import is_behind  # noqa: PLC0415
    from turnserver.signaling.edge.ice import UrlsByHost  # noqa: PLC0415
    from turnserver.transports.listeners import expanded  # noqa: PLC0415

    if config.signaling.urls:
        return list(config.signaling.urls)
    offered = [
        (kind, address)
        for listener in config.listeners
        if not (listener.kind.local or (listener.kind.stream and is_behind(listener, config)))
        for kind in listener.client_transports
        for address in expanded(listener)
    ]
    urls = UrlsByHost(offered)(_SOME_HOST)
    usable = [url for url in urls if config.auth.shared_secrets or url.startswith("stun")]
    return [url.replace(_SOME_HOST, "HOST") for url in usable]


def _rooms_text(rooms: dict[str, Any], largest: int | None) -> list[tuple[str, str]]:
    """The same for people; ``largest`` is the size of rooms that go through the SFU."""
    if not rooms["served"]:
        return [("rooms", f"none: {rooms['why_not']}")]
    nobody = "nobody: signaling.open is false, and there is no key for tokens"
    rows = [
        ("rooms", f"for {largest or rooms['room_size']} people each"),
        ("who may join", "; ".join(rooms["who"]) or nobody),
    ]
    keys = [f"{name} (admin)" for name in rooms["admin_keys"]] + rooms["api_keys"]
    keys += [f"{key['name']} ({', '.join(key['scopes'])})" for key in rooms["stored_keys"]]
    rows += [("TURN for rooms", url) for url in rooms["urls"]] or [("TURN for rooms", _NO_URLS)]
    return [*rows, ("API keys", ", ".join(keys) or "none")]


def _show(found: dict[str, Any]) -> None:
    from cli.console import error_console, facts, out_console, say  # noqa: PLC0415

    console = out_console()
    say(console, f"{found['source']}: the configuration is valid.", "bold green")
    rows = [("realm", found["realm"])]
    rows += [("listener", text) for text in found["listeners"]]
    rows += [("certificate", _certificate(facts)) for facts in found["certificates"]]
    rows += [("relay", f"{text}, ports {found['relay_ports']}") for text in found["relays"]]
    rows += [("behavior discovery", text) for text in found["behavior_discovery"]]
    rows += [("URL", text) for text in found["uris"] or [_NO_URI]]
    rows += [("users", str(found["users"])), ("shared secrets", str(found["shared_secrets"]))]
    rows += [("open files", _files_text(found["open_files"]))]
    rows += _rooms_text(found["rooms"], found["media"]["room_size"])
    if found["rooms"]["served"]:
        from cli.check_media import media_rows  # noqa: PLC0415

        rows += media_rows(found["media"], found["rooms"]["room_size"])
    facts(console, rows)
    for warning in found["warnings"]:
        say(error_console(), f"Warning: {warning}", "yellow")


def _certificate(facts: dict[str, Any]) -> str:
    names = facts["names"]
    listed = ", ".join(names[:_NAMES]) + (f" and {len(names) - _NAMES} more" if len(names) > _NAMES else "")
    return f"{facts['file']}: for {listed or 'no name'}; {facts['key']}; until {facts['not_after'][:10]}"
