"""RTP packets of real encoders, as FFmpeg packs them: sent to a socket on loopback, and taken from there."""

import random
import socket
from typing import Any

import av

from turnserver.media.rtp import Header, read_header

__all__ = ["encoded", "header_of"]

_MOST = 1 << 22
"""Bytes of the socket's buffer: all packets of a stream wait there."""


def encoded(encoder: str, *, frames: int = 12, size: tuple[int, int] = (160, 120), **options: str) -> list[bytes]:
    """The packets of so many pictures that move, the first and the eighth of them keyframes."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taker:
        taker.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _MOST)
        taker.bind(("127.0.0.1", 0))
        taker.settimeout(10)
        port = taker.getsockname()[1]
        with av.open(f"rtp://127.0.0.1:{port}", "w", format="rtp", options={"strict": "experimental"}) as container:
            # By one thread: those of libvpx wait for one another without sleeping, and once they did so for good.
            own = {"g": "7", "bf": "0", "threads": "1"}
            stream: Any = container.add_stream(encoder, rate=15, options=own | options)
            stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
            for number in range(frames):
                picture = av.VideoFrame(*size, "yuv420p")
                for plane in picture.planes:
                    plane.update(random.Random(number).randbytes(plane.buffer_size))
                picture.pts = number
                for packet in stream.encode(picture):
                    container.mux(packet)
            for packet in stream.encode(None):
                container.mux(packet)
        packets: list[bytes] = []
        taker.setblocking(False)
        while True:
            try:
                packet = taker.recv(2048)
            except BlockingIOError:
                return packets
            if not 192 <= packet[1] <= 223:
                packets.append(packet)


def header_of(packet: bytes | bytearray) -> Header:
    """The header of what is a packet."""
    header = read_header(packet, len(packet))
    assert header is not None
    return header
