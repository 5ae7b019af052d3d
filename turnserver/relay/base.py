"""The datapath interface: how relayed packets move.

A datapath owns the relay sockets and the only route table. Packets that have a route never reach the core. The datapath
looks up a packet's route by the address that the socket returned and sends from the same buffer, so that no object is
created per packet.

TCP relays (RFC 6062) carry connections, not packets, and have a separate interface: `StreamRelays`.

The client side of a route is a `ClientPath`, which the client's transport owns. The datapath puts a `ChannelHop` for
each of the client's channels into ``path.channels``; the transport, on reading ChannelData from that client, finds the
hop there and calls it. The look-up thus costs one dictionary access on each side, and neither side imports the other.

An exception from a call other than the documented `turnserver.errors.DatapathError` is a fault: it ends the relay or
the connection that the call was about. An exception outside the engine's calls, in a callback of a socket or a timer,
must not escape: the datapath reports it with `RelaySink.fault`.

Packets passed here are *lent*: they stay in the buffer they were received into and are valid only during the call.
A callee that cannot send a packet at once copies it.
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
    "Relays",
    "StreamRelaySink",
    "StreamRelays",
]


class ClientSender(Protocol):
    """What a datapath needs from the transports; the engine implements it."""

    def path(self, client: FiveTuple) -> ClientPath | None:
        """The path of a client, created if necessary; None when its connection has ended."""

    def release(self, client: FiveTuple) -> None:
        """The client has no route left: a datagram transport may forget its path."""


class RelaySink(Protocol):
    """What datapaths of both kinds report to the engine."""

    def relay_opened(self, relay: RelayId) -> None:
        """A relay for which `Datapath.open_relay` returned False is open now."""

    def relay_failed(self, relay: RelayId, error: BaseException | None = None) -> None:
        """A relay could not be opened, or an open one was lost; the engine must still close the latter.

        ``error`` is what `Datapath.open_relay` would have raised: it decides whether another port is tried.
        """

    def fault(self, part: str, error: BaseException) -> None:
        """An unexpected exception was caught and its effect contained; ``part`` is one of a few names."""


class DatapathSink(RelaySink, Protocol):
    """What a datapath reports to the engine."""

    def peer_datagram(self, relay: RelayId, peer: Address, data: bytes) -> None:
        """A datagram from a permitted peer that has no channel (RFC 8656 §11.3)."""

    def peer_icmp(self, relay: RelayId, peer: Address, icmp_type: int, icmp_code: int, data: int) -> None:
        """An ICMP error came back for a datagram sent to ``peer`` (RFC 8656 §11.5); ``data`` is its 32-bit field."""


class Relays(Protocol):
    """What datapaths and TCP relays have in common; `Datapath` and `StreamRelays` say what each call means there."""

    name: str

    def open_relay(self, relay: RelayId, bind: Address) -> bool:
        """Open a relay at exactly ``bind``."""

    def close_relay(self, relay: RelayId) -> None:
        """Close a relay; unknown ones are ignored."""

    def counters(self, relay: RelayId) -> Counters:
        """What the relay has carried since it was opened."""

    def close(self) -> None:
        """Close everything."""


class Datapath(Protocol):
    """The interface of every datapath; `turnserver.relay.registry` names them."""

    name: str

    def attach(self, sink: DatapathSink, clients: ClientSender) -> None:
        """Called once, inside the running event loop, before anything else but `close`."""

    def open_relay(self, relay: RelayId, bind: Address) -> bool:
        """Bind a relay socket to exactly ``bind``. Raises `turnserver.errors.DatapathError` on failure.

        Raise it ``from`` the system's error: for anything but EADDRINUSE no other port is tried, since that would fail
        in the same way; without such an error others are.

        True when it is open. False while that is not known: `RelaySink.relay_opened` or ``relay_failed`` follows. After
        an earlier `close_relay` nothing of the relay may remain. The core waits for ten seconds.
        """

    def close_relay(self, relay: RelayId) -> None:
        """Close a relay and forget its routes and permissions; unknown relays are ignored."""

    def add_route(self, route: Route) -> None:
        """Install or refresh a route; idempotent. Ignored when the client's path does not exist any more."""

    def remove_route(self, client: FiveTuple, channel: int) -> None:
        """Remove one route; unknown ones are ignored."""

    def allow_peer(self, relay: RelayId, ip: bytes, until: float) -> None:
        """Pass datagrams from ``ip`` to the sink until ``until`` (monotonic seconds)."""

    def forbid_peer(self, relay: RelayId, ip: bytes) -> None:
        """Drop datagrams from ``ip`` again."""

    def send_to_peer(self, relay: RelayId, peer: Address, data: bytes, dont_fragment: bool) -> None:
        """Send one datagram (Send indications); errors are counted, never raised."""

    def counters(self, relay: RelayId) -> Counters:
        """What the relay has carried since it was opened (zeroes for an unknown one)."""

    def close(self) -> None:
        """Close every relay; nothing is delivered afterwards. Allowed also before `attach`, and if that has raised."""


class StreamRelaySink(RelaySink, Protocol):
    """What TCP relays report to the engine. A connection closed by `StreamRelays.close_peer` is not reported."""

    def peer_connected(self, connection: int) -> None:
        """A connection asked for with `StreamRelays.connect` is established."""

    def peer_failed(self, connection: int) -> None:
        """A connection asked for with `StreamRelays.connect` could not be established."""

    def peer_accepted(self, relay: RelayId, peer: Address) -> int | None:
        """A peer has connected to a relay; returns the connection's number, or None to close it at once."""

    def peer_gone(self, connection: int) -> None:
        """A spliced connection has ended, and both of its ends are closed."""


class StreamRelays(Protocol):
    """TCP relays: they listen, connect to peers, and splice peers' connections with clients'."""

    name: str

    def attach(self, sink: StreamRelaySink) -> None:
        """Called once, inside the running event loop, before anything else but `close`."""

    def open_relay(self, relay: RelayId, bind: Address) -> bool:
        """Listen on exactly ``bind``; returns and raises as `Datapath.open_relay` does."""

    def close_relay(self, relay: RelayId) -> None:
        """Stop listening and close every connection of the relay; unknown relays are ignored."""

    def connect(self, connection: int, relay: RelayId, peer: Address) -> None:
        """Begin to connect to ``peer`` from the relay's address; nothing is read until it is spliced.

        Raises `turnserver.errors.DatapathError` when that fails at once.
        """

    def close_peer(self, connection: int) -> None:
        """Close both ends of a connection in any state; unknown ones are ignored."""

    def splice(self, connection: int, client: ByteStream) -> None:
        """Splice an established connection with a client's stream, and take ownership of the stream.

        Raises `turnserver.errors.DatapathError`, having closed the stream, when there is no such connection.
        """

    def counters(self, relay: RelayId) -> Counters:
        """What the relay has carried since it was opened; only bytes, since a stream has no packets."""

    def close(self) -> None:
        """Close everything; nothing is reported afterwards. Allowed also before `attach`, and if that has raised."""
