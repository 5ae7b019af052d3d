"""The core under a sequence of frames, datagrams, connections and pauses: it raises nothing, and its tables agree.

An input is a list of steps: a byte that says which, a byte for the length, and so many bytes for the step.
"""

from collections.abc import Iterable, Iterator

from stun import attributes as a
from stun import channeldata
from stun.address import Address
from stun.attributes import REGISTRY, AttributeType, IcmpValue
from stun.constants import MAGIC_COOKIE, Method
from stun.errors import EncodeError
from tests.support.core_tables import check_tables
from tests.support.core_world import PEER, PEER6
from tests.support.limits import limits
from tests.support.tcp_world import TcpClient, TcpWorld
from turnserver.core.tcp_connections import ConnectionState
from turnserver.core.types import ClientTransport, PortRange, RelayId

__all__ = ["MAX_LENGTH", "WORDS", "run", "seeds"]

MAX_LENGTH = 1024
WORDS = (
    *(number.to_bytes(2, "big") for number in sorted(REGISTRY)),
    MAGIC_COOKIE.to_bytes(4, "big"),
    *(spec.encode(value, bytes(12)) for spec in (a.XOR_PEER_ADDRESS,) for value in (PEER, PEER6)),
)
_STEPS = 24
"""Steps of an input that are taken; tables are checked after each."""
_PEERS = (PEER, PEER6, Address(PEER.ip, 1), Address(bytes((10, 0, 0, 1)), 5000))


def _step(kind: int, data: bytes) -> bytes:
    return bytes((kind, len(data))) + data


def _attributes(pairs: Iterable[tuple[int, bytes]]) -> bytes:
    return b"".join(bytes((number >> 8, number & 0xFF, len(value))) + value for number, value in pairs)


def seeds() -> Iterator[bytes]:
    """A dual allocation, permissions, a channel, and traffic; then what goes wrong with it."""
    peer, peer6 = (a.XOR_PEER_ADDRESS.encode(address, bytes(12)) for address in (PEER, PEER6))
    allocate = _step(1, bytes((0, Method.ALLOCATE)) + _attributes([(0x19, b"\x11\0\0\0"), (0x8000, b"\2\0\0\0")]))
    # The transaction id that values are masked with counts on from there, so only IPv4's cookie is right.
    permit = _step(1, bytes((0, Method.CREATE_PERMISSION)) + _attributes([(0x12, peer)]))
    bind = _step(1, bytes((0, Method.CHANNEL_BIND)) + _attributes([(0x0C, b"\x40\0\0\0"), (0x12, peer)]))
    data = _step(0, b"\0" + channeldata.encode(0x4000, b"payload"))
    yield allocate + permit + bind + data + _step(2, b"\1\0payload") + _step(3, b"\1\0\3\3\0") + _step(4, b"\xff")
    yield (
        allocate + _step(1, bytes((0, Method.REFRESH)) + _attributes([(0x0D, bytes(4))])) + _step(4, b"\x10") + allocate
    )
    tcp = _step(1, bytes((1, Method.ALLOCATE)) + _attributes([(0x19, b"\6\0\0\0")]))
    connect = _step(1, bytes((1, Method.CONNECT)) + _attributes([(0x12, peer)]))
    yield tcp + connect + _step(7, b"\0\0") + _step(7, b"\0\2") + _step(5, b"\2")
    permit_tcp = _step(1, bytes((1, Method.CREATE_PERMISSION)) + _attributes([(0x12, peer)]))
    yield tcp + permit_tcp + _step(6, b"\1\0") + _step(7, b"\0\2") + _step(7, b"\0\x80")
    yield allocate + bind + _step(1, bytes((0, Method.CREATE_PERMISSION)) + _attributes([(0x12, peer), (0x12, peer6)]))
    yield _step(1, bytes((0, Method.ALLOCATE)) + _attributes([(0x19, b"\x11\0\0\0"), (0x18, b"\x80")])) + _step(
        5, b"\0"
    )
    yield _step(0, bytes.fromhex("02000100002112a442") + bytes(12)) + data


class _Arena:
    """A world that is small enough to get full, with clients over UDP, TCP and TLS."""

    def __init__(self) -> None:
        self.world = TcpWorld(ports=PortRange(50_000, 50_007), limits=limits(permissions_per_allocation=3))
        self.clients = [self._client(number) for number in range(3)]

    def _client(self, number: int, serial: int = 0) -> TcpClient:
        transport = (ClientTransport.UDP, ClientTransport.TCP, ClientTransport.TLS)[number]
        user, password = ("bob", "hunter2") if number == 1 else ("alice", "secret")
        address = Address.parse("192.0.2.10", 40_000 + number)
        client = TcpClient(
            self.world, address, transport=transport, serial=number + serial, user=user, password=password
        )
        client.challenge()
        return client

    def take(self, kind: int, data: bytes) -> None:
        """One step; anything that is too short for it is none."""
        steps = (self._frame, self._ask, self._datagram, self._icmp, self._wait, self._leave, self._come, self._decide)
        size, step = (1, 2, 2, 5, 1, 1, 2, 2)[kind % 8], steps[kind % 8]
        if len(data) >= size:
            step(data)

    def _frame(self, data: bytes) -> None:
        """Any frame, unless the client's connection is a peer's by now (RFC 6062)."""
        path = self.clients[data[0] % 3].path
        if path not in self.world.spliced:
            self.world.feed(path, data[1:])

    def _ask(self, data: bytes) -> None:
        """A signed request, with attributes of any content: two bytes of type, one of length, and the value."""
        client, method, rest = self.clients[data[0] % 3], data[1], data[2:]
        wanted: list[tuple[AttributeType[bytes], bytes]] = []
        while len(rest) >= 3:
            number, size = rest[0] << 8 | rest[1], rest[2]
            wanted.append((_raw(number), rest[3 : 3 + size]))
            rest = rest[3 + size :]
        try:
            frame = client.build(method & 0x0F, wanted)
        except EncodeError:  # an attribute that is computed
            return
        if client.path not in self.world.spliced:
            assert len(self.world.feed(client.path, frame)) <= 1

    def _datagram(self, data: bytes) -> None:
        self.world.peer_sends(RelayId(data[0] % 8), _PEERS[data[1] % len(_PEERS)], data[2:])

    def _icmp(self, data: bytes) -> None:
        peer = _PEERS[data[1] % len(_PEERS)]
        self.world.core.peer_icmp(RelayId(data[0] % 8), peer, IcmpValue(data[2], data[3], data[4]), self.world.now)
        self.world.run()

    def _wait(self, data: bytes) -> None:
        self.world.advance(data[0] * 4.0)

    def _leave(self, data: bytes) -> None:
        """A client's connection ends, and it comes again over another one."""
        number = data[0] % 3
        path = self.clients[number].path
        if path.transport.connected:
            self.world.hang_up(path)
            self.clients[number] = self._client(number, path.serial + 3)

    def _come(self, data: bytes) -> None:
        """A peer connects to a relay."""
        relay = RelayId(data[0] % 8)
        if relay in self.world.bound:
            self.world.peer_connects(relay, _PEERS[data[1] % len(_PEERS)])

    def _decide(self, data: bytes) -> None:
        """What becomes of a connection: the peer takes or refuses it, a client claims it, or it ends."""
        if not self.world.connections:
            return
        number = sorted(self.world.connections)[data[0] % len(self.world.connections)]
        client = self.clients[data[1] % 3]
        connecting = self.world.connections[number] is ConnectionState.CONNECTING
        if connecting:
            (self.world.peer_refuses if data[1] & 0x80 else self.world.peer_takes)(number)
        elif data[1] & 0x80:
            self.world.peer_leaves(number)
        elif client.path not in self.world.spliced:
            self.world.feed(client.path, client.build(Method.CONNECTION_BIND, [(a.CONNECTION_ID, number)]))


def _raw(number: int) -> AttributeType[bytes]:
    return AttributeType(number, "raw", "", lambda value, _: value, lambda value, _: value)


def run(data: bytes) -> None:
    """Nothing is raised, tables agree after each step, and two hours later there is nothing left."""
    arena = _Arena()
    for _ in range(_STEPS):
        if len(data) < 2:
            break
        size = data[1]
        arena.take(data[0], data[2 : 2 + size])
        check_tables(arena.world)
        data = data[2 + size :]
    for client in arena.clients:  # data connections have no lifetime
        if client.path in arena.world.spliced:
            arena.world.hang_up(client.path)
    arena.world.advance(7_200.0)
    arena.world.assert_nothing_left()
    check_tables(arena.world)
