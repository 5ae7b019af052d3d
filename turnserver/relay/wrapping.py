"""Datapaths that wrap another: each call is passed on to it, and a subclass overrides the calls that it changes.

Packets that have a route do not pass here: the inner datapath exchanges them with the client's path directly. To see
them too, a subclass wraps the `ClientSender` in `attach` and so gives the inner datapath other paths.
"""

from typing import Generic, TypeVar

from stun.address import Address
from turnserver.core.types import Counters, FiveTuple, RelayId, Route
from turnserver.losses import Losses
from turnserver.paths import Pausable
from turnserver.relay.base import ClientSender, Datapath, DatapathSink, Relays, StreamRelays, StreamRelaySink
from turnserver.streams import ByteStream

__all__ = ["WrappingDatapath", "WrappingRelays", "WrappingStreamRelays"]

R = TypeVar("R", bound=Relays)


class WrappingRelays(Generic[R]):
    """What both kinds have in common: passes every call to ``inner``."""

    def __init__(self, inner: R) -> None:
        self.inner = inner
        self.name = inner.name

    def open_relay(self, relay: RelayId, bind: Address) -> bool:
        """Open a relay at exactly ``bind``. Raises `turnserver.errors.DatapathError` when it cannot."""
        return self.inner.open_relay(relay, bind)

    def close_relay(self, relay: RelayId) -> None:
        """Close a relay with all that belongs to it."""
        self.inner.close_relay(relay)

    def counters(self, relay: RelayId) -> Counters:
        """What the relay has carried since it was opened."""
        return self.inner.counters(relay)

    def close(self) -> None:
        """Close every relay."""
        self.inner.close()


class WrappingDatapath(WrappingRelays[Datapath]):
    """A datapath that passes every call to ``inner``; see `turnserver.relay.base.Datapath`."""

    def attach(self, sink: DatapathSink, clients: ClientSender) -> None:
        """Called once, inside the running event loop, before anything else."""
        self.inner.attach(sink, clients)

    def add_route(self, route: Route) -> None:
        """Install or refresh a route."""
        self.inner.add_route(route)

    def remove_route(self, client: FiveTuple, channel: int) -> None:
        """Remove one route."""
        self.inner.remove_route(client, channel)

    def allow_peer(self, relay: RelayId, ip: bytes, until: float) -> None:
        """Pass datagrams from ``ip`` to the sink until ``until`` (monotonic seconds)."""
        self.inner.allow_peer(relay, ip, until)

    @property
    def losses(self) -> Losses:
        """What this host has lost for all relays, if ``inner`` counts it."""
        return getattr(self.inner, "losses", Losses())

    def paused(self, on: bool) -> None:
        """The server runs again after a pause; see `turnserver.paths.Pausable`."""
        if isinstance(self.inner, Pausable):
            self.inner.paused(on)

    def forbid_peer(self, relay: RelayId, ip: bytes) -> None:
        """Drop datagrams from ``ip`` again."""
        self.inner.forbid_peer(relay, ip)

    def send_to_peer(self, relay: RelayId, peer: Address, data: bytes, dont_fragment: bool) -> None:
        """Send one datagram."""
        self.inner.send_to_peer(relay, peer, data, dont_fragment)


class WrappingStreamRelays(WrappingRelays[StreamRelays]):
    """TCP relays that pass every call to ``inner``; see `turnserver.relay.base.StreamRelays`."""

    def attach(self, sink: StreamRelaySink) -> None:
        """Called once, inside the running event loop, before anything else."""
        self.inner.attach(sink)

    def connect(self, connection: int, relay: RelayId, peer: Address) -> None:
        """Begin to connect to ``peer``. Raises `turnserver.errors.DatapathError` when that fails at once."""
        self.inner.connect(connection, relay, peer)

    def close_peer(self, connection: int) -> None:
        """Close both ends of a connection in any state."""
        self.inner.close_peer(connection)

    def splice(self, connection: int, client: ByteStream) -> None:
        """Splice a connection with a client's stream. Raises `turnserver.errors.DatapathError` without a connection."""
        self.inner.splice(connection, client)
