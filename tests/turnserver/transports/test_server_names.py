"""Which certificates a client is shown: by the host that it names, then by the kind of key."""

from collections.abc import Callable
from typing import Any

import pytest
from cryptography import x509

from tests.support.certify import certify
from turnserver.transports.server_names import ServerCertificate, ServerNames, names_of, spelled

__all__ = ["certify"]


def chooser(*candidates: tuple[str, str]) -> ServerNames:
    """``(kind, "names separated by spaces")``, numbered in this order."""
    return ServerNames(
        ServerCertificate(number, kind, frozenset(names.split())) for number, (kind, names) in enumerate(candidates)
    )


TWO = chooser(("EC", "turn.example.org"), ("EC", "meet.example.net"))
KINDS = chooser(("EC", "a.org"), ("RSA", "a.org"), ("EC", "b.org"), ("RSA", "b.org"))
WILD = chooser(("EC", "*.example.org example.org"), ("EC", "turn.example.org"), ("RSA", "*.example.org"))
ADDRESSED = chooser(("EC", "turn.example.org"), ("EC", "203.0.113.5"), ("EC", "2001:db8::5"))


@pytest.mark.parametrize(
    ("names", "name", "expected"),
    [
        (TWO, "turn.example.org", (0,)),
        (TWO, "meet.example.net", (1,)),
        (TWO, "MEET.example.NET.", (1,)),
        (TWO, "elsewhere.example.com", (0,)),
        (TWO, "", (0,)),
        (TWO, None, (0,)),
        (KINDS, "a.org", (0, 1)),
        (KINDS, "b.org", (2, 3)),
        (KINDS, None, (0, 1)),
        (WILD, "turn.example.org", (1, 2)),
        (WILD, "other.example.org", (0, 2)),
        (WILD, "example.org", (0,)),
        (WILD, "deep.turn.example.org", (0, 2)),  # not the wildcard's: the default
        (ADDRESSED, "203.0.113.5", (1,)),
    ],
)
def test_the_name_decides_and_then_the_kind_of_key(
    names: ServerNames, name: str | None, expected: tuple[int, ...]
) -> None:
    """RFC 6066 §3, RFC 9525 §6.3: an exact name before a wildcard, and a wildcard for one label only."""
    assert names.of(name) == expected
    assert expected in names.choices
    assert name is None or names.knows(name) or expected == names.of(None)


def test_a_wildcard_is_no_wildcard_for_itself() -> None:
    """A client may name anything: ``*.example.org`` or a dot is not matched twice."""
    assert chooser(("EC", "a"), ("EC", "*.*.org")).of("*.*.org") == (1,)
    assert chooser(("EC", "a"), ("EC", "*.org")).of("*.x.org") == (0,)
    assert chooser(("EC", "a"), ("EC", "*.")).of(".") == (0,)


@pytest.mark.parametrize(
    ("name", "address", "expected"),
    [
        (None, "203.0.113.5", (1,)),
        (None, "2001:db8::5", (2,)),
        (None, "192.0.2.1", (0,)),
        ("turn.example.org", "203.0.113.5", (0,)),
        ("elsewhere.org", "203.0.113.5", (0,)),
    ],
)
def test_who_comes_by_the_address_gets_its_certificate(
    name: str | None, address: str, expected: tuple[int, ...]
) -> None:
    """RFC 6066 §3: an address is not sent as a name; authorities issue certificates for addresses, too."""
    assert ADDRESSED.of(name, address) == expected


def test_other_names_are_not_mixed_into_the_default() -> None:
    """A client without SNI gets the first host's certificates, whatever its ciphers; not those of another host."""
    assert chooser(("EC", "a.org"), ("RSA", "b.org")).of(None) == (0,)
    assert chooser(("EC", ""), ("RSA", "b.org")).of(None) == (0, 1)
    assert chooser().of(None) == ()


def test_certificates_that_nobody_is_shown() -> None:
    names = chooser(
        ("EC", "a.org"), ("EC", "a.org"), ("RSA", "a.org"), ("EC", "a.org b.org"), ("EC", "*.c.org"), ("EC", "*.c.org")
    )
    assert names.unused == [1, 5]
    assert chooser().unused == []


def test_names_are_bounded_by_the_certificates() -> None:
    """Clients choose names; what is kept does not grow with them."""
    for number in range(1000):
        TWO.of(f"{number}.example.org")
    assert len(TWO._by_name) <= 2
    assert len(TWO.choices) == 2


def test_names_of_certificates(certify: Callable[..., Any]) -> None:
    """Addresses among them; the common name only where there is nothing else."""
    assert names_of(certify("Turn.Example.org", "*.example.net", "2001:DB8::1").parsed) == {
        "turn.example.org",
        "*.example.net",
        "2001:db8::1",
    }
    nameless: x509.Certificate = certify().parsed
    assert names_of(nameless) == {"server 1"}
    assert spelled("A.org.") == "a.org"
