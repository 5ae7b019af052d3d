"""`TurnClient` against the real core in memory; `tests/interop/test_turnclient.py` has it on sockets."""

import asyncio
from typing import Any

import pytest

from stun.address import Address
from stun.attributes import LIFETIME, XOR_PEER_ADDRESS, IcmpValue
from stun.client.authentication import Login
from stun.client.core import ClientOptions
from stun.client.errors import (
    ErrorResponse,
    InvalidLogin,
    NoAllocation,
    NoAnswer,
    NotPermitted,
    ServerUnreachable,
    TryAlternate,
)
from stun.client.events import AllocationLost, PeerData, PeerError
from stun.constants import AddressFamily, Method
from stun.uri import InvalidUri
from tests.support.core_world import PEER, RELAY6, World
from tests.support.memory_link import URI, MemoryServer
from turnserver.core.types import ClientTransport
from turnserver.turnclient import client as client_module
from turnserver.turnclient.client import TurnClient
from turnserver.turnclient.links import LinkBroken

TIMEOUT = 90.0
HOST_AND_PORT = (PEER.host, PEER.port)


def client(server: MemoryServer, uri: str = URI, user: str | None = "alice", **more: Any) -> TurnClient:
    return TurnClient(uri, user, "secret" if user else None, opener=server.open, **more)


async def test_a_whole_visit() -> None:
    """RFC 8656: allocate, permit, bind, send and receive both ways, give back; nothing is left at the server."""
    server = MemoryServer()
    async with client(server) as turn:
        (link,) = server.links
        assert await turn.binding() == link.path.address
        allocation = await turn.allocate()
        assert turn.allocation == allocation
        await turn.create_permission(HOST_AND_PORT)
        turn.send(HOST_AND_PORT, b"by indication")
        assert await turn.bind_channel(PEER) == 0x4000
        turn.send(PEER, b"by channel")
        assert [(each.peer, each.data) for each in server.world.to_peers] == [
            (PEER, b"by indication"),
            (PEER, b"by channel"),
        ]
        server.peer_sends(link, PEER, b"hello")
        assert await turn.receive() == PeerData(PEER, b"hello", 0x4000)
        assert await turn.refresh(1200) == 1200
        assert turn.server == Address.parse("198.51.100.1", 3478)
    assert link.closed
    assert turn.allocation is None
    server.world.assert_nothing_left()
    await turn.close()


async def test_the_options_of_an_allocation() -> None:
    async with client(MemoryServer()) as turn:
        allocation = await turn.allocate(family=AddressFamily.IPV6, lifetime=1800)
        assert (allocation.address.ip, allocation.lifetime) == (RELAY6, 1800)


async def test_without_credentials_there_is_binding() -> None:
    server = MemoryServer()
    async with client(server, user=None) as turn:
        await turn.binding()
        with pytest.raises(ErrorResponse) as caught:
            await turn.allocate()
        assert caught.value.code == 401


async def test_a_login_may_say_more() -> None:
    """RFC 5389: as browsers authenticate."""
    server = MemoryServer()
    async with TurnClient(URI, login=Login("alice", "secret", rfc5389=True), opener=server.open) as turn:
        await turn.allocate()
        assert turn._core.session is not None
        assert turn._core.session.offered is None


async def test_errors_are_of_one_kind() -> None:
    """`ClientError` and below; the server's refusals with their code."""
    server = MemoryServer()
    async with client(server) as turn:
        with pytest.raises(NoAllocation):
            turn.send(PEER, b"x")
        await turn.allocate()
        with pytest.raises(NotPermitted):
            turn.send(PEER, b"x")
        with pytest.raises(ErrorResponse, match="403"):
            await turn.create_permission(("10.0.0.1", 5000))
        with pytest.raises(ErrorResponse, match="437"):
            await turn.allocate()
        assert turn.allocation is not None
        with pytest.raises(ValueError, match="does not appear to be"):
            await turn.create_permission(("peer.example.org", 5000))


async def test_elsewhere() -> None:
    world = World(settings={"alternate_servers": (Address.parse("192.0.2.77", 3478),)})
    async with client(MemoryServer(world)) as turn:
        with pytest.raises(TryAlternate) as caught:
            await turn.allocate()
        assert caught.value.server == Address.parse("192.0.2.77", 3478)


async def test_any_request() -> None:
    """For those who look into a server: the answer as it came."""
    async with client(MemoryServer()) as turn:
        await turn.allocate()
        answer = await turn.request(Method.REFRESH, [(LIFETIME, 900)])
        assert answer.message.first(LIFETIME) == 900
        answer = await turn.request(Method.CREATE_PERMISSION, [(XOR_PEER_ADDRESS, PEER)], authenticated=False)
        assert answer.error is not None
        assert answer.error.code == 401


async def test_many_permissions_at_once() -> None:
    server = MemoryServer()
    async with client(server) as turn:
        await turn.allocate()
        before = len(server.links[0].sent)
        await turn.create_permission(*[(f"8.8.1.{number}", 1) for number in range(1, 101)])
        assert len(server.links[0].sent) - before == 4
        assert max(map(len, server.links[0].sent)) < 1200


async def test_more_at_once_than_may_be_under_way() -> None:
    """Rule 22: requests under way are bounded; who asks for more waits for a turn."""
    server = MemoryServer()
    async with client(server, options=ClientOptions(limit=4)) as turn:
        await turn.allocate()
        numbers = await asyncio.gather(*(turn.bind_channel(("8.8.1.1", port)) for port in range(1, 31)))
        assert len(set(numbers)) == 30


async def test_connecting_twice_is_connecting_once() -> None:
    server = MemoryServer()
    async with client(server) as turn:
        await turn.connect()
        assert len(server.links) == 1


async def test_datagrams_that_nobody_fetches_are_bounded() -> None:
    """Rule 22: the newest are dropped and counted."""
    server = MemoryServer()
    async with client(server, options=ClientOptions(queue=5)) as turn:
        await turn.allocate()
        await turn.create_permission(PEER)
        for number in range(8):
            server.peer_sends(server.links[0], PEER, b"%d" % number)
            await asyncio.sleep(0)
        assert [(await turn.receive()).data for _ in range(5)] == [b"0", b"1", b"2", b"3", b"4"]
        assert turn.dropped == 3


async def test_a_connection_that_takes_nothing_costs_datagrams() -> None:
    """They are dropped and counted, as a network would drop them; memory is bounded."""
    server = MemoryServer(transport=ClientTransport.TCP)
    async with client(server) as turn:
        await turn.allocate()
        await turn.create_permission(PEER)
        server.links[0].buffered = client_module.SEND_BUFFER + 1
        turn.send(PEER, b"x")
        assert turn.dropped == 1
        assert server.world.to_peers == []


async def test_what_no_method_gives_is_told() -> None:
    """RFC 8656 §11.6: an ICMP error of a peer, say."""
    told: list[Any] = []
    server = MemoryServer()
    async with client(server, on_event=told.append) as turn:
        await turn.allocate()
        await turn.create_permission(PEER)
        allocation = server.world.core.state.allocation(server.links[0].path)
        assert allocation is not None
        server.world.core.peer_icmp(allocation.relays[0].id, PEER, IcmpValue(3, 3, 0), server.world.now)
        server.world.run()
        server._deliver()
        await asyncio.sleep(0)
        assert told == [PeerError(PEER, IcmpValue(3, 3, 0))]


async def test_who_waits_hears_of_the_end() -> None:
    """RFC 8656 §3.1: a datagram that has come is still there to be fetched."""
    told: list[Any] = []
    server = MemoryServer(transport=ClientTransport.TCP)
    async with client(server, on_event=told.append) as turn:
        await turn.allocate()
        await turn.create_permission(PEER)
        waiting = asyncio.create_task(turn.receive())
        await asyncio.sleep(0)
        error = LinkBroken("The server closed the connection.", nonsense=b"", answered=True)
        server.links[0].receiver.link_ended(error)
        with pytest.raises(NoAllocation, match="The server closed the connection"):
            await waiting
        assert told == [AllocationLost(error)]
        with pytest.raises(NoAllocation):
            turn.send(PEER, b"x")
        with pytest.raises(ServerUnreachable):
            await turn.allocate()


async def test_who_waits_hears_that_the_allocation_is_gone() -> None:
    """RFC 8656 §8.3: 437, over UDP, where no connection ends; another allocation is another beginning."""
    server = MemoryServer()
    async with client(server) as turn:
        await turn.allocate()
        waiting = asyncio.create_task(turn.receive())
        await asyncio.sleep(0)
        server.world.core.revoke("alice", server.world.now)
        with pytest.raises(ErrorResponse, match="437"):
            await turn.refresh()
        with pytest.raises(NoAllocation, match="437"):
            await waiting
        await turn.allocate()
        await turn.create_permission(PEER)
        server.peer_sends(server.links[0], PEER, b"again")
        assert (await turn.receive()).data == b"again"


async def test_closing_wakes_who_waits() -> None:
    server = MemoryServer()
    turn = client(server)
    await turn.connect()
    await turn.allocate()
    waiting, accepting = asyncio.create_task(turn.receive()), asyncio.create_task(turn.accept())
    await asyncio.sleep(0)
    await turn.close()
    for each in (waiting, accepting):
        with pytest.raises(NoAllocation, match="was closed"):
            await each


async def test_datagrams_in_a_loop() -> None:
    server = MemoryServer()
    async with client(server) as turn:
        await turn.allocate()
        await turn.create_permission(PEER)
        for data in (b"one", b"two"):
            server.peer_sends(server.links[0], PEER, data)
        await asyncio.sleep(0)
        found = []
        async for datagram in turn:
            found.append(datagram.data)
            if len(found) == 2:
                await turn.refresh(0)
                turn._end(NoAllocation("over"))
        assert found == [b"one", b"two"]


async def test_a_silent_server_does_not_hold_up_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "GOODBYE", 0.01)
    server = MemoryServer()
    turn = client(server)
    await turn.connect()
    await turn.allocate()
    server.links[0].swallow = lambda frame: True
    async with asyncio.timeout(TIMEOUT):
        await turn.close()
    assert server.links[0].closed


async def test_another_address_of_the_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """RFC 8489 §8: over UDP, where connecting says nothing, the one that answers Binding."""
    monkeypatch.setattr(client_module, "_FIRST_LOOK", 0.05)
    _resolves_to(monkeypatch, ["2001:db8::1", "198.51.100.1"])
    server = MemoryServer()
    server.dead.add(Address.parse("2001:db8::1", 3478))
    async with client(server, "turn:turn.example.org") as turn:
        assert turn.server == Address.parse("198.51.100.1", 3478)
        await turn.allocate()
    assert server.opened == [Address.parse("2001:db8::1", 3478), Address.parse("198.51.100.1", 3478)]
    assert all(link.closed for link in server.links)


async def test_no_address_can_be_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    async def opener(*_: object) -> Any:
        raise ServerUnreachable("no route.")

    _resolves_to(monkeypatch, ["2001:db8::1", "198.51.100.1"])
    with pytest.raises(ServerUnreachable, match="no route"):
        async with TurnClient("turn:turn.example.org", opener=opener):
            pass


async def test_a_connection_that_does_not_come() -> None:
    async def opener(*_: object) -> Any:
        await asyncio.Event().wait()

    with pytest.raises(ServerUnreachable, match=r"No connection to 198\.51\.100\.1:3478 within 0\.01 s"):
        async with TurnClient(URI, opener=opener, timeout=0.01):
            pass


@pytest.mark.parametrize(
    ("uri", "error"),
    [
        ("http://x", InvalidUri),
        ("turns:h?transport=quic", ServerUnreachable),
        ("turn:h?transport=sctp", ServerUnreachable),
    ],
)
def test_what_leads_nowhere_is_said_at_once(uri: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        TurnClient(uri)


def test_what_is_no_login_is_said_at_once() -> None:
    with pytest.raises(InvalidLogin):
        TurnClient(URI, "alice", "")
    with pytest.raises(InvalidLogin):
        TurnClient(URI, "alice")


async def test_who_is_not_connected_is_told_so() -> None:
    turn = client(MemoryServer())
    for call in (turn.binding, turn.allocate, turn.receive, lambda: turn.connect_peer(PEER)):
        with pytest.raises(ServerUnreachable, match="not connected"):
            await call()  # type: ignore[operator]
    assert turn.allocation is None
    await turn.close()


async def test_over_udp_there_are_no_tcp_relays() -> None:
    """RFC 6062 §4.1: a client asks for them over TCP or TLS only."""
    async with client(MemoryServer()) as turn:
        with pytest.raises(ErrorResponse):
            await turn.connect_peer(PEER)
        with pytest.raises(NoAllocation, match="needs TCP or TLS"):
            await turn._bind(7)


async def test_a_moment_without_the_server_is_no_end() -> None:
    """RFC 8489 §6.2.1: an ICMP error fails the request under way; the allocation stands, and who waits goes on."""
    server = MemoryServer()
    async with client(server) as turn:
        await turn.allocate()
        await turn.create_permission(PEER)
        waiting = asyncio.create_task(turn.receive())
        await asyncio.sleep(0)
        server.links[0].receiver.link_troubled(ServerUnreachable("Nothing listens there."))
        server.peer_sends(server.links[0], PEER, b"still here")
        async with asyncio.timeout(TIMEOUT):
            assert (await waiting).data == b"still here"


def _resolves_to(monkeypatch: pytest.MonkeyPatch, hosts: list[str]) -> None:
    async def getaddrinfo(self: object, host: str, port: int, **more: object) -> list[Any]:
        return [(0, 0, 0, "", (name, port)) for name in hosts]

    monkeypatch.setattr(asyncio.BaseEventLoop, "getaddrinfo", getaddrinfo)


def mobile_server(transport: ClientTransport = ClientTransport.UDP) -> MemoryServer:
    return MemoryServer(World(settings={"mobility": True}), transport)


@pytest.mark.parametrize("transport", [ClientTransport.UDP, ClientTransport.TCP])
async def test_it_takes_its_allocation_along(transport: ClientTransport) -> None:
    """RFC 8016: what was allocated, permitted and bound is there after it; the former connection is closed."""
    server = mobile_server(transport)
    events: list[object] = []
    async with client(server, on_event=events.append) as turn:
        before = await turn.allocate(mobile=True)
        await turn.bind_channel(PEER)
        await turn.move()
        home, away = server.links
        assert turn.allocation == before._replace(mapped=None)
        turn.send(PEER, b"from away")
        assert [each.data for each in server.world.to_peers] == [b"from away"]
        server.peer_sends(away, PEER, b"to away")
        assert await turn.receive() == PeerData(PEER, b"to away", 0x4000)
        async with asyncio.timeout(TIMEOUT):
            while not home.closed:
                await asyncio.sleep(0)
        home.receiver.link_ended(LinkBroken("too late to matter", nonsense=b"", answered=True))
        await turn.create_permission(PEER)
        assert turn.server == Address.parse("198.51.100.1", 3478)
    assert events == []
    assert away.closed
    server.world.assert_nothing_left()


async def test_it_goes_on_while_it_moves() -> None:
    """RFC 8016 §3.2.2: data in both directions until the server has answered; who waits for data notices nothing."""
    server = mobile_server()
    async with client(server) as turn:
        await turn.allocate(mobile=True)
        await turn.bind_channel(PEER)
        waiting = asyncio.create_task(turn.receive())
        moving = asyncio.create_task(turn.move())
        while len(server.links) < 2:
            await asyncio.sleep(0)
        turn.send(PEER, b"meanwhile")
        server.peer_sends(server.links[0], PEER, b"hello")
        async with asyncio.timeout(TIMEOUT):
            assert (await waiting).data == b"hello"
            await moving
        assert [each.data for each in server.world.to_peers] == [b"meanwhile"]


async def test_a_move_that_fails_changes_nothing() -> None:
    """Nobody answers on the new connection, which is closed; the present one goes on."""
    server = mobile_server()
    async with client(server, options=ClientOptions(patience=0.05)) as turn:
        await turn.allocate(mobile=True)
        await turn.bind_channel(PEER)
        server.dead.add(Address.parse("198.51.100.1", 3478))
        with pytest.raises(NoAnswer):
            await turn.move()
        home, away = server.links
        assert (home.closed, away.closed) == (False, True)
        turn.send(PEER, b"still here")
        assert [each.data for each in server.world.to_peers] == [b"still here"]


async def test_what_cannot_move_says_so() -> None:
    """Without a ticket, and without an allocation; a server that forbids it says 405 at once."""
    server = MemoryServer()
    async with client(server) as turn:
        with pytest.raises(NoAllocation):
            await turn.move()
        with pytest.raises(ErrorResponse, match="405"):
            await turn.allocate(mobile=True)
        await turn.allocate()
        with pytest.raises(NoAllocation, match="mobile=True"):
            await turn.move()
        assert all(link.closed for link in server.links[1:])
        assert turn.allocation is not None


async def test_it_moves_to_another_uri() -> None:
    """Another transport or address of the same server."""
    server = mobile_server()
    async with client(server) as turn:
        await turn.allocate(mobile=True)
        with pytest.raises(InvalidUri):
            await turn.move("http://198.51.100.1")
        await turn.move("turn:198.51.100.1:3479?transport=tcp")
        assert turn.server == Address.parse("198.51.100.1", 3479)
        assert turn.uri.protocol == "tcp"
        turn._opener = None
        with pytest.raises(ServerUnreachable, match="SCTP"):
            await turn.move("turn:198.51.100.1?transport=sctp")
        assert turn.uri.protocol == "tcp"


async def test_a_request_that_a_move_interrupts_is_made_again() -> None:
    """Its answer would have come to the former connection."""
    server = mobile_server()
    async with client(server) as turn:
        await turn.allocate(mobile=True)
        server.links[0].swallow = lambda frame: frame[1] == 0x08  # CreatePermission
        permitting = asyncio.create_task(turn.create_permission(PEER))
        await asyncio.sleep(0)
        await turn.move()
        async with asyncio.timeout(TIMEOUT):
            await permitting
        turn.send(PEER, b"permitted")
        assert [each.data for each in server.world.to_peers] == [b"permitted"]


async def test_moves_are_made_one_after_the_other() -> None:
    """A ticket is good for one move: the second one has that of the first one's answer."""
    server = mobile_server()
    async with client(server) as turn:
        await turn.allocate(mobile=True)
        await turn.bind_channel(PEER)
        await asyncio.gather(turn.move(), turn.move(), turn.move())
        turn.send(PEER, b"from there")
        assert [each.data for each in server.world.to_peers] == [b"from there"]
        assert len(server.links) == 4


async def test_who_is_closed_while_moving_leaves_nothing() -> None:
    """The new connection is closed, too, and the allocation deleted."""
    server = mobile_server()
    turn = client(server)
    async with turn:
        await turn.allocate(mobile=True)
        moving = asyncio.create_task(turn.move())
        while len(server.links) < 2:
            await asyncio.sleep(0)
    with pytest.raises((NoAllocation, ErrorResponse)):
        await moving
    assert all(link.closed for link in server.links)
    server.world.assert_nothing_left()
