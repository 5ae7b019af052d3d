"""Datagrams to many destinations, in memory that is laid out once, as ``sendmmsg`` takes them.

A batch has a slot for each datagram and for its destination, and the structures that point there. Packets are written,
and changed, where they leave from: between that and the system call nothing is allocated and nothing is copied.
"""

import ctypes
import struct
from collections.abc import Iterator
from typing import Final

from stun.address import Address

__all__ = ["HEADER_SIZE", "SLOT_SIZE", "Batch", "SocketName", "socket_name"]

SLOT_SIZE: Final = 1664
"""Bytes from one slot to the next, and of the largest datagram in one: more than an Ethernet frame carries. Not a power
of two, or all slots would share the same few lines of a cache."""

_HEADER: Final = struct.Struct("@PIPNPNi4xI4x")  # struct mmsghdr; see `turnserver.receiver`
_IOVEC: Final = struct.Struct("@PN")
_FAMILIES: Final = {4: 2, 16: 10}
"""AF_INET and AF_INET6 of Linux, where batches are sent as they lie, by the length of an IP address."""
_NAMES: Final = {4: struct.Struct("=H2s4s8x"), 16: struct.Struct("=H2s4x16s4x")}
"""Socket addresses likewise; port and address are in network order."""

HEADER_SIZE: Final = _HEADER.size
"""Bytes from one ``struct mmsghdr`` to the next."""

SocketName = bytearray
"""A destination as the kernel takes it. Bytes would be copied twice on their way into another ``bytearray``."""


def socket_name(address: Address) -> SocketName:
    """The socket address of a destination."""
    length = len(address.ip)
    return bytearray(_NAMES[length].pack(_FAMILIES[length], address.port.to_bytes(2, "big"), address.ip))


class Batch:
    """Up to ``capacity`` datagrams to addresses of one family, whose IP addresses have ``length`` bytes.

    The first ``count`` slots are taken. Slot n begins at n * `SLOT_SIZE` in ``memory``, its destination at
    n * ``name_size`` in ``names``, and the size of its datagram is number 2 n + 1 of ``sizes``. ``address`` is that of
    the first of the structures for ``sendmmsg``.
    """

    __slots__ = (
        "_fixed",
        "_headers",
        "_vectors",
        "address",
        "capacity",
        "count",
        "length",
        "memory",
        "name_size",
        "names",
        "sizes",
    )

    def __init__(self, length: int, capacity: int) -> None:
        self.length = length
        self.capacity = capacity
        self.count = 0
        self.name_size = _NAMES[length].size
        self.memory = bytearray(capacity * SLOT_SIZE)
        self.names = bytearray(capacity * self.name_size)
        self._vectors = bytearray(capacity * _IOVEC.size)
        self._headers = bytearray(capacity * _HEADER.size)
        self._fixed = memoryview(self.memory), memoryview(self.names)
        """As long as they are there, nothing of another size can be written by mistake, which would move the memory."""
        self._lay_out()
        self.sizes = memoryview(self._vectors).cast("Q" if _IOVEC.size == 16 else "I")
        self.address = _address_of(self._headers)

    def add(self, data: bytes | bytearray | memoryview, name: SocketName) -> None:
        """Take the next slot, which must be there, for a datagram of at most `SLOT_SIZE` bytes."""
        number = self.count
        at = number * SLOT_SIZE
        self.memory[at : at + len(data)] = data
        self.sizes[2 * number + 1] = len(data)
        at = number * self.name_size
        self.names[at : at + self.name_size] = name
        self.count = number + 1

    def __iter__(self) -> Iterator[tuple[bytes, Address]]:
        """Copies of the datagrams, with their destinations."""
        for number in range(self.count):
            at = number * SLOT_SIZE
            _, port, ip = _NAMES[self.length].unpack_from(self.names, number * self.name_size)
            yield bytes(self.memory[at : at + self.sizes[2 * number + 1]]), Address(ip, int.from_bytes(port, "big"))

    def _lay_out(self) -> None:
        """Set the pointers to the memory for payload and address."""
        memory, names, vectors = (_address_of(each) for each in (self.memory, self.names, self._vectors))
        for number in range(self.capacity):
            vector = number * _IOVEC.size
            _IOVEC.pack_into(self._vectors, vector, memory + number * SLOT_SIZE, 0)
            header = (names + number * self.name_size, self.name_size, vectors + vector, 1, 0, 0, 0, 0)
            _HEADER.pack_into(self._headers, number * _HEADER.size, *header)


def _address_of(memory: bytearray) -> int:
    return ctypes.addressof(ctypes.c_char.from_buffer(memory))
