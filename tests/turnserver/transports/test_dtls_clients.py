"""Handshakes and paths, for themselves; with sockets in test_dtls.py."""

import asyncio
import math
import socket
from typing import Any

from stun.address import Address
from tests.support.limits import limits
from turnserver.core.types import ClientTransport, FiveTuple
from turnserver.net import UdpSocket, bind_udp, from_sockaddr
from turnserver.receiver import to_source
from turnserver.transports.dtls_clients import DtlsCounters, DtlsHandshake, DtlsPath
from turnserver.transports.limits import ConnectionLimiter


class Session:
    """Seals by a prefix; what is longer than ten bytes is too long."""

    def seal(self, message: bytes) -> bytes | None:
        return b"#" + message if len(message) <= 10 else None

    def flight(self) -> list[bytes]:
        return [b"one", b"two"]


async def test_a_path_counts_what_it_sends() -> None:
    """In frames and their bytes; what has no record is dropped, and what the socket refuses is counted there."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as far:
        far.bind(("127.0.0.1", 0))
        there = from_sockaddr(far.getsockname())
        near = UdpSocket(
            bind_udp(Address.parse("127.0.0.1", 0), receive_tos=False, receive_buffer=65536, send_buffer=65536)
        )
        slot = ConnectionLimiter(limits()).admit(socket=False)
        assert slot is not None
        session: Any = Session()
        destination = near.to(far.getsockname())
        handshake = DtlsHandshake(to_source(there), destination, session, slot, random=b"r", deadline=5.0)
        handshake.flush()
        assert [far.recv(9), far.recv(9)] == [b"one", b"two"]
        handshake.timer = timer = asyncio.get_running_loop().call_later(60, print)
        handshake.stop()
        handshake.stop()
        assert timer.cancelled()
        counters = DtlsCounters()
        client = FiveTuple(ClientTransport.DTLS, there, there, 0, 1)
        path = DtlsPath(client, handshake, counters, 7.0)
        assert (path.random, path.idle_deadline, path.kept) == (b"r", 7.0, False)
        path.keep(True, 8.0)
        assert (path.idle_deadline, path.kept) == (math.inf, True)
        path.keep(False, 9.0)
        assert (path.idle_deadline, path.kept) == (9.0, False)
        assert path.send(b"frame")
        assert not path.send(bytes(11))
        assert path.send_run([b"abc", b"def", b"ghi"])
        assert path.send_run([bytes(11)])
        assert [far.recv(9) for _ in range(4)] == [b"#frame", b"#abc", b"#def", b"#ghi"]
        assert (counters.packets_out, counters.bytes_out, counters.dropped) == (4, 14, 2)
        near.close()
        assert not path.send(b"frame")
        assert path.send_run([b"abc"])
        assert (counters.packets_out, counters.dropped, near.dropped) == (4, 2, 2)
