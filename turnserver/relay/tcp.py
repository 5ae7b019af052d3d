"""TCP relays (RFC 6062): a listening socket per relayed transport address, and the connections with its peers.

A peer's connection is not read before ConnectionBind: until then the peer's bytes stay in the kernel's receive buffer,
and the advertised window shrinks accordingly (RFC 6062 §5.2, §5.3). Then it is spliced with the client's data
connection (`turnserver.relay.splice`).

Connections are made from the same address that the relay listens on (RFC 6062 §5.2), so several sockets share one port.
The listening socket is bound without ``SO_REUSEPORT``, so that a port in use is an error. The option is set afterwards,
and shares the port only with sockets of this user that set it too.
"""

import asyncio
import errno
import logging
import os
import socket
from collections.abc import Iterable
from typing import Final

from stun.address import Address
from turnserver.core.types import Counters, RelayId
from turnserver.errors import DatapathError
from turnserver.faults import RAISED
from turnserver.lines import Lines
from turnserver.losses import Drops
from turnserver.net import from_sockaddr, to_sockaddr
from turnserver.relay.base import StreamRelaySink
from turnserver.relay.carried import Carried
from turnserver.relay.splice import StreamSplice
from turnserver.streams import ByteStream, bind_tcp

__all__ = ["TcpRelays"]

BACKLOG: Final = 64
"""The listen backlog of one relay."""

ACCEPT_BURST: Final = 16
"""Peers accepted by one relay per turn of the loop."""

ACCEPT_PAUSE: Final = 1.0
"""Seconds for which a relay accepts no connection after the system had no room for a socket, instead of spinning."""

SWEEP_INTERVAL: Final = 60.0
"""Seconds between checks for abandoned connections: half-closed, and idle from one check to the next."""

_logger = logging.getLogger("meshturn.relay")


class _Listener:
    """One relayed transport address, and the byte counts of its ended connections."""

    __slots__ = ("address", "connections", "octets_to_client", "octets_to_peers", "resuming", "sock")

    def __init__(self, sock: socket.socket, address: Address) -> None:
        self.sock = sock
        self.address = address
        self.connections: set[int] = set()
        self.resuming: asyncio.TimerHandle | None = None
        self.octets_to_peers = 0
        self.octets_to_client = 0


class _Link:
    """One peer connection: a connecting socket, a waiting stream, or a splice."""

    __slots__ = ("connecting", "relay", "splice", "stream")

    def __init__(self, relay: RelayId) -> None:
        self.relay = relay
        self.connecting: socket.socket | None = None
        self.stream: ByteStream | None = None
        self.splice: StreamSplice | None = None


class TcpRelays:
    """TCP relays on the running loop; see `turnserver.relay.base.StreamRelays`."""

    name = "tcp"

    def __init__(self) -> None:
        self._listeners: dict[RelayId, _Listener] = {}
        self._links: dict[int, _Link] = {}
        self._sweeper: asyncio.TimerHandle | None = None
        self._gone = Counters()
        self._lines = Lines(_logger)
        self._sink: StreamRelaySink
        self._loop: asyncio.AbstractEventLoop

    def attach(self, sink: StreamRelaySink) -> None:
        """Join the running loop."""
        self._sink = sink
        self._loop = asyncio.get_running_loop()

    def open_relay(self, relay: RelayId, bind: Address) -> bool:
        """Listen on exactly ``bind``. Raises `turnserver.errors.DatapathError` when it cannot."""
        if relay in self._listeners:
            raise DatapathError(f"relay {relay} is open already")
        try:
            sock = _listen(bind)
        except OSError as error:
            raise DatapathError(f"cannot listen for peers on {bind}: {error.strerror or error}") from error
        listener = self._listeners[relay] = _Listener(sock, from_sockaddr(sock.getsockname()))
        self._loop.add_reader(sock.fileno(), self._accept, relay, listener)
        return True

    def close_relay(self, relay: RelayId) -> None:
        """Stop listening and close every connection of the relay; unknown relays are ignored."""
        listener = self._listeners.get(relay)
        if listener is None:
            return
        if listener.resuming is not None:
            listener.resuming.cancel()
        self._loop.remove_reader(listener.sock.fileno())
        listener.sock.close()
        for connection in list(listener.connections):
            try:
                self.close_peer(connection)
            except RAISED as error:  # the others must be closed as well
                self._sink.fault("datapath.close_peer", error)
        self._gone = self._octets([listener])
        del self._listeners[relay]

    def connect(self, connection: int, relay: RelayId, peer: Address) -> None:
        """Begin to connect to ``peer`` from the relay's address; nothing is read until it is spliced.

        Raises `turnserver.errors.DatapathError` when that fails at once.
        """
        listener = self._listeners.get(relay)
        if listener is None:
            raise DatapathError(f"there is no relay {relay}")
        try:
            sock = _begin_to_connect(listener.address, peer)
        except OSError as error:
            raise DatapathError(f"cannot connect to {peer}: {error.strerror or error}") from error
        self._enter(connection, relay, listener).connecting = sock
        self._loop.add_writer(sock.fileno(), self._connected, connection, sock)

    def close_peer(self, connection: int) -> None:
        """Close both ends of a connection in any state; unknown ones are ignored."""
        link = self._links.pop(connection, None)
        if link is None:
            return
        listener = self._listeners[link.relay]
        listener.connections.discard(connection)
        if link.splice is not None:
            listener.octets_to_peers += link.splice.octets_to_peer
            listener.octets_to_client += link.splice.octets_to_client
        if link.connecting is not None:
            self._loop.remove_writer(link.connecting.fileno())  # if it has not been already
            link.connecting.close()
        if link.stream is not None:
            link.stream.close()
        if link.splice is not None:
            link.splice.close()

    def splice(self, connection: int, client: ByteStream) -> None:
        """Splice an established connection with a client's stream, and take ownership of the stream.

        Raises `turnserver.errors.DatapathError`, having closed the stream, when there is no such connection.
        """
        link = self._links.get(connection)
        if link is None or link.stream is None:
            client.close()
            raise DatapathError(f"there is no connection {connection} to splice")
        peer, link.stream = link.stream, None
        link.splice = StreamSplice(client, peer, lambda: self._over(connection), self._splice_failed)
        if self._sweeper is None:
            self._sweeper = self._loop.call_later(SWEEP_INTERVAL, self._sweep)
        # In a later turn of the loop: the splice may end at once, while the caller is not done yet.
        self._loop.call_soon(self._start, connection, link.splice)

    def counters(self, relay: RelayId) -> Counters:
        """What the relay has carried since it was opened; only bytes, since a stream has no packets."""
        listener = self._listeners.get(relay)
        if listener is None:
            return Counters()
        splices = [self._links[connection].splice for connection in listener.connections]
        return Counters(
            bytes_to_peers=listener.octets_to_peers + sum(s.octets_to_peer for s in splices if s is not None),
            bytes_to_client=listener.octets_to_client + sum(s.octets_to_client for s in splices if s is not None),
        )

    def carried(self) -> Carried:
        """What all relays have carried since the start; cheap also for very many."""
        total = self._octets(self._listeners.values())
        splices = [link.splice for link in self._links.values() if link.splice is not None]
        return Carried(
            total._replace(
                bytes_to_peers=total.bytes_to_peers + sum(splice.octets_to_peer for splice in splices),
                bytes_to_client=total.bytes_to_client + sum(splice.octets_to_client for splice in splices),
            ),
            Drops(),
        )

    def close(self) -> None:
        """Close everything; nothing is reported afterwards."""
        for relay in list(self._listeners):
            self.close_relay(relay)
        if self._sweeper is not None:
            self._sweeper.cancel()
            self._sweeper = None

    def _octets(self, listeners: Iterable[_Listener]) -> Counters:
        """What the ended connections of these and of all closed relays have carried."""
        to_peers, to_client = self._gone.bytes_to_peers, self._gone.bytes_to_client
        for listener in listeners:
            to_peers += listener.octets_to_peers
            to_client += listener.octets_to_client
        return Counters(bytes_to_peers=to_peers, bytes_to_client=to_client)

    def _enter(self, connection: int, relay: RelayId, listener: _Listener) -> _Link:
        link = self._links[connection] = _Link(relay)
        listener.connections.add(connection)
        return link

    def _connected(self, connection: int, sock: socket.socket) -> None:
        """The connection attempt has succeeded or failed."""
        self._loop.remove_writer(sock.fileno())
        link = self._links[connection]
        try:
            if sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                raise ConnectionError("connection refused, or no route")
            link.stream = self._stream(sock)
        except RAISED as error:
            if not isinstance(error, OSError):  # the connection may have been reset meanwhile
                self._sink.fault("datapath.connect", error)
            self.close_peer(connection)
            self._sink.peer_failed(connection)
            return
        link.connecting = None
        self._sink.peer_connected(connection)

    def _accept(self, relay: RelayId, listener: _Listener) -> None:
        """RFC 6062 §5.3: accept; connections of refused peers are closed at once."""
        for _ in range(ACCEPT_BURST):
            if self._listeners.get(relay) is not listener:
                return
            try:
                sock, source = listener.sock.accept()
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno in _NO_ROOM:
                    self._pause(relay, listener, error)
                    return
                continue  # this peer has already closed
            self._accepted(relay, listener, sock, from_sockaddr(source))

    def _accepted(self, relay: RelayId, listener: _Listener, sock: socket.socket, peer: Address) -> None:
        try:
            stream = self._stream(sock)
        except RAISED as error:
            if not isinstance(error, OSError):
                self._sink.fault("datapath.accept", error)
            sock.close()
            return
        connection = self._sink.peer_accepted(relay, peer)
        if connection is None:
            stream.close()
        else:
            self._enter(connection, relay, listener).stream = stream

    def _pause(self, relay: RelayId, listener: _Listener, error: OSError) -> None:
        fields = {"relay": str(listener.address), "why": os.strerror(error.errno or 0)}
        self._lines.write(logging.WARNING, "peer connections not accepted for a moment", fields)
        self._loop.remove_reader(listener.sock.fileno())
        listener.resuming = self._loop.call_later(ACCEPT_PAUSE, self._resume, relay, listener)

    def _resume(self, relay: RelayId, listener: _Listener) -> None:
        listener.resuming = None
        self._loop.add_reader(listener.sock.fileno(), self._accept, relay, listener)

    def _start(self, connection: int, splice: StreamSplice) -> None:
        link = self._links.get(connection)
        if link is None or link.splice is not splice:
            return
        try:
            splice.start()
        except RAISED as error:
            self._splice_failed(error)
            self._over(connection)

    def _stream(self, sock: socket.socket) -> ByteStream:
        stream = ByteStream(sock)
        stream.on_fault = self._splice_failed
        return stream

    def _splice_failed(self, error: BaseException) -> None:
        self._sink.fault("datapath.splice", error)

    def _over(self, connection: int) -> None:
        try:
            self.close_peer(connection)
        except RAISED as error:
            self._sink.fault("datapath.close_peer", error)
        self._sink.peer_gone(connection)

    def _sweep(self) -> None:
        """Close abandoned connections; check again while there are any connections."""
        self._sweeper = None
        spliced = [(number, link.splice) for number, link in self._links.items() if link.splice is not None]
        if spliced:
            self._sweeper = self._loop.call_later(SWEEP_INTERVAL, self._sweep)
        for connection, splice in spliced:
            if splice.abandoned():
                self._over(connection)


_NO_ROOM: Final = frozenset((errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM))


def _listen(bind: Address) -> socket.socket:
    sock = bind_tcp(bind, backlog=BACKLOG)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    return sock


def _begin_to_connect(bind: Address, peer: Address) -> socket.socket:
    sock = bind_tcp(bind, reuse_port=True, backlog=None)
    error = sock.connect_ex(to_sockaddr(peer))
    if error not in (0, errno.EINPROGRESS):
        sock.close()
        raise OSError(error, os.strerror(error))
    return sock
