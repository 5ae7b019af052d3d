"""The numbered sockets of a discovery: over UDP, or over TCP with connections that share a local port."""

import asyncio
import contextlib
import errno
import socket
import sys
from typing import Final, Protocol

from cli.probe.trouble import stranger
from stun.address import Address
from stun.constants import AddressFamily
from stun.demux import is_stun
from stun.errors import MalformedMessage
from stun.framing import StreamFramer
from turnserver.errors import StartupError

__all__ = ["NatSockets", "SocketEvents", "TcpSockets", "UdpSockets", "mtu_towards", "own_address"]

_LARGEST_DATAGRAM: Final = 65_535
_AT_ONCE: Final = 64
"""Datagrams that are read from a socket before others have their turn."""

_LARGEST_FRAME: Final = 2048
"""Bytes of an answer to Binding over TCP; what claims to be longer is something else."""

_MAX_ACCEPTED: Final = 8
"""Connections from others that are kept: whoever finds the port may connect."""

_IP_MTU: Final = {AddressFamily.IPV4: (socket.IPPROTO_IP, 14), AddressFamily.IPV6: (socket.IPPROTO_IPV6, 24)}
"""Linux's IP_MTU and IPV6_MTU, which Python has no names for."""

_USUAL_MTU: Final = 1500


class SocketEvents(Protocol):
    """What sockets report, such as `cli.nat.runner.Conversing`."""

    def received(self, number: int, source: Address, data: bytes) -> None:
        """A datagram, or a frame of a connection."""

    def failed(self, number: int, to: Address, why: str) -> None:
        """Nothing can be sent to an address, or the connection to it has ended."""


class NatSockets(Protocol):
    """Sockets by their number; each is opened when it is first used."""

    def local(self, number: int) -> Address:
        """The address of a socket. Raises `StartupError` if it cannot be opened."""

    def send(self, number: int, to: Address, data: bytes) -> None:
        """Send to an address, over TCP by a connection to it."""

    async def close(self) -> None:
        """Close them all."""


def _family(address: Address) -> socket.AddressFamily:
    return socket.AF_INET if address.family is AddressFamily.IPV4 else socket.AF_INET6


def _why(error: OSError) -> str:
    return error.strerror or type(error).__name__


def _bound(host: Address, kind: socket.SocketKind, *, shared: bool = False, port: int = 0) -> socket.socket:
    """A non-blocking socket at one of this machine's addresses. Raises `StartupError`."""
    made = socket.socket(_family(host), kind)
    try:
        if shared:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        made.bind((host.host, port))
        made.setblocking(False)
    except OSError as error:
        made.close()
        raise StartupError(f"A socket at {host.host} cannot be opened: {_why(error)}.") from error
    return made


def _address(found: tuple[object, ...]) -> Address:
    """An address of Python's, which may have a zone and further fields."""
    return Address.parse(str(found[0]).partition("%")[0], int(str(found[1])))


def own_address(server: Address) -> Address | None:
    """The address of this machine that packets to a server come from; None if there is no route to it."""
    with socket.socket(_family(server), socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((server.host, server.port))
        except OSError:
            return None
        return _address(probe.getsockname())._replace(port=0)


def mtu_towards(server: Address) -> int:
    """Bytes that a packet to a server may have, as far as the system knows; only Linux says."""
    if sys.platform != "linux":
        return _USUAL_MTU
    with socket.socket(_family(server), socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((server.host, server.port))
            return probe.getsockopt(*_IP_MTU[server.family])
        except OSError:
            return _USUAL_MTU


class UdpSockets:
    """Unconnected sockets, so that answers from other addresses than the server's are seen."""

    def __init__(self, host: Address, events: SocketEvents) -> None:
        self._host = host
        self._events = events
        self._sockets: dict[int, socket.socket] = {}

    def local(self, number: int) -> Address:
        """The address of a socket. Raises `StartupError` if it cannot be opened."""
        return _address(self._socket(number).getsockname())

    def send(self, number: int, to: Address, data: bytes) -> None:
        """Send one datagram; a full queue loses it, as networks do."""
        try:
            self._socket(number).sendto(data, (to.host, to.port))
        except BlockingIOError:
            pass
        except OSError as error:
            self._events.failed(number, to, f"it cannot be sent: {_why(error)}")

    async def close(self) -> None:
        """Close them all."""
        loop = asyncio.get_running_loop()
        for each in self._sockets.values():
            loop.remove_reader(each)
            each.close()

    def _socket(self, number: int) -> socket.socket:
        if number not in self._sockets:
            made = self._sockets[number] = _bound(self._host, socket.SOCK_DGRAM)
            asyncio.get_running_loop().add_reader(made, self._read, number, made)
        return self._sockets[number]

    def _read(self, number: int, ready: socket.socket) -> None:
        for _ in range(_AT_ONCE):
            try:
                data, source = ready.recvfrom(_LARGEST_DATAGRAM)
            except OSError:
                return  # nothing more, or an ICMP error of an earlier datagram
            self._events.received(number, _address(source).canonical(), data)


class _Stream(asyncio.Protocol):
    """One connection; ``to`` is the server that was connected to, None for a connection from elsewhere."""

    def __init__(self, sockets: "TcpSockets", number: int, to: Address | None) -> None:
        self._sockets = sockets
        self._number = number
        self._to = to
        self._framer = StreamFramer(_LARGEST_FRAME)
        self._source: Address | None = None
        self._ended = "the server closed the connection"

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._source = _address(transport.get_extra_info("peername")).canonical()
        if self._to is None and not self._sockets.welcome(transport):
            transport.close()

    def data_received(self, data: bytes) -> None:
        assert self._source is not None
        try:
            # There is no channel here: what begins as ChannelData does, as HTTP does, is of another service.
            if not self._framer.buffered and not is_stun(data):
                raise MalformedMessage("no STUN")
            frames = self._framer.feed(data)
        except MalformedMessage:
            found = stranger(data)
            self._ended = f"what it sends is neither STUN nor ChannelData; it seems to be {found}: check the port"
            self._transport.close()
            return
        for frame in frames:
            self._sockets.events.received(self._number, self._source, frame)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._to is not None:
            self._sockets.events.failed(self._number, self._to, self._ended)


class TcpSockets:
    """Local ports that listen, and that connections to several servers share (SO_REUSEPORT).

    A NAT that maps regardless of the destination gives all of them one mapped address.
    """

    def __init__(self, host: Address, events: SocketEvents) -> None:
        if not hasattr(socket, "SO_REUSEPORT"):
            raise StartupError("This system cannot share a local port between TCP connections (SO_REUSEPORT).")
        self.events = events
        self._host = host
        self._listening: dict[int, socket.socket] = {}
        self._streams: dict[tuple[int, Address], asyncio.Transport] = {}
        self._accepted: list[asyncio.BaseTransport] = []
        self._tasks: set[asyncio.Task[None]] = set()

    def local(self, number: int) -> Address:
        """The address of a socket. Raises `StartupError` if it cannot be opened."""
        if number not in self._listening:
            made = _bound(self._host, socket.SOCK_STREAM, shared=True)
            made.listen(_MAX_ACCEPTED)
            self._listening[number] = made
            self._start(self._accept(number, made))
        return _address(self._listening[number].getsockname())

    def send(self, number: int, to: Address, data: bytes) -> None:
        """Send by the connection to an address, which is made if there is none."""
        stream = self._streams.get((number, to))
        if stream is not None and not stream.is_closing():
            stream.write(data)
        else:
            self._start(self._connect(number, self.local(number).port, to, data))

    def welcome(self, transport: asyncio.BaseTransport) -> bool:
        """Take a connection from elsewhere; False if there are enough."""
        if len(self._accepted) >= _MAX_ACCEPTED:
            return False
        self._accepted.append(transport)
        return True

    async def close(self) -> None:
        """Close them all."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for stream in (*self._streams.values(), *self._accepted):
            stream.close()
        for each in self._listening.values():
            each.close()
        await asyncio.sleep(0)  # transports close their sockets in the next turn of the loop

    def _start(self, work: "asyncio._CoroutineLike[None]") -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _connect(self, number: int, port: int, to: Address, data: bytes) -> None:
        loop = asyncio.get_running_loop()
        made = _bound(self._host, socket.SOCK_STREAM, shared=True, port=port)
        try:
            await loop.sock_connect(made, (to.host, to.port))
            stream, _ = await loop.create_connection(lambda: _Stream(self, number, to), sock=made)
        except OSError as error:
            made.close()
            refused = error.errno == errno.ECONNREFUSED
            why = "nothing listens there over TCP" if refused else f"no connection: {_why(error)}"
            self.events.failed(number, to, why)
            return
        except asyncio.CancelledError:
            made.close()
            raise
        self._streams[number, to] = stream
        stream.write(data)

    async def _accept(self, number: int, listening: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            made, _ = await loop.sock_accept(listening)
            with contextlib.suppress(OSError):
                await loop.connect_accepted_socket(lambda: _Stream(self, number, None), made)
