"""Addresses as sockets have them, and UDP sockets that count and retry."""

import contextlib
import errno
import socket
from collections.abc import Iterator

import ifaddr
import pytest

from stun.address import Address
from tests.support.datapath_world import LOOPBACKS, TIMEOUT
from tests.support.netns import NetworkNamespace
from turnserver.net import (
    DONT_FRAGMENT,
    TOS_BYTE,
    UdpSocket,
    bind_udp,
    from_sockaddr,
    local_addresses,
    to_sockaddr,
)

pytestmark = pytest.mark.usefixtures("ipv6")

BUFFER = 65536
SO_EE_QUEUE_ON = {socket.AF_INET: (socket.IPPROTO_IP, 11), socket.AF_INET6: (socket.IPPROTO_IPV6, 25)}


def bound(host: str, *, receive_tos: bool = False) -> UdpSocket:
    sock = bind_udp(Address.parse(host, 0), receive_tos=receive_tos, receive_buffer=BUFFER, send_buffer=BUFFER)
    return UdpSocket(sock)


def receive(link: UdpSocket, limit: int = 64) -> list[bytes]:
    """What waits at a socket, up to ``limit`` datagrams."""
    datagrams: list[bytes] = []
    with contextlib.suppress(OSError):
        datagrams.extend(link.sock.recv(65535) for _ in range(limit))
    return datagrams


def receive_marks(link: UdpSocket) -> list[int]:
    """The TOS of everything that waits."""
    marks: list[int] = []
    with contextlib.suppress(OSError):
        while True:
            marks.append(link.sock.recvmsg(65535, 64)[1][0][2][TOS_BYTE])
    return marks


def address_of(link: UdpSocket) -> tuple[str, int]:
    return link.sock.getsockname()


@pytest.fixture(params=LOOPBACKS)
def pair(request: pytest.FixtureRequest) -> Iterator[tuple[UdpSocket, UdpSocket]]:
    one, other = bound(request.param), bound(request.param)
    yield one, other
    one.close()
    other.close()


@pytest.mark.parametrize("host", ["192.0.2.1", "0.0.0.0", "2001:db8::1", "::1", "::"])
def test_addresses_go_to_sockets_and_back(host: str) -> None:
    """An address is the same after a trip through its socket form."""
    address = Address.parse(host, 3478)
    assert from_sockaddr(to_sockaddr(address)) == address


@pytest.mark.parametrize("host", LOOPBACKS)
def test_a_sockaddr_is_the_key_that_recvfrom_returns(host: str) -> None:
    """Routes are found by what the socket returned, so both must be one dictionary key."""
    one, other = bound(host), bound(host)
    one.to(address_of(other)).send(b"hello")
    _, source = other.sock.recvfrom(65535)
    assert {to_sockaddr(from_sockaddr(source)): "found"}[source] == "found"
    assert source == to_sockaddr(Address.parse(host, address_of(one)[1]))


def test_a_zone_is_left_out() -> None:
    """A link-local address has no zone in TURN."""
    assert from_sockaddr(("fe80::1%eth0", 9, 0, 2)) == Address.parse("fe80::1", 9)


def test_local_addresses_are_those_one_can_bind_to() -> None:
    """Rule 23: a wildcard is expanded into addresses, a socket each."""
    found = local_addresses()
    assert Address.parse("127.0.0.1", 0).ip in found
    assert Address.parse("::1", 0).ip in found
    assert len(found) == len(set(found))
    for ip in found:
        bind_udp(Address(ip, 0), receive_tos=False, receive_buffer=BUFFER, send_buffer=BUFFER).close()


def test_local_addresses_skip_link_local_and_doubles(monkeypatch: pytest.MonkeyPatch) -> None:
    """fe80::/10 needs a zone, which no client has; an address on two interfaces is one address."""
    ips = [
        ifaddr.IP("10.0.0.1", 8, "a"),
        ifaddr.IP(("fe80::1", 0, 2), 64, "a"),
        ifaddr.IP(("febf::1", 0, 2), 64, "a"),
        ifaddr.IP(("2001:db8::1", 0, 0), 64, "a"),
    ]
    adapters = [ifaddr.Adapter(name, name, ips) for name in ("a", "b")]
    monkeypatch.setattr(ifaddr, "get_adapters", lambda: adapters)
    assert local_addresses() == [Address.parse("10.0.0.1", 0).ip, Address.parse("2001:db8::1", 0).ip]


def test_an_ipv6_socket_leaves_ipv4_alone() -> None:
    """Rule 23: IPV6_V6ONLY and two sockets, on one port."""
    six = bind_udp(Address.parse("::", 0), receive_tos=False, receive_buffer=BUFFER, send_buffer=BUFFER)
    port = six.getsockname()[1]
    four = bind_udp(Address.parse("0.0.0.0", port), receive_tos=False, receive_buffer=BUFFER, send_buffer=BUFFER)
    assert four.getsockname() == ("0.0.0.0", port)
    four.close()
    six.close()


def test_a_port_in_use_is_an_error() -> None:
    """Two servers on one port must not share its packets."""
    first = bound("127.0.0.1")
    taken = Address.parse("127.0.0.1", address_of(first)[1])
    with pytest.raises(OSError, match="in use") as caught:
        bind_udp(taken, receive_tos=False, receive_buffer=BUFFER, send_buffer=BUFFER)
    assert caught.value.errno == errno.EADDRINUSE
    first.close()


def test_what_is_sent_arrives_and_is_counted(pair: tuple[UdpSocket, UdpSocket]) -> None:
    """Rule 25: packets and bytes of payload, each once."""
    one, other = pair
    for number in range(5):
        assert one.to(address_of(other)).send(b"%d" % number)
    assert receive(other) == [b"0", b"1", b"2", b"3", b"4"]
    assert (one.packets_out, one.bytes_out, one.dropped) == (5, 5, 0)


@pytest.mark.parametrize("size", [0, 1, 1200, 65507])
def test_datagrams_of_every_size_pass_whole(pair: tuple[UdpSocket, UdpSocket], size: int) -> None:
    """RFC 8656 §11.6, §12.6: an empty datagram is one too, and the largest is not cut."""
    one, other = pair
    assert one.to(address_of(other)).send(bytes(size))
    assert receive(other) == [bytes(size)]


@pytest.mark.parametrize("payload", [b"", b"x", b"some"])
def test_a_datagram_that_waits_is_seen_and_stays(pair: tuple[UdpSocket, UdpSocket], payload: bytes) -> None:
    """An empty one as well."""
    one, other = pair
    assert not other.has_datagram()
    assert one.to(address_of(other)).send(payload)
    assert other.has_datagram()
    assert receive(other) == [payload]
    assert not other.has_datagram()


def test_a_datagram_larger_than_udp_is_dropped_and_counted(pair: tuple[UdpSocket, UdpSocket]) -> None:
    """Rule 25: EMSGSIZE is the datagram's own failure."""
    one, other = pair
    assert not one.to(address_of(other)).send(bytes(65528))
    assert one.to(address_of(other)).send(b"next")
    assert (one.packets_out, one.dropped) == (1, 1)


def test_a_run_arrives_as_the_datagrams_it_was(pair: tuple[UdpSocket, UdpSocket]) -> None:
    """RFC 8656 §12.6: one system call, but one datagram for each."""
    one, other = pair
    run = [bytes([number]) * 1000 for number in range(32)]
    if not one.segments:
        pytest.skip("this kernel has no UDP_SEGMENT")
    assert one.to(address_of(other)).send_run(run)
    assert receive(other) == run
    assert (one.packets_out, one.bytes_out, one.dropped) == (32, 32000, 0)


@pytest.mark.parametrize(
    "run", [[b"", b""], [bytes(1453)] * 2, [bytes(1400)] * 60], ids=["empty", "wider than Ethernet", "too much"]
)
def test_a_run_that_cannot_be_one_call_is_refused_whole(pair: tuple[UdpSocket, UdpSocket], run: list[bytes]) -> None:
    """Nothing of it is sent or counted: the caller sends the datagrams one by one."""
    one, other = pair
    assert not one.to(address_of(other)).send_run(run)
    assert receive(other) == []
    assert (one.packets_out, one.bytes_out, one.dropped) == (0, 0, 0)


def test_a_run_is_refused_where_the_kernel_cannot_cut(pair: tuple[UdpSocket, UdpSocket]) -> None:
    """On other kernels datagrams go one by one."""
    one, other = pair
    one.segments = False
    assert not one.to(address_of(other)).send_run([b"a", b"b"])
    assert receive(other) == []


def test_an_error_left_over_from_one_peer_costs_another_nothing(pair: tuple[UdpSocket, UdpSocket]) -> None:
    """Rule 25: ECONNREFUSED from a dead peer is reported by the next send, which is to somebody else."""
    one, other = pair
    one.sock.setsockopt(*SO_EE_QUEUE_ON[one.sock.family], 1)
    dead = bound(address_of(one)[0])
    nobody = address_of(dead)
    dead.close()
    for number in range(10):
        one.to(nobody).send(b"anyone?")
        assert one.to(address_of(other)).send(b"%d" % number)
    assert receive(other) == [b"%d" % number for number in range(10)]
    assert one.dropped == 0


def test_an_error_of_its_own_drops_the_datagram(pair: tuple[UdpSocket, UdpSocket]) -> None:
    """Rule 25: an address of the wrong family cannot be sent to; the socket goes on."""
    one, other = pair
    assert not one.to(("127.0.0.1", 0)).send(b"x")
    assert one.dropped == 1
    assert one.to(address_of(other)).send(b"y")


def test_after_the_end_everything_is_dropped(pair: tuple[UdpSocket, UdpSocket]) -> None:
    """A closed socket is no exception either."""
    one, other = pair
    one.close()
    assert not one.to(address_of(other)).send(b"x", 0xB8)
    assert not one.to(address_of(other)).send_run([b"x", b"y"], DONT_FRAGMENT)
    assert receive(one) == []
    assert one.dropped == 1


@pytest.mark.parametrize("host", LOOPBACKS)
def test_dscp_and_ecn_are_sent_and_seen(host: str) -> None:
    """RFC 8656 §14: every value of the octet, and the change back to zero."""
    one, other = bound(host), bound(host, receive_tos=True)
    wanted = [0, 0xB8, 0xB9, 0xB9, 0, 0x03, 0xFF, 0]
    for tos in wanted:
        assert one.to(address_of(other)).send(b"x", tos)
    assert receive_marks(other) == wanted
    assert one.to(address_of(other)).send_run([b"a", b"b"], 0x88) or not one.segments
    assert set(receive_marks(other)) <= {0x88}
    one.close()
    other.close()


@pytest.mark.parametrize("host", LOOPBACKS)
@pytest.mark.process
def test_dont_fragment_is_kept_to_the_datagram_that_asks(host: str) -> None:
    """RFC 8656 §14: with DF a datagram wider than the link is refused; without, before and after, it is fragmented."""
    with NetworkNamespace() as inside:
        inside.ip("link set lo mtu 1280")
        with inside.entered():
            one, other = bound(host), bound(host)
    wide = bytes(2000)
    other.sock.settimeout(TIMEOUT)
    for _ in range(2):
        assert one.to(address_of(other)).send(wide)
        assert other.sock.recv(65535) == wide
        assert not one.to(address_of(other)).send(wide, DONT_FRAGMENT)
    assert one.to(address_of(other)).send(bytes(1200), DONT_FRAGMENT)
    assert other.sock.recv(65535) == bytes(1200)
    assert one.dropped == 2
    one.close()
    other.close()


@pytest.mark.process
def test_a_run_wider_than_the_link_is_refused_whole() -> None:
    """A segment must fit the link; such datagrams go one by one, in fragments."""
    with NetworkNamespace() as inside:
        inside.ip("link set lo mtu 1280")
        with inside.entered():
            one, other = bound("127.0.0.1"), bound("127.0.0.1")
    assert not one.to(address_of(other)).send_run([bytes(1400)] * 2)
    assert one.to(address_of(other)).send(bytes(1400))
    one.close()
    other.close()


@pytest.mark.process
def test_a_full_send_buffer_drops_and_counts() -> None:
    """Rule 25: EAGAIN on send drops the datagram; nothing waits."""
    with NetworkNamespace() as inside:
        inside.tc("qdisc add dev lo root tbf rate 8kbit burst 2000 limit 100000000")
        with inside.entered():
            one, other = bound("127.0.0.1"), bound("127.0.0.1")
        sent = [one.to(address_of(other)).send(bytes(1000)) for _ in range(500)]
    assert sent[0] is True
    assert sent[-1] is False
    assert one.packets_out == sent.count(True)
    assert one.dropped == sent.count(False)
    assert not one.to(address_of(other)).send_run([bytes(1000)] * 2)
    assert one.dropped == sent.count(False)
    one.close()
    other.close()
