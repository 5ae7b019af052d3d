"""What a client's errors say."""

import pytest

from stun.client import errors
from stun.client.errors import (
    AnswerNotUnderstood,
    ClientError,
    ErrorResponse,
    NoAnswer,
    ServerUnreachable,
    TryAlternate,
)
from stun.errors import StunError


@pytest.mark.parametrize("name", errors.__all__)
def test_there_is_one_root(name: str) -> None:
    kind = getattr(errors, name)
    assert issubclass(kind, ClientError)
    assert issubclass(kind, StunError)


def test_an_absent_answer() -> None:
    assert str(NoAnswer(1, 0.2)) == "No answer to 1 request in 0.2 s."
    assert str(NoAnswer(7, 39.5)) == "No answer to 7 requests in 39.5 s."
    assert str(NoAnswer(2, 1.0, "nonsense came")) == "No usable answer came: nonsense came."
    assert isinstance(NoAnswer(1, 1.0), TimeoutError)


def test_a_broken_way_is_a_connection_error() -> None:
    error = ServerUnreachable("Nothing listens there.")
    assert isinstance(error, ConnectionError)
    assert str(error) == "Nothing listens there."


def test_what_a_server_says_is_made_harmless() -> None:
    """Rule 24: reason phrases are hostile text."""
    error = ErrorResponse(486, "a\x1b[2J\nb")
    assert str(error) == "The server refused: 486 'a\\x1b[2J\\nb'."
    assert (error.code, error.reason) == (486, "a\x1b[2J\nb")


def test_where_to_go_instead() -> None:
    error = TryAlternate("elsewhere", None, None)
    assert isinstance(error, ErrorResponse)
    assert error.code == 300


def test_attributes_are_named() -> None:
    error = AnswerNotUnderstood((0x7FF0, 0x7FF1, 0x7FF2, 0x7FF3, 0x7FF4))
    assert str(error) == "The answer needs attributes that are not known here (0x7ff0, 0x7ff1, 0x7ff2, 0x7ff3)."
