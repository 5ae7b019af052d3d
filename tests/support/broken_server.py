"""A server that makes one mistake: a front on loopback that passes everything on to a real server, but for that.

It knows the user's password, so that what it changes is sealed again, and shows clients their own address.
"""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Final

from auth.keys import long_term_key_md5, long_term_key_sha256
from cli.conform.pipes import Subject
from cli.conform.wire import FINGERPRINT_SEAL, Draft, Raw, Seal, SeenMessage, sealed_sha1, sealed_sha256
from stun.address import Address
from stun.attributes import MAPPED_ADDRESS, XOR_MAPPED_ADDRESS
from stun.errors import MalformedMessage
from stun.framing import StreamFramer
from tests.support.conformance import server_at
from tests.support.server import PASSWORD, REALM, USERNAME

__all__ = ["DROP", "RELAYS", "Line", "Mistake", "broken_front", "redraft"]

KEYS: Final = (long_term_key_md5(USERNAME, REALM, PASSWORD), long_term_key_sha256(USERNAME, REALM, PASSWORD))
SEALS: Final = (
    *(sealed_sha1(key) for key in KEYS),
    *(sealed_sha256(key) for key in KEYS),
    FINGERPRINT_SEAL,
)
MOST: Final = 65_536

RELAYS: Final = "127.0.0.2"
"""Where the server's relays have to be; the front and clients are elsewhere."""

DROP: Final = b""
"""What a change gives to have a frame not passed on."""

Changed = Draft | bytes | None


@dataclass(slots=True)
class Line:
    """One client: its requests by transaction id, the last nonce that it was given, and the ways to both sides."""

    client: Address
    to_client: Callable[[bytes], None]
    to_server: Callable[[bytes], None]
    requests: dict[bytes, Draft] = field(default_factory=dict)
    notes: dict[str, bytes] = field(default_factory=dict)
    own: set[bytes] = field(default_factory=set)
    """Transactions that the front has begun by itself: their answers go no further."""

    def inject(self, draft: Draft) -> None:
        """Ask the server something in the client's name, behind its back."""
        self.own.add(draft.transaction_id)
        self.to_server(draft.encode())


def unchanged(line: Line, draft: Draft) -> Changed:
    """No change."""
    return None


@dataclass(frozen=True, slots=True)
class Mistake:
    """One mistake, and the checks that find it.

    ``request`` and ``answer`` see messages of either direction, ``channel_data`` frames in both: ``None`` passes it on
    as it is, a draft or bytes instead of it, and `DROP` not at all.
    """

    name: str
    found: frozenset[str]
    transport: str = "udp"
    request: Callable[[Line, Draft], Changed] = unchanged
    answer: Callable[[Line, Draft], Changed] = unchanged
    data_out: Callable[[Line, bytes], Changed] = lambda line, frame: None
    data_in: Callable[[Line, bytes], Changed] = lambda line, frame: None
    lingers: Callable[[Line], bool] = lambda line: False
    """Whether the server is not told of the end of a client's connection."""


def redraft(seen: SeenMessage) -> Draft:
    """A message as a draft that is sealed again when it is encoded, if its seals are right."""
    items: list[Raw | Seal] = []
    for each in seen.attributes:
        fitting = (seal for seal in SEALS if seal.number == each.type and seen.sealed_by(seal))
        items.append(next(fitting, None) or (each.type, each.value))
    cookie = int.from_bytes(seen.raw[4:8], "big")
    return Draft(seen.method, seen.message_class, items, seen.transaction_id, cookie)


class _Front(asyncio.DatagramProtocol):
    """The front over UDP; each client has a socket of its own towards the server."""

    def __init__(self, server: Address, mistake: Mistake) -> None:
        self._server = server
        self._mistake = mistake
        self._lines: dict[tuple[str, int], tuple[Line, socket.socket]] = {}
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.DatagramTransport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        if addr[0] == RELAYS:
            return  # the server's own relays get no answer from its own port
        if addr not in self._lines:
            self._lines[addr] = self._open(addr)
        line = self._lines[addr][0]
        out = from_client(line, data, self._mistake)
        if out is not None:
            line.to_server(out)

    def _open(self, addr: tuple[str, int]) -> tuple[Line, socket.socket]:
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.setblocking(False)
        sock.connect((self._server.host, self._server.port))
        line = Line(Address.parse(*addr[:2]), lambda data: self._transport.sendto(data, addr), sock.send)
        self._loop.add_reader(sock.fileno(), self._from_server, line, sock)
        return line, sock

    def _from_server(self, line: Line, sock: socket.socket) -> None:
        with suppress(BlockingIOError, ConnectionRefusedError):
            while True:
                out = from_server(line, sock.recv(MOST), self._mistake)
                if out is not None:
                    line.to_client(out)

    def close(self) -> None:
        for _, sock in self._lines.values():
            self._loop.remove_reader(sock.fileno())
            sock.close()
        self._transport.close()


def from_client(line: Line, data: bytes, mistake: Mistake) -> bytes | None:
    """What goes on to the server."""
    seen = SeenMessage.read(data)
    if seen is None:
        return _result(mistake.data_out(line, data), data) if data[:1] and data[0] & 0xC0 == 0x40 else data
    draft = redraft(seen)
    line.requests[seen.transaction_id] = draft
    line.notes["raw"] = data
    draft.padding = next((each.padding[0] for each in seen.attributes if each.padding), 0)
    return _result(mistake.request(line, draft), data)


def from_server(line: Line, data: bytes, mistake: Mistake) -> bytes | None:
    """What goes on to the client."""
    seen = SeenMessage.read(data)
    if seen is None:
        return _result(mistake.data_in(line, data), data)
    if seen.transaction_id in line.own:
        return None
    draft = redraft(seen)
    for spec in (XOR_MAPPED_ADDRESS, MAPPED_ADDRESS):
        if seen.has(spec):
            draft.put(spec, spec.encode(line.client, seen.transaction_id))
    changed = mistake.answer(line, draft)
    return _result(draft if changed is None else changed, data)


def _result(changed: Changed, data: bytes) -> bytes | None:
    if changed is None:
        return data
    if isinstance(changed, Draft):
        return changed.encode()
    return changed or None


class _StreamSide(asyncio.Protocol):
    """One end of a connection through the front; frames in both directions, or bytes behind a ConnectionBind.

    ``change`` sees ChannelData with its padding, and gives the bytes to send.
    """

    def __init__(self) -> None:
        self.other: _StreamSide
        self.change: Callable[[bytes], bytes | None]
        self.framer: StreamFramer | None = StreamFramer()
        self.lingers: Callable[[], bool] = lambda: False
        self._waiting: list[bytes] = []
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]
        for data in self._waiting:
            self.write(data)

    @property
    def peer(self) -> Address:
        assert self._transport is not None
        return Address.parse(*self._transport.get_extra_info("peername")[:2])

    def write(self, data: bytes) -> None:
        if self._transport is None:
            self._waiting.append(data)
        elif not self._transport.is_closing():
            self._transport.write(data)

    def data_received(self, data: bytes) -> None:
        if self.framer is None:
            self.other.write(data)
            return
        self.framer.push(data)
        try:
            while self.framer is not None and (frame := self.framer.pop()) is not None:
                self._pass_on(frame if frame[0] < 4 else frame + bytes(-len(frame) % 4))
        except MalformedMessage:
            self.close()
            self.other.close()

    def _pass_on(self, frame: bytes) -> None:
        out = self.change(frame)
        if out is not None:
            self.other.write(out)
        if frame[:2] == b"\x01\x0b" and self.framer is not None:  # a success of ConnectionBind: bytes from here on
            rest, self.framer, self.other.framer = self.framer.rest(), None, None
            self.other.write(rest)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.lingers():
            self.other.close()

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()


@asynccontextmanager
async def broken_front(target: Subject, mistake: Mistake) -> AsyncIterator[Subject]:
    """The server of ``target`` (over UDP or TCP, IPv4), with a mistake."""
    loop = asyncio.get_running_loop()
    if target.uri.protocol == "udp":
        transport, front = await loop.create_datagram_endpoint(
            lambda: _Front(target.address, mistake), local_addr=("127.0.0.1", 0)
        )
        try:
            yield server_at("udp", *transport.get_extra_info("sockname"), None)
        finally:
            front.close()
        return
    tasks: set[asyncio.Task[object]] = set()

    def accept() -> _StreamSide:
        near, far = _StreamSide(), _StreamSide()
        near.other, far.other = far, near
        line = Line(target.address, near.write, far.write)

        near.lingers = lambda: mistake.lingers(line)

        def from_near(frame: bytes) -> bytes | None:
            line.client = near.peer
            return from_client(line, frame, mistake)

        near.change, far.change = from_near, lambda frame: from_server(line, frame, mistake)
        task = loop.create_task(loop.create_connection(lambda: far, target.address.host, target.address.port))
        tasks.add(task)
        task.add_done_callback(tasks.discard)
        return near

    server = await loop.create_server(accept, "127.0.0.1", 0)
    try:
        yield server_at("tcp", *server.sockets[0].getsockname(), None)
    finally:
        server.close()
