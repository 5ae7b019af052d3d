"""What a certificate says."""

import itertools
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from hypothesis import given
from hypothesis import strategies as st

from tests.support.certify import certify
from turnserver.certificates import SOON, CertificateFacts, UnreadableCertificate, chain_faults

__all__ = ["certify"]

Certify = Callable[..., Any]
DAY = timedelta(days=1)


def _der(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.DER)


@pytest.mark.parametrize(("kind", "key"), [("ecdsa", "ECDSA P-256"), ("rsa", "RSA 2048"), ("ed25519", "Ed25519")])
def test_facts(certify: Certify, kind: str, key: str) -> None:
    """RFC 5280 §4.1: names, dates, key and fingerprint, from DER as from PEM."""
    root = certify(label="root")
    made = certify("turn.example.org", "192.0.2.1", "2001:db8::1", by=root, kind=kind)
    facts = CertificateFacts.from_der(_der(made.parsed))
    assert facts == CertificateFacts.from_pem(made.certificate.read_bytes())
    assert (facts.subject, facts.issuer, facts.self_signed) == ("CN=server 1", "CN=root 0", False)
    assert facts.names == ("turn.example.org", "192.0.2.1", "2001:db8::1")
    assert (facts.key, facts.sha256) == (key, made.parsed.fingerprint(hashes.SHA256()).hex())
    assert facts.kind == {"ecdsa": "EC", "rsa": "RSA", "ed25519": "Ed25519"}[kind]
    assert facts.not_after == made.parsed.not_valid_after_utc
    assert CertificateFacts.of(root.parsed).self_signed
    shown = json.loads(json.dumps(facts.as_json()))
    assert (shown["key"], shown["names"][0]) == (key, "turn.example.org")
    assert datetime.fromisoformat(shown["not_before"]) == facts.not_before


def test_the_first_of_a_chain_is_the_servers_own(certify: Certify) -> None:
    """RFC 8446 §4.4.2: the server's certificate comes first."""
    root = certify(label="root")
    made = certify("localhost", by=root, chain=(root,))
    assert CertificateFacts.from_pem(made.certificate.read_bytes()).subject == "CN=server 1"


def test_when_it_ends(certify: Certify) -> None:
    """Rule 26: two weeks before the end is when people have to be told."""
    facts = CertificateFacts.of(certify("localhost").parsed)
    end = facts.not_after
    assert facts.expiry(end - SOON - DAY) == ""
    assert facts.expiry(end - SOON) == "expires in 14 days"
    assert facts.expiry(end - 1.5 * DAY) == "expires in 1 day"
    assert facts.expiry(end - 0.5 * DAY) == "expires in less than a day"
    assert facts.expiry(end) == f"expired on {end:%Y-%m-%d %H:%M UTC}"
    assert facts.span.endswith(f"to {end:%Y-%m-%d %H:%M UTC}")


def test_a_hostile_certificate_is_text_of_bounded_length() -> None:
    """Rule 24: a name steers no terminal, and ten thousand of them are not kept."""
    key = ec.generate_private_key(ec.SECP384R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "\x1b[2J\u202e" + "x" * 50)])
    many: list[x509.GeneralName] = [x509.DNSName(f"{number}.example") for number in range(10_000)]
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(x509.Name([]))
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(datetime(1970, 1, 1, tzinfo=UTC))
        .not_valid_after(datetime(9999, 12, 31, tzinfo=UTC))
        .add_extension(x509.SubjectAlternativeName([x509.RFC822Name("a@example.org"), *many]), critical=False)
        .sign(key, hashes.SHA256())
    )
    facts = CertificateFacts.from_der(_der(certificate))
    assert facts.subject.startswith("CN=\x1b[2J\u202exxx"), "who shows it, escapes it"
    assert facts.issuer == "(nobody)"
    assert (len(facts.names), facts.key) == (100, "ECDSA P-384")


def test_the_subject_is_escaped_by_what_shows_it_and_by_nothing_else() -> None:
    """Kind: a text that is escaped twice. RFC 4514 has backslashes, and the log doubles them."""
    facts = CertificateFacts(
        subject='CN=Müller\\, \\"Söhne\\" \\+ Co\\\\,O=a\\00b',
        issuer="",
        names=(),
        not_before=datetime(2000, 1, 1, tzinfo=UTC),
        not_after=datetime(2000, 1, 1, tzinfo=UTC),
        key="",
        sha256="",
    )
    assert facts.plain_subject == 'CN=Müller, "Söhne" + Co\\,O=a\\00b'


@given(st.binary(max_size=200))
def test_any_bytes_are_refused_in_one_way(data: bytes) -> None:
    """Rule 24: what is no certificate is one error, whatever it is."""
    for read in (CertificateFacts.from_der, CertificateFacts.from_pem):
        with pytest.raises(UnreadableCertificate):
            read(data)


def test_a_damaged_certificate_is_refused_or_read(certify: Certify) -> None:
    """Rule 24: one bit that is wrong anywhere raises nothing else."""
    whole = _der(certify("localhost", "192.0.2.1").parsed)
    outcomes = set()
    for position, mask in itertools.product(range(len(whole)), (0x01, 0x20, 0x55, 0xFF)):
        damaged = bytearray(whole)
        damaged[position] ^= mask
        try:
            outcomes.add(bool(CertificateFacts.from_der(bytes(damaged)).sha256))
        except UnreadableCertificate:
            outcomes.add(False)
    assert outcomes == {True, False}


def test_a_chain_without_fault(certify: Certify) -> None:
    """With or without its root; a private authority may issue from its root, and self-signed has no chain at all."""
    root = certify(label="root")
    between = certify(by=root, label="between")
    deeper = certify(by=between, label="deeper")
    own = certify("turn.example.org", by=deeper)
    alone = certify("turn.example.org")
    for chain in ([own, deeper], [own, deeper, between], [own, between, deeper, root], [alone]):
        assert chain_faults([each.parsed for each in chain], datetime.now(UTC)) == []


def test_faults_of_a_chain(certify: Certify) -> None:
    """Clients refuse each of these, and the server would not notice."""
    root = certify(label="root")
    between, expired = certify(by=root, label="between"), certify(by=root, label="expired", age=9, days=-1)
    other = certify(by=root, label="other")
    namesake = other.parsed  # another certificate of the wrong authority in the file is no help
    own, late = certify("turn.example.org", by=between), certify("turn.example.org", by=expired)
    nameless = certify()
    for chain, words in (
        ([own.parsed], "intermediate certificates are missing"),
        ([own.parsed, namesake], "intermediate certificates are missing"),
        ([own.parsed, root.parsed], "intermediate certificates are missing"),
        ([late.parsed, expired.parsed], "expired on"),
        ([late.parsed, root.parsed, expired.parsed], "expired on"),
        ([nameless.parsed], "names no host"),
    ):
        (fault,) = chain_faults(chain, datetime.now(UTC))
        assert words in fault


def test_an_issuer_of_the_same_name_with_another_key(certify: Certify) -> None:
    """An authority that has renewed its intermediate: the name fits, the signature does not."""
    root = certify(label="root")
    between = certify(by=root, label="between")
    own = certify("turn.example.org", by=between)
    forged = (
        x509.CertificateBuilder()
        .subject_name(between.parsed.subject)
        .issuer_name(root.parsed.subject)
        .public_key(ec.generate_private_key(ec.SECP256R1()).public_key())
        .serial_number(5)
        .not_valid_before(between.parsed.not_valid_before_utc)
        .not_valid_after(between.parsed.not_valid_after_utc)
        .sign(root.signing, hashes.SHA256())
    )
    (fault,) = chain_faults([own.parsed, forged], datetime.now(UTC))
    assert "between 1" in fault


def test_a_root_of_the_system_needs_no_intermediate(certify: Certify, monkeypatch: pytest.MonkeyPatch) -> None:
    """As where a company's root is installed on this machine."""
    root = certify(label="root")
    own = certify("turn.example.org", by=root)
    assert len(chain_faults([own.parsed], datetime.now(UTC))) == 1
    monkeypatch.setenv("SSL_CERT_FILE", str(root.certificate))
    assert chain_faults([own.parsed], datetime.now(UTC)) == []
    monkeypatch.setenv("SSL_CERT_FILE", str(root.certificate.parent / "missing"))
    assert len(chain_faults([own.parsed], datetime.now(UTC))) == 1


@pytest.mark.parametrize(
    ("usage", "faults"),
    [
        ([ExtendedKeyUsageOID.CLIENT_AUTH], 1),
        ([ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH], 0),
        ([ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE], 0),
    ],
)
def test_a_certificate_for_clients_only(usage: list[x509.ObjectIdentifier], faults: int) -> None:
    """RFC 5280 §4.2.1.12."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "a")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(5)
        .not_valid_before(now - DAY)
        .not_valid_after(now + DAY)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("a.org")]), critical=False)
        .add_extension(x509.ExtendedKeyUsage(usage), critical=False)
        .sign(key, hashes.SHA256())
    )
    assert len(chain_faults([made], now)) == faults
