"""``recvmmsg`` and ``sendmmsg`` on buffers made once: many datagrams for one system call and no object for any of them.

This is enough for a generator, because its datagrams have one size and go back to their senders. (A server has to read
each one; see `turnserver.receiver`.)
"""

import ctypes
import errno
import os
import socket

__all__ = ["Datagrams"]

_libc = ctypes.CDLL(None, use_errno=True)


class _Iovec(ctypes.Structure):
    _fields_ = [("base", ctypes.c_void_p), ("length", ctypes.c_size_t)]


class _Msghdr(ctypes.Structure):
    _fields_ = [
        ("name", ctypes.c_void_p),
        ("name_length", ctypes.c_uint32),
        ("iov", ctypes.POINTER(_Iovec)),
        ("iov_length", ctypes.c_size_t),
        ("control", ctypes.c_void_p),
        ("control_length", ctypes.c_size_t),
        ("flags", ctypes.c_int),
    ]


class _Mmsghdr(ctypes.Structure):
    _fields_ = [("header", _Msghdr), ("length", ctypes.c_uint32)]


_recvmmsg = _libc.recvmmsg
_recvmmsg.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_uint, ctypes.c_int, ctypes.c_void_p]
_sendmmsg = _libc.sendmmsg
_sendmmsg.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_uint, ctypes.c_int]

_NAME = 28  # the longest address of the internet families (sockaddr_in6)
_STRIDE = ctypes.sizeof(_Mmsghdr)
_RECEIVE_FLAGS = socket.MSG_DONTWAIT | socket.MSG_TRUNC  # lengths are true ones, even of what does not fit


class Datagrams:
    """Room for up to *slots* datagrams of *size* bytes, received and sent back in one call each.

    ``data`` holds them one after the other, *size* bytes apart, valid until the next :meth:`receive`.
    """

    def __init__(self, connection: socket.socket, slots: int, size: int) -> None:
        """*connection* may be connected or not; an unconnected one answers each datagram to its sender."""
        self.data = bytearray(slots * size)
        self._size = size
        self._slots = slots
        self._descriptor = connection.fileno()
        pin = (ctypes.c_char * len(self.data)).from_buffer(self.data)
        self._names = ctypes.create_string_buffer(slots * _NAME)
        self._iovecs = (_Iovec * slots)()
        self._headers = (_Mmsghdr * slots)()
        connected = _is_connected(connection)
        for slot in range(slots):
            self._iovecs[slot].base = ctypes.addressof(pin) + slot * size
            self._iovecs[slot].length = size
            header = self._headers[slot].header
            header.iov = ctypes.pointer(self._iovecs[slot])
            header.iov_length = 1
            if not connected:
                header.name = ctypes.addressof(self._names) + slot * _NAME
                header.name_length = _NAME
        self._address = ctypes.addressof(self._headers)
        self._lengths = memoryview(self._headers).cast("B").cast("I")[_Mmsghdr.length.offset // 4 :: _STRIDE // 4]
        self._all_whole = [size] * slots

    def receive(self) -> int:
        """Receive waiting datagrams, up to the number of slots; return their number (0 if none waits)."""
        count: int = _recvmmsg(self._descriptor, self._address, self._slots, _RECEIVE_FLAGS, None)
        if count < 0:
            return _nothing_or_raise()
        return count

    def all_whole(self, count: int) -> bool:
        """Whether each of the last *count* received had exactly the size expected."""
        return self._lengths[:count].tolist() == self._all_whole[:count]

    def lengths(self, count: int) -> list[int]:
        """The lengths of the last *count* received, which may exceed the size of their places."""
        return self._lengths[:count].tolist()

    def send(self, count: int) -> int:
        """Send the first *count* back; return how many the socket took."""
        sent = 0
        while sent < count:
            took: int = _sendmmsg(self._descriptor, self._address + sent * _STRIDE, count - sent, socket.MSG_DONTWAIT)
            if took < 0:
                return sent + _nothing_or_raise()
            sent += took
        return sent


def _nothing_or_raise() -> int:
    """Return 0 for a call that would have blocked; raise any other error."""
    number = ctypes.get_errno()
    if number in {errno.EAGAIN, errno.EINTR}:
        return 0
    raise OSError(number, os.strerror(number))


def _is_connected(connection: socket.socket) -> bool:
    """Whether the socket is connected."""
    try:
        connection.getpeername()
    except OSError:
        return False
    return True
