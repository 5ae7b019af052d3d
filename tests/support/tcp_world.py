"""The TURN world of `tests.support.core_world` with TCP relays (RFC 6062): peers that connect, refuse, and leave.

After every input the connections that the shell holds must be those that the core knows of: one more would be a leak,
one less a connection that nobody can close.
"""

from dataclasses import dataclass
from typing import Any

from stun import attributes as a
from stun.address import Address
from stun.constants import MessageClass, Method
from stun.message import Message, MessageBuilder
from tests.support.core_world import ScriptedClient, World, code_of
from turnserver.core import commands as c
from turnserver.core.allocation import AllocationState
from turnserver.core.deadlines import DeadlineKind
from turnserver.core.tcp_connections import ConnectionState
from turnserver.core.types import ClientTransport, FiveTuple, RelayId

__all__ = ["TCP", "TcpClient", "TcpWorld"]

TCP = (a.REQUESTED_TRANSPORT, 6)


@dataclass(eq=False)
class TcpWorld(World):
    """A world whose shell makes and takes connections. ``connections`` are those it holds, with the state of each."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.connections: dict[int, ConnectionState] = {}
        self.connects: list[c.ConnectPeer] = []
        self.spliced: dict[FiveTuple, int] = {}
        self._serial = 0

    def run(self) -> None:
        """Carry out commands until there are none; then the books must agree."""
        super().run()
        self.check()

    def _do(self, command: c.Command) -> None:
        match command:
            case c.ConnectPeer(connection, relay):
                assert relay in self.bound
                assert connection not in self.connections
                self.connections[connection] = ConnectionState.CONNECTING
                self.connects.append(command)
            case c.ClosePeer(connection):
                self._ended(connection)
            case c.Splice(client, connection):
                assert self.connections[connection] is ConnectionState.WAITING
                self.connections[connection] = ConnectionState.BOUND
                self.spliced[client] = connection
            case _:
                super()._do(command)

    def _ended(self, connection: int) -> None:
        del self.connections[connection]
        self.spliced = {client: number for client, number in self.spliced.items() if number != connection}

    def check(self) -> None:
        """What must hold after every input: tables are each other's inverse, deadlines stand, nothing leaks."""
        state = self.core.state
        tcp, limits = state.tcp, state.settings.limits
        assert {number: held.state for number, held in tcp.by_id.items()} == self.connections
        assert {client: held.id for client, held in tcp.by_client.items()} == self.spliced
        assert all(tcp.by_allocation.values()), "an empty table"
        held = {(serial, peer): x for serial, peers in tcp.by_allocation.items() for peer, x in peers.items()}
        assert set(held.values()) == set(tcp.by_id.values())
        assert len(held) == len(tcp.by_id)
        for (serial, peer), connection in held.items():
            allocation = state.by_serial[serial]
            assert (connection.allocation, connection.peer) == (allocation, peer)
            assert allocation.state is AllocationState.LIVE
            assert connection.relay in allocation.relays
            assert (connection.client is not None) == (connection.state is ConnectionState.BOUND)
            assert len(tcp.of(allocation)) <= limits.tcp_connections_per_allocation
        due = {key.item for key in state.deadlines._when if key.kind is DeadlineKind.CONNECTION}
        assert due == {number for number, x in self.connections.items() if x is not ConnectionState.BOUND}

    # The world around

    def control(self, host: str = "192.0.2.10", **options: Any) -> "TcpClient":
        """A client on a new TCP connection (or another transport); ``user`` and ``password`` default to alice's."""
        self._serial += 1
        options.setdefault("transport", ClientTransport.TCP)
        return TcpClient(self, Address.parse(host, 40000 + self._serial), serial=self._serial, **options)

    def peer_takes(self, connection: int) -> None:
        """The peer accepts a connection that is being made."""
        assert self.connections[connection] is ConnectionState.CONNECTING
        self.connections[connection] = ConnectionState.WAITING
        self.core.peer_connected(connection, self.now)
        self.run()

    def peer_refuses(self, connection: int) -> None:
        """The peer does not accept a connection that is being made."""
        self._ended(connection)
        self.core.peer_failed(connection, self.now)
        self.run()

    def peer_connects(self, relay: RelayId, peer: Address) -> int | None:
        """A peer connects to a relay; gives the connection's number, None if it is refused."""
        number = self.core.peer_accepted(relay, peer, self.now)
        if number is not None:
            self.connections[number] = ConnectionState.WAITING
        self.run()
        return number

    def peer_leaves(self, connection: int) -> None:
        """A connection ends, both ways."""
        self._ended(connection)
        self.core.peer_gone(connection, self.now)
        self.run()

    def hang_up(self, client: FiveTuple) -> None:
        """A client's connection ends."""
        self.core.client_gone(client, self.now)
        self.run()


class TcpClient(ScriptedClient):
    """A client that knows RFC 6062."""

    world: TcpWorld

    def allocate_tcp(self, *attributes: Any) -> Message:
        """Allocate a TCP relay."""
        return self.request(Method.ALLOCATE, TCP, *attributes)

    def connect(self, peer: Address, transaction: bytes | None = None) -> list[Message]:
        """A Connect, and what is answered at once."""
        if self.nonce is None:
            self.challenge()
        frame = self.build(Method.CONNECT, [(a.XOR_PEER_ADDRESS, peer)], transaction=transaction)
        return [Message.decode(answer) for answer in self.world.feed(self.path, frame)]

    def connected(self, peer: Address) -> int:
        """A Connect that the peer takes; gives the CONNECTION-ID."""
        assert self.connect(peer) == []
        self.world.peer_takes(self.world.connects[-1].connection)
        (answer,) = self.heard()
        assert code_of(answer) == 0
        number = answer.first(a.CONNECTION_ID)
        assert number is not None
        return number

    def claim(self, connection: int, **options: Any) -> tuple["TcpClient", Message]:
        """A ConnectionBind over a new connection, and its answer."""
        data = self.world.control(**{"user": self.user, "password": self.password} | options)
        return data, data.request(Method.CONNECTION_BIND, (a.CONNECTION_ID, connection))

    def heard(self) -> list[Message]:
        """The messages that have been sent to this client since it last looked."""
        return [Message.decode(frame) for frame in self.hears()]

    def indication(self, method: int, *attributes: Any) -> bytes:
        """An indication."""
        builder = MessageBuilder(method, MessageClass.INDICATION, self.transaction_id())
        for spec, value in attributes:
            builder.add(spec, value)
        return builder.build()
