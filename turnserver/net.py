"""What transports and relays share about UDP sockets: addresses, how a socket is made, the IP header fields.

The IP header (RFC 8656 §14, §13) as far as plain Python reaches it:

- DSCP and ECN are carried with ``IP_RECVTOS`` / ``IPV6_RECVTCLASS`` when a socket is made with ``receive_tos`` (the
  preferred behaviour); otherwise packets leave with zero (the alternate behaviour).
- DF is set on the datagrams of a Send indication that carries DONT-FRAGMENT and is zero otherwise (the alternate
  behaviour: the DF bit of a received packet cannot be read). IPv6 has no such bit; there, the same request means that
  this host does not fragment (``IPV6_DONTFRAG``). Where a platform has neither option the request has no effect.
- TTL and hop limit are the system's default (the alternate behaviour).
"""

import socket
import struct
import sys
from collections.abc import Callable
from functools import partial
from typing import Any, Final, Literal

import ifaddr

from stun.address import Address

__all__ = [
    "TOS_BYTE",
    "Receive",
    "Sockaddr",
    "TosPolicy",
    "bind_udp",
    "from_sockaddr",
    "local_addresses",
    "receive_burst",
    "receiver",
    "send_segments",
    "set_dont_fragment",
    "set_tos",
    "supports_segments",
    "to_sockaddr",
]

Sockaddr = tuple[str, int] | tuple[str, int, int, int]
"""A socket address as ``recvfrom`` returns it; equal tuples name equal addresses, so they serve as dictionary keys."""

TosPolicy = Literal["clear", "copy"]
"""Whether DSCP and ECN of a relayed packet are carried to the next leg (RFC 8656 §14) or left zero."""

Receive = Callable[[], tuple[Any, ...]]
"""Reads one datagram: its payload comes first in the tuple, its source last (see `receiver`)."""

_MAX_DATAGRAM: Final = 65535
"""No UDP payload is longer (65507 bytes on IPv4, 65527 on IPv6), so nothing received is ever truncated."""

_ANCILLARY_SIZE: Final = socket.CMSG_SPACE(4)
"""Room for the one control message asked for: TOS is one byte, the traffic class an ``int``."""

TOS_BYTE: Final = 0 if sys.byteorder == "little" else -1
"""Where the TOS octet stands in either form of that control message."""

_LINUX: Final = sys.platform == "linux"
_IP_MTU_DISCOVER: Final = 10  # linux/in.h; Python does not name these
_IP_PMTUDISC_DONT: Final = 0
_IP_PMTUDISC_DO: Final = 2

_SOL_UDP: Final = 17
_UDP_SEGMENT: Final = 103  # linux/udp.h; Python does not name it
_MAX_SEGMENT: Final = 1452
"""Bytes; what an Ethernet frame holds after IPv6. A larger segment would be refused there, so it is sent by itself."""
_MAX_SEGMENTS: Final = 64
"""UDP_MAX_SEGMENTS of the first kernels that have it."""
_MAX_SEGMENTED: Final = 65487
"""Bytes; all segments together must fit one IP packet, whichever the family."""
_SEGMENT_SIZE: Final = struct.Struct("=H").pack


def to_sockaddr(address: Address) -> Sockaddr:
    """The socket address of ``address``, in the very form that ``recvfrom`` returns for it."""
    if len(address.ip) == 4:
        return socket.inet_ntop(socket.AF_INET, address.ip), address.port
    return socket.inet_ntop(socket.AF_INET6, address.ip), address.port, 0, 0


def from_sockaddr(sockaddr: Sockaddr) -> Address:
    """The address a socket reported. A link-local address loses its zone, which TURN has no way to say."""
    if len(sockaddr) == 2:
        return Address(socket.inet_pton(socket.AF_INET, sockaddr[0]), sockaddr[1])
    return Address(socket.inet_pton(socket.AF_INET6, sockaddr[0].partition("%")[0]), sockaddr[1])


def local_addresses() -> list[bytes]:
    """Every IP address of this machine, packed, loopback included; each once, in the order of the interfaces.

    This is what a wildcard listener is expanded into: a socket per address knows which address a client came to
    (RFC 8656 §3.2). Link-local IPv6 addresses are left out: they mean nothing without a zone.
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


def bind_udp(address: Address, *, receive_tos: bool, buffer_size: int) -> socket.socket:
    """A non-blocking UDP socket bound to exactly ``address``; raises `OSError`.

    ``buffer_size`` (bytes) is asked for in both directions; the system may grant less. An IPv6 socket never takes
    IPv4 traffic (rule 23), and address reuse is off, so that a port in use is an error and not a silent half-share.
    """
    family = socket.AF_INET if len(address.ip) == 4 else socket.AF_INET6
    sock = socket.socket(family, socket.SOCK_DGRAM)
    try:
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer_size)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, buffer_size)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            if receive_tos:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVTCLASS, 1)
        elif receive_tos:
            sock.setsockopt(socket.IPPROTO_IP, socket.IP_RECVTOS, 1)
        set_dont_fragment(sock, False)
        sock.bind(to_sockaddr(address))
    except OSError:
        sock.close()
        raise
    return sock


def set_tos(sock: socket.socket, tos: int) -> None:
    """Have ``sock`` send with this DSCP/ECN byte from now on (RFC 8656 §14)."""
    if sock.family == socket.AF_INET:
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, tos)
    else:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_TCLASS, tos)


def set_dont_fragment(sock: socket.socket, on: bool) -> None:
    """Have ``sock`` send with DF set, or clear, from now on (RFC 8656 §14); a platform without the option ignores it.

    With DF, a datagram larger than the path is refused with ``EMSGSIZE``.
    """
    if not _LINUX:
        return
    if sock.family == socket.AF_INET:
        sock.setsockopt(socket.IPPROTO_IP, _IP_MTU_DISCOVER, _IP_PMTUDISC_DO if on else _IP_PMTUDISC_DONT)
    else:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_DONTFRAG, int(on))


def receiver(sock: socket.socket, *, receive_tos: bool) -> Receive:
    """How to read one datagram of ``sock``, as cheaply as CPython can: the tuple that the socket method makes.

    That is ``(data, source)``, or with ``receive_tos`` ``(data, control messages, flags, source)``, where the TOS of a
    packet is ``messages[0][2][TOS_BYTE]`` if there are any messages.
    """
    if receive_tos:
        return partial(sock.recvmsg, _MAX_DATAGRAM, _ANCILLARY_SIZE)
    return partial(sock.recvfrom, _MAX_DATAGRAM)


def receive_burst(receive: Receive, limit: int) -> list[tuple[Any, ...]]:
    """Up to ``limit`` waiting datagrams; fewer when there are no more, or when an error on the socket was reported.

    Such an error belongs to something sent earlier and is used up by being reported; what waits behind it is read when
    the socket, still readable, is next served.
    """
    burst: list[tuple[Any, ...]] = []
    append = burst.append
    try:
        for _ in range(limit):
            append(receive())
    except OSError:
        return burst
    return burst


def supports_segments(sock: socket.socket) -> bool:
    """Whether the kernel can cut one send into several datagrams (``UDP_SEGMENT``, Linux 4.18)."""
    if not _LINUX:
        return False
    try:
        sock.setsockopt(_SOL_UDP, _UDP_SEGMENT, 0)
    except OSError:
        return False
    return True


def send_segments(sock: socket.socket, datagrams: list[bytes], sockaddr: Sockaddr) -> bool:
    """Send ``datagrams``, all of one size, to one address with one system call.

    False if none has been sent, whatever the reason: the caller then sends them one by one and meets the reason there.
    On the wire there is no difference.
    """
    size = len(datagrams[0])
    if not 0 < size <= _MAX_SEGMENT or len(datagrams) > min(_MAX_SEGMENTS, _MAX_SEGMENTED // size):
        return False
    try:
        sock.sendmsg(datagrams, ((_SOL_UDP, _UDP_SEGMENT, _SEGMENT_SIZE(size)),), 0, sockaddr)
    except OSError:
        return False
    return True
