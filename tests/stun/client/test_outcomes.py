"""What a request that is done says; `tests/stun/client/test_core.py` has the rest of each case."""

from stun import attributes as a
from stun.client.errors import ErrorResponse, NoAnswer
from stun.client.holdings import REFUSED_RETRY_AFTER, RETRY_AFTER
from stun.client.outcomes import code, error_of, retry, sent_at, succeeded, ticket_of
from stun.client.requests import ClientRequest, FinalResponse
from stun.constants import MessageClass, Method
from stun.message import Message, MessageBuilder


def done(kind: MessageClass, *attributes: tuple[a.AttributeType, object]) -> ClientRequest[Message]:
    builder = MessageBuilder(Method.REFRESH, kind, bytes(12))
    for spec, value in attributes:
        builder.add(spec, value)
    request = ClientRequest(Method.REFRESH, (), lambda message: message, True)
    request.finish(FinalResponse(Message.decode(builder.build()), 2.5, 1, True))
    return request


def test_a_success() -> None:
    request = done(MessageClass.SUCCESS, (a.LIFETIME, 600), (a.MOBILITY_TICKET, b"ticket"))
    assert (succeeded(request), code(request), error_of(request)) == (True, 0, None)
    assert (sent_at(request, 10.0), ticket_of(request)) == (7.5, b"ticket")
    assert ticket_of(done(MessageClass.SUCCESS, (a.LIFETIME, 600))) is None


def test_a_refusal() -> None:
    request = done(MessageClass.ERROR, (a.ERROR_CODE, a.ErrorValue(437, "Allocation Mismatch")))
    assert (succeeded(request), code(request), retry(request)) == (False, 437, REFUSED_RETRY_AFTER)
    assert isinstance(error_of(request), ErrorResponse)


def test_no_answer() -> None:
    request = ClientRequest(Method.REFRESH, (), lambda message: message, True)
    request.finish(NoAnswer(7, 39.5))
    assert (succeeded(request), code(request), retry(request), ticket_of(request)) == (False, 0, RETRY_AFTER, None)
    assert isinstance(error_of(request), NoAnswer)
    assert sent_at(request, 10.0) == 10.0
