"""The engine joins one core, the datapaths and the transports: it feeds the core, does what comes out, keeps one timer.

It decides nothing. Every call from a socket becomes one input to the core with the time on it; the commands that the
core queues are carried out in order until there are none; then the facts are handed to whoever listens, and the one
timer is moved if the core's next deadline has come nearer.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import cast

from auth.store import CredentialStore
from auth.types import Credential
from stun.address import Address
from stun.attributes import IcmpValue
from stun.constants import TransportProtocol
from turnserver.clock import system_clock
from turnserver.core.commands import (
    AddRoute,
    AllowPeer,
    CloseClient,
    ClosePeer,
    CloseRelay,
    Command,
    ConnectPeer,
    FindCredential,
    ForbidPeer,
    OpenRelay,
    RemoveRoute,
    SendToClient,
    SendToPeer,
    Splice,
)
from turnserver.core.events import AllocationEnded, AllocationOpened, Event
from turnserver.core.policy import PeerPolicy
from turnserver.core.server import TurnCore
from turnserver.core.types import AllocationView, Counters, FiveTuple, Now, RelayId
from turnserver.errors import DatapathError
from turnserver.relay.base import ClientPath, Datapath, StreamRelays
from turnserver.transports.base import ConnectedTransport, Transport

__all__ = ["CredentialLookup", "Engine", "EventListener"]

CredentialLookup = Callable[[FindCredential], Awaitable[Sequence[Credential]]]
"""Answers the core's credential look-ups from a store that has to wait; must not raise."""

EventListener = Callable[[Event, Counters | None], None]
"""Told of every event; an `AllocationEnded` comes with what its relays have carried."""


class Engine:
    """One server process's moving parts; create and use it inside a running event loop.

    ``datapath`` carries UDP relays and ``tcp`` TCP ones; without the latter none can be opened.
    """

    def __init__(
        self,
        core: TurnCore,
        datapath: Datapath,
        listeners: Sequence[EventListener] = (),
        lookup: CredentialLookup | None = None,
        clock: Callable[[], Now] = system_clock,
        *,
        tcp: StreamRelays | None = None,
    ) -> None:
        self._core = core
        self._datapath = datapath
        self._tcp = tcp
        self._transports: dict[int, Transport] = {}
        self._listeners = tuple(listeners)
        self._lookup = lookup
        self._clock = clock
        self._lookups: set[asyncio.Task[None]] = set()
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._closed_relays: dict[RelayId, Counters] = {}
        self._doing: dict[type[Command], Callable[..., None]] = {
            SendToClient: self._send_to_client,
            SendToPeer: self._send_to_peer,
            OpenRelay: self._open_relay,
            CloseRelay: self._close_relay,
            AddRoute: lambda command: datapath.add_route(command.route),
            RemoveRoute: lambda command: datapath.remove_route(command.client, command.channel),
            AllowPeer: lambda command: datapath.allow_peer(command.relay, command.ip, command.until),
            ForbidPeer: lambda command: datapath.forbid_peer(command.relay, command.ip),
            FindCredential: self._find_credential,
            CloseClient: self._close_client,
            ConnectPeer: self._connect_peer,
            ClosePeer: self._close_peer,
            Splice: self._splice,
        }
        datapath.attach(self, self)
        if tcp is not None:
            tcp.attach(self)

    # What transports and the datapath call

    def client_frame(self, client: FiveTuple, frame: bytes) -> None:
        """One whole frame from a client that had no route."""
        self._core.client_frame(client, frame, self._clock())
        self._work()

    def client_gone(self, client: FiveTuple) -> None:
        """A client's connection has ended."""
        self._core.client_gone(client, self._clock())
        self._work()

    def peer_datagram(self, relay: RelayId, peer: Address, data: bytes) -> None:
        """A datagram from a permitted peer without a channel."""
        self._core.peer_datagram(relay, peer, data, self._clock())
        self._work()

    def peer_icmp(self, relay: RelayId, peer: Address, icmp_type: int, icmp_code: int, data: int) -> None:
        """An ICMP error for a datagram sent to ``peer``."""
        self._core.peer_icmp(relay, peer, IcmpValue(icmp_type, icmp_code, data), self._clock())
        self._work()

    def peer_connected(self, connection: int) -> None:
        """A connection with a peer, asked for by the core, stands (RFC 6062 §5.2)."""
        self._core.peer_connected(connection, self._clock())
        self._work()

    def peer_failed(self, connection: int) -> None:
        """It does not, and never will."""
        self._core.peer_failed(connection, self._clock())
        self._work()

    def peer_accepted(self, relay: RelayId, peer: Address) -> int | None:
        """A peer has connected to a TCP relay (RFC 6062 §5.3); None when it is to be closed at once."""
        connection = self._core.peer_accepted(relay, peer, self._clock())
        self._work()
        return connection

    def peer_gone(self, connection: int) -> None:
        """A connection with a peer is over, and so is the client's (RFC 6062 §5.5)."""
        self._core.peer_gone(connection, self._clock())
        self._work()

    def path(self, client: FiveTuple) -> ClientPath | None:
        """The path of a client, for the datapath."""
        transport = self._transports.get(client.listener)
        return None if transport is None else transport.path(client)

    def release(self, client: FiveTuple) -> None:
        """The client has no route left."""
        transport = self._transports.get(client.listener)
        if transport is not None:
            transport.release(client)

    # What the worker calls

    def add(self, transport: Transport) -> None:
        """Serve the clients of a transport that has been bound."""
        self._transports[transport.listener] = transport
        transport.serve(self)

    def revoke(self, user_id: str) -> int:
        """End every allocation of a user at once; gives their number."""
        ended = self._core.revoke(user_id, self._clock())
        self._work()
        return ended

    def allocations(self, user_ids: Collection[str] | None = None) -> list[AllocationView]:
        """The live allocations of these users (of everybody if None), with what they have carried up to now.

        Nothing is changed by asking, and it is cheap for a few users however many allocations there are; a listener may
        ask while it is being told of an event.
        """
        return [
            view._replace(counters=_sum([self._relays(view.protocol).counters(relay) for relay in view.relays]))
            for view in self._core.allocations(user_ids)
        ]

    def replace_policy(self, policy: PeerPolicy) -> None:
        """Use another peer ACL from now on, also for what stands."""
        self._core.replace_policy(policy, self._clock())
        self._work()

    def replace_credentials(self, credentials: CredentialStore) -> None:
        """Ask another store from now on; running allocations keep the credential that they began with."""
        self._core.replace_credentials(credentials)

    def close(self) -> None:
        """Stop: no timer, no look-ups, no sockets. The clients' allocations are simply gone."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for task in self._lookups:
            task.cancel()
        for transport in self._transports.values():
            transport.close()
        self._datapath.close()
        if self._tcp is not None:
            self._tcp.close()

    # Inside

    def _work(self) -> None:
        """Carry out commands until there are none, tell the listeners, mind the timer."""
        while commands := self._core.commands():
            for command in commands:
                self._doing[type(command)](command)
        for event in self._core.events():
            counters = None
            if type(event) is AllocationOpened:
                self._keep(event.client, True)
            elif type(event) is AllocationEnded:
                counters = self._carried(event)
                self._keep(event.client, False)
            for listener in self._listeners:
                listener(event, counters)
        self._closed_relays.clear()
        self._mind_timer()

    def _mind_timer(self) -> None:
        """Only ever move the timer nearer: one that fires too early costs one look, moving it at every frame more."""
        deadline = self._core.deadline()
        if deadline is None or (self._timer is not None and self._timer.when() <= deadline):
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_at(deadline, self._tick)

    def _tick(self) -> None:
        self._timer = None
        self._core.expire(self._clock())
        self._work()

    def _carried(self, ended: AllocationEnded) -> Counters:
        return _sum([self._closed_relays[relay] for relay in ended.relays if relay in self._closed_relays])

    def _send_to_client(self, command: SendToClient) -> None:
        transport = self._transports.get(command.client.listener)
        if transport is not None:
            transport.send(command.client, command.frame)

    def _send_to_peer(self, command: SendToPeer) -> None:
        self._datapath.send_to_peer(command.relay, command.peer, command.data, command.dont_fragment)

    def _keep(self, client: FiveTuple, on: bool) -> None:
        """A client with an allocation may be silent for as long as that lives."""
        transport = self._connection(client)
        if transport is not None:
            transport.keep(client, on)

    def _connection(self, client: FiveTuple) -> ConnectedTransport | None:
        """The transport that a client has a connection with; None for a datagram transport."""
        transport = self._transports.get(client.listener) if client.transport.connected else None
        return cast(ConnectedTransport | None, transport)

    def _relays(self, protocol: TransportProtocol) -> Datapath | StreamRelays:
        if protocol is TransportProtocol.UDP:
            return self._datapath
        if self._tcp is None:
            raise DatapathError("there are no TCP relays")
        return self._tcp

    def _open_relay(self, command: OpenRelay) -> None:
        try:
            self._relays(command.protocol).open_relay(command.relay, command.bind)
        except DatapathError:
            self._core.relay_failed(command.relay, self._clock())
        else:
            self._core.relay_opened(command.relay, self._clock())

    def _close_relay(self, command: CloseRelay) -> None:
        relays = self._relays(command.protocol)
        self._closed_relays[command.relay] = relays.counters(command.relay)
        relays.close_relay(command.relay)

    def _close_client(self, command: CloseClient) -> None:
        transport = self._transports.get(command.client.listener)
        if transport is not None:
            transport.close_client(command.client)

    def _connect_peer(self, command: ConnectPeer) -> None:
        if self._tcp is not None:
            try:
                self._tcp.connect(command.connection, command.relay, command.peer)
            except DatapathError:
                self._core.peer_failed(command.connection, self._clock())

    def _close_peer(self, command: ClosePeer) -> None:
        if self._tcp is not None:
            self._tcp.close_peer(command.connection)

    def _splice(self, command: Splice) -> None:
        """The client may have gone since it asked, or the peer: then there is nothing to join, and neither is kept."""
        transport = self._connection(command.client)
        if self._tcp is None or transport is None:
            return
        stream = transport.detach(command.client)
        try:
            if stream is None:
                raise DatapathError("the client has gone")
            self._tcp.splice(command.connection, stream)
        except DatapathError:
            self._tcp.close_peer(command.connection)
            self._core.peer_gone(command.connection, self._clock())

    def _find_credential(self, command: FindCredential) -> None:
        if self._lookup is None:
            self._core.credential_found(command.ticket, (), self._clock())
            return
        task = self._loop.create_task(self._ask(self._lookup, command))
        self._lookups.add(task)
        task.add_done_callback(self._lookups.discard)

    async def _ask(self, lookup: CredentialLookup, command: FindCredential) -> None:
        credentials = await lookup(command)
        self._core.credential_found(command.ticket, credentials, self._clock())
        self._work()


def _sum(counters: Sequence[Counters]) -> Counters:
    """The counters of several relays together; a dual allocation has two."""
    if len(counters) == 1:
        return counters[0]
    return Counters(*(sum(column) for column in zip(*counters, strict=True)))
