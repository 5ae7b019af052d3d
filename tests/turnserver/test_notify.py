"""What the service manager is told: the datagrams that a real socket gets, and when."""

import asyncio
import logging
import os
import socket
from collections.abc import Iterator
from itertools import chain, repeat
from pathlib import Path

import pytest

from tests.support.skipping_loop import SkippingLoop
from turnserver.notify import SILENT, Notifier, Pulse


class Manager:
    """The service manager's end."""

    def __init__(self, address: str) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.sock.bind(address.replace("@", "\0", 1) if address.startswith("@") else address)
        self.sock.setblocking(False)
        self.address = address

    def heard(self) -> list[str]:
        said = []
        while True:
            try:
                said.append(self.sock.recv(4096).decode())
            except BlockingIOError:
                return said


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Manager]:
    address = str(tmp_path / "notify") if request.param == "path" else f"@meshturn-test-{os.getpid()}-{tmp_path.name}"
    found = Manager(address)
    yield found
    found.sock.close()


def test_a_life(manager: Manager) -> None:
    notifier = Notifier(manager.address, 30.0, clock=lambda: 1_234_567_899)
    assert notifier
    notifier.ready("Serving: allocations 0, rooms 0")
    notifier.alive()
    notifier.status("Serving: allocations 1, rooms 0")
    notifier.status("Serving: allocations 1, rooms 0")
    notifier.reloading()
    notifier.ready("Serving: allocations 1, rooms 0")
    notifier.stopping()
    assert manager.heard() == [
        "READY=1\nSTATUS=Serving: allocations 0, rooms 0",
        "WATCHDOG=1",
        "STATUS=Serving: allocations 1, rooms 0",
        "RELOADING=1\nMONOTONIC_USEC=1234567",
        "READY=1\nSTATUS=Serving: allocations 1, rooms 0",
        "STOPPING=1\nSTATUS=Stopping",
    ]
    notifier.close()
    notifier.ready("again")
    assert manager.heard() == []


def test_a_status_is_one_line(manager: Manager) -> None:
    """Nothing in it may be taken for another message."""
    Notifier(manager.address).status("one\nMAINPID=1\x1b[2J" + "x" * 1000)
    (said,) = manager.heard()
    assert said.startswith("STATUS=one\\x0aMAINPID=1\\x1b[2J")
    assert len(said) < 250


def test_without_a_service_manager_nothing_happens() -> None:
    assert not SILENT
    SILENT.ready("")
    SILENT.reloading()
    SILENT.alive()
    SILENT.stopping()


def test_without_a_watchdog_nothing_is_fed(manager: Manager) -> None:
    Notifier(manager.address).alive()
    assert manager.heard() == []


def test_the_environment_says_where_and_how_often() -> None:
    environ = {"NOTIFY_SOCKET": "/run/x", "WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "7", "HOME": "/"}
    notifier = Notifier.from_environment(environ, 7)
    assert notifier
    assert notifier.watchdog == 30.0
    assert environ == {"HOME": "/"}, "no child takes them for its own"


@pytest.mark.parametrize(
    "environ",
    [
        {"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "8"},
        {"WATCHDOG_USEC": "0"},
        {"WATCHDOG_USEC": "soon"},
        {"WATCHDOG_USEC": "-5"},
        {},
    ],
)
def test_a_watchdog_for_somebody_else_is_none(environ: dict[str, str]) -> None:
    notifier = Notifier.from_environment({"NOTIFY_SOCKET": "/run/x", **environ}, 7)
    assert notifier
    assert notifier.watchdog is None


def test_nobody_to_tell_has_no_watchdog() -> None:
    notifier = Notifier.from_environment({"WATCHDOG_USEC": "30000000"}, 7)
    assert not notifier
    assert notifier.watchdog is None


def test_a_socket_of_another_machine_is_said(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "meshturn"):
        assert not Notifier.from_environment({"NOTIFY_SOCKET": "vsock:2:1234"}, 7)
    assert caplog.messages == ["NOTIFY_SOCKET is not supported"]


def test_a_service_manager_that_has_gone_is_said_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    notifier = Notifier(str(tmp_path / "gone"))
    with caplog.at_level(logging.WARNING, "meshturn"):
        notifier.ready("")
        notifier.stopping()
    assert caplog.messages == ["the service manager cannot be told"]
    long = Notifier("/" + "x" * 200)
    with caplog.at_level(logging.WARNING, "meshturn"):
        long.ready("")
    assert len(caplog.messages) == 2


def test_a_busy_service_manager_is_not_waited_for(manager: Manager) -> None:
    """What it has to know is sent later, in order; of what feeds the watchdog there is more soon."""
    notifier = Notifier(manager.address, 30.0)
    fed = 0
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other:
        other.setblocking(False)
        try:
            while True:
                other.sendto(b"X=1", manager.sock.getsockname())
                fed += 1
        except BlockingIOError:
            pass
    notifier.ready("first")
    notifier.alive()
    notifier.reloading()
    assert manager.heard() == ["X=1"] * fed
    notifier.stopping()
    said = manager.heard()
    assert [line.partition("\n")[0] for line in said] == ["READY=1", "RELOADING=1", "STOPPING=1"]


def test_the_loop_feeds_the_watchdog(manager: Manager) -> None:
    """Three times in its time, and no more when it has been stopped; the status is looked at now and then."""
    loop = SkippingLoop()
    notifier = Notifier(manager.address, 6.0)
    statuses = chain(["a", "a"], repeat("b"))
    said: list[str] = []

    def fed(times: int) -> bool:
        said.extend(manager.heard())
        return said.count("WATCHDOG=1") >= times

    async def live() -> None:
        pulse = Pulse(notifier, lambda: next(statuses))
        pulse.start()
        pulse.start()
        for times in range(1, 12):
            await loop.until(lambda times=times: fed(times), f"fed {times} times")  # type: ignore[misc]
            loop.offset += 2.0
        pulse.stop()
        assert fed(11)
        said.append("the end")
        await loop.skip(60.0)

    try:
        loop.run_until_complete(live())
    finally:
        loop.close()
    said += manager.heard()
    assert [line for line in said if line != "WATCHDOG=1"] == ["STATUS=a", "STATUS=b", "the end"]
    assert said[-1] == "the end"


def test_no_service_manager_costs_no_timer() -> None:
    async def live() -> None:
        pulse = Pulse(SILENT, str)
        pulse.start()
        assert not asyncio.get_running_loop()._scheduled  # type: ignore[attr-defined]
        pulse.stop()

    asyncio.run(live())


def test_a_loop_that_hangs_feeds_nothing(manager: Manager) -> None:
    """However much time goes by, until it turns again."""
    loop = SkippingLoop()
    pulse = Pulse(Notifier(manager.address, 6.0), str)

    async def begin() -> None:
        pulse.start()

    async def go_on() -> None:
        await loop.turns(2)
        pulse.stop()

    try:
        loop.run_until_complete(begin())
        manager.heard()
        loop.offset += 600.0
        assert manager.heard() == []
        loop.run_until_complete(go_on())
        assert manager.heard() == ["WATCHDOG=1"]
    finally:
        loop.close()
