"""A test suite that gets a TURN server by naming a fixture. Needs ``pip install 'meshturn[testing]'`` only.

Run it with ``pytest examples/test_with_fixture.py``. `measure` stands for the program under test.
"""

import asyncio
import socket

import pytest

from meshturn import BackgroundServer, TurnClient
from meshturn.errors import ErrorResponse
from meshturn.events import AllocationOpened


async def measure(uri: str, username: str, password: str) -> float:
    """The program under test: seconds that a datagram takes through a relay to a socket of ours."""
    loop = asyncio.get_running_loop()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
        peer.setblocking(False)
        peer.bind(("127.0.0.1", 0))
        async with TurnClient(uri, username, password) as client:
            await client.allocate()
            await client.bind_channel(peer.getsockname())
            start = loop.time()
            client.send(peer.getsockname(), b"there")
            await loop.sock_recv(peer, 1500)
            return loop.time() - start


def test_it_measures(turn_server: BackgroundServer) -> None:
    """Over UDP and TCP. The test is a plain function, so it needs no plug-in for coroutines."""
    for uri in turn_server.uris:
        assert asyncio.run(measure(uri, turn_server.username, turn_server.password)) > 0
    opened = [event for event, _ in turn_server.events() if isinstance(event, AllocationOpened)]
    assert [event.client.transport.label for event in opened] == ["udp", "tcp"]
    assert turn_server.snapshot().allocations == ()


def test_it_gives_up_with_a_credential_that_has_expired(turn_server: BackgroundServer) -> None:
    """As for a user who has left the page open overnight."""
    username, password = turn_server.credential("alice", lifetime=-60)
    with pytest.raises(ErrorResponse) as caught:
        asyncio.run(measure(turn_server.uri, username, password))
    assert caught.value.code == 401
