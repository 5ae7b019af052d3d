"""Frames in words."""

from cli.conform.decoded import decoded
from cli.conform.wire import Draft
from stun.attributes import ERROR_CODE, LIFETIME, SOFTWARE, ErrorValue
from stun.constants import MessageClass, Method


def test_a_message_with_its_attributes() -> None:
    draft = Draft(Method.REFRESH, MessageClass.ERROR).add(LIFETIME, 600).add(ERROR_CODE, ErrorValue(437, "No"))
    lines = decoded(draft.append((0x7FFE, b"ab"), (LIFETIME.number, b"1")).encode()).splitlines()
    assert lines[0] == "Refresh error response, 56 bytes"
    assert lines[1:] == [
        "  LIFETIME: 600",
        "  ERROR-CODE: 437 No",
        "  0x7ffe: 6162",
        "  LIFETIME: 31 (a number of 1 bytes)",
    ]


def test_control_characters_of_a_server_do_not_come_through() -> None:
    text = decoded(Draft(Method.BINDING).append((SOFTWARE.number, b"\x1b[31mred\nline")).encode())
    assert "\x1b" not in text
    assert len(text.splitlines()) == 2


def test_other_frames() -> None:
    assert decoded(b"\x40\x07\0\x03abc") == "ChannelData 0x4007, length 3, 3 bytes"
    assert decoded(b"\x16\x03") == "2 bytes that are neither STUN nor ChannelData"
    assert decoded(b"") == "0 bytes that are neither STUN nor ChannelData"
    assert decoded(Draft(0x0FE).encode()) == "method 0x0fe request, 20 bytes"
    assert "cookie 0x00000001" in decoded(Draft(Method.BINDING, cookie=1).encode())


def test_long_values_are_cut() -> None:
    assert "… (500 bytes)" in decoded(Draft(Method.BINDING).append((0xBFFE, bytes(500))).encode())
