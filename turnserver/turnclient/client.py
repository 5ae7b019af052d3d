"""`TurnClient`: a TURN client for asyncio programs (RFC 8656, RFC 6062)."""

import asyncio
import secrets
import ssl
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Any, Final, Self, TypeVar

from stun.address import Address
from stun.client.authentication import Login
from stun.client.core import PERMISSIONS_AT_ONCE, ClientCore, ClientOptions
from stun.client.errors import ClientError, NoAllocation, ServerUnreachable
from stun.client.events import AllocationGrant, AllocationLost, ClientEvent, ConnectionAttempt, PeerData
from stun.client.requests import Attribute, ClientRequest, FinalResponse
from stun.constants import AddressFamily, TransportProtocol
from stun.uri import StunUri
from turnserver.turnclient.driver import Driver
from turnserver.turnclient.links import OPENERS, Link, LinkBroken, Opener
from turnserver.turnclient.peers import AcceptedPeer, PeerStream, PeerStreams
from turnserver.turnclient.resolve import resolve

__all__ = ["PeerAddress", "TurnClient"]

T = TypeVar("T")

PeerAddress = Address | tuple[str, int]
"""A peer, as an `Address` or as host (an IP address) and port."""

GOODBYE: Final = 2.0
"""Seconds to wait for the answer when an allocation is given back."""

ATTEMPTS: Final = 64
"""Connections of peers that wait for `TurnClient.accept`; more are left to the server, which closes them."""

SEND_BUFFER: Final = 1024 * 1024
"""Bytes that may wait for a slow connection; datagrams beyond it are dropped, as a network would drop them."""

_FIRST_LOOK: Final = 2.0
"""Seconds that each of several addresses of a name has to answer a Binding request, over UDP."""


class TurnClient:
    """A client of one TURN server, with at most one allocation; an async context manager::

        async with TurnClient("turn:turn.example.org", "alice", "secret") as client:
            allocation = await client.allocate()
            await client.bind_channel(("192.0.2.7", 5000))
            client.send(("192.0.2.7", 5000), b"hello")
            datagram = await client.receive()

    It keeps what it has (allocation, permissions, channels, the NAT's binding on the way) until it is closed, and gives
    the allocation back then. ``uri`` is a ``turn:`` or ``turns:`` URI (RFC 7065), or ``stun:`` for `binding` alone.
    ``tls`` says how to check certificates of ``turns:``; None trusts the system's roots. ``timeout`` bounds connecting,
    in seconds. ``on_event`` is told what no method gives: errors of peers, and what was lost.

    Every method raises `stun.client.errors.ClientError`, and its kinds `ErrorResponse` when the server refuses and
    `NoAnswer` when it is silent. ``login`` says more than a user name and a password can.
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
            raise ServerUnreachable(f"There is no way to speak {self.uri.protocol.upper()} to a server yet.")
        self.dropped = 0
        """Datagrams that were dropped: of peers because nobody fetched those before them, of ours because the
        connection did not take them."""
        self.server: Address | None = None
        """The server's transport address, once connected."""
        self._opener = opener or OPENERS[self.uri.protocol]
        self._login = login
        self._tls = tls
        self._options = options or ClientOptions()
        self._timeout = timeout
        self._on_event = on_event
        self._driver: Driver | None = None
        # Half of what may be under way is left to renewals; who asks for more waits for a turn.
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

    # The way to the server

    async def connect(self) -> None:
        """Open the way to the server, over the first of its addresses that works.

        A name with several is asked with a Binding request over UDP, where connecting says nothing. Raises
        `ServerUnreachable`. Nothing happens when it is open already.
        """
        if self._driver is not None:
            return
        addresses = await resolve(self.uri, self._timeout)
        failure: ClientError | None = None
        for address in addresses:
            try:
                async with asyncio.timeout(self._timeout):
                    link = await self._opener(self.uri, address, self._tls)
            except ServerUnreachable as error:
                failure = error
                continue
            except TimeoutError:
                failure = ServerUnreachable(f"There is no connection to {address} after {self._timeout:g} s.")
                continue
            self._start(link, address)
            if link.reliable or address is addresses[-1] or await self._answers():
                return
            await self._stop()
        raise failure or ServerUnreachable("The server has no address.")

    async def close(self) -> None:
        """Give the allocation back (RFC 8656 §8), and close the way to the server. Nothing happens a second time."""
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

    # Requests

    @property
    def allocation(self) -> AllocationGrant | None:
        """What the server has granted and not taken back; None while there is nothing."""
        return None if self._driver is None else self._driver.core.allocation

    async def binding(self) -> Address:
        """Our address as the server sees it, without credentials (RFC 8489 §2)."""
        return await self._ask(self._core.binding)

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
    ) -> AllocationGrant:
        """Allocate a relay (RFC 8656 §7, RFC 6062 §4.1); the options are those of `ClientCore.allocate`.

        Raises `TryAlternate` when the server sends its clients elsewhere.
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
            )
        )
        self._over = None
        return found

    async def refresh(self, lifetime: int | None = None) -> int:
        """Refresh the allocation now, or give it back with 0; the lifetime granted, in seconds (RFC 8656 §8)."""
        return await self._ask(lambda now: self._core.refresh(now, lifetime))

    async def create_permission(self, *peers: PeerAddress) -> None:
        """Permit the addresses of some peers, from now on; their ports do not matter (RFC 8656 §10)."""
        addresses = [_address(peer) for peer in peers]
        for at in range(0, len(addresses), PERMISSIONS_AT_ONCE):
            some = addresses[at : at + PERMISSIONS_AT_ONCE]
            await self._ask(lambda now, some=some: self._core.create_permission(some, now))  # type: ignore[misc]

    async def bind_channel(self, peer: PeerAddress, number: int | None = None) -> int:
        """Bind a channel to a peer, which makes what goes to it 32 bytes shorter, and permits it (RFC 8656 §12)."""
        return await self._ask(lambda now: self._core.bind_channel(_address(peer), now, number))

    def forget(self, peer: PeerAddress) -> None:
        """Renew channel and permission of a peer no more; they run out within ten minutes."""
        driver = self._connected
        driver.core.forget(_address(peer), driver.now())

    async def request(
        self, method: int, attributes: Sequence[Attribute] = (), *, authenticated: bool = True
    ) -> FinalResponse:
        """Any request, and its answer, a success or an error, as it came."""
        async with self._turns:
            driver = self._connected
            asked = await driver.ask(
                lambda now: driver.core.request(method, attributes, now, authenticated=authenticated)
            )
        return asked.answer()

    # Datagrams

    def send(self, peer: PeerAddress, data: bytes, *, dont_fragment: bool = False) -> None:
        """Send a datagram to a peer that has a permission or a channel (RFC 8656 §11.1, §12.5).

        It may be lost on the way, as datagrams are; over a connection that takes nothing it is dropped and counted.
        Raises `NoAllocation` and `NotPermitted`.
        """
        driver = self._connected
        if driver.link.buffered > SEND_BUFFER:
            self.dropped += 1
            return
        driver.core.send(_address(peer), data, driver.now(), dont_fragment=dont_fragment)
        driver.flush()

    async def receive(self) -> PeerData:
        """The next datagram from a peer. Raises `NoAllocation` when there will be none any more.

        Up to ``options.queue`` wait to be fetched; the newest are dropped and counted.
        """
        return await self._next(self._data)

    async def __aiter__(self) -> AsyncIterator[PeerData]:
        """Datagrams from peers, until there is no allocation any more."""
        with suppress(NoAllocation):
            while True:
                yield await self.receive()

    # TCP relays

    async def connect_peer(self, peer: PeerAddress) -> PeerStream:
        """Connect from our TCP relay to a peer; a stream to read from and one to write to (RFC 6062 §4.3).

        The server waits up to 30 seconds for the peer. Raises `ErrorResponse` with 447 when it does not answer.
        """
        number = await self._ask(lambda now: self._core.connect(_address(peer), now))
        return await self._bind(number)

    async def accept(self) -> AcceptedPeer:
        """The next peer that connects to our TCP relay, if it is permitted, and the streams (RFC 6062 §4.4).

        Raises `NoAllocation` when there will be none any more.
        """
        attempt = await self._next(self._attempts)
        return AcceptedPeer(attempt.peer, *await self._bind(attempt.connection))

    async def _bind(self, number: int) -> PeerStream:
        driver = self._connected
        if self._streams is None:
            raise NoAllocation("The way to the server is no connection, so it has no TCP relay.")
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
        async with self._turns:
            return (await self._connected.ask(begin)).result()

    async def _answers(self) -> bool:
        with suppress(ClientError, TimeoutError):
            async with asyncio.timeout(_FIRST_LOOK):
                await self.binding()
                return True
        return False

    def _start(self, link: Link, address: Address) -> None:
        core = ClientCore(secrets.token_bytes, login=self._login, reliable=link.reliable, options=self._options)
        self.server = address
        self._over = None
        self._driver = Driver(core, link, self._happened, self._troubled)
        if link.reliable:
            tls = (self._tls or ssl.create_default_context()) if self.uri.secure else None
            self._streams = PeerStreams(
                self.uri.host, address, tls, login=self._login, patience=self._timeout, options=self._options
            )

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

    def _troubled(self, error: ServerUnreachable) -> None:
        """The end of a connection is the end; over UDP the next packet may get through."""
        if isinstance(error, LinkBroken):
            self._end(error)

    def _end(self, error: ClientError) -> None:
        self._over = error
        self._news.set()

    async def _next(self, queue: deque[T]) -> T:
        while not queue:
            if self._over is not None:
                raise NoAllocation(f"Nothing comes any more: {self._over}") from self._over
            _ = self._connected
            self._news.clear()
            await self._news.wait()
        return queue.popleft()


def _address(peer: PeerAddress) -> Address:
    """Raises ValueError for a host that is no IP address, or a port that is none."""
    return peer if isinstance(peer, Address) else Address.parse(*peer)
