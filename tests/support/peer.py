"""A peer: a plain UDP socket at the far end of a relay."""

import socket
from types import TracebackType
from typing import Self

from stun.address import Address

__all__ = ["UdpPeer", "refused_address"]

TIMEOUT = 90.0
"""Seconds that `UdpPeer.receive` waits unless told otherwise: a limit for failures, never waited out in success."""


class UdpPeer:
    """A UDP socket bound to ``host``; a context manager. Made in the caller's network namespace."""

    def __init__(self, host: str = "127.0.0.1", port: int = 0) -> None:
        self.socket = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind((host, port))
        bound = self.socket.getsockname()
        self.address = Address.parse(bound[0], bound[1])

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the socket: from now on its port answers with an ICMP error."""
        self.socket.close()

    def send(self, data: bytes, to: Address) -> None:
        """Send one datagram."""
        self.socket.sendto(data, (to.host, to.port))

    def receive(self, timeout: float = TIMEOUT) -> tuple[bytes, Address]:
        """The next datagram and where it came from; raises TimeoutError if none comes within ``timeout`` seconds."""
        self.socket.settimeout(max(timeout, 0.001))
        data, source = self.socket.recvfrom(65_535)
        return data, Address.parse(source[0], source[1])

    def echo(self) -> bytes:
        """Send the next datagram back to where it came from."""
        data, source = self.receive()
        self.send(data, source)
        return data


def refused_address(host: str = "127.0.0.1") -> Address:
    """An address on which nobody listens: that of a socket just closed."""
    with UdpPeer(host) as peer:
        return peer.address
