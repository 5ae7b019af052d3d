"""URIs of STUN and TURN servers: read or refused with a sentence, and written so that they are read as the same."""

from collections.abc import Iterator

from stun.uri import InvalidUri, StunUri

__all__ = ["MAX_LENGTH", "WORDS", "run", "seeds"]

MAX_LENGTH = 200
WORDS = (b"stun:", b"turns:", b"?transport=", b"udp", b"tcp", b"[::1]", b"%C3%A9", b":5349", b"127.0.0.1")


def seeds() -> Iterator[bytes]:
    """One of every form."""
    yield b"stun:example.org"
    yield b"stuns:[2001:db8::1]:5349"
    yield b"turn:192.0.2.1:3478?transport=udp"
    yield b"turns:%C3%A9xample.org?transport=tcp"
    yield b"turn:a~b!$&'()*+,;=c?transport=quic"


def run(data: bytes) -> None:
    """Nothing but `InvalidUri`; and what is read stays the same."""
    try:
        uri = StunUri.parse(data.decode("utf-8", "surrogateescape"))
    except InvalidUri:
        return
    assert StunUri.parse(str(uri)) == uri
    assert 1 <= uri.port <= 65535
    assert uri.host
    str(uri).encode("ascii")
