"""The worker: what is configured is bound, what cannot be leaves nothing open, and stopping closes everything."""

import asyncio
import os
import resource
import signal
import socket
from typing import Any

import pytest

from stun.attributes import XOR_MAPPED_ADDRESS
from stun.constants import MessageClass, Method
from stun.message import Message, MessageBuilder
from turnserver.config import Config
from turnserver.core.types import ClientTransport
from turnserver.errors import ConfigError, Problem, StartupError
from turnserver.worker import Worker, raise_file_limit, run

pytestmark = pytest.mark.net


def config(**options: Any) -> Config:
    options.setdefault("listeners", [{"address": "127.0.0.1", "port": 0}])
    options.setdefault("log", {"level": "error"})
    return Config.model_validate(options)


def binding() -> bytes:
    return MessageBuilder(Method.BINDING, MessageClass.REQUEST, os.urandom(12)).build()


async def ask(worker: Worker, request: bytes) -> tuple[Message, socket.socket]:
    """One datagram to the first listener and its answer; gives the socket that asked, too."""
    loop = asyncio.get_running_loop()
    _, address = worker.listening[0]
    client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    client.setblocking(False)
    client.bind(("127.0.0.1", 0))
    await loop.sock_sendto(client, request, (address.host, address.port))
    data = await asyncio.wait_for(loop.sock_recv(client, 2048), 10)
    return Message.decode(data), client


async def test_it_serves_what_it_listens_on() -> None:
    worker = Worker(config())
    worker.start()
    try:
        assert [kind for kind, _ in worker.listening] == [ClientTransport.UDP]
        answer, client = await ask(worker, binding())
        mapped = answer.first(XOR_MAPPED_ADDRESS)
        assert mapped is not None
        assert (mapped.host, mapped.port) == client.getsockname()
        client.close()
    finally:
        worker.stop()


async def test_stopping_frees_the_port_and_may_be_repeated() -> None:
    worker = Worker(config())
    worker.start()
    _, address = worker.listening[0]
    worker.stop()
    worker.stop()
    again = Worker(config(listeners=[{"address": address.host, "port": address.port}]))
    again.start()
    again.stop()
    with pytest.raises(RuntimeError):
        _ = worker.engine


async def test_a_failed_start_leaves_nothing_open() -> None:
    """The second listener's port is taken: the first one's is free again afterwards."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as first, socket.socket() as _:
        first.bind(("127.0.0.1", 0))
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as second:
            second.bind(("127.0.0.1", 0))
            taken, free = first.getsockname()[1], second.getsockname()[1]
        listeners = [{"address": "127.0.0.1", "port": free}, {"address": "127.0.0.1", "port": taken}]
        with pytest.raises(StartupError) as caught:
            Worker(config(listeners=listeners)).start()
        assert str(taken) in str(caught.value)
        assert caught.value.hint
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as again:
            again.bind(("127.0.0.1", free))


async def test_run_serves_until_it_is_told_to_stop_and_reloads_on_the_way() -> None:
    """SIGHUP takes a good configuration over and keeps the old one when the new one is bad; SIGTERM ends it."""
    answers: list[Config | ConfigError] = [
        ConfigError("x.yml", [Problem("realm", 1, "nothing", "a text")]),
        config(peers={"deny": ["8.8.8.8/32"]}),
    ]
    ready: asyncio.Future[Worker] = asyncio.get_running_loop().create_future()

    def reload() -> Config:
        answer = answers.pop(0)
        if isinstance(answer, ConfigError):
            raise answer
        return answer

    serving = asyncio.create_task(run(config(), on_ready=ready.set_result, reload=reload))
    worker = await asyncio.wait_for(ready, 10)
    core = worker.engine._core
    before = core.state.policy
    os.kill(os.getpid(), signal.SIGHUP)
    await eventually(lambda: len(answers) == 1)
    assert core.state.policy == before
    os.kill(os.getpid(), signal.SIGHUP)
    await eventually(lambda: core.state.policy.refusal(socket.inet_aton("8.8.8.8")) == "deny 8.8.8.8/32")
    os.kill(os.getpid(), signal.SIGTERM)
    await asyncio.wait_for(serving, 10)
    assert worker.listening == []


async def eventually(condition: Any) -> None:
    """Let the loop turn until something has happened."""
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0)


async def test_own_listeners_are_known_as_bound() -> None:
    """Rule 16: with port 0 the policy learns the real port, so nobody can relay to the server's own listener."""
    worker = Worker(config(peers={"allow": ["127.0.0.0/8"]}))
    worker.start()
    try:
        _, address = worker.listening[0]
        assert worker.engine._core.state.policy.refusal(address.ip, address.port) == "own listener"
    finally:
        worker.stop()


def test_the_file_limit_is_raised_as_far_as_allowed() -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (256, before[1]))
        raise_file_limit(300)
        assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == 300
        raise_file_limit(200)
        assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == 300
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
