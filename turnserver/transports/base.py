"""The transport interface: how clients reach the server.

A transport delivers whole frames with their 5-tuple; stream framing and TLS never reach the core. ChannelData for which
the client's path has a live hop goes directly to that hop (see `turnserver.relay.base`), all other frames to the sink.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from typing import NamedTuple, Protocol

from stun.address import Address
from turnserver.core.types import ClientTransport, FiveTuple, TlsMode
from turnserver.net import TosPolicy
from turnserver.passed import NO_SOCKETS, PassedSockets
from turnserver.paths import ClientPath
from turnserver.proxies import NO_PROXIES, Arrival, ProxySection
from turnserver.streams import ByteStream
from turnserver.transports.certificates import CertificateSource
from turnserver.transports.crossed import Door
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


class ListenerSection(ProxySection, Protocol):
    """One listener in the configuration: an item of ``listeners``."""

    @property
    def transport(self) -> str:
        """Its name in `turnserver.transports.registry.TRANSPORTS`."""

    @property
    def tls(self) -> TlsMode:
        """Whether it speaks TLS; ``auto``: with those clients that do."""

    @property
    def address(self) -> IPv4Address | IPv6Address:
        """The address, or a wildcard for all addresses of its family."""

    @property
    def port(self) -> int:
        """The port; 0 takes a free one."""


class ListenerLimits(Protocol):
    """The configuration's ``limits`` of listeners and their connections, in seconds and bytes."""

    @property
    def handshake_timeout(self) -> float:
        """Seconds for the PROXY header and the TLS handshake."""

    @property
    def first_message_timeout(self) -> float:
        """Seconds for the first whole frame after that."""

    @property
    def idle_timeout(self) -> float:
        """Seconds between frames of a client without an allocation."""

    @property
    def send_queue(self) -> int:
        """Bytes queued for a client that reads more slowly than its peers send."""

    @property
    def stall_timeout(self) -> float:
        """Seconds in which a client may read none of the bytes queued for it."""


@dataclass(frozen=True, slots=True)
class ListenerContext:
    """What all listeners of a server share.

    ``tos`` says whether DSCP and ECN of relayed packets are carried or cleared (RFC 8656 §14). ``limiter`` counts the
    connections of all of them together. Listeners with TLS need ``certificates``, those that serve HTTP ``http``.
    ``proxies`` is what the configuration says of proxies for all of them. ``clock`` gives monotonic seconds. ``doors``
    gives the listeners that are open at the moment. ``passed`` are sockets for them from the service manager.
    """

    limits: ListenerLimits
    limiter: ConnectionLimiter
    tos: TosPolicy = "clear"
    certificates: CertificateSource | None = None
    http: "HttpGateway | None" = None
    proxies: ProxySection = NO_PROXIES
    clock: Callable[[], float] = time.monotonic
    doors: Callable[[], Sequence[Door]] = tuple
    passed: PassedSockets = NO_SOCKETS


class TransportCounters(NamedTuple):
    """What one listener has carried, in whole frames and their bytes.

    ``dropped`` counts both directions, and what the kernel dropped because the receive buffer was full.
    """

    packets_in: int = 0
    bytes_in: int = 0
    packets_out: int = 0
    bytes_out: int = 0
    dropped: int = 0


class FrameSink(Protocol):
    """What a transport reports to the engine."""

    def client_frame(self, client: FiveTuple, frame: bytes) -> None:
        """One whole frame (STUN, or ChannelData without a live hop) from a client."""

    def client_gone(self, client: FiveTuple) -> None:
        """The client's connection has ended (streams only)."""

    def fault(self, part: str, error: BaseException, client: FiveTuple | None = None) -> None:
        """An unexpected exception was caught and its effect contained; ``part`` is one of a few names."""


class Transport(Protocol):
    """One listener; ``name`` is its name in the configuration, ``kind`` the client transport that it serves.

    One that serves several (``tls: auto``) has ``kinds`` as well, with ``kind`` as the first of them.
    ``local`` says that there is no socket: its clients are inside the process.
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
        """Clients connected now; 0 for a datagram transport."""

    def bind(self) -> None:
        """Bind the address, inside the running loop; sets ``address`` (with the real port if 0 was asked for).

        Packets and connections wait in the system until `serve`. Raises `turnserver.errors.StartupError` with one
        sentence and a hint when the address cannot be used.
        """

    def serve(self, sink: FrameSink) -> None:
        """Begin to serve clients; after `bind`."""

    def use(self, limits: ListenerLimits) -> None:
        """Use other limits from now on, for connections that come later."""

    def path(self, client: FiveTuple) -> ClientPath | None:
        """The path of a client, created if necessary; None when its connection has ended."""

    def release(self, client: FiveTuple) -> None:
        """Forget a path that has no route any more (datagram transports)."""

    def send(self, client: FiveTuple, frame: bytes) -> bool:
        """Send one whole frame; False if it had to be dropped."""

    def close_client(self, client: FiveTuple) -> None:
        """Close a client's connection; a datagram transport ignores it."""

    def close(self) -> None:
        """Stop listening and drop every path; allowed at any time, also before `bind` and `serve`."""


class ConnectedTransport(Transport, Protocol):
    """One listener whose clients have connections (RFC 8656 §3.1): TCP, TLS and DTLS; ``kind.connected`` is true."""

    def keep(self, client: FiveTuple, on: bool) -> None:
        """Set whether the client has an allocation and may therefore be idle; unknown clients are ignored."""

    def detach(self, client: FiveTuple) -> ByteStream | None:
        """Hand a client's connection to a new owner (RFC 6062 §5.4); None when it has ended.

        Every frame queued so far is sent before the bytes of the new owner, which can read the bytes that came after
        the last frame. The new owner sets its callbacks and the events that it waits for. The transport reports nothing
        about the client any more: `FrameSink.client_gone` is not called for it. A transport that raises here keeps the
        connection or closes it, because it has no other owner. It is asked only where ``kind.tcp_relays`` is true.
        """


class HttpGateway(Protocol):
    """Serves the connections on a shared port that speak HTTP."""

    def accept(self, stream: ByteStream, first: bytes, arrival: Arrival) -> None:
        """Serve a connection from now on, of which ``first`` has been read already and ``arrival`` is known."""
