"""Messages in a stream of bytes: what is read is what was sent, whatever the pieces."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from turnserver.framing import LARGEST, FrameError, FrameReader, encode, head

messages = st.lists(st.tuples(st.integers(0, 255), st.binary(max_size=300)), max_size=8)


@given(messages, st.integers(1, 64))
def test_pieces_make_the_same_messages(sent: list[tuple[int, bytes]], size: int) -> None:
    data = b"".join(encode(kind, payload) for kind, payload in sent)
    reader = FrameReader()
    found = [each for first in range(0, len(data), size) for each in reader.feed(data[first : first + size])]
    assert found == sent


@given(st.binary(max_size=200))
def test_whatever_comes_is_messages_or_refused(data: bytes) -> None:
    """Nothing else is raised, and nothing is kept beyond the limit."""
    reader = FrameReader(largest=50)
    try:
        for kind, payload in reader.feed(data):
            assert 0 <= kind <= 255
            assert len(payload) < 50
    except FrameError:
        return
    assert len(reader._buffer) <= 54


@pytest.mark.parametrize("length", [0, LARGEST + 1, 2**32 - 1])
def test_lengths_that_no_message_has(length: int) -> None:
    with pytest.raises(FrameError, match=f"{length} bytes"):
        list(FrameReader().feed(length.to_bytes(4, "big") + b"x"))


def test_what_cannot_be_sent() -> None:
    with pytest.raises(ValueError, match="no message"):
        encode(1, bytes(LARGEST))
    with pytest.raises(ValueError, match="no message"):
        encode(256, b"")
    with pytest.raises(ValueError, match="no message"):
        head(1, LARGEST)


def test_a_head_goes_before_a_payload_that_is_not_copied() -> None:
    assert head(7, 3) + b"abc" == encode(7, b"abc")
