"""The watch over this machine's addresses: real events of a network namespace, and looks without them."""

import asyncio
import sys
from collections.abc import Callable, Iterator

import pytest

from tests.support.netns import NetworkNamespace
from turnserver import addresses
from turnserver.addresses import AddressWatch

LIMIT = 60.0


@pytest.fixture(scope="module")
def inside() -> Iterator[NetworkNamespace]:
    with NetworkNamespace() as namespace:
        yield namespace


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(LIMIT):
        while not condition():
            await asyncio.sleep(0.01)


class Looks:
    """Counts the looks; ``again`` is what each returns."""

    def __init__(self, *, again: bool = False) -> None:
        self.count = 0
        self.again = again
        self.errors: list[Exception] = []
        self.raises: Exception | None = None
        self.watch = AddressWatch(self.look, self.errors.append)

    def look(self) -> bool:
        self.count += 1
        if self.raises is not None:
            raise self.raises
        return self.again


@pytest.mark.skipif(sys.platform != "linux", reason="netlink is Linux's")
@pytest.mark.process
async def test_an_address_that_comes_or_goes_is_an_event(inside: NetworkNamespace) -> None:
    """Without a timer: nothing but the event can have caused the look."""
    looks = Looks()
    with inside.entered():
        looks.watch.start()
    try:
        assert looks.watch.has_events
        assert looks.watch._timer is None
        for number, change in enumerate(
            ("add 10.7.0.1/32", "del 10.7.0.1/32", "add fd00::7/128", "del fd00::7/128"), 1
        ):
            seen = looks.count
            inside.ip(f"address {change} dev lo")
            await until(lambda seen=seen: looks.count > seen)  # type: ignore[misc]
            assert number <= looks.count
    finally:
        looks.watch.close()


async def test_where_there_are_no_events_it_looks_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(addresses, "LOOK_INTERVAL", 0.01)
    monkeypatch.setattr(addresses, "_events", lambda: None)
    looks = Looks()
    looks.watch.start()
    try:
        assert not looks.watch.has_events
        await until(lambda: looks.count >= 3)
    finally:
        looks.watch.close()
    seen = looks.count
    await asyncio.sleep(0)
    assert looks.count == seen


async def test_a_sandbox_that_forbids_netlink_is_like_a_system_without(monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden() -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(addresses, "LOOK_INTERVAL", 0.01)
    monkeypatch.setattr(addresses, "_events", forbidden)
    looks = Looks()
    looks.watch.start()
    try:
        await until(lambda: looks.count >= 2)
    finally:
        looks.watch.close()


@pytest.mark.process
async def test_what_has_failed_is_looked_at_again(monkeypatch: pytest.MonkeyPatch, inside: NetworkNamespace) -> None:
    """With events too: the system tells nothing when a port becomes free."""
    monkeypatch.setattr(addresses, "LOOK_INTERVAL", 0.01)
    looks = Looks(again=True)
    with inside.entered():
        looks.watch.start(again=True)
    try:
        await until(lambda: looks.count >= 3)
        looks.again = False
        seen = looks.count
        await until(lambda: looks.watch._timer is None)
        assert looks.count <= seen + 1
    finally:
        looks.watch.close()


async def test_a_look_that_raises_is_reported_and_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(addresses, "LOOK_INTERVAL", 0.01)
    looks = Looks()
    looks.raises = ValueError("odd")
    looks.watch.start()
    looks.watch.soon()
    try:
        await until(lambda: len(looks.errors) >= 2)
        assert set(looks.errors) == {looks.raises}
    finally:
        looks.watch.close()


@pytest.mark.process
async def test_a_netlink_buffer_that_overflows_is_an_event(inside: NetworkNamespace) -> None:
    """ENOBUFS: events were lost, so everything may have changed; the reader goes on."""
    looks = Looks()
    with inside.entered():
        looks.watch.start()
    try:
        assert looks.watch._socket is not None
        looks.watch._socket.setsockopt(1, 8, 1)  # SOL_SOCKET, SO_RCVBUF: the smallest there is
        for _ in range(40):
            inside.ip("address add 10.7.0.2/32 dev lo")
            inside.ip("address del 10.7.0.2/32 dev lo")
        await until(lambda: looks.count)
        seen = looks.count
        inside.ip("address add 10.7.0.3/32 dev lo")
        await until(lambda: looks.count > seen)
    finally:
        looks.watch.close()
        inside.ip("address del 10.7.0.3/32 dev lo")
