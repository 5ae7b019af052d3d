"""`TurnClient`: a TURN client for asyncio programs (RFC 8656, RFC 6062)."""

import asyncio
import secrets
import ssl
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress
from functools import partial
from types import TracebackType
from typing import Any, Final, Self, TypeVar

from stun.address import Address
from stun.client.authentication import Login
from stun.client.core import PERMISSIONS_AT_ONCE, ClientCore, ClientOptions
from stun.client.errors import ClientError, NoAllocation, NoAnswer, RequestCancelled, ServerUnreachable
from stun.client.events import AllocationGrant, AllocationLost, ClientEvent, ConnectionAttempt, PeerData
from stun.client.requests import Attribute, ClientRequest, FinalResponse
from stun.constants import AddressFamily, TransportProtocol
from stun.uri import StunUri
from turnserver.turnclient.driver import Driver
from turnserver.turnclient.links import Link, LinkBroken, Opener
from turnserver.turnclient.openers import OPENERS
from turnserver.turnclient.peers import AcceptedPeer, PeerStream, PeerStreams
from turnserver.turnclient.resolve import resolve

__all__ = ["PeerAddress", "TurnClient"]

T = TypeVar("T")

PeerAddress = Address | tuple[str, int]
"""A peer, as an `Address` or as host (an IP address) and port."""

GOODBYE: Final = 2.0
"""Seconds to wait for the answer when an allocation is deleted."""

ATTEMPTS: Final = 64
"""Peer connections that may wait for `TurnClient.accept`; further ones are not bound, and the server closes them."""

SEND_BUFFER: Final = 1024 * 1024
"""Bytes that may wait for a slow connection; further datagrams are dropped, as a network would drop them."""

_FIRST_LOOK: Final = 2.0
"""Seconds to wait for the answer to a Binding request over UDP, if a name has several addresses."""


class TurnClient:
    """A client of one TURN server, with at most one allocation; an async context manager::

        async with TurnClient("turn:turn.example.org", "alice", "secret") as client:
            allocation = await client.allocate()
            await client.bind_channel(("192.0.2.7", 5000))
            client.send(("192.0.2.7", 5000), b"hello")
            datagram = await client.receive()

    It refreshes its allocation, permissions, channel bindings and NAT binding until it is closed, and then deletes the
    allocation. ``uri`` is a ``turn:`` or ``turns:`` URI (RFC 7065), or ``stun:`` for `binding` alone. ``tls`` says how
    to check certificates of ``turns:``; None trusts the system's roots. ``timeout`` bounds connecting, in seconds.
    ``on_event`` receives the events that no method returns: errors of peers, and losses.

    Every method raises `stun.client.errors.ClientError`: its subclass `ErrorResponse` if the server refuses, and
    `NoAnswer` if it does not answer. ``login`` allows more settings than a username and a password.
    """

    def __init__(
        self,
        uri: str | StunUri,
        username: str | None = None,
        password: str | None = None,
        *,
        login: Login | None = None,
        tls: ssl.SSLContext | None = None,
        options: ClientOptions | None = None,
        timeout: float = 10.0,
        on_event: Callable[[ClientEvent], None] | None = None,
        opener: Opener | None = None,
    ) -> None:
        self.uri = uri if isinstance(uri, StunUri) else StunUri.parse(uri)
        if login is None and username is not None:
            login = Login(username, password or "")
        if opener is None and self.uri.protocol not in OPENERS:
            raise ServerUnreachable(f"{self.uri.protocol.upper()} to a server is not supported yet.")
        self.dropped = 0
        """Number of dropped datagrams: received ones because the queue was full, sent ones because the connection was
        too slow."""
        self.server: Address | None = None
        """The server's transport address, once connected."""
        self._opener = opener
        self._login = login
        self._tls = tls
        self._options = options or ClientOptions()
        self._timeout = timeout
        self._on_event = on_event
        self._driver: Driver | None = None
        self._moving = asyncio.Lock()
        self._former: set[asyncio.Task[None]] = set()
        """Connections that the client has moved away from, while they are being closed."""
        # Half of the concurrent transactions are reserved for refreshes; further requests wait.
        self._turns = asyncio.Semaphore(max(1, self._options.limit // 2))
        self._streams: PeerStreams | None = None
        self._data: deque[PeerData] = deque()
        self._attempts: deque[ConnectionAttempt] = deque()
        self._news = asyncio.Event()
        self._over: ClientError | None = None

    async def __aenter__(self) -> Self:
        await self.connect()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    # The connection to the server

    async def connect(self) -> None:
        """Connect to the first of the server's addresses that works.

        Over UDP, the addresses of a name with several are tried with a Binding request, because connecting a socket
        proves nothing. Raises `ServerUnreachable`. Does nothing if connected already.
        """
        if self._driver is not None:
            return
        addresses = await resolve(self.uri, self._timeout)
        failure: ClientError | None = None
        for address in addresses:
            try:
                link = await self._open(self.uri, address)
            except ServerUnreachable as error:
                failure = error
                continue
            self._start(self._drive(link), address)
            if link.reliable or address is addresses[-1] or await self._answers():
                return
            await self._stop()
        raise failure or ServerUnreachable("The server has no address.")

    async def close(self) -> None:
        """Delete the allocation (RFC 8656 §8), and close the connection. A second call does nothing."""
        driver = self._driver
        if driver is None:
            return
        self._end(NoAllocation("The client was closed."))
        try:
            if driver.core.allocation is not None:
                with suppress(ClientError, TimeoutError):
                    async with asyncio.timeout(GOODBYE):
                        await self.refresh(0)
        finally:
            await self._stop()
            await asyncio.gather(*self._former)

    async def move(self, uri: str | StunUri | None = None) -> None:
        """Take the allocation along to another connection, with its permissions and channels (RFC 8016).

        For a program whose host has another address, or that wants another transport: ``uri`` may be another one of the
        same server. The allocation must be ``mobile``. The present connection is used until the new one has it, and
        closed then. If that fails, everything is as before. Raises `NoAllocation`, `ErrorResponse` (400 if the server
        sees no other address, or does not know the ticket), `NoAnswer` and `ServerUnreachable`.

        An answer is waited for as long as the request is sent again (39.5 seconds, RFC 8489 §6.2.1). Do not give up
        sooner: the server may have moved the allocation, and a ticket is good for one move.
        """
        async with self._moving:
            former = self._connected
            target = self.uri if uri is None else uri if isinstance(uri, StunUri) else StunUri.parse(uri)
            known = [self.server] if uri is None and self.server is not None else []
            failure: ClientError = ServerUnreachable("The server has no address.")
            for address in [*known, *[each for each in await self._resolved(target, known) if each not in known]]:
                try:
                    driver = await self._moved(former, target, address)
                except (NoAnswer, ServerUnreachable) as error:
                    failure = error
                    continue
                self.uri = target
                self._start(driver, address)
                self._leave(former)
                return
            raise failure

    # Requests

    @property
    def allocation(self) -> AllocationGrant | None:
        """The current allocation, or None."""
        return None if self._driver is None else self._driver.core.allocation

    async def binding(self) -> Address:
        """The client's server-reflexive transport address, without credentials (RFC 8489 §2)."""
        return await self._ask(lambda now: self._core.binding(now))  # noqa: PLW0108  it may be another core by then

    async def allocate(
        self,
        *,
        protocol: TransportProtocol = TransportProtocol.UDP,
        family: AddressFamily | None = None,
        additional_family: AddressFamily | None = None,
        even_port: bool | None = None,
        reservation: bytes | None = None,
        lifetime: int | None = None,
        dont_fragment: bool = False,
        mobile: bool = False,
    ) -> AllocationGrant:
        """Make an allocation (RFC 8656 §7, RFC 6062 §4.1); the options are those of `ClientCore.allocate`.

        Raises `TryAlternate` if the server redirects to another server.
        """
        found = await self._ask(
            lambda now: self._core.allocate(
                now,
                protocol=protocol,
                family=family,
                additional_family=additional_family,
                even_port=even_port,
                reservation=reservation,
                lifetime=lifetime,
                dont_fragment=dont_fragment,
                mobile=mobile,
            )
        )
        self._over = None
        return found

    async def refresh(self, lifetime: int | None = None) -> int:
        """Refresh the allocation, or delete it with 0; returns the granted lifetime in seconds (RFC 8656 §8)."""
        return await self._ask(lambda now: self._core.refresh(now, lifetime))

    async def create_permission(self, *peers: PeerAddress) -> None:
        """Create permissions for the addresses of peers, and keep them; ports do not matter (RFC 8656 §10)."""
        addresses = [_address(peer) for peer in peers]
        for at in range(0, len(addresses), PERMISSIONS_AT_ONCE):
            some = addresses[at : at + PERMISSIONS_AT_ONCE]
            await self._ask(lambda now, some=some: self._core.create_permission(some, now))  # type: ignore[misc]

    async def bind_channel(self, peer: PeerAddress, number: int | None = None) -> int:
        """Bind a channel to a peer: packets are 32 bytes shorter, and the peer gets a permission (RFC 8656 §12)."""
        return await self._ask(lambda now: self._core.bind_channel(_address(peer), now, number))

    def forget(self, peer: PeerAddress) -> None:
        """Stop refreshing the channel binding and permission of a peer; they expire within ten minutes."""
        driver = self._connected
        driver.core.forget(_address(peer), driver.now())

    async def request(
        self, method: int, attributes: Sequence[Attribute] = (), *, authenticated: bool = True
    ) -> FinalResponse:
        """Send any request, and return the response, success or error, unchanged."""
        async with self._turns:
            driver = self._connected
            asked = await driver.ask(
                lambda now: driver.core.request(method, attributes, now, authenticated=authenticated)
            )
        return asked.answer()

    # Datagrams

    def send(self, peer: PeerAddress, data: bytes, *, dont_fragment: bool = False) -> None:
        """Send a datagram to a peer that has a permission or a channel (RFC 8656 §11.1, §12.5).

        Delivery is not guaranteed. If the connection to the server is too slow, the datagram is dropped and counted.
        Raises `NoAllocation` and `NotPermitted`.
        """
        driver = self._connected
        if driver.link.buffered > SEND_BUFFER:
            self.dropped += 1
            return
        driver.core.send(_address(peer), data, driver.now(), dont_fragment=dont_fragment)
        driver.flush()

    async def receive(self) -> PeerData:
        """The next datagram from a peer. Raises `NoAllocation` once the allocation has ended.

        Up to ``options.queue`` datagrams wait; newer ones are dropped and counted.
        """
        return await self._next(self._data)

    async def __aiter__(self) -> AsyncIterator[PeerData]:
        """Datagrams from peers, until the allocation ends."""
        with suppress(NoAllocation):
            while True:
                yield await self.receive()

    # TCP relays

    async def connect_peer(self, peer: PeerAddress) -> PeerStream:
        """Connect from the TCP relay to a peer; returns a reader and a writer (RFC 6062 §4.3).

        The server waits up to 30 seconds for the peer. Raises `ErrorResponse` with 447 if the peer does not answer.
        """
        number = await self._ask(lambda now: self._core.connect(_address(peer), now))
        return await self._bind(number)

    async def accept(self) -> AcceptedPeer:
        """The next permitted peer that connects to the TCP relay, and its streams (RFC 6062 §4.4).

        Raises `NoAllocation` once the allocation has ended.
        """
        attempt = await self._next(self._attempts)
        return AcceptedPeer(attempt.peer, *await self._bind(attempt.connection))

    async def _bind(self, number: int) -> PeerStream:
        driver = self._connected
        if self._streams is None:
            raise NoAllocation("TCP relaying needs TCP or TLS to the server (RFC 6062 §4.1).")
        return await self._streams.bind(number, driver.core.session)

    # Inside

    @property
    def _connected(self) -> Driver:
        if self._driver is None:
            raise ServerUnreachable("The client is not connected: use it as an async context manager.")
        return self._driver

    @property
    def _core(self) -> ClientCore:
        return self._connected.core

    async def _ask(self, begin: Callable[[float], ClientRequest[T]]) -> T:
        """The result of a request; one that a move has interrupted is made again on the new connection."""
        async with self._turns:
            while True:
                driver = self._connected
                asked = await driver.ask(begin)
                if not isinstance(asked.outcome, RequestCancelled) or self._driver in (None, driver):
                    return asked.result()

    async def _answers(self) -> bool:
        with suppress(ClientError, TimeoutError):
            async with asyncio.timeout(_FIRST_LOOK):
                await self.binding()
                return True
        return False

    async def _resolved(self, uri: StunUri, known: Sequence[Address]) -> Sequence[Address]:
        """The addresses of a URI; where one is known already, an empty result will do."""
        try:
            return await resolve(uri, self._timeout)
        except ServerUnreachable:
            if not known:
                raise
            return ()

    async def _moved(self, former: Driver, uri: StunUri, address: Address) -> Driver:
        """A new connection, to which the allocation of the former one has moved."""
        driver = self._drive(await self._open(uri, address))
        try:
            (await driver.ask(lambda now: driver.core.move(former.core, now))).result()
            if self._driver is not former:
                raise NoAllocation("The client was closed.")
        except BaseException:
            await driver.close()
            raise
        return driver

    async def _open(self, uri: StunUri, address: Address) -> Link:
        opener = self._opener or OPENERS.get(uri.protocol)
        if opener is None:
            raise ServerUnreachable(f"{uri.protocol.upper()} to a server is not supported yet.")
        try:
            async with asyncio.timeout(self._timeout):
                return await opener(uri, address, self._tls)
        except TimeoutError:
            raise ServerUnreachable(f"No connection to {address} within {self._timeout:g} s.") from None

    def _drive(self, link: Link) -> Driver:
        core = ClientCore(secrets.token_bytes, login=self._login, reliable=link.reliable, options=self._options)
        return Driver(core, link, self._happened, partial(self._troubled, link))

    def _start(self, driver: Driver, address: Address) -> None:
        self.server = address
        self._over = None
        self._driver = driver
        self._streams = None
        if driver.link.reliable:
            tls = (self._tls or ssl.create_default_context()) if self.uri.secure else None
            self._streams = PeerStreams(
                self.uri.host, address, tls, login=self._login, patience=self._timeout, options=self._options
            )

    def _leave(self, former: Driver) -> None:
        """Close a connection without waiting for it: its network may be gone."""
        task = asyncio.get_running_loop().create_task(former.close("The client has moved to another connection."))
        self._former.add(task)
        task.add_done_callback(self._former.discard)

    async def _stop(self) -> None:
        driver, self._driver = self._driver, None
        if driver is not None:
            await driver.close()

    def _happened(self, event: ClientEvent) -> None:
        if isinstance(event, PeerData):
            self._keep(self._data, event, self._options.queue)
        elif isinstance(event, ConnectionAttempt):
            self._keep(self._attempts, event, ATTEMPTS)
        else:
            if isinstance(event, AllocationLost):
                self._end(event.error or NoAllocation("The allocation has expired."))
            if self._on_event is not None:
                self._on_event(event)

    def _keep(self, queue: deque[Any], event: Any, limit: int) -> None:
        if len(queue) >= limit:
            self.dropped += 1
            return
        queue.append(event)
        self._news.set()

    def _troubled(self, link: Link, error: ServerUnreachable) -> None:
        """A connection that has ended cannot be used again; over UDP the next packet may be delivered."""
        if isinstance(error, LinkBroken) and self._driver is not None and self._driver.link is link:
            self._end(error)

    def _end(self, error: ClientError) -> None:
        self._over = error
        self._news.set()

    async def _next(self, queue: deque[T]) -> T:
        while not queue:
            if self._over is not None:
                raise NoAllocation(f"The session has ended: {self._over}") from self._over
            _ = self._connected
            self._news.clear()
            await self._news.wait()
        return queue.popleft()


def _address(peer: PeerAddress) -> Address:
    """Raises ValueError for a host that is not an IP address, or an invalid port."""
    return peer if isinstance(peer, Address) else Address.parse(*peer)
