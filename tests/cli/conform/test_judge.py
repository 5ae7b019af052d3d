"""What checks say of an answer."""

import pytest

from cli.conform.findings import Untestable, Wrong
from cli.conform.judge import affordable, error, needed, no_answer, present, said, succeeded
from cli.conform.wire import Draft, SeenMessage
from stun.attributes import ERROR_CODE, LIFETIME, NONCE, ErrorValue
from stun.constants import MessageClass, Method


def answer(code: int) -> SeenMessage:
    draft = Draft(Method.REFRESH, MessageClass.ERROR if code else MessageClass.SUCCESS)
    if code:
        draft.add(ERROR_CODE, ErrorValue(code, "Because"))
    found = SeenMessage.read(draft.encode())
    assert found is not None
    return found


def test_the_error_that_is_right() -> None:
    assert error(answer(437), 400, 437).code == 437
    with pytest.raises(Wrong, match=r"error 437 \(Because\), not with 400 or 401"):
        error(answer(437), 400, 401)
    with pytest.raises(Wrong, match="a success response, not with 400"):
        error(answer(0), 400)


def test_success() -> None:
    assert succeeded(answer(0)).success
    with pytest.raises(Wrong, match="error 437"):
        succeeded(answer(437))


def test_silence() -> None:
    no_answer(None)
    with pytest.raises(Wrong, match="error 437"):
        no_answer(answer(437))


def test_attributes() -> None:
    present(answer(437), ERROR_CODE)
    with pytest.raises(Wrong, match="has no NONCE and no LIFETIME"):
        present(answer(437), NONCE, LIFETIME)


def test_a_server_that_is_full_cannot_be_tested() -> None:
    assert affordable(answer(437)).code == 437
    for code in (300, 486, 508):
        with pytest.raises(Untestable, match=f"grants no allocation now: error {code}"):
            affordable(answer(code))


def test_what_cannot_be_tested() -> None:
    needed(True, "")
    with pytest.raises(Untestable, match="why"):
        needed(False, "why")


def test_an_error_without_a_code() -> None:
    found = SeenMessage.read(Draft(Method.REFRESH, MessageClass.ERROR).encode())
    assert found is not None
    assert said(found) == "an answer without an error code that can be read"
