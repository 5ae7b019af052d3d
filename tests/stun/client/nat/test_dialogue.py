"""Requests of a script: transactions, their pace, and what is taken for an answer."""

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stun.address import Address
from stun.attributes import ERROR_CODE, MAPPED_ADDRESS, OTHER_ADDRESS, XOR_MAPPED_ADDRESS, ErrorValue
from stun.client.nat.dialogue import PACE, Dialogue, Outgoing
from stun.client.nat.steps import Ask, Asks, Note, Outcome, Pause, Script, Together
from stun.constants import MessageClass, Method
from stun.message import Message, MessageBuilder
from tests.support.core_world import deterministic_entropy

SERVER = Address.parse("192.0.2.1", 3478)
ELSEWHERE = Address.parse("192.0.2.2", 3479)
MAPPED = Address.parse("203.0.113.9", 5000)


def one(*asks: Ask, enough: bool = False) -> Script[tuple[Outcome, ...]]:
    outcomes: tuple[Outcome, ...] = yield Asks(asks or (Ask(0, SERVER),), enough)
    return outcomes


def begun(script: Script[Any], **options: Any) -> tuple[Dialogue[Any], list[Outgoing]]:
    dialogue: Dialogue[Any] = Dialogue(script, deterministic_entropy(), **options)
    dialogue.begin(0.0)
    return dialogue, dialogue.outgoing()


def reply(request: bytes, **values: Any) -> bytes:
    """A success response to a request, with XOR-MAPPED-ADDRESS unless it is given as None."""
    builder = MessageBuilder(Method.BINDING, MessageClass.SUCCESS, request[8:20])
    if values.pop("mapped", MAPPED) is not None:
        builder.add(XOR_MAPPED_ADDRESS, MAPPED)
    for spec, value in values.values():
        builder.add(spec, value)
    return builder.build()


def walk(dialogue: Dialogue[Any]) -> Iterator[tuple[float, list[Outgoing]]]:
    """Let the time pass until the end, deadline by deadline."""
    while not dialogue.done:
        deadline = dialogue.deadline()
        assert deadline is not None
        dialogue.expire(deadline)
        yield deadline, dialogue.outgoing()


def test_a_request_is_a_plain_binding() -> None:
    """Without FINGERPRINT, which a gateway that rewrites addresses would break; from its socket, to its server."""
    _, sent = begun(one(Ask(3, SERVER)))
    message = Message.decode(sent[0].data)
    assert (sent[0].socket, sent[0].to) == (3, SERVER)
    assert (message.method, message.message_class) == (Method.BINDING, MessageClass.REQUEST)
    assert message.attributes == ()


def test_retransmissions_and_the_end() -> None:
    """RFC 8489 §6.2.1: seven transmissions, and 39.5 s in all."""
    dialogue, sent = begun(one())
    times = [0.0] + [time for time, frames in walk(dialogue) if frames]
    assert times == [0.0, 0.5, 1.5, 3.5, 7.5, 15.5, 31.5]
    (outcome,) = dialogue.result
    assert (outcome.ok, outcome.transmissions, outcome.first, outcome.last, outcome.ended) == (False, 7, 0, 31.5, 39.5)
    assert dialogue.deadline() is None
    assert len(sent) == 1


def test_patience_ends_it_sooner() -> None:
    """Then the last transmissions are not made."""
    dialogue, _ = begun(one(), patience=2.0)
    assert [time for time, _ in walk(dialogue)] == [0.5, 1.5, 2.0]
    assert dialogue.result[0].transmissions == 3
    dialogue, _ = begun(one(Ask(0, SERVER, patience=1.0)), patience=2.0)
    assert [time for time, _ in walk(dialogue)] == [0.5, 1.0]


def test_over_tcp_it_is_sent_once() -> None:
    """RFC 8489 §6.2.2."""
    dialogue, _ = begun(one(), reliable=True)
    assert [(time, len(frames)) for time, frames in walk(dialogue)] == [(39.5, 0)]


def test_transactions_are_paced() -> None:
    """RFC 5780 §5: ten in a second at most, in the order of the script."""
    asks = [Ask(number, SERVER) for number in range(3)]
    dialogue, sent = begun(one(*asks))
    assert [each.socket for each in sent] == [0]
    assert dialogue.deadline() == pytest.approx(PACE)
    dialogue.expire(PACE)
    assert [each.socket for each in dialogue.outgoing()] == [1]


def test_an_answer() -> None:
    """What it says, where it arrived and from where."""
    dialogue, sent = begun(one())
    values = {"plain": (MAPPED_ADDRESS, MAPPED), "other": (OTHER_ADDRESS, ELSEWHERE)}
    dialogue.receive(7, SERVER, reply(sent[0].data, **values), 0.25)
    (outcome,) = dialogue.result
    assert outcome.ok
    assert (outcome.mapped, outcome.heard.socket, outcome.heard.source) == (MAPPED, 7, SERVER)
    assert (outcome.heard.plain, outcome.heard.other, outcome.heard.padding) == (MAPPED, ELSEWHERE, None)
    assert (outcome.ended, outcome.error) == (0.25, None)


def test_a_server_with_mapped_address_only() -> None:
    """RFC 8489 §14.1: it is of use, too."""
    dialogue, sent = begun(one())
    dialogue.receive(0, SERVER, reply(sent[0].data, mapped=None, plain=(MAPPED_ADDRESS, MAPPED)), 0.1)
    assert dialogue.result[0].mapped == MAPPED


def test_an_error_is_an_outcome() -> None:
    """RFC 8489 §6.3.4; without a code it is 0."""
    for values, code in (({"error": (ERROR_CODE, ErrorValue(420, "?"))}, 420), ({}, 0)):
        dialogue, sent = begun(one())
        builder = MessageBuilder(Method.BINDING, MessageClass.ERROR, sent[0].data[8:20])
        for spec, value in values.values():
            builder.add(spec, value)
        dialogue.receive(0, SERVER, builder.build(), 0.1)
        (outcome,) = dialogue.result
        assert (outcome.ok, outcome.error, outcome.mapped) == (False, code, None)


def test_what_is_ignored_is_named_if_nothing_else_comes() -> None:
    """From another address, without an address in it, with what is not understood; noise is not even named."""
    dialogue, sent = begun(one(), patience=1.0)
    request = sent[0].data
    unknown = bytearray(reply(request)) + bytes.fromhex("7ffe0000")
    unknown[2:4] = (len(unknown) - 20).to_bytes(2, "big")
    for data, source in (
        (reply(request), ELSEWHERE),
        (reply(request), ELSEWHERE),
        (reply(request, mapped=None), SERVER),
        (bytes(unknown), SERVER),
        (b"noise", SERVER),
        (bytes(20), SERVER),
        (reply(bytes(20)), SERVER),
        (MessageBuilder(Method.ALLOCATE, MessageClass.SUCCESS, request[8:20]).build(), SERVER),
        (MessageBuilder(Method.BINDING, MessageClass.INDICATION, request[8:20]).build(), SERVER),
        (request[:3] + b"\x04" + request[4:] + bytes.fromhex("80220000"), SERVER),
    ):
        dialogue.receive(0, source, data, 0.1)
        assert not dialogue.done
    list(walk(dialogue))
    why = dialogue.result[0].why
    assert why.split("; ") == [
        f"a response was ignored that came from {ELSEWHERE}, and not from {SERVER}",
        "a response was ignored that is not valid (no XOR-MAPPED-ADDRESS)",
        "a response was ignored that is not valid (unknown attribute 0x7ffe)",
    ]


def test_an_answer_from_elsewhere_may_be_wanted() -> None:
    """RFC 5780 §7.2: by CHANGE-REQUEST."""
    dialogue, sent = begun(one(Ask(0, SERVER, elsewhere=True)))
    dialogue.receive(0, ELSEWHERE, reply(sent[0].data), 0.1)
    assert dialogue.result[0].heard.source == ELSEWHERE


def test_the_request_itself_comes_back() -> None:
    """RFC 5780 §3.4: the very same bytes; then the others of the step end, if one is enough."""
    dialogue, sent = begun(one(Ask(0, MAPPED), Ask(1, MAPPED), Ask(2, MAPPED), enough=True))
    dialogue.expire(0.1)
    dialogue.receive(5, MAPPED, sent[0].data, 0.15)
    assert [outcome.returned for outcome in dialogue.result] == [True, False, False]
    assert [outcome.transmissions for outcome in dialogue.result] == [1, 1, 0]
    assert dialogue.deadline() is None


def test_a_socket_that_fails() -> None:
    """Its requests to that server end; others go on."""
    dialogue, _ = begun(one(Ask(0, SERVER), Ask(1, SERVER)))
    dialogue.expire(0.1)
    dialogue.failed(0, SERVER, "it cannot be sent: no route", 0.2)
    dialogue.failed(1, ELSEWHERE, "another", 0.2)
    assert not dialogue.done
    list(walk(dialogue))
    assert [outcome.why for outcome in dialogue.result] == ["it cannot be sent: no route", ""]


def test_scripts_run_together() -> None:
    """Each gets its own outcomes, and the results come in their order, whoever ends first."""

    def asking(number: int) -> Script[int]:
        (outcome,) = yield Asks((Ask(number, SERVER),))
        return number if outcome.ok else -number

    def both() -> Script[Any]:
        yield Note("begins")
        results = yield Together((asking(1), asking(2), idle()))
        nothing = yield Together(())
        none = yield Asks(())
        return results, nothing, none

    def idle() -> Script[float]:
        now: float = yield Pause(0.05)
        return now

    dialogue, sent = begun(both())
    assert dialogue.notes() == ["begins"]
    assert dialogue.notes() == []
    assert dialogue.deadline() == 0.05
    dialogue.expire(0.06)
    dialogue.expire(0.1)
    sent += dialogue.outgoing()
    dialogue.receive(2, SERVER, reply(sent[1].data), 0.12)
    dialogue.receive(1, SERVER, reply(sent[0].data), 0.13)
    assert dialogue.result == ((1, 2, 0.06), (), ())


def test_a_pause_that_is_over_is_none() -> None:
    """A late script goes on at once."""

    def late() -> Script[float]:
        now: float = yield Pause(-1.0)
        return now

    dialogue, sent = begun(late())
    assert (dialogue.done, dialogue.result, sent) == (True, 0.0, [])


def test_a_broken_fingerprint_is_named() -> None:
    """RFC 8489 §14.7: what a gateway has rewritten on the way is no answer."""
    dialogue, sent = begun(one(), patience=1.0)
    builder = MessageBuilder(Method.BINDING, MessageClass.SUCCESS, sent[0].data[8:20])
    whole = builder.add(XOR_MAPPED_ADDRESS, MAPPED).fingerprint().build()
    dialogue.receive(0, SERVER, whole[:28] + b"!" + whole[29:], 0.1)
    list(walk(dialogue))
    assert dialogue.result[0].why == "a response was ignored that is not valid (a wrong FINGERPRINT)"


@given(st.binary(max_size=80), st.lists(st.tuples(st.integers(0, 200), st.integers(0, 255)), max_size=6))
def test_whatever_is_received_raises_nothing(noise: bytes, changes: list[tuple[int, int]]) -> None:
    """Bytes of strangers, and answers with some bytes changed."""
    dialogue, sent = begun(one(Ask(0, SERVER), Ask(1, SERVER)), patience=1.0)
    values = {"other": (OTHER_ADDRESS, ELSEWHERE), "plain": (MAPPED_ADDRESS, MAPPED)}
    answer = bytearray(reply(sent[0].data, **values))
    for place, value in changes:
        answer[place % len(answer)] = value
    for data in (noise, sent[0].data[:20] + noise, bytes(answer), bytes(answer) + noise):
        dialogue.receive(0, SERVER, data, 0.1)
    list(walk(dialogue))
    assert [outcome.ask.socket for outcome in dialogue.result] == [0, 1]
