"""UDP sockets for transports and relays: addresses, how a socket is made, the IP header fields.

The IP header fields (RFC 8656 §14, §13) that plain Python can set:

- DSCP and ECN are carried with ``IP_RECVTOS`` / ``IPV6_RECVTCLASS`` when a socket is made with ``receive_tos`` (the
  preferred behaviour); otherwise packets leave with zero (the alternate behaviour).
- DF is set on the datagrams of a Send indication that carries DONT-FRAGMENT and is zero otherwise (the alternate
  behaviour: the DF bit of a received packet cannot be read). IPv6 has no such bit; there, the same request means that
  this host does not fragment (``IPV6_DONTFRAG``). Where a platform has neither option the request has no effect.
- TTL and hop limit are the system's default (the alternate behaviour).

Rules: docs/conformance.md.
"""

import errno
import socket
import struct
import sys
from collections.abc import Sequence
from typing import Final, Literal

import ifaddr

from stun.address import Address

__all__ = [
    "DONT_FRAGMENT",
    "TOS_BYTE",
    "Destination",
    "Sockaddr",
    "TosPolicy",
    "UdpSocket",
    "bind_udp",
    "from_sockaddr",
    "has_address",
    "local_addresses",
    "receive_buffer_of",
    "set_tos",
    "source_address",
    "to_sockaddr",
]

Sockaddr = tuple[str, int] | tuple[str, int, int, int]
"""A socket address as ``recvfrom`` returns it; equal tuples name equal addresses, so they serve as dictionary keys."""

TosPolicy = Literal["clear", "copy"]
"""Whether DSCP and ECN of a relayed packet are carried to the next leg (RFC 8656 §14) or left zero."""

DONT_FRAGMENT: Final = 0x100
"""The bit above the TOS byte in a `UdpSocket`'s mode: datagrams leave with DF set."""

TOS_BYTE: Final = 0 if sys.byteorder == "little" else -1
"""The offset of the TOS octet in a received control message: TOS is one byte, the traffic class an ``int``."""

_LINUX: Final = sys.platform == "linux"
_IP_MTU_DISCOVER: Final = 10  # linux/in.h; Python does not name these
_IP_PMTUDISC_DONT: Final = 0
_IP_PMTUDISC_DO: Final = 2

_BUFFER_FULL: Final = frozenset((errno.EAGAIN, errno.EWOULDBLOCK, errno.ENOBUFS))

_NOT_SENT_HERE: Final = frozenset(
    (
        errno.ENETUNREACH,
        errno.EHOSTUNREACH,
        errno.ENETDOWN,
        errno.EPERM,
        errno.EACCES,
        errno.EADDRNOTAVAIL,
        errno.EINVAL,
    )
)
"""Errors of this host, not of the network beyond it: no route, a local firewall, an address that has gone."""

_SO_MEMINFO: Final = 55  # asm-generic/socket.h, Linux 4.12; Python does not name it
_MEMINFO: Final = struct.Struct("=32xI")
"""``SK_MEMINFO_DROPS`` is the last of nine numbers: datagrams dropped because the receive buffer was full."""

_SOL_UDP: Final = 17
_UDP_SEGMENT: Final = 103  # linux/udp.h; Python does not name it
_MAX_SEGMENT: Final = 1452
"""Bytes that fit an Ethernet frame with IPv6. A larger segment would be refused there, so it is sent by itself."""
_MAX_SEGMENTED: Final = 65487
"""Bytes; all segments together must fit one IP packet of either family."""
_SEGMENT_SIZE: Final = struct.Struct("=H").pack


def to_sockaddr(address: Address) -> Sockaddr:
    """The socket address of ``address``, in the same form in which ``recvfrom`` returns it."""
    if len(address.ip) == 4:
        return socket.inet_ntop(socket.AF_INET, address.ip), address.port
    return socket.inet_ntop(socket.AF_INET6, address.ip), address.port, 0, 0


def from_sockaddr(sockaddr: Sockaddr) -> Address:
    """The address that a socket reported. A link-local address loses its zone, which TURN cannot carry."""
    if len(sockaddr) == 2:
        return Address(socket.inet_pton(socket.AF_INET, sockaddr[0]), sockaddr[1])
    return Address(socket.inet_pton(socket.AF_INET6, sockaddr[0].partition("%")[0]), sockaddr[1])


def local_addresses() -> list[bytes]:
    """Every IP address of this machine, packed, loopback included; each once, in the order of the interfaces.

    A wildcard listener is expanded into these: with one socket per address, the server address of a client's 5-tuple is
    known (RFC 8656 §3.2). Link-local IPv6 addresses are left out: they mean nothing without a zone.
    """
    found: dict[bytes, None] = {}
    for adapter in ifaddr.get_adapters():
        for entry in adapter.ips:
            if isinstance(entry.ip, str):
                found[socket.inet_pton(socket.AF_INET, entry.ip)] = None
                continue
            packed = socket.inet_pton(socket.AF_INET6, entry.ip[0].partition("%")[0])
            if not (packed[0] == 0xFE and packed[1] & 0xC0 == 0x80):
                found[packed] = None
    return list(found)


def has_address(ip: bytes) -> bool:
    """Whether this machine has an address (packed), or lets programs use it (AnyIP, non-local binds, all of 127/8)."""
    if ip in local_addresses():  # one whose duplicate check is under way, too, which cannot be bound yet
        return True
    try:
        with socket.socket(socket.AF_INET if len(ip) == 4 else socket.AF_INET6, socket.SOCK_DGRAM) as asking:
            asking.bind(to_sockaddr(Address(ip, 0)))
    except OSError:
        return False
    return True


def source_address(towards: bytes) -> bytes | None:
    """The address that this machine sends from towards another one (packed); None without a route.

    Connecting a UDP socket sends nothing; it only asks the routing table.
    """
    try:
        with socket.socket(socket.AF_INET if len(towards) == 4 else socket.AF_INET6, socket.SOCK_DGRAM) as asking:
            asking.connect(to_sockaddr(Address(towards, 9)))
            return from_sockaddr(asking.getsockname()).ip
    except OSError:
        return None


def bind_udp(
    address: Address,
    *,
    receive_tos: bool,
    receive_buffer: int,
    send_buffer: int,
    bound: socket.socket | None = None,
) -> socket.socket:
    """A non-blocking UDP socket bound to exactly ``address``; raises `OSError`.

    ``bound`` is one that somebody else has bound to it: it gets the same options, and is closed if that fails.

    The buffer sizes (bytes) are requests; the system may grant less. An IPv6 socket never takes IPv4 traffic (rule 23).
    Address reuse is off, so that a port in use is an error instead of two sockets sharing its traffic.
    """
    family = socket.AF_INET if len(address.ip) == 4 else socket.AF_INET6
    sock = socket.socket(family, socket.SOCK_DGRAM) if bound is None else bound
    try:
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, send_buffer)
        if receive_tos and family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVTCLASS, 1)
        elif receive_tos:
            sock.setsockopt(socket.IPPROTO_IP, socket.IP_RECVTOS, 1)
        _set_dont_fragment(sock, False)
        if bound is None:
            if family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            sock.bind(to_sockaddr(address))
    except OSError:
        sock.close()
        raise
    return sock


class UdpSocket:
    """A socket of `bind_udp`, with its counters and the current state of its options.

    It is read by a `turnserver.receiver.Receiver` and written through a `Destination`. ``fd`` is -1 once it is closed.
    ``mode`` is the TOS byte in force, or-ed with `DONT_FRAGMENT`; options are changed only when the next datagram needs
    others. ``packets_out`` and ``bytes_out`` (payload) count what was sent, ``dropped`` what could not be sent. Of the
    latter, ``failed`` is what this host refused to send, and ``failure`` the last error with its destination.
    """

    __slots__ = (
        "_lost",
        "_told_failed",
        "_told_lost",
        "bytes_out",
        "dropped",
        "failed",
        "failure",
        "fd",
        "mode",
        "packets_out",
        "segments",
        "sendto",
        "sock",
    )

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.sendto = sock.sendto
        self.fd = sock.fileno()
        self.mode = 0
        self.segments = _supports_segments(sock)
        self.packets_out = 0
        self.bytes_out = 0
        self.dropped = 0
        self.failed = 0
        self.failure: tuple[int, Sockaddr] = (0, ("0.0.0.0", 0))
        self._lost = self._told_lost = self._told_failed = 0

    @property
    def lost(self) -> int:
        """Datagrams that the kernel has dropped because the receive buffer was full; 0 where it does not tell."""
        if self.fd >= 0:
            self._lost = _kernel_drops(self.sock)
        return self._lost

    @property
    def seen_lost(self) -> int:
        """The same as it was when somebody last asked the system: costs no call."""
        return self._lost

    def has_datagram(self) -> bool:
        """Whether a datagram waits; costs a system call of its own."""
        try:
            self.sock.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)  # of 0 bytes Python would not ask the system
        except BlockingIOError:
            return False
        except OSError:
            return True  # an error that was reported by this call; a datagram may wait behind it
        return True

    def news(self) -> tuple[int, int]:
        """How many more are lost, and how many more have failed, than at the previous call."""
        lost, failed = self.lost, self.failed
        told = lost - self._told_lost, failed - self._told_failed
        self._told_lost, self._told_failed = lost, failed
        return told

    def to(self, sockaddr: Sockaddr) -> "Destination":
        """The destination for that address."""
        return Destination(self, sockaddr)

    def switch(self, mode: int) -> None:
        """Set the options of the IP header (RFC 8656 §14) that differ from those in force."""
        changed = mode ^ self.mode
        self.mode = mode
        try:
            if changed & 0xFF:
                set_tos(self.sock, mode & 0xFF)
            if changed & DONT_FRAGMENT:
                _set_dont_fragment(self.sock, mode & DONT_FRAGMENT != 0)
        except OSError:
            return  # a closed socket; the send that follows counts its datagram as dropped

    def close(self) -> None:
        """Close the socket; datagrams sent afterwards are counted as dropped."""
        if self.fd >= 0:
            self._lost = _kernel_drops(self.sock)
        self.fd = -1
        self.sock.close()


class Destination:
    """One address that a `UdpSocket` sends to."""

    __slots__ = ("_socket", "sockaddr")

    def __init__(self, socket: UdpSocket, sockaddr: Sockaddr) -> None:
        self._socket = socket
        self.sockaddr = sockaddr

    def send(self, data: bytes | memoryview, tos: int = 0) -> bool:
        """Send one datagram; False, and counted, if it had to be dropped. ``tos`` may include `DONT_FRAGMENT`.

        A full buffer drops the datagram. Any other error may belong to *another* destination: an ICMP error that came
        back is reported by the next call on the socket, for any destination. Reporting clears it, so a second try shows
        whether the error belongs to this one (rule 25).
        """
        socket = self._socket
        if tos != socket.mode:
            socket.switch(tos)
        sendto = socket.sendto  # a local: CPython 3.11 is slow to call a function held in a slot
        try:
            sendto(data, self.sockaddr)
        except OSError as error:
            if error.errno in _BUFFER_FULL or not self._sent(data):
                socket.dropped += 1
                return False
        socket.packets_out += 1
        socket.bytes_out += len(data)
        return True

    def send_run(self, datagrams: Sequence[bytes | memoryview], tos: int = 0) -> bool:
        """Send datagrams of one size with one system call; on the wire there is no difference.

        False if none was sent, for any reason: the caller then sends them one by one and gets the error there.
        """
        socket = self._socket
        size = len(datagrams[0])
        if not socket.segments or not 0 < size <= _MAX_SEGMENT or len(datagrams) > _MAX_SEGMENTED // size:
            return False
        if tos != socket.mode:
            socket.switch(tos)
        try:
            socket.sock.sendmsg(datagrams, ((_SOL_UDP, _UDP_SEGMENT, _SEGMENT_SIZE(size)),), 0, self.sockaddr)
        except OSError:
            return False
        socket.packets_out += len(datagrams)
        socket.bytes_out += len(datagrams) * size
        return True

    def _sent(self, data: bytes | memoryview) -> bool:
        try:
            self._socket.sendto(data, self.sockaddr)
        except OSError as error:
            number = error.errno or 0
            if number in _NOT_SENT_HERE and self.sockaddr[1]:  # no host can send to port 0: an error of the request
                self._socket.failed += 1
                self._socket.failure = number, self.sockaddr
            return False
        return True


def receive_buffer_of(sock: socket.socket) -> int:
    """The bytes of payload and overhead that the system has granted for receiving, in the unit of the request."""
    size = sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)
    return size // 2 if _LINUX else size  # Linux doubles the request, for its own overhead


def _kernel_drops(sock: socket.socket) -> int:
    if not _LINUX:
        return 0
    try:
        return int(_MEMINFO.unpack(sock.getsockopt(socket.SOL_SOCKET, _SO_MEMINFO, _MEMINFO.size))[0])
    except (OSError, struct.error):
        return 0


def set_tos(sock: socket.socket, tos: int) -> None:
    """Set the DSCP/ECN byte that ``sock`` sends with (RFC 8656 §14)."""
    if sock.family == socket.AF_INET:
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, tos)
    else:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_TCLASS, tos)


def _set_dont_fragment(sock: socket.socket, on: bool) -> None:
    """Set or clear DF for what ``sock`` sends (RFC 8656 §14); without effect on a platform without the option.

    With DF, a datagram larger than the path MTU is refused with ``EMSGSIZE``.
    """
    if not _LINUX:
        return
    if sock.family == socket.AF_INET:
        sock.setsockopt(socket.IPPROTO_IP, _IP_MTU_DISCOVER, _IP_PMTUDISC_DO if on else _IP_PMTUDISC_DONT)
    else:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_DONTFRAG, int(on))


def _supports_segments(sock: socket.socket) -> bool:
    """Whether the kernel can segment one send into several datagrams (``UDP_SEGMENT``, Linux 4.18)."""
    if not _LINUX:
        return False
    try:
        sock.setsockopt(_SOL_UDP, _UDP_SEGMENT, 0)
    except OSError:
        return False
    return True
