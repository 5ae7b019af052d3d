"""The error queue of a UDP socket: which ICMP errors came back, and for which datagrams (RFC 8656 §11.5).

On request, Linux queues on a socket each ICMP error with the destination of the datagram that caused it. That is all
that §11.5 needs: the kernel has matched the quoted UDP header to the socket, hence to the allocation.
"""

import socket
import struct
import sys
from typing import Final, NamedTuple

from turnserver.net import Sockaddr

__all__ = ["IcmpError", "enable_errors", "parse_error", "read_errors"]

_IP_RECVERR: Final = 11  # linux/in.h; Python does not name these
_IPV6_RECVERR: Final = 25
_SO_EE_ORIGIN_ICMP: Final = 2  # linux/errqueue.h
_SO_EE_ORIGIN_ICMP6: Final = 3
_EXTENDED_ERR: Final = struct.Struct("=IBBBBII")  # errno, origin, type, code, padding, info, data
_ANCILLARY_SIZE: Final = 256
"""Room for the error, the address of the router that sent it, and a TOS control message."""

_PASSED_ON: Final = {_SO_EE_ORIGIN_ICMP: frozenset((3, 11)), _SO_EE_ORIGIN_ICMP6: frozenset((1, 2, 3))}
"""RFC 8656 §11.5: ICMPv4 types 3 and 11, ICMPv6 types 1, 2 and 3; all others are dropped."""

_WITH_MTU: Final = frozenset(((_SO_EE_ORIGIN_ICMP, 3, 4), (_SO_EE_ORIGIN_ICMP6, 2, 0)))
"""RFC 8656 §18.13: only these carry a value (the next hop's MTU); for all others Error Data MUST be zero."""

_SUPPORTED: Final = sys.platform == "linux"


class IcmpError(NamedTuple):
    """One ICMP error to pass on: the peer that the failed datagram was for, and the values of the ICMP attribute."""

    peer: Sockaddr
    type: int
    code: int
    data: int


def enable_errors(sock: socket.socket) -> bool:
    """Ask for the error queue (``IP_RECVERR`` / ``IPV6_RECVERR``); False where the platform has none."""
    if not _SUPPORTED:
        return False
    if sock.family == socket.AF_INET:
        sock.setsockopt(socket.IPPROTO_IP, _IP_RECVERR, 1)
    else:
        sock.setsockopt(socket.IPPROTO_IPV6, _IPV6_RECVERR, 1)
    return True


def parse_error(ancillary: list[tuple[int, int, bytes]], destination: Sockaddr) -> IcmpError | None:
    """The ICMP error in one entry of the queue; None for local errors and for types that are not passed on.

    ``destination`` is the address that the kernel reports with the entry: the destination of the failed datagram.
    """
    for level, kind, value in ancillary:
        if (level, kind) not in ((socket.IPPROTO_IP, _IP_RECVERR), (socket.IPPROTO_IPV6, _IPV6_RECVERR)):
            continue
        if len(value) < _EXTENDED_ERR.size:
            continue
        _errno, origin, icmp_type, code, _padding, info, _data = _EXTENDED_ERR.unpack_from(value)
        if icmp_type not in _PASSED_ON.get(origin, ()):
            return None
        return IcmpError(destination, icmp_type, code, info if (origin, icmp_type, code) in _WITH_MTU else 0)
    return None


def read_errors(sock: socket.socket, limit: int) -> list[IcmpError]:
    """Take up to ``limit`` entries off the error queue of ``sock``; never raises.

    Once the queue is empty the socket's pending error is cleared too. It only repeats a queued error (or one without a
    peer, when memory for the queue ran out), and would keep the socket signalled for ever.
    """
    errors: list[IcmpError] = []
    if not _SUPPORTED:
        return errors
    for _ in range(limit):
        try:
            _, ancillary, _, destination = sock.recvmsg(0, _ANCILLARY_SIZE, socket.MSG_ERRQUEUE)
        except OSError:
            _clear_pending(sock)
            break
        if isinstance(destination, tuple) and isinstance(destination[0], str):
            error = parse_error(ancillary, destination)
            if error is not None:
                errors.append(error)
    return errors


def _clear_pending(sock: socket.socket) -> None:
    try:
        sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    except OSError:
        return  # the socket has been closed, and its error with it
