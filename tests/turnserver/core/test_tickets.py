"""Mobility tickets (RFC 8016 §5): only the server that has sealed one can open it, and nobody learns anything by it."""

from itertools import pairwise

import pytest
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.ciphers import aead
from hypothesis import given
from hypothesis import strategies as st

from tests.support.core_world import deterministic_entropy
from turnserver.core.tickets import TICKET_SIZE, Ticket, TicketSeal

TICKET = Ticket(7, 3, 1600.25)
SERIALS = st.integers(0, 2**64 - 1)


def a_seal(realm: str = "example.org", seed: bytes = b"seed") -> TicketSeal:
    return TicketSeal(realm, deterministic_entropy(seed))


@given(SERIALS, SERIALS, st.floats(0, 1e12))
def test_what_is_sealed_is_opened(serial: int, number: int, expires: float) -> None:
    """Whatever is in it."""
    seal, ticket = a_seal(), Ticket(serial, number, expires)
    assert seal.open(seal.seal(ticket)) == ticket


@given(SERIALS, st.floats(0, 1e12))
def test_all_tickets_have_one_size(serial: int, expires: float) -> None:
    """RFC 8016 §3.1.2: small enough for a path of any MTU; and its size says nothing."""
    assert len(a_seal().seal(Ticket(serial, 1, expires))) == TICKET_SIZE == 52


def test_the_same_ticket_never_looks_the_same() -> None:
    """RFC 8016 §5: nothing can be gleaned from the ticket alone."""
    seal = a_seal()
    sealed = [seal.seal(TICKET) for _ in range(100)]
    assert len(set(sealed)) == 100
    assert all(one[:12] != other[:12] for one, other in pairwise(sealed)), "a nonce of its own for each"


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


def test_without_the_best_cipher_it_is_another_good_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """OpenSSL before 3.2 has no AES-GCM-SIV."""

    def unsupported(key: bytes) -> None:
        raise UnsupportedAlgorithm("AES-GCM-SIV is not supported by this version of OpenSSL")

    monkeypatch.setattr(aead, "AESGCMSIV", unsupported)
    seal = a_seal()
    sealed = seal.seal(TICKET)
    assert len(sealed) == TICKET_SIZE
    assert seal.open(sealed) == TICKET
    assert a_seal().open(sealed) is None
