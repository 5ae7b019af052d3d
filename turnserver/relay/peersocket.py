"""One relay's socket, and the hops of the channels that use it.

Every relayed packet touches these objects. They therefore have slots, and each method does its work inline: one
look-up, one system call, a few additions.
"""

import socket
from typing import Final

from stun.address import Address
from turnserver.core.types import Counters, RelayId, Route
from turnserver.net import Destination, UdpSocket, from_sockaddr, to_sockaddr
from turnserver.paths import ClientPath
from turnserver.receiver import Receiver, Source, from_source, to_source

__all__ = ["Hop", "PeerSocket"]

_SWEEP_FLOOR: Final = 16
"""Below this many permissions, expired ones are not removed."""


class PeerSocket:
    """The socket of one relayed transport address, with its routes, its permissions and its counters.

    ``routes`` maps the source of a datagram to the peer's hop; ``unpermitted`` counts datagrams of peers without a
    permission, ``dropped`` others that did not reach the client, and ``faults`` unexpected exceptions.
    ``quota`` and ``full_round`` belong to the drain loop (`turnserver.relay.sockets`): how many datagrams to read next
    time, and when the quota was last filled.
    """

    __slots__ = (
        "_ip_size",
        "_permitted",
        "_sweep_at",
        "address",
        "bytes_to_client",
        "dropped",
        "faults",
        "full_round",
        "packets_to_client",
        "quota",
        "receiver",
        "relay",
        "routes",
        "udp",
        "unpermitted",
    )

    def __init__(self, relay: RelayId, udp: UdpSocket, receiver: Receiver) -> None:
        self.relay = relay
        self.udp = udp
        self.address = from_sockaddr(udp.sock.getsockname())
        self.receiver = receiver
        self.routes: dict[Source, Hop] = {}
        self.quota = 1
        self.full_round = 0
        self.packets_to_client = 0
        self.bytes_to_client = 0
        self.dropped = 0
        self.unpermitted = 0
        self.faults = 0
        self._ip_size = 4 if udp.sock.family == socket.AF_INET else 16
        self._permitted: dict[bytes, float] = {}
        self._sweep_at = _SWEEP_FLOOR

    def counters(self) -> Counters:
        """What has been carried so far."""
        udp = self.udp
        dropped = self.dropped + self.unpermitted + udp.dropped + udp.lost
        sent = udp.packets_out, udp.bytes_out
        return Counters(*sent, self.packets_to_client, self.bytes_to_client, dropped)

    def reaches(self, peer: Address) -> bool:
        """Whether ``peer`` is of the relay's family. (The core answers 443 before a wrong one gets here.)"""
        return len(peer.ip) == self._ip_size

    def allow(self, ip: bytes, until: float, now: float) -> None:
        """Permit a peer. Expired permissions are removed whenever the table has doubled, so memory is bounded."""
        self._permitted[ip] = until
        if len(self._permitted) >= self._sweep_at:
            self._permitted = {ip: end for ip, end in self._permitted.items() if end > now}
            self._sweep_at = max(_SWEEP_FLOOR, 2 * len(self._permitted))

    def forbid(self, ip: bytes) -> None:
        """Remove a permission."""
        self._permitted.pop(ip, None)

    def permits(self, peer: Source, now: float) -> bool:
        """Whether ``peer`` has a permission, or a live channel (which the core gives only with a permission)."""
        if self._permitted.get(from_source(peer).ip, now) > now:
            return True
        hop = self.routes.get(peer)
        return hop is not None and hop.expires > now

    def close(self) -> None:
        """Close the socket, and forget all routes and permissions, so that no packet passes any more."""
        self.routes.clear()
        self._permitted.clear()
        self.udp.close()


class Hop(Destination):
    """One channel in both directions: ``send`` takes the client's payloads to the peer, ``reply`` the peer's back.

    The client's transport finds it in ``path.channels`` (`turnserver.paths.ChannelHop`).
    """

    __slots__ = ("channel", "client", "expires", "link", "padded", "path", "peer", "reply")

    def __init__(self, route: Route, path: ClientPath, link: PeerSocket) -> None:
        super().__init__(link.udp, to_sockaddr(route.peer))
        self.peer = to_source(route.peer)
        self.client = route.client
        self.channel = route.channel
        self.expires = route.expires
        self.path = path
        self.padded = path.padded
        self.reply = path.send
        self.link = link

    def leads(self, link: PeerSocket, peer: Source) -> bool:
        """Whether this hop leads from that relay to that peer."""
        return self.link is link and self.peer == peer

    def unlink(self) -> None:
        """Remove the hop from the relay's routes and from the client's channels."""
        if self.link.routes.get(self.peer) is self:
            del self.link.routes[self.peer]
        if self.path.channels.get(self.channel) is self:
            del self.path.channels[self.channel]
