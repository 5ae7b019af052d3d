"""Real TCP connections on loopback for tests of what joins them, and the waiting that goes with them."""

import asyncio
import fcntl
import socket
import sys
import termios
from collections.abc import Callable

from stun.address import Address
from turnserver.net import from_sockaddr

__all__ = ["HOSTS", "Peer", "Server", "eventually", "has_ipv6", "received", "stream_pair"]

HOSTS = ("127.0.0.1", "::1")
TIMEOUT = 90.0


def has_ipv6() -> bool:
    """Whether ``::1`` can be bound here (containers often have no IPv6)."""
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


async def eventually(condition: Callable[[], object]) -> None:
    """Let the loop turn until something has happened."""
    async with asyncio.timeout(TIMEOUT):
        while not condition():
            await asyncio.sleep(0.001)


async def received(fileno: int, size: int) -> None:
    """Wait until the kernel has so many unread bytes for a socket: a reset would discard what is still under way."""
    waiting = bytearray(4)

    def arrived() -> bool:
        fcntl.ioctl(fileno, termios.FIONREAD, waiting)
        return int.from_bytes(waiting, sys.byteorder) >= size

    async with asyncio.timeout(TIMEOUT):
        while not arrived():
            await asyncio.sleep(0)


class Peer:
    """One end of a connection, driven by the test: non-blocking, every wait bounded."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self.sock = sock
        self.address = from_sockaddr(sock.getsockname())

    @classmethod
    async def to(cls, address: Address, source: Address | None = None) -> "Peer":
        """Connect to an address."""
        sock = socket.socket(socket.AF_INET if len(address.ip) == 4 else socket.AF_INET6)
        sock.setblocking(False)
        if source is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind((source.host, source.port))
        async with asyncio.timeout(TIMEOUT):
            await asyncio.get_running_loop().sock_connect(sock, (address.host, address.port))
        return cls(sock)

    @property
    def remote(self) -> Address:
        """Who is at the other end."""
        return from_sockaddr(self.sock.getpeername())

    async def send(self, data: bytes) -> None:
        """Send all of it."""
        async with asyncio.timeout(TIMEOUT):
            await asyncio.get_running_loop().sock_sendall(self.sock, data)

    async def read(self, size: int) -> bytes:
        """Exactly ``size`` bytes, or fewer if the stream ends before."""
        data = b""
        async with asyncio.timeout(TIMEOUT):
            while len(data) < size:
                chunk = await asyncio.get_running_loop().sock_recv(self.sock, size - len(data))
                if not chunk:
                    break
                data += chunk
        return data

    async def some(self) -> bytes:
        """Whatever comes next; nothing at the end of the stream."""
        async with asyncio.timeout(TIMEOUT):
            return await asyncio.get_running_loop().sock_recv(self.sock, 65536)

    async def ended(self) -> bool:
        """True once nothing more comes: the other end has closed, or reset."""
        try:
            return await self.read(1) == b""
        except ConnectionResetError:
            return True

    def stuff(self, limit: int = 2**30) -> int:
        """Send until the other side takes no more for now; gives how many bytes it took."""
        sent = 0
        block = bytes(65536)
        while sent < limit:
            try:
                sent += self.sock.send(block)
            except BlockingIOError:
                return sent
        return sent

    def finish(self) -> None:
        """Say that nothing more will be sent."""
        self.sock.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        """Break the connection off."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
        self.sock.close()

    def close(self) -> None:
        """Close."""
        self.sock.close()


class Server:
    """A listening socket of the test's own."""

    def __init__(self, host: str) -> None:
        self.sock = socket.create_server((host, 0), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
        self.sock.setblocking(False)
        self.address = from_sockaddr(self.sock.getsockname())

    async def accept(self) -> Peer:
        """The next who connects."""
        async with asyncio.timeout(TIMEOUT):
            sock, _ = await asyncio.get_running_loop().sock_accept(self.sock)
        return Peer(sock)

    def close(self) -> None:
        """Listen no more."""
        self.sock.close()


async def stream_pair(host: str = "127.0.0.1") -> tuple[socket.socket, Peer]:
    """A connection: one end as a bare socket for the code under test, the other for the test."""
    server = Server(host)
    near = await Peer.to(server.address)
    far = await server.accept()
    server.close()
    return near.sock, far
