"""What a NAT does to packets, seen from its two ends: a STUN responder outside, and a probe inside.

Written down to the bytes, without the server's own code: what proves the laboratory must not depend on what is tested
in it.
"""

import secrets
import selectors
import socket
import struct
import time
from collections.abc import Callable
from threading import Thread
from types import TracebackType
from typing import Self

__all__ = ["TCP_PORTS", "UDP_PORTS", "Connecting", "Mapping", "Probe", "Reflector"]

UDP_PORTS = (3478, 3479)
"""Where the reflector answers Binding requests: two ports of one address, so that a NAT has to show its colours."""
STRANGER_PORT = 3480
"""From here the reflector sends to those who have never sent here."""
TCP_PORTS = (443, 3478)

COOKIE = 0x2112A442
BINDING_REQUEST, BINDING_SUCCESS = 0x0001, 0x0101
XOR_MAPPED_ADDRESS = 0x0020
RESEND = 0.2
"""Seconds after which a probe is sent again."""
PATIENCE = 90.0
"""Seconds until an answer that has not come counts as failed; never waited out in success."""
STRANGER = b"from a stranger"

Mapping = tuple[str, int]
"""A transport address as the other side sees it."""


class Reflector:
    """A thread that answers Binding requests on `UDP_PORTS` and takes TCP connections on `TCP_PORTS`.

    Make it inside the namespace in which it is to be; it stays there.
    """

    def __init__(self, address: str) -> None:
        self.address = address
        self._udp = [_bound(address, port) for port in UDP_PORTS]
        self._stranger = _bound(address, STRANGER_PORT)
        self._tcp = [socket.create_server((address, port)) for port in TCP_PORTS]
        self._alarm, self._bell = socket.socketpair()
        self._thread = Thread(target=self._answer, name="reflector", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End the thread and close the sockets."""
        self._alarm.close()
        self._thread.join()
        for each in (*self._udp, *self._tcp, self._stranger, self._bell):
            each.close()

    def send_as_a_stranger(self, to: Mapping) -> None:
        """Send one datagram to a mapped address, from a port to which nothing has ever been sent."""
        self._stranger.sendto(STRANGER, to)

    def _answer(self) -> None:
        with selectors.DefaultSelector() as selector:
            for each in (*self._udp, *self._tcp, self._bell):
                selector.register(each, selectors.EVENT_READ)
            while True:
                for key, _ in selector.select():
                    ready = key.fileobj
                    assert isinstance(ready, socket.socket)
                    if ready is self._bell:
                        return
                    if ready in self._tcp:
                        ready.accept()[0].close()
                    else:
                        _reflect(ready)


def _bound(address: str, port: int) -> socket.socket:
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    made.bind((address, port))
    return made


def _reflect(udp: socket.socket) -> None:
    """Answer one Binding request with the address that it came from (RFC 8489 §14.2)."""
    request, (host, port) = udp.recvfrom(2048)
    if len(request) < 20 or struct.unpack_from("!HHI", request)[::2] != (BINDING_REQUEST, COOKIE):
        return
    (number,) = struct.unpack("!I", socket.inet_aton(host))
    value = struct.pack("!HHI", 1, port ^ (COOKIE >> 16), number ^ COOKIE)
    header = struct.pack("!HHI", BINDING_SUCCESS, 4 + len(value), COOKIE) + request[8:20]
    udp.sendto(header + struct.pack("!HH", XOR_MAPPED_ADDRESS, len(value)) + value, (host, port))


class Probe:
    """One UDP socket that asks how the reflector sees it. Make it inside the host's namespace; a context manager."""

    def __init__(self, reflector: str) -> None:
        self._reflector = reflector
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("0.0.0.0", 0))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._socket.close()

    @property
    def port(self) -> int:
        """The port of the socket itself."""
        number: int = self._socket.getsockname()[1]
        return number

    def mapped(self, port: int) -> Mapping:
        """The address that the reflector's ``port`` sees; asks again and again. Raises TimeoutError."""
        asked = set()
        give_up = time.monotonic() + PATIENCE
        while time.monotonic() < give_up:
            asked.add(self.ask(port))
            answer = self._first(lambda data: data[8:20] in asked, RESEND)
            if answer is not None:
                return _mapped_address(answer)
        raise TimeoutError(f"no answer from {self._reflector}:{port} within {PATIENCE} s")

    def ask(self, port: int) -> bytes:
        """Send one Binding request; its transaction id."""
        transaction = secrets.token_bytes(12)
        request = struct.pack("!HHI", BINDING_REQUEST, 0, COOKIE) + transaction
        self._socket.sendto(request, (self._reflector, port))
        return transaction

    def send(self, data: bytes, to: Mapping) -> None:
        """Send one datagram to anybody."""
        self._socket.sendto(data, to)

    def receive(self, timeout: float) -> bytes | None:
        """The next datagram of any kind, or None; 0 looks without waiting."""
        self._socket.settimeout(timeout)
        try:
            return self._socket.recv(2048)
        except (TimeoutError, BlockingIOError):
            return None

    def hears_the_stranger(self, timeout: float = PATIENCE) -> bool:
        """Whether a stranger's datagram arrives within ``timeout`` seconds; 0 looks without waiting."""
        return self._first(lambda data: data == STRANGER, timeout) is not None

    def _first(self, wanted: Callable[[bytes], bool], timeout: float) -> bytes | None:
        """The first datagram that is wanted; late answers to other questions are not."""
        give_up = time.monotonic() + timeout
        while (data := self.receive(max(0.0, give_up - time.monotonic()))) is not None:
            if wanted(data):
                return data
        return None


def _mapped_address(answer: bytes) -> Mapping:
    kind, _, family, port, number = struct.unpack_from("!HHHHI", answer, 20)
    assert (kind, family & 0xFF) == (XOR_MAPPED_ADDRESS, 1)
    return socket.inet_ntoa(struct.pack("!I", number ^ COOKIE)), port ^ (COOKIE >> 16)


class Connecting:
    """A TCP connection attempt that is not waited for. Make it inside the host's namespace; a context manager."""

    def __init__(self, address: str, port: int) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self._socket.setblocking(False)
        self._socket.connect_ex((address, port))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._socket.close()

    def succeeds(self, timeout: float = PATIENCE) -> bool:
        """Whether it is connected ``timeout`` seconds from now at the latest; 0 looks without waiting."""
        with selectors.DefaultSelector() as selector:
            selector.register(self._socket, selectors.EVENT_WRITE)
            return bool(selector.select(timeout)) and self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0
