"""A process of its own around a server: signals, the limit of open files, the log."""

import asyncio
import gc
import logging
import os
import resource
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.certificates import issue
from tests.support.turn_client import TurnClient
from turnserver.config import Config, Loaded
from turnserver.errors import ConfigError, MeshturnError, Problem, StartupError
from turnserver.files import files_needed
from turnserver.observers.base import Observer
from turnserver.observers.registry import OBSERVERS
from turnserver.process import raise_file_limit, run
from turnserver.server import Server
from turnserver.signals import Signals

LISTENERS = [{"address": "127.0.0.1", "port": 0}]


@pytest.fixture(autouse=True)
def the_limit_of_open_files_is_put_back() -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


@pytest.fixture(autouse=True)
def the_log_is_put_back() -> Iterator[None]:
    logger = logging.getLogger("meshturn")
    before = logger.handlers, logger.propagate, logger.level
    yield
    logger.handlers, logger.propagate = before[0], before[1]
    logger.setLevel(before[2])


def config(**options: Any) -> Config:
    return Config.model_validate({"listeners": LISTENERS, "log": {"level": "error"}, **options})


async def logged_until(text: str, capfd: pytest.CaptureFixture[str]) -> str:
    """What is written to the log until ``text`` is in it."""
    logged = ""
    async with asyncio.timeout(90):
        while text not in logged:
            await asyncio.sleep(0)
            logged += capfd.readouterr().err
    return logged


FILE = "/etc/meshturn.yml"


class Running:
    """`run` in a task, with the configurations, or errors, that SIGHUP finds one after the other."""

    def __init__(self, *found: Config | Loaded | MeshturnError, first: Config | None = None) -> None:
        self.found = list(found)
        self.ready: asyncio.Future[Server] = asyncio.get_running_loop().create_future()
        self.task = asyncio.create_task(run(first or config(), on_ready=self.ready.set_result, reload=self.reload))

    def reload(self) -> Loaded:
        answer = self.found.pop(0)
        if isinstance(answer, MeshturnError):
            raise answer
        return answer if isinstance(answer, Loaded) else Loaded(answer, FILE, ())

    async def server(self) -> Server:
        return await asyncio.wait_for(asyncio.shield(self.ready), 10)

    async def hangup(self, condition: Callable[[], object]) -> None:
        os.kill(os.getpid(), signal.SIGHUP)
        async with asyncio.timeout(90):
            while not condition():
                await asyncio.sleep(0)

    async def stop(self, number: signal.Signals = signal.SIGTERM) -> None:
        os.kill(os.getpid(), number)
        await asyncio.wait_for(self.task, 10)


async def test_run_serves_until_it_is_told_to_stop_and_reloads_on_the_way() -> None:
    """SIGHUP takes a good configuration over and keeps the old one when the new one is bad; SIGTERM ends it."""
    bad = ConfigError("x.yml", [Problem("realm", 1, "nothing", "a text")])
    running = Running(bad, config(peers={"deny": ["8.8.8.8/32"]}))
    server = await running.server()
    before = server.config
    await running.hangup(lambda: len(running.found) == 1)
    assert server.config == before
    await running.hangup(lambda: server.config.peers.deny)
    assert [str(network) for network in server.config.peers.deny] == ["8.8.8.8/32"]
    await running.stop()
    assert not server.snapshot().running


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_either_signal_ends_it_and_is_let_go_of(number: signal.Signals) -> None:
    before = signal.getsignal(signal.SIGTERM)
    running = Running()
    await running.server()
    await running.stop(number)
    assert signal.getsignal(signal.SIGTERM) == before
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


async def test_the_log_says_what_a_reload_took_and_what_waits(capfd: pytest.CaptureFixture[str]) -> None:
    level = {"level": "info"}
    running = Running(
        config(log=level),
        config(log={"level": "debug"}, realm="b", peers={"deny": ["8.8.8.8/32"]}),
        first=config(log=level),
    )
    await running.server()
    await running.hangup(lambda: len(running.found) == 1)
    await running.hangup(lambda: not running.found)
    await running.stop()
    said = capfd.readouterr().err.splitlines()
    (waiting,) = [line for line in said if "before a restart" in line]
    assert waiting.partition("Z ")[2] == "warning meshturn: option not in force before a restart option=realm"
    lines = [line for line in said if "configuration reloaded" in line]
    assert [line.partition("meshturn: ")[2] for line in lines] == [
        "configuration reloaded: no change",
        "configuration reloaded; some changes need a restart taken=peers.deny,log.level waiting=realm",
    ]


async def test_a_file_that_cannot_be_used_changes_nothing(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """The log says which."""
    path = tmp_path / "key.pem"
    path.write_text("nothing")
    options: dict[str, Any] = {"listeners": [{"transport": "shared", "tls": False, "address": "127.0.0.1", "port": 0}]}
    bad = config(**options, signaling={"open": True, "public_keys": [str(path)]}, peers={"deny": ["8.8.8.8/32"]})
    running = Running(bad, first=config(**options))
    server = await running.server()
    await running.hangup(lambda: not running.found)
    await running.stop()
    assert server.config.peers.deny == ()
    assert "key.pem" in capfd.readouterr().err


async def test_the_log_has_the_usage_of_what_the_end_ends(capfd: pytest.CaptureFixture[str]) -> None:
    """A line for each live allocation, before the last line, however many there are."""
    many = 550  # more lines of a kind than clients can cause at once
    options = {"auth": {"users": {"alice": "wonderland"}}, "limits": {"allocations_per_user": many}}
    running = Running(first=config(log={"level": "info"}, **options))
    server = await running.server()
    ((_, address),) = server.snapshot().listening

    def hold() -> list[TurnClient]:
        held = [TurnClient.udp(address.host, address.port, "alice", "wonderland") for _ in range(many)]
        for client in held:
            client.allocate()
        return held

    clients = await asyncio.to_thread(hold)
    os.kill(os.getpid(), signal.SIGTERM)
    await asyncio.wait_for(running.task, 90)
    for client in clients:
        client.close()
    lines = capfd.readouterr().err.splitlines()
    ended = [line for line in lines if "allocation ended" in line]
    assert len({line.split("client=")[1].split()[0] for line in ended}) == many
    assert all("reason=shutdown" in line and "bytes_" in line for line in ended)
    stopping, stopped = (
        next(at for at, line in enumerate(lines) if line.endswith(f"meshturn: {word}"))
        for word in ("stopping", "stopped")
    )
    assert stopping < lines.index(ended[0]) < lines.index(ended[-1]) < stopped


async def lines_with(capfd: pytest.CaptureFixture[str], word: str) -> list[str]:
    """The log, as far as it goes when the word is in it."""
    logged = ""
    async with asyncio.timeout(90):
        while word not in logged:
            await asyncio.sleep(0)
            logged += capfd.readouterr().err
    return logged.splitlines()


async def test_usr1_drains(capfd: pytest.CaptureFixture[str]) -> None:
    """It ends with the last allocation."""
    running = Running(first=config(log={"level": "info"}, auth={"users": {"alice": "wonderland"}}))
    server = await running.server()
    ((_, address),) = server.snapshot().listening
    with TurnClient.udp(address.host, address.port, "alice", "wonderland") as client:
        await asyncio.to_thread(client.allocate)
        os.kill(os.getpid(), signal.SIGUSR1)
        lines = await lines_with(capfd, "draining")
        assert "allocations=1 rooms=0 until=" in lines[-1]
        await asyncio.to_thread(client.refresh, 600)
        assert not running.task.done()
        await asyncio.to_thread(client.refresh, 0)
    await asyncio.wait_for(running.task, 90)
    said = [line.partition("meshturn: ")[2] for line in capfd.readouterr().err.splitlines() if "meshturn: " in line]
    assert said == ["drained", "stopping", "stopped"]


@pytest.mark.parametrize("number", [signal.SIGUSR1, signal.SIGTERM, signal.SIGINT])
async def test_a_second_signal_ends_a_drain_now(number: signal.Signals, capfd: pytest.CaptureFixture[str]) -> None:
    running = Running(config(), first=config(log={"level": "info"}, auth={"users": {"alice": "wonderland"}}))
    server = await running.server()
    ((_, address),) = server.snapshot().listening
    with TurnClient.udp(address.host, address.port, "alice", "wonderland") as client:
        await asyncio.to_thread(client.allocate)
        os.kill(os.getpid(), signal.SIGUSR1)
        await lines_with(capfd, "draining")
        await running.hangup(lambda: not running.found)
        assert not running.task.done()
        os.kill(os.getpid(), number)
        await asyncio.wait_for(running.task, 90)


async def test_a_drain_ends_after_its_time(capfd: pytest.CaptureFixture[str]) -> None:
    options: dict[str, Any] = {"log": {"level": "info"}, "auth": {"users": {"alice": "wonderland"}}, "drain_timeout": 1}
    running = Running(first=config(**options))
    server = await running.server()
    ((_, address),) = server.snapshot().listening
    with TurnClient.udp(address.host, address.port, "alice", "wonderland") as client:
        await asyncio.to_thread(client.allocate)
        os.kill(os.getpid(), signal.SIGUSR1)
        await asyncio.wait_for(running.task, 90)
    log = capfd.readouterr().err
    assert "drain_timeout is over: what is left ends now allocations=1 rooms=0" in log
    assert "reason=shutdown" in log


async def test_usr2_reads_the_certificates_again_and_nothing_else(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """What a renewal hook of certbot sends: new handshakes have the new pair, and no option is looked at."""
    pair = issue(tmp_path)
    tls = {"certificates": [pair.config], "reload_interval": 86400}
    listeners = [{"transport": "tls", "address": "127.0.0.1", "port": 0}]
    running = Running(first=config(listeners=listeners, tls=tls, log={"level": "info"}))
    server = await running.server()
    pair.replace_by(issue(tmp_path, "newer"))
    os.kill(os.getpid(), signal.SIGUSR2)
    logged = await logged_until("certificates reloaded", capfd)
    assert "certificate replaced" in logged
    pair.certificate.write_text("nothing")
    os.kill(os.getpid(), signal.SIGUSR2)
    logged += await logged_until("certificates reloaded: no change", capfd)
    assert "certificate refused, the old one stays in use" in logged
    assert "configuration" not in logged
    assert server.snapshot().running
    await running.stop()


async def test_hup_without_anything_to_read_again_ends_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    ready: asyncio.Future[Server] = asyncio.get_running_loop().create_future()
    task = asyncio.create_task(run(config(log={"level": "info"}), on_ready=ready.set_result))
    server = await asyncio.wait_for(ready, 90)
    os.kill(os.getpid(), signal.SIGHUP)
    await logged_until("certificates reloaded: no change", capfd)
    assert server.snapshot().running
    os.kill(os.getpid(), signal.SIGTERM)
    await asyncio.wait_for(task, 90)


async def test_a_reload_says_which_file_it_was_and_what_is_odd_in_it(capfd: pytest.CaptureFixture[str]) -> None:
    """Kind: something that is said at the start and not at a reload. A warning is a whole sentence, however long."""
    level = {"level": "warning"}
    warning = f"Everybody on this host can read {'x' * 200}, and there are secrets in it.\nevil"
    running = Running(
        ConfigError("/other.yml", [Problem("realm", 1, "nothing", "a text")]),
        StartupError("no certificate"),
        Loaded(config(log=level), FILE, (warning,)),
        first=config(log=level),
    )
    await running.server()
    logged = ""
    for word in ("realm", "no certificate", "evil"):
        os.kill(os.getpid(), signal.SIGHUP)
        logged += await logged_until(word, capfd)
    await running.stop()
    lines = [line for line in logged.splitlines() if "configuration" in line]
    assert "error   meshturn: configuration not reloaded file=/other.yml key=realm line=1" in lines[0]
    assert "error   meshturn: configuration not reloaded reason='no certificate'" in lines[1]
    assert lines[2].endswith(f"warning meshturn: configuration: {warning[:-5]}\\x0aevil file={FILE}")


async def test_signals_that_came_before_are_answered(capfd: pytest.CaptureFixture[str]) -> None:
    signals = Signals()
    signals.hold()
    try:
        signal.raise_signal(signal.SIGHUP)
        found: list[int] = []

        def reload() -> Loaded:
            found.append(1)
            os.kill(os.getpid(), signal.SIGTERM)
            return Loaded(config(), FILE, ())

        await asyncio.wait_for(run(config(), reload=reload, signals=signals), 90)
        assert found == [1]
        signal.raise_signal(signal.SIGTERM)
        never: list[Server] = []
        await asyncio.wait_for(run(config(log={"level": "info"}), on_ready=never.append, signals=signals), 90)
    finally:
        signals.release()
    assert never == []
    assert "stopping before the start" in capfd.readouterr().err


async def test_a_server_that_cannot_start_leaves_no_handlers() -> None:
    handlers = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGHUP)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        busy = config(listeners=[{"address": "127.0.0.1", "port": taken.getsockname()[1]}])
        with pytest.raises(StartupError):
            await run(busy, reload=lambda: Loaded(config(), FILE, ()))
    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGHUP)) == handlers


async def test_a_server_that_cannot_be_made_leaves_no_handlers() -> None:
    """An observer that raises when it is made is met before anything is started."""

    def broken() -> Observer:
        raise ZeroDivisionError

    remove = OBSERVERS.add("broken", broken)
    before = signal.getsignal(signal.SIGTERM)
    try:
        with pytest.raises(StartupError, match="The observer broken cannot be used: ZeroDivisionError"):
            await run(config(observers=["broken"]))
    finally:
        remove()
    assert signal.getsignal(signal.SIGTERM) == before


def test_the_file_limit_is_raised_as_far_as_allowed() -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, before[1]))
    raise_file_limit(300)
    assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == 300
    raise_file_limit(200)
    assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == 300


def test_the_file_limit_makes_room_for_connections() -> None:
    """Only where there are listeners for them."""
    limits = {"allocations": 1000, "connections": 500}
    udp, tcp = (
        files_needed(config(listeners=[{"transport": transport, "address": "127.0.0.1"}], limits=limits))
        for transport in ("udp", "tcp")
    )
    assert tcp - udp == 500
    assert udp > 1000


async def test_the_process_has_the_files_that_its_server_may_need() -> None:
    resource.setrlimit(resource.RLIMIT_NOFILE, (512, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    running = Running(first=config(limits={"allocations": 700}))
    await running.server()
    assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] >= 700
    await running.stop()


async def test_garbage_collections_do_not_scan_what_the_start_made() -> None:
    """A full collection serves nobody; it must cost what clients have made since, not all imported modules."""
    running = Running()
    await running.server()
    assert gc.get_freeze_count() > 10_000
    await running.stop()
    assert gc.get_freeze_count() == 0


async def test_a_reload_that_raises_is_not_the_end(caplog: pytest.LogCaptureFixture) -> None:
    """Whatever it was: the server goes on with the configuration that it has, and the fault is counted."""

    class Odd(MeshturnError):
        """None that a reload is known to raise."""

    running = Running(Odd("no words for it"), config(peers={"deny": ["8.8.8.8/32"]}))
    server = await running.server()
    await running.hangup(lambda: server.snapshot().faults)
    assert server.snapshot().faults == {"reload": 1}
    await running.hangup(lambda: server.config.peers.deny)
    await running.stop()


async def test_what_nobody_catches_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """A callback of the loop that raises, somebody's task of which nobody has looked at the end, a complaint."""
    running = Running()
    server = await running.server()
    loop = asyncio.get_running_loop()
    logged: list[str] = []
    monkeypatch.setattr(logging.getLogger("meshturn"), "handle", lambda record: logged.append(record.getMessage()))

    def fail() -> None:
        raise KeyError("oops")

    async def fail_later() -> None:
        fail()

    loop.call_soon(fail)
    task = loop.create_task(fail_later())
    await asyncio.wait((task,))
    del task
    gc.collect()
    loop.call_exception_handler({"message": "something is odd"})
    async with asyncio.timeout(10):
        while server.snapshot().faults != {"loop": 2}:
            await asyncio.sleep(0)
    assert logged == ["event loop error"]
    await running.stop()
    assert loop.get_exception_handler() is None
