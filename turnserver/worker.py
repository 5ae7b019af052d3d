"""One server process: builds everything from the configuration, runs it, and takes it down cleanly.

`run` is what `meshturn serve` and `meshturn up` call; a program that embeds a server uses `Worker` itself::

    worker = Worker(config)
    worker.start()          # inside a running event loop
    ...
    worker.stop()           # or: await worker.close()
"""

import asyncio
import logging
import os
import resource
import secrets
import signal
from collections.abc import Callable, Sequence

from auth.nonce import NonceIssuer, SecurityFeatures
from auth.revocation import RevokedUsers
from stun.address import Address
from turnserver.assembly import (
    api_options,
    certificate_source,
    core_settings,
    credential_store,
    has_rooms,
    has_shared_listener,
    has_stream_listener,
    hub_settings,
    ice_servers,
    make_transports,
    peer_policy,
    relay_addresses,
    token_keys,
)
from turnserver.config import Config
from turnserver.core.server import TurnCore
from turnserver.core.settings import RelayAddress
from turnserver.core.types import ClientTransport
from turnserver.engine import Engine
from turnserver.errors import ConfigError, StartupError
from turnserver.http import HttpServer
from turnserver.log import configure
from turnserver.observers.base import Observer, Observers
from turnserver.observers.log import LogObserver
from turnserver.relay.registry import create_datapath
from turnserver.relay.tcp import TcpRelays
from turnserver.signaling.edge.api import Api, ApiOptions, mount
from turnserver.signaling.edge.service import Service
from turnserver.transports.base import Transport
from turnserver.transports.certificates import CertificateSource

__all__ = ["Worker", "raise_file_limit", "run"]

_NONCE_KEY_SIZE = 32
_SPARE_FILES = 256
"""File descriptors for everything that is not a relay: listeners, log, the loop's own."""

_logger = logging.getLogger("meshturn")


class Worker:
    """A TURN server in the running event loop.

    ``http`` is the application on its shared ports, None if it has none: mount routes there before `start`.
    ``signaling`` serves rooms there, None if there are none. Raises `StartupError` for a file that cannot be used.
    """

    def __init__(self, config: Config, observers: Sequence[Observer] = ()) -> None:
        self._config = config
        self._observers = Observers([LogObserver()])
        self._revoked = RevokedUsers()
        self._api: Api | None = None
        self._engine: Engine | None = None
        self._transports: list[Transport] = []
        self._certificates: CertificateSource | None = None
        self._relays: tuple[RelayAddress, ...] = ()
        self.signaling = self._make_signaling(config) if has_rooms(config) else None
        self.http = self._make_http() if has_shared_listener(config) else None
        if self.signaling is not None:
            self._observers.add(self.signaling)
        for observer in observers:
            self._observers.add(observer)

    @property
    def config(self) -> Config:
        """The configuration as it is now."""
        return self._config

    @property
    def listening(self) -> list[tuple[ClientTransport, Address]]:
        """What the server listens on, wildcards expanded and ports as bound."""
        return [(transport.kind, transport.address) for transport in self._transports]

    @property
    def relays(self) -> tuple[RelayAddress, ...]:
        """The addresses that relays are bound on, and those that clients are told."""
        return self._relays

    @property
    def engine(self) -> Engine:
        """The engine, for revocation and the like. Raises RuntimeError unless the worker has been started."""
        if self._engine is None:
            raise RuntimeError("the worker has not been started")
        return self._engine

    def start(self) -> None:
        """Bind everything and serve. Raises `StartupError` with one sentence and a hint; nothing is left open then."""
        config = self._config
        self._certificates = certificate_source(config)
        opened = make_transports(config, self._certificates, self.http)
        self._relays = relay_addresses(config, [transport.address for transport in opened])
        connections = config.limits.connections if has_stream_listener(config) else 0
        raise_file_limit(config.limits.allocations + connections + _SPARE_FILES)
        store = credential_store(config, self._revoked)
        features = SecurityFeatures.PASSWORD_ALGORITHMS
        if store.anonymous:
            features |= SecurityFeatures.USERNAME_ANONYMITY
        nonces = NonceIssuer([secrets.token_bytes(_NONCE_KEY_SIZE)], float(config.auth.nonce_lifetime), features)
        core = TurnCore(core_settings(config, self._relays), store, nonces, os.urandom)
        datapath = create_datapath(config.relay.datapath, tos=config.relay.tos)
        self._engine = Engine(core, datapath, [self._observers.tell], tcp=TcpRelays())
        try:
            if self.signaling is not None:
                self.signaling.start(self._engine)
            if self.http is not None:
                self.http.start()
            for transport in opened:
                self._engine.add(transport)
                self._transports.append(transport)
        except BaseException:
            self.stop()
            raise
        self.apply(config)

    def apply(self, config: Config) -> None:
        """Take over what can change while running: the peer ACL (for what stands too), users, secrets, log level.

        And who may join rooms. Raises `StartupError`, with nothing changed, for a file of keys that cannot be used.
        """
        keys = None if self.signaling is None else token_keys(config)
        before, self._config = self._config, config
        listeners = [address for _, address in self.listening]
        self.engine.replace_policy(peer_policy(config, self._relays, listeners))
        self.engine.replace_credentials(credential_store(config, self._revoked))
        if self.signaling is not None and self._api is not None and keys is not None:
            ice = ice_servers(config, self.listening)
            rotate = before.auth != config.auth or before.signaling != config.signaling
            self.signaling.replace(keys.admit, ice.mint, config.signaling.origins, rotate=rotate)
            self._api.options = api_options(config, keys, ice)

    def stop(self) -> None:
        """Close every socket at once; calling it again does nothing."""
        if self.signaling is not None:
            self.signaling.stop()
        self._stop_listening()
        if self.http is not None:
            self.http.close()

    async def close(self) -> None:
        """The same, but participants of rooms are told, HTTP requests that are running get a moment to finish, and the
        application cleans up."""
        if self.http is not None:
            self.http.drain()
        if self.signaling is not None:
            await self.signaling.close()
        self._stop_listening()
        if self.http is not None:
            await self.http.wait_closed()

    def _make_signaling(self, config: Config) -> Service:
        return Service(
            hub_settings(config),
            token_keys(config).admit,
            ice_servers(config, ()).mint,
            self._revoked,
            origins=config.signaling.origins,
            separator=config.auth.separator,
            tell=self._observers.tell,
        )

    def _make_http(self) -> HttpServer:
        if self.signaling is None:
            return HttpServer()
        http = HttpServer(self.signaling.health)
        self.signaling.mount(http.app)
        self._api = mount(http.app, self.signaling, ApiOptions())
        return http

    def _stop_listening(self) -> None:
        if self._engine is not None:
            self._engine.close()
        if self._certificates is not None:
            self._certificates.close()
        self._engine = None
        self._transports = []


async def run(
    config: Config,
    *,
    on_ready: Callable[[Worker], None] | None = None,
    reload: Callable[[], Config] | None = None,
) -> None:
    """Serve until SIGTERM or SIGINT. ``on_ready`` is called once everything is bound.

    On SIGHUP, ``reload`` is asked for the configuration as it is now, and what can change while running does; a
    configuration that cannot be used changes nothing. Raises `StartupError` when the server cannot start.
    """
    loop = asyncio.get_running_loop()
    stopping = asyncio.Event()
    worker = Worker(config)
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    if reload is not None:
        loop.add_signal_handler(signal.SIGHUP, _reload, worker, reload)
    configure(config.log)
    try:
        worker.start()
        for kind, address in worker.listening:
            _logger.info("listening", extra={"fields": {"transport": kind.label, "address": str(address)}})
        if on_ready is not None:
            on_ready(worker)
        await stopping.wait()
        _logger.info("stopping")
    finally:
        await worker.close()
        for number in (signal.SIGTERM, signal.SIGINT, *([signal.SIGHUP] if reload is not None else [])):
            loop.remove_signal_handler(number)


def _reload(worker: Worker, reload: Callable[[], Config]) -> None:
    try:
        config = reload()
    except ConfigError as error:
        for key, line, found, allowed in error.problems:
            fields = {"key": key, "line": line, "found": found, "allowed": allowed}
            _logger.error("configuration not reloaded", extra={"fields": fields})
        return
    try:
        worker.apply(config)
    except StartupError as error:
        _logger.error("configuration not reloaded", extra={"fields": {"reason": str(error)}})
        return
    configure(config.log)
    _logger.info("configuration reloaded: peers, auth, log, and who may join rooms; the rest takes a restart")


def raise_file_limit(wanted: int) -> None:
    """Raise RLIMIT_NOFILE to ``wanted`` where that is allowed, and say so in the log where it is not."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return
    for limits in ((wanted, max(wanted, hard)), (hard, hard)):
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        except (OSError, ValueError):
            continue
        break
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        _logger.warning(
            "fewer open files than limits.allocations and limits.connections need",
            extra={"fields": {"have": soft, "want": wanted}},
        )
