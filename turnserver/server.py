"""A whole server as one object: start, stop, reload, snapshots, events.

::

    async with Server({"listeners": [{"address": "127.0.0.1"}], "auth": {"users": {"alice": "secret"}}}) as server:
        print(server.snapshot().listening)

It belongs to the event loop that it was started in. It does not change the process: limits, signals and logging are the
program's own (`turnserver.process` is the command line's).
"""

import asyncio
import logging
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from enum import Enum
from types import TracebackType
from typing import Final, NamedTuple, Self

from auth.revocation import RevokedUsers, revocations_needed
from auth.source import CredentialSource
from stun.address import Address
from turnserver.clock import system_clock
from turnserver.config import Config, load_mapping, take_over
from turnserver.core.server import TurnCore
from turnserver.core.types import Now
from turnserver.credentials.build import credential_source, nonce_issuer
from turnserver.credentials.guard import Guarded
from turnserver.descriptors import Descriptors
from turnserver.desk import Desk
from turnserver.drain import Drain
from turnserver.engine import Engine
from turnserver.external import ExternalAddresses
from turnserver.faults import RAISED, Faults
from turnserver.files import client_files, file_limit, open_files
from turnserver.http import HttpServer
from turnserver.lines import Allowance, Lines
from turnserver.listening import Listening
from turnserver.observers.base import Observer, Observers, insist_on_observer
from turnserver.observers.registry import OBSERVERS
from turnserver.parts import Parts
from turnserver.passed import NO_SOCKETS, PassedSockets
from turnserver.pauses import PatientClock, Pauses
from turnserver.relay.counting import CountingDatapath, CountingStreamRelays
from turnserver.relay.registry import create_datapath
from turnserver.relay.tcp import TcpRelays
from turnserver.removal import remove_withdrawn
from turnserver.snapshot import Snapshot
from turnserver.survey import Survey
from turnserver.telemetry.endpoint import Metrics
from turnserver.telemetry.tally import Tally
from turnserver.transports.base import ListenerContext, Transport
from turnserver.transports.certificates import CertificateSource
from turnserver.transports.limits import ConnectionLimiter

__all__ = ["Reload", "Server"]

_ONCE_A_MINUTE: Final = Allowance(burst=1, rate=1 / 60, total_burst=1, total_rate=1 / 60)

_logger = logging.getLogger("meshturn")


class Reload(NamedTuple):
    """The result of a reload: the dotted paths of the options that differ from those in force.

    Those in ``taken`` are in force now. Those in ``waiting`` keep their old value until the server is restarted, and
    the next reload names them again if they still differ.
    """

    taken: tuple[str, ...] = ()
    waiting: tuple[str, ...] = ()


class _State(Enum):
    NEW = "new"
    SERVING = "serving"
    STOPPED = "stopped"


class Server:
    """A STUN and TURN server, with rooms if the configuration has a listener for them.

    ``config`` is a `Config`, or a mapping that is validated as a configuration file would be (every error at once, as
    `turnserver.errors.ConfigError`; the environment is not read), or None for the defaults. ``observers`` get every
    event, after those that the configuration names. ``credentials`` is the credential source in place of ``auth`` in
    the configuration; the caller closes it. ``clock`` gives both clocks. ``files`` is how many files the server may
    count on having open, together with the rest of the program; None is the process's limit (the soft RLIMIT_NOFILE),
    as it is at the start and at each reload. ``passed`` are sockets that listeners use in place of their own.

    A server is started once. A failed start leaves nothing open and may be tried again. Making one raises
    `turnserver.errors.StartupError` for a named observer that cannot be made.
    """

    def __init__(
        self,
        config: Config | Mapping[str, object] | None = None,
        *,
        observers: Sequence[Observer] = (),
        credentials: CredentialSource | None = None,
        clock: Callable[[], Now] = system_clock,
        files: int | None = None,
        passed: PassedSockets = NO_SOCKETS,
    ) -> None:
        self._files, self._passed = files, passed
        self._config = _validated(config, own_credentials=credentials is not None)
        self._clock = PatientClock(clock)
        self._faults = Faults(self._clock.mono)
        self._pauses = Pauses(self._clock, self._faults)
        self._credentials = None if credentials is None else Guarded("program", credentials, self._faults)
        self._tally = Tally()
        self._observers = Observers([self._tally], faults=self._faults)
        self._named: dict[str, tuple[Observer, Callable[[], None]]] = {}
        self._use_observers(self._config.observers, self._new_observers(self._config.observers))
        self._lines = Lines(_logger, _ONCE_A_MINUTE, self._clock.mono)
        self._revoked = RevokedUsers(
            revocations_needed(self._config.signaling.credential_lifetime), self._revocation_forgotten
        )
        self._survey = Survey(self._faults, self._revoked, self._tally, self._pauses)
        self._desk = Desk(lambda: self.snapshot(details=False), lambda: self._config, self._clock, self._faults)
        self._state = _State.NEW
        self._changing = asyncio.Lock()
        self._parts: Parts | None = None
        self._drain = Drain(clock)
        self._http = HttpServer(faults=self._faults) if self._config.serves_http else None
        for observer in observers:
            self._observers.add(observer)

    async def __aenter__(self) -> Self:
        """Start. Raises what `start` raises."""
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Stop."""
        await self.stop()

    @property
    def config(self) -> Config:
        """The configuration that is in force: after a reload, without the options that need a restart."""
        return self._config

    @property
    def http(self) -> HttpServer | None:
        """The application on the shared ports, None if there are none; routes are mounted there before the start."""
        return self._http

    @property
    def health(self) -> Address | None:
        """Where health checks are answered, if the configuration has ``health.port``; None before the start."""
        return None if self._parts is None or self._parts.health is None else self._parts.health.address

    @property
    def metrics(self) -> Address | None:
        """Where metrics are served, if the configuration has ``metrics.port``; None before the start."""
        return None if self._parts is None or self._parts.metrics is None else self._parts.metrics.address

    @property
    def observers(self) -> Mapping[str, Observer]:
        """The observers that the configuration names."""
        return {name: observer for name, (observer, _) in self._named.items()}

    @property
    def transports(self) -> tuple[Transport, ...]:
        """The listeners' transports, in the order of the snapshot; for listeners without a socket (``memory``)."""
        listening = None if self._parts is None else self._parts.listening
        return () if listening is None else tuple(listening.transports)

    async def start(self) -> None:
        """Bind every listener and serve.

        Raises `turnserver.errors.StartupError` with one sentence and a hint, and RuntimeError if the server has been
        started before. Nothing is left open then.
        """
        async with self._changing:
            if self._state is not _State.NEW:
                raise RuntimeError("a server can be started only once; create another one")
            descriptors = Descriptors()
            parts = Parts(self._clock(), ConnectionLimiter(self._config.limits, descriptors), descriptors)
            try:
                with self._faults.starting("start", "The server"):
                    await self._bind(parts).use(self._config.relay)
                    self._open(parts)
            except BaseException:
                await parts.close(self._faults)
                raise
            self._parts = parts
            self._state = _State.SERVING
            self._pauses.start(lambda: self.transports, parts.datapath, parts.service)
            if parts.service is not None:
                self._desk.start()

    async def stop(self) -> None:
        """Stop: notify participants of rooms, end the allocations, and close all sockets.

        Observers get an `AllocationEnded` for every live allocation, with its counters and the reason ``shutdown``.
        HTTP requests may finish for a moment. Calling it again does nothing, and waits for the first call to be done.
        """
        async with self._changing:
            parts = self._parts
            if parts is None:
                return
            try:
                self._not_ready(parts)
                if parts.engine is not None:
                    parts.engine.drain()
                if parts.service is not None:
                    await parts.service.close()
                if parts.engine is not None:
                    await parts.engine.end_allocations()
            finally:
                self._state, self._parts = _State.STOPPED, None
                self._pauses.stop()
                self._desk.stop()
                await parts.close(self._faults)
                if self._http is not None:
                    await self._http.wait_closed()

    async def reload(self, config: Config | Mapping[str, object]) -> Reload:
        """Apply the options that can change at run time; returns which these are, and which need a restart.

        ``log`` and process limits are the program's to apply: they count as taken. Raises
        `turnserver.errors.ConfigError` or `turnserver.errors.StartupError`, with nothing changed, for a configuration,
        a file or a plug-in that cannot be used, and RuntimeError unless the server runs.
        """
        wanted = _validated(config, own_credentials=self._credentials is not None)
        async with self._changing:
            if self._parts is None:
                raise RuntimeError("the server is not running")
            before = self._config
            merged, taken, waiting = take_over(before, wanted)
            held = None if self._parts.core is None else self._parts.core.credentials
            try:
                async with self._parts.relay_of(before.relay, merged.relay):
                    self._apply(self._parts, before, merged)
                self._config = merged
                if held is not None and before.auth != merged.auth:
                    await self._remove_withdrawn(self._parts, (before, held), merged)
                if self._parts.engine is not None:
                    await self._parts.engine.catch_up()
            finally:
                await self._parts.close_retired()
            if self._parts.certificates is not None:
                self._faults.guarded("certificates", self._parts.certificates.check, False)
            if self._parts.listening is not None:
                self._parts.listening.soon()
            return Reload(taken, waiting)

    @property
    def draining(self) -> bool:
        """Whether a drain has begun, by whomever."""
        return self._drain.begun

    def begin_drain(self, timeout: float | None = None) -> None:
        """Take nothing new from now on: new allocations get 300 (`alternate_servers`) or 508, new rooms are refused.

        Whatever exists goes on, ``/readyz`` answers 503, and participants of rooms are told. `drained` waits for the
        end, at most ``timeout`` seconds from now (`drain_timeout` in the configuration if not given). It is begun once:
        calling it again does nothing. Raises RuntimeError unless the server runs.
        """
        parts = self._parts
        if parts is None or parts.engine is None:
            raise RuntimeError("the server is not running")
        if self._drain.begun:
            return
        self._drain.begin(float(self._config.drain_timeout if timeout is None else timeout))
        self._observers.add(self._drain)
        self._not_ready(parts)
        parts.engine.drain()
        if parts.service is not None and self._drain.until is not None:
            parts.service.wind_down(self._drain.until)
        _logger.info("draining", extra={"fields": self.remaining()})

    async def drained(self) -> bool:
        """Wait until a drain has begun, and until nothing is left: True. False if its time was over before that.

        The server still runs then, so that the program may stop it.
        """
        return await self._drain.over(self._is_empty)

    async def drain(self, timeout: float | None = None) -> bool:  # noqa: ASYNC109  it has a default
        """`begin_drain` and `drained` in one call: True once no allocation and no participant of a room is left.

        ``async with Server(...)`` or `stop` ends the server afterwards. Raises RuntimeError unless the server runs.
        """
        self.begin_drain(timeout)
        return await self.drained()

    def reload_certificates(self) -> bool:
        """Read the certificate files again, without waiting for `tls.reload_interval`; True if any was replaced.

        One that cannot be used is refused in the log, and the old one stays in use. Nothing else is reloaded. Raises
        RuntimeError unless the server runs.
        """
        if self._parts is None:
            raise RuntimeError("the server is not running")
        return self._parts.certificates is not None and self._parts.certificates.check(force=True)

    def snapshot(self, *, details: bool = True) -> Snapshot:
        """The present state of the server; can be called at any time, also by an observer.

        The cost grows with the number of allocations and rooms. Without ``details`` it does not, and ``allocations``,
        ``rooms``, ``media`` and ``limits.users`` are empty. A transport or a datapath that raises has zeros, and its
        exception is counted in ``faults``.
        """
        return self._survey.take(self._config, self._parts, self._clock(), draining=self._drain.begun, details=details)

    def observe(self, observer: Observer) -> Callable[[], None]:
        """Pass every event from now on to ``observer``, TypeError if it is none; returns a function that ends this."""
        return self._observers.add(observer)

    def fault(self, part: str, error: Exception) -> None:
        """Count and log an unexpected exception of the program around the server."""
        self._faults.note(part, error)

    def revoke(self, user_id: str, until: float | None = None) -> int:
        """End every allocation of a user at once; returns their number.

        With ``until`` (Unix time, seconds) the user's credentials that expire before then are refused from now on.
        Raises RuntimeError unless the server runs.
        """
        if self._parts is None or self._parts.engine is None:
            raise RuntimeError("the server is not running")
        return self._parts.engine.revoke(user_id, until)

    def remaining(self) -> dict[str, object]:
        """The numbers of allocations and rooms that are left, and when the drain ends at the latest (Unix time)."""
        parts = self._parts
        allocations = 0 if parts is None or parts.core is None else parts.core.totals().allocations
        rooms = 0 if parts is None or parts.service is None else parts.service.hub.room_count
        return {"allocations": allocations, "rooms": rooms, "until": int(self._drain.until or 0)}

    # Inside

    def _open(self, parts: Parts) -> None:
        """Build everything but the listeners once, with the addresses that these have."""
        listening, external = parts.listening, parts.external
        if listening is None or external is None:
            raise RuntimeError("the listeners have not been bound")
        config, tell = external.in_force(self._config), self._observers.tell
        parts.opened = open_files()
        self._use_files(parts)
        metrics = Metrics(lambda: self.snapshot(details=False), allow=config.metrics.allow)
        parts.open_side_listeners(config, self._faults, self._clock.mono, metrics)
        parts.own = parts.addresses(config.relay)
        external.advise(parts.own, config)
        if config.serves_rooms:
            parts.open_rooms(
                config,
                self._revoked,
                tell=tell,
                drain=self._drain_by_api,
                desk=self._desk,
                clock=self._clock,
                faults=self._faults,
            )
        source = self._use_source(parts, self._source(parts, config))
        nonces = nonce_issuer(float(config.auth.nonce_lifetime), source)
        parts.core = TurnCore(
            config, parts.own, source, nonces, os.urandom, revoked=self._revoked, descriptors=parts.descriptors
        )
        with self._faults.starting("datapath.attach", f"The datapath {config.relay.datapath}"):
            datapath = create_datapath(config.relay.datapath, tos=config.relay.tos, clock=self._clock.mono)
            parts.datapath = CountingDatapath(datapath, self._faults)
            parts.tcp = CountingStreamRelays(TcpRelays(), self._faults)
            parts.engine = Engine(
                parts.core, parts.datapath, [tell], clock=self._clock, tcp=parts.tcp, faults=self._faults
            )
        parts.admit(config.clients)
        listening.serve(parts.engine)
        # From here on nothing is plugged in: routes are mounted once, so a start that fails before may be tried again.
        if parts.service is not None and self._http is not None:
            parts.service.mount(self._http.app)
            self._http.app.router.add_get("/metrics", parts.service.for_admins(metrics.answer))
            parts.service.start(parts.engine)
            parts.ignore = self._observers.add(parts.service)
        if self._http is not None:
            self._http.start()
        for listener in parts.side_listeners:
            listener.serve()

    def _bind(self, parts: Parts) -> ExternalAddresses:
        """Make the listeners and take their addresses; what is returned finds the public ones."""
        config = self._config
        if any(listener.tls for listener in config.listeners):
            parts.certificates = CertificateSource.from_config(config.tls, self._faults)
        context = ListenerContext(
            limits=config.limits,
            limiter=parts.limiter,
            tos=config.relay.tos,
            certificates=parts.certificates,
            http=self._http,
            proxies=config,
            clock=self._clock.mono,
            passed=self._passed,
        )
        parts.listening = Listening(
            config.listeners,
            context,
            faults=self._faults,
            changed=lambda: self._listeners_changed(parts),
            public=parts.public,
            discovery=config.discovery_listeners,
        )
        parts.listening.open()
        parts.external = ExternalAddresses(parts.listening.own, lambda: self._external_changed(parts), self._faults)
        return parts.external

    def _listeners_changed(self, parts: Parts) -> None:
        """Listeners have come or gone: relays, the peer ACL and the URLs for participants of rooms follow."""
        if parts.listening is None:
            return
        config = parts.in_force(self._config)
        parts.use_own(config)
        if parts.service is not None:
            parts.service.listen(config, parts.listening.offered)
        if parts.external is not None:
            parts.external.follow()

    def _external_changed(self, parts: Parts) -> None:
        """The STUN server of ``relay.external: auto`` has told of another public address."""
        config = parts.in_force(self._config)
        if parts.engine is not None:
            parts.engine.use(config)
            parts.use_own(config)
        if parts.service is not None:
            parts.service.use(config, rotate=True)

    def _apply(self, parts: Parts, before: Config, config: Config) -> None:
        """Use another configuration from now on.

        What may raise comes first. Raises `StartupError`, with nothing changed, for unusable files and plug-ins.
        """
        source = self._source(parts, config)
        try:
            observers = self._new_observers(config.observers)
            self._use_limits(parts, before, config)
            if parts.service is not None:
                rotate = any(
                    getattr(before, section) != getattr(config, section) for section in ("auth", "signaling", "relay")
                )
                with self._restored(before), self._faults.starting("reload", "The configuration of rooms"):
                    parts.service.use(parts.in_force(config), rotate=rotate)
        except BaseException:
            if source is not self._credentials:
                parts.retired.append(source)
            raise
        self._revoked.grow(revocations_needed(config.signaling.credential_lifetime))
        parts.limiter.limits = config.limits
        parts.admit(config.clients)
        self._use_files(parts)
        self._use_observers(config.observers, observers)
        if parts.engine is not None:
            in_force = parts.in_force(config)
            parts.engine.use(in_force)
            parts.use_own(in_force)
            parts.engine.replace_credentials(self._use_source(parts, source))

    async def _remove_withdrawn(self, parts: Parts, before: tuple[Config, CredentialSource], config: Config) -> None:
        """Find the allocations whose credential the new configuration does not have any more."""
        if parts.engine is None or parts.core is None:
            return
        rooms = () if parts.service is None else parts.service.hub.rooms()
        await remove_withdrawn(
            parts.engine,
            before,
            (config, parts.core.credentials),
            kept={peer.user_id for room in rooms for peer in room.peers},
            wall=lambda: self._clock().wall,
        )

    def _use_files(self, parts: Parts) -> None:
        """Take what the process's limit of open files leaves for clients."""
        limit = file_limit() if self._files is None else self._files
        parts.descriptors.total = client_files(limit, parts.opened)

    def _use_limits(self, parts: Parts, before: Config, config: Config) -> None:
        """Give every listener the limits of a configuration, or none of them if one raises."""
        for transport in self.transports:
            words = f"The listener {transport.name} {transport.address}"
            with self._restored(before), self._faults.starting("transport.use", words):
                transport.use(config.limits)
        if parts.listening is not None:
            parts.listening.use(config.limits)

    @contextmanager
    def _restored(self, before: Config) -> Iterator[None]:
        """An exception within gives every listener its old limits back."""
        try:
            yield
        except BaseException:
            for transport in self.transports:
                try:
                    transport.use(before.limits)
                except RAISED as error:
                    self._faults.note("transport.use", error)
            raise

    def _new_observers(self, names: Sequence[str]) -> dict[str, Observer]:
        """The observers that the configuration names and that do not exist yet. Raises `StartupError`."""
        made = {}
        for name in names:
            if name not in self._named:
                with self._faults.starting("observer", f"The observer {name}"):
                    made[name] = OBSERVERS[name]()
                    insist_on_observer(made[name])
        return made

    def _use_observers(self, names: Sequence[str], made: Mapping[str, Observer]) -> None:
        """Attach the observers that the configuration names; existing ones stay."""
        for name in set(self._named) - set(names):
            _, remove = self._named.pop(name)
            remove()
        for name, observer in made.items():
            self._named[name] = observer, self._observers.add(observer)

    def _source(self, parts: Parts, config: Config) -> CredentialSource:
        """The credential source: the program's own, or the one that the configuration names."""
        if self._credentials is not None:
            return self._credentials
        return credential_source(config.auth, clock=self._clock.mono, faults=self._faults, discard=parts.retired.append)

    def _use_source(self, parts: Parts, source: CredentialSource) -> CredentialSource:
        """Remember what was made here, because it is closed here, too."""
        if source is not self._credentials:
            if parts.source is not None:
                parts.retired.append(parts.source)
            parts.source = source
        return source

    def _not_ready(self, parts: Parts) -> None:
        """Load balancers are to send nobody any more."""
        for http in (self._http, *parts.side_listeners):
            if http is not None:
                http.drain()

    def _is_empty(self) -> bool:
        parts = self._parts
        if parts is None or parts.engine is None:
            return True
        return parts.engine.is_empty and (parts.service is None or parts.service.hub.room_count == 0)

    def _drain_by_api(self) -> Mapping[str, object]:
        self.begin_drain()
        return {"draining": True, **self.remaining()}

    def _revocation_forgotten(self, kicked: bool) -> None:
        """The table of revoked users is full: say whose revocation is lost, and what a reader can do about it."""
        who = "somebody who was sent away" if kicked else "somebody who left"
        hint = "a shorter signaling.credential_lifetime needs fewer revocations"
        fields = {"of": who, "allowed": self._revoked.limit, "hint": hint}
        self._lines.write(logging.WARNING, "revocation forgotten: too many at once", fields)


def _validated(config: Config | Mapping[str, object] | None, *, own_credentials: bool) -> Config:
    if config is None:
        return Config()
    if isinstance(config, Config):
        return config
    loaded = load_mapping(config, own_credentials=own_credentials)
    for warning in loaded.warnings:
        _logger.warning(warning)
    return loaded.config
