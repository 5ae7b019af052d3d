"""The transport seam: how clients reach the server.

A transport delivers whole frames with their 5-tuple; stream framing, TLS and the like never reach the core. ChannelData
for which the client's path has a live hop goes straight there (see `turnserver.relay.base`), all else to the sink.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import NamedTuple, Protocol

from stun.address import Address
from turnserver.core.types import ClientTransport, FiveTuple
from turnserver.net import TosPolicy
from turnserver.paths import ClientPath
from turnserver.streams import ByteStream
from turnserver.transports.certificates import CertificateSource
from turnserver.transports.limits import ConnectionLimiter

__all__ = [
    "ConnectedTransport",
    "FrameSink",
    "HttpGateway",
    "ListenerContext",
    "ListenerLimits",
    "ListenerSection",
    "Transport",
    "TransportCounters",
]


class ListenerSection(Protocol):
    """One listener as the configuration has it: an item of ``listeners``."""

    @property
    def transport(self) -> str:
        """Its name in `turnserver.transports.registry.TRANSPORTS`."""

    @property
    def tls(self) -> bool:
        """Whether it speaks TLS."""

    @property
    def address(self) -> IPv4Address | IPv6Address:
        """The address, or a wildcard for all of its family."""

    @property
    def port(self) -> int:
        """The port; 0 takes a free one."""

    @property
    def proxies(self) -> Sequence[IPv4Network | IPv6Network]:
        """Networks that send a PROXY header."""


class ListenerLimits(Protocol):
    """What the configuration's ``limits`` say of listeners and their connections: seconds, and bytes."""

    @property
    def handshake_timeout(self) -> float:
        """For the PROXY header and the TLS handshake."""

    @property
    def first_message_timeout(self) -> float:
        """For the first whole frame after that."""

    @property
    def idle_timeout(self) -> float:
        """Between frames of a client without an allocation."""

    @property
    def send_queue(self) -> int:
        """Kept for a client that does not read as fast as its peers send."""

    @property
    def stall_timeout(self) -> float:
        """In which a client takes nothing of what waits for it."""


@dataclass(frozen=True, slots=True)
class ListenerContext:
    """What all listeners of a server have in common.

    ``tos`` says whether DSCP and ECN of relayed packets are carried or cleared (RFC 8656 §14). ``limiter`` counts the
    connections of all of them together. Listeners with TLS need ``certificates``, those that serve HTTP ``http``.
    ``clock`` gives monotonic seconds.
    """

    limits: ListenerLimits
    limiter: ConnectionLimiter
    tos: TosPolicy = "clear"
    certificates: CertificateSource | None = None
    http: "HttpGateway | None" = None
    clock: Callable[[], float] = time.monotonic


class TransportCounters(NamedTuple):
    """What one listener has carried, in whole frames and their bytes; dropped counts both directions."""

    packets_in: int = 0
    bytes_in: int = 0
    packets_out: int = 0
    bytes_out: int = 0
    dropped: int = 0


class FrameSink(Protocol):
    """What a transport tells the engine."""

    def client_frame(self, client: FiveTuple, frame: bytes) -> None:
        """One whole frame (STUN, or ChannelData without a live hop) from a client."""

    def client_gone(self, client: FiveTuple) -> None:
        """The client's connection has ended (streams only)."""

    def fault(self, part: str, error: Exception, client: FiveTuple | None = None) -> None:
        """Something unforeseen has been raised, and kept to what it happened to; ``part`` is one of a few names."""


class Transport(Protocol):
    """One listener; ``name`` is its word in the configuration, ``kind`` what it is to TURN clients.

    ``local`` says that there is no socket: nobody comes in there from outside the process.
    """

    name: str
    kind: ClientTransport
    local: bool
    listener: int
    address: Address

    @property
    def counters(self) -> TransportCounters:
        """What the listener has carried since it was started."""

    @property
    def connections(self) -> int:
        """Clients that have a connection here now; 0 where there are no connections."""

    def bind(self) -> None:
        """Take the address, inside the running loop; sets ``address`` (the port, if 0 was asked for).

        What comes in waits in the system until `serve`. Raises `turnserver.errors.StartupError` with one sentence and a
        hint when the address cannot be used.
        """

    def serve(self, sink: FrameSink) -> None:
        """Begin to serve clients; after `bind`."""

    def use(self, limits: ListenerLimits) -> None:
        """Use other limits from now on, for connections that come later."""

    def path(self, client: FiveTuple) -> ClientPath | None:
        """The path of a client, made if need be; None when its connection has gone."""

    def release(self, client: FiveTuple) -> None:
        """Forget a path that carries no route any more (datagram transports)."""

    def send(self, client: FiveTuple, frame: bytes) -> bool:
        """Send one whole frame; False if it had to be dropped."""

    def close_client(self, client: FiveTuple) -> None:
        """Close a client's connection; a datagram transport ignores it."""

    def close(self) -> None:
        """Stop listening and drop every path; whether or not it has been bound or has served."""


class ConnectedTransport(Transport, Protocol):
    """One listener whose clients have connections (RFC 8656 §3.1): TCP and TLS; ``kind.connected`` is true."""

    def keep(self, client: FiveTuple, on: bool) -> None:
        """Whether the client has an allocation, and so a right to be idle; unknown clients are ignored."""

    def detach(self, client: FiveTuple) -> ByteStream | None:
        """Give a client's connection away, for RFC 6062 §5.4; None when it has gone.

        Every frame queued so far is sent before what the new owner sends, and bytes that came after the last frame are
        there for it to read. The new owner sets its callbacks and says what it wants to be told of. The transport
        speaks of the client no more: `FrameSink.client_gone` is not called for it.
        """


class HttpGateway(Protocol):
    """Who takes the connections on a shared port that turn out to speak HTTP."""

    def accept(self, stream: ByteStream, first: bytes, client: Address, secure: bool) -> None:
        """Serve a connection from now on; ``first`` is what has been read of it.

        ``client`` is its address as a PROXY header may have said, ``secure`` whether TLS is underneath.
        """
