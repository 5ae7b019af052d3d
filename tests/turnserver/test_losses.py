"""What this host loses is counted and said, with real sockets: floods, refused sends, buffers that are too small."""

import asyncio
import logging
import socket
from collections.abc import Iterator

import pytest

from stun.address import Address
from tests.support.clock import Clock
from tests.support.datapath_world import RecordingSink
from tests.support.stream_world import captured_log
from tests.support.tcp_pair import eventually
from turnserver import losses, net
from turnserver.core.types import ClientTransport, FiveTuple, RelayId
from turnserver.losses import LossLines, Sources
from turnserver.net import UdpSocket, bind_udp, receive_buffer_of
from turnserver.receiver import to_source
from turnserver.relay import sockets
from turnserver.relay.sockets import AsyncioDatapath
from turnserver.server import Server
from turnserver.transports import udp as udp_module
from turnserver.transports.udp import UdpTransport

BROADCAST = Address.parse("255.255.255.255", 9)
"""A send to it is refused on this host, with EACCES, since no socket here may broadcast."""


def opened(receive_buffer: int = 4096) -> UdpSocket:
    address = Address.parse("127.0.0.1", 0)
    return UdpSocket(bind_udp(address, receive_tos=False, receive_buffer=receive_buffer, send_buffer=65536))


def flood(target: Address, number: int = 200) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as source:
        for _ in range(number):
            source.sendto(bytes(500), (target.host, target.port))


def address_of(udp: UdpSocket) -> Address:
    return net.from_sockaddr(udp.sock.getsockname())


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (udp_module, sockets):
        monkeypatch.setattr(module, "LOOK_INTERVAL", 0.01)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Receive buffers that a flood fills."""
    monkeypatch.setattr(udp_module, "RECEIVE_BUFFER", 64 * 1024)
    monkeypatch.setattr(sockets, "RELAY_BUFFER", 8 * 1024)


class Clients:
    """No client has a path."""

    def path(self, client: FiveTuple) -> None:
        return None

    def release(self, client: FiveTuple) -> None:
        return None


@pytest.fixture
def log() -> Iterator[list[logging.LogRecord]]:
    with captured_log("meshturn") as records:
        yield records


def said(records: list[logging.LogRecord], message: str) -> list[dict[str, object]]:
    return [record.fields for record in records if record.getMessage() == message]  # type: ignore[attr-defined]


# Counters


def test_what_the_kernel_drops_is_counted() -> None:
    udp = opened()
    assert udp.lost == 0
    flood(address_of(udp))
    lost = udp.lost
    assert 100 < lost < 200
    assert udp.news() == (lost, 0)
    assert udp.news() == (0, 0)
    udp.close()
    assert udp.lost == lost, "the last count stays"
    udp.close()


def test_what_this_host_refuses_to_send_is_counted() -> None:
    udp = opened()
    refused = udp.to(net.to_sockaddr(BROADCAST))
    assert [refused.send(b"x") for _ in range(3)] == [False] * 3
    assert not udp.to(("127.0.0.1", 0)).send(b"x"), "nobody can send to port 0: that is the client's mistake"
    assert not udp.to(("127.0.0.1", 9)).send(bytes(65_528)), "too long: likewise"
    assert (udp.dropped, udp.failed) == (5, 3)
    assert udp.failure[1] == net.to_sockaddr(BROADCAST)
    assert udp.news() == (0, 3)
    udp.close()


def test_a_system_that_does_not_tell_has_no_losses(monkeypatch: pytest.MonkeyPatch) -> None:
    udp = opened()
    flood(address_of(udp))
    monkeypatch.setattr(net, "_SO_MEMINFO", 250)
    assert udp.lost == 0
    monkeypatch.setattr(net, "_LINUX", False)
    assert udp.lost == 0
    udp.close()


# Sources


def test_a_source_is_named_only_if_most_came_from_it() -> None:
    sources = Sources()
    assert sources.most() is None
    one, other = (to_source(Address.parse(host, 5)) for host in ("192.0.2.1", "192.0.2.2"))
    sources.add([one, one, one, other])
    assert sources.most() == ("192.0.2.1", 75)
    sources.forget()
    assert sources.most() is None, "each look is about what came since"
    sources.add([one, other])
    assert sources.most() is None


def test_the_sample_is_bounded_and_the_newest_counts() -> None:
    sources = Sources()
    old, new = (to_source(Address.parse(host, 5)) for host in ("2001:db8::1", "::ffff:192.0.2.2"))
    sources.add([old] * 64)
    for _ in range(losses._SAMPLES):
        sources.add([new])
    assert sources.most() == ("192.0.2.2", 100)


# Lines


def test_a_buffer_smaller_than_asked_for_is_said_with_what_to_do(log: list[logging.LogRecord]) -> None:
    udp = opened()
    lines = LossLines(logging.getLogger("meshturn.udp"), Clock())
    granted = receive_buffer_of(udp.sock)
    lines.small_buffer(address_of(udp), udp, granted)
    assert log == []
    lines.small_buffer(address_of(udp), udp, 8_000_000)
    ((record,), (fields,)) = log, said(log, "receive buffer smaller than asked for")
    assert record.levelno == logging.WARNING
    assert (fields["asked"], fields["granted"]) == (8_000_000, granted)
    assert "net.core.rmem_max=8000000" in str(fields["hint"])
    udp.close()


def test_losses_have_one_line_a_minute(log: list[logging.LogRecord]) -> None:
    clock, udp = Clock(), opened()
    lines = LossLines(logging.getLogger("meshturn.udp"), clock)
    for _ in range(30):
        flood(address_of(udp))
        udp.to(net.to_sockaddr(BROADCAST)).send(b"x")
        lines.look(address_of(udp), udp, 4096)
        clock.now += 1
    assert len(said(log, "datagrams lost: the receive buffer was full")) == 1
    (fields,) = said(log, "datagrams could not be sent from this host")
    assert (fields["failed"], fields["to"]) == (1, str(BROADCAST))
    assert fields["why"] == "Permission denied"
    clock.now += 60
    flood(address_of(udp))
    lines.look(address_of(udp), udp, 4096)
    (_, fields) = said(log, "datagrams lost: the receive buffer was full")
    assert fields["in_all"] == udp.lost
    assert fields["withheld"] == 29
    udp.close()


# Where they happen


@pytest.mark.usefixtures("small")
async def test_a_flood_of_a_listener_is_said_with_its_source(log: list[logging.LogRecord]) -> None:
    listener = UdpTransport(0, Address.parse("127.0.0.1", 0))
    listener.bind()
    listener.serve(RecordingSink())
    while not said(log, "datagrams lost: the receive buffer was full"):
        flood(listener.address, 400)
        await asyncio.sleep(0)
    (fields,) = said(log, "datagrams lost: the receive buffer was full")
    assert fields["source"] == "127.0.0.1"
    assert fields["share"] == "100%"
    found = listener.losses
    assert found.lost >= int(str(fields["lost"])) > 0
    assert listener.counters.dropped >= found.lost
    assert listener.counters.packets_in > 0
    listener.close()
    assert listener.losses == found


@pytest.mark.usefixtures("small")
async def test_losses_of_a_relay_are_counted_and_said(log: list[logging.LogRecord]) -> None:
    datapath = AsyncioDatapath()
    sink = RecordingSink()
    datapath.attach(sink, Clients())
    relay = RelayId(1)
    datapath.open_relay(relay, Address.parse("127.0.0.1", 0))
    address = datapath._links[relay].address
    flood(address)
    datapath.send_to_peer(relay, BROADCAST, b"x", False)
    await eventually(lambda: said(log, "datagrams lost: the receive buffer was full"))
    await eventually(lambda: said(log, "datagrams could not be sent from this host"))
    found = datapath.losses
    assert found.lost > 100
    assert found.failed == 1
    assert datapath.counters(relay).dropped >= found.lost + 1
    (fields,) = said(log, "datagrams lost: the receive buffer was full")
    assert fields["address"] == str(address)
    flood(address)
    datapath.close()
    assert datapath._looking is None
    assert datapath.losses.lost > found.lost, "the last count stays"


async def test_the_snapshot_has_them() -> None:
    """Counters and the buffer that the system has granted."""
    async with Server({"listeners": [{"address": "127.0.0.1", "port": 0}]}) as server:
        (listener,) = server.transports
        client = FiveTuple(ClientTransport.UDP, BROADCAST, listener.address, listener.listener)
        assert not listener.send(client, b"x")
        (view,) = server.snapshot().listeners
        assert view.losses == (0, 1)
        assert view.counters.dropped == 1
        assert 0 < view.receive_buffer <= udp_module.RECEIVE_BUFFER
        assert server.snapshot().datapaths[0].losses == (0, 0)
