"""The server that ``meshturn rooms`` uses: the one of a configuration, or the one of the last ``meshturn up``."""

import ipaddress
import os
import ssl
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import click

from cli.roomserver import ApiFailure, RoomServer, pinned, trusting

if TYPE_CHECKING:
    from turnserver.config import Config, Listener
    from turnserver.signaling.edge.tokens import TokenKeys

__all__ = ["Place", "place_of", "server_at"]


class Place(Protocol):
    """The server whose rooms a command manages."""

    def link_base(self) -> str:
        """The URL that links to rooms start with, without a slash at the end; empty if it is not known."""

    def token_keys(self) -> "TokenKeys":
        """The keys that room tokens are signed with there.

        Raises `click.UsageError` or `turnserver.errors.ServerError` if there are none.
        """

    def server(self) -> RoomServer:
        """The server there, with a key for it, as this machine reaches it.

        Raises `click.UsageError`, `ApiFailure` or `turnserver.errors.ServerError`.
        """

    def key(self) -> str:
        """An admin key. Raises `click.UsageError` or `turnserver.errors.ServerError`."""


def place_of(config_path: Path | None, state_dir: Path | None) -> Place:
    """The place that a configuration describes or, without one, that of the last `meshturn up`.

    Raises `turnserver.errors.ConfigError` for a configuration that cannot be used.
    """
    if config_path is None:
        return _Up(state_dir)
    from cli.loading import load_config  # noqa: PLC0415  keeps --help quick

    return _Configured(load_config(config_path, os.environ).config, str(config_path))


def server_at(url: str, key: str, ca_file: Path | None) -> RoomServer:
    """A server that the command line names. Raises `click.UsageError`."""
    try:
        return RoomServer(url, key, trusting(ca_file))
    except ValueError as error:
        raise click.UsageError(str(error)) from None


class _Up:
    """What the last `meshturn up` left in its state directory."""

    def __init__(self, directory: Path | None) -> None:
        from cli.state import StateDirectory, default_state_dir  # noqa: PLC0415

        self._state = StateDirectory(directory or default_state_dir(os.environ))

    def link_base(self) -> str:
        return self._state.url().rstrip("/")

    def token_keys(self) -> "TokenKeys":
        from turnserver.signaling.edge.tokens import TokenKeys, derived_key  # noqa: PLC0415

        if not self._state.secret_path.exists():
            raise click.UsageError(
                f"There is no shared secret in {self._state.shown}: give -c FILE, or run `meshturn up` once."
            )
        return TokenKeys([derived_key(self._state.secret().encode())])

    def key(self) -> str:
        if not self._state.admin_key_path.exists():
            raise click.UsageError(
                f"There is no admin key in {self._state.shown}: run `meshturn up` once, or give -c FILE, or --url URL "
                "and --key-file FILE."
            )
        return self._state.admin_key()

    def server(self) -> RoomServer:
        url = self.link_base()
        if not url:
            raise ApiFailure(
                f"Nothing in {self._state.shown} names a server with rooms.",
                "`meshturn up` starts one; -c FILE or --url URL names another.",
                "not_reached",
            )
        own = self._state.certificate()
        return RoomServer(url, self.key(), None if own is None else pinned([own[0]]), local=True)


class _Configured:
    """A server with a configuration file, on this machine."""

    def __init__(self, config: "Config", source: str) -> None:
        self._config = config
        self._source = source

    def link_base(self) -> str:
        listener = next(iter(self._shared(tls=True)), None)
        if listener is None:
            here = self._here()
            # Browsers treat localhost like HTTPS, and remember a page's permissions under that name.
            return here.replace("//127.0.0.1:", "//localhost:").replace("//[::1]:", "//localhost:")
        from cli.addresses import certified_host  # noqa: PLC0415  keeps --help quick

        name = certified_host(self._config)
        host = (f"[{name}]" if ":" in name else name) or self._host(listener)
        return f"https://{host}" if listener.port == 443 else f"https://{host}:{listener.port}"

    def token_keys(self) -> "TokenKeys":
        from turnserver.errors import ConfigError, Problem  # noqa: PLC0415
        from turnserver.signaling.edge.tokens import TokenKeys  # noqa: PLC0415

        keys = TokenKeys.from_config(self._config.signaling, self._config.auth.shared_secrets)
        if not keys.can_mint:
            allowed = "a secret of at least 32 bytes here, or at least one of auth.shared_secrets"
            raise ConfigError(self._source, [Problem("signaling.key", 0, "none", allowed)])
        return keys

    def key(self) -> str:
        from turnserver.errors import ConfigError, Problem  # noqa: PLC0415

        found = next(iter(self._config.signaling.admin_keys.values()), None)
        if found is None:
            allowed = "at least one key, or --key-file FILE"
            raise ConfigError(self._source, [Problem("signaling.admin_keys", 0, "none", allowed)])
        return found.get_secret_value()

    def server(self) -> RoomServer:
        from turnserver.errors import ConfigError, Problem  # noqa: PLC0415

        url = self._here()
        if not url:
            allowed = "a shared listener that requires no PROXY header of this machine, or --url URL"
            raise ConfigError(self._source, [Problem("listeners", 0, "no listener that this command can use", allowed)])
        return RoomServer(url, self.key(), self._pinned(), local=True)

    def _shared(self, *, tls: bool) -> "list[Listener]":
        if not self._config.signaling.enabled:
            return []
        return [
            each
            for each in self._config.listeners
            if each.transport == "shared" and bool(each.tls) is tls and each.port
        ]

    def _here(self) -> str:
        """The URL by which this machine reaches the server, where no PROXY header is required of it."""
        from turnserver.proxies import requires_header, trusted_by  # noqa: PLC0415

        for listener in (*self._shared(tls=False), *self._shared(tls=True)):
            address = listener.address
            if address.is_unspecified:
                address = ipaddress.ip_address("127.0.0.1" if address.version == 4 else "::1")
            trusted = any(address in network for network in trusted_by(listener, self._config))
            if trusted and requires_header(listener, self._config):
                continue
            host = f"[{address}]" if address.version == 6 else str(address)
            return f"{'https' if listener.tls else 'http'}://{host}:{listener.port}"
        return ""

    def _pinned(self) -> ssl.SSLContext | None:
        try:
            return pinned([pair.certificate.read_bytes() for pair in self._config.tls.certificates])
        except OSError:
            return None

    def _host(self, listener: "Listener") -> str:
        from cli.addresses import primary_addresses  # noqa: PLC0415

        address = listener.address
        fitting = [host for host in primary_addresses() if ipaddress.ip_address(host).version == address.version]
        host = (fitting or ["localhost"])[0] if address.is_unspecified else str(address)
        return f"[{host}]" if ":" in host else host
