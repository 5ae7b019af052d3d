"""Messages in the pipe of a recorder, in whatever pieces they come."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from turnserver.recordings.wire import (
    Begun,
    Ended,
    Lost,
    MediaPacket,
    RecorderMessage,
    RecordingClosed,
    Related,
    Started,
    WireReader,
    read_line,
    write_line,
    write_message,
)

ALL: list[RecorderMessage] = [
    Started("/r", "room", 1.5, 1e9, 5, 6),
    Begun(1, "p", "Ann\n\u2028", "camera", "vp8"),
    MediaPacket(65_535, 2.25, bytes(range(40))),
    Related(3, (1 << 64) - 1, (1 << 32) - 1),
    Ended(4),
    Lost(7),
    RecordingClosed("stopped"),
]


@given(st.lists(st.sampled_from(ALL)), st.integers(1, 50))
def test_messages_come_out_as_they_went_in(messages: list[RecorderMessage], step: int) -> None:
    data = b"".join(map(write_message, messages))
    reader = WireReader()
    read = [each for at in range(0, len(data), step) for each in reader.feed(data[at : at + step])]
    assert read == messages


@pytest.mark.parametrize(
    "data",
    [b"\xff" * 5, b"\0\0\0\x03\x63{}", b"\0\0\0\x03\x04{}", b"\0\0\0\x02\x00x", b"\0\0\0\x02\x04{", b"\0\0\0\0\x04"],
)
def test_what_is_no_message_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  that is the contract
        list(WireReader().feed(data))


def test_lines_come_back() -> None:
    assert read_line(write_line(("keyframe", 3))) == ("keyframe", 3)
    assert read_line(write_line(("failed", "the disk"))) == ("failed", "the disk")
    for line in (b"", b"{}", b"[1, 2]", b'["keyframe"]', b'["keyframe", {}]', b"\xff"):
        assert read_line(line) is None
