"""Frames over UDP, TCP and TLS, with the real server."""

import select
import socket
import threading

import pytest
from scapy.packet import Packet, Raw

from scapy_turn import ChannelData, StunMessage, StunXorMappedAddress
from scapy_turn.wire import Bell, Wire
from tests.support.server import TurnServerProcess


@pytest.mark.parametrize("transport", ["udp", "tcp", "tls"])
def test_a_request_and_its_answer(server: TurnServerProcess, transport: str) -> None:
    with Wire(("127.0.0.1", server.ports[transport]), transport) as wire:
        assert wire.server == ("127.0.0.1", server.ports[transport])
        for _ in range(3):
            (answer,) = wire.exchange(StunMessage(), 30)
            mapped = answer.attribute(StunXorMappedAddress)
            assert (mapped.address, mapped.port) == wire.local


def test_a_request_that_comes_back_is_no_answer() -> None:
    """As from an echo server: it has the transaction, and is a request."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as echo:
        echo.bind(("127.0.0.1", 0))
        with Wire(echo.getsockname()) as wire:
            asked = StunMessage()
            answers: list[list[Packet]] = []
            asking = threading.Thread(target=lambda: answers.append(wire.exchange(asked, 1, resend=False)))
            asking.start()
            data, client = echo.recvfrom(2000)
            echo.sendto(data, client)
            asking.join()
            assert answers == [[]]


def test_nobody_is_there() -> None:
    """ICMP errors are no answers, and neither is silence; what is no connection is an error."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as closed:
        closed.bind(("127.0.0.1", 0))
        address = closed.getsockname()
    with Wire(address) as wire:
        assert wire.exchange(StunMessage(), 0.2) == []
    with pytest.raises(OSError, match="refused"):
        Wire(address, "tcp")


def test_streams_are_cut_into_frames() -> None:
    """However they come; and padded when they go (RFC 8656 §12.5)."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        wire = Wire(listener.getsockname()[:2], "tcp")
        far, _ = listener.accept()
        with wire, far:
            frames = [bytes(StunMessage()), bytes(ChannelData(padding=b"\0\0\0") / Raw(b"a")), bytes(StunMessage())]
            for byte in b"".join(frames)[:-1]:
                far.sendall(bytes([byte]))
            found: list[bytes] = []
            while len(found) < 2:
                found += wire.wait(30)
            far.sendall(frames[-1][-1:])
            assert found + wire.wait(30) == frames
            wire.send(ChannelData() / Raw(b"abcde"))
            assert far.recv(100) == b"\x40\0\0\5abcde\0\0\0"
            far.sendall(b"SSH-2.0-x")
            far.shutdown(socket.SHUT_WR)
            assert wire.wait(30) == [b"SSH-2.0-x"]
            with pytest.raises(EOFError):
                wire.wait(30)


def test_bells() -> None:
    bell = Bell()
    bell.ring()
    assert select.select([bell], [], [], 0)[0]
    bell.clear()
    assert not select.select([bell], [], [], 0)[0]
    bell.close()
