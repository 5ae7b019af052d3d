"""The core's tree of refusals."""

import pytest

from stun.constants import ErrorCode
from turnserver.core.errors import CoreError, LookupPending, Refusal, Silence


@pytest.mark.parametrize("code", list(ErrorCode))
def test_a_refusal_says_what_the_client_gets(code: ErrorCode) -> None:
    """RFC 8489 §14.8: a code and its standard reason, unless another is given."""
    refusal = Refusal(code)
    assert (refusal.code, refusal.reason, refusal.challenge, refusal.unknown) == (code, code.reason, False, ())
    assert str(refusal) == f"{int(code)} {code.reason}"
    assert Refusal(code, "because").reason == "because"


def test_there_is_one_tree() -> None:
    """The boundary catches what handlers raise."""
    assert all(issubclass(kind, CoreError) for kind in (Refusal, Silence, LookupPending))


def test_a_pending_look_up_says_who_is_meant() -> None:
    """By name or by hash (RFC 8489 §14.4)."""
    pending = LookupPending("alice", b"")
    assert (pending.username, pending.userhash) == ("alice", b"")
