"""Mobility tickets (RFC 8016 §5): only the server that has sealed one can open it, and nobody learns anything by it."""

import pytest
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.ciphers import aead
from hypothesis import given
from hypothesis import strategies as st

from tests.support.core_world import deterministic_entropy
from turnserver.core.tickets import TICKET_SIZE, Ticket, TicketSeal

TICKET = Ticket(7, 3, 1_600_250)
TICKETS = st.builds(Ticket, st.integers(0, 2**40 - 1), st.integers(0, 2**40 - 1), st.integers(0, 2**40 - 1))


def a_seal(realm: str = "example.org", seed: bytes = b"seed") -> TicketSeal:
    return TicketSeal(realm, deterministic_entropy(seed))


@given(TICKETS)
def test_what_is_sealed_is_opened(ticket: Ticket) -> None:
    """Whatever is in it."""
    seal = a_seal()
    assert seal.open(seal.seal(ticket)) == ticket


@given(TICKETS)
def test_all_tickets_have_one_size(ticket: Ticket) -> None:
    """RFC 8016 §3.1.2: small enough for a path of any MTU, and for coturn's client; and its size says nothing."""
    assert len(a_seal().seal(ticket)) == TICKET_SIZE == 32


def test_no_ticket_has_a_zero_byte() -> None:
    """coturn's client keeps a ticket as a C string, and would send it back without its end."""
    seal = a_seal()
    assert not [number for number in range(2000) if 0 in seal.seal(Ticket(7, number, 1_600_250))]


def test_tickets_have_nothing_in_common() -> None:
    """RFC 8016 §5: nothing can be gleaned from tickets alone, not even that they are of one allocation."""
    seal = a_seal()
    sealed = [seal.seal(Ticket(7, number, 1_600_250)) for number in range(200)]
    for place in range(TICKET_SIZE):
        assert len({each[place] for each in sealed}) > 80, "as random bytes would be"


def test_every_bit_flip_is_noticed() -> None:
    """RFC 8016 §5: integrity."""
    seal = a_seal()
    sealed = seal.seal(TICKET)
    for bit in range(len(sealed) * 8):
        forged = bytearray(sealed)
        forged[bit // 8] ^= 1 << bit % 8
        assert seal.open(bytes(forged)) is None


@given(st.binary(max_size=100))
def test_nothing_else_is_a_ticket(value: bytes) -> None:
    """Neither before there is any ticket nor after."""
    seal = a_seal()
    assert seal.open(value) is None, "before there is any ticket, too"
    seal.seal(TICKET)
    assert seal.open(value) is None


@pytest.mark.parametrize("other", [a_seal(seed=b"another process"), a_seal(realm="example.com")], ids=["key", "realm"])
def test_another_server_cannot_open_it(other: TicketSeal) -> None:
    """Nor this one after a restart, nor for another realm."""
    other.seal(TICKET)
    assert other.open(a_seal().seal(TICKET)) is None


def test_without_that_cipher_it_is_another_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """OpenSSL 1.1 has no AES-SIV; then the same ticket never looks the same."""

    def unsupported(key: bytes) -> None:
        raise UnsupportedAlgorithm("AES-SIV is not supported by this version of OpenSSL")

    monkeypatch.setattr(aead, "AESSIV", unsupported)
    seal = a_seal()
    sealed = {seal.seal(TICKET) for _ in range(100)}
    assert {len(each) for each in sealed} == {44}
    assert len({each[:12] for each in sealed}) == len({each[12:] for each in sealed}) == 100
    assert all(seal.open(each) == TICKET for each in sealed)
    flipped = bytes([*sealed.pop()[:-1], 0])
    assert seal.open(flipped) is None or flipped in sealed
    assert a_seal().open(sealed.pop()) is None
