"""What a check works with: connections to the server, peers, and the record of what was sent and received."""

import asyncio
import secrets
import socket
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final

from cli.conform.client import SHA1, KitClient
from cli.conform.findings import FrameLog, Untestable
from cli.conform.peers import TcpPeer, UdpPeer
from cli.conform.pipes import TRANSPORTS, Subject
from cli.probe.security import distrust, handshake_trouble
from stun.address import Address
from stun.attributes import CHANNEL_NUMBER, REQUESTED_ADDRESS_FAMILY, XOR_PEER_ADDRESS
from stun.client.authentication import Login
from stun.client.errors import ClientError
from stun.client.requests import Attribute
from stun.constants import CHANNEL_MIN, AddressFamily, Method

__all__ = ["QUOTA_MOST", "Bench", "KitOptions", "local_address"]

QUOTA_MOST: Final = 40
"""Allocations that the test of a user's quota makes; it is intrusive."""

_TRIES: Final = 4
"""Datagrams may be lost: how often one is sent."""


@dataclass(slots=True)
class KitOptions:
    """What the user of the kit has said. ``peers`` are addresses of this machine for sockets that are peers."""

    login: Login | None = None
    patience: float = 5.0
    peers: tuple[Address, ...] = ()
    most: int = 4
    intrusive: bool = False
    mode: str = SHA1
    reachable: dict[tuple[str, int], str] = field(default_factory=dict)
    """Why peers of a family cannot be reached over the relays of a target; empty if they can."""


class Bench:
    """For one check on one target."""

    def __init__(self, target: Subject, options: KitOptions, mode: str = "") -> None:
        self.target = target
        self.options = options
        self.mode = mode or options.mode
        self.journal = FrameLog()
        self._testers: list[KitClient] = []
        self._peers: list[UdpPeer | TcpPeer] = []

    @property
    def reliable(self) -> bool:
        """Whether the transport is a stream."""
        return self.target.uri.protocol not in ("udp", "dtls")

    async def client(self, *, mode: str = "") -> KitClient:
        """A new connection to the server. Raises `Untestable`."""
        try:
            async with asyncio.timeout(self.options.patience):
                pipe = await TRANSPORTS[self.target.uri.protocol](self.target)
        except (OSError, ClientError) as error:
            raise Untestable(f"There is no connection to the server: {self._unconnected(error)}") from error
        tester = KitClient(pipe, self.options.patience, self.journal, self.options.login, mode or self.mode)
        self._testers.append(tester)
        return tester

    def _unconnected(self, error: Exception) -> str:
        if isinstance(error, ssl.SSLCertVerificationError):
            return distrust(error, self.target.uri.host, None).sentence
        if isinstance(error, ssl.SSLError):
            return handshake_trouble(error).sentence
        if isinstance(error, OSError) and error.strerror:
            return f"{error.strerror}."
        return str(error) or f"it was not made in {self.options.patience:g} s."

    async def relay(self, *attributes: Attribute, family: AddressFamily | None = None, **how: int) -> KitClient:
        """A new connection with an allocation. Raises `Untestable`."""
        self.allow()
        tester = await self.client()
        wanted = () if family is None else ((REQUESTED_ADDRESS_FAMILY, int(family)),)
        await tester.allocate(*wanted, *attributes, **how)
        return tester

    def allow(self) -> None:
        """Raise `Untestable` if there are as many allocations as the user allows."""
        if sum(each.allocated for each in self._testers) >= self.options.most:
            raise Untestable(f"It needs more than {self.options.most} allocations at once (--allocations).")

    async def udp_peer(self, tester: KitClient) -> UdpPeer:
        """A peer's socket that the relay of a client can reach. Raises `Untestable`."""
        why = await self._reach(tester)
        if why:
            raise Untestable(why)
        return await self._open_peer(tester)

    async def _open_peer(self, tester: KitClient) -> UdpPeer:
        host = self.peer_host(tester.relay)
        try:
            peer = await UdpPeer.open(host, self.journal)
        except OSError as error:
            raise Untestable(f"This machine has no socket at {host}: {error.strerror}.") from error
        self._peers.append(peer)
        return peer

    async def tcp_peer(self, tester: KitClient) -> TcpPeer:
        """A peer's listener (RFC 6062). Raises `Untestable`."""
        host = self.peer_host(tester.relay)
        try:
            peer = await TcpPeer.open(host, self.journal)
        except OSError as error:
            raise Untestable(f"This machine has no socket at {host}: {error.strerror}.") from error
        self._peers.append(peer)
        return peer

    def peer_host(self, relay: Address) -> str:
        """This machine's address for peers of a relay. Raises `Untestable`."""
        for address in self.options.peers:
            if address.family is relay.family:
                return address.host
        found = local_address(relay)
        if found is None:
            raise Untestable(f"This machine has no way to the relayed address {relay.host}.")
        return found

    async def through(self, send: Callable[[], None], receive: Callable[[float], Awaitable[bool]]) -> bool:
        """Send a datagram, a few times if need be, until it is received; False if it never is."""
        for _ in range(_TRIES):
            send()
            if await receive(self.options.patience / _TRIES):
                return True
        return False

    async def to_peer(self, send: Callable[[], None], peer: UdpPeer, payload: bytes) -> Address | None:
        """The same for a datagram to a peer; the address that it comes from."""
        clock = asyncio.get_running_loop().time
        found: list[Address] = []

        async def receive(seconds: float) -> bool:
            end = clock() + seconds
            while (left := end - clock()) > 0:
                arrival = await peer.arrival(left)
                if arrival is not None and arrival[0] == payload:
                    found.append(arrival[1])
                    return True
            return False

        return found[0] if await self.through(send, receive) else None

    async def to_client(self, peer: UdpPeer, tester: KitClient, payload: bytes, *, by: int | None = None) -> bool:
        """Send from a peer to the client's relay; ``by`` is the channel by which it is to come, None an indication."""
        clock = asyncio.get_running_loop().time

        async def receive(seconds: float) -> bool:
            end = clock() + seconds
            while (left := end - clock()) > 0:
                item = await tester.relayed(left)
                if item is not None and item.payload == payload and item.channel == by:
                    return True
            return False

        return await self.through(lambda: peer.send(payload, tester.relay), receive)

    async def close(self) -> None:
        """Delete the allocations and close everything."""
        for peer in self._peers:
            peer.close()
        for tester in self._testers:
            await tester.close()

    async def _reach(self, tester: KitClient) -> str:
        """Why no datagram goes between a relay of this family and a peer here, in any way; empty if one does."""
        key = (str(self.target), int(tester.relay.family))
        known = self.options.reachable
        if key not in known:
            known[key] = await self._why_unreachable(tester.relay.family)
        return known[key]

    async def _why_unreachable(self, family: AddressFamily) -> str:
        bench = Bench(self.target, self.options, self.mode)
        try:
            tester = await bench.relay(family=None if family is AddressFamily.IPV4 else family)
            peer = await bench._open_peer(tester)
            payload = secrets.token_bytes(24)
            granted = await tester.request(Method.CREATE_PERMISSION, (XOR_PEER_ADDRESS, peer.address))
            # A permission has no port: some servers can tell only here that they forbid it.
            sibling = Address(peer.address.ip, peer.address.port ^ 1)
            bound = await tester.request(
                Method.CHANNEL_BIND, (CHANNEL_NUMBER, CHANNEL_MIN + 1), (XOR_PEER_ADDRESS, sibling)
            )
            if 403 in (granted.code, bound.code):
                return (
                    f"The server forbids the peer {peer.address.host} (403). Allow it for the test, or name another "
                    "address of this machine with --peer-address."
                )
            out = await bench.to_peer(lambda: tester.indicate(peer.address, payload), peer, payload)
            back = out is not None and await bench.to_client(peer, tester, payload)
            if not back:
                await tester.request(
                    Method.CHANNEL_BIND, (CHANNEL_NUMBER, CHANNEL_MIN), (XOR_PEER_ADDRESS, peer.address)
                )
                out = await bench.to_peer(lambda: tester.send_channel(CHANNEL_MIN, payload), peer, payload)
                back = await bench.to_client(peer, tester, payload, by=CHANNEL_MIN)
            if out is None and not back:
                return (
                    f"No datagram goes between the relay and the peer {peer.address.host} of this machine. A NAT or "
                    "a firewall may be in between; --peer-address names another address."
                )
        except Untestable as error:
            return str(error)
        finally:
            await bench.close()
        return ""


def local_address(towards: Address) -> str | None:
    """The address of this machine from which it sends to another; None without a route."""
    family = socket.AF_INET if towards.family is AddressFamily.IPV4 else socket.AF_INET6
    with socket.socket(family, socket.SOCK_DGRAM) as sock:
        try:
            sock.connect((towards.host, towards.port or 9))
        except OSError:
            return None
        return str(sock.getsockname()[0]).partition("%")[0]
