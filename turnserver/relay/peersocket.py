"""One relay's socket, and the hops of the channels that use it.

These are the objects that every relayed packet touches, so they are plain slots, and each method does its work in
place: one look-up, one system call, a few additions.
"""

import socket
from typing import Final

from stun.address import Address
from turnserver.core.types import Counters, RelayId, Route
from turnserver.net import Sockaddr, UdpSocket
from turnserver.relay.base import ClientPath

__all__ = ["Hop", "PeerSocket"]

_SWEEP_FLOOR: Final = 16
"""Below this many permissions, lapsed ones are not worth looking for."""


class PeerSocket:
    """The socket of one relayed transport address, with its routes, its permissions and its counters.

    ``routes`` finds a peer's hop by what ``recvfrom`` returned; ``dropped`` counts what did not reach the client.
    ``quota`` and ``full_round`` belong to the drain loop (`turnserver.relay.sockets`): how many datagrams to read next
    time, and when that many were last there.
    """

    __slots__ = (
        "_ip_size",
        "_permitted",
        "_sweep_at",
        "bytes_to_client",
        "dropped",
        "full_round",
        "packets_to_client",
        "quota",
        "receive",
        "relay",
        "routes",
        "udp",
    )

    def __init__(self, relay: RelayId, udp: UdpSocket) -> None:
        self.relay = relay
        self.udp = udp
        self.receive = udp.receive
        self.routes: dict[Sockaddr, Hop] = {}
        self.quota = 1
        self.full_round = 0
        self.packets_to_client = 0
        self.bytes_to_client = 0
        self.dropped = 0
        self._ip_size = 4 if udp.sock.family == socket.AF_INET else 16
        self._permitted: dict[str, float] = {}
        self._sweep_at = _SWEEP_FLOOR

    def counters(self) -> Counters:
        """What has been carried so far."""
        udp = self.udp
        dropped = self.dropped + udp.dropped
        return Counters(udp.packets_out, udp.bytes_out, self.packets_to_client, self.bytes_to_client, dropped)

    def reaches(self, peer: Address) -> bool:
        """Whether ``peer`` is of the relay's family. (The core answers 443 before it comes to this.)"""
        return len(peer.ip) == self._ip_size

    def allow(self, ip: bytes, until: float, now: float) -> None:
        """Permit a peer. Lapsed permissions are cleared away when their number has doubled, so memory is bounded."""
        self._permitted[_text(ip)] = until
        if len(self._permitted) >= self._sweep_at:
            self._permitted = {text: end for text, end in self._permitted.items() if end > now}
            self._sweep_at = max(_SWEEP_FLOOR, 2 * len(self._permitted))

    def forbid(self, ip: bytes) -> None:
        """Take a permission away."""
        self._permitted.pop(_text(ip), None)

    def permits(self, peer: Sockaddr, now: float) -> bool:
        """Whether ``peer`` has a permission, or a live channel (which the core gives only with a permission)."""
        if self._permitted.get(peer[0], now) > now:
            return True
        hop = self.routes.get(peer)
        return hop is not None and hop.expires > now

    def close(self) -> None:
        """Close the socket, and forget everything that would still let a packet through."""
        self.routes.clear()
        self._permitted.clear()
        self.udp.close()


class Hop:
    """One channel, both ways: ``send`` takes the client's payloads to the peer, ``reply`` takes the peer's back.

    It is what the client's transport finds in ``path.channels`` (`turnserver.relay.base.ChannelHop`).
    """

    __slots__ = ("_udp", "channel", "client", "expires", "link", "padded", "path", "peer", "reply")

    def __init__(self, route: Route, path: ClientPath, link: PeerSocket, peer: Sockaddr) -> None:
        self.client = route.client
        self.channel = route.channel
        self.expires = route.expires
        self.path = path
        self.padded = path.padded
        self.reply = path.send
        self.peer = peer
        self.link = link
        self._udp = link.udp

    def send(self, payload: bytes | memoryview, tos: int) -> None:
        """Send one datagram to the peer; errors are counted, never raised."""
        self._udp.send(payload, self.peer, tos)

    def send_run(self, payloads: list[bytes], tos: int) -> None:
        """Send datagrams of one size to the peer; errors are counted, never raised."""
        if not self._udp.send_run(payloads, self.peer, tos):
            for payload in payloads:
                self._udp.send(payload, self.peer, tos)

    def leads(self, link: PeerSocket, peer: Sockaddr) -> bool:
        """Whether this is the way from that relay to that peer."""
        return self.link is link and self.peer == peer

    def unlink(self) -> None:
        """Take the hop out of both tables it hangs in."""
        if self.path.channels.get(self.channel) is self:
            del self.path.channels[self.channel]
        if self.link.routes.get(self.peer) is self:
            del self.link.routes[self.peer]


def _text(ip: bytes) -> str:
    return socket.inet_ntop(socket.AF_INET if len(ip) == 4 else socket.AF_INET6, ip)
