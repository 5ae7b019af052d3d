"""A whole server under traffic, in one event loop, of which one method of one part raises when a victim meets it.

Real core, engine, sockets, listeners and relays, on loopback; only the clock can be put forward. `Plan` says which
method raises, before or after it has done its work. *Bystanders* relay all the time, next to the victims and in the
same bursts: UDP and TCP clients with UDP relays, and a TCP client with a TCP relay and a connection through it. They
must lose nothing. *Victims* do everything that a client can do, and take whatever comes of it.
"""

import itertools
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from ipaddress import ip_network
from typing import Any

from auth.keys import long_term_key_md5, user_hash
from auth.nonce import NonceIssuer
from auth.source import CredentialSource, StaticUsers
from auth.types import PENDING, Answer, LateAnswer
from stun import attributes as a
from stun.address import Address
from stun.channeldata import decode, encode
from stun.constants import MessageClass, Method
from stun.demux import is_stun
from stun.framing import StreamFramer
from stun.message import Message, MessageBuilder
from tests.support.core_settings import core_settings
from tests.support.core_world import code_of
from tests.support.skipping_loop import SkippingLoop
from turnserver.config import Config
from turnserver.core.events import Event
from turnserver.core.server import TurnCore
from turnserver.core.settings import OwnAddresses, RelayAddress
from turnserver.core.types import ClientTransport, Counters, FiveTuple, Now
from turnserver.engine import Engine
from turnserver.net import from_sockaddr
from turnserver.proxies import Arrival
from turnserver.relay.sockets import AsyncioDatapath
from turnserver.relay.tcp import TcpRelays
from turnserver.streams import ByteStream
from turnserver.transports.limits import ConnectionLimiter
from turnserver.transports.stream import StreamTransport
from turnserver.transports.udp import UdpTransport

__all__ = ["Broken", "FaultWorld", "Plan", "Victim", "everything_that_victims_do"]

REALM = "example.org"
USERS = {"alice": "secret", "mallory": "hunter2"}
HERE = "127.0.0.1"
THERE = "127.0.0.2"
"""Where the victims' peers are: a policy can forbid them and nobody else's."""
TURNS = 60
"""Turns of the loop in which a victim's answer comes, if any does."""
CHANNEL = 0x4000


class Broken(Exception):
    """Nothing that anybody expects."""


class Plan:
    """Which method raises: ``part`` and ``method`` name it; ``after`` if it does its work first.

    It raises while ``armed``, for calls that have nothing to do with what is ``protected``: clients, relays and
    connections of the bystanders. ``hits`` counts how often it has.
    """

    error: type[BaseException] = Broken

    def __init__(self, part: str = "", method: str = "", *, after: bool = False) -> None:
        self.part = part
        self.method = method
        self.after = after
        self.armed = False
        self.hits = 0
        self.protected: set[object] = set()

    def wrap(self, part: str, method: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, or one that raises when the plan says so."""
        if (part, method) != (self.part, self.method):
            return function

        def call(*arguments: Any, **named: Any) -> Any:
            if not self.armed or self.protected.intersection(_things(arguments)):
                return function(*arguments, **named)
            self.hits += 1
            if self.after:
                function(*arguments, **named)
            raise self.error(f"{part}.{method}")

        async def later(*arguments: Any, **named: Any) -> Any:
            found = function(*arguments, **named)
            if not self.armed or self.protected.intersection(_things(arguments)):
                return await found
            self.hits += 1
            if self.after:
                await found
            else:
                found.close()
            raise self.error(f"{part}.{method}")

        return later if method.startswith("ask") else call


_VALUES = (FiveTuple, Address, Now, Counters, a.IcmpValue)
"""Tuples whose parts are not what a call is about: the code of an ICMP error is no relay's number."""


def _things(arguments: tuple[object, ...]) -> Iterator[object]:
    """What the arguments of a call are about, the parts of routes and events among them."""
    for argument in arguments:
        if isinstance(argument, _VALUES) or not isinstance(argument, tuple):
            with suppress(TypeError, ValueError):  # a list, a writable memoryview
                hash(argument)
                yield argument
        else:
            yield from _things(argument)


class Faulty:
    """Stands in front of a part of the server, and raises as planned."""

    def __init__(self, inner: Any, plan: Plan, part: str) -> None:
        self.inner = inner
        self._plan = plan
        self._part = part

    def __getattr__(self, name: str) -> Any:
        value = getattr(self.inner, name)
        return self._plan.wrap(self._part, name, value) if callable(value) else value


class FaultyTransport(Faulty):
    """The same; it hands out paths, and takes hops into them, that raise as planned."""

    def path(self, client: FiveTuple) -> Any:
        """The path of a client."""
        found = self._plan.wrap(self._part, "path", self.inner.path)(client)
        victims = self._plan.armed and client not in self._plan.protected
        return FaultyPath(found, self._plan, "path") if victims and found is not None else found


class FaultyPath(Faulty):
    """The path of a victim."""

    @property
    def channels(self) -> "Channels":
        """The channels of the path itself."""
        return Channels(self.inner.channels, self._plan)


class Channels:
    """The channels of a path as a datapath sees them; the transport finds hops there that raise as planned."""

    def __init__(self, channels: dict[int, Any], plan: Plan) -> None:
        self._channels = channels
        self._plan = plan

    def __len__(self) -> int:
        return len(self._channels)

    def __setitem__(self, number: int, hop: Any) -> None:
        self._channels[number] = Faulty(hop, self._plan, "hop")

    def __delitem__(self, number: int) -> None:
        del self._channels[number]

    def get(self, number: int) -> Any:
        """The hop itself."""
        found = self._channels.get(number)
        return None if found is None else found.inner


class Users(CredentialSource):
    """A table of users; who is ``slow`` has to be asked for."""

    anonymous = True

    def __init__(self) -> None:
        self.table = StaticUsers(USERS)
        self.slow = ""

    def find(self, username: str, realm: str, wall: float) -> Answer:
        return PENDING if username == self.slow else self.table.find(username, realm, wall)

    def find_by_hash(self, userhash: bytes, realm: str, wall: float) -> Answer:
        found = self.table.find_by_hash(userhash, realm, wall)
        return PENDING if found and found[0].username == self.slow else found

    async def ask(self, username: str, realm: str, wall: float) -> LateAnswer:
        return self.table.find(username, realm, wall)

    async def ask_by_hash(self, userhash: bytes, realm: str, wall: float) -> LateAnswer:
        return self.table.find_by_hash(userhash, realm, wall)


class Gateway:
    """Takes connections that speak HTTP, and closes them."""

    def accept(self, stream: ByteStream, first: bytes, arrival: Arrival) -> None:
        stream.close()


class Watcher:
    """An observer that remembers."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def on_event(self, event: Event, counters: Counters | None) -> None:
        self.events.append(event)


class FaultWorld:
    """See the module's text. `open` it inside the running loop, and `close` it."""

    def __init__(self, loop: SkippingLoop, plan: Plan) -> None:
        self.loop = loop
        self.plan = plan
        self.users = Users()
        relay = Address.parse(HERE, 0).ip
        loopback = [ip_network("127.0.0.0/8")]
        self.settings = core_settings(realm=REALM, allow=loopback)
        self.denying = core_settings(realm=REALM, allow=loopback, deny=[ip_network(f"{THERE}/32")])
        source: Any = Faulty(self.users, plan, "source")
        own = OwnAddresses((RelayAddress(relay, relay),))
        self.core = TurnCore(self.settings, own, source, NonceIssuer([b"k" * 32]), os.urandom)
        self.datapath = AsyncioDatapath(clock=loop.time)
        self.tcp = TcpRelays()
        limits = Config().limits
        self.limiter = ConnectionLimiter(limits)
        self.udp = UdpTransport(0, Address.parse(HERE, 0), clock=loop.time)
        self.streams = StreamTransport(
            1,
            Address.parse(HERE, 0),
            kind=ClientTransport.TCP,
            limits=limits,
            limiter=self.limiter,
            http=self._faulty(Gateway(), "http"),
            clock=loop.time,
        )
        self.watcher = Watcher()
        self.engine: Engine
        self.bystanders: list[Bystander] = []
        self.sockets: list[socket.socket] = []

    def _faulty(self, inner: Any, part: str) -> Any:
        return Faulty(inner, self.plan, part)

    async def open(self) -> None:
        """Start the server, and get the bystanders to relay."""
        observers = [self._faulty(Watcher(), "observer"), self.watcher]
        self.engine = Engine(
            self._faulty(self.core, "core"),
            self._faulty(self.datapath, "datapath"),
            [observer.on_event for observer in observers],
            clock=self.loop.now,
            tcp=self._faulty(self.tcp, "streams"),
        )
        for transport, part in ((self.udp, "transport"), (self.streams, "connected")):
            transport.bind()
            self.engine.add(FaultyTransport(transport, self.plan, part))
        self.bystanders = [DatagramBystander(self, stream=stream) for stream in (False, True)]
        self.bystanders.append(StreamBystander(self))
        for bystander in self.bystanders:
            await bystander.begin()
        await self.exchange()
        state = self.core.state
        self.plan.protected = {*state.allocations, *state.by_relay, *state.tcp.by_id, *state.tcp.by_client, "alice"}

    @contextmanager
    def armed(self) -> Iterator[None]:
        """Raise from here on; not from the end on."""
        self.plan.armed = True
        yield
        self.plan.armed = False

    def send_all(self) -> None:
        """Have every bystander send, and be sent, a packet of each kind."""
        for bystander in self.bystanders:
            bystander.send()

    async def exchange(self) -> None:
        """The same, and see that everything that was ever sent to or from a bystander has arrived, once."""
        self.send_all()
        for bystander in self.bystanders:
            await bystander.verify()

    async def end(self) -> None:
        """Let everybody fall silent, and hours pass."""
        for sock in self.sockets:
            sock.close()
        await self.loop.turns(10)
        await self.loop.skip(3 * 3600)

    def close(self) -> None:
        """Stop the server; the sockets of the test's own are closed, too."""
        self.engine.close()
        for sock in self.sockets:
            sock.close()

    def assert_nothing_left(self) -> None:
        """No table of the core, of the datapaths or of the transports has anything in it."""
        core, state = self.core, self.core.state
        left = {
            "allocations": state.allocations,
            "by_relay": state.by_relay,
            "by_serial": state.by_serial,
            "by_user": state.by_user,
            "openings": state.openings,
            "opening_relays": state.opening_relays,
            "reservations": state.reservations,
            "connections": state.tcp.by_id,
            "by_client": state.tcp.by_client,
            "by_allocation": state.tcp.by_allocation,
            "deadlines": list(state.deadlines._when),
            "answers kept": state.retransmissions._answers,
            "quota": state.quota._users,
            "ports": {key: ports._used for key, ports in state.ports.items() if ports.used},
            "look-ups": list(range(core.totals().pending_lookups)),
            "look-up tasks": self.engine._lookups,
            "to be tried again": list(range(len(self.engine._execution._retries))),
            "links": self.datapath._links,
            "descriptors": self.datapath._by_fd,
            "hops": self.datapath._hops,
            "listeners": self.tcp._listeners,
            "peers": self.tcp._links,
            "paths": self.udp._paths,
            "clients": self.streams._connections,
            "new clients": self.streams._openings,
            "places": self.limiter._addresses,
        }
        assert {name: table for name, table in left.items() if table} == {}
        assert (state.quota.total, self.limiter.count) == (0, 0)
        assert core.deadline() is None


class Client:
    """One client's socket, and the frames that have come; nothing is read before somebody looks."""

    def __init__(self, world: FaultWorld, *, stream: bool, user: str) -> None:
        self.world = world
        self.stream = stream
        self.user = user
        self.by_hash = False
        self.nonce: bytes | None = None
        self.framer = StreamFramer()
        self.frames: list[bytes] = []
        self.raw = b""
        self.is_raw = False
        self.gone = False
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM if stream else socket.SOCK_DGRAM)
        self.sock.bind((HERE, 0))
        self.sock.setblocking(False)
        world.sockets.append(self.sock)
        address = world.streams.address if stream else world.udp.address
        with suppress(BlockingIOError):
            self.sock.connect((address.host, address.port))

    def put(self, data: bytes) -> None:
        """Send, if there is anybody."""
        with suppress(OSError):
            self.sock.send(data)

    def look(self) -> None:
        """Take in what has come."""
        with suppress(BlockingIOError):
            while not self.gone:
                try:
                    data = self.sock.recv(65536)
                except BlockingIOError:
                    raise
                except OSError:
                    data = b""
                if self.is_raw:
                    self.raw += data
                elif self.stream:
                    self.frames += self.framer.feed(data)
                elif data:
                    self.frames.append(data)
                self.gone = self.stream and not data

    def build(self, method: int, *attributes: Any) -> bytes:
        """A request; signed once there is a nonce."""
        builder = MessageBuilder(method, MessageClass.REQUEST, os.urandom(12))
        for spec, value in attributes:
            builder.add(spec, value)
        if self.nonce is None:
            return builder.build()
        if self.by_hash:
            builder.add(a.USERHASH, user_hash(self.user, REALM))
        else:
            builder.add(a.USERNAME, self.user)
        builder.add(a.REALM, REALM).add(a.NONCE, self.nonce)
        return builder.integrity(long_term_key_md5(self.user, REALM, USERS.get(self.user, "guessed"))).build()

    def answer(self, request: bytes) -> Message | None:
        """The answer to a request, if it has come."""
        self.look()
        for frame in self.frames:
            if is_stun(frame) and frame[8:20] == request[8:20]:
                self.frames.remove(frame)
                return Message.decode(frame)
        return None

    def indicate(self, peer: Address, data: bytes) -> bytes:
        """A Send indication."""
        builder = MessageBuilder(Method.SEND, MessageClass.INDICATION, os.urandom(12))
        return builder.add(a.XOR_PEER_ADDRESS, peer).add(a.DATA, data).build()


def _udp_peer(world: FaultWorld, host: str) -> tuple[socket.socket, Address]:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind((host, 0))
    sock.setblocking(False)
    world.sockets.append(sock)
    return sock, from_sockaddr(sock.getsockname())


def _tcp_peer(world: FaultWorld, host: str) -> tuple[socket.socket, Address]:
    sock = socket.create_server((host, 0))
    sock.setblocking(False)
    world.sockets.append(sock)
    return sock, from_sockaddr(sock.getsockname())


class Bystander:
    """A client that has nothing to do with what goes wrong, and must not notice it."""

    def __init__(self, world: FaultWorld, *, stream: bool) -> None:
        self.world = world
        self.client = Client(world, stream=stream, user="alice")
        self.numbers = itertools.count()

    async def ask(self, client: Client, method: int, *attributes: Any) -> Message:
        """A request that succeeds."""
        request = client.build(method, *attributes)
        client.put(request)
        found: list[Message] = []

        def answered() -> bool:
            answer = client.answer(request)
            if answer is not None:
                found.append(answer)
            return bool(found)

        await self.world.loop.until(answered, f"an answer to method {method}")
        if client.nonce is None:
            client.nonce = found[0].first(a.NONCE)
            return await self.ask(client, method, *attributes)
        assert code_of(found[0]) == 0
        return found[0]

    async def begin(self) -> None:
        """Get everything that it takes to relay."""
        raise NotImplementedError

    def send(self) -> None:
        """One packet of each kind, both ways."""
        raise NotImplementedError

    async def verify(self) -> None:
        """Everything that was sent has come, once and in order."""
        raise NotImplementedError


class DatagramBystander(Bystander):
    """A client with a UDP relay, a channel to one peer, and indications to and from another."""

    async def begin(self) -> None:
        await self.world.loop.turns(5)
        answer = await self.ask(self.client, Method.ALLOCATE, (a.REQUESTED_TRANSPORT, 17))
        relayed = answer.first(a.XOR_RELAYED_ADDRESS)
        assert relayed is not None
        self.relay = relayed.host, relayed.port
        self.peers = [_udp_peer(self.world, HERE) for _ in range(2)]
        bound, other = (address for _, address in self.peers)
        await self.ask(self.client, Method.CHANNEL_BIND, (a.CHANNEL_NUMBER, CHANNEL), (a.XOR_PEER_ADDRESS, bound))
        await self.ask(self.client, Method.CREATE_PERMISSION, (a.XOR_PEER_ADDRESS, other))
        self.sent: list[bytes] = []
        self.at_peers: list[list[bytes]] = [[], []]
        self.at_client: list[list[bytes]] = [[], []]

    def send(self) -> None:
        data = b"%08d" % next(self.numbers)
        self.sent.append(data)
        frame = encode(CHANNEL, data)
        self.client.put(frame)
        self.client.put(self.client.indicate(self.peers[1][1], data))
        for sock, _ in self.peers:
            sock.sendto(data, self.relay)

    def _collect(self) -> bool:
        self.client.look()
        for frame in self.client.frames:
            if is_stun(frame):
                message = Message.decode(frame)
                if message.method == Method.DATA:
                    data = message.first(a.DATA)
                    assert data is not None
                    self.at_client[1].append(data)
            else:
                self.at_client[0].append(bytes(decode(frame)[1]))
        self.client.frames.clear()
        for (sock, _), heard in zip(self.peers, self.at_peers, strict=True):
            with suppress(BlockingIOError):
                while True:
                    heard.append(sock.recv(2000))
        return all(len(heard) >= len(self.sent) for heard in (*self.at_peers, *self.at_client))

    async def verify(self) -> None:
        await self.world.loop.until(self._collect, f"{self.sent[-3:]} at {self.at_peers} and {self.at_client}")
        assert self.at_peers == self.at_client == [self.sent, self.sent]


class StreamBystander(Bystander):
    """A client with a TCP relay (RFC 6062), and a connection through it."""

    def __init__(self, world: FaultWorld) -> None:
        super().__init__(world, stream=True)

    async def begin(self) -> None:
        await self.world.loop.turns(5)
        await self.ask(self.client, Method.ALLOCATE, (a.REQUESTED_TRANSPORT, 6))
        server, address = _tcp_peer(self.world, HERE)
        answer = await self.ask(self.client, Method.CONNECT, (a.XOR_PEER_ADDRESS, address))
        self.peer, _ = server.accept()
        self.peer.setblocking(False)
        self.world.sockets.append(self.peer)
        self.data = Client(self.world, stream=True, user="alice")
        await self.world.loop.turns(5)
        number = answer.first(a.CONNECTION_ID)
        await self.ask(self.data, Method.CONNECTION_BIND, (a.CONNECTION_ID, number))
        self.data.is_raw = True
        self.sent = self.at_peer = b""

    def send(self) -> None:
        data = b"%08d" % next(self.numbers)
        self.sent += data
        self.data.put(data)
        self.peer.send(data)

    def _collect(self) -> bool:
        self.data.look()
        with suppress(BlockingIOError):
            while True:
                self.at_peer += self.peer.recv(65536)
        return len(self.at_peer) >= len(self.sent) and len(self.data.raw) >= len(self.sent)

    async def verify(self) -> None:
        await self.world.loop.until(self._collect, "what was sent through a connection")
        assert self.at_peer == self.data.raw == self.sent


class Victim:
    """A client that does what clients do, whatever becomes of it; a packet of each bystander's goes along."""

    def __init__(self, world: FaultWorld, *, stream: bool, by_hash: bool = False, user: str = "mallory") -> None:
        self.world = world
        self.client = Client(world, stream=stream, user=user)
        self.client.by_hash = by_hash
        self.relay: tuple[str, int] | None = None

    async def put(self, *frames: bytes) -> None:
        """Send something, in one burst with what the bystanders send."""
        for frame in frames:
            self.client.put(frame)
        self.world.send_all()
        await self.world.loop.turns(8)

    async def ask(self, method: int, *attributes: Any) -> Message | None:
        """A request; gives the answer if there is one."""
        request = self.client.build(method, *attributes)
        await self.put(request)
        answer = self.client.answer(request)
        for _ in range(TURNS):
            if answer is not None or self.client.gone:
                break
            await self.world.loop.turns(1)
            answer = self.client.answer(request)
        if answer is not None and self.client.nonce is None and answer.first(a.NONCE) is not None:
            self.client.nonce = answer.first(a.NONCE)
            return await self.ask(method, *attributes)
        return answer

    async def allocate(self, protocol: int) -> None:
        """Allocate a relay."""
        await self.world.loop.turns(5)
        answer = await self.ask(Method.ALLOCATE, (a.REQUESTED_TRANSPORT, protocol))
        relayed = None if answer is None else answer.first(a.XOR_RELAYED_ADDRESS)
        self.relay = None if relayed is None else (relayed.host, relayed.port)

    async def peers_send(self, sock: socket.socket, count: int) -> None:
        """So many datagrams from a peer, in one burst with those for the bystanders."""
        for _ in range(count if self.relay is not None else 0):
            assert self.relay is not None
            with suppress(OSError):
                sock.sendto(b"to a victim", self.relay)
        self.world.send_all()
        await self.world.loop.turns(8)
        self.client.look()

    async def relay_datagrams(self) -> None:
        """A UDP relay: permissions, channels, indications, ICMP errors, a peer ACL that changes, every end there is."""
        await self.allocate(17)
        (bound, bound_to), (other, other_to) = (_udp_peer(self.world, THERE) for _ in range(2))
        closed, nobody = _udp_peer(self.world, THERE)
        closed.close()
        await self.ask(Method.CREATE_PERMISSION, (a.XOR_PEER_ADDRESS, other_to))
        await self.put(self.client.indicate(other_to, b"hello"), self.client.indicate(nobody, b"anybody?"))
        await self.peers_send(other, 2)
        await self.ask(Method.CHANNEL_BIND, (a.CHANNEL_NUMBER, CHANNEL), (a.XOR_PEER_ADDRESS, bound_to))
        await self.put(encode(CHANNEL, b"one"))
        await self.put(*[encode(CHANNEL, b"of many")] * 3)
        await self.peers_send(bound, 1)
        await self.peers_send(bound, 3)
        await self.ask(Method.REFRESH, (a.LIFETIME, 600))
        self.world.engine.use(self.world.denying)
        await self.put()
        self.world.engine.use(self.world.settings)
        self.world.engine.allocations()

    async def delete(self) -> None:
        """Refresh with a lifetime of 0."""
        await self.ask(Method.REFRESH, (a.LIFETIME, 0))

    async def relay_streams(self) -> None:
        """A TCP relay: a connection to a peer, one from a peer, one that is refused, each to its end."""
        await self.allocate(6)
        server, address = _tcp_peer(self.world, THERE)
        closed, nobody = _tcp_peer(self.world, THERE)
        closed.close()
        await self.ask(Method.CREATE_PERMISSION, (a.XOR_PEER_ADDRESS, address))
        await self.ask(Method.CONNECT, (a.XOR_PEER_ADDRESS, nobody))
        answer = await self.ask(Method.CONNECT, (a.XOR_PEER_ADDRESS, address))
        await self.claim(answer, server, peer_ends=True)
        if self.relay is not None:
            peer = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
            peer.bind((THERE, 0))
            peer.setblocking(False)
            self.world.sockets.append(peer)
            with suppress(OSError):
                peer.connect(self.relay)
            await self.put()
            self.client.look()
            attempts = [Message.decode(frame) for frame in self.client.frames if is_stun(frame)]
            attempts = [message for message in attempts if message.method == Method.CONNECTION_ATTEMPT]
            await self.claim(attempts[-1] if attempts else None, peer)

    async def claim(self, told: Message | None, peer: socket.socket, *, peer_ends: bool = False) -> None:
        """A ConnectionBind for a connection that the client was told of, some bytes through it, and its end.

        The client ends it, and the peer as well or not.
        """
        number = None if told is None else told.first(a.CONNECTION_ID)
        if number is None:
            return
        data = Victim(self.world, stream=True)
        await self.world.loop.turns(5)
        answer = await data.ask(Method.CONNECTION_BIND, (a.CONNECTION_ID, number))
        if answer is None or code_of(answer):
            return
        data.client.is_raw = True
        with suppress(OSError):
            peer, _ = peer.accept()
            self.world.sockets.append(peer)
        for _ in range(2):
            with suppress(OSError):
                peer.send(b"to a victim")
            await data.put(b"from a victim")
            data.client.look()
        data.client.sock.close()
        await self.put()
        if peer_ends:
            peer.close()
            await self.put()

    async def lose_relay(self) -> None:
        """The datapath loses an open relay."""
        await self.allocate(17)
        for relay in self.world.core.state.by_relay.keys() - self.world.plan.protected:
            self.world.engine.relay_failed(relay)
        await self.put()

    async def leave(self) -> None:
        """Close the connection, with all that hangs on it."""
        self.client.sock.close()
        await self.put()


async def everything_that_victims_do(world: FaultWorld) -> None:
    """Each kind of life, one after the other."""
    for stream in (False, True):
        victim = Victim(world, stream=stream)
        await victim.relay_datagrams()
        await victim.delete()
        revoked = Victim(world, stream=stream)
        await revoked.allocate(17)
        world.engine.revoke("mallory")
        await revoked.put()
        await Victim(world, stream=stream).lose_relay()
    for end in (Victim.delete, Victim.leave):
        victim = Victim(world, stream=True)
        await victim.relay_streams()
        await end(victim)
    await Victim(world, stream=False, by_hash=True).allocate(17)
    await Victim(world, stream=False, user="nobody").allocate(17)
    browser = Victim(world, stream=True)
    await world.loop.turns(5)
    await browser.put(b"GET / HTTP/1.1\r\n\r\n")
