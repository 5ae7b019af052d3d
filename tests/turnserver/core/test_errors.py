"""The core's tree of refusals."""

import pytest

from stun.constants import ErrorCode
from turnserver.core.errors import CoreError, LookupPending, Refusal, Silence
from turnserver.reasons import Reason


@pytest.mark.parametrize("cause", [cause for cause in Reason if cause.errors])
def test_a_refusal_says_what_the_client_gets(cause: Reason) -> None:
    """RFC 8489 §14.8: a code and its standard reason; whoever has proven who it is also learns the cause."""
    refusal = Refusal(cause, "10.0.0.1")
    code = cause.errors[0]
    assert (refusal.code, refusal.cause, refusal.challenge, refusal.unknown) == (code, cause, False, ())
    assert refusal.phrase(authenticated=False) == code.reason
    assert refusal.phrase(authenticated=True) == f"{code.reason} ({cause}): 10.0.0.1"
    assert str(refusal) == f"{int(code)} {code.reason} ({cause}): 10.0.0.1"


def test_a_cause_may_have_several_codes() -> None:
    """A removed credential: 401 for a Refresh, 403 for what would be new."""
    assert Refusal(Reason.CREDENTIAL_REMOVED).code is ErrorCode.UNAUTHENTICATED
    assert Refusal(Reason.CREDENTIAL_REMOVED, code=ErrorCode.FORBIDDEN).code is ErrorCode.FORBIDDEN


def test_there_is_one_tree() -> None:
    """The boundary catches what handlers raise."""
    assert all(issubclass(kind, CoreError) for kind in (Refusal, Silence, LookupPending))


def test_a_pending_look_up_says_who_is_meant() -> None:
    """By name or by hash (RFC 8489 §14.4)."""
    pending = LookupPending("alice", b"")
    assert (pending.username, pending.userhash) == ("alice", b"")
