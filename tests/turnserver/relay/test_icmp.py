"""Which entries of a socket's error queue become an ICMP attribute."""

import socket
import struct

import pytest

from stun.address import Address
from tests.support.datapath_world import LOOPBACKS
from turnserver.net import bind_udp
from turnserver.relay.icmp import IcmpError, enable_errors, parse_error, read_errors

pytestmark = pytest.mark.usefixtures("ipv6")

IPV4, IPV6, LOCAL = 2, 3, 1
PEER = ("192.0.2.7", 4000)


def entry(origin: int, kind: int, code: int, info: int = 1280) -> list[tuple[int, int, bytes]]:
    value = struct.pack("=IBBBBII", 111, origin, kind, code, 0, info, 7) + bytes(16)
    level = (socket.IPPROTO_IPV6, 25) if origin == IPV6 else (socket.IPPROTO_IP, 11)
    return [(*level, value)]


@pytest.mark.parametrize(
    ("origin", "kind", "passed"),
    [(IPV4, kind, kind in (3, 11)) for kind in range(19)] + [(IPV6, kind, kind in (1, 2, 3)) for kind in range(8)],
)
def test_only_these_types_are_passed_on(origin: int, kind: int, passed: bool) -> None:
    """RFC 8656 §11.5: type 3 or 11 for ICMPv4, 1, 2 or 3 for ICMPv6; others are silently dropped."""
    assert (parse_error(entry(origin, kind, 1), PEER) is not None) is passed


@pytest.mark.parametrize(
    ("origin", "kind", "code", "data"),
    [(IPV4, 3, 4, 1280), (IPV4, 3, 3, 0), (IPV4, 11, 0, 0), (IPV6, 2, 0, 1280), (IPV6, 1, 4, 0), (IPV6, 3, 0, 0)],
)
def test_error_data_is_the_mtu_or_zero(origin: int, kind: int, code: int, data: int) -> None:
    """RFC 8656 §18.13: Error Data is the next hop's MTU for 'too big', and zero for everything else."""
    assert parse_error(entry(origin, kind, code), PEER) == IcmpError(PEER, kind, code, data)


@pytest.mark.parametrize(
    "ancillary",
    [
        [],
        entry(LOCAL, 3, 4),
        entry(0, 3, 3),
        [(socket.IPPROTO_IP, socket.IP_TOS, b"\xb8")],
        [(socket.IPPROTO_IP, 11, b"short")],
    ],
    ids=["nothing", "local", "no origin", "another message", "cut off"],
)
def test_what_is_no_icmp_error_is_ignored(ancillary: list[tuple[int, int, bytes]]) -> None:
    """RFC 8656 §11.5 is about ICMP packets: this host's own EMSGSIZE is none."""
    assert parse_error(ancillary, PEER) is None


def test_the_error_is_found_beside_other_messages() -> None:
    """With the TOS received too, the error is the second message."""
    ancillary = [(socket.IPPROTO_IP, socket.IP_TOS, b"\xb8"), *entry(IPV4, 3, 1)]
    assert parse_error(ancillary, PEER) == IcmpError(PEER, 3, 1, 0)


@pytest.mark.parametrize(("host", "kind", "code"), [("127.0.0.1", 3, 3), ("::1", 1, 4)])
def test_the_queue_names_the_peer_of_each_failure(host: str, kind: int, code: int) -> None:
    """RFC 8656 §11.5: the destination is taken from the packet inside the ICMP packet."""
    sock = bind_udp(Address.parse(host, 0), receive_tos=True, receive_buffer=65536, send_buffer=65536)
    assert enable_errors(sock)
    with bind_udp(Address.parse(host, 0), receive_tos=False, receive_buffer=65536, send_buffer=65536) as dead:
        nobody = dead.getsockname()
    for _ in range(3):
        sock.sendto(b"anyone?", nobody)
        sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    assert read_errors(sock, 2) == [IcmpError(nobody, kind, code, 0)] * 2
    assert read_errors(sock, 2) == [IcmpError(nobody, kind, code, 0)]
    assert read_errors(sock, 2) == []
    sock.close()
    assert read_errors(sock, 2) == []


@pytest.mark.parametrize("host", LOOPBACKS)
def test_reading_the_queue_ends_the_pending_error(host: str) -> None:
    """Otherwise the socket would stay signalled, and the loop spin."""
    sock = bind_udp(Address.parse(host, 0), receive_tos=False, receive_buffer=65536, send_buffer=65536)
    enable_errors(sock)
    with bind_udp(Address.parse(host, 0), receive_tos=False, receive_buffer=65536, send_buffer=65536) as dead:
        nobody = dead.getsockname()
    sock.sendto(b"anyone?", nobody)
    assert len(read_errors(sock, 8)) == 1
    assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0
    with pytest.raises(BlockingIOError):
        sock.recv(1)
    sock.close()
