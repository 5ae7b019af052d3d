"""Frames that a server may have written in any way it likes: a message of the protocol, or nothing that we act on."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from turnserver.client.reading import MAX_FRAME, Unreadable, read
from turnserver.signaling.protocol.base import ServerMessage
from turnserver.signaling.protocol.errors import SignalCode
from turnserver.signaling.protocol.server_messages import Error, Goodbye, PeerBack, PeerDesc

BOB = "bbbbbbbbbb"


@pytest.mark.parametrize(
    "text",
    ["", "null", "[]", "7", '"t"', "{}", '{"t": 1}', '{"t": ""}', "{" * 9000, "[" * 100_000, " " * (MAX_FRAME + 1)],
)
def test_what_is_no_frame(text: str) -> None:
    """`Unreadable`, and never an exception."""
    assert isinstance(read(text), Unreadable)


@pytest.mark.parametrize("value", [None, True, 0, -1, 1.5, "x", [], ["a", 1, {"t": "x"}, None], {}, {"a": 1}])
@pytest.mark.parametrize("field", ["id", "seq", "t"])
def test_any_value_anywhere(field: str, value: object) -> None:
    """A message has the types that it should have, or is none."""
    found = read(json.dumps({"t": "peer_back", "id": BOB, "seq": 1, field: value}))
    if isinstance(found, Unreadable):
        assert found.seq in (0, 1)
    else:
        assert found == PeerBack(id=BOB, seq=None)


def test_a_message() -> None:
    assert read(json.dumps({"t": "peer_back", "id": BOB, "seq": 3})) == PeerBack(id=BOB, seq=3)


def test_fields_that_we_do_not_know_are_ignored() -> None:
    """docs/signaling.md: a client has to ignore fields and types that it does not know."""
    assert read(json.dumps({"t": "peer_back", "id": BOB, "colour": [1]})) == PeerBack(id=BOB)


def test_of_what_we_do_not_know_the_number_and_the_request_count() -> None:
    found = read(json.dumps({"t": "sfu_ready", "re": "r1", "seq": 9}))
    assert isinstance(found, Unreadable)
    assert (found.re, found.seq) == ("r1", 9)
    assert found.why.startswith("unknown_type")
    other = read(json.dumps({"t": "sfu_ready", "re": 5, "seq": True}))
    assert isinstance(other, Unreadable)
    assert (other.re, other.seq) == (None, 0)


@pytest.mark.parametrize("code", [code.value for code in SignalCode])
def test_codes_that_we_know(code: str) -> None:
    assert read(json.dumps({"t": "error", "code": code, "msg": ""})) == Error(code=SignalCode(code), msg="")


def test_of_an_error_with_another_code_all_but_the_code_is_understood() -> None:
    found = read(json.dumps({"t": "error", "re": "r1", "code": "too_late", "msg": "No.", "retry": 5, "d": {"x": 1}}))
    assert found == Error(re="r1", code=SignalCode.INTERNAL, msg="No.", retry=5)
    goodbye = {"t": "goodbye", "cid": "c", "code": "too_late", "msg": "No.", "reconnect": "never"}
    assert read(json.dumps(goodbye)) == Goodbye(cid="c", code=SignalCode.INTERNAL, msg="No.", reconnect="never")
    assert isinstance(read(json.dumps({"t": "error", "code": "too_late"})), Unreadable)
    assert isinstance(read(json.dumps({"t": "error", "code": ["too_late"], "msg": ""})), Unreadable)


def test_a_description_may_be_as_long_as_servers_let_it_be() -> None:
    """A little longer than what its sender wrote, whose frame had 64 KiB: ``from`` has more letters than ``to``."""
    sdp = "x" * 56 * 1024
    found = read(json.dumps({"t": "desc", "from": BOB, "pc": "p" * 9000, "desc": {"type": "offer", "sdp": sdp}}))
    assert isinstance(found, Unreadable), "a pc of that length is none"
    found = read(" " * 9000 + json.dumps({"t": "desc", "from": BOB, "pc": "p", "desc": {"type": "offer", "sdp": sdp}}))
    assert isinstance(found, PeerDesc)


@given(st.text(max_size=100))
def test_any_text(text: str) -> None:
    assert isinstance(read(text), ServerMessage | Unreadable)
