"""Requests and their outcomes, in virtual time, against a server that answers by hand, rightly and wrongly."""

import itertools
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stun import attributes as a
from stun.address import Address
from stun.attributes import AlgorithmValue, AttributeType, ErrorValue
from stun.client.authentication import Login
from stun.client.errors import (
    AnswerNotUnderstood,
    CannotAuthenticate,
    ClientError,
    ErrorResponse,
    IntegrityViolated,
    InvalidAnswer,
    NoAnswer,
    RequestCancelled,
    ServerUnreachable,
    TooManyRequests,
    TryAlternate,
)
from stun.client.requests import ClientRequest, FinalResponse, RequestOptions, Requests
from stun.constants import MessageClass, Method
from stun.errors import EncodeError, MalformedMessage
from stun.message import Message, MessageBuilder
from tests.support.client_world import LOGIN, Script

HERE = Address.parse("192.0.2.9", 5000)
ELSEWHERE = Address.parse("192.0.2.77", 3478)
SHA256, MD5 = AlgorithmValue(2), AlgorithmValue(1)
PROMISE = b"obMatJos2gAAA-nonce"
"""A nonce that announces password algorithms."""
REQUIRED: AttributeType[bytes] = AttributeType(0x7FF0, "UNKNOWN", "none", lambda v, t: v, lambda v, t: v)
BAD_ERROR_CODE: AttributeType[bytes] = AttributeType(0x0009, "ERROR-CODE", "none", lambda v, t: v, lambda v, t: v)


class Talk:
    """Requests, and what they have sent and come to; times are seconds from the start."""

    def __init__(self, login: Login | None = LOGIN, *, reliable: bool = False, **options: Any) -> None:
        counter = itertools.count(1)
        self.requests = Requests(
            lambda size: next(counter).to_bytes(size, "big"),
            login=login,
            reliable=reliable,
            options=RequestOptions(**options),
        )
        self.script = Script()
        self.finished: list[ClientRequest[Any]] = []

    def begin(
        self, method: Method = Method.BINDING, *attributes: Any, at: float = 0.0, **more: Any
    ) -> ClientRequest[Any]:
        return self.requests.begin(
            method, attributes, 100.0 + at, read=more.pop("read", lambda message: message), **more
        )

    def sent(self) -> list[Message]:
        """What has been sent since the last call."""
        return [Message.decode(frame) for frame in self.requests.frames()]

    def hear(self, frame: bytes, at: float = 0.1) -> bool:
        known = self.requests.receive(Message.decode(frame), 100.0 + at)
        self.finished += self.requests.finished()
        return known

    def asked(
        self, method: Method = Method.ALLOCATE, *attributes: Any, **more: Any
    ) -> tuple[ClientRequest[Any], Message]:
        """A request that has been challenged, and what was sent in answer."""
        request = self.begin(method, *attributes, **more)
        (bare,) = self.sent()
        self.hear(self.script.challenge(bare))
        (signed,) = self.sent()
        return request, signed

    def schedule(self) -> list[float]:
        """Turn the clock from deadline to deadline; when something was sent, in seconds from the start."""
        times = [0.0] * len(self.requests.frames())
        while (now := self.requests.deadline()) is not None:
            self.requests.expire(now)
            times += [now - 100.0] * len(self.requests.frames())
        self.finished += self.requests.finished()
        return times


def outcome(request: ClientRequest[Any]) -> ClientError:
    assert isinstance(request.outcome, ClientError), request.outcome
    return request.outcome


# Transactions


def test_requests_are_sent_again_as_the_table_says() -> None:
    """RFC 8489 §6.2.1: at 0, 500, 1500, 3500, 7500, 15500 and 31500 ms, then failed at 39500 ms."""
    talk = Talk()
    request = talk.begin()
    assert talk.schedule() == [0, 0.5, 1.5, 3.5, 7.5, 15.5, 31.5]
    with pytest.raises(NoAnswer, match=r"^No answer to 7 requests in 39\.5 s\.$"):
        request.result()
    assert talk.finished == [request]


def test_a_server_that_never_answers_is_a_timeout() -> None:
    """For those who know nothing of this package's errors."""
    talk = Talk()
    request = talk.begin()
    talk.schedule()
    with pytest.raises(TimeoutError):
        request.result()


def test_patience_ends_it_sooner() -> None:
    """RFC 8489 §6.2.1: a client may give up earlier; it says after how long."""
    talk = Talk(patience=2.0)
    request = talk.begin()
    assert talk.schedule() == [0, 0.5, 1.5]
    with pytest.raises(NoAnswer, match=r"No answer to 3 requests in 2 s\.") as caught:
        request.answer()
    assert (caught.value.transmissions, caught.value.seconds, caught.value.ignored) == (3, 2.0, "")


def test_streams_do_not_send_again() -> None:
    """RFC 8489 §6.2.2: over a reliable transport a request is sent once, and fails after Ti."""
    talk = Talk(reliable=True)
    request = talk.begin()
    assert talk.schedule() == [0]
    assert str(outcome(request)) == "No answer to 1 request in 39.5 s."


def test_an_answer_ends_the_transaction() -> None:
    """RFC 8489 §6.3.3: the answer is taken once, with its time and how often the request was sent."""
    talk = Talk()
    request = talk.begin(read=lambda message: message.first(a.XOR_MAPPED_ADDRESS))
    (sent,) = talk.sent()
    talk.requests.expire(100.5)
    assert [again.raw for again in talk.sent()] == [sent.raw]
    assert talk.requests.transmissions == 2
    good = talk.script.success(sent, (a.XOR_MAPPED_ADDRESS, HERE))
    assert talk.hear(good, 0.75)
    answer = request.answer()
    assert (answer.seconds, answer.transmissions, answer.signed, answer.error) == (0.75, 2, False, None)
    assert request.result() == HERE
    assert talk.requests.deadline() is None
    assert not talk.hear(good, 1.0)
    assert talk.finished == [request]


def test_several_requests_under_way() -> None:
    """RFC 8489 §6.2: each has a transaction of its own, and they end in any order."""
    talk = Talk()
    requests = [talk.begin(at=0.1 * number) for number in range(3)]
    sent = talk.sent()
    assert len({message.transaction_id for message in sent}) == 3
    assert len(talk.requests) == 3
    for number in (1, 0):
        talk.hear(talk.script.success(sent[number]), 0.3)
    assert talk.finished == [requests[1], requests[0]]
    assert [request.done for request in requests] == [True, True, False]
    assert talk.requests.deadline() == 100.7
    talk.schedule()
    assert isinstance(requests[2].outcome, NoAnswer)


def test_so_many_at_once_and_no_more() -> None:
    """Rule 22: what may be under way is bounded; one that ends makes room."""
    talk = Talk(limit=2)
    first, _ = talk.begin(), talk.begin()
    with pytest.raises(TooManyRequests):
        talk.begin()
    talk.requests.cancel(first)
    talk.begin()


def test_what_cannot_be_sent_leaves_nothing_behind() -> None:
    talk = Talk()
    with pytest.raises(EncodeError):
        talk.begin(Method.ALLOCATE, (a.LIFETIME, -1))
    assert len(talk.requests) == 0
    assert talk.requests.deadline() is None


@pytest.mark.parametrize("what", ["transaction", "method", "request", "indication"])
def test_what_is_no_answer_to_it(what: str) -> None:
    """RFC 8489 §6.3: other transactions, other methods, requests and indications leave it under way."""
    talk = Talk()
    request = talk.begin()
    (sent,) = talk.sent()
    builders = {
        "transaction": MessageBuilder(Method.BINDING, MessageClass.SUCCESS, b"another one."),
        "method": MessageBuilder(Method.ALLOCATE, MessageClass.SUCCESS, sent.transaction_id),
        "request": MessageBuilder(Method.BINDING, MessageClass.REQUEST, sent.transaction_id),
        "indication": MessageBuilder(Method.BINDING, MessageClass.INDICATION, sent.transaction_id),
    }
    assert not talk.hear(builders[what].build())
    assert not request.done
    talk.hear(talk.script.success(sent))
    assert request.done


def test_broken_answers_are_named_when_there_is_no_other() -> None:
    """RFC 8489 §6.3: what was ignored is said in the end, for silence it was not."""
    talk = Talk(patience=1.0)
    request = talk.begin()
    talk.requests.malformed(MalformedMessage("shorter than a STUN header"))
    talk.schedule()
    with pytest.raises(NoAnswer, match=r"not valid STUN was ignored \(shorter than"):
        request.result()


def test_an_error_code_that_cannot_be_read_is_no_answer() -> None:
    """RFC 8489 §6.3.4: nor does it raise anything."""
    talk = Talk()
    request = talk.begin()
    (sent,) = talk.sent()
    builder = MessageBuilder(Method.BINDING, MessageClass.ERROR, sent.transaction_id)
    talk.hear(builder.add(BAD_ERROR_CODE, b"\0\0\7\1").build())
    assert not request.done


def test_a_cancelled_request_is_over() -> None:
    talk = Talk()
    request = talk.begin()
    (sent,) = talk.sent()
    talk.requests.cancel(request)
    assert talk.requests.finished() == [request]
    assert not talk.hear(talk.script.success(sent))
    assert isinstance(request.outcome, RequestCancelled)


def test_a_broken_way_fails_all_that_is_under_way() -> None:
    """RFC 8489 §6.2.1: a hard error of the network ends a transaction at once."""
    talk = Talk()
    requests = [talk.begin(), talk.begin()]
    error = ServerUnreachable("Nothing listens there.")
    talk.requests.fail_all(error)
    assert [request.outcome for request in requests] == [error, error]
    with pytest.raises(ConnectionError):
        requests[0].result()
    assert talk.requests.deadline() is None


def test_an_outcome_is_not_there_before_its_time() -> None:
    request = Talk().begin()
    with pytest.raises(ValueError, match="under way"):
        request.answer()
    assert repr(request) == "<Request method=0x001 under way>"


# Authentication


def test_a_challenge_is_answered() -> None:
    """RFC 8489 §9.2.5: with a new transaction; the first bare one carries no credentials."""
    talk = Talk()
    request = talk.begin(Method.ALLOCATE, (a.REQUESTED_TRANSPORT, 17))
    (bare,) = talk.sent()
    assert not bare.has(a.USERNAME)
    talk.hear(talk.script.challenge(bare), 0.1)
    (signed,) = talk.sent()
    assert signed.transaction_id != bare.transaction_id
    assert (signed.first(a.USERNAME), signed.first(a.REALM)) == ("alice", "example.org")
    assert signed.first(a.REQUESTED_TRANSPORT) == 17
    talk.hear(talk.script.success(signed), 0.3)
    answer = request.answer()
    assert answer.signed
    assert (round(answer.seconds, 6), answer.transmissions) == (0.2, 1)
    assert talk.requests.session is not None


def test_the_session_serves_the_next_request() -> None:
    """RFC 8489 §9.2.3.2: a later request carries the credentials at once."""
    talk = Talk()
    _, signed = talk.asked()
    talk.hear(talk.script.success(signed))
    talk.begin(Method.REFRESH)
    (refresh,) = talk.sent()
    assert refresh.first(a.NONCE) == b"n0nce"
    talk.begin(Method.BINDING, authenticated=False)
    (binding,) = talk.sent()
    assert not binding.has(a.USERNAME)


def test_a_session_may_come_from_another_5_tuple() -> None:
    """RFC 6062 §4.3: the data connection goes by the same credentials, without being challenged again."""
    talk = Talk()
    _, signed = talk.asked()
    talk.hear(talk.script.success(signed))
    data = Requests(bytes, login=LOGIN, session=talk.requests.session, reliable=True)
    data.begin(Method.CONNECTION_BIND, [(a.CONNECTION_ID, 7)], 100.0, read=bool)
    assert Message.decode(data.frames()[0]).first(a.NONCE) == b"n0nce"


def test_without_a_login_a_challenge_is_final() -> None:
    """RFC 8489 §9.2.5: a 401 to somebody without credentials is the answer."""
    talk = Talk(login=None)
    request = talk.begin()
    (sent,) = talk.sent()
    talk.hear(talk.script.challenge(sent))
    assert talk.sent() == []
    assert request.answer().error == ErrorValue(401, "")


def test_what_is_to_go_without_credentials_gets_none() -> None:
    talk = Talk()
    request = talk.begin(authenticated=False)
    (sent,) = talk.sent()
    talk.hear(talk.script.challenge(sent))
    assert talk.sent() == []
    assert request.done


def test_a_second_401_is_final() -> None:
    """RFC 8489 §9.2.5: the same user, realm and password again would be refused again."""
    talk = Talk()
    request, signed = talk.asked()
    talk.hear(talk.script.challenge(signed, nonce=b"another"))
    assert talk.sent() == []
    with pytest.raises(ErrorResponse) as caught:
        request.result()
    assert caught.value.code == 401


def test_a_401_of_another_realm_is_answered_once() -> None:
    """RFC 8489 §9.2.5: another realm means another key, and so another attempt; not for ever."""
    talk = Talk()
    request, signed = talk.asked()
    talk.hear(talk.script.challenge(signed, realm="example.net"))
    (again,) = talk.sent()
    assert again.first(a.REALM) == "example.net"
    talk.hear(talk.script.challenge(again, realm="example.com"))
    assert talk.sent() == []
    assert request.answer().error == ErrorValue(401, "")


def test_a_stale_nonce_is_answered_once() -> None:
    """RFC 8489 §9.2.5: 438 is answered with the new nonce; two in a row are an error and not a loop."""
    talk = Talk()
    request, signed = talk.asked()
    talk.hear(talk.script.challenge(signed, 438, nonce=b"second", realm=None))
    (again,) = talk.sent()
    assert (again.first(a.NONCE), again.first(a.REALM)) == (b"second", "example.org")
    talk.hear(talk.script.challenge(again, 438, nonce=b"third"))
    assert talk.sent() == []
    assert request.answer().error == ErrorValue(438, "")


def test_the_newest_nonce_counts() -> None:
    """RFC 8489 §9.2.5: an answer to an older request does not bring an older nonce back."""
    talk = Talk()
    _, signed = talk.asked()
    talk.hear(talk.script.success(signed))
    slow, quick = talk.begin(Method.REFRESH), talk.begin(Method.REFRESH)
    old, stale = talk.sent()
    talk.hear(talk.script.challenge(stale, 438, nonce=b"second"))
    (fresh,) = talk.sent()
    talk.hear(talk.script.success(fresh))
    talk.hear(talk.script.success(old))
    assert slow.done
    assert quick.done
    assert talk.requests.session is not None
    assert talk.requests.session.nonce == b"second"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"realm": None}, "without a realm and a nonce"),
        ({"nonce": None}, "without a realm and a nonce"),
        ({"nonce": PROMISE}, "bid-down"),
        ({"offered": (AlgorithmValue(77),)}, "not known here"),
    ],
)
def test_challenges_that_cannot_be_answered(changes: dict[str, Any], words: str) -> None:
    """RFC 8489 §9.2.5: the client must not try again."""
    talk = Talk()
    request = talk.begin(Method.ALLOCATE)
    (bare,) = talk.sent()
    talk.hear(talk.script.challenge(bare, **changes))
    assert talk.sent() == []
    with pytest.raises(CannotAuthenticate, match=words):
        request.result()


def test_the_algorithms_are_echoed_and_the_first_known_is_chosen() -> None:
    """RFC 8489 §9.2.5: PASSWORD-ALGORITHMS as it came, and MESSAGE-INTEGRITY-SHA256 only."""
    talk = Talk()
    talk.script.offered = (AlgorithmValue(9), SHA256, MD5)
    request, signed = talk.asked()
    assert signed.first(a.PASSWORD_ALGORITHMS) == talk.script.offered
    assert signed.first(a.PASSWORD_ALGORITHM) == SHA256
    assert not signed.has(a.MESSAGE_INTEGRITY)
    talk.hear(talk.script.success(signed))
    assert request.answer().signed


@pytest.mark.parametrize("kind", ["success", "error"])
@pytest.mark.parametrize("flaw", ["missing", "wrong"])
def test_answers_whose_integrity_is_not_right_are_ignored(kind: str, flaw: str) -> None:
    """RFC 8489 §9.2.5: over UDP the transaction goes on; the good one counts."""
    talk = Talk()
    request, signed = talk.asked()
    liar = Script(login=Login("alice", "guessed"))
    bad: Callable[..., bytes] = liar.success if kind == "success" else lambda m, **k: liar.error(m, 486, **k)
    assert talk.hear(bad(signed, signed=flaw == "wrong"))
    assert not request.done
    talk.hear(talk.script.success(signed))
    assert request.answer().signed


def test_nothing_but_bad_integrity_is_said_so() -> None:
    """RFC 8489 §9.2.5: instead of a timeout, that the integrity protection was violated."""
    talk = Talk()
    request, signed = talk.asked()
    talk.hear(talk.script.success(signed, signed=False))
    talk.schedule()
    with pytest.raises(IntegrityViolated, match="integrity of an answer was missing or wrong"):
        request.result()


def test_over_a_stream_bad_integrity_ends_it_at_once() -> None:
    """RFC 8489 §9.2.5: nothing can have been lost, so there will be no other answer."""
    talk = Talk(reliable=True)
    request, signed = talk.asked()
    talk.hear(talk.script.success(signed, signed=False))
    assert isinstance(request.outcome, IntegrityViolated)


@pytest.mark.parametrize("reliable", [False, True])
def test_an_unsigned_400_never_came(reliable: bool) -> None:
    """RFC 8489 §9.2.5: it is as if it had never been received, over a stream, too."""
    talk = Talk(reliable=reliable)
    request, signed = talk.asked()
    talk.hear(talk.script.error(signed, 400, signed=False))
    assert not request.done
    talk.hear(talk.script.error(signed, 400))
    assert request.answer().error == ErrorValue(400, "")


def test_unsigned_errors_can_be_taken() -> None:
    """For who looks into a failure: many servers do not sign their errors. A success has to be signed all the same."""
    talk = Talk(unsigned_errors=True)
    request, signed = talk.asked()
    talk.hear(talk.script.success(signed, signed=False))
    assert not request.done
    talk.hear(talk.script.error(signed, 403, signed=False, reason="no"))
    assert request.answer().error == ErrorValue(403, "no")
    assert not request.answer().signed


def test_an_answer_that_bids_down_is_ignored() -> None:
    """RFC 8489 §9.2.5: a nonce that announces algorithms without a list of them, in any other response."""
    talk = Talk()
    request, signed = talk.asked()
    talk.hear(talk.script.success(signed, (a.NONCE, PROMISE)))
    assert not request.done
    talk.hear(talk.script.success(signed, (a.NONCE, PROMISE), (a.PASSWORD_ALGORITHMS, (SHA256,))))
    assert request.done


def test_the_other_kind_of_integrity_is_none() -> None:
    """RFC 8489 §9.2.5: after a list of algorithms a MESSAGE-INTEGRITY is no proof."""
    talk = Talk()
    talk.script.offered = (MD5,)
    request, signed = talk.asked()
    builder = MessageBuilder(signed.method, MessageClass.SUCCESS, signed.transaction_id)
    talk.hear(builder.integrity(talk.script.key(signed)).build())
    assert not request.done


# Answers


def test_attributes_that_have_to_be_understood() -> None:
    """RFC 8489 §6.3.3, §6.3.4: an unknown comprehension-required attribute fails the transaction, error or not."""
    for answered in (Script.success, lambda script, sent, extra: script.error(sent, 486, extra)):
        talk = Talk()
        request, signed = talk.asked()
        talk.hear(answered(talk.script, signed, (REQUIRED, b"x")))
        assert isinstance(request.outcome, AnswerNotUnderstood)
        assert request.outcome.types == (0x7FF0,)
        assert "0x7ff0" in str(request.outcome)


def test_the_integrity_comes_before_the_unknown() -> None:
    """RFC 8489 §6.3: who cannot sign cannot end a transaction with an attribute that nobody knows."""
    talk = Talk()
    request, signed = talk.asked()
    talk.hear(talk.script.success(signed, (REQUIRED, b"x"), signed=False))
    assert not request.done


def test_an_error_is_raised_with_its_code() -> None:
    talk = Talk()
    request, signed = talk.asked()
    talk.hear(talk.script.error(signed, 486, reason="so \x1b[31mmany"))
    with pytest.raises(ErrorResponse) as caught:
        request.result()
    assert (caught.value.code, caught.value.reason) == (486, "so \x1b[31mmany")
    assert "\x1b" not in str(caught.value), "reason phrases are hostile text"


def test_an_error_without_a_code() -> None:
    """RFC 8489 §6.3.4: the transaction has failed."""
    talk = Talk()
    request = talk.begin()
    (sent,) = talk.sent()
    talk.hear(MessageBuilder(Method.BINDING, MessageClass.ERROR, sent.transaction_id).build())
    with pytest.raises(ErrorResponse) as caught:
        request.result()
    assert caught.value.code == 0


def test_try_alternate_says_where() -> None:
    """RFC 8489 §10: ALTERNATE-SERVER, and the name to check a certificate against; the caller decides."""
    talk = Talk()
    request, signed = talk.asked()
    talk.hear(
        talk.script.error(signed, 300, (a.ALTERNATE_SERVER, ELSEWHERE), (a.ALTERNATE_DOMAIN, "turn2.example.org"))
    )
    with pytest.raises(TryAlternate) as caught:
        request.result()
    assert (caught.value.code, caught.value.server, caught.value.domain) == (300, ELSEWHERE, "turn2.example.org")


def test_try_alternate_without_a_readable_server() -> None:
    talk = Talk()
    broken: AttributeType[bytes] = AttributeType(0x8023, "ALTERNATE-SERVER", "none", lambda v, t: v, lambda v, t: v)
    request, signed = talk.asked()
    talk.hear(talk.script.error(signed, 300, (broken, b"?")))
    with pytest.raises(TryAlternate) as caught:
        request.result()
    assert caught.value.server is None


def test_a_success_that_cannot_be_read() -> None:
    """RFC 8656 §7.3: a success without what it has to say is the server's mistake, and no crash of ours."""

    def read(message: Message) -> int:
        value = message.first(a.LIFETIME)
        if value is None:
            raise InvalidAnswer("no lifetime")
        return value

    broken: AttributeType[bytes] = AttributeType(0x000D, "LIFETIME", "none", lambda v, t: v, lambda v, t: v)
    for attributes, words in (([], "no lifetime"), ([(broken, b"?")], "cannot be read")):
        talk = Talk()
        request, signed = talk.asked(read=read)
        talk.hear(talk.script.success(signed, *attributes))
        with pytest.raises(InvalidAnswer, match=words):
            request.result()


# What requests carry


def test_fingerprint_and_software() -> None:
    """RFC 8489 §14.7, §14.14: FINGERPRINT unless it is not wanted, SOFTWARE if it is, both before the integrity."""
    plain, dressed = Talk(fingerprint=False), Talk(software="client 1")
    _, bare = plain.asked()
    assert not bare.has(a.FINGERPRINT)
    _, full = dressed.asked()
    assert full.first(a.SOFTWARE) == "client 1"
    assert [raw.type for raw in full.attributes][-2:] == [a.MESSAGE_INTEGRITY.number, a.FINGERPRINT.number]


def test_an_answer_is_a_plain_value() -> None:
    talk = Talk()
    request = talk.begin()
    (sent,) = talk.sent()
    talk.hear(talk.script.success(sent))
    answer = request.answer()
    assert isinstance(answer, FinalResponse)
    assert answer.is_success


@given(st.lists(st.binary(max_size=80), max_size=6))
def test_whatever_comes_in_raises_nothing(bodies: list[bytes]) -> None:
    """Rule 20: hostile attributes in an answer neither raise nor end the transaction."""
    talk = Talk()
    request, signed = talk.asked()
    for number, body in enumerate(bodies):
        raw: AttributeType[bytes] = AttributeType(number * 0x1111, "ANY", "none", lambda v, t: v, lambda v, t: v)
        kind = MessageClass.SUCCESS if number % 2 else MessageClass.ERROR
        builder = MessageBuilder(signed.method, kind, signed.transaction_id)
        talk.hear(builder.add(raw, body).build())
    assert not request.done or isinstance(request.outcome, CannotAuthenticate | FinalResponse)
    if not request.done:
        talk.hear(talk.script.success(signed))
        assert request.done
