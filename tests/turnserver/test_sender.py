"""The two senders, with real sockets: what is sent arrives, in its order, and one that cannot be sent costs itself."""

import socket
from collections.abc import Callable, Iterator

import pytest

from stun.address import Address
from tests.support.datapath_world import LOOPBACKS
from turnserver import sender as module
from turnserver.batch import SLOT_SIZE, Batch, socket_name
from turnserver.net import UdpSocket, bind_udp, from_sockaddr
from turnserver.sender import BatchSender, Outbound, Sender, SingleSender, open_sender

pytestmark = pytest.mark.usefixtures("ipv6")

BUFFER = 1024 * 1024
CAPACITY = 8
MAKERS: dict[str, Callable[[int], Sender]] = {
    "batch": lambda family: BatchSender(family, CAPACITY),
    "single": lambda family: SingleSender(),
}


class Line:
    """A socket that sends, and two that receive."""

    def __init__(self, host: str, make: Callable[[int], Sender]) -> None:
        address = Address.parse(host, 0)
        made = [bind_udp(address, receive_tos=False, receive_buffer=BUFFER, send_buffer=BUFFER) for _ in range(3)]
        self.udp = UdpSocket(made[0])
        self.targets = made[1:]
        for each in self.targets:
            each.settimeout(60)
        self.addresses = [from_sockaddr(each.getsockname()) for each in self.targets]
        self.sender = make(made[0].family)

    def arrived(self, target: int, count: int) -> list[bytes]:
        found = [self.targets[target].recvfrom(65536) for _ in range(count)]
        assert {source for _, source in found} <= {self.udp.sock.getsockname()}
        return [data for data, _ in found]

    def close(self) -> None:
        self.udp.close()
        for each in self.targets:
            each.close()


@pytest.fixture(params=[(host, name) for host in LOOPBACKS for name in MAKERS], ids="-".join)
def line(request: pytest.FixtureRequest) -> Iterator[Line]:
    host, name = request.param
    made = Line(host, MAKERS[name])
    yield made
    made.close()


def numbered(line: Line, count: int) -> list[Outbound]:
    """Datagrams of many sizes, to both targets in turns."""
    return [(bytearray([number % 251]) * (number * 37 % 1400), line.addresses[number % 2]) for number in range(count)]


@pytest.mark.parametrize("count", [0, 1, CAPACITY, CAPACITY + 1, 5 * CAPACITY + 3])
def test_all_arrive_in_their_order(line: Line, count: int) -> None:
    datagrams = numbered(line, count)
    assert line.sender.send(line.udp, datagrams) == count
    for target in range(2):
        wanted = [data for data, address in datagrams if address == line.addresses[target]]
        assert line.arrived(target, len(wanted)) == wanted
    assert line.udp.packets_out == count
    assert line.udp.bytes_out == sum(len(data) for data, _ in datagrams)
    assert line.udp.dropped == 0


def test_a_batch_is_sent_as_often_as_it_is_flushed(line: Line) -> None:
    """And stays as it is; what is written into it afterwards is another datagram."""
    batch = Batch(len(line.addresses[0].ip), 4)
    assert line.sender.flush(line.udp, batch) == 0
    datagrams = numbered(line, 4)
    for data, address in datagrams:
        batch.add(data, socket_name(address))
    assert list(batch) == datagrams
    assert line.sender.flush(line.udp, batch) == 4
    assert line.sender.flush(line.udp, batch) == 4
    batch.count = 0
    batch.add(b"another", socket_name(line.addresses[0]))
    assert line.sender.flush(line.udp, batch) == 1
    assert line.arrived(0, 5) == [datagrams[0][0], datagrams[2][0]] * 2 + [b"another"]
    assert line.arrived(1, 4) == [datagrams[1][0], datagrams[3][0]] * 2
    assert (line.udp.packets_out, line.udp.dropped) == (9, 0)


def test_large_ones_keep_their_place(line: Line) -> None:
    one = line.addresses[0]
    datagrams: list[Outbound] = [(bytes(5), one), (bytes(SLOT_SIZE + 1), one), (memoryview(bytes(SLOT_SIZE)), one)]
    assert line.sender.send(line.udp, datagrams) == 3
    assert [len(data) for data in line.arrived(0, 3)] == [5, SLOT_SIZE + 1, SLOT_SIZE]


def test_one_that_is_refused_costs_itself(line: Line) -> None:
    """Nothing can be sent to port 0; what comes before and after it arrives."""
    one = line.addresses[0]
    nowhere = Address(one.ip, 0)
    datagrams: list[Outbound] = [(bytes([number]), nowhere if number in {0, 3, 4, 9} else one) for number in range(10)]
    assert line.sender.send(line.udp, datagrams) == 6
    assert line.arrived(0, 6) == [bytes([number]) for number in (1, 2, 5, 6, 7, 8)]
    assert (line.udp.packets_out, line.udp.bytes_out, line.udp.dropped) == (6, 6, 4)


def test_a_full_buffer_drops(line: Line) -> None:
    """And says how much; nothing waits."""
    line.udp.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)
    sent = line.sender.send(line.udp, [(bytes(1400), line.addresses[0])] * 500)
    batch = Batch(len(line.addresses[0].ip), CAPACITY)
    for _ in range(CAPACITY):
        batch.add(bytes(1400), socket_name(line.addresses[0]))
    for _ in range(20):
        sent += line.sender.flush(line.udp, batch)
    assert line.udp.packets_out == sent
    assert line.udp.dropped == 500 + 20 * CAPACITY - sent


def test_a_closed_socket_drops_everything(line: Line) -> None:
    line.udp.close()
    assert line.sender.send(line.udp, numbered(line, 20)) == 0
    assert line.udp.dropped == 20


def test_another_family_is_refused(line: Line) -> None:
    other = Address.parse("::1" if len(line.addresses[0].ip) == 4 else "127.0.0.1", 9)
    assert line.sender.send(line.udp, [(b"x", other), (b"y", line.addresses[0])]) == 1
    assert line.arrived(0, 1) == [b"y"]


def test_addresses_are_not_remembered_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MOST_NAMES", 2)
    line = Line("127.0.0.1", MAKERS["batch"])
    assert line.sender.send(line.udp, numbered(line, 9)) == 9
    assert line.sender.send(line.udp, [(b"", Address(b"\x7f\0\0\1", port)) for port in range(1000, 1010)]) == 10
    assert isinstance(line.sender, BatchSender)
    assert len(line.sender._known) <= 2
    line.close()


def test_the_trial_chooses(monkeypatch: pytest.MonkeyPatch) -> None:
    assert isinstance(open_sender(socket.AF_INET, CAPACITY), BatchSender)
    monkeypatch.setattr(module.sys, "platform", "other")
    module._has_batches.cache_clear()
    assert isinstance(open_sender(socket.AF_INET, CAPACITY), SingleSender)
    module._has_batches.cache_clear()
