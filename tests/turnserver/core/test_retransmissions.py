"""Answers kept for clients that ask again."""

import pytest

from stun.address import Address
from tests.support.core_world import SERVER
from turnserver.core.retransmissions import Retransmissions
from turnserver.core.types import ClientTransport, FiveTuple

HERE = FiveTuple(ClientTransport.UDP, Address.parse("192.0.2.10", 1), SERVER, 0)
THERE = HERE._replace(address=Address.parse("192.0.2.10", 2))


def test_an_answer_is_kept_for_its_client_and_transaction() -> None:
    """Rule 10, RFC 8489 §6.3.1: the same 5-tuple and transaction id, nothing less."""
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
