"""The default datapath: plain non-blocking UDP sockets, drained in place.

All relay sockets are in one private ``epoll``, whose descriptor is the only one that the loop watches. A wake-up of the
loop then costs the same for any number of relays, and asyncio makes no handle per socket. Without ``epoll`` the loop
watches each socket.

Reading from an empty socket costs a system call, so at most ``quota`` datagrams are read from a socket; the next poll
tells at no cost whether more are waiting. If the socket filled its quota and the next poll names it again, the quota
doubles; if the socket was emptied, the quota falls to the number read. The work of one turn of the loop is bounded, and
shared fairly among the readable sockets.

A run of datagrams of one size from one peer to one client is sent with one system call where the kernel can segment it
(`turnserver.net.Destination.send_run`).
"""

import asyncio
import logging
import select
import struct
import time
from collections import deque
from collections.abc import Callable, Iterable
from functools import partial
from typing import Final

from stun.address import Address
from turnserver.core.types import Counters, FiveTuple, RelayId, Route
from turnserver.errors import DatapathError
from turnserver.faults import RAISED
from turnserver.losses import LOOK_INTERVAL, Losses, LossLines
from turnserver.net import DONT_FRAGMENT, TosPolicy, UdpSocket, bind_udp, from_sockaddr, to_sockaddr
from turnserver.receiver import HEADROOM, Datagram, Receiver, Source, from_source, open_receiver, to_source
from turnserver.relay.base import ClientSender, DatapathSink
from turnserver.relay.carried import NOTHING_CARRIED, Carried, carried
from turnserver.relay.icmp import enable_errors, read_errors
from turnserver.relay.peersocket import Hop, PeerSocket

__all__ = ["AsyncioDatapath"]

RELAY_BUFFER: Final = 256 * 1024
"""Bytes asked for per relay socket and direction: 200 ms of 10 Mbit/s. The kernel takes memory only as packets wait."""

SOCKET_BURST: Final = 32
"""Datagrams read from one socket before the next one is served."""

TURN_BURST: Final = 256
"""Datagrams read per turn of the loop (about 2 ms), or one per readable socket if that is more."""

POLL_SIZE: Final = 128
"""Readable sockets returned by one poll at most."""

ERROR_BURST: Final = 16
"""ICMP errors taken from one socket per turn; the rest wait."""

LOOK_AT: Final = 256
"""Relays of which the losses are looked at every second, in turn."""

MAX_FAULTS: Final = 100
"""Faults of one relay after which it is closed: a socket that cannot be read would stay readable for ever."""

_READABLE: Final = 1
"""EPOLLIN; any other bit in an event means that the socket has an error."""

_logger = logging.getLogger("meshturn.relay")

_PADDING: Final = (b"", bytes(3), bytes(2), bytes(1))
_put_header: Final = struct.Struct("!HH").pack_into


class AsyncioDatapath:
    """Relays through ordinary sockets on the running loop; see `turnserver.relay.base.Datapath`.

    ``tos`` says whether DSCP and ECN are carried or cleared (RFC 8656 §14); ``clock`` is the monotonic clock that
    expiries are measured on, in seconds; ``private_epoll`` is for platforms that have none, and for tests.
    """

    name = "asyncio"

    def __init__(
        self,
        *,
        tos: TosPolicy = "clear",
        clock: Callable[[], float] = time.monotonic,
        private_epoll: bool = hasattr(select, "epoll"),
    ) -> None:
        self._copies_tos = tos == "copy"
        self._clock = clock
        self._links: dict[RelayId, PeerSocket] = {}
        self._by_fd: dict[int, PeerSocket] = {}
        self._hops: dict[tuple[FiveTuple, int], Hop] = {}
        self._private_epoll = private_epoll
        self._epoll: select.epoll | None = None
        self._round = 0
        self._receivers: dict[int, Receiver] = {}
        self._lines = LossLines(_logger, clock)
        self._lost = Losses()
        self._gone = NOTHING_CARRIED
        self._looking: asyncio.TimerHandle | None = None
        self._to_look_at: deque[RelayId] = deque()
        self._buffer_checked = False
        self._stale: set[int] = set()
        self._sink: DatapathSink
        self._clients: ClientSender
        self._loop: asyncio.AbstractEventLoop

    def attach(self, sink: DatapathSink, clients: ClientSender) -> None:
        """Join the running loop."""
        self._sink = sink
        self._clients = clients
        self._loop = asyncio.get_running_loop()
        if self._private_epoll:
            self._epoll = select.epoll()
            self._loop.add_reader(self._epoll.fileno(), self._drain)

    def open_relay(self, relay: RelayId, bind: Address) -> bool:
        """Bind a relay socket to exactly ``bind``. Raises `turnserver.errors.DatapathError` when it cannot."""
        if relay in self._links:
            raise DatapathError(f"relay {relay} is open already")
        try:
            sock = bind_udp(bind, receive_tos=self._copies_tos, receive_buffer=RELAY_BUFFER, send_buffer=RELAY_BUFFER)
        except OSError as error:
            raise DatapathError(f"cannot bind a relay to {bind}: {error.strerror or error}") from error
        try:
            enable_errors(sock)
            link = PeerSocket(relay, UdpSocket(sock), self._receiver(sock.family))
            if self._epoll is not None:
                self._epoll.register(sock.fileno(), _READABLE)
            else:
                self._loop.add_reader(sock.fileno(), self._serve_alone, link)
        except OSError as error:
            sock.close()
            raise DatapathError(f"cannot use a relay at {bind}: {error.strerror or error}") from error
        self._links[relay] = self._by_fd[sock.fileno()] = link
        if not self._buffer_checked:
            self._buffer_checked = True
            self._lines.small_buffer(bind, link.udp, RELAY_BUFFER)
        if self._looking is None:
            self._looking = self._loop.call_later(LOOK_INTERVAL, self._look)
        return True

    def close_relay(self, relay: RelayId) -> None:
        """Close a relay and forget its routes and permissions; unknown relays are ignored."""
        link = self._links.pop(relay, None)
        if link is None:
            return
        fd = link.udp.sock.fileno()
        del self._by_fd[fd]
        if self._epoll is None:
            self._loop.remove_reader(fd)
        try:
            for hop in list(link.routes.values()):
                self._forget(hop)
            if self._epoll is not None:
                self._epoll.unregister(fd)
        finally:
            self._lost = self._lost.plus(Losses(*link.udp.news()))
            self._gone = carried([link], self._gone)
            link.close()

    def add_route(self, route: Route) -> None:
        """Install or refresh a route; idempotent.

        Ignored when the client's path or the relay does not exist any more, or the peer is of another family.
        """
        link = self._links.get(route.relay)
        if link is None or not link.reaches(route.peer):
            return
        peer = to_source(route.peer)
        hop = self._hops.get((route.client, route.channel))
        if hop is not None:
            if hop.leads(link, peer):
                hop.expires = route.expires
                return
            self._forget(hop)
        elsewhere = link.routes.get(peer)
        if elsewhere is not None:
            self._forget(elsewhere)
        path = self._clients.path(route.client)
        if path is None:
            return
        hop = Hop(route, path, link)
        self._hops[route.client, route.channel] = link.routes[peer] = hop
        path.channels[route.channel] = hop  # last: the path is the transport's, and what raises there is closed with it

    def remove_route(self, client: FiveTuple, channel: int) -> None:
        """Remove one route; unknown ones are ignored."""
        hop = self._hops.get((client, channel))
        if hop is not None:
            self._forget(hop)

    def allow_peer(self, relay: RelayId, ip: bytes, until: float) -> None:
        """Pass datagrams from ``ip`` to the sink until ``until`` (monotonic seconds)."""
        link = self._links.get(relay)
        if link is not None:
            link.allow(ip, until, self._clock())

    def forbid_peer(self, relay: RelayId, ip: bytes) -> None:
        """Drop datagrams from ``ip`` again."""
        link = self._links.get(relay)
        if link is not None:
            link.forbid(ip)

    def send_to_peer(self, relay: RelayId, peer: Address, data: bytes, dont_fragment: bool) -> None:
        """Send one datagram (Send indications); errors are counted, never raised."""
        link = self._links.get(relay)
        if link is None:
            return
        if link.reaches(peer):
            link.udp.to(to_sockaddr(peer)).send(data, DONT_FRAGMENT if dont_fragment else 0)
        else:
            link.udp.dropped += 1

    def counters(self, relay: RelayId) -> Counters:
        """What the relay has carried since it was opened (zeroes for an unknown one)."""
        link = self._links.get(relay)
        return Counters() if link is None else link.counters()

    def carried(self) -> Carried:
        """What all relays have carried since the start, and dropped by cause; cheap also for very many.

        What the kernel has dropped is asked of a few relays only; with more it is as of some seconds ago.
        """
        if len(self._links) <= LOOK_AT:
            for link in self._links.values():
                _ = link.udp.lost  # which asks the system
        return carried(self._links.values(), self._gone)

    def close(self) -> None:
        """Close every relay; nothing is delivered afterwards."""
        if self._looking is not None:
            self._looking.cancel()
            self._looking = None
        for relay in list(self._links):
            self.close_relay(relay)
        if self._epoll is not None:
            self._loop.remove_reader(self._epoll.fileno())
            self._epoll.close()
            self._epoll = None

    @property
    def losses(self) -> Losses:
        """What this host has lost for all relays together since the start, as far as it has been looked at."""
        return self._lost

    def paused(self, on: bool) -> None:
        """Drop what waits in the sockets now (``on``): media that is too old, and checks that are repeated anyway.

        The reading is replaced and not the drain loop, so that the loop costs nothing more when there was no pause.
        """
        if not on:
            self._stale.clear()
        elif self._epoll is not None and self._links:
            self._stale = {fd for fd, _ in self._epoll.poll(0, len(self._links))}
        else:
            self._stale = set(self._by_fd)
        for receiver in self._receivers.values():
            for name, discard in (("one", self._discard_one), ("burst", self._discard)):
                if self._stale:
                    setattr(receiver, name, partial(discard, receiver))
                else:
                    vars(receiver).pop(name, None)

    def _discard_one(self, receiver: Receiver, udp: UdpSocket) -> tuple[int, Source, int] | None:
        if udp.fd not in self._stale:
            return type(receiver).one(receiver, udp)
        self._discard(receiver, udp, 1)
        return None

    def _discard(self, receiver: Receiver, udp: UdpSocket, limit: int) -> Iterable[Datagram]:
        """Read a socket and drop what it has, if it waited during the pause."""
        burst = type(receiver).burst(receiver, udp, limit)
        if udp.fd not in self._stale:
            return burst
        count = sum(1 for _ in burst)
        if udp.fd in self._by_fd:
            self._by_fd[udp.fd].dropped += count
        if count < limit or not udp.has_datagram():
            self._stale.discard(udp.fd)
            if not self._stale:
                self.paused(False)
        return ()

    def _look(self) -> None:
        """Say what some of the relays have lost; the others have their turn in the next seconds."""
        self._looking = self._loop.call_later(LOOK_INTERVAL, self._look) if self._links else None
        if not self._to_look_at:
            self._to_look_at.extend(self._links)
        for _ in range(min(LOOK_AT, len(self._to_look_at))):
            link = self._links.get(self._to_look_at.popleft())
            if link is None:
                continue
            try:
                self._lost = self._lost.plus(self._lines.look(link.address, link.udp, RELAY_BUFFER))
            except RAISED as error:
                self._sink.fault("datapath.look", error)

    def _receiver(self, family: int) -> Receiver:
        receiver = self._receivers.get(family)
        if receiver is None:
            receiver = self._receivers[family] = open_receiver(family, SOCKET_BURST)
        return receiver

    def _forget(self, hop: Hop) -> None:
        del self._hops[hop.client, hop.channel]
        try:
            hop.unlink()
            unused = not hop.path.channels
        except RAISED as error:  # the path is the transport's; the other hops of the relay must end as well
            self._sink.fault("path.channels", error)
            unused = True
        if unused:
            self._clients.release(hop.client)

    def _drain(self) -> None:
        """One turn of the loop: serve readable sockets until none is left or the turn's budget is spent."""
        budget = TURN_BURST
        while budget > 0 and self._epoll is not None:
            events = self._epoll.poll(0, POLL_SIZE)
            if not events:
                return
            budget -= self._serve(events, budget)

    def _serve(self, events: list[tuple[int, int]], budget: int) -> int:
        """Serve the sockets of one poll; returns how much of ``budget`` that took.

        With many relays of little traffic, one datagram per socket is the common case. It is handled inline here, to
        save calls; `_forward` does the same for several.
        """
        now = self._clock()
        last_round = self._round
        self._round = this_round = last_round + 1
        share = budget // len(events) or 1
        by_fd = self._by_fd
        spent = 0
        for fd, event in events:
            link = by_fd.get(fd)
            if link is None:
                continue
            try:
                if event != _READABLE:
                    self._tell_errors(link, now)
                if link.quota > 1 or link.full_round == last_round:
                    spent += self._serve_more(link, share, now)
                    continue
                spent += 1
                receiver = link.receiver
                received = receiver.one(link.udp)
                if received is None:
                    continue
                link.full_round = this_round
                size, peer, tos = received
                frame = receiver.frame
                hop = link.routes.get(peer)
                if hop is None or hop.expires <= now:
                    self._pass_up(link, peer, bytes(frame[HEADROOM : HEADROOM + size]), now)
                    continue
                _put_header(frame, 0, hop.channel, size)
                whole = _pad(frame, HEADROOM + size) if hop.padded else HEADROOM + size
                reply = hop.reply  # a local: CPython 3.11 is slow to call a function held in a slot
                if reply(frame[:whole], tos):
                    link.packets_to_client += 1
                    link.bytes_to_client += size
                else:
                    link.dropped += 1
            except RAISED as error:  # free of cost unless something is raised
                spent += 1
                self._failed(link, error)
        return spent

    def _failed(self, link: PeerSocket, error: BaseException) -> None:
        """Report an exception while a relay was served; close the relay if they keep coming."""
        self._sink.fault("datapath.read", error)
        link.dropped += 1
        link.faults += 1
        if link.faults == MAX_FAULTS:
            self._sink.relay_failed(link.relay)

    def _serve_more(self, link: PeerSocket, share: int, now: float) -> int:
        """Serve a socket that had several datagrams, or has another already; returns how many were read."""
        quota = link.quota
        if link.full_round == self._round - 1:
            quota = min(2 * quota, SOCKET_BURST)
        quota = min(quota, share)
        count = self._forward(link, quota, now)
        if count == quota:
            link.full_round = self._round
        link.quota = count or 1
        return quota

    def _serve_alone(self, link: PeerSocket) -> None:
        """Serve one socket, without a private ``epoll``."""
        now = self._clock()
        try:
            self._tell_errors(link, now)
            self._forward(link, SOCKET_BURST, now)
        except RAISED as error:
            self._failed(link, error)

    def _forward(self, link: PeerSocket, quota: int, now: float) -> int:
        """Relay up to ``quota`` datagrams of peers to their clients (RFC 8656 §11.3, §12.7); returns their number.

        It is lower when there are no more, or when an error on the socket was reported.
        """
        routes = link.routes
        run: list[memoryview] = []
        run_hop: Hop | None = None
        count = run_size = run_tos = 0
        for frame, (size,), (peer, tos) in link.receiver.burst(link.udp, quota):
            count += 1
            hop = routes.get(peer)
            if hop is None or hop.expires <= now:
                self._pass_up(link, peer, bytes(frame[HEADROOM : HEADROOM + size]), now)
                continue
            _put_header(frame, 0, hop.channel, size)
            whole = _pad(frame, HEADROOM + size) if hop.padded else HEADROOM + size
            if hop is run_hop and size == run_size and tos == run_tos:
                run.append(frame[:whole])
                continue
            if run_hop is not None:
                _reply(link, run_hop, run, run_size, run_tos)
            run = [frame[:whole]]
            run_hop = hop
            run_size = size
            run_tos = tos
        if run_hop is not None:
            _reply(link, run_hop, run, run_size, run_tos)
        return count

    def _pass_up(self, link: PeerSocket, peer: Source, data: bytes, now: float) -> None:
        """A datagram without a live channel: to the core if its sender has a permission, else dropped."""
        if link.permits(peer, now):
            link.packets_to_client += 1
            link.bytes_to_client += len(data)
            self._sink.peer_datagram(link.relay, from_source(peer), data)
        else:
            link.unpermitted += 1

    def _tell_errors(self, link: PeerSocket, now: float) -> None:
        """RFC 8656 §11.5: the peer that the datagram was for needs the permission, not the sender of the ICMP."""
        for error in read_errors(link.udp.sock, ERROR_BURST):
            peer = from_sockaddr(error.peer)
            if link.permits(to_source(peer), now):
                self._sink.peer_icmp(link.relay, peer, error.type, error.code, error.data)


def _pad(frame: memoryview, size: int) -> int:
    """Pad ChannelData to four bytes in place (RFC 8656 §12.5); returns the new size."""
    padding = _PADDING[size & 3]
    padded = size + len(padding)
    frame[size:padded] = padding
    return padded


def _reply(link: PeerSocket, hop: Hop, frames: list[memoryview], size: int, tos: int) -> None:
    """Send a run of frames to a client; ``size`` is the size of each payload."""
    if len(frames) > 1 and hop.path.send_run(frames, tos):
        link.packets_to_client += len(frames)
        link.bytes_to_client += len(frames) * size
        return
    for frame in frames:
        if hop.reply(frame, tos):
            link.packets_to_client += 1
            link.bytes_to_client += size
        else:
            link.dropped += 1
