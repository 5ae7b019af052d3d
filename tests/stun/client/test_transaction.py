"""Client transactions (RFC 8489 §6.2), in virtual time."""

import pytest

from stun.client.transaction import ClientTransaction
from stun.constants import MessageClass, Method
from stun.message import Message, MessageBuilder

REQUEST = MessageBuilder(Method.BINDING, MessageClass.REQUEST, b"abcdefghijkl").build()


def sends(transaction: ClientTransaction, start: float) -> tuple[list[float], float]:
    """Follow the deadlines until the transaction fails: when it sent, and when it failed."""
    times = []
    now = start
    while not transaction.timed_out(now):
        if transaction.datagrams(now) is not None:
            times.append(now - start)
        else:
            assert transaction.deadline() > now
            now = transaction.deadline()
    return times, now - start


def test_the_retransmission_table() -> None:
    """RFC 8489 §6.2.1: sent at 0, 500, 1500, 3500, 7500, 15500 and 31500 ms, failed at 39500 ms."""
    assert sends(ClientTransaction(REQUEST, 1000.0), 1000.0) == ([0, 0.5, 1.5, 3.5, 7.5, 15.5, 31.5], 39.5)


def test_other_parameters() -> None:
    """RFC 8489 §6.2.1: RTO, Rc and Rm are configurable."""
    assert sends(ClientTransaction(REQUEST, 0.0, rto=0.1, rc=3, rm=4), 0.0) == (
        [0, 0.1, pytest.approx(0.3)],
        pytest.approx(0.7),
    )


def test_a_reliable_transport_sends_once() -> None:
    """RFC 8489 §6.2.2: and waits Ti."""
    assert sends(ClientTransaction(REQUEST, 0.0, reliable=True), 0.0) == ([0], 39.5)


def test_late_callers_do_not_send_twice() -> None:
    """What a caller slept through is not made up for in a burst, and nothing is sent after the failure."""
    transaction = ClientTransaction(REQUEST, 0.0)
    assert [transaction.datagrams(1.6) for _ in range(3)] == [REQUEST, None, None]
    assert transaction.sent == 1
    assert transaction.deadline() == 3.5
    assert transaction.datagrams(39.5) is None


@pytest.mark.parametrize(
    ("message_class", "transaction", "expected"),
    [
        (MessageClass.SUCCESS, b"abcdefghijkl", True),
        (MessageClass.ERROR, b"abcdefghijkl", True),
        (MessageClass.REQUEST, b"abcdefghijkl", False),
        (MessageClass.INDICATION, b"abcdefghijkl", False),
        (MessageClass.SUCCESS, b"abcdefghijkm", False),
    ],
)
def test_what_answers_it(message_class: MessageClass, transaction: bytes, expected: bool) -> None:
    """RFC 8489 §6.3: a response with the same transaction id."""
    answer = Message.decode(MessageBuilder(Method.BINDING, message_class, transaction).build())
    assert ClientTransaction(REQUEST, 0.0).matches(answer) is expected


def test_a_response_of_another_method_does_not_answer_it() -> None:
    """RFC 8489 §6.3: the method is the request's."""
    answer = MessageBuilder(Method.ALLOCATE, MessageClass.SUCCESS, b"abcdefghijkl").build()
    assert not ClientTransaction(REQUEST, 0.0).matches(Message.decode(answer))


@pytest.mark.parametrize(("request_bytes", "rc"), [(b"", 7), (REQUEST[:19], 7), (REQUEST, 0)])
def test_what_makes_no_transaction(request_bytes: bytes, rc: int) -> None:
    with pytest.raises(ValueError, match="a transaction needs"):
        ClientTransaction(request_bytes, 0.0, rc=rc)
