"""The datapath seam: how relayed packets move.

A datapath owns the relay sockets and the only route table. Packets that have a route never reach the core. It looks a
packet's route up by what the socket returned and sends in place: no object is made per packet.

TCP relays (RFC 6062) carry connections, not packets, and have a seam of their own: `StreamRelays`.

The client side of a route is a `ClientPath`, which the client's transport owns. The datapath hangs a `ChannelHop` for
each of the client's channels into ``path.channels``; the transport, on reading ChannelData from that client, finds the
hop there and calls it. So the look-up costs a dictionary access on either side and neither side imports the other.

What a datapath raises, other than `turnserver.errors.DatapathError` where that is said, is a fault: it costs the relay
or the connection that the call was about. What happens outside a call of the engine's, in a callback of a socket or of
a timer, a datapath keeps to itself and reports with `RelaySink.fault`.

What passes here is *lent*: a packet stays in the memory it was received into, and is there only for the time of the
call. Whoever cannot send it on at once copies it.
"""

from typing import Protocol

from stun.address import Address
from turnserver.core.types import Counters, FiveTuple, RelayId, Route
from turnserver.paths import ClientPath
from turnserver.streams import ByteStream

__all__ = [
    "ClientSender",
    "Datapath",
    "DatapathSink",
    "RelaySink",
    "StreamRelaySink",
    "StreamRelays",
]


class ClientSender(Protocol):
    """What a datapath needs from the transports; the engine implements it."""

    def path(self, client: FiveTuple) -> ClientPath | None:
        """The path of a client, made if need be; None when its connection has gone."""

    def release(self, client: FiveTuple) -> None:
        """The client has no route left: a datagram transport may forget its path."""


class RelaySink(Protocol):
    """What datapaths of both kinds tell the engine."""

    def relay_opened(self, relay: RelayId) -> None:
        """A relay that was not open when `Datapath.open_relay` came back is open now."""

    def relay_failed(self, relay: RelayId) -> None:
        """It could not be opened; or it was open and is not any more. Then it is still to be closed."""

    def fault(self, part: str, error: Exception) -> None:
        """Something unforeseen has been raised, and kept to what it happened to; ``part`` is one of a few names."""


class DatapathSink(RelaySink, Protocol):
    """What a datapath tells the engine."""

    def peer_datagram(self, relay: RelayId, peer: Address, data: bytes) -> None:
        """A datagram from a permitted peer that has no channel (RFC 8656 §11.3)."""

    def peer_icmp(self, relay: RelayId, peer: Address, icmp_type: int, icmp_code: int, data: int) -> None:
        """An ICMP error came back for a datagram sent to ``peer`` (RFC 8656 §11.5); ``data`` is its 32-bit field."""


class Datapath(Protocol):
    """The interface of every datapath; `turnserver.relay.registry` names them."""

    name: str

    def attach(self, sink: DatapathSink, clients: ClientSender) -> None:
        """Called once, inside the running event loop, before anything else."""

    def open_relay(self, relay: RelayId, bind: Address) -> bool:
        """Bind a relay socket to exactly ``bind``. Raises `turnserver.errors.DatapathError` when it cannot.

        True when it is open. False when that is not known yet: `RelaySink.relay_opened` or ``relay_failed`` follows,
        and if `close_relay` comes before, nothing of the relay may stay. The core waits for ten seconds.
        """

    def close_relay(self, relay: RelayId) -> None:
        """Close a relay and forget its routes and permissions; unknown relays are ignored."""

    def add_route(self, route: Route) -> None:
        """Install or refresh a route; idempotent. Ignored when the client's path has gone."""

    def remove_route(self, client: FiveTuple, channel: int) -> None:
        """Remove one route; unknown ones are ignored."""

    def allow_peer(self, relay: RelayId, ip: bytes, until: float) -> None:
        """Let datagrams from ``ip`` up to the sink until ``until`` (monotonic seconds)."""

    def forbid_peer(self, relay: RelayId, ip: bytes) -> None:
        """Drop datagrams from ``ip`` again."""

    def send_to_peer(self, relay: RelayId, peer: Address, data: bytes, dont_fragment: bool) -> None:
        """Send one datagram (Send indications); errors are counted, never raised."""

    def counters(self, relay: RelayId) -> Counters:
        """What the relay has carried since it was opened (zeroes for an unknown one)."""

    def close(self) -> None:
        """Close every relay; nothing is delivered afterwards."""


class StreamRelaySink(RelaySink, Protocol):
    """What TCP relays tell the engine. A connection that was closed by `StreamRelays.close_peer` is not told of."""

    def peer_connected(self, connection: int) -> None:
        """A connection asked for with `StreamRelays.connect` stands."""

    def peer_failed(self, connection: int) -> None:
        """It does not, and never will."""

    def peer_accepted(self, relay: RelayId, peer: Address) -> int | None:
        """A peer has connected to a relay; gives the connection's number, or None when it is to be closed at once."""

    def peer_gone(self, connection: int) -> None:
        """A spliced connection is over, and both of its ends are closed."""


class StreamRelays(Protocol):
    """TCP relays: they listen, connect to peers, and splice peers' connections with clients'."""

    name: str

    def attach(self, sink: StreamRelaySink) -> None:
        """Called once, inside the running event loop, before anything else."""

    def open_relay(self, relay: RelayId, bind: Address) -> bool:
        """Listen on exactly ``bind``; like `Datapath.open_relay`, and so is what it gives and raises."""

    def close_relay(self, relay: RelayId) -> None:
        """Stop listening and close every connection of the relay; unknown relays are ignored."""

    def connect(self, connection: int, relay: RelayId, peer: Address) -> None:
        """Begin to connect to ``peer`` from the relay's address; nothing is read until it is spliced.

        Raises `turnserver.errors.DatapathError` when that fails at once.
        """

    def close_peer(self, connection: int) -> None:
        """Close a connection in whatever state, both ends; unknown ones are ignored."""

    def splice(self, connection: int, client: ByteStream) -> None:
        """Join a connection that stands to a client's stream, which is owned from now on.

        Raises `turnserver.errors.DatapathError`, having closed the stream, when there is no such connection.
        """

    def counters(self, relay: RelayId) -> Counters:
        """What the relay has carried since it was opened, in bytes: a stream has no packets."""

    def close(self) -> None:
        """Close everything; nothing is told afterwards."""
