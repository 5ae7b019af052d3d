"""Listeners beside those for clients: health checks for servers without a shared listener, and metrics.

Each answers ``/healthz`` and ``/readyz`` over plain HTTP, and what is mounted on its application. It is a stream
listener without TURN, so it has the deadlines of every other, and room for a few connections that do not count with
those of clients: a server that is full is not sick.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv6Address
from typing import Final, Protocol

from aiohttp import web

from stun.address import Address
from turnserver.core.settings import OwnAddresses
from turnserver.core.types import ClientTransport, FiveTuple
from turnserver.faults import Faults
from turnserver.http import HttpServer
from turnserver.net import local_addresses
from turnserver.transports.base import ListenerLimits
from turnserver.transports.crossed import Came, Door
from turnserver.transports.limits import ConnectionLimiter
from turnserver.transports.stream import StreamTransport

__all__ = ["SideListener", "SideSection"]

_INDEX: Final = -1
"""The listener's number, which no listener for clients has."""


class SideSection(Protocol):
    """``health`` and ``metrics`` in the configuration."""

    @property
    def address(self) -> IPv4Address | IPv6Address:
        """The address, or a wildcard."""

    @property
    def port(self) -> int:
        """The port; 0 if there is no listener."""


@dataclass(frozen=True, slots=True)
class _Few:
    """The limits of its connections; when all are taken, an idle one makes room."""

    connections: int = 32
    connections_per_address: int = 32


class SideListener:
    """Serves HTTP at ``section.address``; use it inside the running loop. ``name`` is its section."""

    def __init__(
        self,
        name: str,
        section: SideSection,
        limits: ListenerLimits,
        faults: Faults,
        *,
        clock: Callable[[], float],
        doors: Callable[[], Sequence[Door]] = tuple,
    ) -> None:
        self._faults = faults
        self._doors = doors
        self._http = HttpServer(faults=faults, page=False)
        self._transport = StreamTransport(
            _INDEX,
            Address(section.address.packed, section.port),
            kind=ClientTransport.TCP,
            limits=limits,
            limiter=ConnectionLimiter(_Few()),
            name=name,
            http=self._http,
            doors=self._all_doors,
            clock=clock,
        )

    @property
    def address(self) -> Address:
        """Where it listens."""
        return self._transport.address

    @property
    def name(self) -> str:
        """Its section in the configuration."""
        return self._transport.name

    @property
    def app(self) -> web.Application:
        """The application, on which routes are mounted before `serve`."""
        return self._http.app

    def bind(self) -> None:
        """Bind the address. Raises `turnserver.errors.StartupError` with one sentence and a hint if it cannot."""
        self._transport.bind()

    def serve(self) -> None:
        """Begin to answer: the server is ready."""
        self._transport.serve(self)
        self._http.start()

    def drain(self) -> None:
        """Answer 503 at ``/readyz`` from now on."""
        self._http.drain()

    def close(self) -> None:
        """Stop listening, and drop every connection."""
        self._transport.close()
        self._http.close()

    async def wait_closed(self) -> None:
        """Let a request that is being answered finish."""
        await self._http.wait_closed()

    def guarded(self, own: OwnAddresses) -> OwnAddresses:
        """The server's addresses with this one, which no client may reach through a relay."""
        wildcard = not any(self.address.ip)
        local = own.local or (tuple(local_addresses()) if wildcard else ())
        return replace(own, listeners=(*own.listeners, self.address), local=local)

    def _all_doors(self) -> list[Door]:
        """This listener and those for clients, for lines about who belongs to another."""
        return [Door(self._transport.name, (), True, self.address, self.address), *self._doors()]

    # What the transport calls

    def client_frame(self, client: FiveTuple, frame: bytes) -> None:
        """Somebody speaks STUN here: the connection is closed."""
        here = self._transport
        here.count_dropped()
        here.crossings.say(Came.TURN_FOR_HTTP, here.name, here.address, client.address)
        here.close_client(client)

    def client_gone(self, client: FiveTuple) -> None:
        """Such a connection has ended."""

    def fault(self, part: str, error: BaseException, client: FiveTuple | None = None) -> None:
        """The transport has caught an exception and contained its effect."""
        self._faults.note(part, error, None if client is None else client.address)
