"""Sending datagrams in bursts to many destinations, without creating Python objects for each.

``sendmmsg`` sends what lies in a `turnserver.batch.Batch` with one system call. There are two senders, which differ
only in speed. `open_sender` returns a `BatchSender` where a trial shows that the system reads the memory as
expected (64-bit Linux), and elsewhere a `SingleSender`.

``turnserver.net.Destination`` sends runs to one destination; this is for packets that each go to another.
"""

import ctypes
import errno
import functools
import socket
import struct
import sys
from collections.abc import Callable, Sequence
from typing import Final, Protocol

from stun.address import Address
from turnserver.batch import HEADER_SIZE, SLOT_SIZE, Batch, SocketName, socket_name
from turnserver.net import UdpSocket, to_sockaddr

__all__ = ["BatchSender", "Outbound", "Sender", "SingleSender", "open_sender"]

_MOST_NAMES: Final = 8192
"""Socket addresses that are remembered; when there are more, all are forgotten."""

_DONT_WAIT: Final = 0x40  # MSG_DONTWAIT as a plain number, which ctypes handles fastest

_QUAD: Final = 8
_NO_NAME: Final = SocketName()

_FULL: Final = frozenset((errno.EAGAIN, errno.EWOULDBLOCK, errno.ENOBUFS))

Outbound = tuple[bytes | bytearray | memoryview, Address]
"""A datagram and its destination."""


class Sender(Protocol):
    """Sends through the sockets of one family."""

    def send(self, udp: UdpSocket, datagrams: Sequence[Outbound]) -> int:
        """Send them in their order; how many were sent. The others have been counted by the socket as dropped.

        A full buffer drops the datagram. One that the system refuses, such as one without a route, costs only itself.
        """

    def flush(self, udp: UdpSocket, batch: Batch) -> int:
        """Send what is in a batch likewise, which stays as it is."""


def open_sender(family: int, capacity: int) -> Sender:
    """The best sender for sockets of that family; ``capacity`` is the size of its largest burst."""
    return BatchSender(family, capacity) if _has_batches(family) else SingleSender()


class SingleSender:
    """Sends datagrams one by one."""

    def send(self, udp: UdpSocket, datagrams: Sequence[Outbound]) -> int:
        """Send them; see `Sender`."""
        length = 4 if udp.sock.family == socket.AF_INET else 16
        fitting = [each for each in datagrams if len(each[1].ip) == length]
        udp.dropped += len(datagrams) - len(fitting)
        return sum([udp.to(to_sockaddr(address)).send(memoryview(data)) for data, address in fitting])

    def flush(self, udp: UdpSocket, batch: Batch) -> int:
        """Send a batch; see `Sender`."""
        return self.send(udp, list(batch))


class BatchSender:
    """Sends up to ``capacity`` datagrams with one system call. Those that no slot has room for are sent singly."""

    def __init__(self, family: int, capacity: int) -> None:
        self._length = 4 if family == socket.AF_INET else 16
        self._batch = Batch(self._length, capacity)
        self._single = SingleSender()
        self._known: dict[Address, SocketName] = {}
        self._sendmmsg = _system_call()

    def send(self, udp: UdpSocket, datagrams: Sequence[Outbound]) -> int:
        """Send them; see `Sender`."""
        sent = 0
        batch, known = self._batch, self._known
        for data, address in datagrams:
            name = known.get(address)
            if name is None:
                name = self._learn(address)
            if len(data) > SLOT_SIZE or not name:
                sent += self._send_batch(udp) + self._single.send(udp, [(data, address)])
                continue
            batch.add(data, name)
            if batch.count == batch.capacity:
                sent += self._send_batch(udp)
        return sent + self._send_batch(udp)

    def _send_batch(self, udp: UdpSocket) -> int:
        sent = self.flush(udp, self._batch)
        self._batch.count = 0
        return sent

    def flush(self, udp: UdpSocket, batch: Batch) -> int:
        """Send a batch; see `Sender`. A short return goes on after the message that failed."""
        if udp.mode:
            udp.switch(0)
        at = sent = refused = 0
        tried = False
        count = batch.count
        while at < count:
            done = self._sendmmsg(udp.fd, ctypes.c_void_p(batch.address + at * HEADER_SIZE), count - at, _DONT_WAIT)
            if done > 0:
                at += done
                sent += done
                tried = False
                continue
            error = ctypes.get_errno()
            if error in _FULL or udp.fd < 0:
                break
            if tried:  # an error may belong to an earlier datagram; the second one is of this
                refused += batch.sizes[2 * at + 1]
                at += 1
            tried = not tried
        udp.dropped += count - sent
        udp.packets_out += sent
        udp.bytes_out += sum(batch.sizes[1 : 2 * at : 2].tolist()) - refused
        return sent

    def _learn(self, address: Address) -> SocketName:
        """The socket address; empty for the other family."""
        if len(self._known) >= _MOST_NAMES:
            self._known.clear()
        name = socket_name(address) if len(address.ip) == self._length else _NO_NAME
        self._known[address] = name
        return name


@functools.cache
def _has_batches(family: int) -> bool:
    """Whether a `BatchSender` works correctly on this system, found by a trial over loopback."""
    if sys.platform != "linux" or struct.calcsize("P") != _QUAD:
        return False
    try:
        return _trial(family)
    except (OSError, AttributeError):
        return False


def _trial(family: int) -> bool:
    host = "127.0.0.1" if family == socket.AF_INET else "::1"
    with socket.socket(family, socket.SOCK_DGRAM) as near, socket.socket(family, socket.SOCK_DGRAM) as far:
        for each in (near, far):
            each.setblocking(False)
            each.bind((host, 0))
        address = Address.parse(host, far.getsockname()[1])
        wanted = [bytes([number]) * (number + 1) for number in range(3)]
        if BatchSender(family, 2).send(UdpSocket(near), [(data, address) for data in wanted]) != len(wanted):
            return False
        found = [far.recvfrom(9) for _ in wanted]
        return [data for data, _ in found] == wanted and all(came == near.getsockname() for _, came in found)


def _system_call() -> Callable[..., int]:
    """``sendmmsg``, called without releasing the GIL, since the sockets never block."""
    call: Callable[..., int] = ctypes.PyDLL(None, use_errno=True).sendmmsg
    return call
