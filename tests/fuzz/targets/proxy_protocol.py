"""Headers of the PROXY protocol, both versions: as soon as it can be told what they are, and no later or otherwise."""

import struct
from collections.abc import Iterator

from stun.address import Address
from turnserver.transports.proxy_protocol import NoHeader, ProxyError, ProxyHeader, begins_header, read_header

__all__ = ["MAX_LENGTH", "WORDS", "run", "seeds"]

MAX_LENGTH = 300
_SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
WORDS = (_SIGNATURE, b"PROXY ", b"TCP4 ", b"TCP6 ", b"UNKNOWN", b"\r\n", b"::ffff:", b"65535", b"\x20\0\5\1\0\0\0\0")
_ADDRESSES = {0x11: bytes((192, 0, 2, 1, 198, 51, 100, 1)), 0x21: bytes(16) + bytes(15) + b"\1"}


def seeds() -> Iterator[bytes]:
    """As proxies send them, with what follows."""
    yield b"PROXY TCP4 192.0.2.1 198.51.100.1 4000 3478\r\nGET / HTTP/1.1\r\n"
    yield b"PROXY TCP6 2001:db8::1 ::1 4000 3478\r\n"
    yield b"PROXY UNKNOWN ffff:f...f:ffff ffff:f...f:ffff 65535 65535\r\n"
    yield _SIGNATURE + b"\x20\0\0\0"
    for kind, addresses in _ADDRESSES.items():
        for extensions in (b"", b"\x20\0\5\1\0\0\0\0", b"\x04\0\1x\x20\0\5\0\0\0\0\0"):
            body = addresses + struct.pack("!HH", 4000, 443) + extensions
            yield _SIGNATURE + bytes((0x21, kind)) + struct.pack("!H", len(body)) + body + b"more"


def run(data: bytes) -> None:
    """The verdict on a beginning is that on the whole, or none yet; a header is read the same without what follows."""
    verdict = _verdict(data)
    for size in range(len(data)):
        early = _verdict(data[:size])
        assert early is None or early == verdict, (size, early, verdict)
    if not isinstance(verdict, ProxyHeader):
        return
    assert begins_header(data)
    assert 0 < verdict.size <= min(len(data), 2064)
    assert _verdict(data[: verdict.size - 1]) is None
    assert 0 <= verdict.port <= 0xFFFF
    if verdict.client is not None:
        assert Address.parse(verdict.client.host, verdict.client.port) == verdict.client == verdict.client.canonical()


def _verdict(data: bytes) -> ProxyHeader | type[ProxyError] | None:
    try:
        return read_header(data)
    except NoHeader:
        return NoHeader
    except ProxyError:
        return ProxyError
