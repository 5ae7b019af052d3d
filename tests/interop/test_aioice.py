"""aioice against the real server: two ICE connections that can reach each other only through their relays."""

import asyncio

import aioice
import pytest
from aioice.ice import TransportPolicy
from aioice.stun import TransactionFailed
from aioice.turn import create_turn_endpoint

from tests.support.server import PASSWORD, USERNAME, TurnServerProcess

TIMEOUT = 90
"""Seconds until a connection that has not come about counts as failed."""
MESSAGES = 200


def relayed_connection(server: TurnServerProcess, controlling: bool, password: str = PASSWORD) -> aioice.Connection:
    """A connection that gathers relayed candidates only."""
    return aioice.Connection(
        ice_controlling=controlling,
        turn_server=("127.0.0.1", server.port),
        turn_username=USERNAME,
        turn_password=password,
        transport_policy=TransportPolicy.RELAY,
        use_ipv6=False,
    )


async def introduce(one: aioice.Connection, other: aioice.Connection) -> None:
    """Hand each side the other's candidates and connect them."""
    for local, remote in ((one, other), (other, one)):
        await local.gather_candidates()
        assert [candidate.type for candidate in local.local_candidates] == ["relay"]
        for candidate in local.local_candidates:
            await remote.add_remote_candidate(candidate)
        await remote.add_remote_candidate(None)
        remote.remote_username = local.local_username
        remote.remote_password = local.local_password
    await asyncio.gather(one.connect(), other.connect())


async def exchange(sender: aioice.Connection, receiver: aioice.Connection, label: bytes) -> None:
    """Send ``MESSAGES`` datagrams of growing size one after another; each has to arrive as it was sent."""
    for number in range(MESSAGES):
        message = b"%s %d " % (label, number) + bytes(number * 5)
        await sender.send(message)
        assert await receiver.recv() == message


async def test_two_connections_with_relayed_candidates_only(turn_server: TurnServerProcess) -> None:
    """RFC 8656 §12 and rule 14: ChannelBind alone permits the peer, and data flows both ways from relay to relay."""
    one, other = relayed_connection(turn_server, True), relayed_connection(turn_server, False)
    try:
        async with asyncio.timeout(TIMEOUT):
            await introduce(one, other)
            await exchange(one, other, b"there")
            await exchange(other, one, b"back")
    finally:
        await asyncio.gather(one.close(), other.close())


async def test_many_connections_at_once(turn_server: TurnServerProcess) -> None:
    """RFC 8656 §7: ten pairs side by side, none of which gets another's data."""
    pairs = [(relayed_connection(turn_server, True), relayed_connection(turn_server, False)) for _ in range(10)]
    try:
        async with asyncio.timeout(TIMEOUT):
            await asyncio.gather(*(introduce(*pair) for pair in pairs))
            for number, (one, other) in enumerate(pairs):
                await one.send(b"pair %d" % number)
                await other.send(b"pair %d" % number)
            for number, pair in enumerate(pairs):
                assert [await each.recv() for each in pair] == [b"pair %d" % number] * 2
    finally:
        await asyncio.gather(*(each.close() for pair in pairs for each in pair))


async def test_wrong_password_is_refused(turn_server: TurnServerProcess) -> None:
    """RFC 8489 §9.2.4: wrong integrity is answered with 401, which aioice raises as a failed transaction."""
    async with asyncio.timeout(TIMEOUT):
        with pytest.raises(TransactionFailed, match=r"\(401 - "):
            await create_turn_endpoint(
                asyncio.DatagramProtocol,
                server_addr=("127.0.0.1", turn_server.port),
                username=USERNAME,
                password=PASSWORD + "!",
            )


async def test_connection_with_a_wrong_password_has_nothing_to_offer(turn_server: TurnServerProcess) -> None:
    """RFC 8489 §9.2.4: an ICE agent whose credentials are refused gathers no relayed candidate, and goes on."""
    connection = relayed_connection(turn_server, True, password=PASSWORD + "!")
    try:
        async with asyncio.timeout(TIMEOUT):
            await connection.gather_candidates()
        assert connection.local_candidates == []
    finally:
        await connection.close()
