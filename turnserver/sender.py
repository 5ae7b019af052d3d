"""Sending datagrams in bursts to many destinations, without creating Python objects for each.

``sendmmsg`` sends what lies in memory that is laid out once, with one system call for all. There are two senders, which
differ only in speed. `open_sender` returns a `BatchSender` where a trial shows that the system reads the memory as
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
from turnserver.net import UdpSocket, to_sockaddr

__all__ = ["SLOT_SIZE", "BatchSender", "Outbound", "Sender", "SingleSender", "open_sender"]

SLOT_SIZE: Final = 1536
"""Bytes of the largest datagram that goes in a batch, more than an Ethernet frame carries; others are sent singly."""

_MOST_NAMES: Final = 8192
"""Socket addresses that are remembered; when there are more, all are forgotten."""

_DONT_WAIT: Final = 0x40  # MSG_DONTWAIT as a plain number, which ctypes handles fastest

_HEADER: Final = struct.Struct("@PIPNPNi4xI4x")  # struct mmsghdr; see `turnserver.receiver`
_IOVEC: Final = struct.Struct("@PN")
_NAME_SIZE: Final = 28
_QUAD: Final = 8
_NAMES: Final = {4: struct.Struct("=H2s4s8x"), 16: struct.Struct("=H2s4x16s4x")}
"""Socket addresses by the length of their IP address; port and address are in network order."""

_FULL: Final = frozenset((errno.EAGAIN, errno.EWOULDBLOCK, errno.ENOBUFS))

Outbound = tuple[bytes | bytearray | memoryview, Address]
"""A datagram and its destination."""


class Sender(Protocol):
    """Sends through the sockets of one family."""

    def send(self, udp: UdpSocket, datagrams: Sequence[Outbound]) -> int:
        """Send them in their order; how many were sent. The others have been counted by the socket as dropped.

        A full buffer drops the datagram. One that the system refuses, such as one without a route, costs only itself.
        """


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


class BatchSender:
    """Sends up to ``capacity`` datagrams with one system call."""

    def __init__(self, family: int, capacity: int) -> None:
        self._family = family
        self._capacity = capacity
        self._single = SingleSender()
        self._known: dict[Address, bytes] = {}
        self._memory = bytearray(capacity * SLOT_SIZE)
        self._names = bytearray(capacity * _NAME_SIZE)
        self._vectors = bytearray(capacity * _IOVEC.size)
        self._headers = bytearray(capacity * _HEADER.size)
        self._lay_out()
        self._sizes = memoryview(self._vectors).cast("Q")
        self._address = _address_of(self._headers)
        self._sendmmsg = _system_call()

    def send(self, udp: UdpSocket, datagrams: Sequence[Outbound]) -> int:
        """Send them; see `Sender`."""
        sent = waiting = 0
        memory, names, sizes, known, capacity = self._memory, self._names, self._sizes, self._known, self._capacity
        for data, address in datagrams:
            size = len(data)
            name = known.get(address)
            if name is None:
                name = self._learn(address)
            if size > SLOT_SIZE or not name:
                sent += self._flush(udp, waiting) + self._single.send(udp, [(data, address)])
                waiting = 0
                continue
            at = waiting * SLOT_SIZE
            memory[at : at + size] = data
            at = waiting * _NAME_SIZE
            names[at : at + len(name)] = name
            sizes[2 * waiting + 1] = size
            waiting += 1
            if waiting == capacity:
                sent += self._flush(udp, waiting)
                waiting = 0
        return sent + self._flush(udp, waiting)

    def _flush(self, udp: UdpSocket, count: int) -> int:
        """Send the first ``count`` slots. A short return goes on after the message that failed."""
        if udp.mode:
            udp.switch(0)
        at = sent = refused = 0
        tried = False
        while at < count:
            done = self._sendmmsg(udp.fd, ctypes.c_void_p(self._address + at * _HEADER.size), count - at, _DONT_WAIT)
            if done > 0:
                at += done
                sent += done
                tried = False
                continue
            error = ctypes.get_errno()
            if error in _FULL or udp.fd < 0:
                break
            if tried:  # an error may belong to an earlier datagram; the second one is of this
                refused += self._sizes[2 * at + 1]
                at += 1
            tried = not tried
        udp.dropped += count - sent
        udp.packets_out += sent
        udp.bytes_out += sum(self._sizes[1 : 2 * at : 2].tolist()) - refused
        return sent

    def _learn(self, address: Address) -> bytes:
        """The socket address; empty for the other family."""
        if len(self._known) >= _MOST_NAMES:
            self._known.clear()
        family = socket.AF_INET if len(address.ip) == 4 else socket.AF_INET6
        name = b""
        if family == self._family:
            name = _NAMES[len(address.ip)].pack(family, address.port.to_bytes(2, "big"), address.ip)
        self._known[address] = name
        return name

    def _lay_out(self) -> None:
        """Set the pointers to the memory for payload and address."""
        memory, names, vectors = (_address_of(each) for each in (self._memory, self._names, self._vectors))
        length = _NAMES[4 if self._family == socket.AF_INET else 16].size
        for number in range(self._capacity):
            vector = number * _IOVEC.size
            _IOVEC.pack_into(self._vectors, vector, memory + number * SLOT_SIZE, 0)
            header = (names + number * _NAME_SIZE, length, vectors + vector, 1, 0, 0, 0, 0)
            _HEADER.pack_into(self._headers, number * _HEADER.size, *header)


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


def _address_of(memory: bytearray) -> int:
    return ctypes.addressof(ctypes.c_char.from_buffer(memory))
