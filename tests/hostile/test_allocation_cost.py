"""A user who makes Allocate dear for everybody (rule 28): by allocating and deleting all day, or when sockets fail."""

import asyncio
import errno
import logging
import os
import resource
import socket
from typing import Any

import pytest

from stun import attributes as a
from stun.address import Address
from stun.constants import Method, TransportProtocol
from stun.message import Message
from tests.support.core_world import RELAY, World, code_of
from tests.support.steps import steps_of
from tests.support.turn_client import TurnClient, TurnRefused
from turnserver.core.request import Request
from turnserver.relay import sockets
from turnserver.server import Server

UDP = (a.REQUESTED_TRANSPORT, 17)


def test_an_allocate_costs_the_same_whatever_has_happened_before() -> None:
    """Rule 28: after 10, 1,000 and 100,000 past allocations of one user, within 1.5 times, for everybody."""
    steps = {}
    for past in (10, 1_000, 100_000):
        world = World()
        state, pool = world.core.state, world.core.state.ports[RELAY, TransportProtocol.UDP]
        other = world.client("192.0.2.66", 6666, user="bob", password="hunter2")
        other.challenge()
        client = world.client()
        client.challenge()
        for number in range(past):
            if number < 20:
                assert code_of(other.allocate()) == code_of(other.refresh(0)) == 0
                continue
            port = pool.take(world.now)  # what an Allocate and its end leave behind, without the messages
            assert port is not None
            pool.give_back(port, world.now)
            request = Request(other.path, Message.decode(other.build(Method.ALLOCATE, signed=False)), 20, world.now)
            state.keep_answer(request.transaction, b"answer", world.now)
            world.core.expire(world.now)
        frame = client.build(Method.ALLOCATE, [UDP])
        steps[past] = steps_of(lambda world=world, client=client, frame=frame: world.feed(client.path, frame))
        assert state.live(client.path) is not None
    assert max(steps.values()) <= 1.5 * min(steps.values()), steps


@pytest.fixture
def binds(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The addresses that relays were to be bound on, in order."""
    tried: list[str] = []
    bind = sockets.bind_udp

    def counted(address: Address, **options: Any) -> socket.socket:
        tried.append(address.host)
        return bind(address, **options)

    monkeypatch.setattr(sockets, "bind_udp", counted)
    return tried


ABSENT = "192.0.2.1"
"""For documentation (RFC 5737), so that no machine has it."""


def config(*relays: str) -> dict[str, Any]:
    return {
        "listeners": [{"address": "127.0.0.1", "port": 0}],
        "relay": {"addresses": list(relays)},
        "auth": {"users": {"alice": "secret"}},
        "limits": {"allocations_per_user": 100},
    }


def allocate(server: Server) -> Address:
    """One more allocation of alice's: the relayed address."""
    _, address = server.snapshot().listening[0]
    with TurnClient.udp(address.host, address.port, "alice", "secret") as client:
        return client.allocate().relayed[0]


async def test_an_address_that_has_gone_costs_one_attempt_and_says_why(
    binds: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    """Rule 28: not 32 ports that fail alike; the cause is in the log, some lines of it, and in the answer."""
    async with Server(config(ABSENT)) as server:
        for number in range(1, 31):
            with pytest.raises(TurnRefused) as refused:
                await asyncio.to_thread(allocate, server)
            assert (refused.value.code, refused.value.reason) == (508, "Insufficient Capacity (relay-address)")
            assert len(binds) == number
    lines = [record for record in caplog.records if record.getMessage() == "no relay can be opened"]
    assert 1 <= len(lines) < 30, "as much as a person reads"
    assert lines[0].levelno == logging.WARNING
    assert lines[0].__dict__["fields"]["address"] == ABSENT
    assert os.strerror(errno.EADDRNOTAVAIL) in lines[0].__dict__["fields"]["why"]


async def test_with_two_addresses_and_one_gone_the_other_is_used(binds: list[str]) -> None:
    """Rule 28: everybody is served, and the one that is gone is not tried each time."""
    async with Server(config(ABSENT, "127.0.0.2")) as server:
        for _ in range(20):
            relayed = await asyncio.to_thread(allocate, server)
            assert relayed.host == "127.0.0.2"
        assert binds.count("127.0.0.2") == 20
        assert 1 <= binds.count(ABSENT) < 20


async def test_without_descriptors_an_allocate_costs_one_attempt(
    binds: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    """Rule 28: EMFILE is not about the port; once there are descriptors again, the same client is served."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    async with Server(config("127.0.0.1")) as server:
        _, address = server.snapshot().listening[0]
        with TurnClient.udp(address.host, address.port, "alice", "secret") as client:
            free = os.dup(0)
            os.close(free)
            resource.setrlimit(resource.RLIMIT_NOFILE, (free, before[1]))
            try:
                with pytest.raises(TurnRefused) as refused:
                    await asyncio.to_thread(client.allocate)
            finally:
                resource.setrlimit(resource.RLIMIT_NOFILE, before)
            assert (refused.value.code, refused.value.reason) == (508, "Insufficient Capacity (relay-socket)")
            assert len(binds) == 1
            await asyncio.to_thread(client.allocate)
    lines = [record for record in caplog.records if record.getMessage() == "no relay can be opened"]
    assert [os.strerror(errno.EMFILE) in line.__dict__["fields"]["why"] for line in lines] == [True]
