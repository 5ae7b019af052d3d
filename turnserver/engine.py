"""The engine connects the core, the datapaths and the transports: it feeds the core, runs its commands, has one timer.

It decides nothing. Every call from a socket becomes one input to the core with the current time. The commands that the
core queues are carried out in order until there are none (`turnserver.execution`). Then the events go to the listeners,
and the timer is moved if the next deadline is earlier.

An exception costs only the input, the command or the listener call in which it was raised. It is counted, and logged
with its cause (`turnserver.faults`).
"""

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Final, TypeVar, TypeVarTuple

from auth.source import CredentialSource
from auth.types import Credential, LateAnswer, Unavailable
from stun.address import Address
from stun.attributes import IcmpValue
from stun.constants import TransportProtocol
from turnserver.clients import EVERY_CLIENT
from turnserver.clock import system_clock
from turnserver.core.backlog import SLICE as STEPS
from turnserver.core.commands import CancelLookup, CloseClient, CloseRelay, FindCredential, KeepClient
from turnserver.core.events import AllocationEnded, AllocationMoved, AllocationOpened, Event
from turnserver.core.server import TurnCore
from turnserver.core.settings import CoreSettings, OwnAddresses
from turnserver.core.types import AllocationView, Counters, FiveTuple, Now, RelayFailure, RelayId
from turnserver.execution import Execution
from turnserver.faults import RAISED, Faults, is_cancelled
from turnserver.paths import ClientPath
from turnserver.relay.base import Datapath, StreamRelays
from turnserver.transports.base import Transport

__all__ = ["Engine", "EventListener"]

SLICE: Final = 32
"""Allocations that are ended in one turn of the loop: two or three milliseconds of work."""

PAUSE: Final = 0.001
"""Seconds between two slices, in which the thread that writes the log gets its turn."""

_Arguments = TypeVarTuple("_Arguments")
_Result = TypeVar("_Result")

EventListener = Callable[[Event, Counters | None], None]
"""Called with every event; an `AllocationEnded` comes with the counters of its relays."""


class Engine:
    """The running parts of one server process; create and use it inside a running event loop.

    ``datapath`` has the UDP relays and ``tcp`` the TCP relays; without ``tcp`` none can be opened. ``faults`` records
    faults, and is shared with other parts of the server.
    """

    def __init__(
        self,
        core: TurnCore,
        datapath: Datapath,
        listeners: Sequence[EventListener] = (),
        clock: Callable[[], Now] = system_clock,
        *,
        tcp: StreamRelays | None = None,
        faults: Faults | None = None,
    ) -> None:
        self.clients = EVERY_CLIENT
        """Who may have answers."""
        self.denied = 0
        """Frames that were dropped because of it."""
        self._core = core
        self._datapath = datapath
        self._tcp = tcp
        self._transports: dict[int, Transport] = {}
        self._listeners = tuple(listeners)
        self._clock = clock
        self._faults = Faults() if faults is None else faults
        self._lookups: dict[int, asyncio.Task[None]] = {}
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._working = False
        self._closed = False
        self._caught_up = asyncio.Event()
        self._pathless: set[FiveTuple] = set()
        """Clients with an allocation whose transport raised when it was asked for their path: it may have made one."""
        self._execution = Execution(
            core,
            datapath,
            tcp,
            transports=self._transports,
            clock=clock,
            faults=self._faults,
            more={
                FindCredential: self._find_credential,
                CancelLookup: self._cancel_lookup,
                KeepClient: lambda command: self._keep(command.client, command.on),
            },
        )
        datapath.attach(self, self)
        if tcp is not None:
            tcp.attach(self)

    @property
    def faults(self) -> Mapping[str, int]:
        """A copy of the number of faults (unexpected exceptions) by part."""
        return self._faults.counts

    # What transports and the datapath call

    def client_frame(self, client: FiveTuple, frame: bytes) -> None:
        """One whole frame without a route from a client; those of clients that are refused are dropped."""
        if self.clients.refuses(client.address.ip):
            self.denied += 1
            return
        self._feed(self._core.client_frame, client, frame)

    def client_gone(self, client: FiveTuple) -> None:
        """A client's connection has ended."""
        self._feed(self._core.client_gone, client)

    def relay_opened(self, relay: RelayId) -> None:
        """A relay that did not open at once is open now, possibly too late."""
        if self._feed(self._core.relay_opened, relay) is False:
            self._close_relay(relay)

    def relay_failed(self, relay: RelayId, error: BaseException | None = None) -> None:
        """A relay could not be opened, for ``error`` if it is known, or an open one was lost."""
        failure = RelayFailure.PORT if error is None else self._execution.judged(error)
        self._feed(lambda now: self._core.relay_failed(relay, now, failure))
        self._close_relay(relay)

    def peer_datagram(self, relay: RelayId, peer: Address, data: bytes) -> None:
        """A datagram from a permitted peer without a channel."""
        self._feed(self._core.peer_datagram, relay, peer, data)

    def peer_icmp(self, relay: RelayId, peer: Address, icmp_type: int, icmp_code: int, data: int) -> None:
        """An ICMP error for a datagram sent to ``peer``."""
        self._feed(self._core.peer_icmp, relay, peer, IcmpValue(icmp_type, icmp_code, data))

    def peer_connected(self, connection: int) -> None:
        """A connection to a peer, asked for by the core, is established (RFC 6062 §5.2)."""
        self._feed(self._core.peer_connected, connection)

    def peer_failed(self, connection: int) -> None:
        """A connection to a peer, asked for by the core, could not be established."""
        self._feed(self._core.peer_failed, connection)

    def peer_accepted(self, relay: RelayId, peer: Address) -> int | None:
        """A peer has connected to a TCP relay (RFC 6062 §5.3); returns its number, or None to close it at once."""
        return self._feed(self._core.peer_accepted, relay, peer)

    def peer_gone(self, connection: int) -> None:
        """A peer connection and the client's data connection have ended (RFC 6062 §5.5)."""
        self._feed(self._core.peer_gone, connection)

    def path(self, client: FiveTuple) -> ClientPath | None:
        """The path of a client, for the datapath; None if the transport raises."""
        transport = self._transports.get(client.listener)
        try:
            return None if transport is None else transport.path(client)
        except RAISED as error:
            self._faults.note("transport.path", error, client.address)
            self._pathless.add(client)
            return None

    def release(self, client: FiveTuple) -> None:
        """The client has no route left."""
        self._execution.release(client)

    def fault(self, part: str, error: BaseException, client: FiveTuple | None = None) -> None:
        """A transport or a datapath has caught an exception and contained its effect."""
        self._faults.note(part, error, None if client is None else client.address)

    # What the server calls

    def add(self, transport: Transport) -> None:
        """Serve the clients of a transport that has been bound."""
        self._transports[transport.listener] = transport
        transport.serve(self)

    def remove(self, transport: Transport) -> None:
        """End the allocations and connections of a transport's clients, and close it."""
        self._feed(self._core.listener_gone, transport.listener)
        self._transports.pop(transport.listener, None)
        self._guarded("transport.close", transport.close)

    def revoke(self, user_id: str, until: float | None = None) -> int:
        """End every allocation of a user at once; returns their number.

        With ``until`` (Unix time, seconds), only credentials of the user that expire later count from now on. The
        source forgets what it has cached for the user.
        """
        self._guarded("credentials", lambda: self._core.credentials.forget(user_id))
        return self._feed(lambda now: self._core.revoke(user_id, now, until)) or 0

    def credentials_in_use(self) -> Mapping[Credential, bool]:
        """Every credential that an allocation was created with, and whether it has been removed since."""
        return self._core.credentials_in_use()

    def credential_removed(self, credential: Credential) -> int:
        """The configuration does not have a credential any more; returns the number of its live allocations."""
        return self._feed(self._core.credential_removed, credential) or 0

    def credential_restored(self, credential: Credential) -> None:
        """The configuration has a credential again."""
        self._feed(self._core.credential_restored, credential)

    def allocations(self, user_ids: Collection[str] | None = None) -> list[AllocationView]:
        """The live allocations of these users (all if None), with their current counters.

        The call changes nothing, and is cheap for a few users among many allocations. A listener may call it while it
        handles an event.
        """
        return [
            view._replace(counters=_sum([self._execution.counters(relay, view.protocol) for relay in view.relays]))
            for view in self._core.allocations(user_ids)
        ]

    def use(self, settings: CoreSettings) -> None:
        """Use other settings from now on, also for existing allocations."""
        self._feed(self._core.use, settings)

    async def catch_up(self) -> None:
        """Wait until the core has done what it does in slices, for example to permissions that `use` has forbidden."""
        if self._core.is_behind and not self._closed:
            self._caught_up.clear()
            await self._caught_up.wait()

    def use_own(self, own: OwnAddresses) -> None:
        """Use other addresses of the server from now on; relays that are open stay."""
        self._feed(self._core.use_own, own)

    def replace_credentials(self, credentials: CredentialSource) -> None:
        """Use another credential source from now on; late answers of the old one are ignored.

        Existing allocations keep the credential that created them.
        """
        self._feed(self._core.replace_credentials, credentials)

    @property
    def is_empty(self) -> bool:
        """Whether there is no allocation."""
        return self._core.is_empty

    def drain(self) -> None:
        """Refuse new allocations from now on; existing ones go on."""
        self._feed(self._core.drain)

    async def end_allocations(self) -> None:
        """End every allocation, and report each with its counters; new ones are refused from now on.

        It is done in short slices, between which other clients are served and the log is written.
        """
        self.drain()
        clients = self._core.clients
        for first in range(0, len(clients), SLICE):
            self._feed(self._core.shut_down, clients[first : first + SLICE])
            await asyncio.sleep(PAUSE)

    def close(self) -> None:
        """Stop: close timer, look-ups and sockets. What `end_allocations` has not ended ends without notice."""
        self._closed = True
        self._caught_up.set()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for ticket in list(self._lookups):
            self._lookups.pop(ticket).cancel()
        closing = [("transport.close", transport.close) for transport in self._transports.values()]
        closing.append(("datapath.close", self._datapath.close))
        if self._tcp is not None:
            closing.append(("datapath.close", self._tcp.close))
        for part, close in closing:
            self._guarded(part, close)

    # Inside

    def _guarded(self, part: str, call: Callable[[], None]) -> None:
        """Call a function whose result is not needed; if it raises, only this call is lost."""
        try:
            call()
        except RAISED as error:
            self._faults.note(part, error)

    def _close_relay(self, relay: RelayId) -> None:
        """Close a relay that the core does not know any more, in both datapaths."""
        for protocol in (TransportProtocol.UDP, TransportProtocol.TCP):
            self._execution.carry_out(CloseRelay(relay, protocol))
        self._execution.closed.clear()

    def _feed(self, give: Callable[[*_Arguments, Now], _Result], *arguments: *_Arguments) -> _Result | None:
        """Give the core one input with the current time, and carry out all that follows from it.

        An exception from the core costs only this input; the result is None then.
        """
        try:
            return give(*arguments, self._clock())
        except RAISED as error:
            client = arguments[0] if arguments and isinstance(arguments[0], FiveTuple) else None
            self.fault("core", error, client)
            return None
        finally:
            self._work()

    def _work(self) -> None:
        """Carry out commands until there are none, call the listeners, and set the timer in any case.

        A callee that calls back only adds to the queues, so commands stay in the core's order.
        """
        if self._working:
            return
        self._working = True
        try:
            self._work_off()
        finally:
            self._working = False
            self._execution.closed.clear()
            self._mind_timer()

    def _work_off(self) -> None:
        core, execution = self._core, self._execution
        while True:
            for error in core.faults():
                self.fault("core", error)
            if commands := core.commands():
                for command in commands:
                    execution.carry_out(command)
            elif events := core.events():
                for event in events:
                    self._tell(event)
            else:
                return

    def _tell(self, event: Event) -> None:
        counters = None
        if type(event) is AllocationOpened:
            self._keep(event.client, True)
        elif type(event) is AllocationEnded:
            closed = self._execution.closed
            counters = _sum([closed[relay] for relay in event.relays if relay in closed])
            self._keep(event.client, False)
            self._let_go(event.client)
        elif type(event) is AllocationMoved:
            self._let_go(event.former)
        for listener in self._listeners:
            try:
                listener(event, counters)
            except RAISED as error:
                self.fault("observer", error)

    def _let_go(self, client: FiveTuple) -> None:
        """A client has no allocation any more, so its transport needs no path that nobody was given."""
        if client in self._pathless:
            self._pathless.remove(client)
            self._execution.forget(client)

    def _keep(self, client: FiveTuple, on: bool) -> None:
        """A client with an allocation may be idle for as long as the allocation lives."""
        try:
            transport = self._execution.connection(client)
            if transport is not None:
                transport.keep(client, on)
        except RAISED as error:
            self.fault("transport.keep", error, client)
            self._execution.carry_out(CloseClient(client))

    def _mind_timer(self) -> None:
        """Move the timer only to earlier times: firing too early costs less than moving it at every frame."""
        deadline, retry = self._core.deadline(), self._execution.next()
        if deadline is None or (retry is not None and retry < deadline):
            deadline = retry
        if deadline is None or self._closed or (self._timer is not None and self._timer.when() <= deadline):
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_at(deadline, self._tick)

    def _tick(self) -> None:
        """One slice. While there is more to do the timer goes off at once, after whatever else is ready then."""
        self._timer = None
        self._execution.try_again()
        if not self._feed(lambda now: self._core.expire(now, STEPS)):
            self._caught_up.set()

    def _find_credential(self, command: FindCredential) -> None:
        """Ask the source. The core bounds the number of look-ups and gives each a deadline; see `CancelLookup`."""
        self._lookups[command.ticket] = self._loop.create_task(self._ask(command))

    def _cancel_lookup(self, command: CancelLookup) -> None:
        task = self._lookups.pop(command.ticket, None)
        if task is not None:
            task.cancel()

    async def _ask(self, command: FindCredential) -> None:
        answer = await self._late_answer(command)
        self._lookups.pop(command.ticket, None)
        self._feed(self._core.credential_found, command.ticket, answer)

    async def _late_answer(self, command: FindCredential) -> LateAnswer:
        """The answer of the source; `Unavailable` if it raises."""
        source, wall = self._core.credentials, self._clock().wall
        try:
            if command.userhash and not command.username:
                answer = await source.ask_by_hash(command.userhash, command.realm, wall)
            else:
                answer = await source.ask(command.username, command.realm, wall)
            return answer if isinstance(answer, Unavailable) else tuple(answer)
        except RAISED as error:
            if is_cancelled(error):
                raise
            self._faults.note("credentials", error)
            return Unavailable(f"{type(source).__qualname__} raised {type(error).__qualname__}")


def _sum(counters: Sequence[Counters]) -> Counters:
    """The counters of several relays together; a dual allocation has two."""
    if len(counters) == 1:
        return counters[0]
    return Counters(*(sum(column) for column in zip(*counters, strict=True)))
