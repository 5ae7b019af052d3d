"""The two receivers, with real sockets: they give the same, and what they give is what was sent."""

import gc
import socket
from collections.abc import Callable, Iterator

import pytest

from stun.address import Address
from tests.support.datapath_world import LOOPBACKS
from turnserver import receiver as module
from turnserver.net import UdpSocket, bind_udp, from_sockaddr, set_tos, to_sockaddr
from turnserver.receiver import (
    HEADROOM,
    BatchReceiver,
    Receiver,
    SingleReceiver,
    Source,
    from_source,
    open_receiver,
    to_source,
)

pytestmark = pytest.mark.usefixtures("ipv6")

BUFFER = 1024 * 1024
CAPACITY = 8
MAKERS: dict[str, Callable[[int], Receiver]] = {
    "batch": lambda family: BatchReceiver(family, CAPACITY),
    "single": lambda family: SingleReceiver(CAPACITY),
}


def bound(host: str, *, receive_tos: bool = True) -> UdpSocket:
    return UdpSocket(
        bind_udp(Address.parse(host, 0), receive_tos=receive_tos, receive_buffer=BUFFER, send_buffer=BUFFER)
    )


class Line:
    """A receiver with a socket to receive at and two to send from."""

    def __init__(self, host: str, make: Callable[[int], Receiver], *, receive_tos: bool = True) -> None:
        self.near, self.far, self.other = (bound(host, receive_tos=receive_tos) for _ in range(3))
        self.family = self.near.sock.family
        self.receiver = make(self.family)
        self.address = self.near.sock.getsockname()

    def send(self, data: bytes, tos: int = 0) -> None:
        assert self.far.to(self.address).send(data, tos)

    def one(self) -> tuple[bytes, Source, int] | None:
        received = self.receiver.one(self.near)
        if received is None:
            return None
        size, source, tos = received
        return bytes(self.receiver.frame[HEADROOM : HEADROOM + size]), source, tos

    def burst(self, limit: int = CAPACITY) -> list[tuple[bytes, Source, int]]:
        burst = self.receiver.burst(self.near, limit)
        return [(bytes(frame[HEADROOM : HEADROOM + size]), *record) for frame, (size,), record in burst]

    def close(self) -> None:
        for link in (self.near, self.far, self.other):
            link.close()


def source_of(link: UdpSocket) -> Source:
    return to_source(from_sockaddr(link.sock.getsockname()))


@pytest.fixture(params=LOOPBACKS)
def host(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=list(MAKERS))
def make(request: pytest.FixtureRequest) -> Callable[[int], Receiver]:
    return MAKERS[request.param]


@pytest.fixture
def line(host: str, make: Callable[[int], Receiver]) -> Iterator[Line]:
    made = Line(host, make)
    yield made
    made.close()


@pytest.mark.parametrize("text", ["192.0.2.1", "0.0.0.0", "255.255.255.255", "2001:db8::1", "::1", "::"])
@pytest.mark.parametrize("port", [0, 1, 258, 65535])
def test_addresses_become_sources_and_back(text: str, port: int) -> None:
    """RFC 8656 §3.2: a 5-tuple is found by where a datagram came from."""
    address = Address.parse(text, port)
    assert from_source(to_source(address)) == address


def test_a_zone_makes_another_source_of_the_same_address() -> None:
    """A link-local address means nothing without its zone, which TURN cannot say: no route ever fits it."""
    source = to_source(Address.parse("fe80::1", 9))
    zoned = source[:-4] + (2).to_bytes(4, "little")
    assert zoned != source
    assert from_source(zoned) == Address.parse("fe80::1", 9)


def test_one_datagram_comes_with_its_size_source_and_mark(line: Line) -> None:
    """RFC 8656 §14, rule 27: the octet of this very datagram, whatever the one before had."""
    for data, tos in ((b"hello", 0xB8), (b"", 0), (b"x", 0x03), (bytes(65507), 0xFF), (b"again", 0)):
        line.send(data, tos)
        assert line.one() == (data, source_of(line.far), tos)
    assert line.one() is None


def test_a_burst_comes_in_order_each_with_its_own(line: Line) -> None:
    """RFC 8656 §14, rule 27: in one call, and still nothing of one datagram is told of another."""
    sent = [(bytes([number]) * (number * 97), 4 * number | number % 4) for number in range(CAPACITY)]
    for data, tos in sent:
        line.send(data, tos)
    assert line.burst() == [(data, source_of(line.far), tos) for data, tos in sent]
    assert line.burst() == []


def test_sources_do_not_mix(line: Line) -> None:
    """RFC 8656 §3.2: who sent it decides whose it is."""
    line.send(b"one")
    assert line.other.to(line.address).send(b"two", 0x28)
    line.send(b"three")
    far, other = source_of(line.far), source_of(line.other)
    assert line.burst() == [(b"one", far, 0), (b"two", other, 0x28), (b"three", far, 0)]


def test_a_burst_is_bounded_by_whoever_asks_and_by_the_room(line: Line) -> None:
    """No socket keeps the loop for itself, nothing is read twice, and nothing is lost."""
    for number in range(2 * CAPACITY + 5):
        line.send(b"%d" % number)
    counts = [line.burst(3), line.burst(1), line.burst(100), line.burst(), line.burst()]
    assert [len(burst) for burst in counts] == [3, 1, CAPACITY, CAPACITY, 1]
    assert [data for burst in counts for data, _, _ in burst] == [b"%d" % n for n in range(2 * CAPACITY + 5)]


@pytest.mark.parametrize("size", [0, 1, 1200, 65507])
def test_datagrams_of_every_size_come_whole_into_every_place(line: Line, size: int) -> None:
    """RFC 8656 §11.6, §12.6: an empty datagram is one too, and the largest is not cut."""
    payloads = [bytes([number]) * size for number in range(3)]
    for payload in payloads:
        line.send(payload)
    assert [data for data, _, _ in line.burst()] == payloads


def test_there_is_room_for_a_header_and_for_padding(line: Line) -> None:
    """RFC 8656 §12.4, §12.5: ChannelData is made where the datagram lies, even of the largest."""
    line.send(b"x" * 65507)
    line.send(b"y" * 65507)
    for (frame, (size,), _), wanted in zip(line.receiver.burst(line.near, 2), (b"x", b"y"), strict=True):
        frame[:HEADROOM] = b"head"
        frame[HEADROOM + size : HEADROOM + size + 3] = b"pad"
        assert bytes(frame[: HEADROOM + size + 3]) == b"head" + wanted * size + b"pad"


def test_two_sockets_take_turns_at_one_receiver(line: Line) -> None:
    """All relays of a family share one: what it says is of the socket it was asked about."""
    for _ in range(3):
        line.send(b"to near", 0xB8)
        assert line.far.to(line.other.sock.getsockname()).send(b"to other", 0x02)
        assert line.one() == (b"to near", source_of(line.far), 0xB8)
        [(frame, (size,), record)] = line.receiver.burst(line.other, CAPACITY)
        assert (bytes(frame[HEADROOM : HEADROOM + size]), record) == (b"to other", (source_of(line.far), 0x02))


def test_a_socket_that_does_not_ask_has_no_marks(host: str, make: Callable[[int], Receiver]) -> None:
    """RFC 8656 §14: the alternate behaviour, zero."""
    line = Line(host, make, receive_tos=False)
    for _ in range(3):
        line.send(b"a", 0xB8)
        line.send(b"b", 0x03)
        assert line.one() == (b"a", source_of(line.far), 0)
        assert line.burst() == [(b"b", source_of(line.far), 0)]
    line.close()


def test_an_error_is_used_up_and_hides_nothing(line: Line) -> None:
    """Rule 25: an ICMP error is reported at most once; what waits behind it is read the next time."""
    option = (socket.IPPROTO_IP, 11) if line.family == socket.AF_INET else (socket.IPPROTO_IPV6, 25)
    line.near.sock.setsockopt(*option, 1)
    nobody = line.other.sock.getsockname()
    line.other.close()
    for read in (lambda: [line.one()], line.burst):
        assert line.near.to(nobody).send(b"anyone?")
        line.send(b"hello")
        found = [received for _ in range(3) for received in read() if received is not None]
        assert found == [(b"hello", source_of(line.far), 0)]


def test_a_closed_socket_has_nothing(line: Line) -> None:
    """Its descriptor may be somebody else's by now, and must not be read."""
    descriptor = line.near.sock.fileno()
    line.near.close()
    with socket.socket(line.family, socket.SOCK_DGRAM) as heir:
        heir.setblocking(False)
        heir.bind(line.address)
        assert heir.fileno() == descriptor
        line.send(b"for the heir")
        assert line.one() is None
        assert line.burst() == []
        assert heir.recv(100) == b"for the heir"


def test_the_memory_outlives_everything_but_the_receiver(line: Line) -> None:
    """The kernel writes to addresses: nothing they point to may be collected or moved."""
    gc.collect()
    filler = [bytearray(1000) for _ in range(1000)]
    for number in range(3 * CAPACITY):
        line.send(bytes([number]) * 500, number * 4)
    got = [datagram for _ in range(3) for datagram in line.burst()]
    assert got == [(bytes([number]) * 500, source_of(line.far), number * 4) for number in range(3 * CAPACITY)]
    assert not any(map(any, filler))


# Which of the two


@pytest.fixture
def fresh_trial() -> Iterator[None]:
    module._has_batches.cache_clear()
    yield
    module._has_batches.cache_clear()


@pytest.mark.usefixtures("fresh_trial")
def test_a_trial_tells_which_receiver_is_right(host: str) -> None:
    """On 64-bit Linux it is the quick one."""
    family = socket.AF_INET if host == "127.0.0.1" else socket.AF_INET6
    assert isinstance(open_receiver(family, 4), BatchReceiver)
    assert open_receiver(family, 4) is not open_receiver(family, 4)


def refused(*arguments: object) -> int:
    return -1


def absent() -> None:
    raise AttributeError("undefined symbol: recvmmsg")


@pytest.mark.usefixtures("fresh_trial")
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("_system_calls", lambda: (refused, refused)),
        ("_system_calls", absent),
        ("set_tos", lambda *arguments: None),
    ],
    ids=["refused", "absent", "wrong marks"],
)
def test_where_the_trial_fails_datagrams_are_read_one_by_one(
    monkeypatch: pytest.MonkeyPatch, name: str, value: object
) -> None:
    """A sandbox, another C library, another layout: slower, and otherwise the same."""
    monkeypatch.setattr(module, name, value)
    assert isinstance(open_receiver(socket.AF_INET, 4), SingleReceiver)


@pytest.mark.usefixtures("fresh_trial")
def test_other_platforms_are_not_even_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory is only handed to a kernel whose structures are known."""
    monkeypatch.setattr(module.sys, "platform", "darwin")
    monkeypatch.setattr(module, "_trial", lambda family: True)
    assert isinstance(open_receiver(socket.AF_INET, 4), SingleReceiver)


def test_both_name_a_source_alike(host: str) -> None:
    """Routes are found by the source, whichever receiver said it."""
    lines = [Line(host, make) for make in MAKERS.values()]
    for line in lines:
        line.send(b"x")
        [(_, source, _)] = line.burst()
        assert to_sockaddr(from_source(source))[:2] == line.far.sock.getsockname()[:2]
        assert {to_source(from_source(source)): "found"}[source] == "found"
        line.close()


def test_marks_of_every_value(line: Line) -> None:
    """RFC 8656 §14: all of the octet, and nothing but it."""
    for tos in range(256):
        set_tos(line.far.sock, tos)
        line.far.sock.sendto(b"", line.address)
        assert line.one() == (b"", source_of(line.far), tos)
