"""Receiving datagrams in bursts, without creating Python objects for address and TOS.

For each datagram ``socket.recvmsg_into`` creates a string, two numbers and a tuple for the address, and a list, a tuple
and a string for the TOS. That costs as much as the system call itself. ``recvmmsg`` writes all of it as bytes into
memory that is laid out once, and iterators read it back. A burst thus costs one call, and the bytes of the address are
the dictionary key.

There are two implementations, which differ only in speed. `open_receiver` returns a `BatchReceiver` where a trial shows
that the system fills the memory as expected (64-bit Linux). On another platform, with another C library, or in a
sandbox without ``recvmmsg``, it returns a `SingleReceiver`.
"""

import ctypes
import functools
import mmap
import socket
import struct
import sys
from collections.abc import Callable, Iterable
from typing import Final, NamedTuple, Protocol

from stun.address import Address
from turnserver.net import TOS_BYTE, Sockaddr, UdpSocket, set_tos

__all__ = [
    "HEADROOM",
    "BatchReceiver",
    "Datagram",
    "Receiver",
    "SingleReceiver",
    "Source",
    "from_source",
    "open_receiver",
    "to_source",
]

HEADROOM: Final = 4
"""Bytes free before a received datagram, for a ChannelData header (RFC 8656 §12.4)."""

_TAILROOM: Final = 3
"""Bytes free after the largest datagram: the padding of ChannelData on streams (RFC 8656 §12.5)."""

_MAX_DATAGRAM: Final = 65535
"""No UDP payload is longer (65507 bytes on IPv4, 65527 on IPv6), so no received datagram is truncated."""

_SLOT_SIZE: Final = 64 * 1024 + 64
"""Bytes from one slot to the next. Not a power of two, or all slots would share the same few lines of a cache."""

_ANCILLARY_SIZE: Final = socket.CMSG_SPACE(4)
"""Room for the one control message asked for: TOS is one byte, the traffic class an ``int``."""

_DONT_WAIT: Final = 0x40  # MSG_DONTWAIT as a plain number, which ctypes handles fastest

Source = bytes
"""The source of a datagram: a socket address as the kernel writes it, without the family in front.

Port and address; for IPv6 the flow label is between them and the zone at the end. Equal bytes mean equal addresses, so
they serve as dictionary keys.
"""

Datagram = tuple[memoryview, tuple[int], tuple[Source, int]]
"""One datagram of a burst: its buffer, its size, and its source with its TOS byte (0 if the socket has none).

It begins at `HEADROOM`, and is valid until the next call of the receiver. The iterators return the inner tuples, and
flattening them would cost more than unpacking them.
"""

_PORT_AND_IPV6: Final = struct.Struct("!H4x16s4x")

# The memory layout of a burst. "@" adds the same padding as a C compiler.
_HEADER: Final = struct.Struct(
    "@PIPNPNi4xI4x"
)  # struct mmsghdr: name, iovec, control (each with a length), flags, size
_SIZES: Final = struct.Struct("=56xI4x")
_IOVEC: Final = struct.Struct("@PN")
_CONTROL_SIZE: Final = 24
_TRAFFIC_CLASS: Final = "B7x" if sys.byteorder == "little" else "3xB4x"
_RECORDS: Final[dict[int, struct.Struct]] = {
    socket.AF_INET: struct.Struct("=2x6s8x16xB7x"),
    socket.AF_INET6: struct.Struct(f"=2x26s16x{_TRAFFIC_CLASS}"),
}
"""For each family the socket address (without its family and its unused end) and the control message after it.

The control message is a header of 16 bytes and the TOS, one byte; the traffic class of IPv6 is an ``int``.
"""

_TRIAL_TOS: Final = (0xB8, 0x00, 0x02)


def to_source(address: Address) -> Source:
    """The source of datagrams from ``address``."""
    if len(address.ip) == 4:
        return address.port.to_bytes(2, "big") + address.ip
    return _PORT_AND_IPV6.pack(address.port, address.ip)


def from_source(source: Source) -> Address:
    """The address of a source. A link-local address loses its zone, which TURN cannot carry."""
    if len(source) == _PORT_AND_IPV6.size:
        port, ip = _PORT_AND_IPV6.unpack(source)
        return Address(ip, port)
    return Address(source[2:], source[0] << 8 | source[1])


class Receiver(Protocol):
    """Reads the sockets of one family, one socket at a time, into its own memory."""

    frame: memoryview
    """The buffer that `one` fills; the datagram begins at `HEADROOM`."""

    def one(self, udp: UdpSocket) -> tuple[int, Source, int] | None:
        """The size, the source and the TOS of one datagram.

        None when none waits, or when an error on the socket was reported. Such an error belongs to an earlier datagram
        sent, and reporting clears it; datagrams waiting behind it are read when the socket, still readable, is served
        next.
        """

    def burst(self, udp: UdpSocket, limit: int) -> Iterable[Datagram]:
        """The waiting datagrams, up to ``limit`` and the receiver's capacity; ends early where `one` returns None."""


def open_receiver(family: int, capacity: int) -> Receiver:
    """The best receiver for sockets of that family; ``capacity`` is the size of its largest burst."""
    return BatchReceiver(family, capacity) if _has_batches(family) else SingleReceiver(capacity)


class SingleReceiver:
    """Receives datagrams one by one."""

    def __init__(self, capacity: int) -> None:
        self._slots = _make_slots(capacity)
        self.frame, self._target = self._slots[0]

    def one(self, udp: UdpSocket) -> tuple[int, Source, int] | None:
        """One datagram; see `Receiver`."""
        return _receive(udp, self._target)

    def burst(self, udp: UdpSocket, limit: int) -> list[Datagram]:
        """The waiting datagrams; see `Receiver`."""
        datagrams: list[Datagram] = []
        for frame, target in self._slots[:limit]:
            received = _receive(udp, target)
            if received is None:
                break
            size, source, tos = received
            datagrams.append((frame, (size,), (source, tos)))
        return datagrams


class BatchReceiver:
    """Receives up to ``capacity`` datagrams with one system call.

    The kernel overwrites the lengths of address and control message. They need no reset between calls: if all sockets
    of one family receive the TOS, or none does, each datagram has the same lengths as the previous one.

    The functions are called with plain numbers and no declared types: with declared types, ctypes would spend more time
    on the arguments than the kernel on the call.
    """

    def __init__(self, family: int, capacity: int) -> None:
        self._capacity = capacity
        self._frames = [slot.frame for slot in _make_slots(capacity)]
        self.frame = self._frames[0]
        self._record = _RECORDS[family]
        self._records = bytearray(capacity * self._record.size)
        self._vectors = bytearray(capacity * _IOVEC.size)
        self._headers = bytearray(capacity * _HEADER.size)
        self._lay_out()
        self._sizes = memoryview(self._headers)
        self._address = ctypes.c_void_p(_address_of(self._headers))
        self._unpack = self._record.unpack_from
        self._recvmsg, self._recvmmsg = _system_calls()

    def one(self, udp: UdpSocket) -> tuple[int, Source, int] | None:
        """One datagram; see `Receiver`."""
        recvmsg = self._recvmsg  # a local: CPython 3.11 is slow to call a function held in an attribute
        size = recvmsg(udp.fd, self._address, _DONT_WAIT)
        if size < 0:
            return None
        unpack = self._unpack
        source, tos = unpack(self._records)
        return size, source, tos

    def burst(self, udp: UdpSocket, limit: int) -> Iterable[Datagram]:
        """The waiting datagrams; see `Receiver`."""
        count = self._recvmmsg(udp.fd, self._address, min(limit, self._capacity), _DONT_WAIT, None)
        if count <= 0:
            return ()
        sizes = _SIZES.iter_unpack(self._sizes[: count * _HEADER.size])
        return zip(self._frames, sizes, self._record.iter_unpack(self._records), strict=False)

    def lengths(self) -> list[tuple[int, int]]:
        """Set the lengths of address and control message in each header."""
        return [(header[1], header[5]) for header in _HEADER.iter_unpack(self._headers)]

    def _lay_out(self) -> None:
        """Set the pointers to the memory for payload, address and control message."""
        records = _address_of(self._records)
        vectors = _address_of(self._vectors)
        name_size = self._record.size - _CONTROL_SIZE
        for number, frame in enumerate(self._frames):
            name = records + number * self._record.size
            vector = number * _IOVEC.size
            _IOVEC.pack_into(self._vectors, vector, _address_of(frame) + HEADROOM, _MAX_DATAGRAM)
            header = (name, name_size, vectors + vector, 1, name + name_size, _CONTROL_SIZE, 0, 0)
            _HEADER.pack_into(self._headers, number * _HEADER.size, *header)


@functools.cache
def _has_batches(family: int) -> bool:
    """Whether a `BatchReceiver` works correctly on this system, found by a trial over loopback."""
    if sys.platform != "linux" or struct.calcsize("P") != 8:
        return False
    try:
        return _trial(family)
    except (OSError, AttributeError):
        return False


def _trial(family: int) -> bool:
    host = "127.0.0.1" if family == socket.AF_INET else "::1"
    with socket.socket(family, socket.SOCK_DGRAM) as near, socket.socket(family, socket.SOCK_DGRAM) as far:
        if family == socket.AF_INET:
            near.setsockopt(socket.IPPROTO_IP, socket.IP_RECVTOS, 1)
        else:
            near.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVTCLASS, 1)
        near.setblocking(False)
        near.bind((host, 0))
        far.bind((host, 0))
        receiver = BatchReceiver(family, len(_TRIAL_TOS) + 1)
        lengths = receiver.lengths()
        for number, tos in enumerate(_TRIAL_TOS):
            set_tos(far, tos)
            far.sendto(bytes([tos]) * number, near.getsockname())
        source = _source(far.getsockname())
        wanted = [(bytes([tos]) * number, source, tos) for number, tos in enumerate(_TRIAL_TOS)]
        burst = receiver.burst(UdpSocket(near), len(wanted) + 1)
        found = [(bytes(frame[HEADROOM : HEADROOM + size]), *record) for frame, (size,), record in burst]
        return found == wanted and receiver.lengths() == lengths


def _system_calls() -> tuple[Callable[..., int], Callable[..., int]]:
    """``recvmsg`` and ``recvmmsg``, called without releasing the GIL, since the sockets never block."""
    library = ctypes.PyDLL(None)
    return library.recvmsg, library.recvmmsg


class _Slot(NamedTuple):
    """The buffer for one datagram, whole and as ``recvmsg_into`` takes it."""

    frame: memoryview
    target: list[memoryview]


def _make_slots(count: int) -> list[_Slot]:
    """Buffers for ``count`` datagrams of any size. The system allocates only pages that datagrams have filled."""
    area = memoryview(mmap.mmap(-1, count * _SLOT_SIZE, mmap.MAP_PRIVATE))
    slots = []
    for start in range(0, len(area), _SLOT_SIZE):
        frame = area[start : start + HEADROOM + _MAX_DATAGRAM + _TAILROOM]
        slots.append(_Slot(frame, [frame[HEADROOM : HEADROOM + _MAX_DATAGRAM]]))
    return slots


def _address_of(memory: bytearray | memoryview) -> int:
    return ctypes.addressof(ctypes.c_char.from_buffer(memory))


def _receive(udp: UdpSocket, target: list[memoryview]) -> tuple[int, Source, int] | None:
    try:
        size, messages, _, sockaddr = udp.sock.recvmsg_into(target, _ANCILLARY_SIZE)
    except OSError:
        return None
    return size, _source(sockaddr), messages[0][2][TOS_BYTE] if messages else 0


def _source(sockaddr: Sockaddr) -> Source:
    """The kernel's bytes for a socket address in Python's form."""
    port = sockaddr[1].to_bytes(2, "big")
    if len(sockaddr) == 2:
        return port + socket.inet_pton(socket.AF_INET, sockaddr[0])
    host, _, flow, zone = sockaddr
    ip = socket.inet_pton(socket.AF_INET6, host.partition("%")[0])
    return port + flow.to_bytes(4, "big") + ip + zone.to_bytes(4, sys.byteorder)
