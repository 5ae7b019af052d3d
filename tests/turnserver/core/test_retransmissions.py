"""Answers kept for clients that ask again."""

import pytest

from stun.address import Address
from stun.attributes import LIFETIME, REQUESTED_TRANSPORT, SOFTWARE, XOR_PEER_ADDRESS
from stun.constants import MessageClass, Method
from stun.message import Message, MessageBuilder
from tests.support.core_world import SERVER, World, code_of
from tests.support.tcp_world import TcpWorld
from turnserver.core.retransmissions import Retransmissions, transaction_key
from turnserver.core.types import ClientTransport, FiveTuple

PEER = Address.parse("8.8.8.8", 80)
HERE = FiveTuple(ClientTransport.UDP, Address.parse("192.0.2.10", 1), SERVER, 0)
THERE = HERE._replace(address=Address.parse("192.0.2.10", 2))


def test_an_answer_is_kept_for_its_client_and_transaction() -> None:
    """Rules 10 and 33, RFC 8489 §6.3.1: the same 5-tuple and the same request, nothing less."""
    kept = Retransmissions()
    assert kept.keep((HERE, b"a" * 12), b"answer") == []
    assert kept.find((HERE, b"a" * 12)) == b"answer"
    assert kept.find((THERE, b"a" * 12)) is None
    assert kept.find((HERE, b"b" * 12)) is None
    assert len(kept) == 1


def test_forgetting() -> None:
    """What is forgotten, or never was, is not there."""
    kept = Retransmissions()
    kept.keep((HERE, b"a" * 12), b"answer")
    kept.forget((HERE, b"a" * 12))
    kept.forget((HERE, b"a" * 12))
    assert (kept.find((HERE, b"a" * 12)), len(kept)) == (None, 0)


def test_the_table_is_bounded_and_forgets_the_oldest(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rule 3: a user who allocates and deletes all day costs no more than this."""
    monkeypatch.setattr("turnserver.core.retransmissions.MAX_ANSWERS", 100)
    kept = Retransmissions()
    keys = [(HERE, number.to_bytes(12, "big")) for number in range(102)]
    forgotten = [gone for key in keys for gone in kept.keep(key, b"answer")]
    assert forgotten == keys[:2]
    assert len(kept) == 100
    assert (kept.find(keys[1]), kept.find(keys[2])) == (None, b"answer")


def test_the_key_is_the_whole_request() -> None:
    """Rules 10 and 33, RFC 8489 §6.3.1: the method is a part of it, and every attribute."""
    built = {
        MessageBuilder(method, MessageClass.REQUEST, b"a" * 12).add(LIFETIME, lifetime).build()
        for method in (Method.ALLOCATE, Method.REFRESH)
        for lifetime in (0, 600)
    }
    keys = {transaction_key(client, Message.decode(frame)) for frame in built for client in (HERE, THERE)}
    assert len(keys) == 2 * len(built) == 8


@pytest.mark.parametrize("automatic", [True, False], ids=["open", "being opened"])
def test_an_allocate_with_the_transaction_id_of_another_is_a_new_one(automatic: bool) -> None:
    """Rules 10 and 33: the answer that is kept, or still to come, is for the same bytes; others get 437."""
    world = World(automatic=automatic)
    client = world.client()
    client.challenge()
    transaction = client.transaction_id()
    first = client.build(Method.ALLOCATE, [(REQUESTED_TRANSPORT, 17)], transaction=transaction)
    other = client.build(Method.ALLOCATE, [(REQUESTED_TRANSPORT, 17), (LIFETIME, 3600)], transaction=transaction)
    answers = world.feed(client.path, first)
    assert len(answers) == automatic
    (refused,) = world.feed(client.path, other)
    assert code_of(Message.decode(refused)) == 437
    assert world.feed(client.path, first) == answers


def test_another_method_with_the_transaction_id_of_an_allocate_is_carried_out() -> None:
    """Rules 10 and 33, RFC 8489 §6.3.1: it is not told what the Allocate was told."""
    world = World()
    client = world.client()
    client.challenge()
    transaction = client.transaction_id()
    world.feed(client.path, client.build(Method.ALLOCATE, [(REQUESTED_TRANSPORT, 17)], transaction=transaction))
    end = client.build(Method.REFRESH, [(LIFETIME, 0)], transaction=transaction)
    (answer,) = world.feed(client.path, end)
    found = Message.decode(answer)
    assert (found.method, found.first(LIFETIME)) == (Method.REFRESH, 0)
    assert world.feed(client.path, end) == [answer], "and its own answer is kept, too"
    assert not world.core.state.allocations


def test_another_connect_with_the_transaction_id_of_one_that_waits() -> None:
    """Rule 33, RFC 6062 §5.2: 446, for there is a connection to the peer; the first one is answered once."""
    world = TcpWorld()
    client = world.control()
    assert code_of(client.allocate_tcp()) == 0
    assert code_of(client.permit(PEER)) == 0
    transaction = client.transaction_id()
    first = client.build(Method.CONNECT, [(XOR_PEER_ADDRESS, PEER)], transaction=transaction)
    other = client.build(Method.CONNECT, [(XOR_PEER_ADDRESS, PEER), (SOFTWARE, "other")], transaction=transaction)
    assert world.feed(client.path, first) == []
    (refused,) = world.feed(client.path, other)
    assert code_of(Message.decode(refused)) == 446
    assert world.feed(client.path, first) == []
