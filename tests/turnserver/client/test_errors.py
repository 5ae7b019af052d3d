"""What the server's noes become."""

from meshturn.root import MeshturnError
from turnserver.client.errors import SignalError, error_of
from turnserver.signaling.protocol.errors import SignalCode
from turnserver.signaling.protocol.fields import ErrorDetail
from turnserver.signaling.protocol.server_messages import Error, Goodbye


def test_errors() -> None:
    """Milliseconds become seconds; the detail is what was said of it, and nothing else."""
    said = Error(re="1", code=SignalCode.RATE_LIMITED, msg="Slow.", retry=250, d=ErrorDetail(n=4))
    error = error_of(said)
    assert (error.code, error.message, error.retry, error.detail) == ("rate_limited", "Slow.", 0.25, {"n": 4})
    assert str(error) == "rate_limited: Slow."
    assert isinstance(error, MeshturnError)


def test_goodbyes() -> None:
    error = error_of(Goodbye(cid="c", code=SignalCode.KICKED, msg="", reconnect="never"))
    assert (error.code, error.retry, dict(error.detail), str(error)) == ("kicked", None, {}, "kicked")


def test_an_error_without_a_message_is_its_code() -> None:
    assert str(SignalError("timeout")) == "timeout"
