"""One relay's socket, and the hops of the channels that use it.

These are the objects that every relayed packet touches, so they are plain slots, and each method does its work in
place: one look-up, one system call, a few additions.
"""

import errno
import socket
from typing import Final

from turnserver.core.types import Counters, RelayId, Route
from turnserver.net import Sockaddr, receiver, send_segments, set_dont_fragment, set_tos, supports_segments
from turnserver.relay.base import ClientPath

__all__ = ["DONT_FRAGMENT", "Hop", "PeerSocket"]

DONT_FRAGMENT: Final = 0x100
"""The bit of a socket's mode above the TOS byte: datagrams leave with DF set."""

_BUFFER_FULL: Final = frozenset((errno.EAGAIN, errno.EWOULDBLOCK, errno.ENOBUFS))

_SWEEP_FLOOR: Final = 16
"""Below this many permissions, lapsed ones are not worth looking for."""


class PeerSocket:
    """The socket of one relayed transport address, with its routes, its permissions and its counters.

    ``routes`` finds a peer's hop by what ``recvfrom`` returned. ``quota`` and ``full_round`` belong to the drain loop
    (`turnserver.relay.sockets`): how many datagrams to read next time, and when that many were last there.
    """

    __slots__ = (
        "_permitted",
        "_segments",
        "_sweep_at",
        "bytes_to_client",
        "bytes_to_peers",
        "dropped",
        "full_round",
        "mode",
        "packets_to_client",
        "packets_to_peers",
        "quota",
        "receive",
        "relay",
        "routes",
        "sendto",
        "sock",
    )

    def __init__(self, relay: RelayId, sock: socket.socket, *, receive_tos: bool = False) -> None:
        self.relay = relay
        self.sock = sock
        self.receive = receiver(sock, receive_tos=receive_tos)
        self.sendto = sock.sendto
        self.routes: dict[Sockaddr, Hop] = {}
        self.quota = 1
        self.full_round = 0
        self.mode = 0
        self.packets_to_peers = 0
        self.bytes_to_peers = 0
        self.packets_to_client = 0
        self.bytes_to_client = 0
        self.dropped = 0
        self._segments = supports_segments(sock)
        self._permitted: dict[str, float] = {}
        self._sweep_at = _SWEEP_FLOOR

    def counters(self) -> Counters:
        """What has been carried so far."""
        return Counters(
            self.packets_to_peers, self.bytes_to_peers, self.packets_to_client, self.bytes_to_client, self.dropped
        )

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

    def send(self, data: bytes | memoryview, peer: Sockaddr, mode: int) -> None:
        """Send one datagram; errors are counted, never raised. ``mode`` is the TOS byte, or-ed with `DONT_FRAGMENT`."""
        if mode != self.mode:
            self.switch(mode)
        try:
            self.sendto(data, peer)
        except OSError as error:
            if not self.retry(data, peer, error):
                return
        self.packets_to_peers += 1
        self.bytes_to_peers += len(data)

    def send_run(self, datagrams: list[bytes], peer: Sockaddr, mode: int) -> None:
        """Send datagrams of one size, with one system call if the kernel can do that."""
        if mode != self.mode:
            self.switch(mode)
        if self._segments and send_segments(self.sock, datagrams, peer):
            self.packets_to_peers += len(datagrams)
            self.bytes_to_peers += len(datagrams) * len(datagrams[0])
            return
        for data in datagrams:
            self.send(data, peer, mode)

    def close(self) -> None:
        """Close the socket and forget everything that would still let a packet through."""
        self.routes.clear()
        self._permitted.clear()
        self.sock.close()

    def switch(self, mode: int) -> None:
        """Set the options of the IP header (RFC 8656 §14) that differ from those in force."""
        changed = mode ^ self.mode
        self.mode = mode
        try:
            if changed & 0xFF:
                set_tos(self.sock, mode & 0xFF)
            if changed & DONT_FRAGMENT:
                set_dont_fragment(self.sock, mode & DONT_FRAGMENT != 0)
        except OSError:
            return  # a closed socket; the send that follows counts the packet as dropped

    def retry(self, data: bytes | memoryview, peer: Sockaddr, error: OSError) -> bool:
        """After a failed send: True if the datagram has gone out after all, else it is counted as dropped.

        An ICMP error that came back from *one* peer is reported by the next call on the socket, which is as likely to
        be a send to *another*. Reporting clears it, so a second try tells whose error it was (rule 25). A full buffer
        is this datagram's own affair: it is dropped.
        """
        if error.errno not in _BUFFER_FULL:
            try:
                self.sendto(data, peer)
            except OSError:
                pass
            else:
                return True
        self.dropped += 1
        return False


class Hop:
    """One channel, both ways: ``send`` takes the client's payloads to the peer, ``reply`` takes the peer's back.

    It is what the client's transport finds in ``path.channels`` (`turnserver.relay.base.ChannelHop`).
    """

    __slots__ = ("_peer_socket", "channel", "client", "expires", "padded", "path", "peer", "reply")

    def __init__(self, route: Route, path: ClientPath, peer_socket: PeerSocket, peer: Sockaddr) -> None:
        self.client = route.client
        self.channel = route.channel
        self.expires = route.expires
        self.path = path
        self.padded = path.padded
        self.reply = path.send
        self.peer = peer
        self._peer_socket = peer_socket

    def send(self, payload: bytes | memoryview, tos: int) -> None:
        """Send one datagram to the peer; errors are counted, never raised."""
        link = self._peer_socket
        if tos != link.mode:
            link.switch(tos)
        try:
            link.sendto(payload, self.peer)
        except OSError as error:
            if not link.retry(payload, self.peer, error):
                return
        link.packets_to_peers += 1
        link.bytes_to_peers += len(payload)

    def send_run(self, payloads: list[bytes], tos: int) -> None:
        """Send datagrams of one size to the peer; errors are counted, never raised."""
        self._peer_socket.send_run(payloads, self.peer, tos)

    def leads(self, peer_socket: PeerSocket, peer: Sockaddr) -> bool:
        """Whether this is the way from that relay to that peer."""
        return self._peer_socket is peer_socket and self.peer == peer

    def unlink(self) -> None:
        """Take the hop out of both tables it hangs in."""
        if self.path.channels.get(self.channel) is self:
            del self.path.channels[self.channel]
        if self._peer_socket.routes.get(self.peer) is self:
            del self._peer_socket.routes[self.peer]


def _text(ip: bytes) -> str:
    return socket.inet_ntop(socket.AF_INET if len(ip) == 4 else socket.AF_INET6, ip)
