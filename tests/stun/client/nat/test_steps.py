"""What came of a request."""

from stun.address import Address
from stun.attributes import ErrorValue
from stun.client.nat.steps import Ask, BindingAnswer, Outcome

SERVER = Address.parse("192.0.2.1", 3478)
MAPPED = Address.parse("203.0.113.9", 5000)


def test_outcomes() -> None:
    """A success has an address, an error has a code, silence has neither."""
    ask = Ask(0, SERVER)
    success = Outcome(ask, BindingAnswer(0, SERVER, MAPPED))
    assert (success.ok, success.mapped, success.error) == (True, MAPPED, None)
    failure = Outcome(ask, BindingAnswer(0, SERVER, None, error=ErrorValue(401, "Unauthenticated")))
    assert (failure.ok, failure.mapped, failure.error) == (False, None, 401)
    silence = Outcome(ask)
    assert (silence.ok, silence.mapped, silence.error) == (False, None, None)
