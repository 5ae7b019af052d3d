"""Telling protocols apart by their first bytes."""

import pytest

from tests.support.stream_world import BINDING, channel_data
from turnserver.transports.sniff import Speech, sniff

SPOKEN = [
    (BINDING, Speech.STUN),
    (b"\x01\x01" + BINDING[2:], Speech.STUN),
    (b"GET / HTTP/1.1\r\n\r\n", Speech.HTTP),
    (b"OPTIONS * HTTP/1.1\r\n\r\n", Speech.HTTP),
    (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Speech.HTTP),
    (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", Speech.TLS),
    (b"SSH-2.0-OpenSSH_9.2\r\n", Speech.GARBAGE),
    (b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n", Speech.GARBAGE),
    (b"\r\n\r\n\0\r\nQUIT\n", Speech.GARBAGE),
    (channel_data(0x4000, b"hello"), Speech.GARBAGE),
    (b"\x80\x60" + bytes(10), Speech.GARBAGE),
    (b"\x16\xfe\xff" + bytes(10), Speech.GARBAGE),
    (b"get / HTTP/1.1\r\n", Speech.GARBAGE),
    (b"\x00\x01\x00\x00" + bytes(16), Speech.GARBAGE),
    (b"\x00\x01\x00\x02" + BINDING[4:], Speech.GARBAGE),
]


@pytest.mark.parametrize(("first", "speech"), SPOKEN, ids=lambda value: repr(value)[:24])
def test_every_protocol_is_known_by_its_first_bytes(first: bytes, speech: Speech) -> None:
    """RFC 7983, RFC 8656 §3.1: the first frame on a stream is STUN; ``GET `` is HTTP, not a ChannelData header."""
    assert sniff(first) is speech


@pytest.mark.parametrize(("first", "speech"), SPOKEN, ids=lambda value: repr(value)[:24])
def test_byte_by_byte_the_answer_is_the_same_and_comes_within_eight(first: bytes, speech: Speech) -> None:
    """Rule 20: what is not known yet is waited for, and never for longer than the magic cookie takes."""
    answers = [sniff(first[:size]) for size in range(len(first) + 1)]
    assert answers[0] is None
    known = next(size for size, answer in enumerate(answers) if answer is not None)
    assert known <= 8
    assert set(answers[known:]) == {speech}


def test_a_wrong_cookie_shows_at_its_first_wrong_byte() -> None:
    """RFC 8489 §5: the cookie is 0x2112A442."""
    assert sniff(BINDING[:6]) is None
    assert sniff(BINDING[:5] + b"\x13") is Speech.GARBAGE
