"""The parts of a running server: made one after the other by the start, and closed together."""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from auth.revocation import RevokedUsers
from auth.source import CredentialSource
from stun.constants import TransportProtocol
from turnserver.clients import ClientPolicy, ClientsSection
from turnserver.config import Config, RelayConfig
from turnserver.core.server import TurnCore
from turnserver.core.settings import MediaSocket, OwnAddresses, RelayOptions
from turnserver.core.types import Now
from turnserver.descriptors import Descriptors
from turnserver.desk import Desk
from turnserver.engine import Engine
from turnserver.external import ExternalAddresses
from turnserver.faults import RAISED, Faults
from turnserver.listening import Listening
from turnserver.losses import Losses
from turnserver.media.stats import room_as_json
from turnserver.media_meter import MediaMeter
from turnserver.probing import probe_back
from turnserver.relay.counting import CountingDatapath, CountingStreamRelays
from turnserver.side_listener import SideListener
from turnserver.signaling.edge.service import Service
from turnserver.signaling.rooms.facts import Fact
from turnserver.signaling.rooms.media_port import MediaEvent
from turnserver.signaling.rooms.settings import MediaOptions
from turnserver.snapshot import DatapathView, MediaView
from turnserver.telemetry.endpoint import Metrics
from turnserver.transports.certificates import CertificateSource
from turnserver.transports.limits import ConnectionLimiter

if TYPE_CHECKING:
    from turnserver.sfu import Sfu

__all__ = ["Parts"]

_NOWHERE: Final = OwnAddresses(())


@dataclass(slots=True)
class Parts:
    """The parts of one server; those that a start has not made yet are None."""

    started: Now
    limiter: ConnectionLimiter
    descriptors: Descriptors = field(default_factory=Descriptors)
    opened: int = 0
    """Files that were open when the listeners had been bound: none of them is a client's."""
    listening: Listening | None = None
    external: ExternalAddresses | None = None
    own: OwnAddresses = _NOWHERE
    certificates: CertificateSource | None = None
    datapath: CountingDatapath | None = None
    tcp: CountingStreamRelays | None = None
    source: CredentialSource | None = None
    """The credential source, if it was made by the server."""
    retired: list[CredentialSource] = field(default_factory=list)
    """Earlier sources that were made by the server, and are still to be closed."""
    core: TurnCore | None = None
    engine: Engine | None = None
    service: Service | None = None
    sfu: "Sfu | None" = None
    """The SFU for rooms, if they may go through one; it opens its socket when one does."""
    media_meter: MediaMeter | None = None
    """Looks at the SFU for snapshots."""
    side_listeners: list[SideListener] = field(default_factory=list)
    """Listeners for health checks and for metrics."""
    ignore: Callable[[], None] = lambda: None
    """Ends the rooms' subscription to the relays' events."""

    def public(self, ip: bytes) -> bytes:
        """The address that clients are told instead of one of the host's; what it is may change at a reload."""
        return self.own.public(ip)

    def admit(self, clients: ClientsSection) -> None:
        """Use another client ACL from now on."""
        policy = ClientPolicy.of(clients)
        self.limiter.clients = policy
        if self.engine is not None:
            self.engine.clients = policy

    def in_force(self, config: Config) -> Config:
        """A configuration with the public addresses as they are on this host."""
        return config if self.external is None else self.external.in_force(config)

    @asynccontextmanager
    async def relay_of(self, before: RelayConfig, relay: RelayConfig) -> AsyncIterator[None]:
        """Find the public addresses of another configuration; an exception within brings back those before.

        Raises `turnserver.errors.StartupError`, with nothing changed, for those that cannot be.
        """
        external = self.external if before != relay else None
        if external is None:
            yield
            return
        known = external.known
        try:
            await external.use(relay, strict=before.external != relay.external)
            yield
        except BaseException:
            await external.restore(known)
            raise

    def addresses(self, relay: RelayOptions) -> OwnAddresses:
        """The server's own addresses; the listeners have been bound."""
        own = _NOWHERE if self.listening is None else self.listening.own(relay)
        own = replace(own, media=() if self.sfu is None else self.sfu.sockets)
        for listener in self.side_listeners:
            own = listener.guarded(own)
        return own

    @property
    def health(self) -> SideListener | None:
        """The listener for health checks only, if there is one."""
        return self._named("health")

    @property
    def metrics(self) -> SideListener | None:
        """The listener for metrics, if there is one."""
        return self._named("metrics")

    def _named(self, name: str) -> SideListener | None:
        return next((listener for listener in self.side_listeners if listener.name == name), None)

    def open_side_listeners(self, config: Config, faults: Faults, clock: Callable[[], float], metrics: Metrics) -> None:
        """Bind the listeners for health checks and for metrics. Raises `turnserver.errors.StartupError`."""
        if self.listening is None:
            raise RuntimeError("the listeners have not been bound")
        for name, section in (("health", config.health), ("metrics", config.metrics)):
            if section.port:
                listener = SideListener(name, section, config.limits, faults, clock=clock, doors=self.listening.doors)
                self.side_listeners.append(listener)
                listener.bind()
                if name == "metrics":
                    metrics.mount(listener.app, local=section.address.is_loopback)

    def use_own(self, config: Config) -> None:
        """Relay from the addresses that a configuration gives with the present listeners."""
        if self.listening is None or self.engine is None:
            return
        if self.sfu is not None:
            self.sfu.use_own(self.listening.own(config.relay))
        own = self.addresses(config.relay)
        if own != self.own:
            self.own = own
            self.engine.use_own(own)
        if self.external is not None:
            self.external.advise(own, config)

    def open_rooms(
        self,
        config: Config,
        revoked: RevokedUsers,
        *,
        tell: Callable[[Fact], None],
        drain: Callable[[], Mapping[str, object]],
        desk: Desk,
        clock: Callable[[], Now],
        faults: Faults,
    ) -> None:
        """Make the service of signaling, and the SFU for it. Raises `turnserver.errors.StartupError`."""
        options = None
        if config.signaling.mode != "mesh":
            from turnserver.sfu import Sfu  # noqa: PLC0415  others need none of it

            options = MediaOptions(
                config.signaling.mode, config.media.room_size, records=config.media.recordings is not None
            )
            self.sfu = Sfu(
                config.media,
                config.relay.ports,
                lambda: self.own,
                report=self._sfu_reports,
                changed=self._sfu_moved,
                faults=faults,
                clock=lambda: clock().mono,
            )
            self.media_meter = MediaMeter(lambda: clock().mono)
        self.service = Service.from_config(
            config,
            [] if self.listening is None else self.listening.offered,
            revoked,
            tell=tell,
            drain=drain,
            clock=clock,
            faults=faults,
            media=self.sfu,
            media_options=options,
            media_of=self._media_of,
            view=desk,
            probe=probe_back,
        )

    def _sfu_reports(self, event: MediaEvent) -> None:
        if self.service is not None:
            self.service.on_media(event)

    def _sfu_moved(self, sockets: tuple[MediaSocket, ...]) -> None:
        """The sockets of the SFU are others: clients without UDP may reach them, and nothing else, through relays."""
        self.own = replace(self.own, media=sockets)
        if self.engine is not None:
            self.engine.use_own(self.own)

    def _media_of(self, room: str) -> Mapping[str, object] | None:
        """What the SFU says of a room, as JSON."""
        views = [] if self.sfu is None else self.sfu.rooms()
        return next((room_as_json(view) for view in views if view.room == room), None)

    def media_view(self) -> MediaView | None:
        """The SFU with its rooms; None without one."""
        if self.sfu is None or self.media_meter is None:
            return None
        return self.media_meter.view(self.sfu.addresses, self.sfu.rooms(), self.sfu.processes)

    def datapath_views(self, *, details: bool = True) -> tuple[DatapathView, ...]:
        """The datapaths with their counters; without ``details`` those that are cheap for many relays."""
        views = []
        for datapath, protocol in ((self.datapath, TransportProtocol.UDP), (self.tcp, TransportProtocol.TCP)):
            if datapath is not None:
                losses = datapath.losses if isinstance(datapath, CountingDatapath) else Losses()
                totals = datapath.totals if details else None
                carried = datapath.carried(totals)
                views.append(
                    DatapathView(datapath.name, protocol, datapath.relays, carried.counters, losses, carried.drops)
                )
        return tuple(views)

    async def close_retired(self) -> None:
        """Close the credential sources that are not used any more."""
        while self.retired:
            await self.retired.pop().close()

    async def close(self, faults: Faults) -> None:
        """Close every socket and the credential source; an exception does not keep the others from being closed."""
        stopping = [self.ignore]
        if self.service is not None:
            stopping.append(self.service.stop)
        if self.sfu is not None:
            stopping.append(self.sfu.stop)
        if self.engine is not None:
            stopping.append(self.engine.close)
        else:  # the start has failed, perhaps in the middle of attaching them
            stopping += [relays.close for relays in (self.datapath, self.tcp) if relays is not None]
        if self.listening is not None:
            stopping += [self.listening.close, *(transport.close for transport in self.listening.transports)]
        if self.certificates is not None:
            stopping.append(self.certificates.close)
        stopping += [listener.close for listener in self.side_listeners]
        for stop in stopping:
            try:
                stop()
            except RAISED as error:
                faults.note("stop", error)
        if self.sfu is not None:
            await self.sfu.wait_closed()
        if self.external is not None:
            await self.external.close()
        if self.source is not None:
            self.retired.append(self.source)
            self.source = None
        await self.close_retired()
