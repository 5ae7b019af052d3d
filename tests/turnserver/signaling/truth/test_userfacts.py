"""The book of facts: what is certain, what is rumour, and how much of either is kept."""

import pytest

from stun.address import Address
from turnserver.core.types import ClientTransport, FiveTuple
from turnserver.signaling.protocol.fields import RELAY_TRANSPORTS
from turnserver.signaling.truth import userfacts
from turnserver.signaling.truth.userfacts import NO_FACTS, FactBook, RefusalFact, proto_of

SERVER = Address.parse("203.0.113.1", 3478)
RELAYED = (Address.parse("203.0.113.1", 50001),)


def a_client(
    port: int = 40000, transport: ClientTransport = ClientTransport.UDP, host: str = "198.51.100.7"
) -> FiveTuple:
    return FiveTuple(transport, Address.parse(host, port), SERVER, 0)


def test_nobody_was_heard_of() -> None:
    assert FactBook().facts("ab.cd") is NO_FACTS
    assert not NO_FACTS.heard


@pytest.mark.parametrize(("transport", "name"), [*zip(ClientTransport, ("udp", "tcp", "tls", "udp"), strict=True)])
def test_protos(transport: ClientTransport, name: str) -> None:
    assert proto_of(a_client(transport=transport)) == name


def test_the_words_of_the_protocol_are_the_labels_of_the_transports() -> None:
    """Written down twice, because the protocol's Python clients have no server. DTLS has none: it is UDP beneath."""
    assert tuple(kind.label for kind in ClientTransport if kind is not ClientTransport.DTLS) == RELAY_TRANSPORTS


def test_an_allocation_from_beginning_to_end() -> None:
    book = FactBook()
    udp, tls = a_client(), a_client(40001, ClientTransport.TLS)
    book.opened("u", udp, RELAYED, 1000.0)
    book.opened("u", tls, (Address.parse("203.0.113.1", 50002),), 1001.0)
    book.carried("u", 70, 30)
    facts = book.facts("u")
    assert facts.heard
    assert (facts.live, facts.opened, facts.ended) == (2, 2, 0)
    assert facts.protos == ("udp", "tls")
    assert facts.relayed == (*RELAYED, Address.parse("203.0.113.1", 50002))
    assert facts.clients == (Address.parse("198.51.100.7", 0).ip,)
    assert facts.opened_at == 1001.0
    assert (facts.bytes_up, facts.bytes_down) == (70, 30)
    book.ended("u", udp, "expired")
    book.ended("u", udp, "told twice")
    book.ended("u", tls, "revoked")
    facts = book.facts("u")
    assert (facts.live, facts.opened, facts.ended, facts.end_reason) == (0, 2, 2, "revoked")
    assert facts.protos == ("tls",)
    assert facts.relayed == ()
    assert facts.bytes_up == 70


def test_a_half_of_a_dual_allocation_that_has_gone() -> None:
    """RFC 8656 §8.2."""
    book = FactBook()
    book.opened("u", a_client(), (*RELAYED, Address.parse("2001:db8::1", 50001)), 1.0)
    book.changed("u", a_client(), RELAYED)
    assert book.facts("u").relayed == RELAYED
    book.changed("u", a_client(1), RELAYED)
    book.changed("nobody", a_client(), RELAYED)
    assert book.facts("u").live == 1


def test_refusals_of_one_kind_are_counted_together() -> None:
    book = FactBook()
    for wall in (1.0, 2.0, 3.0):
        book.refused("u", 486, "Allocation Quota Reached", "udp", wall, proven=True)
    book.refused("u", 401, "Unauthenticated", "tls", 4.0, proven=False)
    assert book.facts("u").refusals == (
        RefusalFact(486, "Allocation Quota Reached", "udp", 3, 3.0, True),
        RefusalFact(401, "Unauthenticated", "tls", 1, 4.0, False),
    )


def test_a_rumour_is_all_there_is_of_some() -> None:
    book = FactBook()
    book.refused("u", 401, "Unauthenticated", "udp", 1.0, proven=False)
    facts = book.facts("u")
    assert facts.heard
    assert (facts.live, facts.opened) == (0, 0)
    assert not facts.refusals[0].proven


def test_rumours_do_not_push_out_what_is_certain(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hostile input: requests under ten thousand names, none with a password."""
    monkeypatch.setattr(userfacts, "MAX_RUMOURS", 8)
    book = FactBook()
    book.opened("u", a_client(), RELAYED, 1.0)
    for number in range(10_000):
        book.refused(f"x{number}", 401, "Unauthenticated", "udp", 2.0, proven=False)
        book.refused("u", 401, f"reason {number}", "udp", 2.0, proven=False)
    assert len(book) == 9
    facts = book.facts("u")
    assert facts.live == 1
    assert len(facts.refusals) == userfacts.MAX_PER_USER


def test_every_list_of_a_user_is_bounded_and_keeps_the_latest() -> None:
    """Hostile input: a user who does everything in every way there is."""
    book = FactBook()
    for number in range(100):
        book.opened("u", a_client(host=f"198.51.100.{number}"), RELAYED, 1.0)
        book.denied("u", Address.parse("10.0.0.1", number))
        book.refused("u", 400 + number, "", "udp", 1.0, proven=True)
    facts = book.facts("u")
    limit = userfacts.MAX_PER_USER
    assert (len(facts.clients), len(facts.denied), len(facts.refusals)) == (limit, limit, limit)
    assert facts.denied[-1] == Address.parse("10.0.0.1", 99)
    assert facts.refusals[0].code == 400 + 100 - limit


def test_users_are_bounded_and_the_one_without_news_goes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(userfacts, "MAX_USERS", 3)
    book = FactBook()
    for name in ("a", "b", "c", "a", "d"):
        book.opened(name, a_client(), RELAYED, 1.0)
    assert [name for name in "abcd" if book.facts(name).heard] == ["a", "c", "d"]


def test_what_is_said_of_strangers_is_not_kept() -> None:
    """Bytes, ends and denials belong to somebody who has opened an allocation; otherwise there is nothing to say."""
    book = FactBook()
    book.carried("u", 1, 1)
    book.ended("u", a_client(), "expired")
    book.denied("u", Address.parse("10.0.0.1", 1))
    assert book.facts("u") is NO_FACTS


def test_forgotten() -> None:
    book = FactBook()
    book.opened("u", a_client(), RELAYED, 1.0)
    book.refused("u", 401, "", "udp", 1.0, proven=False)
    book.forget("u")
    book.forget("u")
    assert book.facts("u") is NO_FACTS
    assert len(book) == 0
